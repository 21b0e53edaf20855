//! What the options of the profile keep, and the attributes without identity that images, stacking and grouping need.
//!
//! An attribute is exported only by a rule here or by a replacing code of table E.1-1: everything else is removed, known or not.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use dicom::core::Tag;
use dicom::dictionary_std::tags;

/// How a kept attribute is made safe. What does not fit its rule is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Numbers, dates never: binary numbers, IS and DS that are numbers, CS in the standard's letters and free of the patient's tokens.
    Value,
    /// A sequence, whose items are treated by the same rules.
    Sequence,
    /// Free text of the published allow-list, unless it holds a token of the patient's identifiers.
    AllowListed,
    /// Free text, reduced to the words of [`super::words`].
    Words,
    /// A UID that the standard defines; others are removed.
    StandardUid,
    /// One of these terms, else the first.
    Term(&'static [&'static str]),
    /// `M`, `F` or `O`, as the cohort says.
    Sex,
    /// Whole years, 90 for all above 89, as the cohort says.
    Age,
    /// The subject's pseudonym.
    Subject,
    /// A pseudonym of the device's serial number.
    Serial,
    /// A short name that ties frames together: digits stay, other names become pseudonyms.
    StackName,
    /// A code sequence of the anatomic region: the heart.
    Region,
    /// Empty: type 2, or Z chosen where the table leaves the choice.
    Empty,
    /// A dummy: type 1 in a module that frames need.
    Dummy,
    /// A dummy in multi-frame objects, where it is type 1, else removed.
    DummyInMultiFrame,
}

/// Retain Patient Characteristics (113108), Device Identity (113109) and Institution Identity (113112), each limited to what groups
/// are made of; Clean Descriptors (113105); and the choices that table E.1-1 leaves open.
pub const OPTIONS: &[(Tag, Rule)] = &[
    (tags::PATIENT_ID, Rule::Subject),
    (tags::PATIENT_SEX, Rule::Sex),
    (tags::PATIENT_AGE, Rule::Age),
    (tags::MANUFACTURER, Rule::AllowListed),
    (tags::MANUFACTURER_MODEL_NAME, Rule::AllowListed),
    (tags::SOFTWARE_VERSIONS, Rule::AllowListed),
    (tags::STATION_NAME, Rule::AllowListed),
    (tags::INSTITUTION_NAME, Rule::AllowListed),
    (tags::DEVICE_SERIAL_NUMBER, Rule::Serial),
    (tags::SERIES_DESCRIPTION, Rule::Words),
    (tags::PROTOCOL_NAME, Rule::Words),
    (tags::REFERENCED_IMAGE_SEQUENCE, Rule::Sequence),
    (tags::SOURCE_IMAGE_SEQUENCE, Rule::Sequence),
    (tags::ACQUISITION_CONTEXT_SEQUENCE, Rule::Empty),
    (tags::ACQUISITION_DATE_TIME, Rule::DummyInMultiFrame),
];

/// Attributes of text that frames need and that table E.1-1 does not list.
const TEXTS: &[(Tag, Rule)] = &[
    (tags::SOP_CLASS_UID, Rule::StandardUid),
    (tags::REFERENCED_SOP_CLASS_UID, Rule::StandardUid),
    (tags::BODY_PART_EXAMINED, Rule::Term(&["HEART", "CHEST", "THORAX", "AORTA"])),
    (tags::POSITION_REFERENCE_INDICATOR, Rule::Empty),
    (tags::RESCALE_TYPE, Rule::Term(&["US", "HU", "OD", "normalized"])),
    (tags::MODALITY_LUT_TYPE, Rule::Term(&["US", "HU", "OD"])),
    (tags::STACK_ID, Rule::StackName),
    (tags::PULSE_SEQUENCE_NAME, Rule::Dummy),
    (tags::RECEIVE_COIL_NAME, Rule::Dummy),
    (tags::RECEIVE_COIL_MANUFACTURER_NAME, Rule::Empty),
    (tags::TRANSMIT_COIL_NAME, Rule::Dummy),
    (tags::TRANSMIT_COIL_MANUFACTURER_NAME, Rule::Empty),
    (tags::MULTI_COIL_ELEMENT_NAME, Rule::Dummy),
    (tags::ANATOMIC_REGION_SEQUENCE, Rule::Region),
];

