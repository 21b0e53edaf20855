//! The one integration binary: whole commands on generated and real files, checked against independent programs.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at files as a user would, and panic to fail"
)]

mod audit;
mod audit_runs;
mod audit_showcase;
mod codecs;
mod collections;
mod cuda;
mod deidentify;
mod evidence;
mod export;
mod exports;
mod heart;
mod house;
mod ingest;
mod ingest_refusals;
mod inspect;
mod layouts;
mod methods;
mod model;
mod objective;
mod phantom;
mod pictures;
mod pipeline;
mod pixels;
mod predict;
mod preprocess;
mod pretrained;
mod privacy;
mod resume;
mod support;
mod train;
mod trainer;
mod trainer_kill;
