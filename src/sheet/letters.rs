//! Where the edges of an image look to in the patient: R, L, A, P, H (head, superior) and F (feet, inferior).

use crate::geometry::{Vector, scale};

/// A letter is written for every patient axis within 70 degrees of a direction: cos 70. One letter for a near-cardinal plane, two or
/// three for an oblique one.
const NEAR: f64 = 0.342;

/// Letters of the ends of the LPS axes: negative, positive.
const ENDS: [(char, char); 3] = [('R', 'L'), ('A', 'P'), ('F', 'H')];

/// The letters of a direction, the nearest axis first; empty for a direction that is none.
pub fn towards(direction: Vector) -> String {
    let mut parts: Vec<(f64, char)> = direction
        .iter()
        .zip(ENDS)
        .map(|(&part, (negative, positive))| (part.abs(), if part < 0.0 { negative } else { positive }))
        .filter(|(size, _)| *size >= NEAR)
        .collect();
    // Stable: equal parts stay in the order x, y, z.
    parts.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    parts.into_iter().map(|(_, letter)| letter).collect()
}

/// The letters of an image's four edges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edges {
    /// Low column indices.
    pub left: String,
    /// High column indices.
    pub right: String,
    /// Low row indices.
    pub top: String,
    /// High row indices.
    pub bottom: String,
}

impl Edges {
    /// Of an image shown as stored: `row` runs to the right, `column` down.
    pub fn of(row: Vector, column: Vector) -> Self {
        let opposite = |direction| towards(scale(direction, -1.0));
        Self { left: opposite(row), right: towards(row), top: opposite(column), bottom: towards(column) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(row: Vector, column: Vector) -> [String; 4] {
        let Edges { left, right, top, bottom } = Edges::of(row, column);
        [left, right, top, bottom]
    }

    /// By hand, from the usual hanging of each plane: axial seen from the feet, coronal from the front, sagittal from the left.
    #[test]
    fn the_three_cardinal_planes_hang_as_radiographers_know_them() {
        let (x, y, down) = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]);
        assert_eq!(edges(x, y), ["R", "L", "A", "P"]);
        assert_eq!(edges(x, down), ["R", "L", "H", "F"]);
        assert_eq!(edges(y, down), ["A", "P", "H", "F"]);
    }

    /// ImageOrientationPatient of Sunnybrook SCD0000301, as pydicom reads it. By hand: the row has 44.6 degrees to left, 45.5 to
    /// posterior and 92 to the feet; the column 24 to the feet, 72 to right and 74.5 to posterior.
    #[test]
    fn an_oblique_plane_has_the_letters_of_all_near_axes_the_nearest_first() {
        let row = [0.712_221, 0.701_112, -0.034_394_9];
        let column = [-0.307_715, 0.267_798, -0.913_015];
        assert_eq!(edges(row, column), ["RA", "LP", "H", "F"]);
    }

    #[test]
    fn no_direction_has_no_letters() {
        assert_eq!(towards([0.0; 3]), "");
        assert_eq!(towards([f64::NAN; 3]), "");
    }
}
