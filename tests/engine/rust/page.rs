use super::*;

#[test]
fn links_set_and_remove_pairs() {
    let mut pairs = Pairs::new();
    change_pair(&mut pairs, b"pre", &[0, 1, b'a', 2, b'v', b'w']);
    assert_eq!(pairs, Pairs::from([(b"prea".to_vec(), b"vw".to_vec())]));
    change_pair(&mut pairs, b"pre", &[0, 9, b'a']); // cut short
    assert_eq!(pairs.len(), 1);
    change_pair(&mut pairs, b"pre", &[1, 1, b'a']);
    assert!(pairs.is_empty());
}
