//! Patient geometry: vectors in DICOM's LPS (left, posterior, superior), mm; image planes; NIfTI affines (RAS) turned to LPS.
//!
//! `row` is the unit vector of increasing column index, `column` of increasing row index (PS3.3 C.7.6.2.1.1); the position is the
//! centre of the first pixel. No pixels here.

/// A vector or point, LPS, mm.
pub type Vector = [f64; 3];

/// Inner product.
pub fn dot(a: Vector, b: Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Vector product.
pub fn cross(a: Vector, b: Vector) -> Vector {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// `a - b`.
pub fn subtract(a: Vector, b: Vector) -> Vector {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

/// `a * factor`.
pub fn scale(a: Vector, factor: f64) -> Vector {
    a.map(|value| value * factor)
}

/// `a + b`.
pub fn add(a: Vector, b: Vector) -> Vector {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

/// Length, mm.
pub fn norm(a: Vector) -> f64 {
    dot(a, a).sqrt()
}

/// The vector of length 1; `None` for a zero or non-finite one.
pub fn unit(a: Vector) -> Option<Vector> {
    let length = norm(a);
    (length.is_finite() && length > 0.0).then(|| scale(a, 1.0 / length))
}

/// Orientation and sampling of an image plane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plane {
    /// Unit vector of increasing column index.
    pub row: Vector,
    /// Unit vector of increasing row index.
    pub column: Vector,
    /// Distance of adjacent rows, mm (first value of PixelSpacing).
    pub row_spacing_mm: f64,
    /// Distance of adjacent columns, mm (second value of PixelSpacing).
    pub column_spacing_mm: f64,
}

/// Direction cosines deviate from unit length or right angles by rounding only.
const ORTHONORMAL_TOLERANCE: f64 = 1e-2;

impl Plane {
    /// A plane from ImageOrientationPatient and PixelSpacing; the axes are renormalised. `None` when they are not two perpendicular
    /// unit vectors within 1 %, or a spacing is not positive.
    pub fn new(orientation: [f64; 6], spacing_mm: [f64; 2]) -> Option<Self> {
        let [a, b, c, d, e, f] = orientation;
        let (row, column) = ([a, b, c], [d, e, f]);
        let near_one = |vector| (norm(vector) - 1.0).abs() < ORTHONORMAL_TOLERANCE;
        let spacing_fits = spacing_mm.iter().all(|spacing| spacing.is_finite() && *spacing > 0.0);
        if !(near_one(row) && near_one(column) && dot(row, column).abs() < ORTHONORMAL_TOLERANCE && spacing_fits) {
            return None;
        }
        let [row_spacing_mm, column_spacing_mm] = spacing_mm;
        Some(Self { row: unit(row)?, column: unit(column)?, row_spacing_mm, column_spacing_mm })
    }

    /// row x column: the direction in which slices are counted.
    pub fn normal(&self) -> Vector {
        cross(self.row, self.column)
    }

    /// The point of a (row, column) index, for a plane whose first pixel is at `position`.
    pub fn point(&self, position: Vector, row: f64, column: f64) -> Vector {
        let along = scale(self.row, column * self.column_spacing_mm);
        add(position, add(along, scale(self.column, row * self.row_spacing_mm)))
    }
}

/// A NIfTI affine (voxel index to RAS mm), its three rows.
pub type Affine = [[f64; 4]; 3];

/// A NIfTI volume as DICOM-like planes: array index i counts columns, j rows, k slices.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VolumeGeometry {
    /// The plane of every slice.
    pub plane: Plane,
    /// Position of slice 0.
    pub first_position: Vector,
    /// From one slice to the next.
    pub slice_step: Vector,
}

impl VolumeGeometry {
    /// Turns RAS to LPS by negating x and y. `None` when the in-plane axes are degenerate or not perpendicular within 1 %.
    pub fn from_affine(affine: &Affine) -> Option<Self> {
        let lps = |column: usize| [-affine[0][column], -affine[1][column], affine[2][column]];
        let (i, j) = (lps(0), lps(1));
        let (row, column) = (unit(i)?, unit(j)?);
        let orientation = [row[0], row[1], row[2], column[0], column[1], column[2]];
        let plane = Plane::new(orientation, [norm(j), norm(i)])?;
        Some(Self { plane, first_position: lps(3), slice_step: lps(2) })
    }
}

/// The middle value; the mean of the two middle ones for an even count; `None` for none.
pub fn median(values: &mut [f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    Some(if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: an axial plane, PixelSpacing 2\1: rows 2 mm apart, columns 1 mm apart.
    #[test]
    fn the_first_pixel_spacing_is_the_distance_of_rows() {
        let plane = Plane::new([1.0, 0.0, 0.0, 0.0, 1.0, 0.0], [2.0, 1.0]).unwrap();
        assert_eq!(plane.point([10.0, 20.0, 30.0], 3.0, 5.0), [15.0, 26.0, 30.0]);
        assert_eq!(plane.normal(), [0.0, 0.0, 1.0]);
    }

    #[test]
    fn axes_that_are_no_axes_are_refused() {
        assert!(Plane::new([1.0, 0.0, 0.0, 1.0, 0.0, 0.0], [1.0, 1.0]).is_none());
        assert!(Plane::new([0.0; 6], [1.0, 1.0]).is_none());
        assert!(Plane::new([1.0, 0.0, 0.0, 0.0, 1.0, 0.0], [0.0, 1.0]).is_none());
        assert!(Plane::new([f64::NAN; 6], [1.0, 1.0]).is_none());
    }

    /// By hand: identity in RAS looks from patient right to left and back to front: negated x and y in LPS.
    #[test]
    fn a_ras_affine_becomes_lps_by_negating_x_and_y() {
        let affine = [[2.0, 0.0, 0.0, 5.0], [0.0, 3.0, 0.0, 6.0], [0.0, 0.0, 4.0, 7.0]];
        let volume = VolumeGeometry::from_affine(&affine).unwrap();
        assert_eq!(volume.plane.row, [-1.0, 0.0, 0.0]);
        assert_eq!(volume.plane.column, [0.0, -1.0, 0.0]);
        assert_eq!((volume.plane.row_spacing_mm, volume.plane.column_spacing_mm), (3.0, 2.0));
        assert_eq!((volume.first_position, volume.slice_step), ([-5.0, -6.0, 7.0], [0.0, 0.0, 4.0]));
    }

    #[test]
    fn the_median_of_an_even_count_is_the_mean_of_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0, 10.0]), Some(2.5));
        assert_eq!(median(&mut []), None);
    }
}
