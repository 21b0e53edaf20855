//! RUN folders made up for the tests of audit: known predictions, written by the formats of the program.

use std::collections::BTreeMap;
use std::path::Path;

use groupdistil::formats::dataset::Split;
use groupdistil::formats::predictions::{PredictionRow, Predictions};
use groupdistil::formats::run::{
    GroupMetrics, METRICS_JSONL, MetricsLine, PREDICTIONS, RUN_JSON, RUN_SCHEMA, RunJson, TeacherInfo, WEIGHTS,
};

/// What a RUN is made of.
#[derive(Debug, Clone)]
pub struct RunSpec {
    pub objective: &'static str,
    pub architecture: &'static str,
    pub parameters: u64,
    pub seed: u64,
    pub fold: Option<usize>,
    /// SHA-256 of a teacher's weights.
    pub teacher_sha256: Option<String>,
    /// Content of `weights.safetensors`.
    pub weights: Vec<u8>,
    pub classes: Vec<&'static str>,
    pub rows: Vec<PredictionRow>,
    pub metrics: Vec<MetricsLine>,
    pub warnings: Vec<String>,
}

impl RunSpec {
    /// An ERM run of the given test, validation and training rows.
    pub fn new(classes: &[&'static str], rows: Vec<PredictionRow>) -> Self {
        Self {
            objective: "erm",
            architecture: "resnet18",
            parameters: 11_177_027,
            seed: 0,
            fold: None,
            teacher_sha256: None,
            weights: b"weights".to_vec(),
            classes: classes.to_vec(),
            rows,
            metrics: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Writes the folder.
    pub fn write(&self, folder: &Path) {
        std::fs::create_dir_all(folder).unwrap();
        let classes = self.classes.iter().map(|class| (*class).to_owned()).collect::<Vec<_>>();
        Predictions { classes, rows: self.rows.clone() }.write(&folder.join(PREDICTIONS)).unwrap();
        std::fs::write(folder.join(WEIGHTS), &self.weights).unwrap();
        let lines = self.metrics.iter().map(|line| serde_json::to_string(line).unwrap() + "\n");
        std::fs::write(folder.join(METRICS_JSONL), lines.collect::<String>()).unwrap();
        std::fs::write(folder.join(RUN_JSON), serde_json::to_vec_pretty(&self.json()).unwrap()).unwrap();
    }

    fn json(&self) -> RunJson {
        let groups: std::collections::BTreeSet<&String> = self.rows.iter().map(|row| &row.group).collect();
        let mut train_counts: BTreeMap<String, u64> = groups.iter().map(|group| ((*group).clone(), 0)).collect();
        for row in self.rows.iter().filter(|row| row.split == Split::Train) {
            *train_counts.get_mut(&row.group).unwrap() += 1;
        }
        let has_weights = self.objective.starts_with("group");
        RunJson {
            schema: RUN_SCHEMA.to_owned(),
            objective: self.objective.to_owned(),
            architecture: self.architecture.to_owned(),
            parameters: self.parameters,
            classes: self.classes.iter().map(|class| (*class).to_owned()).collect(),
            groups: groups.iter().map(|group| (*group).clone()).collect(),
            weighted_groups: train_counts
                .iter()
                .filter(|(_, count)| has_weights && **count > 0)
                .map(|(group, _)| group.clone())
                .collect(),
            train_counts,
            image_shape: [1, 96, 96],
            mean: vec![0.0],
            std: vec![1.0],
            seed: self.seed,
            fold: self.fold,
            teacher: self.teacher_sha256.clone().map(|weights_sha256| TeacherInfo {
                kind: "run".to_owned(),
                objective: Some("erm".to_owned()),
                architecture: Some("resnet18".to_owned()),
                seed: Some(0),
                weights_sha256,
            }),
            init: None,
            dataset_hash: "d".repeat(64),
            plan_hash: "e".repeat(64),
            golden_stack_hash: None,
            selection: "worst_group_accuracy".to_owned(),
            best_epoch: 7,
            epochs: 12,
            steps: 480,
            final_metrics: BTreeMap::new(),
            warnings: self.warnings.clone(),
            teachers: Vec::new(),
            biased: None,
            dfr: None,
            jtt: None,
            held_out: None,
        }
    }
}

/// One sample; `predicted` gets the highest logit. Two classes or more.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    pub subject: &'a str,
    pub stack: &'a str,
    pub site: &'a str,
    pub split: Split,
    pub label: usize,
    pub predicted: usize,
}

/// A row of predictions: logit `margin` for the predicted class, 0 for the others.
pub fn row(sample: Sample<'_>, classes: &[&str], margin: f32) -> PredictionRow {
    let mut logits = vec![0.0; classes.len()];
    logits[sample.predicted] = margin;
    PredictionRow {
        sample_id: String::new(),
        subject_id: sample.subject.to_owned(),
        stack_id: format!("{}-{}", sample.subject, sample.stack),
        split: sample.split,
        label: classes[sample.label].to_owned(),
        acquisition_group: format!("site={}", sample.site),
        group: format!("site={}", sample.site),
        site: Some(sample.site.to_owned()),
        vendor: None,
        model: None,
        field_strength_t: None,
        sex: None,
        age_years: None,
        logits,
    }
}

/// A metrics line whose groups have the given accuracy and weight.
pub fn line(epoch: u64, split: Split, groups: &[(&str, f64, Option<f64>)]) -> MetricsLine {
    let of = |&(name, accuracy, weight): &(&str, f64, Option<f64>)| {
        let metrics =
            GroupMetrics { n: 10, loss: Some(1.0), accuracy: Some(accuracy), weight, present_fraction: Some(1.0) };
        (name.to_owned(), metrics)
    };
    let worst = groups.iter().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    let mean = groups.iter().map(|group| group.1).sum::<f64>() / groups.len() as f64;
    MetricsLine {
        epoch,
        step: epoch * 40,
        split,
        loss: Some(1.0),
        accuracy: Some(mean),
        train_weighted_accuracy: Some(mean),
        mean_group_accuracy: Some(mean),
        worst_group_accuracy: Some(worst.1),
        worst_group: Some(worst.0.to_owned()),
        groups: groups.iter().map(of).collect(),
        auroc: None,
        worst_group_auroc: None,
    }
}
