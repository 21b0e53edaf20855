//! A cine reduced to pixels of about 3 mm by block means: what the heart is found in and the cavity's area is measured in.

use ndarray::{Array2, ArrayView2};

/// Side of a reduced pixel that is aimed at, mm.
const TARGET_MM: f64 = 3.0;
/// Nominal field of view of images without spacing, mm: what cardiac MRI usually has along the longer side.
const NOMINAL_FIELD_OF_VIEW_MM: f64 = 350.0;

/// All frames of a stack, reduced.
#[derive(Debug, Clone)]
pub struct CoarseStack {
    /// `[slice][phase]`, each of `size`.
    pub frames: Vec<Vec<Array2<f32>>>,
    /// (rows, columns).
    pub size: (usize, usize),
    /// Source pixels per reduced pixel, (rows, columns).
    pub blocks: (usize, usize),
    /// Side of a reduced pixel, (rows, columns), mm (nominal where the source has no spacing).
    pub pixel_mm: (f64, f64),
    /// In-plane shift of each slice against the first, (down, right), mm.
    pub shifts_mm: Vec<(f64, f64)>,
}

/// Spacing used for distances where the source has none: the longer side is a usual field of view.
pub fn nominal_spacing(size: (usize, usize)) -> (f64, f64) {
    let spacing = NOMINAL_FIELD_OF_VIEW_MM / size.0.max(size.1).max(1) as f64;
    (spacing, spacing)
}

/// Source pixels per reduced pixel for images of this spacing and size.
pub fn block_sizes(spacing_mm: (f64, f64), size: (usize, usize)) -> (usize, usize) {
    let block = |spacing: f64, length: usize| ((TARGET_MM / spacing).round() as usize).clamp(1, length.max(1));
    (block(spacing_mm.0, size.0), block(spacing_mm.1, size.1))
}

/// Means over blocks; pixels beyond the last whole block are left out.
pub fn reduce(image: ArrayView2<'_, f32>, blocks: (usize, usize)) -> Array2<f32> {
    let size = (image.nrows() / blocks.0, image.ncols() / blocks.1);
    let mut sums = Array2::<f32>::zeros(size);
    for (mut target, rows) in sums.rows_mut().into_iter().zip(image.axis_chunks_iter(ndarray::Axis(0), blocks.0)) {
        for row in rows.rows() {
            match row.as_slice() {
                Some(row) => add_blocks(target.iter_mut(), row.chunks_exact(blocks.1).map(|block| block.iter().sum())),
                None => add_blocks(
                    target.iter_mut(),
                    row.exact_chunks(blocks.1).into_iter().map(|block| block.iter().sum()),
                ),
            }
        }
    }
    let share = 1.0 / (blocks.0 * blocks.1) as f32;
    sums.mapv_inplace(|sum| sum * share);
    sums
}

fn add_blocks<'a>(targets: impl Iterator<Item = &'a mut f32>, sums: impl Iterator<Item = f32>) {
    targets.zip(sums).for_each(|(target, sum)| *target += sum);
}

impl CoarseStack {
    /// Middle of a reduced pixel of the first slice, (down, right) from that slice's corner, mm.
    pub fn middle_mm(&self, (row, column): (usize, usize)) -> (f64, f64) {
        ((row as f64 + 0.5) * self.pixel_mm.0, (column as f64 + 0.5) * self.pixel_mm.1)
    }

    /// Position of a reduced pixel in the common plane of all slices, mm: (down, right) from the first slice's first pixel.
    pub fn place_mm(&self, slice: usize, row: usize, column: usize) -> (f64, f64) {
        let (shift, middle) = (self.shifts_mm[slice], self.middle_mm((row, column)));
        (shift.0 + middle.0, shift.1 + middle.1)
    }

    /// [`Self::shifts_mm`] in whole pixels.
    pub fn shift_pixels(&self, slice: usize) -> (isize, isize) {
        let shift = self.shifts_mm[slice];
        ((shift.0 / self.pixel_mm.0).round() as isize, (shift.1 / self.pixel_mm.1).round() as isize)
    }

    /// Size of the field of view, (down, right), mm.
    pub fn extent_mm(&self) -> (f64, f64) {
        (self.size.0 as f64 * self.pixel_mm.0, self.size.1 as f64 * self.pixel_mm.1)
    }

    /// The middle half of the slices (all of a stack of one or two).
    pub fn middle_slices(&self) -> std::ops::Range<usize> {
        let slices = self.frames.len();
        let margin = slices / 4;
        margin..slices - margin
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn blocks_are_means_and_the_rest_is_left_out() {
        let image = array![[1.0, 3.0, 9.0], [5.0, 7.0, 9.0], [9.0, 9.0, 9.0]];
        assert_eq!(reduce(image.view(), (2, 2)), array![[4.0]]);
        assert_eq!(reduce(image.view().reversed_axes(), (1, 3)), array![[5.0], [19.0 / 3.0], [9.0]]);
    }

    #[test]
    fn blocks_are_about_three_millimetres() {
        assert_eq!(block_sizes((1.4, 1.4), (256, 256)), (2, 2));
        assert_eq!(block_sizes((0.5, 1.0), (512, 256)), (6, 3));
        assert_eq!(block_sizes((9.0, 0.01), (4, 4)), (1, 4));
    }
}