/// Sequences of the functional groups (PS3.3 C.7.6.16, C.8.13.5) and of the modules below.
const SEQUENCES: &[Tag] = &[
    tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE,
    tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
    tags::PIXEL_MEASURES_SEQUENCE,
    tags::PLANE_POSITION_SEQUENCE,
    tags::PLANE_ORIENTATION_SEQUENCE,
    tags::FRAME_CONTENT_SEQUENCE,
    tags::FRAME_ANATOMY_SEQUENCE,
    tags::FRAME_VOILUT_SEQUENCE,
    tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE,
    tags::CARDIAC_SYNCHRONIZATION_SEQUENCE,
    tags::RESPIRATORY_SYNCHRONIZATION_SEQUENCE,
    tags::TEMPORAL_POSITION_SEQUENCE,
    tags::MR_IMAGE_FRAME_TYPE_SEQUENCE,
    tags::MR_TIMING_AND_RELATED_PARAMETERS_SEQUENCE,
    tags::SPECIFIC_ABSORPTION_RATE_SEQUENCE,
    tags::OPERATING_MODE_SEQUENCE,
    tags::MRFOV_GEOMETRY_SEQUENCE,
    tags::MR_ECHO_SEQUENCE,
    tags::MR_MODIFIER_SEQUENCE,
    tags::MR_IMAGING_MODIFIER_SEQUENCE,
    tags::MR_RECEIVE_COIL_SEQUENCE,
    tags::MULTI_COIL_DEFINITION_SEQUENCE,
    tags::MR_TRANSMIT_COIL_SEQUENCE,
    tags::MR_AVERAGES_SEQUENCE,
    tags::MR_VELOCITY_ENCODING_SEQUENCE,
    tags::DIMENSION_ORGANIZATION_SEQUENCE,
    tags::DIMENSION_INDEX_SEQUENCE,
    tags::CONVERSION_SOURCE_ATTRIBUTES_SEQUENCE,
    tags::MODALITY_LUT_SEQUENCE,
];

/// Numbers and coded terms: what the image is and how it lies (PS3.3 C.7.3.1, C.7.5.1, C.7.6.1 to C.7.6.3, C.7.6.6, C.11).
const IMAGE: &[Tag] = &[
    tags::MODALITY,
    tags::SERIES_NUMBER,
    tags::LATERALITY,
    tags::PATIENT_POSITION,
    tags::IMAGE_TYPE,
    tags::INSTANCE_NUMBER,
    tags::ACQUISITION_NUMBER,
    tags::IMAGES_IN_ACQUISITION,
    tags::REFERENCED_FRAME_NUMBER,
    tags::QUALITY_CONTROL_IMAGE,
    tags::BURNED_IN_ANNOTATION,
    tags::RECOGNIZABLE_VISUAL_FEATURES,
    tags::LOSSY_IMAGE_COMPRESSION,
    tags::LOSSY_IMAGE_COMPRESSION_RATIO,
    tags::LOSSY_IMAGE_COMPRESSION_METHOD,
    tags::PRESENTATION_LUT_SHAPE,
    tags::PATIENT_ORIENTATION,
    tags::IMAGE_LATERALITY,
    tags::CONTENT_QUALIFICATION,
    tags::PIXEL_SPACING,
    tags::IMAGE_ORIENTATION_PATIENT,
    tags::IMAGE_POSITION_PATIENT,
    tags::SLICE_THICKNESS,
    tags::SPACING_BETWEEN_SLICES,
    tags::SLICE_LOCATION,
    tags::SAMPLES_PER_PIXEL,
    tags::PHOTOMETRIC_INTERPRETATION,
    tags::ROWS,
    tags::COLUMNS,
    tags::NUMBER_OF_FRAMES,
    tags::FRAME_INCREMENT_POINTER,
    tags::PLANAR_CONFIGURATION,
    tags::PIXEL_ASPECT_RATIO,
    tags::BITS_ALLOCATED,
    tags::BITS_STORED,
    tags::HIGH_BIT,
    tags::PIXEL_REPRESENTATION,
    tags::SMALLEST_IMAGE_PIXEL_VALUE,
    tags::LARGEST_IMAGE_PIXEL_VALUE,
    tags::SMALLEST_PIXEL_VALUE_IN_SERIES,
    tags::LARGEST_PIXEL_VALUE_IN_SERIES,
    tags::PIXEL_PADDING_VALUE,
    tags::PIXEL_PADDING_RANGE_LIMIT,
    tags::EXTENDED_OFFSET_TABLE,
    tags::EXTENDED_OFFSET_TABLE_LENGTHS,
    tags::WINDOW_CENTER,
    tags::WINDOW_WIDTH,
    tags::VOILUT_FUNCTION,
    tags::RESCALE_INTERCEPT,
    tags::RESCALE_SLOPE,
    tags::LUT_DESCRIPTOR,
    tags::LUT_DATA,
];

