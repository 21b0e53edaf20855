//! `evidence.svg`: the worst group of every seed, and its difference to the first reference.

use crate::formats::evidence::{ArmJson, EvidenceJson};
use crate::page::dots::{DotChart, Dots, dot_sheet};

/// The picture, per sample.
pub fn draw(evidence: &EvidenceJson) -> String {
    let names: Vec<String> = evidence.arms.iter().map(|arm| arm.name.clone()).collect();
    let mut charts = vec![worst(evidence)];
    charts.extend(differences(evidence));
    dot_sheet(&evidence.title.replace('`', ""), &names, &charts)
}

fn worst(evidence: &EvidenceJson) -> DotChart {
    let row = |arm: &ArmJson| Dots {
        values: arm.seeds.iter().filter_map(|seed| Some(100.0 * seed.sample.worst_group_accuracy?)).collect(),
        mean: Some(100.0 * arm.sample.worst_group_accuracy.mean),
        interval: None,
    };
    let title = "accuracy of the worst group, %: seeds and their mean".to_owned();
    DotChart { title, scale: [0.0, 100.0], rows: evidence.arms.iter().map(row).collect() }
}

/// `None` without a reference.
fn differences(evidence: &EvidenceJson) -> Option<DotChart> {
    let reference = evidence.arms.iter().find_map(|arm| arm.sample.worst_group_differences.first())?;
    let name = reference.method();
    let row = |arm: &ArmJson| {
        let found = arm.sample.worst_group_differences.iter().find(|one| one.method() == name);
        found.map_or_else(Dots::default, |one| Dots {
            values: Vec::new(),
            mean: Some(100.0 * one.mean),
            interval: one.interval.map(|[low, high]| [100.0 * low, 100.0 * high]),
        })
    };
    let rows: Vec<Dots> = evidence.arms.iter().map(row).collect();
    let ends = rows.iter().flat_map(|row| row.interval.into_iter().flatten().chain(row.mean));
    let widest = ends.fold(10.0, |widest: f64, value| widest.max(value.abs()));
    let half = (widest / 10.0).ceil() * 10.0;
    let title = format!("minus {name} of the same teacher, points ({:.0} % over seeds)", 100.0 * evidence.confidence);
    Some(DotChart { title, scale: [-half, half], rows })
}
