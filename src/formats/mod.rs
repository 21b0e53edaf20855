//! The public files as typed rows and serde types (design, section 3): what one stage writes and others read.
//!
//! Only shapes and reading/writing live here; no stage's logic.

pub mod cohort;
pub mod compare;
pub mod dataset;
pub mod evidence;
pub mod images;
pub mod model_metadata;
pub mod plan;
pub mod predictions;
pub mod quality;
pub mod run;
pub mod state_dict;
pub mod table;
