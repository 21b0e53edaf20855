//! Settings of an objective (design, section 4): what is minimised, and how group weights move. The mathematics is in `objective`.

use serde::{Deserialize, Serialize};

/// What is minimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectiveKind {
    /// Mean cross-entropy.
    Erm,
    /// Mean cross-entropy and mean distillation loss (Hinton et al. 2015).
    Kd,
    /// Group DRO (Sagawa et al. 2020).
    GroupDro,
    /// Group distributionally robust knowledge distillation (Vilouras et al. 2023).
    GroupDistil,
    /// Plain cross-entropy with the errors of a first network repeated: just train twice (Liu et al. 2021).
    Jtt,
    /// Distillation from several teachers, each weighted where it disagrees with a biased network (Kenfack et al. 2025).
    AgreKd,
    /// The last layer of a RUN, refit on group-balanced subsets of the training split (Kirichenko et al. 2023).
    DfrTrain,
    /// The same on half of the validation split.
    DfrVal,
}

impl ObjectiveKind {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Erm, Self::Kd, Self::GroupDro, Self::GroupDistil, Self::Jtt, Self::AgreKd, Self::DfrTrain, Self::DfrVal];

    /// As written in settings and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Erm => "erm",
            Self::Kd => "kd",
            Self::GroupDro => "group-dro",
            Self::GroupDistil => "group-distil",
            Self::Jtt => "jtt",
            Self::AgreKd => "agre-kd",
            Self::DfrTrain => "dfr-train",
            Self::DfrVal => "dfr-val",
        }
    }

    /// The objective of a written name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether it learns from a teacher.
    pub fn needs_teacher(self) -> bool {
        matches!(self, Self::Kd | Self::GroupDistil | Self::AgreKd)
    }

    /// Whether it also listens to a biased network.
    pub fn needs_biased(self) -> bool {
        self == Self::AgreKd
    }

    /// Whether it refits the last layer of another RUN in place of training a network.
    pub fn refits(self) -> bool {
        matches!(self, Self::DfrTrain | Self::DfrVal)
    }

    /// Whether it keeps group weights.
    pub fn has_weights(self) -> bool {
        matches!(self, Self::GroupDro | Self::GroupDistil)
    }
}

/// What q weights in `group-distil`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// The distillation loss only; cross-entropy stays a plain mean.
    Distillation,
    /// Cross-entropy and distillation loss together.
    Total,
}

/// What happens to the weight of a group without a sample in the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AbsentRule {
    /// It stays; the groups in the batch share what they had before.
    Keep,
    /// Its loss counts as 0, as in the public group_DRO code.
    Zero,
}

/// Checked settings of an objective.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectiveSettings {
    /// What is minimised.
    pub objective: ObjectiveKind,
    /// What q weights in `group-distil`.
    pub scope: Scope,
    /// The rule for absent groups.
    pub absent: AbsentRule,
    /// T > 0.
    pub temperature: f64,
    /// Share of the distillation loss, 0..=1.
    pub alpha: f64,
    /// Step size of q, > 0.
    pub eta: f64,
    /// C of C/sqrt(n_g), >= 0.
    pub adjustment: f64,
    /// Least weight in the loss, 0 <= floor <= 1/G.
    pub floor: f64,
}

/// A number outside its range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutOfRange {
    /// The setting.
    pub key: &'static str,
    /// What was given.
    pub found: f64,
    /// What it may be.
    pub expected: &'static str,
}

impl ObjectiveSettings {
    /// Checks the ranges that do not depend on data.
    ///
    /// # Errors
    /// [`OutOfRange`].
    pub fn check(&self) -> Result<(), OutOfRange> {
        let range = |key, found: f64, fits: bool, expected| {
            if found.is_finite() && fits { Ok(()) } else { Err(OutOfRange { key, found, expected }) }
        };
        range("temperature", self.temperature, self.temperature > 0.0, "a finite number > 0")?;
        range("alpha", self.alpha, (0.0..=1.0).contains(&self.alpha), "a number from 0 to 1")?;
        range("eta", self.eta, self.eta > 0.0, "a finite number > 0")?;
        range("adjustment", self.adjustment, self.adjustment >= 0.0, "a finite number >= 0")?;
        range("floor", self.floor, (0.0..=1.0).contains(&self.floor), "a number from 0 to 1/groups")
    }
}
