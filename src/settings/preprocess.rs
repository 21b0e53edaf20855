//! Settings of `preprocess`: the wire form (TOML) and its checked form.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::failure::{Classify, FailureKind};
use crate::formats::plan::{CardiacPhases, Centre, Kernel, Normalisation, PhaseChoice, SampleKind, Scope};

/// A setting outside its range.
#[derive(Debug, thiserror::Error)]
#[error("preprocess.{key} is {found}, expected {expected}")]
pub struct PreprocessSettingsError {
    /// TOML key.
    pub key: &'static str,
    /// What was given.
    pub found: String,
    /// What is accepted.
    pub expected: &'static str,
}

impl Classify for PreprocessSettingsError {
    fn kind(&self) -> FailureKind {
        FailureKind::Usage
    }
}

/// Name of a sample kind in TOML.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SampleName {
    /// Single frames.
    Single,
    /// End-diastole and end-systole as channels.
    Pair,
    /// Phases over the cycle as channels.
    Cycle,
    /// Neighbouring slices as channels.
    Slab,
}

/// How subjects are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitMethod {
    /// The cohort's `source_split` where every subject has one, else random.
    Auto,
    /// By `fractions`, stratified and seeded.
    Random,
    /// The cohort's `source_split`; where it names nobody for validation, the share of `fractions` of its training subjects.
    Source,
    /// `folds` parts, stratified and seeded.
    KFold,
    /// A fold per site; of the others a share validates, as `fractions` has it, stratified and seeded.
    LeaveOneSiteOut,
}

/// What keeps the same proportions in every split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stratum {
    /// The group.
    Group,
    /// The label.
    Label,
}

/// Channels of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Colour {
    /// RGB where the first image of the cohort is, else grey.
    Auto,
    /// One channel; RGB becomes luminance.
    Grey,
    /// Three channels; grey is repeated.
    Rgb,
}

/// `[preprocess]` as TOML holds it. Every key may be left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PreprocessWire {
    /// Views that are used; plain images are always used.
    pub views: Vec<String>,
    /// Kinds that are used; plain images are always used.
    pub kinds: Vec<String>,
    /// Part of the stack, 0 = base, 1 = apex.
    pub slice_range: [f64; 2],
    /// What one sample shows; without it, `pair` for stacks of several phases and `single` otherwise.
    pub sample: Option<SampleName>,
    /// Phases of `single` and `slab`.
    pub sample_phase: PhaseChoice,
    /// Channels of `cycle`.
    pub cycle_phases: usize,
    /// Channels of `slab`, odd.
    pub slab_slices: usize,
    /// Column with the end-diastolic phase; without it, `attr_ed` and `attr_es` or `attr_ed_phase` and `attr_es_phase` in either case,
    /// whichever pair more stacks have.
    pub end_diastole_column: Option<String>,
    /// Column with the end-systolic phase.
    pub end_systole_column: Option<String>,
    /// What those columns call the first phase: 0 or 1.
    pub first_phase: i32,
    /// The same end-diastolic phase everywhere, 0-based.
    pub end_diastole_phase: Option<i32>,
    /// The same end-systolic phase everywhere, 0-based.
    pub end_systole_phase: Option<i32>,
    /// Target pixel spacing; without it, decided from the cohort.
    pub pixel_spacing_mm: Option<f64>,
    /// Target distance of slices; without it, the source's.
    pub slice_spacing_mm: Option<f64>,
    /// Side of the square crop.
    pub crop_mm: f64,
    /// Most pixels along a side when the spacing is decided from the cohort.
    pub max_image_size: usize,
    /// Size of images without pixel spacing, `[rows, columns]`; given, it is used for all sources.
    pub resize: Option<[usize; 2]>,
    /// Interpolation.
    pub kernel: Kernel,
    /// What the crop is centred on.
    pub centre: Centre,
    /// Channels of a frame.
    pub colour: Colour,
    /// Last step; without it, `unit` for RGB and `z-score` otherwise.
    pub normalisation: Option<Normalisation>,
    /// Percentiles to clip to; empty = no clipping. Not used for RGB.
    pub clip_percentiles: Vec<f64>,
    /// Over which pixels percentiles and z-score are taken.
    pub scope: Scope,
    /// Remove smooth coil bias first.
    pub bias_correction: bool,
    /// Map to a standard histogram fitted on training subjects.
    pub standardise_histogram: bool,
    /// Class names in the order of the logits; without it, those found, byte-sorted.
    pub classes: Option<Vec<String>>,
    /// How subjects are divided.
    pub split: SplitMethod,
    /// Shares of training, validation and test.
    pub fractions: [f64; 3],
    /// Parts of `k-fold`.
    pub folds: usize,
    /// What keeps the same proportions in every split.
    pub stratify: Vec<Stratum>,
    /// Seed of the random division.
    pub seed: u64,
    /// Groups (or acquisition groups) that are only tested on.
    pub held_out_groups: Vec<String>,
    /// Groups (or acquisition groups) that are only trained on.
    pub training_only_groups: Vec<String>,
    /// Go on, with a warning, where two subjects of different splits hold the same pixels.
    pub allow_shared_pixels: bool,
    /// Groups too small for a split of their own are put into the group of this name.
    pub merge_small_groups_into: Option<String>,
}

