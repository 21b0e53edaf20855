//! The golden input of a model file and the trained network's output for it.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use tch::Tensor;

use crate::model::Classifier;

/// Images in the golden input: enough for three batch sizes.
pub const GOLDEN_IMAGES: usize = 5;
/// Fixed, so that every model of one shape has the same golden input.
const SEED: u64 = 0x6772_6f75_7064_6973;

/// Input `[5, c, h, w]` and output `[5, K]`.
pub struct Golden {
    input: Vec<f32>,
    output: Vec<f32>,
    shape: [usize; 3],
    classes: usize,
}

impl Golden {
    /// Standard normal noise, scaled to the training split's mean and deviation, and what the network makes of it.
    #[expect(clippy::cast_possible_truncation, reason = "the network's input is float32")]
    pub fn of(classifier: &Classifier, shape: [usize; 3]) -> Self {
        let [channels, height, width] = shape;
        let spec = classifier.spec();
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let mut input = Vec::with_capacity(GOLDEN_IMAGES * channels * height * width);
        for _ in 0..GOLDEN_IMAGES {
            for channel in 0..channels {
                for _ in 0..height * width {
                    let noise: f64 = StandardNormal.sample(&mut rng);
                    input.push((spec.mean[channel] + spec.std[channel] * noise) as f32);
                }
            }
        }
        let size = [GOLDEN_IMAGES, channels, height, width].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        let logits = tch::no_grad(|| classifier.forward(&Tensor::from_slice(&input).view(size), false));
        let mut output = vec![0.0; GOLDEN_IMAGES * spec.classes];
        let count = output.len();
        logits.contiguous().copy_data(&mut output, count);
        Self { input, output, shape, classes: spec.classes }
    }

    /// The input as an NPY file.
    pub fn input_npy(&self) -> Vec<u8> {
        let [channels, height, width] = self.shape;
        npy(&[GOLDEN_IMAGES, channels, height, width], &self.input)
    }

    /// The output as an NPY file.
    pub fn output_npy(&self) -> Vec<u8> {
        npy(&[GOLDEN_IMAGES, self.classes], &self.output)
    }
}

/// A float32 array in NPY 1.0.
fn npy(shape: &[usize], values: &[f32]) -> Vec<u8> {
    use npyz::WriterBuilder;
    let shape: Vec<u64> = shape.iter().map(|size| *size as u64).collect();
    let mut bytes = Vec::new();
    let mut write = || -> std::io::Result<()> {
        let mut writer = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(&mut bytes).begin_nd()?;
        writer.extend(values.iter().copied())?;
        writer.finish()
    };
    write().expect("writing to memory cannot fail, and the shape is that of the values");
    bytes
}
