//! Enhanced MR objects (PS3.3 A.36): all frames of an acquisition in one file, with shared and per-frame functional groups.
//!
//! Frames run over positions, then phases. Dimensions: stack, in-stack position, temporal position.

use dicom::core::{PrimitiveValue, VR};
use dicom::dictionary_std::{tags, uids};

use super::dicom::{DicomWriteError, SeriesHeader, Set, StudyHeader, clock};
use super::render::Image;
use super::scanner::Site;
use super::study::{Acquisition, Position, Role};

/// The bytes of an enhanced MR image; `frames` in the order positions, phases.
pub fn enhanced(
    study: &StudyHeader<'_>,
    acquisition: &Acquisition,
    frames: &[Image],
) -> Result<Vec<u8>, DicomWriteError> {
    let mut set = Set::default();
    let number = acquisition.series_number;
    study.put(&mut set, &SeriesHeader { number, description: description(acquisition.role) });
    let sop_instance = study.uid(&["enhanced", &number.to_string()]);
    let seconds = number * 40;
    set.text(tags::SOP_CLASS_UID, VR::UI, uids::ENHANCED_MR_IMAGE_STORAGE)
        .text(tags::SOP_INSTANCE_UID, VR::UI, sop_instance.as_str())
        .text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\CARDIAC\\NONE")
        .text(tags::CONTENT_DATE, VR::DA, study.date.as_str())
        .text(tags::CONTENT_TIME, VR::TM, clock(seconds + 30))
        .text(tags::ACQUISITION_DATE_TIME, VR::DT, format!("{}{}", study.date, clock(seconds)))
        .double(tags::ACQUISITION_DURATION, &[9000.0])
        .integer(tags::INSTANCE_NUMBER, 1)
        .integer(tags::NUMBER_OF_FRAMES, frames.len())
        .sequence(tags::ACQUISITION_CONTEXT_SEQUENCE, Vec::new());
    put_enhanced_image(&mut set, study.site);
    put_pulse_sequence(&mut set, acquisition);
    put_dimensions(&mut set, study);
    set.sequence(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared(study.site, acquisition)]);
    set.sequence(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, per_frame(study, acquisition));
    put_pixels(&mut set, acquisition, frames);
    set.into_file(uids::ENHANCED_MR_IMAGE_STORAGE, &sop_instance)
}

/// Series names as this vendor's technicians type them.
fn description(role: Role) -> &'static str {
    match role {
        Role::ShortAxis => "sBTFE_BH SA",
        Role::ReacquiredPosition => "sBTFE_BH SA rep",
        Role::InterruptedCine => "sBTFE_BH SA",
        Role::TwoChamber => "sBTFE_BH 2CH",
        Role::FourChamber => "sBTFE_BH 4CH",
        Role::Scout => "Survey",
    }
}

fn item(fill: impl FnOnce(&mut Set)) -> Vec<Set> {
    let mut set = Set::default();
    fill(&mut set);
    vec![set]
}

fn put_enhanced_image(set: &mut Set, site: &Site) {
    set.text(tags::PIXEL_PRESENTATION, VR::CS, "MONOCHROME")
        .text(tags::VOLUMETRIC_PROPERTIES, VR::CS, "VOLUME")
        .text(tags::VOLUME_BASED_CALCULATION_TECHNIQUE, VR::CS, "NONE")
        .text(tags::COMPLEX_IMAGE_COMPONENT, VR::CS, "MAGNITUDE")
        .text(tags::ACQUISITION_CONTRAST, VR::CS, "PROTON_DENSITY")
        .text(tags::CONTENT_QUALIFICATION, VR::CS, "RESEARCH")
        .text(tags::RESONANT_NUCLEUS, VR::CS, "1H")
        .text(tags::K_SPACE_FILTERING, VR::CS, "NONE")
        .text(tags::APPLICABLE_SAFETY_STANDARD_AGENCY, VR::CS, "IEC")
        .text(tags::MAGNETIC_FIELD_STRENGTH, VR::DS, site.field_strength)
        .text(tags::BURNED_IN_ANNOTATION, VR::CS, "NO")
        .text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00")
        .text(tags::PRESENTATION_LUT_SHAPE, VR::CS, "IDENTITY");
}

