//! The plan: every value decided once, from settings and from what the cohort's selected stacks are like. No pixels but those of
//! the first image, whose channels tell grey from RGB.

use crate::formats::plan::{
    CardiacPhases, IntensityPlan, Normalisation, PLAN_SCHEMA, PhaseChoice, Plan, PlanGeometry, SampleKind, Selection,
};
use crate::settings::preprocess::PreprocessSettings;

use super::rejected::StackRejected;
use super::source::CohortStack;

/// Longer side of images without spacing and without `resize`, pixels.
const MAX_RESIZE: usize = 128;
/// Columns of end-diastole and end-systole, as M&Ms' table and as ingest name them.
const PHASE_COLUMNS: [(&str, &str); 2] = [("attr_ed", "attr_es"), ("attr_ed_phase", "attr_es_phase")];

/// Whether the plan uses a stack, by its row alone.
///
/// # Errors
/// [`StackRejected::View`] or [`StackRejected::Kind`].
pub fn select(selection: &Selection, stack: &CohortStack) -> Result<(), StackRejected> {
    if stack.is_plain_image {
        return Ok(());
    }
    let view = stack.view.as_str();
    if !selection.views.iter().any(|wanted| wanted == view) {
        return Err(StackRejected::View { found: view.to_owned(), expected: selection.views.clone() });
    }
    let kind = stack.kind.as_str();
    if !selection.kinds.iter().any(|wanted| wanted == kind) {
        return Err(StackRejected::Kind { found: kind.to_owned(), expected: selection.kinds.clone() });
    }
    Ok(())
}

/// The selection of the settings.
pub fn selection(settings: &PreprocessSettings) -> Selection {
    Selection { views: settings.views.clone(), kinds: settings.kinds.clone(), slice_range: settings.slice_range }
}

