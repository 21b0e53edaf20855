//! Pixels, labels and groups of q as tensors: what a step takes by row numbers.
//!
//! Images up to [`HELD_BYTES`] are read once into one tensor on the device; of more the shards are mapped, and a batch is put together from the
//! system's page cache.

use tch::{Device, Kind, Tensor};

use super::TrainError;
use super::data::{Samples, indices, size};
use crate::context::Context;
use crate::dataset::Dataset;
use crate::formats::dataset::Split;
use crate::formats::images::Shard;
use crate::torch::mapped::float16;

/// Float32 images of a dataset up to this size are held on the device.
const HELD_BYTES: usize = 1 << 30;
/// Images read at a time while scanning.
const CHUNK: usize = 256;

/// Images, labels and groups of q on a device.
#[derive(Debug)]
pub struct Images<'a> {
    samples: &'a Samples,
    device: Device,
    pixels: Pixels,
    /// `[N]` int64 on the device.
    labels: Tensor,
    /// `[N]` int64 on the device: index into q, -1 for groups that are not trained on.
    weights: Tensor,
    /// Mean per channel of the training split.
    pub mean: Vec<f64>,
    /// Standard deviation per channel of the training split; 1 for a constant channel.
    pub std: Vec<f64>,
}

/// Where the images of a dataset are.
#[derive(Debug)]
enum Pixels {
    /// `[N, c, h, w]` float32 on the device.
    Held(Tensor),
    /// Shards `[n, c, h, w]` of float16 in their files.
    Mapped(Vec<Tensor>),
}

/// Count, mean and summed squared deviations, merged as in Chan, Golub and LeVeque (1983).
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn of(values: &[f32]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
        let squares = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum();
        Self { count, mean, squares }
    }

    fn merge(self, other: Self) -> Self {
        let count = self.count + other.count;
        let delta = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + delta * other.count / count,
            squares: self.squares + other.squares + delta * delta * self.count * other.count / count,
        }
    }

    fn deviation(self) -> f64 {
        (self.squares / self.count).sqrt()
    }
}

impl<'a> Images<'a> {
    /// Reads the images once: all of them into one tensor when they fit, otherwise the training split for its statistics.
    ///
    /// # Errors
    /// [`TrainError::Dataset`], [`TrainError::Pixel`], [`TrainError::InterruptedEarly`].
    pub fn load(samples: &'a Samples, device: Device, context: Context<'_>) -> Result<Self, TrainError> {
        Self::within(HELD_BYTES, samples, device, context)
    }

    fn within(
        held_bytes: usize,
        samples: &'a Samples,
        device: Device,
        context: Context<'_>,
    ) -> Result<Self, TrainError> {
        let (channels, height, width) = samples.dataset.image_shape();
        let per_image = channels * height * width;
        let count = samples.splits.len();
        let fits = count.saturating_mul(per_image).saturating_mul(4) <= held_bytes;
        let rows = if fits { (0..count).collect() } else { samples.rows(Split::Train) };
        let pixels = if fits {
            let shape = [size(count), size(channels), size(height), size(width)];
            Pixels::Held(Tensor::f_empty(shape, (Kind::Float, device))?)
        } else {
            Pixels::Mapped(map(&samples.dataset)?)
        };
        let mut moments = vec![Moments::default(); channels];
        context.observer.begin("read images", Some(rows.len() as u64));
        let mut buffer = vec![0.0; CHUNK.min(rows.len()) * per_image];
        for (number, chunk) in rows.chunks(CHUNK).enumerate() {
            if context.interrupt.is_set() {
                return Err(TrainError::InterruptedEarly);
            }
            let read = &mut buffer[..chunk.len() * per_image];
            samples.dataset.read_rows(chunk, read)?;
            for (&row, image) in chunk.iter().zip(read.chunks_exact(per_image)) {
                if !image.iter().all(|value| value.is_finite()) {
                    return Err(TrainError::Pixel { sample_id: samples.sample(row).sample_id.clone() });
                }
                if samples.splits[row] == Split::Train {
                    for (total, channel) in moments.iter_mut().zip(image.chunks_exact(height * width)) {
                        *total =
                            if total.count == 0.0 { Moments::of(channel) } else { total.merge(Moments::of(channel)) };
                    }
                }
            }
            if let Pixels::Held(held) = &pixels {
                let mut target = held.f_narrow(0, size(number * CHUNK), size(chunk.len()))?;
                target.f_copy_(&Tensor::f_from_slice(read)?.f_view_as(&target)?)?;
            }
            context.observer.advance(chunk.len() as u64);
        }
        context.observer.end();
        let mut weights = vec![-1; samples.train_counts.len()];
        for (index, &group) in samples.weighted.iter().enumerate() {
            weights[group] = size(index);
        }
        let weights: Vec<i64> = samples.groups.iter().map(|&group| weights[group]).collect();
        let positive = |deviation: f64| if deviation > 0.0 { deviation } else { 1.0 };
        Ok(Self {
            samples,
            device,
            pixels,
            labels: indices(&samples.labels, device)?,
            weights: Tensor::f_from_slice(&weights)?.f_to_device(device)?,
            mean: moments.iter().map(|total| total.mean).collect(),
            std: moments.iter().map(|total| positive(total.deviation())).collect(),
        })
    }

