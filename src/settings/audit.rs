//! Settings of `audit`: the wire form (TOML) and its checked form.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::failure::{Classify, FailureKind};
use crate::formats::dataset::Split;

/// `[audit]` as TOML holds it; what is absent has its default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditWire {
    /// Confidence of all intervals, for example 0.95.
    pub confidence: Option<f64>,
    /// Bootstrap replicates.
    pub replicates: Option<u32>,
    /// Seed of the bootstrap.
    pub seed: Option<u64>,
    /// Sites and groups with fewer test subjects are reported as insufficient evidence.
    pub min_subjects: Option<u32>,
    /// Equal-width bins of the calibration plot and error.
    pub calibration_bins: Option<u32>,
    /// Which split of a RUN is reported on.
    pub split: Option<Split>,
    /// Gates, for example `worst_group_accuracy >= 0.7`.
    pub gates: Option<Vec<String>>,
}

/// A setting out of range.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditSettingsError {
    /// A number outside what makes sense.
    #[error("audit.{key} is {found}, expected {expected}")]
    Range {
        /// The key.
        key: &'static str,
        /// What was given.
        found: f64,
        /// What is accepted.
        expected: &'static str,
    },
}

impl Classify for AuditSettingsError {
    fn kind(&self) -> FailureKind {
        FailureKind::Usage
    }
}

/// Checked settings of an audit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditSettings {
    /// Confidence of all intervals, in [0.5, 0.999].
    pub confidence: f64,
    /// Bootstrap replicates, 200 to 20,000.
    pub replicates: u32,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// Sites and groups with fewer test subjects are reported as insufficient evidence; at least 2.
    pub min_subjects: u32,
    /// Equal-width bins of the calibration plot and error, 2 to 50.
    pub calibration_bins: u32,
    /// Which split of a RUN is reported on.
    pub split: Split,
    /// Gate expressions, parsed by the audit before it reads anything.
    pub gates: Vec<String>,
    /// CSV with labels for predictions that have none. A path, so it is not written to any output.
    #[serde(skip)]
    pub labels: Option<PathBuf>,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self {
            confidence: 0.95,
            replicates: 2000,
            seed: 0,
            min_subjects: 10,
            calibration_bins: 10,
            split: Split::Test,
            gates: Vec::new(),
            labels: None,
        }
    }
}

fn in_range(
    key: &'static str,
    found: f64,
    range: (f64, f64),
    expected: &'static str,
) -> Result<(), AuditSettingsError> {
    if (range.0..=range.1).contains(&found) { Ok(()) } else { Err(AuditSettingsError::Range { key, found, expected }) }
}

impl TryFrom<AuditWire> for AuditSettings {
    type Error = AuditSettingsError;

    fn try_from(wire: AuditWire) -> Result<Self, AuditSettingsError> {
        let AuditWire { confidence, replicates, seed, min_subjects, calibration_bins, split, gates } = wire;
        let default = Self::default();
        let settings = Self {
            confidence: confidence.unwrap_or(default.confidence),
            replicates: replicates.unwrap_or(default.replicates),
            seed: seed.unwrap_or(default.seed),
            min_subjects: min_subjects.unwrap_or(default.min_subjects),
            calibration_bins: calibration_bins.unwrap_or(default.calibration_bins),
            split: split.unwrap_or(default.split),
            gates: gates.unwrap_or_default(),
            labels: None,
        };
        in_range("confidence", settings.confidence, (0.5, 0.999), "a number from 0.5 to 0.999")?;
        in_range("replicates", settings.replicates.into(), (200.0, 20_000.0), "200 to 20000")?;
        in_range("min_subjects", settings.min_subjects.into(), (2.0, 1e6), "2 or more")?;
        in_range("calibration_bins", settings.calibration_bins.into(), (2.0, 50.0), "2 to 50")?;
        Ok(settings)
    }
}

impl AuditSettings {
    /// Probability that an interval leaves out on each side.
    pub fn tail(&self) -> f64 {
        (1.0 - self.confidence) / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confidence_in_per_cent_is_refused_with_its_key() {
        let wire: AuditWire = toml::from_str("confidence = 95.0").unwrap();
        let error = AuditSettings::try_from(wire).unwrap_err();
        assert_eq!(error.to_string(), "audit.confidence is 95, expected a number from 0.5 to 0.999");
        assert_eq!(error.kind(), FailureKind::Usage);
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_known_ones() {
        let error = toml::from_str::<AuditWire>("replicate = 5").unwrap_err().to_string();
        assert!(error.contains("replicate") && error.contains("replicates"), "{error}");
    }
}
