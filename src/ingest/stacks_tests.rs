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
fn slices_that_are_ordered_by_number_have_no_distance() {
    let shots = [at(0.0), at(10.0), at(20.0)];
    for has_plane in [false, true] {
        let mut images = images(&shots);
        for image in &mut images {
            image.position = None;
            image.plane = image.plane.filter(|_| has_plane);
        }
        let assembly = assemble(&images, &vec!["s".to_owned(); images.len()]);
        assert_eq!(shapes(&assembly), [(3, 3, 0)]);
        assert_eq!(assembly.stacks[0].slice_spacing_mm, None);
    }
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

/// One image by what the rules look at; `z` mm along the normal.
#[derive(Clone, Copy)]
struct Shape<'a> {
    series: &'a str,
    z: f64,
    time: Option<f64>,
    temporal: Option<i64>,
    acquisition: Option<i64>,
    instance: i64,
    announced: Option<i32>,
    acquired: Option<f64>,
}

const SHAPE: Shape<'static> = Shape {
    series: "1",
    z: 0.0,
    time: None,
    temporal: None,
    acquisition: Some(1),
    instance: 0,
    announced: None,
    acquired: None,
};

fn shaped(shapes: &[Shape<'_>]) -> Vec<Image> {
    let plane = Plane::new([1.0, 0.0, 0.0, 0.0, 1.0, 0.0], [1.0, 1.0]);
    let image = |(number, shape): (usize, &Shape<'_>)| {
        let series = Series {
            series_uid: shape.series.to_owned(),
            frame_of_reference: "f".to_owned(),
            phases_expected: shape.announced,
            slice_thickness_mm: Some(8.0),
            ..Series::default()
        };
        Image {
            file: number,
            frame: 0,
            // Names in an order of their own: nothing may follow from them. 7919 is a prime.
            instance: format!("{:05}", number * 7919 % 10_007),
            rows: 4,
            columns: 4,
            plane,
            position: Some([0.0, 0.0, shape.z]),
            timing: Timing {
                trigger_time_ms: shape.time,
                temporal_position: shape.temporal,
                acquisition_number: shape.acquisition,
                instance_number: Some(shape.instance),
                acquired: shape.acquired,
                ..Timing::default()
            },
            series: Arc::new(series),
        }
    };
    shapes.iter().enumerate().map(image).collect()
}

/// `slices x phases kind order rule` of each stack.
fn told(images: &[Image]) -> Vec<String> {
    let assembly = assemble(images, &vec!["s".to_owned(); images.len()]);
    let placed: usize = assembly.stacks.iter().flat_map(|stack| &stack.frames).map(Vec::len).sum();
    assert_eq!(placed + assembly.unused.len(), images.len(), "every image is in a stack or has a reason");
    let line = |stack: &Stack| {
        let (slices, phases) = (stack.frames.len(), stack.frames[0].len());
        let (kind, order) = (if stack.kind.is_cine() { "cine" } else { "static" }, stack.phase_order.as_str());
        format!("{slices}x{phases} {kind} {order} {}", stack.position_rule.text())
    };
    assembly.stacks.iter().map(line).collect()
}

/// Three positions of `phases` images each, as `shape` says of position and phase.
fn grid(phases: i64, shape: impl Fn(i64, i64) -> Shape<'static>) -> Vec<Image> {
    let shapes: Vec<Shape<'static>> = (0..3)
        .flat_map(|z| (0..phases).map(move |phase| (z, phase)))
        .map(|(z, phase)| Shape { z: z as f64 * 10.0, instance: z * phases + phase, ..shape(z, phase) })
        .collect();
    shaped(&shapes)
}

#[test]
fn trigger_times_that_are_all_zero_say_nothing_and_the_stack_says_what_was_used_instead() {
    let zero = Shape { time: Some(0.0), ..SHAPE };
    let by_temporal = grid(25, |_, phase| Shape { temporal: Some(25 - phase), ..zero });
    assert_eq!(told(&by_temporal), ["3x25 cine temporal-position projection"]);
    let first = assemble(&by_temporal, &vec!["s".to_owned(); 75]).stacks[0].frames[0][0];
    assert_eq!(by_temporal[first].timing.temporal_position, Some(1));
    let by_acquisition = grid(25, |_, phase| Shape { acquisition: Some(phase), ..zero });
    assert_eq!(told(&by_acquisition), ["3x25 cine acquisition-number projection"]);
    assert_eq!(told(&grid(25, |_, _| zero)), ["3x25 cine instance-number projection"]);
    assert_eq!(told(&grid(25, |_, _| Shape { time: None, ..zero })), ["3x25 cine instance-number projection"]);
    let nameless: Vec<Image> = grid(25, |_, _| zero)
        .into_iter()
        .map(|image| Image { timing: Timing { instance_number: None, ..image.timing }, ..image })
        .collect();
    assert_eq!(told(&nameless), ["3x25 cine file-order projection"]);
}

#[test]
fn a_series_per_slice_or_all_slices_in_one_are_the_same_stack() {
    let names = ["a", "b", "c"];
    let timed = |phase: i64| Shape { time: Some(30.0 * phase as f64), ..SHAPE };
    let expected = ["3x25 cine trigger-time projection"];
    assert_eq!(told(&grid(25, |_, phase| timed(phase))), expected);
    let by_slice = grid(25, |z, phase| Shape { series: names[usize::try_from(z).unwrap()], ..timed(phase) });
    assert_eq!(told(&by_slice), expected);
}

#[test]
fn series_that_hold_one_phase_each_are_one_cine() {
    let names: [&'static str; 6] = ["a", "b", "c", "d", "e", "f"];
    let of = |phase: i64| names[usize::try_from(phase).unwrap()];
    let timed = |phase: i64| Shape { series: of(phase), time: Some(50.0 * phase as f64), ..SHAPE };
    assert_eq!(told(&grid(6, |_, phase| timed(phase))), ["3x6 cine trigger-time projection+series-per-phase"]);
    let temporal = |phase: i64| Shape { series: of(phase), temporal: Some(phase), announced: Some(6), ..SHAPE };
    assert_eq!(told(&grid(6, |_, phase| temporal(phase))), ["3x6 cine temporal-position projection+series-per-phase"]);
    // The same shape, acquired over minutes: late enhancement, repeated.
    let repeated = |phase: i64| Shape { acquired: Some(20_240_101_100_000.0 + 200.0 * phase as f64), ..timed(phase) };
    assert_eq!(told(&grid(6, |_, phase| repeated(phase))), ["3x1 static none projection+reacquired"]);
}

#[test]
fn a_position_acquired_twice_in_one_series_is_two_acquisitions_with_and_without_numbers() {
    let twice = |with_numbers: bool| {
        grid(50, move |_, image| Shape {
            time: Some(30.0 * (image % 25) as f64),
            acquisition: with_numbers.then_some(1 + image / 25),
            acquired: Some(20_240_101_120_000.0 + (image / 25) as f64 * 15.0),
            ..SHAPE
        })
    };
    for with_numbers in [true, false] {
        let images = twice(with_numbers);
        assert_eq!(told(&images), ["3x25 cine trigger-time projection+reacquired"]);
        let assembly = assemble(&images, &vec!["s".to_owned(); images.len()]);
        let later = |index: &usize| images[*index].timing.acquired == Some(20_240_101_120_015.0);
        assert!(assembly.stacks[0].frames.iter().flatten().all(later), "the later one stands");
    }
    // Two times that round to one are no second acquisition.
    let rounded = grid(25, |_, phase| Shape { time: Some(30.0 * phase.max(1) as f64), ..SHAPE });
    assert_eq!(told(&rounded), ["3x25 cine trigger-time projection"]);
}

#[test]
fn dynamic_series_maps_and_echoes_are_static() {
    let beat = |_: i64, beat: i64| Shape { acquired: Some(20_240_101_120_000.0 + 0.9 * beat as f64), ..SHAPE };
    assert_eq!(told(&grid(40, beat)), ["3x40 static instance-number projection"], "perfusion without times");
    let with_times = grid(40, |_, beat| Shape { time: Some(900.0 * beat as f64), ..SHAPE });
    assert_eq!(told(&with_times), ["3x40 static trigger-time projection"], "perfusion with running times");
    let edit = |timing: fn(Timing, f64) -> Timing| {
        let images = grid(8, |_, image| Shape { time: Some(600.0 + 20.0 * image as f64), ..SHAPE }).into_iter();
        images
            .enumerate()
            .map(|(number, image)| Image { timing: timing(image.timing, number as f64), ..image })
            .collect()
    };
    let molli: Vec<Image> = edit(|timing, number| Timing { inversion_time_ms: Some(100.0 + 80.0 * number), ..timing });
    let echoes: Vec<Image> = edit(|timing, number| Timing { echo_number: Some(number as i64), ..timing });
    for images in [molli, echoes] {
        assert_eq!(told(&images), ["3x8 static trigger-time projection"]);
    }
}

#[test]
fn series_whose_slices_overlap_were_planned_twice_and_stay_apart() {
    let timed = |series: &'static str, z: f64| {
        (0..25).map(move |phase| Shape { series, z, time: Some(30.0 * f64::from(phase)), ..SHAPE })
    };
    let two = |shift: f64| -> Vec<Shape<'static>> {
        let planned =
            |series: &'static str, shift: f64| (0..4).flat_map(move |z| timed(series, shift + f64::from(z) * 10.0));
        planned("1", 0.0).chain(planned("2", shift)).collect()
    };
    let apart = "4x25 cine trigger-time projection+overlap-apart";
    assert_eq!(told(&shaped(&two(4.0))), [apart, apart]);
    assert_eq!(told(&shaped(&two(40.0))), ["8x25 cine trigger-time projection"]);
    assert_eq!(told(&shaped(&two(0.0))), ["4x25 cine trigger-time projection+reacquired"]);
    // One slice, acquired again 3 mm off.
    let again: Vec<Shape<'static>> = two(0.0).into_iter().take(100).chain(timed("2", 13.0)).collect();
    let single = "1x25 cine trigger-time projection+overlap-apart";
    assert_eq!(told(&shaped(&again)), [apart, single]);
}

