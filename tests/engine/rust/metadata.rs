use super::*;

#[test]
fn a_frame_is_whole_cut_off_or_wrong() {
    let content = b"content";
    let mut bytes = (content.len() as u64).to_le_bytes()[..6].to_vec();
    bytes.extend((crc32fast::hash(&bytes) as u16).to_le_bytes());
    bytes.extend(content);
    bytes.extend((crc32fast::hash(&bytes) ^ 0xAF).to_le_bytes());
    let length = bytes.len();
    assert!(matches!(parse_frame(&[&bytes[..], b"the next"].concat()), Frame::Whole(found) if found == length));
    assert!((0..length).all(|cut| matches!(parse_frame(&bytes[..cut]), Frame::CutOff)));
    for place in 0..length {
        bytes[place] ^= 1;
        assert!(matches!(parse_frame(&bytes), Frame::Wrong));
        bytes[place] ^= 1;
    }
}
