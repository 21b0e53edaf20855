//! The one integration binary: whole commands on generated and real files, checked against independent programs.

mod audit;
mod export;
mod house;
mod ingest;
mod objective;
mod phantom;
mod pipeline;
mod predict;
mod preprocess;
mod support;
mod train;
