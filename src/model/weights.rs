//! Weights on disk: safetensors under torchvision's names, `num_batches_tracked` included; loading is strict.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tch::{Kind, Tensor};

use super::Classifier;
use crate::failure::Classify;
use crate::fsx::{self, FsError};

/// Why weights cannot be saved or loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// libtorch or safetensors refused the file.
    #[error("`{}`: not a safetensors file of weights", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: tch::TchError,
    },
    /// Names differ from the network's.
    #[error("`{}`: weights of another network: missing {missing:?}, unexpected {unexpected:?}", path.display())]
    Names {
        /// The file.
        path: PathBuf,
        /// Tensors that the network needs, at most five.
        missing: Vec<String>,
        /// Tensors that it does not know, at most five.
        unexpected: Vec<String>,
    },
    /// A tensor has another shape.
    #[error("`{}`: `{name}` has shape {found:?}, expected {expected:?} (other channels or classes?)", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape in the file.
        found: Vec<i64>,
        /// The network's.
        expected: Vec<i64>,
    },
}

impl Classify for WeightsError {}

impl Classifier {
    /// Writes all parameters and buffers, atomically.
    ///
    /// # Errors
    /// [`WeightsError::Format`] or [`WeightsError::Fs`] when the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), WeightsError> {
        let place = |tensor: &Tensor| tensor.detach().to_device(tch::Device::Cpu).contiguous();
        let tensors: Vec<(&str, Tensor)> =
            self.state().iter().map(|(name, tensor, _)| (*name, place(tensor))).collect();
        let temporary = fsx::temporary_sibling(path);
        Tensor::write_safetensors(&tensors, &temporary)
            .map_err(|source| WeightsError::Format { path: path.to_path_buf(), source })?;
        Ok(fsx::rename_synced(&temporary, path)?)
    }

    /// Replaces all parameters and buffers by a file's. Nothing changes unless every name and shape fits.
    ///
    /// # Errors
    /// [`WeightsError`] naming what does not fit.
    pub fn load(&mut self, path: &Path) -> Result<(), WeightsError> {
        fsx::size_bytes(path)?;
        let found = Tensor::read_safetensors(path)
            .map_err(|source| WeightsError::Format { path: path.to_path_buf(), source })?;
        self.load_tensors(found.into_iter().collect(), path)
    }

    /// [`Classifier::load`] from tensors that came from `path`.
    ///
    /// # Errors
    /// [`WeightsError::Names`] and [`WeightsError::Shape`].
    pub fn load_tensors(&mut self, found: BTreeMap<String, Tensor>, path: &Path) -> Result<(), WeightsError> {
        let known = |name: &String| self.tensors.contains_key(name);
        let missing: Vec<String> =
            self.tensors.keys().filter(|name| !found.contains_key(*name)).take(5).cloned().collect();
        let unexpected: Vec<String> = found.keys().filter(|name| !known(name)).take(5).cloned().collect();
        if !(missing.is_empty() && unexpected.is_empty()) {
            return Err(WeightsError::Names { path: path.to_path_buf(), missing, unexpected });
        }
        for (name, own) in &self.tensors {
            if found[name].size() != own.size() {
                let (found, expected) = (found[name].size(), own.size());
                return Err(WeightsError::Shape { path: path.to_path_buf(), name: name.clone(), found, expected });
            }
        }
        tch::no_grad(|| {
            for (name, own) in &mut self.tensors {
                own.copy_(&found[name].to_kind(own.kind()));
            }
        });
        Ok(())
    }

    /// Turns all floating-point tensors to float64, for comparisons beyond float32's rounding.
    pub fn to_double(&mut self) {
        for tensor in self.tensors.values_mut().filter(|tensor| tensor.kind() == Kind::Float) {
            let trained = tensor.requires_grad();
            *tensor = tensor.detach().to_kind(Kind::Double).set_requires_grad(trained);
        }
    }
}
