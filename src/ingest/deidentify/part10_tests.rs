use dicom::core::value::DataSetSequence;
use dicom::object::DefaultDicomObject;
use proptest::prelude::*;

use super::super::super::content::Opener;
use super::super::super::dicom::coding::EXPLICIT_VR_BIG_ENDIAN;
use super::super::super::pixels;
use super::*;

fn subject() -> Subject {
    Subject { id: "subject".to_owned(), sex: Some("F".to_owned()), age_years: Some(95.0) }
}

fn ids() -> Pseudonyms {
    Pseudonyms::new(b"key".to_vec())
}

fn put(item: &mut InMemDicomObject, tag: Tag, vr: VR, value: impl Into<PrimitiveValue>) {
    item.put(DataElement::new(tag, vr, value.into()));
}

/// 1 x 2 pixels of 16 bits, 12 stored.
fn data_set() -> InMemDicomObject {
    let mut item = InMemDicomObject::new_empty();
    put(&mut item, tags::SOP_CLASS_UID, VR::UI, uids::MR_IMAGE_STORAGE);
    put(&mut item, tags::SOP_INSTANCE_UID, VR::UI, "1.2.3");
    put(&mut item, tags::MODALITY, VR::CS, "MR");
    put(&mut item, tags::PATIENT_NAME, VR::PN, "Doe^Jane");
    put(&mut item, tags::PATIENT_AGE, VR::AS, "095Y");
    put(
        &mut item,
        tags::IMAGE_TYPE,
        VR::CS,
        PrimitiveValue::Strs(["ORIGINAL", "PRIMARY", "DOE"].map(str::to_owned).to_vec().into()),
    );
    put(&mut item, tags::INSTITUTION_NAME, VR::LO, "Praxis Doe");
    put(&mut item, tags::STATION_NAME, VR::SH, "MR 1");
    put(&mut item, tags::TRIGGER_TIME, VR::DS, "41.5");
    put(&mut item, tags::ECHO_TIME, VR::DS, "DOE");
    for (tag, value) in [
        (tags::ROWS, 1),
        (tags::COLUMNS, 2),
        (tags::SAMPLES_PER_PIXEL, 1),
        (tags::BITS_ALLOCATED, 16),
        (tags::BITS_STORED, 12),
        (tags::HIGH_BIT, 11),
        (tags::PIXEL_REPRESENTATION, 0),
    ] {
        put(&mut item, tag, VR::US, PrimitiveValue::from(value as u16));
    }
    let mut inner = InMemDicomObject::new_empty();
    put(&mut inner, tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, "1.2.3");
    put(&mut inner, tags::PATIENT_NAME, VR::PN, "Doe^Jane");
    put(&mut inner, Tag(0x0029, 0x0010), VR::LO, "DOE");
    item.put(DataElement::new(tags::REFERENCED_IMAGE_SEQUENCE, VR::SQ, DataSetSequence::from(vec![inner.clone()])));
    item.put(DataElement::new(tags::REQUEST_ATTRIBUTES_SEQUENCE, VR::SQ, DataSetSequence::from(vec![inner])));
    put(&mut item, Tag(0x6000, 0x4000), VR::LT, "Doe");
    put(&mut item, tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16([0xF123, 0x0FFF].to_vec().into()));
    item
}

fn file(item: InMemDicomObject, syntax: &str) -> Vec<u8> {
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(uids::MR_IMAGE_STORAGE)
        .media_storage_sop_instance_uid("1.2.3")
        .transfer_syntax(syntax)
        .source_application_entity_title("DOE");
    let mut bytes = Vec::new();
    item.with_exact_meta(meta.build().unwrap()).write_all(&mut bytes).unwrap();
    bytes[..8].copy_from_slice(b"DOE JANE");
    bytes
}

fn open(bytes: &[u8]) -> DefaultDicomObject {
    dicom::object::from_reader(bytes).unwrap()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window.eq_ignore_ascii_case(text.as_bytes()))
}