impl Default for PreprocessWire {
    fn default() -> Self {
        Self {
            views: vec!["sax".to_owned()],
            kinds: vec!["cine".to_owned()],
            slice_range: [0.15, 0.85],
            sample: None,
            sample_phase: PhaseChoice::Both,
            cycle_phases: 6,
            slab_slices: 3,
            end_diastole_column: None,
            end_systole_column: None,
            first_phase: 0,
            end_diastole_phase: None,
            end_systole_phase: None,
            pixel_spacing_mm: None,
            slice_spacing_mm: None,
            crop_mm: 140.0,
            max_image_size: 80,
            resize: None,
            kernel: Kernel::Linear,
            centre: Centre::Heart,
            colour: Colour::Auto,
            normalisation: None,
            clip_percentiles: vec![1.0, 99.0],
            scope: Scope::Stack,
            bias_correction: false,
            standardise_histogram: false,
            classes: None,
            split: SplitMethod::Auto,
            fractions: [0.6, 0.15, 0.25],
            folds: 5,
            stratify: vec![Stratum::Group, Stratum::Label],
            seed: 0,
            held_out_groups: Vec::new(),
            training_only_groups: Vec::new(),
            allow_shared_pixels: false,
            merge_small_groups_into: None,
        }
    }
}

/// Checked settings.
#[derive(Debug, Clone, PartialEq)]
pub struct PreprocessSettings {
    /// The wire form, all of whose values are in range.
    wire: PreprocessWire,
    /// What one sample shows, if said.
    pub sample: Option<SampleKind>,
    /// Where end-diastole and end-systole come from, if said.
    pub cardiac_phases: Option<CardiacPhases>,
    /// Percentiles to clip to.
    pub clip_percentiles: Option<[f64; 2]>,
    /// Groups that are only tested on.
    pub held_out_groups: BTreeSet<String>,
    /// Groups that are only trained on.
    pub training_only_groups: BTreeSet<String>,
    /// CSV with the split of each subject, instead of `split`. A path, so it is not written to any output; what it says is.
    pub split_file: Option<PathBuf>,
    /// Cap on the pixels held at once, bytes; `None` = a quarter of the machine's memory. Never changes the result.
    pub max_memory_bytes: Option<u64>,
}

impl std::ops::Deref for PreprocessSettings {
    type Target = PreprocessWire;

    fn deref(&self) -> &PreprocessWire {
        &self.wire
    }
}

impl Default for PreprocessSettings {
    fn default() -> Self {
        Self::try_from(PreprocessWire::default()).expect("the defaults are in range, held by a test")
    }
}

fn check(
    right: bool,
    key: &'static str,
    found: impl std::fmt::Debug,
    expected: &'static str,
) -> Result<(), PreprocessSettingsError> {
    if right { Ok(()) } else { Err(PreprocessSettingsError { key, found: format!("{found:?}"), expected }) }
}

