//! From COHORT to DATASET.

pub mod coarse;
pub mod decide;
pub mod intensity;
pub mod localise;
pub mod memory;
pub mod orient;
pub mod phases;
pub mod prepare;
pub mod rejected;
pub mod resample;
pub mod samples;
pub mod source;
