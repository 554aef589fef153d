use super::*;

#[test]
fn varints_of_every_length_are_read_and_passed() {
    let cases: [(&[u8], u64); 7] = [
        (&[0], 0),
        (&[240], 240),
        (&[241, 0], 240),
        (&[248, 255], 2287),
        (&[249, 255, 255], 67_823),
        (&[250, 1, 2, 3], 0x03_02_01),
        (&[255, 1, 0, 0, 0, 0, 0, 0, 0x80], 0x8000_0000_0000_0001),
    ];
    for (bytes, value) in cases {
        let mut rest = bytes;
        assert_eq!((varint(&mut rest), rest), (Some(value), &[][..]));
        assert_eq!(varint(&mut &bytes[..bytes.len() - 1]), None, "cut short");
    }
}

#[test]
fn a_message_with_any_flipped_bit_is_rejected() {
    let mut bytes = vec![0, 0, 0, 0, NODE, 4, 7, 9, 1, 2, 3, 4];
    let crc = crc32fast::hash(&[&bytes[8..], &bytes[4..8]].concat()) ^ u32::MAX;
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    let message = parse_message(&bytes, 0).unwrap();
    assert_eq!((message.kind, message.segment, message.page, message.body), (NODE, 7, 9, 8..12));
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(parse_message(&bytes, 0).is_none());
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}