impl PreprocessWire {
    fn check_selection(&self) -> Result<(), PreprocessSettingsError> {
        let range = self.slice_range;
        let ordered = 0.0 <= range[0] && range[0] < range[1] && range[1] <= 1.0;
        check(ordered, "slice_range", range, "two numbers with 0 <= first < second <= 1")?;
        check(!self.views.is_empty(), "views", &self.views, "at least one view")?;
        check(!self.kinds.is_empty(), "kinds", &self.kinds, "at least one kind")?;
        check((1..=64).contains(&self.cycle_phases), "cycle_phases", self.cycle_phases, "1 to 64")?;
        let odd = self.slab_slices % 2 == 1 && self.slab_slices <= 31;
        check(odd, "slab_slices", self.slab_slices, "an odd number from 1 to 31")?;
        check((0..=1).contains(&self.first_phase), "first_phase", self.first_phase, "0 or 1")?;
        let slab_of_all = self.sample == Some(SampleName::Slab) && self.sample_phase == PhaseChoice::All;
        check(!slab_of_all, "sample_phase", self.sample_phase, "end-diastole, end-systole or both with slab")
    }

    fn check_geometry(&self) -> Result<(), PreprocessSettingsError> {
        let length = |value: f64, low: f64, high: f64| value.is_finite() && (low..=high).contains(&value);
        let spacing = self.pixel_spacing_mm;
        check(spacing.is_none_or(|mm| length(mm, 0.05, 20.0)), "pixel_spacing_mm", spacing, "0.05 to 20")?;
        let slices = self.slice_spacing_mm;
        check(slices.is_none_or(|mm| length(mm, 0.1, 100.0)), "slice_spacing_mm", slices, "0.1 to 100")?;
        check(length(self.crop_mm, 10.0, 1000.0), "crop_mm", self.crop_mm, "10 to 1000")?;
        check((8..=2048).contains(&self.max_image_size), "max_image_size", self.max_image_size, "8 to 2048")?;
        let size = |size: [usize; 2]| size.iter().all(|side| (8..=2048).contains(side));
        check(self.resize.is_none_or(size), "resize", self.resize, "[rows, columns], each 8 to 2048")
    }

    fn check_split(&self) -> Result<(), PreprocessSettingsError> {
        let shares = self.fractions;
        let sum: f64 = shares.iter().sum();
        let whole = shares.iter().all(|share| *share > 0.0) && (sum - 1.0).abs() < 1e-6;
        check(whole, "fractions", shares, "three positive shares that add up to 1")?;
        check(
            (3..=100).contains(&self.folds),
            "folds",
            self.folds,
            "3 to 100 (training, validation and test need one each)",
        )?;
        // Each subject is tested in some fold, so landmarks of one plan would have seen test subjects.
        let has_folds = matches!(self.split, SplitMethod::KFold | SplitMethod::LeaveOneSiteOut);
        let one_training = !(self.standardise_histogram && has_folds);
        check(
            one_training,
            "standardise_histogram",
            true,
            "false with folds: landmarks may only see training subjects",
        )?;
        if let Some(classes) = &self.classes {
            let distinct: BTreeSet<_> = classes.iter().collect();
            let right = classes.len() >= 2 && distinct.len() == classes.len();
            check(right, "classes", classes, "at least two different names")?;
        }
        let both = self.held_out_groups.iter().find(|group| self.training_only_groups.contains(group));
        check(both.is_none(), "held_out_groups", both, "no group that is also in training_only_groups")
    }

    fn cardiac_phases(&self) -> Result<Option<CardiacPhases>, PreprocessSettingsError> {
        let fixed = (self.end_diastole_phase, self.end_systole_phase);
        let columns = (self.end_diastole_column.clone(), self.end_systole_column.clone());
        let phase = |phase: i32| (0..10_000).contains(&phase);
        match (fixed, columns) {
            ((None, None), (None, None)) => Ok(None),
            ((Some(end_diastole), Some(end_systole)), (None, None)) => {
                check(phase(end_diastole), "end_diastole_phase", end_diastole, "0 to 9999")?;
                check(phase(end_systole), "end_systole_phase", end_systole, "0 to 9999")?;
                Ok(Some(CardiacPhases::Fixed { end_diastole, end_systole }))
            }
            ((None, None), (Some(end_diastole), Some(end_systole))) => {
                Ok(Some(CardiacPhases::Columns { end_diastole, end_systole, first: self.first_phase }))
            }
            (fixed, columns) => Err(PreprocessSettingsError {
                key: "end_diastole_phase",
                found: format!("{fixed:?} with columns {columns:?}"),
                expected: "both phases, or both columns, or none of them",
            }),
        }
    }

