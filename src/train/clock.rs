//! Where the time of a run goes, epoch by epoch. Times differ between equal runs, so they stand in `provenance.json` alone.

use std::time::Instant;

use serde_json::{Value, json};

/// What an epoch is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Waiting for a batch of images.
    Images,
    /// Changing them at random.
    Augmentation,
    /// Teacher, forward, objective, backward, optimiser.
    Step,
    /// The pass over the validation split.
    Evaluation,
    /// Metrics, the best epoch's weights, the checkpoint.
    Keeping,
}

const PARTS: usize = 5;

/// Adds up the seconds of each part of an epoch. On a GPU they are the host's: work that the device still has to do counts where the
/// host waits for it.
#[derive(Debug)]
pub struct Clock {
    since: Instant,
    seconds: [f64; PARTS],
    epochs: Vec<[f64; PARTS]>,
}

impl Clock {
    /// Starts now.
    pub fn new() -> Self {
        Self { since: Instant::now(), seconds: [0.0; PARTS], epochs: Vec::new() }
    }

    /// Starts an epoch: what was before counts for none.
    pub fn begin_epoch(&mut self) {
        self.since = Instant::now();
        self.seconds = [0.0; PARTS];
    }

    /// The time since the last look belongs to `part`.
    pub fn lap(&mut self, part: Part) {
        let now = Instant::now();
        self.seconds[part as usize] += (now - self.since).as_secs_f64();
        self.since = now;
    }

    /// Ends an epoch.
    pub fn end_epoch(&mut self) {
        self.epochs.push(self.seconds);
    }

    /// Seconds of the parts of each whole epoch of this call; of a resumed epoch the part that this call did.
    pub fn epochs(&self) -> Value {
        let epoch = |&[images, augmentation, step, evaluation, keeping]: &[f64; PARTS]| {
            json!({
                "images": images, "augmentation": augmentation, "step": step, "evaluation": evaluation, "keeping": keeping,
            })
        };
        self.epochs.iter().map(epoch).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_moment_of_an_epoch_belongs_to_one_part() {
        let mut clock = Clock::new();
        clock.begin_epoch();
        let begun = clock.since;
        for part in [Part::Images, Part::Step, Part::Images, Part::Keeping] {
            clock.lap(part);
        }
        clock.end_epoch();
        let whole = (clock.since - begun).as_secs_f64();
        let [parts] = clock.epochs.as_slice() else { panic!("one epoch") };
        assert!((parts.iter().sum::<f64>() - whole).abs() < 1e-9);
        assert_eq!((parts[Part::Augmentation as usize], parts[Part::Evaluation as usize]), (0.0, 0.0));
        assert_eq!(clock.epochs().as_array().map(Vec::len), Some(1));
    }
}
