//! The standard histogram (Nyul, Udupa, Zhang 2000): a first pass over the training subjects' stacks alone, whose landmarks go into the
//! plan, so that validation, test and `predict` are mapped by what training has seen.
//!
//! Of each crop the landmarks are percentiles; its first and last are mapped to 0 and 100, and the others' means are the standard.

use std::collections::BTreeMap;

use super::error::PreprocessError;
use super::intensity::percentiles;
use super::memory;
use super::rejected::StackRejected;
use super::source::{self, CohortStack, ReadFrames};
use super::{Cohort, prepare, read_images};
use crate::context::Context;
use crate::dataset::splits::Place;
use crate::formats::dataset::Split;
use crate::formats::plan::{Plan, StandardLandmarks};

/// Landmarks: the deciles between the ends that Nyul's fourth method uses.
pub const PERCENTILES: [f64; 11] = [1.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 99.0];
/// Standard value of the last landmark; the first one's is 0.
const SCALE: f64 = 100.0;

/// Landmarks of one crop with its ends at 0 and [`SCALE`]; `None` when the ends are equal.
fn scaled(values: Vec<f32>) -> Option<Vec<f64>> {
    let found = percentiles(values.into_iter(), &PERCENTILES);
    let (first, last) = (*found.first()?, *found.last()?);
    let range = last - first;
    (range > 0.0).then(|| found.iter().map(|landmark| (landmark - first) / range * SCALE).collect())
}

/// The mean of each landmark; `None` without crops.
fn standard(crops: &[Vec<f64>]) -> Option<StandardLandmarks> {
    let mean = |landmark: usize| crops.iter().map(|crop| crop[landmark]).sum::<f64>() / crops.len() as f64;
    let values: Vec<f64> = (0..PERCENTILES.len()).map(mean).collect();
    (!crops.is_empty()).then(|| StandardLandmarks { percentiles: PERCENTILES.to_vec(), values })
}

fn of_stack(plan: &Plan, stack: &CohortStack, cohort: &Cohort, read: &ReadFrames<'_>) -> Vec<Vec<f64>> {
    let images = read_images(plan, stack, cohort.frames_of(stack), read);
    let crops: Result<_, StackRejected> = images.and_then(|images| prepare::crops(plan, images));
    // A stack that cannot be prepared gets its row of exclusions in the pass that makes the samples.
    crops.unwrap_or_default().into_iter().filter_map(scaled).collect()
}

/// What the first pass looks at.
pub struct FirstPass<'a> {
    /// Stacks and frames.
    pub cohort: &'a Cohort,
    /// Indices of usable stacks.
    pub selected: &'a [usize],
    /// Where each subject belongs.
    pub places: &'a BTreeMap<String, Place>,
    /// Reads pixels.
    pub read: &'a ReadFrames<'a>,
    /// Cap on pixels, bytes.
    pub max_memory_bytes: u64,
}

