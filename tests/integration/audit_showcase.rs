//! Made-up but realistic runs, to look at the report in a browser:
//! `GROUPDISTIL_SHOWCASE=DIR cargo test --test integration showcase -- --ignored`.

use std::path::Path;

use groupdistil::formats::dataset::Split;
use groupdistil::formats::predictions::PredictionRow;
use groupdistil::formats::run::MetricsLine;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::audit_runs::{RunSpec, line};

pub const CLASSES: [&str; 3] = ["DCM", "HCM", "NOR"];

/// Name, vendor, scanner, field strength, training subjects, test subjects.
type Site = (&'static str, &'static str, &'static str, f64, usize, usize);
const SITES: [Site; 7] = [
    ("northgate", "siemens", "Aera", 1.5, 150, 44),
    ("riverside", "philips", "Ingenia", 3.0, 90, 33),
    ("st-anne", "siemens", "Avanto", 1.5, 60, 27),
    ("harbour", "ge", "Signa HDxt", 1.5, 14, 22),
    ("meadow", "canon", "Vantage", 3.0, 5, 7),
    ("lakeside", "ge", "Signa Premier", 3.0, 0, 14),
    ("hilltop", "philips", "Achieva", 1.5, 6, 0),
];

/// How well a made-up model does per site, as the mean margin of the true class.
struct Skill {
    name: &'static str,
    objective: &'static str,
    architecture: &'static str,
    parameters: u64,
    margins: [f64; 7],
    temperature: f64,
}

const MODELS: [Skill; 4] = [
    Skill {
        name: "student",
        objective: "group-distil",
        architecture: "compact-resnet",
        parameters: 696_000,
        margins: [2.1, 1.9, 2.0, 1.25, 1.2, 1.0, 1.0],
        temperature: 0.8,
    },
    Skill {
        name: "teacher",
        objective: "group-dro",
        architecture: "resnet18",
        parameters: 11_171_779,
        margins: [2.4, 2.2, 2.2, 1.4, 1.1, 1.1, 1.0],
        temperature: 0.8,
    },
    Skill {
        name: "kd",
        objective: "kd",
        architecture: "compact-resnet",
        parameters: 696_000,
        margins: [2.2, 2.0, 2.0, 0.85, 0.8, 0.7, 1.0],
        temperature: 0.7,
    },
    Skill {
        name: "erm",
        objective: "erm",
        architecture: "compact-resnet",
        parameters: 696_000,
        margins: [2.1, 1.9, 1.8, 0.5, 0.5, 0.4, 1.0],
        temperature: 0.5,
    },
];

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (rng.random_range(1e-12..1.0), rng.random_range(0.0..1.0));
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

fn rows(skill: &Skill) -> Vec<PredictionRow> {
    // The same subjects and difficulties for every model; only the margin differs.
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut rows = Vec::new();
    for (site_index, &(site, vendor, scanner, tesla, train, test)) in SITES.iter().enumerate() {
        for index in 0..train + test {
            let split = if index < train { Split::Train } else { Split::Test };
            let label = rng.random_range(0..CLASSES.len());
            let sex = if rng.random_bool(0.5) { "F" } else { "M" };
            let age = rng.random_range(22.0..84.0_f64).floor();
            let own: Vec<f64> = CLASSES.iter().map(|_| normal(&mut rng)).collect();
            for sample in 0..8 {
                let noise: Vec<f64> = CLASSES.iter().map(|_| 0.6 * normal(&mut rng)).collect();
                let logit = |class: usize| {
                    let margin = if class == label { skill.margins[site_index] } else { 0.0 };
                    ((margin + own[class] + noise[class]) / skill.temperature) as f32
                };
                rows.push(PredictionRow {
                    sample_id: format!("{site}{index}s{sample}"),
                    subject_id: format!("subj{site}{index}"),
                    stack_id: format!("stack{site}{index}"),
                    split,
                    label: CLASSES[label].to_owned(),
                    acquisition_group: format!("vendor={vendor};site={site}"),
                    group: format!("vendor={vendor};site={site}"),
                    site: Some(site.to_owned()),
                    vendor: Some(vendor.to_owned()),
                    model: Some(scanner.to_owned()),
                    field_strength_t: Some(tesla),
                    sex: Some(sex.to_owned()),
                    age_years: Some(age),
                    logits: (0..CLASSES.len()).map(logit).collect(),
                });
            }
        }
    }
    rows
}

fn curves(skill: &Skill) -> Vec<MetricsLine> {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let names: Vec<String> = SITES.iter().map(|site| format!("vendor={};site={}", site.1, site.0)).collect();
    let trained: Vec<usize> = (0..SITES.len()).filter(|site| SITES[*site].4 > 0).collect();
    let mut lines = Vec::new();
    for epoch in 1..=12_u64 {
        let progress = 1.0 - (-(epoch as f64) / 4.0).exp();
        let lead: Vec<f64> = trained
            .iter()
            .map(|site| (1.0 - skill.margins[*site] / 2.5) * progress * 2.2 + 0.1 * normal(&mut rng))
            .collect();
        let sum: f64 = lead.iter().map(|lead| lead.exp()).sum();
        let mut of = |split: Split| {
            let groups: Vec<(&str, f64, Option<f64>)> = trained
                .iter()
                .zip(&lead)
                .map(|(site, lead)| {
                    let accuracy = 0.34 + progress * (skill.margins[*site] / 4.6) + 0.03 * normal(&mut rng);
                    (
                        names[*site].as_str(),
                        accuracy.clamp(0.0, 1.0),
                        (split == Split::Train).then_some(lead.exp() / sum),
                    )
                })
                .collect();
            line(epoch, split, &groups)
        };
        lines.push(of(Split::Train));
        lines.push(of(Split::Val));
    }
    lines
}

/// Writes the four runs.
pub fn write(folder: &Path) {
    use sha2::Digest;
    for skill in &MODELS {
        let mut spec = RunSpec::new(&CLASSES, rows(skill));
        spec.objective = skill.objective;
        spec.architecture = skill.architecture;
        spec.parameters = skill.parameters;
        spec.weights = skill.name.as_bytes().to_vec();
        spec.metrics = curves(skill);
        if skill.name == "student" {
            spec.teacher_sha256 = Some(data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(b"teacher")));
            let site = "vendor=canon;site=meadow";
            spec.warnings = vec![format!("group {site} was in 31 % of the batches; its weight moves seldom")];
        }
        spec.write(&folder.join(skill.name));
    }
}

#[test]
#[ignore = "writes runs to look at into GROUPDISTIL_SHOWCASE"]
fn showcase() {
    let folder = std::env::var_os("GROUPDISTIL_SHOWCASE").expect("GROUPDISTIL_SHOWCASE is a folder");
    write(Path::new(&folder));
}
