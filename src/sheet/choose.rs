//! Which stacks get a picture or an animation, and which of their frames that takes, so that a page stays small.

use std::collections::BTreeMap;

/// Phases of an animation; of longer cines every second, third, ... is shown.
const MOST_PHASES: usize = 40;

/// Frames of a stack that its pictures show, 0-based.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The slice of the large picture.
    pub middle: usize,
    /// Its phases; one for a still picture.
    pub phases: Vec<usize>,
    /// Slices of the strip, shown at phase 0: first, middle and last; empty where there is one slice.
    pub slices: Vec<usize>,
}

/// The frames that the pictures of a stack of `slices` x `phases` show.
pub fn wanted(slices: usize, phases: usize, is_animated: bool) -> Wanted {
    let middle = slices / 2;
    let step = phases.div_ceil(MOST_PHASES).max(1);
    let phases = if is_animated { (0..phases.max(1)).step_by(step).collect() } else { vec![0] };
    let mut strip = if slices > 1 { vec![0, middle, slices - 1] } else { Vec::new() };
    strip.dedup();
    Wanted { middle, phases, slices: strip }
}

/// Chooses at most `most` of the items: the first of every group, then the second of every group, ... so that every group is seen.
pub fn spread(groups: &[&str], most: usize) -> Vec<bool> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut order: Vec<(usize, usize)> = Vec::with_capacity(groups.len());
    for (index, group) in groups.iter().enumerate() {
        let rank = seen.entry(group).or_default();
        order.push((*rank, index));
        *rank += 1;
    }
    order.sort_unstable();
    let mut chosen = vec![false; groups.len()];
    order.into_iter().take(most).for_each(|(_, index)| chosen[index] = true);
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_slice_moves_and_the_strip_has_first_middle_and_last() {
        let expected = Wanted { middle: 5, phases: (0..20).collect(), slices: vec![0, 5, 10] };
        assert_eq!(wanted(11, 20, true), expected);
        assert_eq!(wanted(11, 20, false).phases, [0]);
        assert_eq!(wanted(2, 1, false).slices, [0, 1]);
        assert_eq!(wanted(1, 1, false), Wanted { middle: 0, phases: vec![0], slices: Vec::new() });
    }

    #[test]
    fn of_a_long_cine_every_nth_phase_is_shown() {
        assert_eq!(wanted(1, 40, true).phases.len(), 40);
        assert_eq!(wanted(1, 41, true).phases, (0..41).step_by(2).collect::<Vec<_>>());
        assert_eq!(wanted(1, 1000, true).phases.len(), 40);
    }

    #[test]
    fn every_group_is_seen_before_any_is_seen_twice() {
        assert_eq!(spread(&["a", "a", "a", "b", "c"], 3), [true, false, false, true, true]);
        assert_eq!(spread(&["a", "a", "b"], 2), [true, false, true]);
        assert_eq!(spread(&["a", "b"], 9), [true, true]);
    }
}