fn put_pulse_sequence(set: &mut Set, acquisition: &Acquisition) {
    let cine = acquisition.is_cine();
    set.text(tags::PULSE_SEQUENCE_NAME, VR::SH, "B-TFE")
        .text(tags::MR_ACQUISITION_TYPE, VR::CS, "2D")
        .text(tags::ECHO_PULSE_SEQUENCE, VR::CS, "GRADIENT")
        .text(tags::MULTI_PLANAR_EXCITATION, VR::CS, "NO")
        .text(tags::PHASE_CONTRAST, VR::CS, "NO")
        .text(tags::TIME_OF_FLIGHT_CONTRAST, VR::CS, "NO")
        .text(tags::STEADY_STATE_PULSE_SEQUENCE, VR::CS, "FREE_PRECESSION")
        .text(tags::ECHO_PLANAR_PULSE_SEQUENCE, VR::CS, "NO")
        .text(tags::SATURATION_RECOVERY, VR::CS, "NO")
        .text(tags::SPECTRALLY_SELECTED_SUPPRESSION, VR::CS, "NONE")
        .text(tags::OVERSAMPLING_PHASE, VR::CS, "NONE")
        .text(tags::GEOMETRY_OF_K_SPACE_TRAVERSAL, VR::CS, "RECTILINEAR")
        .text(tags::RECTILINEAR_PHASE_ENCODE_REORDERING, VR::CS, "LINEAR")
        .text(tags::SEGMENTED_K_SPACE_TRAVERSAL, VR::CS, if cine { "PARTIAL" } else { "SINGLE" })
        .short(tags::NUMBER_OF_K_SPACE_TRAJECTORIES, 12);
    if cine {
        set.text(tags::CARDIAC_SYNCHRONIZATION_TECHNIQUE, VR::CS, "RETROSPECTIVE")
            .text(tags::CARDIAC_SIGNAL_SOURCE, VR::CS, "ECG")
            .double(tags::CARDIAC_RR_INTERVAL_SPECIFIED, &[acquisition.positions[0].rr_ms])
            .text(tags::CARDIAC_BEAT_REJECTION_TECHNIQUE, VR::CS, "NONE")
            .text(tags::LOW_RR_VALUE, VR::IS, "")
            .text(tags::HIGH_RR_VALUE, VR::IS, "")
            .text(tags::INTERVALS_ACQUIRED, VR::IS, "")
            .text(tags::INTERVALS_REJECTED, VR::IS, "");
    }
}

fn put_dimensions(set: &mut Set, study: &StudyHeader<'_>) {
    let organization = study.uid(&["dimensions"]);
    let index = |pointer: dicom::core::Tag| {
        let mut set = Set::default();
        set.text(tags::DIMENSION_ORGANIZATION_UID, VR::UI, organization.as_str())
            .binary(tags::DIMENSION_INDEX_POINTER, VR::AT, PrimitiveValue::from(pointer))
            .binary(tags::FUNCTIONAL_GROUP_POINTER, VR::AT, PrimitiveValue::from(tags::FRAME_CONTENT_SEQUENCE));
        set
    };
    set.sequence(
        tags::DIMENSION_ORGANIZATION_SEQUENCE,
        item(|set| {
            set.text(tags::DIMENSION_ORGANIZATION_UID, VR::UI, organization.as_str());
        }),
    )
    .sequence(
        tags::DIMENSION_INDEX_SEQUENCE,
        vec![index(tags::STACK_ID), index(tags::IN_STACK_POSITION_NUMBER), index(tags::TEMPORAL_POSITION_INDEX)],
    );
}

