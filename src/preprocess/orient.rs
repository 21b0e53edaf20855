//! In-plane orientation (design, section 3): of the 8 flips and transpositions of an image, the one whose rows run most to the
//! patient's left and whose columns run most to inferior and posterior. Only whole pixels move; nothing is interpolated.
//!
//! LPS: x left, y posterior, z superior. `row` is the unit vector of increasing column index, `column` of increasing row index.

use ndarray::{Array2, ArrayView2, Axis};

/// Score weights of the row vector: to the right of the image = patient left.
const RIGHT: [f64; 3] = [1.0, 0.5, 0.0];
/// Score weights of the column vector: down = inferior and posterior.
const DOWN: [f64; 3] = [0.0, 0.5, -1.0];
/// A later candidate must win by more than rounding noise, so that equal scores resolve the same way everywhere.
const TIE: f64 = 1e-9;

/// Scalar product.
pub fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Vector product.
pub fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// How an image is turned: first transposed, then its rows and columns reversed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Orientation {
    /// Rows become columns.
    pub transpose: bool,
    /// The order of rows is reversed.
    pub flip_rows: bool,
    /// The order of columns is reversed.
    pub flip_columns: bool,
}

impl Orientation {
    /// All eight, the unchanged one first.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..8_u8).map(|bits| Self { transpose: bits & 4 != 0, flip_rows: bits & 2 != 0, flip_columns: bits & 1 != 0 })
    }

    /// The standard orientation of an image with these unit vectors.
    pub fn standard(row: [f64; 3], column: [f64; 3]) -> Self {
        let mut best = (f64::NEG_INFINITY, Self::default());
        for candidate in Self::all() {
            let (right, down) = candidate.turn_vectors(row, column);
            let score = dot(right, RIGHT) + dot(down, DOWN);
            if score > best.0 + TIE {
                best = (score, candidate);
            }
        }
        best.1
    }

    /// The row and column vectors after turning.
    pub fn turn_vectors(self, row: [f64; 3], column: [f64; 3]) -> ([f64; 3], [f64; 3]) {
        let (mut right, mut down) = if self.transpose { (column, row) } else { (row, column) };
        if self.flip_columns {
            right = right.map(|value| -value);
        }
        if self.flip_rows {
            down = down.map(|value| -value);
        }
        (right, down)
    }

    /// (distance of rows, distance of columns) after turning.
    pub fn turn_spacing(self, (rows_mm, columns_mm): (f64, f64)) -> (f64, f64) {
        if self.transpose { (columns_mm, rows_mm) } else { (rows_mm, columns_mm) }
    }

    /// The stored (row, column) of a place given in the turned image of `size`; places between pixels and outside are fine.
    pub fn turn_back(self, (row, column): (f64, f64), size: (usize, usize)) -> (f64, f64) {
        let row = if self.flip_rows { size.0 as f64 - 1.0 - row } else { row };
        let column = if self.flip_columns { size.1 as f64 - 1.0 - column } else { column };
        if self.transpose { (column, row) } else { (row, column) }
    }

    /// The turned image, [rows, columns] in standard layout.
    pub fn turn(self, image: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut view = if self.transpose { image.reversed_axes() } else { image };
        if self.flip_rows {
            view.invert_axis(Axis(0));
        }
        if self.flip_columns {
            view.invert_axis(Axis(1));
        }
        view.as_standard_layout().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_real_short_axis_image_that_hangs_upright_is_left_as_it_is() {
        // ImageOrientationPatient of Sunnybrook SCD0000301 (GE), as pydicom reads it.
        let row = [0.712_221, 0.701_112, -0.034_394_9];
        let column = [-0.307_715, 0.267_798, -0.913_015];
        assert_eq!(Orientation::standard(row, column), Orientation::default());
    }

    #[test]
    fn an_image_turns_as_its_vectors_do() {
        // Hand calculation: the pixel at (row 0, column 1) of a 2 x 3 image.
        let image = array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]];
        let transposed = Orientation { transpose: true, ..Orientation::default() };
        assert_eq!(transposed.turn(image.view()), array![[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]);
        let turned = Orientation { transpose: true, flip_rows: true, flip_columns: false };
        assert_eq!(turned.turn(image.view()), array![[3.0, 6.0], [2.0, 5.0], [1.0, 4.0]]);
    }

    #[test]
    fn a_place_turns_back_to_where_its_pixel_came_from() {
        let image = Array2::from_shape_fn((3, 4), |(row, column)| (10 * row + column) as f32);
        for orientation in Orientation::all() {
            let turned = orientation.turn(image.view());
            for ((row, column), value) in turned.indexed_iter() {
                let (row, column) = orientation.turn_back((row as f64, column as f64), turned.dim());
                assert_eq!(*value, (10.0 * row + column) as f32, "{orientation:?}");
            }
        }
    }

    /// Two perpendicular unit vectors from three angles.
    fn frame() -> impl Strategy<Value = ([f64; 3], [f64; 3])> {
        (0.0..std::f64::consts::TAU, -1.5..1.5_f64, 0.0..std::f64::consts::TAU).prop_map(|(azimuth, tilt, spin)| {
            let normal = [tilt.cos() * azimuth.cos(), tilt.cos() * azimuth.sin(), tilt.sin()];
            let a = [-azimuth.sin(), azimuth.cos(), 0.0];
            let b = cross(normal, a);
            let mix = |p: f64, q: f64| std::array::from_fn(|axis| p * a[axis] + q * b[axis]);
            (mix(spin.cos(), spin.sin()), mix(-spin.sin(), spin.cos()))
        })
    }

    proptest! {
        #[test]
        fn a_flipped_or_transposed_scanner_gives_the_same_image((row, column) in frame()) {
            let image = Array2::from_shape_fn((4, 5), |(r, c)| (r * 5 + c) as f32);
            let (wanted, vectors) = {
                let standard = Orientation::standard(row, column);
                (standard.turn(image.view()), standard.turn_vectors(row, column))
            };
            for scanner in Orientation::all() {
                let (row, column) = scanner.turn_vectors(row, column);
                let standard = Orientation::standard(row, column);
                let found = standard.turn_vectors(row, column);
                let close = |a: [f64; 3], b: [f64; 3]| (0..3).all(|axis| (a[axis] - b[axis]).abs() < 1e-12);
                // Exact ties between two orientations may resolve either way; random frames have none.
                prop_assert!(close(found.0, vectors.0) && close(found.1, vectors.1));
                prop_assert_eq!(standard.turn(scanner.turn(image.view()).view()), wanted.clone());
            }
        }

        #[test]
        fn the_standard_orientation_has_the_highest_score((row, column) in frame()) {
            let score = |orientation: Orientation| {
                let (right, down) = orientation.turn_vectors(row, column);
                dot(right, RIGHT) + dot(down, DOWN)
            };
            let best = score(Orientation::standard(row, column));
            prop_assert!(Orientation::all().all(|candidate| score(candidate) <= best + 1e-8));
        }

        #[test]
        fn no_image_is_mirrored_against_the_patient((row, column) in frame(), mm in (0.5..3.0_f64, 0.5..3.0_f64)) {
            // An L in the patient: its corner, the end of its long arm and of its short arm, each a grey value of its own.
            let marker = [((1, 1), 1.0_f32), ((4, 1), 2.0), ((1, 3), 3.0)];
            let mut image = Array2::<f32>::zeros((6, 7));
            marker.iter().for_each(|&(place, value)| image[place] = value);
            for scanner in Orientation::all() {
                let (stored, (right, down)) = (scanner.turn(image.view()), scanner.turn_vectors(row, column));
                let spacing = scanner.turn_spacing(mm);
                let standard = Orientation::standard(right, down);
                let turned = standard.turn(stored.view());
                let (right, down) = standard.turn_vectors(right, down);
                let spacing = standard.turn_spacing(spacing);
                let pixel = |value: f32| turned.indexed_iter().find(|found| *found.1 == value).unwrap().0;
                // From the corner to an arm's end in the patient, mm: by the turned image, and by the one it was drawn in.
                let (corner, first) = (pixel(1.0), marker[0].0);
                for (drawn, value) in &marker[1..] {
                    let end = pixel(*value);
                    let steps = |a: usize, b: usize, mm: f64| (a as f64 - b as f64) * mm;
                    let (rows, columns) = (steps(end.0, corner.0, spacing.0), steps(end.1, corner.1, spacing.1));
                    let wanted = (steps(drawn.0, first.0, mm.0), steps(drawn.1, first.1, mm.1));
                    for axis in 0..3 {
                        let found = rows * down[axis] + columns * right[axis];
                        let wanted = wanted.0 * column[axis] + wanted.1 * row[axis];
                        prop_assert!((found - wanted).abs() < 1e-9, "{:?}: {} {}", scanner, found, wanted);
                    }
                }
            }
        }
    }
}