impl FirstPass<'_> {
    /// The usable stacks of training subjects.
    fn training(&self) -> Vec<&CohortStack> {
        let stacks = self.selected.iter().map(|&index| &self.cohort.stacks[index]);
        let trains =
            |stack: &&CohortStack| self.places.get(&stack.subject_id).is_some_and(|place| place.split == Split::Train);
        stacks.filter(trains).collect()
    }

    /// The plan with landmarks fitted on training subjects. Colour has none.
    ///
    /// # Errors
    /// [`PreprocessError::Interrupted`]; [`PreprocessError::NoLandmarks`] where no training stack can be used.
    pub fn fit(&self, mut plan: Plan, context: Context<'_>) -> Result<Plan, PreprocessError> {
        let training = self.training();
        let too_large = |stack: &&CohortStack| source::memory_bytes(stack) > self.max_memory_bytes;
        // The second pass refuses a stack over the cap, with the remedy.
        if plan.frame_channels != 1 || training.iter().any(too_large) {
            return Ok(plan);
        }
        context.observer.begin("standard histogram", Some(training.len() as u64));
        let one = |index: usize| {
            if context.interrupt.is_set() {
                return Err(PreprocessError::Interrupted);
            }
            let found = of_stack(&plan, training[index], self.cohort, self.read);
            context.observer.advance(1);
            Ok(found)
        };
        let mut crops: Vec<Vec<f64>> = Vec::new();
        let bytes: Vec<u64> = training.iter().map(|stack| source::memory_bytes(stack)).collect();
        memory::in_order(context.pool, (&bytes, self.max_memory_bytes), one, |_, found| {
            crops.extend(found?);
            Ok::<(), PreprocessError>(())
        })?;
        context.observer.end();
        plan.intensity.standard_landmarks = Some(standard(&crops).ok_or(PreprocessError::NoLandmarks)?);
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::context::{Interrupt, Silent};
    use crate::formats::plan::{Centre, Kernel, PhaseChoice, PlanGeometry, SampleKind};
    use crate::preprocess::source::CohortFrame;

    /// Grey values of a subject, in a picture of 10 x 10 pixels: `gain` x (0, 1, 4, 9, ..., 99^2).
    fn picture(gain: f32) -> Array2<f32> {
        Array2::from_shape_fn((10, 10), |(row, column)| gain * ((10 * row + column) as f32).powi(2))
    }

    fn whole_picture() -> Plan {
        let mut plan = prepare::tests::plan(SampleKind::Single { phase: PhaseChoice::All });
        plan.geometry = PlanGeometry::Mm {
            pixel_spacing_mm: 1.0,
            slice_spacing_mm: None,
            height: 10,
            width: 10,
            kernel: Kernel::Linear,
            centre: Centre::Image,
        };
        plan
    }

    fn fitted(read: &ReadFrames<'_>, places: &[(&str, Split)]) -> Result<Plan, PreprocessError> {
        let stack = |subject: &str| CohortStack {
            stack_id: subject.to_owned(),
            subject_id: subject.to_owned(),
            spacing_mm: Some((1.0, 1.0)),
            ..CohortStack::default()
        };
        let frame =
            |subject: &str| CohortFrame { slice: 0, phase: 0, path: subject.into(), frame: 0, position_mm: None };
        let frames = places.iter().map(|(subject, _)| ((*subject).to_owned(), vec![frame(subject)])).collect();
        let cohort = Cohort::new(String::new(), places.iter().map(|(subject, _)| stack(subject)).collect(), frames);
        let places = places.iter().map(|&(subject, split)| (subject.to_owned(), Place::fixed(split))).collect();
        let selected: Vec<usize> = (0..cohort.stacks.len()).collect();
        let pass = FirstPass { cohort: &cohort, selected: &selected, places: &places, read, max_memory_bytes: 1 << 30 };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let context = Context { observer: &Silent, interrupt: &Interrupt::default(), pool: &pool };
        pass.fit(whole_picture(), context)
    }

    #[test]
    fn landmarks_equal_numpys_and_gain_does_not_show() {
        // x = numpy.arange(100.0) ** 2; p = numpy.percentile(x, PERCENTILES); (p - p[0]) / (p[-1] - p[0]) * 100
        let wanted = [
            0.0, 1.011038, 4.0729913, 9.1755527, 16.3187222, 25.5024997, 36.7268854, 49.9918792, 65.2974811,
            82.6436911, 100.0,
        ];
        let crop = |gain: f32| scaled(picture(gain).iter().copied().collect()).unwrap();
        for (found, wanted) in crop(1.0).iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-4, "{found} {wanted}");
        }
        assert!(crop(8.0).iter().zip(crop(1.0)).all(|(a, b)| (a - b).abs() < 1e-9));
        assert!(scaled(vec![3.0; 20]).is_none() && scaled(Vec::new()).is_none());
    }

    #[test]
    fn only_training_subjects_are_read() {
        let read = |path: &std::path::Path, _: &[i32]| match path.to_str() {
            Some("a") => Ok(vec![vec![picture(1.0)]]),
            Some("b") => Ok(vec![vec![picture(5.0).mapv(f32::sqrt)]]),
            _ => panic!("a subject that is not trained on was read"),
        };
        let plan = fitted(&read, &[("a", Split::Train), ("b", Split::Train), ("c", Split::Val), ("d", Split::Test)]);
        let landmarks = plan.unwrap().intensity.standard_landmarks.unwrap();
        let squares = scaled(picture(1.0).iter().copied().collect()).unwrap();
        // The root of the squares is even: its deciles lie at (p - 1) / 98 of the scale.
        for ((found, square), percentile) in landmarks.values.iter().zip(squares).zip(PERCENTILES) {
            let wanted = (square + (percentile - 1.0) / 98.0 * SCALE) / 2.0;
            assert!((found - wanted).abs() < 1e-4, "{found} {wanted}");
        }
    }

    #[test]
    fn without_a_usable_training_stack_there_is_no_standard() {
        let read = |_: &std::path::Path, _: &[i32]| Err("gone".into());
        let found = fitted(&read, &[("a", Split::Train), ("c", Split::Test)]);
        assert!(matches!(found, Err(PreprocessError::NoLandmarks)));
    }
}