/// Everything that is equal for all frames; a scout's planes differ, so its orientation is per frame.
fn shared(site: &Site, acquisition: &Acquisition) -> Set {
    let plane = &acquisition.positions[0].plane;
    let mut set = Set::default();
    let measures = item(|set| {
        set.decimals(tags::PIXEL_SPACING, &[plane.spacing_row_mm, plane.spacing_column_mm])
            .decimals(tags::SLICE_THICKNESS, &[plane.thickness_mm]);
        if acquisition.role == Role::ShortAxis {
            set.decimals(tags::SPACING_BETWEEN_SLICES, &[site.protocol.slice_spacing_mm]);
        }
    });
    set.sequence(tags::PIXEL_MEASURES_SEQUENCE, measures);
    if acquisition.role != Role::Scout {
        set.sequence(tags::PLANE_ORIENTATION_SEQUENCE, orientation(&acquisition.positions[0]));
    }
    put_shared_frame_macros(&mut set, site);
    put_shared_mr_macros(&mut set, acquisition);
    set
}

fn orientation(position: &Position) -> Vec<Set> {
    let ([a, b, c], [d, e, f]) = (position.plane.row, position.plane.column);
    item(|set| {
        set.decimals(tags::IMAGE_ORIENTATION_PATIENT, &[a, b, c, d, e, f]);
    })
}

fn put_shared_frame_macros(set: &mut Set, site: &Site) {
    let heart = item(|set| {
        set.text(tags::CODE_VALUE, VR::SH, "80891009").text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, "SCT").text(
            tags::CODE_MEANING,
            VR::LO,
            "Heart",
        );
    });
    let anatomy = item(|set| {
        set.text(tags::FRAME_LATERALITY, VR::CS, "U").sequence(tags::ANATOMIC_REGION_SEQUENCE, heart);
    });
    let (slope, intercept) = site.look.rescale.unwrap_or((1.0, 0.0));
    let transformation = item(|set| {
        set.decimals(tags::RESCALE_INTERCEPT, &[intercept]).decimals(tags::RESCALE_SLOPE, &[slope]).text(
            tags::RESCALE_TYPE,
            VR::LO,
            "US",
        );
    });
    let full = site.look.full_scale * slope;
    let window = item(|set| {
        set.decimals(tags::WINDOW_CENTER, &[0.5 * full]).decimals(tags::WINDOW_WIDTH, &[full]);
    });
    let frame_type = item(|set| {
        set.text(tags::FRAME_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\CARDIAC\\NONE")
            .text(tags::PIXEL_PRESENTATION, VR::CS, "MONOCHROME")
            .text(tags::VOLUMETRIC_PROPERTIES, VR::CS, "VOLUME")
            .text(tags::VOLUME_BASED_CALCULATION_TECHNIQUE, VR::CS, "NONE")
            .text(tags::COMPLEX_IMAGE_COMPONENT, VR::CS, "MAGNITUDE")
            .text(tags::ACQUISITION_CONTRAST, VR::CS, "PROTON_DENSITY");
    });
    set.sequence(tags::FRAME_ANATOMY_SEQUENCE, anatomy)
        .sequence(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, transformation)
        .sequence(tags::FRAME_VOILUT_SEQUENCE, window)
        .sequence(tags::MR_IMAGE_FRAME_TYPE_SEQUENCE, frame_type);
}

