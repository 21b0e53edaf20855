//! Settings of the methods that are more than one training run: DFR and JTT. `None` on the wire is the default, which is the published choice.

use super::objective::{ObjectiveKind, ObjectiveSettings};
use super::train::{Selection, TrainSettings, TrainSettingsError, TrainWire};

/// Inverse strengths of the penalty from which DFR chooses, as in the public code (Kirichenko et al. 2023).
pub const DFR_C: [f64; 7] = [0.01, 0.03, 0.07, 0.1, 0.3, 0.7, 1.0];
/// Copies of an error in an epoch of JTT: the least of the published search for images, 20, 50 and 100 (Liu et al. 2021).
pub const JTT_UPWEIGHT: u32 = 20;
/// Balanced subsets whose last layers are averaged, as in the public code for training data.
pub const DFR_SUBSETS: u32 = 10;

fn check(right: bool, key: &'static str, found: String, expected: &'static str) -> Result<(), TrainSettingsError> {
    if right { Ok(()) } else { Err(TrainSettingsError { key, found, expected }) }
}

/// Checked settings of `dfr-train` and `dfr-val`.
#[derive(Debug, Clone, PartialEq)]
pub struct DfrSettings {
    /// Inverse strengths of the L1 penalty to choose from, ascending, each > 0: ties go to the stronger penalty.
    pub c: Vec<f64>,
    /// Group-balanced subsets, 1 or more.
    pub subsets: u32,
}

impl DfrSettings {
    /// Fills in defaults and checks ranges.
    ///
    /// # Errors
    /// [`TrainSettingsError`] with the key.
    pub fn from_wire(c: Option<&Vec<f64>>, subsets: Option<u32>) -> Result<Self, TrainSettingsError> {
        let mut c = c.cloned().unwrap_or_else(|| DFR_C.to_vec());
        let right = (1..=100).contains(&c.len()) && c.iter().all(|c| (1e-6..=1e6).contains(c));
        check(right, "dfr_c", format!("{c:?}"), "1 to 100 numbers from 1e-6 to 1e6")?;
        c.sort_by(f64::total_cmp);
        c.dedup();
        let subsets = subsets.unwrap_or(DFR_SUBSETS);
        check((1..=1000).contains(&subsets), "dfr_subsets", subsets.to_string(), "1 to 1000")?;
        Ok(Self { c, subsets })
    }
}

/// Checked settings of `jtt`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JttSettings {
    /// Epochs of the network that finds the errors, 1 or more.
    pub epochs: u32,
    /// Times that an error is seen in an epoch, 1 or more.
    pub upweight: u32,
    /// Its learning rate, where not the run's own.
    pub learning_rate: Option<f64>,
    /// Its weight decay, where not the run's own.
    pub weight_decay: Option<f64>,
}

impl JttSettings {
    /// Fills in defaults for a run of `epochs` epochs and checks ranges: a fifth of them finds the errors, as 60 of 300 did in the publication.
    ///
    /// # Errors
    /// [`TrainSettingsError`] with the key.
    pub fn from_wire(wire: &TrainWire, epochs: u32) -> Result<Self, TrainSettingsError> {
        let settings = Self {
            epochs: wire.jtt_epochs.unwrap_or((epochs / 5).max(1)),
            upweight: wire.jtt_upweight.unwrap_or(JTT_UPWEIGHT),
            learning_rate: wire.jtt_learning_rate,
            weight_decay: wire.jtt_weight_decay,
        };
        let Self { epochs, upweight, learning_rate, weight_decay } = settings;
        check((1..=100_000).contains(&epochs), "jtt_epochs", epochs.to_string(), "1 to 100000")?;
        check((1..=10_000).contains(&upweight), "jtt_upweight", upweight.to_string(), "1 to 10000")?;
        let text = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        let rate = learning_rate.is_none_or(|rate| rate > 0.0 && rate <= 100.0);
        check(rate, "jtt_learning_rate", text(learning_rate), "a number > 0, at most 100")?;
        let decay = weight_decay.is_none_or(|decay| (0.0..=100.0).contains(&decay));
        check(decay, "jtt_weight_decay", text(weight_decay), "a number from 0 to 100")?;
        Ok(settings)
    }

