use super::*;

fn element(tag: (u16, u16), vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let mut bytes = [tag.0.to_le_bytes(), tag.1.to_le_bytes()].concat();
    bytes.extend(vr);
    bytes.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
    bytes.extend(value);
    bytes
}

fn with_meta(syntax: &[u8], data_set: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM");
    bytes.extend(element((2, 0x10), b"UI", syntax));
    bytes.extend(data_set);
    bytes
}

fn parsed(bytes: &[u8]) -> Result<Header, DicomError> {
    let content = Content::Memory(bytes.into());
    let start = content.start(WINDOW_BYTES).unwrap();
    parse(&content, start)
}

fn outline(data_set: &[u8]) -> Result<Header, DicomError> {
    parsed(&with_meta(b"1.2.840.10008.1.2.1\0", data_set))
}

fn pixels_there(header: &Header) -> Option<(Option<u64>, u64)> {
    header.pixel_data.map(|found| (found.length, header.content.bytes() - found.start))
}

fn pixel_data(length: u32, bytes: usize) -> Vec<u8> {
    let mut all = vec![0xE0, 0x7F, 0x10, 0x00, b'O', b'W', 0, 0];
    all.extend(length.to_le_bytes());
    all.extend(vec![0; bytes]);
    all
}

#[test]
fn the_place_of_the_pixels_is_found_behind_nested_sequences() {
    // (0008,1140) SQ of undefined length: one item of undefined length with one element, both delimited.
    let mut bytes = element((8, 0x60), b"CS", b"MR");
    bytes.extend([0x08, 0, 0x40, 0x11, b'S', b'Q', 0, 0, 0xff, 0xff, 0xff, 0xff]);
    bytes.extend([0xfe, 0xff, 0x00, 0xe0, 0xff, 0xff, 0xff, 0xff]);
    bytes.extend(element((8, 0x1155), b"UI", b"1.2\0"));
    bytes.extend([0xfe, 0xff, 0x0d, 0xe0, 0, 0, 0, 0, 0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0]);
    bytes.extend(pixel_data(8, 8));
    let found = outline(&bytes).unwrap();
    assert_eq!(found.transfer_syntax, uids::EXPLICIT_VR_LITTLE_ENDIAN);
    assert_eq!(pixels_there(&found), Some((Some(8), 8)));
}

#[test]
fn an_element_that_claims_more_than_the_file_has_is_refused_before_anything_is_reserved() {
    let mut bytes = vec![0x08, 0, 0x05, 0x30, b'O', b'B', 0, 0, 0xf0, 0xff, 0xff, 0xff];
    bytes.extend([0; 16]);
    assert!(matches!(outline(&bytes), Err(DicomError::Structure { tag: Tag(8, 0x3005), .. })));
    let nested = [0x08, 0, 0x40, 0x11, b'S', b'Q', 0, 0, 0xff, 0xff, 0xff, 0x7f];
    assert!(matches!(outline(&nested), Err(DicomError::Structure { .. })));
}

#[test]
fn pixels_that_were_cut_off_are_counted() {
    let found = outline(&pixel_data(8, 5)).unwrap();
    assert_eq!(pixels_there(&found), Some((Some(8), 5)));
    assert_eq!(outline(&element((8, 0x60), b"CS", b"MR")).unwrap().pixel_data, None);
}

/// The same two elements in every coding, with and without meta group.
#[test]
fn the_coding_is_seen_where_it_is_not_announced_or_announced_wrongly() {
    let explicit = [element((8, 0x60), b"CS", b"MR"), element((0x28, 0x10), b"US", &[1, 2])].concat();
    let implicit = b"\x08\0\x60\0\x02\0\0\0MR\x28\0\x10\0\x02\0\0\0\x01\x02".to_vec();
    let big = b"\0\x08\0\x60CS\0\x02MR\0\x28\0\x10US\0\x02\x02\x01".to_vec();
    let (little_uid, implicit_uid) = (b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0");
    for bytes in [
        explicit.clone(),
        implicit.clone(),
        big.clone(),
        with_meta(little_uid, &explicit),
        with_meta(implicit_uid, &implicit),
        with_meta(little_uid, &implicit),
        with_meta(implicit_uid, &explicit),
        with_meta(b"1.2.840.10008.1.2.2\0", &big),
    ] {
        assert!(looks_like_dicom(&bytes));
        let header = parsed(&bytes).unwrap();
        assert_eq!(header.item.text(tags::MODALITY).as_deref(), Some("MR"));
        assert_eq!(header.item.integer(tags::ROWS).unwrap(), Some(0x201));
    }
    assert!(!looks_like_dicom(b"plain text, not a scan at all"));
}

#[test]
fn a_deflated_data_set_is_inflated() {
    use std::io::Write;
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&[element((8, 0x60), b"CS", b"MR"), pixel_data(4, 4)].concat()).unwrap();
    let bytes = with_meta(b"1.2.840.10008.1.2.1.99", &encoder.finish().unwrap());
    let header = parsed(&bytes).unwrap();
    assert_eq!(header.item.text(tags::MODALITY).as_deref(), Some("MR"));
    assert_eq!(pixels_there(&header), Some((Some(4), 4)));
}

/// Values of PS3.5 table 6.2-1, among them what PACS write as `UN`.
#[test]
fn numbers_are_read_in_every_representation() {
    let bytes = [
        element((8, 0x60), b"CS", b"MR"),
        element((0x18, 0x1060), b"DS", b" 12.5e1 "),
        element((0x20, 0x37), b"DS", b"1\\0\\0\\0\\-1\\+0.0"),
        [&[0x28, 0, 0x10, 0, b'U', b'N', 0, 0, 2, 0, 0, 0][..], &[0, 1]].concat(),
        element((0x28, 0x11), b"US", &[0, 1]),
        element((0x28, 0x1053), b"DS", b"1,5"),
    ]
    .concat();
    let item = outline(&bytes).unwrap().item;
    assert_eq!(item.float(tags::TRIGGER_TIME).unwrap(), Some(125.0));
    assert_eq!(item.floats(tags::IMAGE_ORIENTATION_PATIENT).unwrap().unwrap()[4], -1.0);
    assert_eq!(item.integer(tags::ROWS).unwrap(), Some(256), "UN is looked up");
    assert_eq!(item.integer(tags::COLUMNS).unwrap(), Some(256));
    assert!(item.float(tags::RESCALE_SLOPE).is_err(), "malformed is an error, not 1");
    assert_eq!(item.float(tags::RESCALE_INTERCEPT).unwrap(), None, "missing is unknown");
}

proptest::proptest! {
    /// Whatever follows the preamble, the walk ends without a panic and takes no more memory than the file has.
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300), big in proptest::bool::ANY) {
        let syntax: &[u8] = if big { b"1.2.840.10008.1.2.2\0" } else { b"1.2.840.10008.1.2\0" };
        let _ = parsed(&with_meta(syntax, &bytes));
        let _ = parsed(&bytes);
    }
}