#[test]
fn every_native_syntax_is_cleaned_and_stays_what_it_is() {
    for syntax in [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN] {
        let copied = copy(&file(data_set(), syntax), "a", &subject(), &ids()).unwrap();
        assert!(!holds(&copied, "doe") && copied.starts_with(&[0; 128]), "{syntax}");
        let new = open(&copied);
        assert_eq!(new.meta().transfer_syntax().trim_end_matches('\0'), syntax);
        let text = |tag| new.get(tag).map(|found| found.to_str().unwrap().trim().to_owned());
        let uid = uid::replaced(&ids(), "1.2.3");
        assert_eq!(text(tags::SOP_INSTANCE_UID), Some(uid.clone()));
        assert_eq!(new.meta().media_storage_sop_instance_uid().trim_end_matches('\0'), uid);
        let reference = new.get(tags::REFERENCED_IMAGE_SEQUENCE).unwrap().items().unwrap();
        assert_eq!(reference[0].get(tags::REFERENCED_SOP_INSTANCE_UID).unwrap().to_str().unwrap(), uid);
        assert_eq!(text(tags::PATIENT_AGE).as_deref(), Some("090Y"));
        assert_eq!(text(tags::IMAGE_TYPE).as_deref(), Some("ORIGINAL\\PRIMARY"));
        assert_eq!(text(tags::STATION_NAME).as_deref(), Some("MR 1"));
        assert_eq!(text(tags::TRIGGER_TIME).as_deref(), Some("41.5"));
        assert_eq!([tags::INSTITUTION_NAME, tags::ECHO_TIME].map(text), [Some(String::new()), Some(String::new())]);
        // Bit 12 and above are no pixel's: 0xF123 becomes 0x123.
        assert_eq!(new.get(tags::PIXEL_DATA).unwrap().to_multi_int::<u16>().unwrap(), [0x0123, 0x0FFF], "{syntax}");
    }
}

/// By hand (Chenevert et al. 2014): stored 3, slope 2, intercept 4, scale slope 0.25 give (3 x 2 + 4) / (2 x 0.25) = 20.
#[test]
fn the_scales_of_philips_stay_and_nothing_else_that_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let pixel = |bytes: &[u8]| {
        let path = folder.path().join("a.dcm");
        crate::fsx::write_atomic(&path, bytes).unwrap();
        pixels::read_frames(&Opener::new(), &path, &[0]).unwrap()[0][0][[0, 0]]
    };
    let scaled = |item: &mut InMemDicomObject, vr| {
        put(item, Tag(0x2005, 0x0012), VR::LO, "Philips MR Imaging DD 001");
        put(item, Tag(0x2005, 0x120D), vr, PrimitiveValue::from(4.0_f32));
        let slope = 0.25_f32;
        let unknown = PrimitiveValue::U8(slope.to_le_bytes().to_vec().into());
        put(item, Tag(0x2005, 0x120E), vr, if vr == VR::UN { unknown } else { PrimitiveValue::from(slope) });
        put(item, Tag(0x2005, 0x1233), VR::LO, "DOE");
        put(item, Tag(0x0010, 0x0010), VR::PN, "DOE");
    };
    let classic = |vr| {
        let mut item = data_set();
        scaled(&mut item, vr);
        item
    };
    let enhanced = |is_unknown: bool| {
        let (mut item, mut group, mut frame) =
            (data_set(), InMemDicomObject::new_empty(), InMemDicomObject::new_empty());
        scaled(&mut frame, VR::FL);
        put(&mut group, Tag(0x2005, 0x0014), VR::LO, "Philips MR Imaging DD 005");
        let tag = Tag(0x2005, 0x140F);
        if is_unknown {
            let mut bytes = Vec::new();
            let implicit = TransferSyntaxRegistry.get(uids::IMPLICIT_VR_LITTLE_ENDIAN).unwrap();
            frame.write_dataset_with_ts(&mut bytes, implicit).unwrap();
            let head = [&[0xFE, 0xFF, 0, 0xE0][..], &u32::try_from(bytes.len()).unwrap().to_le_bytes()].concat();
            put(&mut group, tag, VR::UN, PrimitiveValue::U8([head, bytes].concat().into()));
        } else {
            group.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(vec![frame])));
        }
        item.put(DataElement::new(
            tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
            VR::SQ,
            DataSetSequence::from(vec![group]),
        ));
        item
    };
    let [explicit, implicit] = [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN];
    for (mut item, syntax) in [
        (classic(VR::FL), explicit),
        (classic(VR::FL), implicit),
        (classic(VR::FL), EXPLICIT_VR_BIG_ENDIAN),
        (classic(VR::UN), explicit),
        (enhanced(false), explicit),
        (enhanced(false), implicit),
        (enhanced(true), explicit),
        (enhanced(true), implicit),
    ] {
        put(&mut item, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
        put(&mut item, tags::RESCALE_SLOPE, VR::DS, "2");
        put(&mut item, tags::RESCALE_INTERCEPT, VR::DS, "4");
        put(&mut item, tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16([3, 0].to_vec().into()));
        let original = file(item, syntax);
        let copied = copy(&original, "a", &subject(), &ids()).unwrap();
        assert_eq!((pixel(&original), pixel(&copied)), (20.0, 20.0), "{syntax}");
        assert!(!holds(&copied, "doe"), "{syntax}");
    }
}

