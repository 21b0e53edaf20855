//! The rules of stack assembly, one by one, on images made by hand: axial planes, 10 mm apart.

use std::sync::Arc;

use super::*;
use crate::ingest::image::{Series, Timing};

/// What one acquisition of one position is like.
#[derive(Clone, Copy)]
struct Shot {
    series: &'static str,
    frame_of_reference: &'static str,
    along_mm: f64,
    phases: usize,
    acquired: f64,
}

const SHOT: Shot = Shot { series: "1", frame_of_reference: "f", along_mm: 0.0, phases: 3, acquired: 0.0 };

fn images(shots: &[Shot]) -> Vec<Image> {
    let mut images = Vec::new();
    for (number, shot) in shots.iter().enumerate() {
        for phase in 0..shot.phases {
            let series = Series {
                series_uid: shot.series.to_owned(),
                series_number: 1,
                frame_of_reference: shot.frame_of_reference.replace('?', &format!("{number}.{phase}")),
                ..Series::default()
            };
            images.push(Image {
                file: images.len(),
                frame: 0,
                instance: format!("{number}.{phase}"),
                rows: 4,
                columns: 4,
                plane: Plane::new([1.0, 0.0, 0.0, 0.0, 1.0, 0.0], [1.0, 1.0]),
                position: Some([0.0, 0.0, shot.along_mm]),
                // Stored backwards: the order of files must not matter.
                timing: Timing {
                    trigger_time_ms: Some(40.0 * (shot.phases - phase) as f64),
                    acquisition_number: Some(number as i64),
                    acquired: Some(shot.acquired),
                    ..Timing::default()
                },
                series: Arc::new(series),
            });
        }
    }
    images
}

fn assembled(shots: &[Shot]) -> (Vec<Image>, Assembly) {
    let images = images(shots);
    let subjects = vec!["s".to_owned(); images.len()];
    let assembly = assemble(&images, &subjects);
    let placed: usize = assembly.stacks.iter().flat_map(|stack| &stack.frames).map(Vec::len).sum();
    assert_eq!(placed + assembly.unused.len(), images.len(), "every image is in a stack or has a reason");
    (images, assembly)
}

/// (slices, phases, incomplete) of each stack.
fn shapes(assembly: &Assembly) -> Vec<(usize, usize, usize)> {
    assembly
        .stacks
        .iter()
        .map(|stack| (stack.frames.len(), stack.frames[0].len(), stack.positions_incomplete))
        .collect()
}

fn at(along_mm: f64) -> Shot {
    Shot { along_mm, ..SHOT }
}

#[test]
fn positions_across_series_make_one_stack_in_the_order_of_the_normal_and_of_time() {
    let shots = [Shot { series: "2", ..at(20.0) }, at(0.0), Shot { series: "3", ..at(10.0) }];
    let (images, assembly) = assembled(&shots);
    assert_eq!(shapes(&assembly), [(3, 3, 0)]);
    assert_eq!(assembly.stacks[0].slice_spacing_mm, Some(10.0));
    let instances: Vec<Vec<&str>> = assembly.stacks[0]
        .frames
        .iter()
        .map(|phases| phases.iter().map(|index| images[*index].instance.as_str()).collect())
        .collect();
    assert_eq!(instances, [["1.2", "1.1", "1.0"], ["2.2", "2.1", "2.0"], ["0.2", "0.1", "0.0"]]);
}

#[test]
fn the_commonest_count_of_phases_wins_and_ties_go_to_the_larger() {
    let of = |counts: &[usize]| {
        let shots: Vec<Shot> = counts
            .iter()
            .enumerate()
            .map(|(index, phases)| Shot { phases: *phases, ..at(10.0 * index as f64) })
            .collect();
        shapes(&assembled(&shots).1)
    };
    assert_eq!(of(&[3, 2, 3]), [(2, 3, 1)]);
    assert_eq!(of(&[2, 3, 2, 3]), [(2, 3, 2)], "a tie");
    assert_eq!(of(&[3, 3, 5]), [(2, 3, 0), (1, 5, 0)], "more phases are a stack of their own");
}

#[test]
fn the_fuller_then_the_later_acquisition_of_a_position_stands() {
    let later = Shot { series: "2", acquired: 60.0, ..SHOT };
    let (images, assembly) = assembled(&[later, SHOT, at(10.0)]);
    assert_eq!(shapes(&assembly), [(2, 3, 0)]);
    assert!(
        assembly
            .unused
            .iter()
            .all(|(index, why)| images[*index].series.series_uid == "1" && *why == Unused::Superseded)
    );
    let stopped = Shot { phases: 2, ..later };
    let (images, assembly) = assembled(&[stopped, SHOT, at(10.0)]);
    assert_eq!(shapes(&assembly), [(2, 3, 0)]);
    assert!(assembly.unused.iter().all(|(index, _)| images[*index].series.series_uid == "2"));
}

#[test]
fn a_position_that_one_series_holds_twice_is_told_apart_by_its_acquisitions() {
    let again = Shot { acquired: 60.0, ..SHOT };
    let (images, assembly) = assembled(&[SHOT, again]);
    assert_eq!(shapes(&assembly), [(1, 3, 0)]);
    assert!(assembly.stacks[0].frames[0].iter().all(|index| images[*index].timing.acquired == Some(60.0)));
}

#[test]
fn frames_of_reference_separate_stacks_unless_every_file_has_one_of_its_own() {
    let other = Shot { series: "2", frame_of_reference: "g", ..at(10.0) };
    assert_eq!(shapes(&assembled(&[SHOT, other]).1), [(1, 3, 0), (1, 3, 0)]);
    let made_up = |along_mm| Shot { frame_of_reference: "?", ..at(along_mm) };
    assert_eq!(shapes(&assembled(&[made_up(0.0), made_up(10.0)]).1), [(2, 3, 0)]);
}

#[test]
fn an_order_of_files_gives_the_same_stacks_as_any_other() {
    let shots = [at(0.0), Shot { series: "2", acquired: 9.0, ..at(0.0) }, Shot { phases: 2, ..at(10.0) }, at(20.0)];
    let forward = shapes(&assembled(&shots).1);
    let mut turned = shots;
    turned.reverse();
    assert_eq!(forward, shapes(&assembled(&turned).1));
}