/// The middle value; for an even number the lower of the two, so that it is one that exists.
fn median<T: Copy>(mut values: Vec<T>, order: impl Fn(&T, &T) -> std::cmp::Ordering) -> Option<T> {
    values.sort_by(order);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

fn geometry(settings: &PreprocessSettings, stacks: &[&CohortStack]) -> PlanGeometry {
    let kernel = settings.kernel;
    if let Some([height, width]) = settings.resize {
        return PlanGeometry::None { height, width, kernel };
    }
    let finer = |stack: &&CohortStack| stack.spacing_mm.map(|(rows, columns)| rows.min(columns));
    let Some(spacing) = median(stacks.iter().filter_map(finer).collect(), f64::total_cmp) else {
        let side = |side: fn(&CohortStack) -> usize| {
            let sides = stacks.iter().map(|stack| side(stack)).collect();
            median(sides, usize::cmp).unwrap_or(MAX_RESIZE).max(8)
        };
        let (height, width) = (side(|stack| stack.rows), side(|stack| stack.columns));
        let shrink = (MAX_RESIZE as f64 / height.max(width) as f64).min(1.0);
        let scaled = |side: usize| ((side as f64 * shrink).round() as usize).max(8);
        return PlanGeometry::None { height: scaled(height), width: scaled(width), kernel };
    };
    // Not finer than half of the cohort is, nor than the image size allows; two decimals, rounded up.
    let coarse = spacing.max(settings.crop_mm / settings.max_image_size as f64);
    let decided = (coarse * 100.0 - 1e-6).ceil() / 100.0;
    let pixels = |mm: f64| ((settings.crop_mm / mm + 1e-6).floor() as usize).clamp(8, 2048);
    // The whole crop is used: hearts are hardly smaller. Whole pixels of 1.8 mm would leave 1.4 mm of 140.
    let whole = (settings.crop_mm / pixels(decided) as f64 * 100.0 + 1e-6).floor() / 100.0;
    let pixel_spacing_mm = settings.pixel_spacing_mm.unwrap_or(decided.max(whole));
    let side = pixels(pixel_spacing_mm);
    PlanGeometry::Mm {
        pixel_spacing_mm,
        slice_spacing_mm: settings.slice_spacing_mm,
        height: side,
        width: side,
        kernel,
        centre: settings.centre,
    }
}

fn sample(settings: &PreprocessSettings, stacks: &[&CohortStack]) -> SampleKind {
    let beating = stacks.iter().filter(|stack| stack.phases > 1).count();
    let default =
        if 2 * beating > stacks.len() { SampleKind::Pair } else { SampleKind::Single { phase: PhaseChoice::All } };
    settings.sample.unwrap_or(default)
}

fn cardiac_phases(settings: &PreprocessSettings, stacks: &[&CohortStack]) -> CardiacPhases {
    if let Some(said) = &settings.cardiac_phases {
        return said.clone();
    }
    let named = |name: &str| {
        let columns = stacks.iter().flat_map(|stack| stack.attributes.keys());
        columns.filter(|column| column.eq_ignore_ascii_case(name)).min().cloned()
    };
    let mut found: Vec<(usize, String, String)> = Vec::new();
    for (end_diastole, end_systole) in PHASE_COLUMNS {
        if let (Some(end_diastole), Some(end_systole)) = (named(end_diastole), named(end_systole)) {
            let holds = |stack: &&&CohortStack| {
                [&end_diastole, &end_systole].iter().all(|one| stack.attributes.contains_key(*one))
            };
            found.push((stacks.iter().filter(holds).count(), end_diastole, end_systole));
        }
    }
    // The pair that most stacks have; `max_by_key` takes the last among equals.
    match found.into_iter().rev().max_by_key(|(count, ..)| *count) {
        Some((_, end_diastole, end_systole)) => {
            CardiacPhases::Columns { end_diastole, end_systole, first: settings.first_phase }
        }
        None => CardiacPhases::AreaCurve,
    }
}

/// The plan for these selected stacks. `frame_channels`: 1 or 3.
pub fn decide(settings: &PreprocessSettings, stacks: &[&CohortStack], frame_channels: usize) -> Plan {
    let default = if frame_channels == 3 { Normalisation::Unit } else { Normalisation::ZScore };
    Plan {
        schema: PLAN_SCHEMA.to_owned(),
        selection: selection(settings),
        sample: sample(settings, stacks),
        cardiac_phases: cardiac_phases(settings, stacks),
        geometry: geometry(settings, stacks),
        intensity: IntensityPlan {
            bias_correction: settings.bias_correction,
            standard_landmarks: None,
            clip_percentiles: settings.clip_percentiles,
            normalisation: settings.normalisation.unwrap_or(default),
            scope: settings.scope,
        },
        frame_channels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::plan::Centre;
    use crate::settings::preprocess::PreprocessWire;

    fn cine(spacing: f64) -> CohortStack {
        CohortStack {
            view: "sax".into(),
            kind: "cine".into(),
            rows: 256,
            columns: 200,
            phases: 25,
            spacing_mm: Some((spacing, spacing)),
            ..CohortStack::default()
        }
    }

    fn decided(wire: PreprocessWire, stacks: &[CohortStack]) -> Plan {
        let settings = PreprocessSettings::try_from(wire).unwrap();
        decide(&settings, &stacks.iter().collect::<Vec<_>>(), 1)
    }

    #[test]
    fn a_cine_cohort_gives_pairs_of_at_most_140_mm() {
        for spacing in [0.7, 1.4, 2.3] {
            let plan = decided(PreprocessWire::default(), &[cine(spacing), cine(spacing), cine(9.0)]);
            assert_eq!(plan.sample, SampleKind::Pair);
            let PlanGeometry::Mm { pixel_spacing_mm, height, width, centre, .. } = plan.geometry else {
                panic!("in millimetres")
            };
            assert_eq!((height, centre), (width, Centre::Heart));
            assert!(pixel_spacing_mm >= spacing && height <= 80 && pixel_spacing_mm * height as f64 <= 140.0);
            assert!(pixel_spacing_mm * height as f64 > 139.0);
        }
    }

    #[test]
    fn images_without_spacing_are_resized_and_all_their_frames_used() {
        let image = CohortStack { is_plain_image: true, rows: 300, columns: 400, phases: 1, ..CohortStack::default() };
        let plan = decided(PreprocessWire::default(), std::slice::from_ref(&image));
        assert!(matches!(plan.geometry, PlanGeometry::None { height: 96, width: 128, .. }), "{:?}", plan.geometry);
        assert_eq!(plan.sample, SampleKind::Single { phase: PhaseChoice::All });
        let wire = PreprocessWire { resize: Some([48, 64]), ..PreprocessWire::default() };
        assert_eq!(decided(wire, &[image]).geometry.size(), (48, 64));
    }

    #[test]
    fn the_phase_columns_of_mnms_are_used_where_they_are() {
        let mut stack = cine(1.4);
        stack.attributes.insert("attr_ED".into(), "0".into());
        stack.attributes.insert("attr_ES".into(), "9".into());
        let plan = decided(PreprocessWire::default(), &[cine(1.4), stack]);
        assert!(matches!(plan.cardiac_phases, CardiacPhases::Columns { first: 0, .. }));
    }

    #[test]
    fn the_phase_columns_that_most_stacks_have_are_used() {
        let with = |columns: &[&str]| {
            let attributes = columns.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect();
            CohortStack { attributes, ..cine(1.4) }
        };
        let used = |stacks: &[CohortStack]| match decided(PreprocessWire::default(), stacks).cardiac_phases {
            CardiacPhases::Columns { end_diastole, end_systole, first: 0 } => Some((end_diastole, end_systole)),
            _ => None,
        };
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        let acdc = with(&["attr_ed_phase", "attr_es_phase"]);
        let mnms = with(&["attr_ED", "attr_ES", "attr_ed_phase", "attr_es_phase"]);
        assert_eq!(used(std::slice::from_ref(&acdc)), pair("attr_ed_phase", "attr_es_phase"));
        assert_eq!(used(std::slice::from_ref(&mnms)), pair("attr_ED", "attr_ES"), "among equals");
        assert_eq!(used(&[acdc, mnms]), pair("attr_ed_phase", "attr_es_phase"));
        assert_eq!(used(&[with(&["attr_ed_phase"])]), None);
    }

    #[test]
    fn scouts_and_static_stacks_are_named_as_such() {
        let selection = decided(PreprocessWire::default(), &[cine(1.4)]).selection;
        let scout = CohortStack { view: "scout".into(), ..cine(1.4) };
        assert_eq!(select(&selection, &scout).unwrap_err().reason(), "view");
        let still = CohortStack { kind: "static".into(), ..cine(1.4) };
        assert_eq!(select(&selection, &still).unwrap_err().reason(), "kind");
        assert!(select(&selection, &CohortStack { is_plain_image: true, ..CohortStack::default() }).is_ok());
        assert!(select(&selection, &cine(1.4)).is_ok());
    }
}