/// Bytes of the name from PS3.5 annex H (`\\ISO 2022 IR 87`), of the institution the same letters; Latin-1 by its table.
#[test]
fn kept_texts_in_several_character_sets_become_utf_8() {
    let kept = |sets: &str, name: &[u8], institution: &[u8]| {
        let raw =
            |bytes: &[u8]| PrimitiveValue::U8([bytes, if bytes.len() % 2 == 1 { b" " } else { b"" }].concat().into());
        let mut item = data_set();
        put(&mut item, tags::SPECIFIC_CHARACTER_SET, VR::CS, sets);
        item.put(DataElement::new(tags::PATIENT_NAME, VR::PN, raw(name)));
        item.put(DataElement::new(tags::INSTITUTION_NAME, VR::LO, raw(institution)));
        item.put(DataElement::new(tags::SERIES_DESCRIPTION, VR::LO, raw(&[institution, b" cine sax"].concat())));
        let copied = copy(&file(item, uids::EXPLICIT_VR_LITTLE_ENDIAN), "a", &subject(), &ids()).unwrap();
        let new = open(&copied);
        let text = |tag| new.get(tag).map_or_else(String::new, |found| found.to_str().unwrap().trim().to_owned());
        assert_eq!(text(tags::SERIES_DESCRIPTION), "cine_sax");
        (text(tags::SPECIFIC_CHARACTER_SET), text(tags::INSTITUTION_NAME))
    };
    let (yamada, tarou) = (b"\x1b$B;3ED\x1b(B", b"\x1b$BB@O:\x1b(B");
    let utf8 = |text: &str| ("ISO_IR 192".to_owned(), text.to_owned());
    let nothing = (String::new(), String::new());
    let japanese = "\\ISO 2022 IR 87";
    assert_eq!(kept(japanese, b"Doe", yamada), utf8("山田"));
    assert_eq!(kept(japanese, &[&yamada[..], b"^", tarou].concat(), &[&tarou[..], b" Klinik"].concat()), nothing);
    assert_eq!(kept("ISO_IR 100", b"Doe", b"Universit\xe4t"), utf8("Universität"));
    assert_eq!(kept("ISO 2022 IR 6\\ISO 2022 IR 100", b"Doe", b"Universit\xe4t"), utf8("Universität"));
}

#[test]
fn text_in_place_of_a_scale_is_removed() {
    let mut item = data_set();
    put(&mut item, Tag(0x2005, 0x0010), VR::LO, "Philips MR Imaging DD 001");
    put(&mut item, Tag(0x2005, 0x100D), VR::LO, "DOE");
    put(&mut item, Tag(0x2005, 0x100E), VR::UN, PrimitiveValue::U8(b"DOE JANE".to_vec().into()));
    let copied = copy(&file(item, uids::EXPLICIT_VR_LITTLE_ENDIAN), "a", &subject(), &ids()).unwrap();
    assert!(!holds(&copied, "doe") && !holds(&copied, "philips"));
}

