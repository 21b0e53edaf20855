//! Stored values, rescale and refusals on objects made here; whole files against pydicom are in `tests/integration/pixels.rs`.

use dicom::core::value::DataSetSequence;
use dicom::core::{DataElement, PrimitiveValue, VR};
use dicom::dictionary_std::uids;
use dicom::object::{FileMetaTableBuilder, InMemDicomObject};

use super::super::super::content::Opener;
use super::*;
use crate::fsx;

fn read(path: &Path, frames: &[i32]) -> Result<Vec<Channels>, PixelsError> {
    super::read(path, &Opener::new().open(path).unwrap(), frames)
}

/// A 2 x 2 object of these stored words (two bytes a pixel) or bytes.
fn object(stored: PrimitiveValue, bits: [u16; 3], signed: u16) -> InMemDicomObject {
    let [allocated, kept, high] = bits;
    let number = |tag, value: u16| DataElement::new(tag, VR::US, PrimitiveValue::from(value));
    let vr = if allocated == 8 { VR::OB } else { VR::OW };
    InMemDicomObject::from_element_iter([
        DataElement::new(tags::SOP_CLASS_UID, VR::UI, PrimitiveValue::from(uids::MR_IMAGE_STORAGE)),
        DataElement::new(tags::SOP_INSTANCE_UID, VR::UI, PrimitiveValue::from("2.25.1")),
        DataElement::new(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, PrimitiveValue::from("MONOCHROME2")),
        number(tags::SAMPLES_PER_PIXEL, 1),
        number(tags::ROWS, 2),
        number(tags::COLUMNS, 2),
        number(tags::BITS_ALLOCATED, allocated),
        number(tags::BITS_STORED, kept),
        number(tags::HIGH_BIT, high),
        number(tags::PIXEL_REPRESENTATION, signed),
        DataElement::new(tags::PIXEL_DATA, vr, stored),
    ])
}

fn words(values: [u16; 4]) -> PrimitiveValue {
    PrimitiveValue::U16(values.into_iter().collect())
}

fn text(object: &mut InMemDicomObject, tag: Tag, vr: VR, value: &str) {
    object.put(DataElement::new(tag, vr, PrimitiveValue::from(value)));
}

/// An item with a rescale, in the sequence that holds it.
fn transformation(slope: &str, intercept: &str) -> DataElement<InMemDicomObject> {
    let mut item = InMemDicomObject::new_empty();
    text(&mut item, tags::RESCALE_SLOPE, VR::DS, slope);
    text(&mut item, tags::RESCALE_INTERCEPT, VR::DS, intercept);
    DataElement::new(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, VR::SQ, DataSetSequence::from(vec![item]))
}

fn sequence(object: &mut InMemDicomObject, tag: Tag, items: Vec<InMemDicomObject>) {
    object.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
}

fn read_object(object: InMemDicomObject, frames: &[i32]) -> Result<Vec<Vec<f32>>, PixelsError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.dcm");
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    object.with_meta(meta).unwrap().write_to_file(&path).unwrap();
    let read = read(&path, frames)?;
    Ok(read.into_iter().map(|channels| channels[0].iter().copied().collect()).collect())
}

/// Name and found value of the attribute that was refused.
fn refused(object: InMemDicomObject) -> String {
    let error = read_object(object, &[0]).unwrap_err();
    std::error::Error::source(&error).unwrap().to_string()
}

/// By hand: 12 of 16 bits, high bit 11: bits above are no part of the value; 0xfff is -1 when signed.
#[test]
fn stored_bits_are_masked_shifted_and_sign_extended() {
    let unsigned = object(words([0x0fff, 0xf001, 0x0800, 0]), [16, 12, 11], 0);
    assert_eq!(read_object(unsigned, &[0]).unwrap(), [[4095.0, 1.0, 2048.0, 0.0]]);
    let signed = object(words([0x0fff, 0xf001, 0x0800, 0x07ff]), [16, 12, 11], 1);
    assert_eq!(read_object(signed, &[0]).unwrap(), [[-1.0, 1.0, -2048.0, 2047.0]]);
    let shifted = object(words([0xfff0, 0x001f, 0x8000, 0]), [16, 12, 15], 0);
    assert_eq!(read_object(shifted, &[0]).unwrap(), [[4095.0, 1.0, 2048.0, 0.0]]);
    let whole = object(words([0xffff, 0x8000, 0x7fff, 0]), [16, 16, 15], 1);
    assert_eq!(read_object(whole, &[0]).unwrap(), [[-1.0, -32768.0, 32767.0, 0.0]]);
    let bytes = object(PrimitiveValue::U8([255, 128, 1, 0].into_iter().collect()), [8, 8, 7], 0);
    assert_eq!(read_object(bytes, &[0]).unwrap(), [[255.0, 128.0, 1.0, 0.0]]);
}