/// Numbers and coded terms of the multi-frame modules (PS3.3 C.7.6.16, C.7.6.17, C.7.6.18).
const FRAMES: &[Tag] = &[
    tags::FRAME_ACQUISITION_NUMBER,
    tags::FRAME_ACQUISITION_DURATION,
    tags::DIMENSION_INDEX_VALUES,
    tags::DIMENSION_INDEX_POINTER,
    tags::FUNCTIONAL_GROUP_POINTER,
    tags::DIMENSION_ORGANIZATION_TYPE,
    tags::IN_STACK_POSITION_NUMBER,
    tags::IN_CONCATENATION_NUMBER,
    tags::IN_CONCATENATION_TOTAL_NUMBER,
    tags::CONCATENATION_FRAME_OFFSET_NUMBER,
    tags::REPRESENTATIVE_FRAME_NUMBER,
    tags::FRAME_LATERALITY,
    tags::FRAME_TYPE,
    tags::PIXEL_PRESENTATION,
    tags::VOLUMETRIC_PROPERTIES,
    tags::VOLUME_BASED_CALCULATION_TECHNIQUE,
    tags::COMPLEX_IMAGE_COMPONENT,
    tags::ACQUISITION_CONTRAST,
];

/// When in the cardiac and respiratory cycle (PS3.3 C.7.6.18, C.8.3.1, C.8.13.5).
const TIMING: &[Tag] = &[
    tags::TRIGGER_TIME,
    tags::NOMINAL_INTERVAL,
    tags::BEAT_REJECTION_FLAG,
    tags::LOW_RR_VALUE,
    tags::HIGH_RR_VALUE,
    tags::INTERVALS_ACQUIRED,
    tags::INTERVALS_REJECTED,
    tags::SKIP_BEATS,
    tags::HEART_RATE,
    tags::CARDIAC_NUMBER_OF_IMAGES,
    tags::TRIGGER_WINDOW,
    tags::TEMPORAL_POSITION_IDENTIFIER,
    tags::TEMPORAL_POSITION_INDEX,
    tags::TEMPORAL_POSITION_TIME_OFFSET,
    tags::NUMBER_OF_TEMPORAL_POSITIONS,
    tags::TEMPORAL_RESOLUTION,
    tags::CARDIAC_SYNCHRONIZATION_TECHNIQUE,
    tags::CARDIAC_SIGNAL_SOURCE,
    tags::CARDIAC_RR_INTERVAL_SPECIFIED,
    tags::CARDIAC_BEAT_REJECTION_TECHNIQUE,
    tags::CARDIAC_CYCLE_POSITION,
    tags::NOMINAL_PERCENTAGE_OF_CARDIAC_PHASE,
    tags::NOMINAL_CARDIAC_TRIGGER_DELAY_TIME,
    tags::NOMINAL_CARDIAC_TRIGGER_TIME_PRIOR_TO_R_PEAK,
    tags::ACTUAL_CARDIAC_TRIGGER_DELAY_TIME,
    tags::ACTUAL_CARDIAC_TRIGGER_TIME_PRIOR_TO_R_PEAK,
    tags::RR_INTERVAL_TIME_NOMINAL,
    tags::RESPIRATORY_CYCLE_POSITION,
    tags::RESPIRATORY_MOTION_COMPENSATION_TECHNIQUE,
    tags::RESPIRATORY_SIGNAL_SOURCE,
];

