//! Settings of each stage: a serde wire type as TOML holds it, and its checked form, which is all that the stages see.
//!
//! Order of precedence: defaults, then the TOML file, then flags. Wire types deny unknown fields and never `flatten`, so that
//! errors name the line and the expected keys.

pub mod architecture;
pub mod audit;
pub mod augment;
pub mod compare;
pub mod evidence;
pub mod ingest;
pub mod methods;
pub mod objective;
pub mod phantom;
pub mod pipeline;
pub mod preprocess;
pub mod train;
