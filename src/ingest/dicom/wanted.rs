//! The attributes that ingest reads, with their value representations (PS3.6). All others are stepped over.

use dicom::core::{Tag, VR};
use dicom::dictionary_std::tags;

/// By tag.
const WANTED: [(Tag, VR); 79] = [
    (tags::SPECIFIC_CHARACTER_SET, VR::CS),
    (tags::IMAGE_TYPE, VR::CS),
    (tags::SOP_CLASS_UID, VR::UI),
    (tags::SOP_INSTANCE_UID, VR::UI),
    (tags::STUDY_DATE, VR::DA),
    (tags::ACQUISITION_DATE, VR::DA),
    (tags::CONTENT_DATE, VR::DA),
    (tags::ACQUISITION_DATE_TIME, VR::DT),
    (tags::ACQUISITION_TIME, VR::TM),
    (tags::CONTENT_TIME, VR::TM),
    (tags::ACCESSION_NUMBER, VR::SH),
    (tags::MODALITY, VR::CS),
    (tags::MANUFACTURER, VR::LO),
    (tags::INSTITUTION_NAME, VR::LO),
    (tags::STATION_NAME, VR::SH),
    (tags::SERIES_DESCRIPTION, VR::LO),
    (tags::MANUFACTURER_MODEL_NAME, VR::LO),
    (tags::FRAME_TYPE, VR::CS),
    (tags::PATIENT_NAME, VR::PN),
    (tags::PATIENT_ID, VR::LO),
    (tags::ISSUER_OF_PATIENT_ID, VR::LO),
    (tags::PATIENT_BIRTH_DATE, VR::DA),
    (tags::PATIENT_SEX, VR::CS),
    (tags::PATIENT_AGE, VR::AS),
    (tags::SCANNING_SEQUENCE, VR::CS),
    (tags::SLICE_THICKNESS, VR::DS),
    (tags::INVERSION_TIME, VR::DS),
    (tags::ECHO_NUMBERS, VR::IS),
    (tags::MAGNETIC_FIELD_STRENGTH, VR::DS),
    (tags::DEVICE_SERIAL_NUMBER, VR::LO),
    (tags::SOFTWARE_VERSIONS, VR::LO),
    (tags::PROTOCOL_NAME, VR::LO),
    (tags::TRIGGER_TIME, VR::DS),
    (tags::CARDIAC_NUMBER_OF_IMAGES, VR::IS),
    (tags::FRAME_ACQUISITION_DATE_TIME, VR::DT),
    (tags::CARDIAC_SYNCHRONIZATION_SEQUENCE, VR::SQ),
    (tags::MR_IMAGE_FRAME_TYPE_SEQUENCE, VR::SQ),
    (tags::STUDY_INSTANCE_UID, VR::UI),
    (tags::SERIES_INSTANCE_UID, VR::UI),
    (tags::SERIES_NUMBER, VR::IS),
    (tags::ACQUISITION_NUMBER, VR::IS),
    (tags::INSTANCE_NUMBER, VR::IS),
    (tags::IMAGE_POSITION_PATIENT, VR::DS),
    (tags::IMAGE_ORIENTATION_PATIENT, VR::DS),
    (tags::FRAME_OF_REFERENCE_UID, VR::UI),
    (tags::TEMPORAL_POSITION_IDENTIFIER, VR::IS),
    (tags::NUMBER_OF_TEMPORAL_POSITIONS, VR::IS),
    (tags::FRAME_CONTENT_SEQUENCE, VR::SQ),
    (tags::PLANE_POSITION_SEQUENCE, VR::SQ),
    (tags::PLANE_ORIENTATION_SEQUENCE, VR::SQ),
    (tags::TEMPORAL_POSITION_INDEX, VR::UL),
    (tags::NOMINAL_CARDIAC_TRIGGER_DELAY_TIME, VR::FD),
    (tags::FRAME_ACQUISITION_NUMBER, VR::US),
    (tags::ACTUAL_CARDIAC_TRIGGER_DELAY_TIME, VR::FD),
    (tags::SAMPLES_PER_PIXEL, VR::US),
    (tags::PHOTOMETRIC_INTERPRETATION, VR::CS),
    (tags::NUMBER_OF_FRAMES, VR::IS),
    (tags::ROWS, VR::US),
    (tags::COLUMNS, VR::US),
    (tags::PIXEL_SPACING, VR::DS),
    (tags::BITS_ALLOCATED, VR::US),
    (tags::BITS_STORED, VR::US),
    (tags::HIGH_BIT, VR::US),
    (tags::PIXEL_REPRESENTATION, VR::US),
    (tags::BURNED_IN_ANNOTATION, VR::CS),
    (tags::RESCALE_INTERCEPT, VR::DS),
    (tags::RESCALE_SLOPE, VR::DS),
    (tags::LOSSY_IMAGE_COMPRESSION, VR::CS),
    (tags::MODALITY_LUT_SEQUENCE, VR::SQ),
    (tags::LUT_DESCRIPTOR, VR::US),
    (tags::LUT_DATA, VR::OW),
    (tags::PIXEL_MEASURES_SEQUENCE, VR::SQ),
    (tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, VR::SQ),
    (tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, VR::SQ),
    (tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, VR::SQ),
    (tags::EXTENDED_OFFSET_TABLE, VR::OV),
    (tags::EXTENDED_OFFSET_TABLE_LENGTHS, VR::OV),
    (tags::FLOAT_PIXEL_DATA, VR::OF),
    (tags::DOUBLE_FLOAT_PIXEL_DATA, VR::OD),
];