/// By hand: inverted within the stored range, then rescaled.
#[test]
fn monochrome1_is_inverted_before_the_rescale() {
    let mut unsigned = object(words([0, 4095, 1, 2]), [16, 12, 11], 0);
    text(&mut unsigned, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME1");
    text(&mut unsigned, tags::RESCALE_SLOPE, VR::DS, "2");
    assert_eq!(read_object(unsigned, &[0]).unwrap(), [[8190.0, 0.0, 8188.0, 8186.0]]);
    let mut signed = object(words([0xf800, 0x07ff, 0, 0x0fff]), [16, 12, 11], 1);
    text(&mut signed, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME1");
    assert_eq!(read_object(signed, &[0]).unwrap(), [[2047.0, -2048.0, -1.0, 0.0]]);
}

#[test]
fn a_missing_rescale_is_1_and_0_and_a_malformed_one_is_an_error_that_names_it() {
    let plain = || object(words([0, 1, 2, 3]), [16, 12, 11], 0);
    assert_eq!(read_object(plain(), &[0]).unwrap(), [[0.0, 1.0, 2.0, 3.0]]);
    let mut empty = plain();
    text(&mut empty, tags::RESCALE_SLOPE, VR::DS, "");
    text(&mut empty, tags::RESCALE_INTERCEPT, VR::DS, "-10");
    assert_eq!(read_object(empty, &[0]).unwrap(), [[-10.0, -9.0, -8.0, -7.0]]);
    for (tag, name) in [(tags::RESCALE_SLOPE, "RescaleSlope"), (tags::RESCALE_INTERCEPT, "RescaleIntercept")] {
        for value in ["1,5", "abc", "inf"] {
            let mut wrong = plain();
            text(&mut wrong, tag, VR::DS, value);
            assert!(refused(wrong).contains(name), "{name} {value}");
        }
    }
    let mut zero = plain();
    text(&mut zero, tags::RESCALE_SLOPE, VR::DS, "0");
    assert!(refused(zero).contains("RescaleSlope"));
}

/// By hand: frame 0 has its own rescale, frame 1 the shared one; the object's own is for neither.
#[test]
fn each_frame_of_an_enhanced_object_has_its_own_rescale() {
    let eight: Vec<u16> = (0..8).collect();
    let mut both = object(PrimitiveValue::U16(eight.into_iter().collect()), [16, 12, 11], 0);
    text(&mut both, tags::NUMBER_OF_FRAMES, VR::IS, "2");
    text(&mut both, tags::RESCALE_SLOPE, VR::DS, "100");
    let own = InMemDicomObject::from_element_iter([transformation("10", "1")]);
    sequence(&mut both, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, vec![own, InMemDicomObject::new_empty()]);
    let shared = InMemDicomObject::from_element_iter([transformation("0.5", "0")]);
    sequence(&mut both, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared]);
    let read = read_object(both.clone(), &[1, 0]).unwrap();
    assert_eq!(read, [[2.0, 2.5, 3.0, 3.5], [1.0, 11.0, 21.0, 31.0]]);
    assert!(matches!(read_object(both, &[2]), Err(PixelsError::Frame { wanted: 2, frames: 2, .. })));
}

#[test]
fn objects_that_contradict_themselves_are_refused_by_attribute() {
    let plain = || object(words([0, 1, 2, 3]), [16, 12, 11], 0);
    let with = |tag, value: u16| {
        let mut object = plain();
        object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
        object
    };
    for (tag, value, name) in [
        (tags::ROWS, 3, "PixelData"),
        (tags::ROWS, 0, "Rows"),
        (tags::BITS_STORED, 17, "BitsStored"),
        (tags::BITS_STORED, 0, "BitsStored"),
        (tags::HIGH_BIT, 16, "HighBit"),
        (tags::HIGH_BIT, 3, "HighBit"),
        (tags::BITS_ALLOCATED, 32, "BitsAllocated"),
        (tags::BITS_ALLOCATED, 12, "BitsAllocated"),
        (tags::SAMPLES_PER_PIXEL, 3, "SamplesPerPixel"),
        (tags::PIXEL_REPRESENTATION, 2, "PixelRepresentation"),
    ] {
        assert!(refused(with(tag, value)).contains(name), "{name} {value}");
    }
    let mut colour = plain();
    text(&mut colour, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB");
    assert!(refused(colour).contains("PhotometricInterpretation"));
    let mut empty = plain();
    empty.remove_element(tags::PIXEL_DATA);
    assert!(refused(empty).contains("PixelData"));
    // A header that claims more than any scanner makes: refused before memory is taken.
    let mut giant = with(tags::ROWS, 65_535);
    giant.put(DataElement::new(tags::COLUMNS, VR::US, PrimitiveValue::from(65_535_u16)));
    assert!(refused(giant).contains("Rows"));
}

/// A file whose pixel data announce 4 GB, and one whose only fragment does: neither gets them.
#[test]
fn lengths_beyond_the_file_are_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.dcm");
    let meta = || FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let plain = object(words([0, 1, 2, 3]), [16, 12, 11], 0);
    plain.clone().with_meta(meta()).unwrap().write_to_file(&path).unwrap();
    let mut bytes = fsx::read(&path, 1 << 20).unwrap();
    // The last 12 bytes are the length and 8 bytes of pixels.
    let length = bytes.len() - 12;
    bytes[length..length + 4].copy_from_slice(&0xf000_0000_u32.to_le_bytes());
    fsx::write_atomic(&path, &bytes).unwrap();
    // The four pixels are there all the same: only they are read.
    let found = read(&path, &[0]).unwrap();
    assert_eq!(found[0][0], ndarray::arr2(&[[0.0, 1.0], [2.0, 3.0]]));

    let mut compressed = plain;
    let fragment = vec![1_u8, 2, 3, 4];
    let fragments = dicom::core::value::PixelFragmentSequence::new(Vec::new(), vec![fragment]);
    compressed.put(DataElement::new(tags::PIXEL_DATA, VR::OB, fragments));
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::RLE_LOSSLESS);
    compressed.with_meta(meta).unwrap().write_to_file(&path).unwrap();
    let mut bytes = fsx::read(&path, 1 << 20).unwrap();
    let place = bytes.windows(8).position(|found| found == [4, 0, 0, 0, 1, 2, 3, 4]).unwrap();
    bytes[place..place + 4].copy_from_slice(&0xf000_0000_u32.to_le_bytes());
    fsx::write_atomic(&path, &bytes).unwrap();
    let error = read(&path, &[0]).unwrap_err();
    let reason = std::error::Error::source(&error).unwrap().to_string();
    assert!(reason.contains("cut off within a fragment"), "{reason}");
}

