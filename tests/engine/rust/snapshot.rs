use super::*;

/// A snapshot at position 900: page 0 in the log, page 1 free, page 2 a blob with a link in the log and one in a blob.
fn content() -> Vec<u8> {
    let mut bytes = [&901_u64.to_le_bytes()[..], &[1]].concat();
    let inline = |bytes: &mut Vec<u8>, size: Option<u8>| {
        bytes.extend([&100_u64.to_le_bytes()[..], &[0, 249, 1, 2]].concat());
        bytes.extend(size);
    };
    let blob = |bytes: &mut Vec<u8>, id: u64| {
        bytes.extend([&id.to_le_bytes()[..], &[1, 40], &id.to_le_bytes()[..], &[25]].concat());
    };
    bytes.push(1);
    inline(&mut bytes, Some(30));
    bytes.push(0);
    inline(&mut bytes, None);
    bytes.push(3);
    blob(&mut bytes, 300);
    inline(&mut bytes, Some(30));
    blob(&mut bytes, 700);
    let (length, crc) = (bytes.len() as u64, crc32fast::hash(&bytes));
    [&bytes[..], &length.to_le_bytes(), &crc.to_le_bytes()].concat()
}

#[test]
fn a_snapshot_names_its_blobs() {
    let snapshot = parse(&content()).unwrap();
    assert_eq!(snapshot.position, 900);
    assert_eq!(snapshot.blobs, BTreeMap::from([(2, vec![300, 700])]));
}

#[test]
fn a_damaged_snapshot_is_rejected() {
    let whole = content();
    for length in 0..whole.len() {
        assert!(parse(&whole[..length]).is_none(), "cut short");
    }
    for bit in 0..(whole.len() - 12) * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(parse(&bytes).is_none());
    }
}
