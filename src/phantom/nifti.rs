//! NIfTI-1 files (`.nii.gz`) and the information CSV in the layout of the M&Ms challenge.
//!
//! DICOM's LPS becomes RAS by negating x and y; the array's first index runs along image columns, the second along rows, the third
//! along positions, the fourth along phases. Written here rather than by a library: 348 bytes (nifti1.h), and equal for equal input.

use std::io::Write;

use flate2::{Compression, GzBuilder};

use super::person::{Vector, cross, dot, minus, unit};
use super::render::{Cine, Plane};

const HEADER_BYTES: usize = 348;
const VOXELS_START: f32 = 352.0;
const TYPE_INT16: i16 = 4;
/// Millimetres and seconds.
const UNITS_MM_S: u8 = 2 | 8;

/// One 3-D or 4-D array.
pub struct Array<'a> {
    /// Planes in storage order, parallel and evenly spaced.
    pub planes: &'a [&'a Plane],
    /// `[plane][phase]`, each rows x columns.
    pub images: &'a [Cine],
    /// Time between phases, s.
    pub phase_interval_s: f64,
}

/// Bytes of the compressed file, without name or time, so that equal arrays give equal bytes.
pub fn compressed(array: &Array<'_>) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::new(3));
    encoder.write_all(&header(array))?;
    encoder.write_all(&[0; VOXELS_START as usize - HEADER_BYTES])?;
    let phases = array.images.first().map_or(0, Vec::len);
    let mut bytes = Vec::new();
    for phase in 0..phases {
        for plane in array.images {
            bytes.clear();
            // Stored values have 12 bits, so they fit in a signed 16-bit number.
            bytes.extend(plane[phase].iter().flat_map(|value| value.to_le_bytes()));
            encoder.write_all(&bytes)?;
        }
    }
    encoder.finish()
}

fn header(array: &Array<'_>) -> [u8; HEADER_BYTES] {
    let first = array.planes[0];
    let step = match array.planes {
        [first, second, ..] => minus(second.origin_mm, first.origin_mm),
        _ => first.normal().map(|value| value * first.thickness_mm),
    };
    let phases = array.images.first().map_or(1, Vec::len);
    let dimensions = [if phases > 1 { 4 } else { 3 }, first.columns, first.rows, array.planes.len(), phases, 1, 1, 1];
    let step_mm = libm::sqrt(dot(step, step));
    let handedness = if dot(cross(first.row, first.column), step) < 0.0 { -1.0 } else { 1.0 };
    let spacings = [
        handedness,
        first.spacing_column_mm,
        first.spacing_row_mm,
        step_mm,
        if phases > 1 { array.phase_interval_s } else { 0.0 },
        0.0,
        0.0,
        0.0,
    ];
    let mut bytes = [0; HEADER_BYTES];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &(HEADER_BYTES as i32).to_le_bytes());
    for (index, dimension) in dimensions.into_iter().enumerate() {
        put(40 + 2 * index, &(dimension as i16).to_le_bytes());
    }
    put(70, &TYPE_INT16.to_le_bytes());
    put(72, &16i16.to_le_bytes());
    for (index, spacing) in spacings.into_iter().enumerate() {
        put(76 + 4 * index, &(spacing as f32).to_le_bytes());
    }
    put(108, &VOXELS_START.to_le_bytes());
    put(112, &1f32.to_le_bytes());
    put(123, &[UNITS_MM_S]);
    put(148, b"synthetic phantom, no patient");
    // Both transforms mean scanner coordinates (code 1).
    put(252, &1i16.to_le_bytes());
    put(254, &1i16.to_le_bytes());
    let columns = [first.row, first.column, unit(step).map(|value| handedness * value)].map(ras);
    for (index, value) in quaternion(columns).into_iter().chain(ras(first.origin_mm)).enumerate() {
        put(256 + 4 * index, &(value as f32).to_le_bytes());
    }
    let affine = [
        first.row.map(|value| value * first.spacing_column_mm),
        first.column.map(|value| value * first.spacing_row_mm),
        step,
        first.origin_mm,
    ]
    .map(ras);
    for axis in 0..3 {
        for (column, vector) in affine.iter().enumerate() {
            put(280 + 16 * axis + 4 * column, &(vector[axis] as f32).to_le_bytes());
        }
    }
    put(344, b"n+1\0");
    bytes
}

fn ras([x, y, z]: Vector) -> Vector {
    [-x, -y, z]
}

/// Quaternion (b, c, d) of the rotation with these columns (nifti1_io's `nifti_mat44_to_quatern`).
fn quaternion(columns: [Vector; 3]) -> [f64; 3] {
    let r = |row: usize, column: usize| columns[column][row];
    let trace = r(0, 0) + r(1, 1) + r(2, 2) + 1.0;
    if trace > 0.5 {
        let a = 0.5 * libm::sqrt(trace);
        return [(r(2, 1) - r(1, 2)), (r(0, 2) - r(2, 0)), (r(1, 0) - r(0, 1))].map(|value| 0.25 * value / a);
    }
    let (xd, yd, zd) =
        (1.0 + r(0, 0) - r(1, 1) - r(2, 2), 1.0 + r(1, 1) - r(0, 0) - r(2, 2), 1.0 + r(2, 2) - r(0, 0) - r(1, 1));
    let (a, b, c, d) = if xd > 1.0 {
        let b = 0.5 * libm::sqrt(xd);
        (0.25 * (r(2, 1) - r(1, 2)) / b, b, 0.25 * (r(0, 1) + r(1, 0)) / b, 0.25 * (r(0, 2) + r(2, 0)) / b)
    } else if yd > 1.0 {
        let c = 0.5 * libm::sqrt(yd);
        (0.25 * (r(0, 2) - r(2, 0)) / c, 0.25 * (r(0, 1) + r(1, 0)) / c, c, 0.25 * (r(1, 2) + r(2, 1)) / c)
    } else {
        let d = 0.5 * libm::sqrt(zd);
        (0.25 * (r(1, 0) - r(0, 1)) / d, 0.25 * (r(0, 2) + r(2, 0)) / d, 0.25 * (r(1, 2) + r(2, 1)) / d, d)
    };
    if a < 0.0 { [-b, -c, -d] } else { [b, c, d] }
}