/// By hand, PS3.3 C.11.1.1.1: entries for the stored values 2 to 4; values below and above take the first and last one.
#[test]
fn a_modality_table_is_looked_up() {
    let mut plain = object(words([0, 2, 3, 9]), [16, 12, 11], 0);
    let table = InMemDicomObject::from_element_iter([
        DataElement::new(tags::LUT_DESCRIPTOR, VR::US, PrimitiveValue::U16([3, 2, 16].into_iter().collect())),
        DataElement::new(tags::LUT_DATA, VR::OW, PrimitiveValue::U16([100, 70, 1000].into_iter().collect())),
    ]);
    sequence(&mut plain, tags::MODALITY_LUT_SEQUENCE, vec![table]);
    assert_eq!(read_object(plain.clone(), &[0]).unwrap(), [[100.0, 100.0, 70.0, 1000.0]]);
    let short = InMemDicomObject::from_element_iter([
        DataElement::new(tags::LUT_DESCRIPTOR, VR::US, PrimitiveValue::U16([9, 2, 16].into_iter().collect())),
        DataElement::new(tags::LUT_DATA, VR::OW, PrimitiveValue::U16([100, 70, 1000].into_iter().collect())),
    ]);
    sequence(&mut plain, tags::MODALITY_LUT_SEQUENCE, vec![short]);
    assert!(refused(plain).contains("ModalityLUTSequence"));
}

/// By hand from Chenevert et al. 2014: (stored x slope + intercept) / (slope x scale slope) = (3 x 2 + 4) / (2 x 0.25).
#[test]
fn philips_images_are_brought_to_the_scanners_scale() {
    let philips = |creator: &str| {
        let mut image = object(words([3, 0, 0, 0]), [16, 12, 11], 0);
        text(&mut image, tags::RESCALE_SLOPE, VR::DS, "2");
        text(&mut image, tags::RESCALE_INTERCEPT, VR::DS, "4");
        text(&mut image, Tag(0x2005, 0x0011), VR::LO, creator);
        image.put(DataElement::new(Tag(0x2005, 0x110E), VR::FL, PrimitiveValue::from(0.25_f32)));
        read_object(image, &[0]).unwrap()[0][0]
    };
    assert_eq!(philips("Philips MR Imaging DD 001"), 20.0);
    assert_eq!(philips("somebody else"), 10.0, "3 x 2 + 4");
}
