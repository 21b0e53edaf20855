//! Starting from weights that somebody else trained: a RUN's or torchvision's, for other channels and other classes.
//!
//! **The first layer.** For a file of `c` input channels and a network of `n`, each of the `n` kernels is the mean of the file's `c`
//! kernels times `c / n`: for 1 channel the sum of the RGB kernels. So an image whose channels are all equal gives the first layer's
//! outputs that it gave before. For `n = c` the kernels stay as they are.
//!
//! **The last layer** is the file's where it has as many classes, else it starts as that of a new network. Everything else must be
//! there by torchvision's names; counts of batches may be missing, as they are in the oldest files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};

use super::{Classifier, WeightsError, size};
use crate::failure::Classify;
use crate::formats::model_metadata::METADATA_FILE;
use crate::formats::run::{InitInfo, WEIGHTS};
use crate::formats::state_dict::{self, Dtype, RawTensor, StateDictError};
use crate::fsx::{self, FsError};

/// Weights of the largest network here are far below this.
const CAP_BYTES: u64 = 4 << 30;
/// Names that a message lists.
const LISTED: usize = 10;

/// Why weights cannot be started from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PretrainedError {
    /// The file cannot be read.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// It is no state dict.
    #[error(transparent)]
    StateDict(#[from] StateDictError),
    /// It is no safetensors file.
    #[error("`{}`: neither safetensors nor weights written by torch.save or TorchScript", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: tch::TchError,
    },
    /// Its names are those of another network.
    #[error("`{}`: weights of another network than {architecture}: missing {}, unexpected {}", path.display(), listed(missing), listed(unexpected))]
    Names {
        /// The file.
        path: PathBuf,
        /// The network.
        architecture: &'static str,
        /// Tensors that the network needs.
        missing: Vec<String>,
        /// Tensors that it does not know.
        unexpected: Vec<String>,
    },
    /// A tensor has another shape, or is not finite.
    #[error("`{}`: `{name}` {reason}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The weights do not fit after all.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

impl Classify for PretrainedError {}