    fn clip(&self) -> Result<Option<[f64; 2]>, PreprocessSettingsError> {
        match *self.clip_percentiles {
            [] => Ok(None),
            [low, high] if 0.0 <= low && low < high && high <= 100.0 => Ok(Some([low, high])),
            _ => Err(PreprocessSettingsError {
                key: "clip_percentiles",
                found: format!("{:?}", self.clip_percentiles),
                expected: "two percentiles with 0 <= first < second <= 100, or an empty list",
            }),
        }
    }
}

impl TryFrom<PreprocessWire> for PreprocessSettings {
    type Error = PreprocessSettingsError;

    fn try_from(wire: PreprocessWire) -> Result<Self, PreprocessSettingsError> {
        wire.check_selection()?;
        wire.check_geometry()?;
        wire.check_split()?;
        let sample = wire.sample.map(|name| match name {
            SampleName::Single => SampleKind::Single { phase: wire.sample_phase },
            SampleName::Pair => SampleKind::Pair,
            SampleName::Cycle => SampleKind::Cycle { phases: wire.cycle_phases },
            SampleName::Slab => SampleKind::Slab { slices: wire.slab_slices, phase: wire.sample_phase },
        });
        Ok(Self {
            sample,
            cardiac_phases: wire.cardiac_phases()?,
            clip_percentiles: wire.clip()?,
            held_out_groups: wire.held_out_groups.iter().cloned().collect(),
            training_only_groups: wire.training_only_groups.iter().cloned().collect(),
            split_file: None,
            max_memory_bytes: None,
            wire,
        })
    }
}

impl PreprocessSettings {
    /// The wire form, as written to `settings.toml` and into the fingerprint.
    pub fn wire(&self) -> &PreprocessWire {
        &self.wire
    }

    /// With these groups held out besides those of the settings.
    #[must_use]
    pub fn with_held_out(&self, names: Vec<String>) -> Self {
        let mut settings = self.clone();
        settings.held_out_groups.extend(names);
        settings.wire.held_out_groups = settings.held_out_groups.iter().cloned().collect();
        settings
    }

    /// With the splits of a CSV file.
    #[must_use]
    pub fn with_split_file(mut self, file: Option<PathBuf>) -> Self {
        self.split_file = file;
        self
    }

    /// With a cap on the pixels held at once.
    #[must_use]
    pub fn with_max_memory_bytes(mut self, bytes: Option<u64>) -> Self {
        self.max_memory_bytes = bytes;
        self
    }
}

/// Bytes of a size such as `2GiB`, `500MB`, `1.5 GiB` or `4096`; `None` when it is none.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: f64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * factor;
    // Exact in an f64 and far above any machine's memory.
    (1.0..=1e15).contains(&bytes).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<PreprocessSettings, String> {
        let wire: PreprocessWire = toml::from_str(text).map_err(|error| error.to_string())?;
        PreprocessSettings::try_from(wire).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_in_range_and_survive_toml() {
        let settings = PreprocessSettings::default();
        let text = toml::to_string(settings.wire()).unwrap();
        assert_eq!(parse(&text).unwrap(), settings);
    }

    #[test]
    fn a_wrong_value_is_named_with_what_is_accepted() {
        assert_eq!(
            parse("slice_range = [0.9, 0.1]").unwrap_err(),
            "preprocess.slice_range is [0.9, 0.1], expected two numbers with 0 <= first < second <= 1"
        );
        assert!(parse("crop_mm = 0").unwrap_err().contains("crop_mm"));
        assert!(parse("fractions = [0.5, 0.5, 0.5]").unwrap_err().contains("add up to 1"));
        assert!(parse("end_diastole_phase = 0").unwrap_err().contains("both"));
        assert!(parse("crop = 3").unwrap_err().contains("unknown field `crop`"));
        assert!(parse("sample = \"slab\"\nslab_slices = 2").unwrap_err().contains("odd"));
        assert!(parse("split = \"k-fold\"\nstandardise_histogram = true").unwrap_err().contains("training subjects"));
    }

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(parse_size("2GiB"), Some(2 << 30));
        assert_eq!(parse_size("1.5 gib"), Some(3 << 29));
        assert_eq!(parse_size("500MB"), Some(500_000_000));
        assert_eq!(parse_size("4096"), Some(4096));
        for wrong in ["", "GiB", "-1", "1e99", "3 parsecs", "0", "1.2.3M"] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
    }
}
