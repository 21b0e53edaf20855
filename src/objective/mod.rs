//! Training objectives: per-sample losses, the group weights q, and the loss whose gradient is followed (design, section 4).
//!
//! [`rules`] has the settings and the float64 reference, without tch; [`tensor`] the same on tensors, with q on the device in
//! float64 and no synchronisation per step; [`replay`] runs given logits through both. A test holds them equal.
//! Nothing here knows networks, data or optimisers.

#[cfg(feature = "torch")]
pub mod replay;
pub mod rules;
#[cfg(feature = "torch")]
pub mod tensor;

pub use rules::{AbsentRule, GroupWeights, ObjectiveError, ObjectiveKind, ObjectiveSettings, Scope};
