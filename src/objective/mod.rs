//! Training objectives: per-sample losses, the group weights q, and the loss whose gradient is followed (design, section 4).
//!
//! Each objective is a file with its [`registry::Rule`]; [`rules`] has the float64 reference, without tch; [`tensor`] the same on tensors, with q on the device in
//! float64 and no synchronisation per step; [`replay`] runs given logits through both. A test holds them equal. [`logistic`] fits last layers.
//! Nothing here knows networks, data or optimisers.

pub mod agre_kd;
pub mod dfr;
pub mod erm;
pub mod group_distil;
pub mod group_dro;
#[cfg(test)]
mod hand_tests;
pub mod jtt;
pub mod kd;
mod lasso;
pub mod logistic;
pub mod registry;
#[cfg(feature = "torch")]
pub mod replay;
pub mod rules;
#[cfg(feature = "torch")]
pub mod tensor;

pub use rules::{AbsentRule, GroupWeights, ObjectiveError, ObjectiveKind, ObjectiveSettings, Scope};