/// Group, and element within the block that a private creator reserves (PS3.5 7.8.1).
const PRIVATE: [(u16, u8, VR); 5] = [
    // NumberOfImagesInMosaic of `SIEMENS MR HEADER`.
    (0x0019, 0x0A, VR::US),
    // Number of images in the grid of `Image Private Header` (United Imaging).
    (0x0065, 0x50, VR::DS),
    // Scale intercept and slope of `Philips MR Imaging DD 001`, and the per-frame sequence of `Philips MR Imaging DD 005` that holds
    // them.
    (0x2005, 0x0D, VR::FL),
    (0x2005, 0x0E, VR::FL),
    (0x2005, 0x0F, VR::SQ),
];

/// The value representation of an attribute that is kept; `None` for all others.
pub fn wanted(tag: Tag) -> Option<VR> {
    if tag.0 % 2 == 1 {
        return private(tag);
    }
    WANTED.binary_search_by_key(&tag, |(known, _)| *known).ok().map(|index| WANTED[index].1)
}

fn private(tag: Tag) -> Option<VR> {
    let mut of_group = PRIVATE.iter().filter(|(group, ..)| *group == tag.0).peekable();
    of_group.peek()?;
    if (0x10..=0xFF).contains(&tag.1) {
        return Some(VR::LO);
    }
    of_group.find(|(_, element, _)| tag.1 >= 0x1000 && tag.1 & 0xFF == u16::from(*element)).map(|(_, _, vr)| *vr)
}

#[cfg(test)]
mod tests {
    use dicom::core::DataDictionary;
    use dicom::core::dictionary::{DataDictionaryEntry, VirtualVr};
    use dicom::dictionary_std::StandardDataDictionary;

    use super::*;

    #[test]
    fn the_table_is_sorted_and_agrees_with_the_dictionary_of_the_standard() {
        assert!(WANTED.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (tag, vr) in WANTED {
            let entry = StandardDataDictionary.by_tag(tag).unwrap();
            match entry.vr() {
                VirtualVr::Exact(exact) => assert_eq!(exact, vr, "{}", entry.alias),
                _ => assert!(matches!(vr, VR::US | VR::OW), "{}", entry.alias),
            }
        }
    }

    #[test]
    fn private_elements_are_known_by_their_place_in_a_block() {
        assert_eq!(wanted(Tag(0x0019, 0x0011)), Some(VR::LO));
        assert_eq!(wanted(Tag(0x0019, 0x110A)), Some(VR::US));
        assert_eq!(wanted(Tag(0x0019, 0x110B)), None);
        assert_eq!(wanted(Tag(0x0021, 0x100A)), None);
    }
}
