//! A stack in standard orientation with the plan's channels, and its reduction. Only whole pixels move; no I/O.

use ndarray::Array2;
use rayon::prelude::*;

use super::coarse::{self, CoarseStack};
use super::orient::{Orientation, cross, dot};
use super::prepare::StackImages;
use crate::formats::plan::{Plan, PlanGeometry};

/// Left, anterior, inferior: where the apex points, in LPS.
const APEX: [f64; 3] = [1.0, -1.0, -1.0];

/// A stack in standard orientation with one size and the plan's channels.
#[derive(Debug)]
pub struct Turned {
    /// `[slice][phase][channel]`.
    pub frames: Vec<Vec<Vec<Array2<f32>>>>,
    /// (rows, columns) of every frame.
    pub size: (usize, usize),
    /// (distance of rows, distance of columns), mm.
    pub spacing_mm: Option<(f64, f64)>,
    /// In-plane shift of each slice against the first, (down, right), mm.
    pub shifts_mm: Vec<(f64, f64)>,
    /// Place of each slice along the normal, mm; empty = unknown.
    pub places_mm: Vec<f64>,
    /// Whether slices ascend from base to apex.
    pub base_first: bool,
    /// How the frames were turned.
    pub orientation: Orientation,
    /// Whether the orientation is the standard one; otherwise the frames are as stored.
    pub is_standard: bool,
}

/// Luminance of ITU-R BT.601, which PNG and JPEG readers use for grey.
fn luminance(channels: &[Array2<f32>]) -> Array2<f32> {
    let mut grey = channels[0].mapv(|value| 0.299 * value);
    grey.zip_mut_with(&channels[1], |sum, &value| *sum += 0.587 * value);
    grey.zip_mut_with(&channels[2], |sum, &value| *sum += 0.114 * value);
    grey
}

/// The plan's number of channels from what the source has; values that are no numbers become 0.
fn to_channels(mut channels: Vec<Array2<f32>>, wanted: usize) -> Vec<Array2<f32>> {
    for channel in &mut channels {
        channel.mapv_inplace(|value| if value.is_finite() { value } else { 0.0 });
    }
    match (channels.len(), wanted) {
        (3, 1) => vec![luminance(&channels)],
        (1, 3) => vec![channels[0].clone(), channels[0].clone(), channels.swap_remove(0)],
        _ => {
            channels.truncate(wanted);
            channels
        }
    }
}

/// Turns a stack that [`super::prepare`] has checked.
pub fn turn(plan: &Plan, stack: StackImages) -> Turned {
    let in_mm = matches!(plan.geometry, PlanGeometry::Mm { .. });
    let orientation = match stack.axes {
        Some((row, column)) if in_mm => Orientation::standard(row, column),
        _ => Orientation::default(),
    };
    let turn_frame = |channels: Vec<Array2<f32>>| -> Vec<Array2<f32>> {
        let channels = to_channels(channels, plan.frame_channels);
        if orientation == Orientation::default() {
            return channels;
        }
        channels.iter().map(|channel| orientation.turn(channel.view())).collect()
    };
    let turn_slice = |phases: Vec<Vec<Array2<f32>>>| phases.into_iter().map(turn_frame).collect::<Vec<_>>();
    let frames: Vec<Vec<_>> = stack.frames.into_par_iter().map(turn_slice).collect();
    let size = frames[0][0][0].dim();
    let slices = frames.len();
    let known = stack.axes.filter(|_| stack.positions_mm.len() == slices);
    let (shifts_mm, places_mm) = match known {
        Some((row, column)) => {
            let (right, down) = orientation.turn_vectors(row, column);
            let normal = cross(row, column);
            let from_first =
                |position: &[f64; 3]| std::array::from_fn(|axis| position[axis] - stack.positions_mm[0][axis]);
            let offsets: Vec<[f64; 3]> = stack.positions_mm.iter().map(from_first).collect();
            (
                offsets.iter().map(|&offset| (dot(offset, down), dot(offset, right))).collect(),
                offsets.iter().map(|&offset| dot(offset, normal)).collect(),
            )
        }
        None => (vec![(0.0, 0.0); slices], Vec::new()),
    };
    Turned {
        frames,
        size,
        spacing_mm: stack.spacing_mm.map(|spacing| orientation.turn_spacing(spacing)),
        shifts_mm,
        places_mm,
        base_first: stack.axes.is_none_or(|(row, column)| dot(cross(row, column), APEX) >= 0.0),
        orientation,
        is_standard: stack.axes.is_some() && in_mm,
    }
}

/// The stack reduced to pixels of about 3 mm.
pub fn reduce(turned: &Turned) -> CoarseStack {
    let spacing = turned.spacing_mm.unwrap_or_else(|| coarse::nominal_spacing(turned.size));
    let blocks = coarse::block_sizes(spacing, turned.size);
    let frame = |channels: &Vec<Array2<f32>>| match channels.len() {
        3 => coarse::reduce(luminance(channels).view(), blocks),
        _ => coarse::reduce(channels[0].view(), blocks),
    };
    CoarseStack {
        frames: turned.frames.par_iter().map(|slice| slice.iter().map(frame).collect()).collect(),
        size: (turned.size.0 / blocks.0, turned.size.1 / blocks.1),
        blocks,
        pixel_mm: (spacing.0 * blocks.0 as f64, spacing.1 * blocks.1 as f64),
        shifts_mm: turned.shifts_mm.clone(),
    }
}