    /// Where the tensors are.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Images `[n, c, h, w]` of samples, float32 on the device.
    ///
    /// # Errors
    /// [`TrainError::Torch`].
    pub fn images(&self, rows: &[usize]) -> Result<Tensor, TrainError> {
        match &self.pixels {
            Pixels::Held(held) => Ok(held.f_index_select(0, &indices(rows, self.device)?)?),
            Pixels::Mapped(shards) => {
                let image = |&row: &usize| {
                    let (shard, row) = self.samples.dataset.place(row);
                    shards[shard].f_get(size(row))
                };
                let images = rows.iter().map(image).collect::<Result<Vec<_>, _>>()?;
                // Moved as float16, half as many bytes; every float16 is a float32.
                Ok(Tensor::f_stack(&images, 0)?.f_to_device(self.device)?.f_to_kind(Kind::Float)?)
            }
        }
    }

    /// Class indices `[n]` of samples, int64 on the device.
    ///
    /// # Errors
    /// [`TrainError::Torch`].
    pub fn labels(&self, rows: &[usize]) -> Result<Tensor, TrainError> {
        Ok(self.labels.f_index_select(0, &indices(rows, self.device)?)?)
    }

    /// Indices into q `[n]` of samples, int64 on the device.
    ///
    /// # Errors
    /// [`TrainError::Torch`].
    pub fn weights(&self, rows: &[usize]) -> Result<Tensor, TrainError> {
        Ok(self.weights.f_index_select(0, &indices(rows, self.device)?)?)
    }
}

/// The shards of a dataset, each `[n, c, h, w]` float16.
fn map(dataset: &Dataset) -> Result<Vec<Tensor>, TrainError> {
    let (channels, height, width) = dataset.image_shape();
    let one = |shard: &Shard| {
        let (before, pixels) = (shard.values_before_pixels(), shard.rows() * channels * height * width);
        let mapped = float16(shard.path(), before + pixels)?.f_narrow(0, size(before), size(pixels))?;
        Ok(mapped.f_view([size(shard.rows()), size(channels), size(height), size(width)])?)
    };
    dataset.shards().iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{Interrupt, Silent};
    use crate::dataset::tests::{plan, sample};
    use crate::dataset::write_in_memory;
    use crate::settings::train::{Selection, TrainSettings, TrainWire};

    #[test]
    fn mapped_images_are_those_that_are_held() {
        let folder = tempfile::tempdir().unwrap();
        let mut samples: Vec<_> = (0..6).map(sample).collect();
        samples[3].0.split = Split::Val;
        samples[5].0.split = Split::Val;
        write_in_memory(folder.path(), &plan(), &samples, None).unwrap();
        let wire = TrainWire { selection: Some(Selection::Accuracy), ..TrainWire::default() };
        let settings = TrainSettings::from_wire(&wire, 0, None, None).unwrap();
        let samples = Samples::open(folder.path(), &settings).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let context = Context { pool: &pool, interrupt: &Interrupt::default(), observer: &Silent };
        let held = Images::load(&samples, Device::Cpu, context).unwrap();
        let mapped = Images::within(0, &samples, Device::Cpu, context).unwrap();
        assert!(matches!((&held.pixels, &mapped.pixels), (Pixels::Held(_), Pixels::Mapped(_))));
        assert_eq!((&held.mean, &held.std), (&mapped.mean, &mapped.std));
        let rows = [4, 0, 5, 4];
        let (held, mapped) = (held.images(&rows).unwrap(), mapped.images(&rows).unwrap());
        assert_eq!((mapped.size(), mapped.kind()), (vec![4, 2, 3, 4], Kind::Float));
        assert_eq!(held, mapped);
    }

    /// numpy: np.mean and np.std (population) of [1, 2, 4, 8, 16, 32] are 10.5 and 10.828203913853857
    #[test]
    fn merged_moments_equal_those_of_the_whole() {
        let merged = Moments::of(&[1.0, 2.0, 4.0]).merge(Moments::of(&[8.0, 16.0, 32.0]));
        let whole = Moments::of(&[1.0, 2.0, 4.0, 8.0, 16.0, 32.0]);
        assert!((merged.mean - 10.5).abs() < 1e-12);
        assert!((merged.deviation() - whole.deviation()).abs() < 1e-12);
        assert!((whole.deviation() - 10.828_203_913_853_857).abs() < 1e-9, "{}", whole.deviation());
    }
}
