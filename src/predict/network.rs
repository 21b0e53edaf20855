//! The model file as a function from images to logits, in batches of fixed size: batches depend on the order of the samples only.

use std::path::Path;

use half::f16;
use tch::{CModule, Device, Kind, Tensor};

use crate::context::Interrupt;
use crate::formats::model_metadata::ModelMetadata;
use crate::torch::{TorchError, script};

/// Images that run together.
const BATCH: usize = 64;

/// A loaded network in eval mode.
pub struct Network {
    module: CModule,
    shape: [i64; 3],
    classes: usize,
    device: Device,
}

impl Network {
    /// Loads MODEL.pt.
    ///
    /// # Errors
    /// [`TorchError`].
    pub fn load(path: &Path, metadata: &ModelMetadata, device: Device) -> Result<Self, TorchError> {
        let shape = metadata.image_shape.map(|side| i64::try_from(side).unwrap_or(i64::MAX));
        Ok(Self { module: script::load(path, device)?, shape, classes: metadata.classes.len(), device })
    }

    /// Logits of every image; `None` when the user asked to stop.
    ///
    /// # Errors
    /// [`TorchError`] when the network refuses the images, or gives another number of logits than there are classes.
    pub fn logits(&self, images: &[&[f16]], interrupt: &Interrupt) -> Result<Option<Vec<Vec<f64>>>, TorchError> {
        let mut logits = Vec::with_capacity(images.len());
        for batch in images.chunks(BATCH) {
            if interrupt.is_set() {
                return Ok(None);
            }
            let values: Vec<f32> = batch.iter().flat_map(|image| image.iter().map(|value| value.to_f32())).collect();
            let [channels, rows, columns] = self.shape;
            let count = i64::try_from(batch.len()).unwrap_or(i64::MAX);
            let input = Tensor::f_from_slice(&values)?.f_view([count, channels, rows, columns])?;
            let input = input.f_to_device(self.device)?;
            let output = tch::no_grad(|| self.module.forward_ts(&[input]))?;
            let wanted = [count, i64::try_from(self.classes).unwrap_or(i64::MAX)];
            if output.size() != wanted {
                let reason = format!("the network gives {:?}, expected {wanted:?}", output.size());
                return Err(TorchError::Shim { reason });
            }
            let output = output.f_to_device(Device::Cpu)?.f_to_kind(Kind::Double)?.f_contiguous()?.f_view([-1])?;
            let flat = Vec::<f64>::try_from(&output)?;
            logits.extend(flat.chunks_exact(self.classes).map(<[f64]>::to_vec));
        }
        Ok(Some(logits))
    }
}
