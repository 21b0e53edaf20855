//! Settings of `phantom`: the wire form (TOML) and its checked form.

use serde::{Deserialize, Serialize};

use crate::failure::{Classify, FailureKind};

/// Most subjects that one cohort may hold: the ids have four digits a site.
pub const MAX_SUBJECTS: u32 = 9_999;
/// Most test subjects that a group may be given.
pub const MAX_TEST_PER_GROUP: u32 = 200;

/// A named size and composition of the synthetic cohort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// 36 subjects, small matrices, every site, label and split: for tests.
    Tiny,
    /// Diagnosis independent of the scanner: for the embedded demo.
    #[default]
    Demo,
    /// Diagnosis and scanner strongly correlated in training, balanced in validation and test.
    Shift,
    /// Clinical slice counts and matrices, more than 5,000 files: for benchmarks.
    Large,
}

impl Preset {
    /// The name as TOML and the command line spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Demo => "demo",
            Self::Shift => "shift",
            Self::Large => "large",
        }
    }
}

/// `[phantom]` as TOML holds it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhantomWire {
    /// Size and composition; default `demo`.
    pub preset: Option<Preset>,
    /// Total subjects, instead of the preset's; every part is scaled.
    pub subjects: Option<u32>,
    /// Seed of everything random; default 0.
    pub seed: Option<u64>,
    /// Test subjects of every group (label x site), instead of the preset's.
    pub test_per_group: Option<u32>,
}

/// Checked settings of `phantom`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PhantomSettings {
    /// Size and composition.
    pub preset: Preset,
    /// Total subjects (1 to [`MAX_SUBJECTS`]); `None` is the preset's own number.
    pub subjects: Option<u32>,
    /// Seed of everything random.
    pub seed: u64,
    /// Test subjects of every group, label x site (1 to [`MAX_TEST_PER_GROUP`]); `None` is the preset's own number.
    pub test_per_group: Option<u32>,
}

/// A setting of `phantom` that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PhantomSettingsError {
    /// A number outside its range.
    #[error("phantom.{key} is {found}, expected a whole number from 1 to {most}")]
    Range {
        /// The key.
        key: &'static str,
        /// Its value.
        found: u32,
        /// The largest accepted value.
        most: u32,
    },
    /// Both ways of setting the size were used.
    #[error(
        "phantom.subjects and phantom.test_per_group are both given; `subjects` scales the test groups too, so give one"
    )]
    Both,
}

impl Classify for PhantomSettingsError {
    fn kind(&self) -> FailureKind {
        FailureKind::Usage
    }
}

impl TryFrom<PhantomWire> for PhantomSettings {
    type Error = PhantomSettingsError;

    fn try_from(wire: PhantomWire) -> Result<Self, Self::Error> {
        let PhantomWire { preset, subjects, seed, test_per_group } = wire;
        let in_range = |key, value: Option<u32>, most| match value {
            Some(found) if found == 0 || found > most => Err(PhantomSettingsError::Range { key, found, most }),
            _ => Ok(()),
        };
        in_range("subjects", subjects, MAX_SUBJECTS)?;
        in_range("test_per_group", test_per_group, MAX_TEST_PER_GROUP)?;
        if subjects.is_some() && test_per_group.is_some() {
            return Err(PhantomSettingsError::Both);
        }
        Ok(Self { preset: preset.unwrap_or_default(), subjects, seed: seed.unwrap_or_default(), test_per_group })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_table_is_the_demo_cohort_of_seed_zero() {
        let wire: PhantomWire = toml::from_str("").unwrap();
        let settings = PhantomSettings::try_from(wire).unwrap();
        assert_eq!((settings.preset, settings.subjects, settings.seed), (Preset::Demo, None, 0));
    }

    #[test]
    fn no_subjects_at_all_is_refused_by_key() {
        let wire: PhantomWire = toml::from_str("subjects = 0").unwrap();
        let message = PhantomSettings::try_from(wire).unwrap_err().to_string();
        assert!(message.contains("phantom.subjects is 0"), "{message}");
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(toml::from_str::<PhantomWire>("subject = 3").is_err());
    }
}