fn put_shared_mr_macros(set: &mut Set, acquisition: &Acquisition) {
    let plane = &acquisition.positions[0].plane;
    let absorption = item(|set| {
        set.text(tags::SPECIFIC_ABSORPTION_RATE_DEFINITION, VR::CS, "IEC_WHOLE_BODY")
            .double(tags::SPECIFIC_ABSORPTION_RATE_VALUE, &[1.2]);
    });
    let mode = item(|set| {
        set.text(tags::OPERATING_MODE_TYPE, VR::CS, "STATIC FIELD").text(tags::OPERATING_MODE, VR::CS, "IEC_NORMAL");
    });
    let timing = item(|set| {
        set.decimals(tags::REPETITION_TIME, &[2.9])
            .decimals(tags::FLIP_ANGLE, &[50.0])
            .integer(tags::ECHO_TRAIN_LENGTH, 1)
            .short(tags::RF_ECHO_TRAIN_LENGTH, 0)
            .short(tags::GRADIENT_ECHO_TRAIN_LENGTH, 1)
            .text(tags::GRADIENT_OUTPUT_TYPE, VR::CS, "DB_DT")
            .double(tags::GRADIENT_OUTPUT, &[0.0])
            .sequence(tags::SPECIFIC_ABSORPTION_RATE_SEQUENCE, absorption)
            .sequence(tags::OPERATING_MODE_SEQUENCE, mode);
    });
    let geometry = item(|set| {
        set.text(tags::IN_PLANE_PHASE_ENCODING_DIRECTION, VR::CS, "ROW")
            .short(tags::MR_ACQUISITION_FREQUENCY_ENCODING_STEPS, plane.columns as u16)
            .short(tags::MR_ACQUISITION_PHASE_ENCODING_STEPS_IN_PLANE, plane.rows as u16)
            .decimals(tags::PERCENT_SAMPLING, &[100.0])
            .decimals(tags::PERCENT_PHASE_FIELD_OF_VIEW, &[100.0]);
    });
    let echo = item(|set| {
        set.double(tags::EFFECTIVE_ECHO_TIME, &[1.45]);
    });
    let averages = item(|set| {
        set.decimals(tags::NUMBER_OF_AVERAGES, &[1.0]);
    });
    set.sequence(tags::MR_TIMING_AND_RELATED_PARAMETERS_SEQUENCE, timing)
        .sequence(tags::MRFOV_GEOMETRY_SEQUENCE, geometry)
        .sequence(tags::MR_ECHO_SEQUENCE, echo)
        .sequence(tags::MR_AVERAGES_SEQUENCE, averages)
        .sequence(tags::MR_MODIFIER_SEQUENCE, modifier())
        .sequence(tags::MR_IMAGING_MODIFIER_SEQUENCE, imaging_modifier())
        .sequence(tags::MR_RECEIVE_COIL_SEQUENCE, receive_coil())
        .sequence(tags::MR_TRANSMIT_COIL_SEQUENCE, transmit_coil());
}

fn modifier() -> Vec<Set> {
    item(|set| {
        set.text(tags::INVERSION_RECOVERY, VR::CS, "NO")
            .text(tags::FLOW_COMPENSATION, VR::CS, "NONE")
            .text(tags::SPOILING, VR::CS, "NONE")
            .text(tags::T2_PREPARATION, VR::CS, "NO")
            .text(tags::SPECTRALLY_SELECTED_EXCITATION, VR::CS, "NONE")
            .text(tags::SPATIAL_PRESATURATION, VR::CS, "NONE")
            .text(tags::PARTIAL_FOURIER, VR::CS, "NO")
            .text(tags::PARALLEL_ACQUISITION, VR::CS, "NO");
    })
}

fn imaging_modifier() -> Vec<Set> {
    item(|set| {
        set.text(tags::MAGNETIZATION_TRANSFER, VR::CS, "NONE")
            .text(tags::BLOOD_SIGNAL_NULLING, VR::CS, "NO")
            .text(tags::TAGGING, VR::CS, "NONE")
            .double(tags::TRANSMITTER_FREQUENCY, &[127.8])
            .decimals(tags::PIXEL_BANDWIDTH, &[1200.0]);
    })
}

fn receive_coil() -> Vec<Set> {
    item(|set| {
        set.text(tags::RECEIVE_COIL_NAME, VR::SH, "PHANTOM-CARDIAC")
            .text(tags::RECEIVE_COIL_MANUFACTURER_NAME, VR::LO, "SYNTHETIC")
            .text(tags::RECEIVE_COIL_TYPE, VR::CS, "SURFACE")
            .text(tags::QUADRATURE_RECEIVE_COIL, VR::CS, "YES");
    })
}

