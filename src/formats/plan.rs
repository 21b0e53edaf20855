//! `plan.json`: the complete preprocessing, decided once from the cohort and carried into the dataset, the model file and `predict`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::dataset::{DatasetError, read_json};

/// The file's name in a DATASET.
pub const PLAN_JSON: &str = "plan.json";
/// `schema` of `plan.json`.
pub const PLAN_SCHEMA: &str = "groupdistil.plan/1";

/// Everything that turns a stack into the model's input. Equal plans and pixels give equal bits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`PLAN_SCHEMA`].
    pub schema: String,
    /// Which stacks and slices are used.
    pub selection: Selection,
    /// What one sample shows.
    pub sample: SampleKind,
    /// End-diastole and end-systole.
    pub cardiac_phases: CardiacPhases,
    /// Where and at which scale the image is cut.
    pub geometry: PlanGeometry,
    /// How grey values are made comparable.
    pub intensity: IntensityPlan,
    /// Channels of one source frame: 1 grey, 3 RGB.
    pub frame_channels: usize,
}

/// Which stacks and slices are used. Sources that are plain images have neither view nor kind and are always used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// Views of `stacks.parquet`.
    pub views: Vec<String>,
    /// Kinds of `stacks.parquet`.
    pub kinds: Vec<String>,
    /// Part of the stack by the centres of its slices, 0 = base, 1 = apex; at least the middle slice is used.
    pub slice_range: [f64; 2],
}

/// What the channels of one sample show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "snake_case", deny_unknown_fields)]
pub enum SampleKind {
    /// One frame: a sample per slice and chosen phase.
    Single {
        /// Which phases give samples.
        phase: PhaseChoice,
    },
    /// End-diastole and end-systole of a slice as channels.
    Pair,
    /// `phases` evenly spaced over the cycle from end-diastole, as channels.
    Cycle {
        /// Number of phases.
        phases: usize,
    },
    /// `slices` neighbouring slices (base to apex) of the chosen phases as channels.
    Slab {
        /// Number of slices, odd; beyond the stack's ends the last slice is repeated.
        slices: usize,
        /// Which phases; with `both` all slices of end-diastole come first.
        phase: PhaseChoice,
    },
}

/// Phases of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PhaseChoice {
    /// Every phase.
    All,
    /// End-diastole.
    EndDiastole,
    /// End-systole.
    EndSystole,
    /// End-diastole and end-systole.
    Both,
}

/// Where end-diastole and end-systole come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "kebab-case", rename_all_fields = "snake_case", deny_unknown_fields)]
pub enum CardiacPhases {
    /// The cavity's area curve: largest and smallest.
    AreaCurve,
    /// Columns of the cohort (`attr_<name>`), where filled; else the area curve.
    Columns {
        /// Column of end-diastole.
        end_diastole: String,
        /// Column of end-systole.
        end_systole: String,
        /// What the first phase is called there: 0 (M&Ms) or 1 (ACDC).
        first: i32,
    },
    /// The same 0-based phases in every stack.
    Fixed {
        /// End-diastole.
        end_diastole: i32,
        /// End-systole.
        end_systole: i32,
    },
}

/// Interpolation between pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kernel {
    /// Linear in each axis.
    Linear,
    /// Interpolating cubic B-spline with mirrored ends.
    CubicBSpline,
}

/// What the crop is centred on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Centre {
    /// The beating heart; the image's centre where it cannot be found.
    Heart,
    /// The image's centre.
    Image,
}

/// Where and at which scale the image is cut. Shrinking smooths first (Gaussian, sigma = (factor - 1) / 2 source pixels).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "spacing", rename_all = "kebab-case", rename_all_fields = "snake_case", deny_unknown_fields)]
pub enum PlanGeometry {
    /// Sources with a pixel spacing: turned to the standard orientation, resampled to `pixel_spacing_mm`, cropped.
    Mm {
        /// Distance of target pixels, both directions.
        pixel_spacing_mm: f64,
        /// Distance of target slices; `None` keeps the source's.
        slice_spacing_mm: Option<f64>,
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Interpolation.
        kernel: Kernel,
        /// What the crop is centred on.
        centre: Centre,
    },
    /// Sources without a pixel spacing: the whole image resized.
    None {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Interpolation.
        kernel: Kernel,
    },
}

impl PlanGeometry {
    /// (rows, columns) of every image.
    pub fn size(&self) -> (usize, usize) {
        match *self {
            Self::Mm { height, width, .. } | Self::None { height, width, .. } => (height, width),
        }
    }

    /// Distance of pixels, mm.
    pub fn pixel_spacing_mm(&self) -> Option<f64> {
        match *self {
            Self::Mm { pixel_spacing_mm, .. } => Some(pixel_spacing_mm),
            Self::None { .. } => None,
        }
    }
}

/// Over which pixels percentiles, mean and spread are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// All samples of the stack together: phases and slices stay comparable.
    Stack,
    /// Each sample by itself.
    Sample,
}