/// How it was measured (PS3.3 C.8.3.1, C.8.13.1 to C.8.13.5).
const MEASUREMENT: &[Tag] = &[
    tags::SCANNING_SEQUENCE,
    tags::SEQUENCE_VARIANT,
    tags::SCAN_OPTIONS,
    tags::MR_ACQUISITION_TYPE,
    tags::ANGIO_FLAG,
    tags::REPETITION_TIME,
    tags::ECHO_TIME,
    tags::EFFECTIVE_ECHO_TIME,
    tags::ECHO_NUMBERS,
    tags::ECHO_TRAIN_LENGTH,
    tags::RF_ECHO_TRAIN_LENGTH,
    tags::GRADIENT_ECHO_TRAIN_LENGTH,
    tags::INVERSION_TIME,
    tags::INVERSION_TIMES,
    tags::FLIP_ANGLE,
    tags::VARIABLE_FLIP_ANGLE_FLAG,
    tags::NUMBER_OF_AVERAGES,
    tags::IMAGING_FREQUENCY,
    tags::TRANSMITTER_FREQUENCY,
    tags::RESONANT_NUCLEUS,
    tags::MAGNETIC_FIELD_STRENGTH,
    tags::PIXEL_BANDWIDTH,
    tags::RECONSTRUCTION_DIAMETER,
    tags::ACQUISITION_MATRIX,
    tags::IN_PLANE_PHASE_ENCODING_DIRECTION,
    tags::NUMBER_OF_PHASE_ENCODING_STEPS,
    tags::PERCENT_SAMPLING,
    tags::PERCENT_PHASE_FIELD_OF_VIEW,
    tags::MR_ACQUISITION_FREQUENCY_ENCODING_STEPS,
    tags::MR_ACQUISITION_PHASE_ENCODING_STEPS_IN_PLANE,
    tags::MR_ACQUISITION_PHASE_ENCODING_STEPS_OUT_OF_PLANE,
    tags::SAR,
    tags::D_BDT,
    tags::B1RMS,
    tags::SPECIFIC_ABSORPTION_RATE_DEFINITION,
    tags::SPECIFIC_ABSORPTION_RATE_VALUE,
    tags::GRADIENT_OUTPUT_TYPE,
    tags::GRADIENT_OUTPUT,
    tags::OPERATING_MODE_TYPE,
    tags::OPERATING_MODE,
    tags::APPLICABLE_SAFETY_STANDARD_AGENCY,
    tags::ACQUISITION_DURATION,
    tags::K_SPACE_FILTERING,
    tags::ECHO_PULSE_SEQUENCE,
    tags::MULTIPLE_SPIN_ECHO,
    tags::MULTI_PLANAR_EXCITATION,
    tags::PHASE_CONTRAST,
    tags::VELOCITY_ENCODING_ACQUISITION_SEQUENCE,
    tags::VELOCITY_ENCODING_DIRECTION,
    tags::VELOCITY_ENCODING_MINIMUM_VALUE,
    tags::VELOCITY_ENCODING_MAXIMUM_VALUE,
    tags::TIME_OF_FLIGHT_CONTRAST,
    tags::ARTERIAL_SPIN_LABELING_CONTRAST,
    tags::STEADY_STATE_PULSE_SEQUENCE,
    tags::ECHO_PLANAR_PULSE_SEQUENCE,
    tags::SATURATION_RECOVERY,
    tags::SPECTRALLY_SELECTED_SUPPRESSION,
    tags::SPECTRALLY_SELECTED_EXCITATION,
    tags::SPATIAL_PRESATURATION,
    tags::OVERSAMPLING_PHASE,
    tags::SEGMENTED_K_SPACE_TRAVERSAL,
    tags::NUMBER_OF_K_SPACE_TRAJECTORIES,
    tags::GEOMETRY_OF_K_SPACE_TRAVERSAL,
    tags::RECTILINEAR_PHASE_ENCODE_REORDERING,
    tags::COVERAGE_OF_K_SPACE,
    tags::INVERSION_RECOVERY,
    tags::FLOW_COMPENSATION,
    tags::FLOW_COMPENSATION_DIRECTION,
    tags::SPOILING,
    tags::T2_PREPARATION,
    tags::PARTIAL_FOURIER,
    tags::PARTIAL_FOURIER_DIRECTION,
    tags::PARALLEL_ACQUISITION,
    tags::PARALLEL_ACQUISITION_TECHNIQUE,
    tags::PARALLEL_REDUCTION_FACTOR_IN_PLANE,
    tags::PARALLEL_REDUCTION_FACTOR_OUT_OF_PLANE,
    tags::PARALLEL_REDUCTION_FACTOR_SECOND_IN_PLANE,
    tags::MAGNETIZATION_TRANSFER,
    tags::BLOOD_SIGNAL_NULLING,
    tags::TAGGING,
    tags::RECEIVE_COIL_TYPE,
    tags::QUADRATURE_RECEIVE_COIL,
    tags::MULTI_COIL_ELEMENT_USED,
    tags::TRANSMIT_COIL_TYPE,
];

