//! From COHORT to DATASET.

pub mod coarse;
pub mod intensity;
pub mod localise;
pub mod orient;
pub mod phases;
pub mod resample;
pub mod samples;