#[test]
fn a_frame_of_reference_for_every_series_of_a_study_says_nothing() {
    let names = ["a", "b", "c"];
    let images: Vec<Image> = grid(25, |z, phase| Shape {
        series: names[usize::try_from(z).unwrap()],
        time: Some(30.0 * phase as f64),
        ..SHAPE
    })
    .into_iter()
    .map(|image| {
        let series = Series { frame_of_reference: image.series.series_uid.clone(), ..(*image.series).clone() };
        Image { series: Arc::new(series), ..image }
    })
    .collect();
    assert_eq!(told(&images), ["3x25 cine trigger-time projection+frame-of-reference-ignored"]);
    assert_eq!(told(&images[..50]).len(), 2, "two may well be true");
}

proptest::proptest! {
    /// Whatever a vendor made of a cine, the order of its files does not matter.
    #[test]
    fn any_permutation_of_the_images_gives_the_same_stacks(
        seeds in proptest::collection::vec((0_usize..4, 0_i64..4, 0_u8..8, 0_i64..3, 0_i64..6), 1..60),
        keys in proptest::collection::vec(proptest::num::u64::ANY, 60),
    ) {
        let series = ["a", "b", "c", "d"];
        let shapes: Vec<Shape<'_>> = seeds.iter().enumerate().map(|(number, (one, z, time, acquisition, temporal))| Shape {
            series: series[*one],
            z: *z as f64 * 5.0,
            time: (*time < 7).then(|| f64::from(*time) * 40.0),
            temporal: (*temporal > 0).then_some(*temporal),
            acquisition: Some(*acquisition),
            instance: i64::try_from(number).unwrap() % 11,
            announced: (*one == 3).then_some(6),
            acquired: (*one != 2).then_some(20_240_101_120_000.0 + *acquisition as f64),
        }).collect();
        let images = shaped(&shapes);
        let mut order: Vec<usize> = (0..images.len()).collect();
        order.sort_by_key(|index| keys[*index]);
        let shuffled: Vec<Image> = order.iter().map(|index| images[*index].clone()).collect();
        let named = |images: &[Image]| {
            let assembly = assemble(images, &vec!["s".to_owned(); images.len()]);
            let name = |index: &usize| images[*index].instance.clone();
            let stacks: Vec<(String, Vec<Vec<String>>)> = assembly.stacks.iter().map(|stack| {
                let rule = format!("{:?} {:?} {:?}", stack.kind, stack.phase_order, stack.position_rule);
                (rule, stack.frames.iter().map(|phases| phases.iter().map(name).collect()).collect())
            }).collect();
            let mut unused: Vec<String> = assembly.unused.iter().map(|(index, why)| format!("{} {why:?}", name(index))).collect();
            unused.sort();
            (stacks, unused)
        };
        let placed = named(&images);
        let count: usize = placed.0.iter().flat_map(|(_, frames)| frames).map(Vec::len).sum();
        proptest::prop_assert_eq!(count + placed.1.len(), images.len());
        proptest::prop_assert_eq!(placed, named(&shuffled));
    }
}
