//! The FFI room: everything that needs `unsafe`, behind safe functions. Device choice, CPU autocast, memory formats, fused
//! optimiser steps, freed memory, mapped files and TorchScript archives. No network and no training logic.

pub mod device;
pub mod mapped;
pub mod memory;
pub mod optimise;
pub mod script;
pub mod shim;

pub use device::{DeviceError, choose_device};

/// A call into libtorch that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TorchError {
    /// tch reported an error.
    #[error(transparent)]
    Tch(#[from] tch::TchError),
    /// The C++ shim reported an error.
    #[error("libtorch: {reason}")]
    Shim {
        /// libtorch's words.
        reason: String,
    },
    /// A path or name with a NUL byte.
    #[error("a path or name holds a NUL byte")]
    Nul,
    /// A path that libtorch cannot be told.
    #[error("`{}`: the path is not UTF-8; move the file to a folder whose name is", path.display())]
    Path {
        /// The file.
        path: std::path::PathBuf,
    },
}

impl crate::failure::Classify for TorchError {}
