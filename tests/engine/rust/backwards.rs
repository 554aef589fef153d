use super::*;

#[test]
fn middle_is_halfway_and_strictly_between() {
    assert_eq!(middle(&[2], Some(&[4])), Some(vec![3]));
    assert_eq!(middle(&[2], Some(&[3])), Some(vec![2, 128]));
    assert_eq!(middle(&[], None), Some(vec![128]));
    assert_eq!(middle(&[255], None), Some(vec![255, 128]));
    assert_eq!(middle(&[1, 255], Some(&[2, 1])), Some(vec![2]));
    assert_eq!(middle(&[1], Some(&[1, 0])), None, "no key is between these");
}

#[test]
fn after_prefix_skips_every_key_with_the_prefix() {
    assert_eq!(after_prefix(b"ab"), Some(b"ac".to_vec()));
    assert_eq!(after_prefix(&[7, 255, 255]), Some(vec![8]));
    assert_eq!(after_prefix(&[255, 255]), None);
    assert_eq!(after_prefix(&[]), None);
}

#[test]
fn past_common_keeps_the_shared_prefix() {
    assert_eq!(past_common(b"aaaaaabb", Some(b"aaaaaaz")), Some(b"aaaaaac".to_vec()));
    assert_eq!(past_common(b"a", Some(b"a\0")), None);
}
