//! Tests of reading a dataset.

use super::*;
use crate::formats::plan::*;

pub(crate) fn plan() -> Plan {
    Plan {
        schema: PLAN_SCHEMA.into(),
        selection: Selection { views: vec!["sax".into()], kinds: vec!["cine".into()], slice_range: [0.0, 1.0] },
        sample: SampleKind::Pair,
        cardiac_phases: CardiacPhases::AreaCurve,
        geometry: PlanGeometry::Mm {
            pixel_spacing_mm: 2.0,
            slice_spacing_mm: None,
            height: 3,
            width: 4,
            kernel: Kernel::Linear,
            centre: Centre::Heart,
        },
        intensity: IntensityPlan {
            bias_correction: false,
            standard_landmarks: None,
            clip_percentiles: Some([1.0, 99.0]),
            normalisation: Normalisation::ZScore,
            scope: Scope::Stack,
        },
        frame_channels: 1,
    }
}

pub(crate) fn sample(number: usize) -> (SampleRow, Vec<f32>) {
    let row = SampleRow {
        sample_id: format!("sample{number}"),
        subject_id: format!("subject{}", number / 2),
        stack_id: format!("stack{}", number / 2),
        slices: vec![0],
        phases: vec![0, 3],
        label: if number < 4 { "NOR".into() } else { "DCM".into() },
        acquisition_group: format!("site={}", number % 2),
        group: format!("site={}", number % 2),
        site: None,
        vendor: None,
        model: None,
        field_strength_t: None,
        sex: None,
        age_years: None,
        split: Split::Train,
        fold: i32::try_from(number).ok().filter(|&fold| fold < 3),
        shard: 9,
        row: 9,
    };
    (row, (0..24_u8).map(|value| f32::from(value) + number as f32 * 100.0).collect())
}

#[test]
fn rows_are_read_in_the_order_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let samples: Vec<_> = (0..6).map(sample).collect();
    write_in_memory(folder.path(), &plan(), &samples, Some(3)).unwrap();
    let dataset = Dataset::open(folder.path()).unwrap();
    assert_eq!(dataset.image_shape(), (2, 3, 4));
    assert_eq!(dataset.classes(), ["DCM", "NOR"]);
    assert_eq!(dataset.groups(), ["site=0", "site=1"]);
    assert_eq!((dataset.class_index(5), dataset.group_index(5)), (0, 1));
    let mut images = vec![0.0; 48];
    dataset.read_rows(&[4, 1], &mut images).unwrap();
    assert_eq!(images, [samples[4].1.clone(), samples[1].1.clone()].concat());
}

#[test]
fn a_fold_is_tested_the_next_one_validates_and_null_always_trains() {
    let folder = tempfile::tempdir().unwrap();
    let samples: Vec<_> = (0..4).map(sample).collect();
    write_in_memory(folder.path(), &plan(), &samples, Some(3)).unwrap();
    let dataset = Dataset::open(folder.path()).unwrap();
    let splits = |fold| (0..4).map(|index| dataset.split(index, Some(fold))).collect::<Vec<_>>();
    assert_eq!(splits(2), [Split::Val, Split::Train, Split::Test, Split::Train]);
    assert_eq!(splits(0), [Split::Test, Split::Val, Split::Train, Split::Train]);
}

#[test]
fn a_plan_comes_back_as_written_and_unknown_keys_are_refused() {
    let text = serde_json::to_string(&plan()).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan());
    assert!(text.contains(r#""spacing":"mm""#) && text.contains(r#""sample":{"kind":"pair"}"#), "{text}");
    let unknown = text.replace("\"frame_channels\"", "\"frame_chanels\"");
    assert!(serde_json::from_str::<Plan>(&unknown).is_err());
}
