//! One synthetic person: heart, chest, and where and how the heart lies in the scanner (LPS, mm).

use super::anatomy::{Heart, Phenotype};
use super::random::Stream;
use super::thorax::{Texture, Thorax};

/// A vector in LPS, mm or unit length.
pub type Vector = [f64; 3];

/// The usual short axis: image right, image down and toward the base, as a GE short-axis protocol of a healthy adult has them.
const USUAL_AXES: [Vector; 3] = [[0.712, 0.701, -0.034], [-0.308, 0.268, -0.913], [-0.631, 0.661, 0.407]];

/// A person as the scanner sees one.
#[derive(Debug, Clone)]
pub struct Person {
    /// The heart.
    pub heart: Heart,
    /// The chest.
    pub thorax: Thorax,
    /// Grain of the tissues.
    pub texture: Texture,
    /// Middle of the end-diastolic left-ventricular cavity.
    pub centre_mm: Vector,
    /// The heart's x, y and z directions: away from the septum, downward, toward the base.
    pub axes: [Vector; 3],
}

impl Person {
    /// Draws a person; position and orientation do not depend on the phenotype.
    pub fn draw(phenotype: &Phenotype, seed: u64, id: &str) -> Self {
        let mut place = Stream::new(seed, id, "place");
        let tilt = [(); 3].map(|()| place.truncated_normal(0.0, 7.0, 2.0) * std::f64::consts::PI / 180.0);
        let centre_mm = [place.uniform(-5.0, 45.0), place.uniform(-55.0, 5.0), place.uniform(-45.0, 45.0)];
        Self {
            heart: Heart::draw(phenotype, &mut Stream::new(seed, id, "heart")),
            thorax: Thorax::draw(&mut Stream::new(seed, id, "thorax")),
            texture: Texture::draw(&mut Stream::new(seed, id, "texture")),
            centre_mm,
            axes: orthonormal(USUAL_AXES.map(|axis| rotated(axis, tilt))),
        }
    }

    /// A point of the heart's coordinates in LPS.
    pub fn to_patient(&self, heart_mm: Vector) -> Vector {
        let mut point = self.centre_mm;
        for (axis, length) in self.axes.iter().zip(heart_mm) {
            point = along(point, *axis, length);
        }
        point
    }

    /// A point of LPS in the heart's coordinates.
    pub fn to_heart(&self, point_mm: Vector) -> Vector {
        let from_centre = minus(point_mm, self.centre_mm);
        self.axes.map(|axis| dot(axis, from_centre))
    }

    /// A direction of LPS in the heart's axes.
    pub fn direction_to_heart(&self, direction: Vector) -> Vector {
        self.axes.map(|axis| dot(axis, direction))
    }
}

/// Scalar product.
pub fn dot(a: Vector, b: Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Vector product.
pub fn cross(a: Vector, b: Vector) -> Vector {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// `a - b`.
pub fn minus(a: Vector, b: Vector) -> Vector {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

/// The point at `length` from `start` along `direction`.
pub fn along(start: Vector, direction: Vector, length: f64) -> Vector {
    [start[0] + length * direction[0], start[1] + length * direction[1], start[2] + length * direction[2]]
}

/// `direction` at unit length.
pub fn unit(direction: Vector) -> Vector {
    let length = libm::sqrt(dot(direction, direction));
    direction.map(|value| value / length)
}

/// Turns about x, then y, then z by angles in radians.
fn rotated(vector: Vector, angles: Vector) -> Vector {
    let mut turned = vector;
    for (axis, angle) in angles.into_iter().enumerate() {
        let (cosine, sine) = (libm::cos(angle), libm::sin(angle));
        let (i, j) = ((axis + 1) % 3, (axis + 2) % 3);
        (turned[i], turned[j]) = (cosine * turned[i] - sine * turned[j], sine * turned[i] + cosine * turned[j]);
    }
    turned
}

/// Gram and Schmidt on the first two; the third is their vector product.
fn orthonormal(axes: [Vector; 3]) -> [Vector; 3] {
    let first = unit(axes[0]);
    let second = unit(along(axes[1], first, -dot(axes[1], first)));
    [first, second, cross(first, second)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heart_and_patient_coordinates_are_inverse() {
        let phenotype = Phenotype { edv_ml: 150.0, ejection_fraction: 0.6, wall_max_mm: 10.0, asymmetry: 0.3 };
        for id in ["a", "b", "c"] {
            let person = Person::draw(&phenotype, 1, id);
            let back = person.to_heart(person.to_patient([10.0, -20.0, 30.0]));
            assert!(back.iter().zip([10.0, -20.0, 30.0]).all(|(a, b)| (a - b).abs() < 1e-9));
            // Toward the base is up, back and to the patient's right; the septum is to the right of the lateral wall.
            let [x, _, z] = person.axes;
            assert!(z[0] < 0.0 && z[1] > 0.0 && z[2] > 0.0 && x[0] > 0.0);
        }
    }
}