#[test]
fn signed_pixels_keep_their_sign_in_the_unused_bits() {
    let mut item = data_set();
    put(&mut item, tags::PIXEL_REPRESENTATION, VR::US, PrimitiveValue::from(1_u16));
    // -1 and 5 in 12 bits, with other things above.
    put(&mut item, tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16([0x3FFF, 0x7005].to_vec().into()));
    let copied = copy(&file(item, uids::EXPLICIT_VR_LITTLE_ENDIAN), "a", &subject(), &ids()).unwrap();
    assert_eq!(open(&copied).get(tags::PIXEL_DATA).unwrap().to_multi_int::<u16>().unwrap(), [0xFFFF, 0x0005]);
}

#[test]
fn fragments_are_copied_as_they_are_and_what_follows_is_dropped() {
    let mut item = data_set();
    item.remove_element(tags::PIXEL_DATA);
    let mut bytes = file(item, uids::JPEG2000_LOSSLESS);
    let pixels = [
        &[0xE0, 0x7F, 0x10, 0, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE, 0xFF, 0, 0xE0, 0, 0, 0, 0][..],
        &[0xFE, 0xFF, 0, 0xE0, 4, 0, 0, 0, 1, 2, 3, 4, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0],
    ]
    .concat();
    bytes.extend(&pixels);
    bytes.extend([0xFC, 0xFF, 0xFC, 0xFF, b'O', b'B', 0, 0, 4, 0, 0, 0, b'D', b'O', b'E', 0]);
    let copied = copy(&bytes, "a", &subject(), &ids()).unwrap();
    assert!(copied.ends_with(&pixels));
    assert!(!holds(&copied, "doe"));
}

#[test]
fn an_overlay_in_compressed_pixels_is_refused() {
    let mut item = data_set();
    item.remove_element(tags::PIXEL_DATA);
    put(&mut item, Tag(0x6000, 0x0100), VR::US, PrimitiveValue::from(16_u16));
    let mut bytes = file(item, uids::JPEG2000_LOSSLESS);
    bytes.extend([0xE0, 0x7F, 0x10, 0, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    assert_eq!(copy(&bytes, "a", &subject(), &ids()), Err(DeidentifyError::HiddenOverlay));
}

#[test]
fn a_deflated_data_set_stays_deflated() {
    let plain = file(data_set(), uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let (_, start) = syntax_and_start(&plain).unwrap();
    // The meta group of a file that says deflated, then the same data set deflated.
    let mut bytes = file(InMemDicomObject::new_empty(), uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let place = bytes.windows(20).position(|window| window == b"1.2.840.10008.1.2.1\0").unwrap();
    let head = place - 8;
    let length = [22, 0];
    bytes.splice(head + 6..place + 20, length.into_iter().chain(*b"1.2.840.10008.1.2.1.99"));
    bytes.extend(deflate(&plain[start..]).unwrap());
    let copied = copy(&bytes, "a", &subject(), &ids()).unwrap();
    let (syntax, start) = syntax_and_start(&copied).unwrap();
    assert_eq!(syntax, uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN);
    let inflated = inflate(&copied[start..]).unwrap();
    assert!(holds(&inflated, "MR 1") && !holds(&inflated, "doe"));
}

#[test]
fn a_bare_data_set_becomes_a_file() {
    let plain = file(data_set(), uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let (_, start) = syntax_and_start(&plain).unwrap();
    let copied = copy(&plain[start..], "a", &subject(), &ids()).unwrap();
    assert_eq!(open(&copied).get(tags::ROWS).unwrap().to_int::<u16>().unwrap(), 1);
}

proptest! {
    /// Hostile files: any change and any cut is an error or a copy, never a panic.
    #[test]
    fn damaged_files_never_panic(cut in 0_usize..2000, changes in prop::collection::vec((132_usize..1200, any::<u8>()), 0..6)) {
        let mut bytes = file(data_set(), uids::EXPLICIT_VR_LITTLE_ENDIAN);
        for (at, value) in changes {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes.truncate(cut.max(140));
        let _ = copy(&bytes, "a", &subject(), &ids());
    }
}