/// The last step of intensity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalisation {
    /// Mean 0, standard deviation 1.
    ZScore,
    /// 0 to 1: 8-bit values divided by 255, others by their clipping limits.
    Unit,
    /// Values as they are.
    None,
}

/// How grey values are made comparable, in this order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntensityPlan {
    /// Smooth multiplicative bias removed before anything else.
    pub bias_correction: bool,
    /// Nyul-Udupa standard landmarks, fitted on training subjects; `None` = not used.
    pub standard_landmarks: Option<StandardLandmarks>,
    /// Values are clipped to these percentiles; `None` = not clipped.
    pub clip_percentiles: Option<[f64; 2]>,
    /// The last step.
    pub normalisation: Normalisation,
    /// Over which pixels.
    pub scope: Scope,
}

/// A standard histogram (Nyul, Udupa, Zhang 2000): landmarks at `percentiles` are mapped to `values`, linearly between.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "LandmarksWire")]
pub struct StandardLandmarks {
    /// Percentiles, 0 to 100, ascending; at least two.
    pub percentiles: Vec<f64>,
    /// Standard values, ascending, one per percentile.
    pub values: Vec<f64>,
}

/// As JSON holds them, which may be anybody's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LandmarksWire {
    percentiles: Vec<f64>,
    values: Vec<f64>,
}

impl TryFrom<LandmarksWire> for StandardLandmarks {
    type Error = &'static str;

    fn try_from(LandmarksWire { percentiles, values }: LandmarksWire) -> Result<Self, Self::Error> {
        let ascending = |list: &[f64]| list.windows(2).all(|pair| pair[0] < pair[1]);
        if percentiles.len() < 2 || percentiles.len() != values.len() {
            return Err("landmarks need two percentiles at least, and a value for each");
        }
        if !percentiles.iter().all(|percentile| (0.0..=100.0).contains(percentile)) || !ascending(&percentiles) {
            return Err("landmarks need ascending percentiles from 0 to 100");
        }
        if !values.iter().all(|value| value.is_finite()) || values.windows(2).any(|pair| pair[0] > pair[1]) {
            return Err("landmarks need ascending values");
        }
        Ok(Self { percentiles, values })
    }
}

impl Plan {
    /// (channels, rows, columns) of every sample.
    pub fn image_shape(&self) -> (usize, usize, usize) {
        let (height, width) = self.geometry.size();
        (self.channel_names().len(), height, width)
    }

    /// What each channel shows.
    pub fn channel_names(&self) -> Vec<String> {
        let frames = self.frame_names();
        if self.frame_channels == 1 {
            return frames;
        }
        let colours = ["red", "green", "blue"];
        frames.iter().flat_map(|frame| colours.map(|colour| format!("{frame}-{colour}"))).collect()
    }

    /// What each frame of a sample shows, without colours.
    fn frame_names(&self) -> Vec<String> {
        match self.sample {
            SampleKind::Single { .. } => vec!["frame".to_owned()],
            SampleKind::Pair => vec!["end-diastole".to_owned(), "end-systole".to_owned()],
            SampleKind::Cycle { phases } => (0..phases).map(|index| format!("cycle-{index}-of-{phases}")).collect(),
            SampleKind::Slab { slices, phase } => {
                let phases: &[&str] = match phase {
                    PhaseChoice::EndDiastole => &["end-diastole"],
                    PhaseChoice::EndSystole => &["end-systole"],
                    PhaseChoice::Both | PhaseChoice::All => &["end-diastole", "end-systole"],
                };
                let half = i64::try_from(slices / 2).unwrap_or(0);
                phases
                    .iter()
                    .flat_map(|phase| (0..slices).map(move |slice| (phase, slice as i64 - half)))
                    .map(|(phase, offset)| format!("{phase}-slice{offset:+}"))
                    .collect()
            }
        }
    }
}

/// Reads a plan, from a DATASET's `plan.json`.
///
/// # Errors
/// [`DatasetError::Fs`], [`DatasetError::Json`], or [`DatasetError::Value`] for another schema.
pub fn read_plan(path: &Path) -> Result<Plan, DatasetError> {
    let plan: Plan = read_json(path)?;
    if plan.schema == PLAN_SCHEMA {
        return Ok(plan);
    }
    Err(DatasetError::Value {
        path: path.to_path_buf(),
        name: "schema",
        found: plan.schema,
        expected: PLAN_SCHEMA.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn landmarks_that_fit_nothing_are_no_plan() {
        let parse = |text: &str| serde_json::from_str::<StandardLandmarks>(text);
        assert!(parse(r#"{"percentiles":[1,50,99],"values":[0,40.5,100]}"#).is_ok());
        for wrong in [
            r#"{"percentiles":[1],"values":[0]}"#,
            r#"{"percentiles":[1,99],"values":[0]}"#,
            r#"{"percentiles":[99,1],"values":[0,100]}"#,
            r#"{"percentiles":[1,101],"values":[0,100]}"#,
            r#"{"percentiles":[1,99],"values":[100,0]}"#,
            r#"{"percentiles":[1,99],"values":[0,100],"more":1}"#,
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
