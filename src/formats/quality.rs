//! `quality.parquet` and `.csv` of a DATASET: one row per prepared stack, what was found in it and what looks wrong.

use serde::{Deserialize, Serialize};

use super::table::{Column, Table};

/// The table; a CSV twin lies beside it.
pub const QUALITY_PARQUET: &str = "quality.parquet";

/// What looks wrong in a stack. Flags report; they never leave a stack out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QualityFlag {
    /// The heart was not found by its motion, or with low confidence: the crop may miss it.
    HeartUncertain,
    /// Part of the crop lies outside the image, or the heart reaches its border.
    HeartNearBorder,
    /// Fewer phases than the scanner announced.
    MissingPhases,
    /// Grey values around the heart differ little against the noise.
    LowContrast,
    /// Slices or phases do not fit each other: breathing, arrhythmia, mis-triggering.
    Motion,
    /// Called short axis, but its plane or what beats in it is unlike one.
    WrongView,
}

impl QualityFlag {
    /// All, in the order of the table.
    pub const ALL: [Self; 6] = [
        Self::HeartUncertain,
        Self::HeartNearBorder,
        Self::MissingPhases,
        Self::LowContrast,
        Self::Motion,
        Self::WrongView,
    ];

    /// As written in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HeartUncertain => "heart-uncertain",
            Self::HeartNearBorder => "heart-near-border",
            Self::MissingPhases => "missing-phases",
            Self::LowContrast => "low-contrast",
            Self::Motion => "motion",
            Self::WrongView => "wrong-view",
        }
    }
}

impl QualityFlag {
    /// What a person should look for.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::HeartUncertain => "The heart was not found by its motion, or with low confidence: is it in the crop?",
            Self::HeartNearBorder => {
                "Part of the crop lies outside the image, or what beats reaches its border: is the heart whole?"
            }
            Self::MissingPhases => "Fewer phases than the scanner announced: is end-systole among them?",
            Self::LowContrast => {
                "Grey values around the heart differ little against the noise: can blood be told from muscle?"
            }
            Self::Motion => {
                "A slice lies apart from its neighbours, or the last phase does not run into the first: breathing, arrhythmia, mis-triggering?"
            }
            Self::WrongView => "Called short axis, but the plane or what beats in it is unlike one: which view is it?",
        }
    }
}

/// One row of `quality.parquet`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct QualityRow {
    /// The stack.
    pub stack_id: String,
    /// Its subject.
    pub subject_id: String,
    /// Centre of the crop in the stored (not turned) first slice, 0-based row; `None` without pixel spacing.
    pub centre_row: Option<f64>,
    /// The same, column.
    pub centre_column: Option<f64>,
    /// 0 to 1; `None` where the heart was not looked for.
    pub heart_confidence: Option<f64>,
    /// By how much the next best disc elsewhere falls short of the one taken for the left ventricle, 0 to 1.
    #[serde(default)]
    pub heart_lead: Option<f64>,
    /// Share of all motion that lies around it, beyond what an even spread would give, up to 1.
    #[serde(default)]
    pub heart_motion_share: Option<f64>,
    /// Whether motion found it; otherwise the image's centre was taken.
    pub heart_by_motion: Option<bool>,
    /// 0-based phase.
    pub end_diastole: i32,
    /// 0-based phase.
    pub end_systole: i32,
    /// Share of the crop outside the image, 0 to 1.
    pub outside_share: f64,
    /// What the crop leaves at least around what beats, mm; negative where it cuts it.
    #[serde(default)]
    pub crop_margin_mm: Option<f64>,
    /// How far the beating's centre in a middle slice lies from the middle of its neighbours', at most, mm.
    pub slice_jump_mm: Option<f64>,
    /// Change from the last phase to the first over the largest of the other changes between phases.
    pub phase_jump: Option<f64>,
    /// Range of grey values around the heart over the noise's standard deviation.
    pub contrast_to_noise: Option<f64>,
    /// Share of the bright cavity at end-diastole that is gone at end-systole.
    pub cavity_change: Option<f64>,
    /// Angle between the stack's normal and the usual long axis of the left ventricle, degrees.
    pub axis_angle_deg: Option<f64>,
    /// What looks wrong.
    pub flags: Vec<QualityFlag>,
}

/// `quality.parquet` from its rows; flags are joined by spaces.
pub fn quality_to_table(rows: &[QualityRow]) -> Table {
    let flags = |row: &QualityRow| row.flags.iter().map(|flag| flag.as_str()).collect::<Vec<_>>().join(" ");
    let int = |value: fn(&QualityRow) -> i32| Column::Int32(rows.iter().map(|row| Some(value(row))).collect());
    let float = |value: fn(&QualityRow) -> Option<f64>| Column::Float64(rows.iter().map(value).collect());
    Table::new()
        .with("stack_id", Column::Text(rows.iter().map(|row| Some(row.stack_id.clone())).collect()))
        .with("subject_id", Column::Text(rows.iter().map(|row| Some(row.subject_id.clone())).collect()))
        .with("centre_row", float(|row| row.centre_row))
        .with("centre_column", float(|row| row.centre_column))
        .with("heart_confidence", float(|row| row.heart_confidence))
        .with("heart_lead", float(|row| row.heart_lead))
        .with("heart_motion_share", float(|row| row.heart_motion_share))
        .with("heart_by_motion", Column::Bool(rows.iter().map(|row| row.heart_by_motion).collect()))
        .with("end_diastole", int(|row| row.end_diastole))
        .with("end_systole", int(|row| row.end_systole))
        .with("outside_share", float(|row| Some(row.outside_share)))
        .with("crop_margin_mm", float(|row| row.crop_margin_mm))
        .with("slice_jump_mm", float(|row| row.slice_jump_mm))
        .with("phase_jump", float(|row| row.phase_jump))
        .with("contrast_to_noise", float(|row| row.contrast_to_noise))
        .with("cavity_change", float(|row| row.cavity_change))
        .with("axis_angle_deg", float(|row| row.axis_angle_deg))
        .with("flags", Column::Text(rows.iter().map(|row| Some(flags(row))).collect()))
}