fn listed(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(LISTED) {
        _ if names.is_empty() => "none".to_owned(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Weights of a file, by name.
#[derive(Debug)]
pub struct Pretrained {
    path: PathBuf,
    tensors: BTreeMap<String, Tensor>,
    /// Lower-case hex SHA-256 of the file.
    pub sha256: String,
    /// `groupdistil.json` of a model file.
    pub metadata: Option<Vec<u8>>,
}

impl Pretrained {
    /// Reads a safetensors file, a `.pth` or TorchScript file, or the weights of a RUN folder. No code of the file is run.
    ///
    /// # Errors
    /// [`PretrainedError`].
    pub fn read(path: &Path) -> Result<Self, PretrainedError> {
        let path = if path.is_dir() { path.join(WEIGHTS) } else { path.to_path_buf() };
        let bytes = fsx::read(&path, CAP_BYTES)?;
        let sha256 = data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes));
        let metadata = state_dict::extra_file(&bytes, &path, METADATA_FILE);
        let tensors = if state_dict::is_torch(&bytes) {
            let found = state_dict::read(&bytes, &path)?;
            found.into_iter().map(|(name, raw)| (name, tensor(&raw))).collect()
        } else {
            drop(bytes);
            let found = Tensor::read_safetensors(&path);
            found.map_err(|source| PretrainedError::Format { path: path.clone(), source })?.into_iter().collect()
        };
        let renamed = |(name, tensor): (String, Tensor)| (current_name(&name), tensor);
        let tensors: BTreeMap<String, Tensor> = tensors;
        Ok(Self { tensors: tensors.into_iter().map(renamed).collect(), path, sha256, metadata })
    }

    fn wrong(&self, name: &str, reason: String) -> PretrainedError {
        PretrainedError::Tensor { path: self.path.clone(), name: name.to_owned(), reason }
    }
}

/// torchvision's DenseNet files are older than its module names: `denselayer1.norm.1.weight` is `denselayer1.norm1.weight` now.
fn current_name(name: &str) -> String {
    let Some((before, layer)) = name.rsplit_once("denselayer") else { return name.to_owned() };
    let layer = ["norm.1.", "norm.2.", "conv.1.", "conv.2."].into_iter().fold(layer.to_owned(), |layer, old| {
        layer.replacen(&format!(".{old}"), &format!(".{}", old.replacen('.', "", 1)), 1)
    });
    format!("{before}denselayer{layer}")
}

fn tensor(raw: &RawTensor) -> Tensor {
    let kind = match raw.dtype {
        Dtype::Float => Kind::Float,
        Dtype::Double => Kind::Double,
        Dtype::Half => Kind::Half,
        Dtype::BFloat16 => Kind::BFloat16,
        Dtype::Int64 => Kind::Int64,
        Dtype::Int32 => Kind::Int,
        Dtype::Int16 => Kind::Int16,
        Dtype::Int8 => Kind::Int8,
        Dtype::UInt8 => Kind::Uint8,
        Dtype::Bool => Kind::Bool,
    };
    let shape: Vec<i64> = raw.shape.iter().map(|&length| size(length)).collect();
    Tensor::from_data_size(&raw.bytes, &shape, kind)
}

impl Classifier {
    /// Starts from `file`'s weights, by the rules above. Nothing changes when they do not fit.
    ///
    /// # Errors
    /// [`PretrainedError`] naming what does not fit.
    pub fn start_from(&mut self, file: &Pretrained) -> Result<InitInfo, PretrainedError> {
        self.check_names(file)?;
        let first = self.declared[0].name.clone();
        let head: Vec<String> =
            self.spec.architecture.declare_head(size(self.spec.classes)).into_iter().map(|one| one.name).collect();
        let is_new_head = file.tensors[&head[0]].size() != self.tensors[&head[0]].size();
        let mut taken = BTreeMap::new();
        let mut channels = None;
        for (name, own) in &self.tensors {
            let found = match file.tensors.get(name) {
                Some(found) if !(is_new_head && head.contains(name)) => found.to_kind(own.kind()),
                _ => own.detach().copy(),
            };
            let found = if *name == first {
                channels = found.size().get(1).copied();
                adapted(&found, size(self.spec.channels))
            } else {
                found
            };
            if found.size() != own.size() {
                let (found, expected) = (found.size(), own.size());
                return Err(file.wrong(name, format!("has shape {found:?}, expected {expected:?}")));
            }
            if !found.isfinite().all().int64_value(&[]).is_positive() {
                return Err(file.wrong(name, "is not finite".to_owned()));
            }
            taken.insert(name.clone(), found);
        }
        self.load_tensors(taken, &file.path)?;
        let channels = u64::try_from(channels.unwrap_or(0)).unwrap_or(0);
        Ok(InitInfo { weights_sha256: file.sha256.clone(), channels, new_last_layer: is_new_head })
    }

    fn check_names(&self, file: &Pretrained) -> Result<(), PretrainedError> {
        let needed = self.declared.iter().filter(|one| !one.is_count);
        let missing: Vec<String> =
            needed.filter(|one| !file.tensors.contains_key(&one.name)).map(|one| one.name.clone()).collect();
        let unexpected: Vec<String> =
            file.tensors.keys().filter(|name| !self.tensors.contains_key(*name)).cloned().collect();
        if missing.is_empty() && unexpected.is_empty() {
            return Ok(());
        }
        let architecture = self.spec.architecture.name();
        Err(PretrainedError::Names { path: file.path.clone(), architecture, missing, unexpected })
    }
}

/// Kernels `[outputs, c, k, k]` for `channels` inputs.
fn adapted(kernels: &Tensor, channels: i64) -> Tensor {
    let found = kernels.size().get(1).copied().unwrap_or(channels);
    if found == channels || kernels.dim() != 4 || found == 0 {
        return kernels.shallow_clone();
    }
    // In float64, so that the rule holds to float32's last digit.
    let sum = kernels.to_kind(Kind::Double).sum_dim_intlist(1, true, Kind::Double);
    #[expect(clippy::cast_precision_loss, reason = "image channels are few")]
    let share = sum / channels as f64;
    share.expand([-1, channels, -1, -1], true).to_kind(kernels.kind()).contiguous()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_for_other_channels_see_a_grey_image_as_before() {
        let kernels = Tensor::arange(2 * 3 * 9, (Kind::Float, tch::Device::Cpu)).sin().view([2, 3, 3, 3]);
        let grey = Tensor::arange(25, (Kind::Float, tch::Device::Cpu)).cos().view([1, 1, 5, 5]);
        let seen = |kernels: &Tensor, channels: i64| {
            grey.repeat([1, channels, 1, 1]).conv2d(kernels, None::<&Tensor>, [1, 1], [1, 1], [1, 1], 1)
        };
        let before = seen(&kernels, 3);
        for channels in [1, 2, 4, 7] {
            let after = seen(&adapted(&kernels, channels), channels);
            assert!((after - &before).abs().max().double_value(&[]) < 1e-5, "{channels}");
        }
        assert_eq!(adapted(&kernels, 3), kernels);
        let sum = kernels.to_kind(Kind::Double).sum_dim_intlist(1, true, Kind::Double).to_kind(Kind::Float);
        assert_eq!(adapted(&kernels, 1), sum);
    }

    /// The names of torchvision's densenet121-a639ec97.pth, as its loader rewrites them.
    #[test]
    fn old_names_of_dense_layers_are_known() {
        let old = "features.denseblock1.denselayer12.norm.1.running_mean";
        assert_eq!(current_name(old), "features.denseblock1.denselayer12.norm1.running_mean");
        assert_eq!(
            current_name("features.denseblock2.denselayer1.conv.2.weight"),
            "features.denseblock2.denselayer1.conv2.weight"
        );
        for new in ["features.denseblock1.denselayer12.norm1.weight", "layer1.0.conv1.weight", "features.norm5.weight"]
        {
            assert_eq!(current_name(new), new);
        }
    }

    #[test]
    fn long_lists_of_names_are_cut() {
        let names: Vec<String> = (0..12).map(|index| index.to_string()).collect();
        assert!(listed(&names).ends_with("`9` and 2 more") && listed(&[]) == "none" && listed(&names[..1]) == "`0`");
    }

    #[test]
    fn empty_and_scalar_tensors_are_made_as_they_are() {
        let raw = |shape: &[usize], bytes: &[u8]| RawTensor {
            dtype: Dtype::Int16,
            shape: shape.to_vec(),
            bytes: bytes.to_vec(),
        };
        assert_eq!(tensor(&raw(&[0, 3], &[])).size(), [0, 3]);
        let scalar = tensor(&raw(&[], &[2, 1]));
        assert_eq!((scalar.size().len(), scalar.int64_value(&[])), (0, 258));
    }

    /// Every bit of a small file flipped, one at a time.
    #[test]
    fn damaged_safetensors_are_read_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        Tensor::write_safetensors(&[("a", Tensor::from_slice(&[1.0f32, 2.0])), ("b", Tensor::from(7i64))], &path)
            .unwrap();
        let whole = fsx::read(&path, 1 << 20).unwrap();
        for bit in 0..8 * whole.len() {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fsx::write_atomic(&path, &bytes).unwrap();
            let _ = Pretrained::read(&path);
        }
        for length in 0..whole.len() {
            fsx::write_atomic(&path, &whole[..length]).unwrap();
            assert!(Pretrained::read(&path).is_err(), "{length}");
        }
    }
}