/// The rule that keeps an attribute; `None`: table E.1-1 decides, and what it does not list is removed.
pub fn rule(tag: Tag) -> Option<Rule> {
    static RULES: LazyLock<BTreeMap<Tag, Rule>> = LazyLock::new(|| {
        let values = [IMAGE, FRAMES, TIMING, MEASUREMENT].concat().into_iter().map(|tag| (tag, Rule::Value));
        let sequences = SEQUENCES.iter().map(|tag| (*tag, Rule::Sequence));
        values.chain(sequences).chain(TEXTS.iter().copied()).chain(OPTIONS.iter().copied()).collect()
    });
    RULES.get(&tag).copied()
}

/// Coded terms of the standard that are no patient's name, whatever a patient is called.
pub const TERMS: &[&str] = &[
    "MR",
    "ORIGINAL",
    "DERIVED",
    "MIXED",
    "PRIMARY",
    "SECONDARY",
    "SE",
    "IR",
    "GR",
    "EP",
    "RM",
    "SK",
    "MTC",
    "SS",
    "TRSS",
    "SP",
    "MP",
    "OSP",
    "NONE",
    "2D",
    "3D",
    "YES",
    "NO",
    "Y",
    "N",
    "MONOCHROME1",
    "MONOCHROME2",
    "HFS",
    "HFP",
    "FFS",
    "FFP",
];

#[cfg(test)]
mod tests {
    use dicom::core::dictionary::{DataDictionaryEntry, VirtualVr};
    use dicom::core::{DataDictionary, VR};
    use dicom::dictionary_std::StandardDataDictionary;

    use super::super::profile::{Code, PROFILE, published};
    use super::*;

    /// The keywords against dicom-rs's dictionary, which is made from PS3.6.
    #[test]
    fn the_published_table_is_sorted_and_names_its_attributes_as_the_dictionary_does() {
        assert!(PROFILE.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let known = PROFILE.iter().filter_map(|(tag, keyword, _)| {
            let entry = StandardDataDictionary.by_tag(*tag)?;
            assert_eq!(entry.alias, *keyword, "{tag}");
            Some(())
        });
        assert!(known.count() > 600);
    }

    /// Some rows by hand from PS3.15 table E.1-1.
    #[test]
    fn the_codes_are_those_of_the_standard() {
        for (tag, code) in [
            (tags::ACCESSION_NUMBER, Code::Z),
            (tags::PATIENT_NAME, Code::Z),
            (tags::PATIENT_ID, Code::Zd),
            (tags::STUDY_INSTANCE_UID, Code::U),
            (tags::PATIENT_ADDRESS, Code::X),
            (tags::ACQUISITION_DATE, Code::Xz),
            (tags::CONTENT_DATE, Code::Zd),
            (tags::INSTITUTION_NAME, Code::Xzd),
            (tags::REFERENCED_IMAGE_SEQUENCE, Code::Xzu),
        ] {
            assert_eq!(published(tag), Some(code), "{tag}");
        }
        assert_eq!(published(tags::ROWS), None);
    }

    #[test]
    fn nothing_that_the_profile_lists_is_kept_but_by_a_named_option() {
        let options: Vec<Tag> = OPTIONS.iter().map(|(tag, _)| *tag).collect();
        let kept = PROFILE.iter().filter(|(tag, _, _)| rule(*tag).is_some()).map(|(tag, _, _)| *tag);
        let unnamed: Vec<Tag> = kept.filter(|tag| !options.contains(tag)).collect();
        assert!(unnamed.is_empty(), "{unnamed:?}");
    }

    #[test]
    fn a_kept_value_is_never_free_text_a_name_a_date_or_a_uid() {
        for tag in [IMAGE, FRAMES, TIMING, MEASUREMENT].concat() {
            let vr = StandardDataDictionary.by_tag(tag).unwrap().vr();
            let is_text = |vr: VR| {
                use VR::{AE, AS, DA, DT, LO, LT, PN, SH, ST, TM, UC, UI, UN, UR, UT};
                [AE, AS, DA, DT, LO, LT, PN, SH, ST, TM, UC, UI, UN, UR, UT].contains(&vr)
            };
            assert!(!matches!(vr, VirtualVr::Exact(vr) if is_text(vr)), "{tag} is {vr:?}");
        }
        for tag in SEQUENCES {
            assert_eq!(StandardDataDictionary.by_tag(*tag).unwrap().vr(), VirtualVr::Exact(VR::SQ), "{tag}");
        }
    }
}