fn transmit_coil() -> Vec<Set> {
    item(|set| {
        set.text(tags::TRANSMIT_COIL_NAME, VR::SH, "BODY")
            .text(tags::TRANSMIT_COIL_MANUFACTURER_NAME, VR::LO, "SYNTHETIC")
            .text(tags::TRANSMIT_COIL_TYPE, VR::CS, "BODY");
    })
}

fn per_frame(study: &StudyHeader<'_>, acquisition: &Acquisition) -> Vec<Set> {
    let mut frames = Vec::new();
    for (slice, position) in acquisition.positions.iter().enumerate() {
        for phase in 0..position.phases {
            let mut frame = Set::default();
            frame.sequence(tags::FRAME_CONTENT_SEQUENCE, frame_content(study, acquisition, slice, phase));
            frame.sequence(
                tags::PLANE_POSITION_SEQUENCE,
                item(|set| {
                    set.decimals(tags::IMAGE_POSITION_PATIENT, &position.plane.origin_mm);
                }),
            );
            if acquisition.role == Role::Scout {
                frame.sequence(tags::PLANE_ORIENTATION_SEQUENCE, orientation(position));
            }
            if acquisition.is_cine() {
                let trigger = libm::round(acquisition.trigger_time_ms(position, phase) * 10.0) / 10.0;
                frame.sequence(
                    tags::CARDIAC_SYNCHRONIZATION_SEQUENCE,
                    item(|set| {
                        set.double(tags::NOMINAL_CARDIAC_TRIGGER_DELAY_TIME, &[trigger])
                            .double(tags::RR_INTERVAL_TIME_NOMINAL, &[position.rr_ms]);
                    }),
                );
            }
            frames.push(frame);
        }
    }
    frames
}

fn frame_content(study: &StudyHeader<'_>, acquisition: &Acquisition, slice: usize, phase: usize) -> Vec<Set> {
    let seconds = acquisition.series_number * 40 + slice as u32 * 9;
    let when = format!("{}{}", study.date, clock(seconds));
    // A scout's three planes are three stacks of one position.
    let (stack, in_stack) = if acquisition.role == Role::Scout { (slice + 1, 1) } else { (1, slice + 1) };
    let position = in_stack as u32;
    item(|set| {
        set.short(tags::FRAME_ACQUISITION_NUMBER, slice as u16 + 1)
            .text(tags::FRAME_REFERENCE_DATE_TIME, VR::DT, when.as_str())
            .text(tags::FRAME_ACQUISITION_DATE_TIME, VR::DT, when.as_str())
            .double(tags::FRAME_ACQUISITION_DURATION, &[9000.0])
            .text(tags::STACK_ID, VR::SH, stack.to_string())
            .binary(tags::IN_STACK_POSITION_NUMBER, VR::UL, PrimitiveValue::from(position))
            .binary(tags::TEMPORAL_POSITION_INDEX, VR::UL, PrimitiveValue::from(phase as u32 + 1))
            .binary(
                tags::DIMENSION_INDEX_VALUES,
                VR::UL,
                PrimitiveValue::U32([stack as u32, position, phase as u32 + 1].into_iter().collect()),
            );
        if acquisition.is_cine() {
            set.text(tags::CARDIAC_CYCLE_POSITION, VR::CS, "UNDETERMINED");
        }
    })
}

fn put_pixels(set: &mut Set, acquisition: &Acquisition, frames: &[Image]) {
    let plane = &acquisition.positions[0].plane;
    set.short(tags::SAMPLES_PER_PIXEL, 1)
        .text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2")
        .short(tags::ROWS, plane.rows as u16)
        .short(tags::COLUMNS, plane.columns as u16)
        .short(tags::BITS_ALLOCATED, 16)
        .short(tags::BITS_STORED, 12)
        .short(tags::HIGH_BIT, 11)
        .short(tags::PIXEL_REPRESENTATION, 0)
        .binary(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(frames.iter().flatten().copied().collect()));
}
