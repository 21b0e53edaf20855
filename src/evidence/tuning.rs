//! Which settings each method gets: every trial on the tuning seeds, the highest mean validation worst-group accuracy chosen; ties:
//! the higher mean group accuracy, then the earlier trial. Wave after wave, since students are tuned with the teacher that was chosen.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Cohort, EvidenceError, Study, folds, of_fold};
use crate::formats::dataset::Split;
use crate::formats::evidence::Trial;
use crate::formats::run::{RunJson, read_run_json};
use crate::metrics::seeds::mean;
use crate::settings::evidence::Arm;

/// What was tried and chosen, by arm.
#[derive(Debug, Default)]
pub struct Choices {
    by_arm: BTreeMap<String, (Vec<Trial>, usize)>,
}

impl Choices {
    /// The 0-based trial that was chosen.
    pub fn chosen(&self, arm: &Arm) -> usize {
        self.by_arm.get(&arm.name).map_or(0, |(_, chosen)| *chosen)
    }

    /// Every trial of an arm.
    pub fn trials(&self, arm: &Arm) -> Vec<Trial> {
        self.by_arm.get(&arm.name).map_or_else(Vec::new, |(trials, _)| trials.clone())
    }
}

/// What a run says of its settings: accuracies of the worst and of the mean group in validation.
struct Score {
    worst: f64,
    mean: f64,
    best_epoch: u64,
}

impl Study<'_> {
    /// Tries and chooses, on the cohorts of the tuning seeds.
    pub(super) fn choose(&mut self, cohorts: &[Cohort]) -> Result<Choices, EvidenceError> {
        let mut choices = Choices::default();
        let waves = self.settings.arms.iter().map(|arm| arm.wave).max().map_or(0, |last| last + 1);
        for wave in 0..waves {
            self.context.observer.stage(&format!("trials on the tuning seeds, part {} of {waves}", wave + 1));
            let settings = self.settings;
            let arms: Vec<&Arm> = settings.arms.iter().filter(|arm| arm.wave == wave).collect();
            self.try_all(&arms, cohorts, &choices)?;
            for arm in arms {
                let tried = self.tried(arm, cohorts)?;
                let chosen = best(&tried);
                choices.by_arm.insert(arm.name.clone(), (tried, chosen));
            }
        }
        Ok(choices)
    }

    fn try_all(&mut self, arms: &[&Arm], cohorts: &[Cohort], choices: &Choices) -> Result<(), EvidenceError> {
        let mut jobs = Vec::new();
        for cohort in cohorts {
            for arm in arms {
                for trial in 0..arm.trials.len() {
                    for fold in folds(cohort) {
                        let run = |name: &str| {
                            // Its own folder, or that of an arm of an earlier wave with what was chosen for it.
                            let earlier = self.settings.arm(name).map_or(trial, |other| choices.chosen(other));
                            let trial = if name == arm.name { trial } else { earlier };
                            tuning_run(cohort.seed, name, trial, fold)
                        };
                        jobs.push(self.job(arm, trial, (cohort, fold), 0, &run)?);
                    }
                }
            }
        }
        self.train(&jobs)
    }

    fn tried(&self, arm: &Arm, cohorts: &[Cohort]) -> Result<Vec<Trial>, EvidenceError> {
        let one = |(trial, written): (usize, _)| {
            let mut of_seeds = Vec::new();
            let (mut means, mut best_epochs) = (Vec::new(), Vec::new());
            for cohort in cohorts {
                let of_fold = |fold| self.score(&tuning_run(cohort.seed, &arm.name, trial, fold));
                let scores = folds(cohort).into_iter().map(of_fold).collect::<Result<Vec<_>, _>>()?;
                let over_folds = |value: fn(&Score) -> f64| mean(&scores.iter().map(value).collect::<Vec<_>>());
                of_seeds.extend(over_folds(|score| score.worst));
                means.extend(over_folds(|score| score.mean));
                best_epochs.extend(scores.iter().map(|score| score.best_epoch));
            }
            Ok(Trial {
                settings: one_line(written),
                mean_worst_group_accuracy: mean(&of_seeds).unwrap_or(0.0),
                worst_group_accuracy: of_seeds,
                mean_group_accuracy: mean(&means).unwrap_or(0.0),
                best_epochs,
            })
        };
        arm.written.iter().enumerate().map(one).collect()
    }

    fn score(&self, run: &PathBuf) -> Result<Score, EvidenceError> {
        let missing = |what| EvidenceError::NoFigure { run: run.display().to_string(), what };
        let json = read_run_json(&self.folder.path(run)).map_err(|_| missing("run.json"))?;
        score(&json).ok_or_else(|| missing("validation accuracy of the worst group"))
    }
}

fn tuning_run(seed: u64, arm: &str, trial: usize, fold: Option<usize>) -> PathBuf {
    of_fold(PathBuf::from(format!("seed-{seed}/tuning/{arm}/trial-{}", trial + 1)), fold)
}

/// Of a refit by the samples that chose its penalty: `dfr-val` was fitted to the rest of validation.
fn score(run: &RunJson) -> Option<Score> {
    let best_epoch = run.best_epoch;
    if let Some(dfr) = &run.dfr {
        let chosen = dfr.tried.iter().find(|tried| tried.c.total_cmp(&dfr.c).is_eq())?;
        return Some(Score { worst: chosen.worst_group_accuracy?, mean: chosen.mean_group_accuracy?, best_epoch });
    }
    let line = run.final_metrics.get(&Split::Val)?;
    Some(Score { worst: line.worst_group_accuracy?, mean: line.mean_group_accuracy?, best_epoch })
}

/// A trial as TOML within a line; empty where nothing is set.
fn one_line(wire: &crate::settings::train::TrainWire) -> String {
    let text = toml::to_string(wire).unwrap_or_default();
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(", ")
}

fn best(trials: &[Trial]) -> usize {
    let key = |trial: &Trial| (trial.mean_worst_group_accuracy, trial.mean_group_accuracy);
    let mut best = 0;
    for (at, trial) in trials.iter().enumerate().skip(1) {
        let (a, b) = (key(trial), key(&trials[best]));
        if a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)).is_gt() {
            best = at;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(worst: f64, mean: f64) -> Trial {
        Trial {
            settings: String::new(),
            worst_group_accuracy: vec![worst],
            mean_worst_group_accuracy: worst,
            mean_group_accuracy: mean,
            best_epochs: vec![1],
        }
    }

    #[test]
    fn the_worst_group_chooses_then_the_mean_then_the_order() {
        assert_eq!(best(&[trial(0.3, 0.9), trial(0.4, 0.1)]), 1);
        assert_eq!(best(&[trial(0.4, 0.1), trial(0.4, 0.2), trial(0.4, 0.2)]), 1);
        assert_eq!(best(&[trial(0.4, 0.2)]), 0);
    }

    #[test]
    fn a_trial_is_written_in_one_line() {
        let wire = toml::from_str("eta = 0.1\nscope = 'total'\naugment = { noise = 0.5 }").unwrap();
        let line = one_line(&wire);
        assert!(line.starts_with("eta = 0.1, scope = \"total\"") && line.contains("noise = 0.5"), "{line}");
    }
}