    /// The training that finds the errors: the run's own with plain cross-entropy for these epochs, its last epoch kept.
    pub fn identification(&self, run: &TrainSettings) -> TrainSettings {
        TrainSettings {
            objective: ObjectiveSettings { objective: ObjectiveKind::Erm, ..run.objective },
            epochs: self.epochs,
            learning_rate: self.learning_rate.unwrap_or(run.learning_rate),
            weight_decay: self.weight_decay.unwrap_or(run.weight_decay),
            warm_up_epochs: run.warm_up_epochs.min(self.epochs / 10),
            selection: Selection::LastEpoch,
            early_stop_epochs: None,
            jtt: None,
            ..run.clone()
        }
    }
}

/// What a TorchScript teacher that was not exported by groupdistil takes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TeacherImages {
    /// Rows and columns; `None` = the dataset's.
    pub input: Option<[u32; 2]>,
    /// Mean per channel that is subtracted from the dataset's values.
    pub mean: Option<Vec<f64>>,
    /// Standard deviation per channel that they are then divided by.
    pub std: Option<Vec<f64>>,
}

impl TeacherImages {
    /// Checks ranges.
    ///
    /// # Errors
    /// [`TrainSettingsError`] with the key.
    pub fn from_wire(wire: &TrainWire) -> Result<Self, TrainSettingsError> {
        let TrainWire { teacher_input: input, teacher_mean: mean, teacher_std: std, .. } = wire.clone();
        let sides = input.is_none_or(|sides| sides.iter().all(|side| (1..=8192).contains(side)));
        check(sides, "teacher_input", format!("{input:?}"), "rows and columns, 1 to 8192 each")?;
        let finite = mean.iter().flatten().all(|mean| mean.is_finite());
        check(finite, "teacher_mean", format!("{mean:?}"), "finite numbers, one per channel")?;
        let positive = std.iter().flatten().all(|std| std.is_finite() && *std > 0.0);
        check(positive, "teacher_std", format!("{std:?}"), "numbers > 0, one per channel")?;
        let same = mean.as_ref().map(Vec::len) == std.as_ref().map(Vec::len);
        check(same, "teacher_std", format!("{std:?}"), "as many numbers as teacher_mean, both or neither")?;
        Ok(Self { input, mean, std })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_found_by_a_plain_run_of_a_fifth_of_the_epochs_or_as_told() {
        let parse = |text: &str| {
            let wire: TrainWire = toml::from_str(text).unwrap();
            TrainSettings::from_wire(&wire, 3, None, None)
        };
        let run = parse("objective = 'jtt'\nepochs = 40\nearly_stop_epochs = 3\njtt_weight_decay = 1.0").unwrap();
        let jtt = run.jtt.unwrap();
        assert_eq!((jtt.epochs, jtt.upweight), (8, JTT_UPWEIGHT));
        let first = jtt.identification(&run);
        assert_eq!((first.objective.objective, first.epochs, first.seed), (ObjectiveKind::Erm, 8, 3));
        assert_eq!((first.weight_decay, first.selection, first.early_stop_epochs), (1.0, Selection::LastEpoch, None));
        let wrong = parse("objective = 'jtt'\njtt_upweight = 0").unwrap_err().to_string();
        assert_eq!(wrong, "train.jtt_upweight is 0, expected 1 to 10000");
        assert!(parse("objective = 'jtt'\njtt_learning_rate = nan").is_err());
    }

    #[test]
    fn penalties_are_sorted_and_wrong_ones_are_named() {
        assert_eq!(DfrSettings::from_wire(Some(&vec![1.0, 0.1, 1.0]), None).unwrap().c, [0.1, 1.0]);
        let wrong = |c: Vec<f64>| DfrSettings::from_wire(Some(&c), None).unwrap_err().to_string();
        assert!(wrong(vec![]).starts_with("train.dfr_c is []"));
        assert!(wrong(vec![f64::NAN]).contains("1e-6 to 1e6"));
        assert!(DfrSettings::from_wire(None, Some(0)).is_err());
    }
}
