//! From a person and an image plane to stored pixel values: tissue with partial volume, coil, k-space, noise, display curve.
//!
//! Axes: images are row-major, `[rows, columns]`; planes are given in LPS, mm. The order of effects is that of a scanner: signal x
//! coil sensitivity, complex noise, limited k-space, magnitude (so that noise is Rician), display curve, scaling to 12 bits.

use super::anatomy::{Beat, Heart};
use super::person::{Person, Vector, along, cross, dot, minus};
use super::random::Stream;
use super::scanner::Look;

/// Farthest pixel that the point-spread function reaches.
const PSF_RADIUS: usize = 5;
/// Largest stored value: 12 bits.
const LARGEST_STORED: f64 = 4095.0;

/// Stored values of one image, row-major.
pub type Image = Vec<u16>;
/// The images of one position, by phase.
pub type Cine = Vec<Image>;

/// An image plane: `origin` is the centre of the first pixel, `row` the direction of increasing column index.
#[derive(Debug, Clone)]
pub struct Plane {
    /// Centre of the first pixel.
    pub origin_mm: Vector,
    /// Unit vector of increasing column index.
    pub row: Vector,
    /// Unit vector of increasing row index.
    pub column: Vector,
    /// Distance of adjacent rows.
    pub spacing_row_mm: f64,
    /// Distance of adjacent columns.
    pub spacing_column_mm: f64,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// Slice thickness.
    pub thickness_mm: f64,
}

impl Plane {
    /// row x column.
    pub fn normal(&self) -> Vector {
        cross(self.row, self.column)
    }

    /// The point at fractional pixel indices.
    pub fn point(&self, row: f64, column: f64) -> Vector {
        along(along(self.origin_mm, self.row, column * self.spacing_column_mm), self.column, row * self.spacing_row_mm)
    }

    /// Fractional (row, column) of a point's projection onto the plane.
    pub fn pixel(&self, point_mm: Vector) -> (f64, f64) {
        let from_origin = minus(point_mm, self.origin_mm);
        (dot(from_origin, self.column) / self.spacing_row_mm, dot(from_origin, self.row) / self.spacing_column_mm)
    }

    /// The same plane moved along its normal.
    pub fn moved(&self, along_normal_mm: f64) -> Self {
        Self { origin_mm: along(self.origin_mm, self.normal(), along_normal_mm), ..self.clone() }
    }
}

/// One examination's draw of its scanner's appearance.
#[derive(Debug, Clone)]
pub struct Session {
    look: Look,
    /// Where the surface coil is strongest, from the heart's centre, mm.
    coil_mm: Vector,
    kernel: Vec<f32>,
    /// Noise before k-space is cut, relative to blood.
    noise: f64,
}

impl Session {
    /// Draws the small differences between examinations on one scanner.
    pub fn draw(look: &Look, rng: &mut Stream) -> Self {
        let mut look = look.clone();
        for signal in &mut look.signal {
            *signal *= rng.truncated_normal(1.0, 0.05, 2.0);
        }
        look.noise *= rng.uniform(0.85, 1.2);
        look.coil_fall_off *= rng.uniform(0.85, 1.1);
        look.full_scale *= rng.uniform(0.8, 1.25);
        look.texture *= rng.uniform(0.8, 1.2);
        let kernel = point_spread(look.acquired_share, look.apodisation);
        // White noise through the separable kernel loses this much: both passes, sum of squares each.
        let kept: f64 = kernel.iter().map(|tap| f64::from(*tap) * f64::from(*tap)).sum();
        let noise = look.noise / kept;
        let coil_mm = [rng.uniform(-30.0, 30.0), rng.uniform(-120.0, -90.0), rng.uniform(-30.0, 30.0)];
        Self { look, coil_mm, kernel, noise }
    }

    fn sensitivity(&self, from_heart: Vector) -> f64 {
        let away = minus(from_heart, self.coil_mm);
        let distance = libm::sqrt(dot(away, away)) / 105.0;
        1.0 + self.look.coil_fall_off * (1.6 / (0.4 + distance * distance) - 1.0)
    }
}

/// Point-spread function of a k-space cut to `share` of its width with a raised-cosine window, sampled at pixels; sums to 1.
fn point_spread(share: f64, apodisation: f64) -> Vec<f32> {
    let sinc =
        |x: f64| if x.abs() < 1e-9 { 1.0 } else { libm::sin(std::f64::consts::PI * x) / (std::f64::consts::PI * x) };
    let taps: Vec<f64> = (-(PSF_RADIUS as i32)..=PSF_RADIUS as i32)
        .map(|offset| {
            let x = share * f64::from(offset);
            let spread = (1.0 - apodisation) * sinc(x) + 0.5 * apodisation * (sinc(x + 1.0) + sinc(x - 1.0));
            // The tails beyond the radius are let run out rather than cut.
            let taper = libm::cos(0.5 * std::f64::consts::PI * f64::from(offset) / (PSF_RADIUS as f64 + 1.0));
            spread * taper
        })
        .collect();
    let sum: f64 = taps.iter().sum();
    taps.iter().map(|tap| (tap / sum) as f32).collect()
}

/// Renders the plane at every given fraction of the beat; each image has rows x columns stored values of at most 12 bits.
pub fn render(person: &Person, session: &Session, plane: &Plane, fractions: &[f64], rng: &mut Stream) -> Cine {
    let still = Still::new(person, session, plane);
    let mut workspace = Workspace::new(plane);
    fractions
        .iter()
        .map(|&fraction| {
            still.signal(person.heart.at(fraction), &session.look, &mut workspace.signal);
            workspace.expose(session, rng)
        })
        .collect()
}

/// What does not move: the chest, the coil, the grain, and which pixels the heart may reach.
struct Still {
    chest: Vec<f32>,
    /// Coil x grain.
    gain: Vec<f32>,
    /// Pixels that the heart may reach, with their position in heart coordinates.
    reached: Vec<(usize, Vector)>,
    /// Offsets of the sub-samples of a pixel in heart coordinates.
    offsets: Vec<Vector>,
}

impl Still {
    fn new(person: &Person, session: &Session, plane: &Plane) -> Self {
        let count = plane.rows * plane.columns;
        let mut still = Self {
            chest: Vec::with_capacity(count),
            gain: Vec::with_capacity(count),
            reached: Vec::new(),
            offsets: sub_samples(person, plane),
        };
        for row in 0..plane.rows {
            for column in 0..plane.columns {
                let point = plane.point(row as f64, column as f64);
                let from_heart = minus(point, person.centre_mm);
                still.chest.push(chest_signal(person, session, plane, from_heart));
                let cell = session.look.texture_cell_mm;
                let grain = person.texture.at(point[0] / cell, point[1] / cell, point[2] / cell);
                still.gain.push((session.sensitivity(from_heart) * (1.0 + session.look.texture * grain)) as f32);
                let in_heart = person.to_heart(point);
                if may_hold_heart(&person.heart, in_heart) {
                    still.reached.push((still.chest.len() - 1, in_heart));
                }
            }
        }
        still
    }

    /// Signal of every pixel at one moment.
    fn signal(&self, beat: Beat<'_>, look: &Look, target: &mut [f32]) {
        target.copy_from_slice(&self.chest);
        let share = 1.0 / self.offsets.len() as f64;
        for &(index, centre) in &self.reached {
            let chest = f64::from(self.chest[index]);
            let sum: f64 = self
                .offsets
                .iter()
                .map(|offset| {
                    let tissue = beat.tissue(centre[0] + offset[0], centre[1] + offset[1], centre[2] + offset[2]);
                    tissue.map_or(chest, |tissue| look.signal[tissue as usize])
                })
                .sum();
            target[index] = (sum * share) as f32;
        }
        for (value, gain) in target.iter_mut().zip(&self.gain) {
            *value *= gain;
        }
    }
}

fn may_hold_heart(heart: &Heart, [x, y, z]: Vector) -> bool {
    let ((x0, y0), radius) = heart.bounding_circle_mm();
    let (low, high) = heart.bounding_z_mm();
    (low..high).contains(&z) && (x - x0) * (x - x0) + (y - y0) * (y - y0) < radius * radius
}

/// Two by two in the plane and two through the slice.
fn sub_samples(person: &Person, plane: &Plane) -> Vec<Vector> {
    let normal = plane.normal();
    let mut offsets = Vec::new();
    for through in [-0.25, 0.25] {
        for down in [-0.25, 0.25] {
            for right in [-0.25, 0.25] {
                let offset = along([0.0; 3], plane.row, right * plane.spacing_column_mm);
                let offset = along(offset, plane.column, down * plane.spacing_row_mm);
                offsets.push(person.direction_to_heart(along(offset, normal, through * plane.thickness_mm)));
            }
        }
    }
    offsets
}

/// Signal of the chest at a pixel, averaged over four points of it.
fn chest_signal(person: &Person, session: &Session, plane: &Plane, centre: Vector) -> f32 {
    let mut sum = 0.0;
    for (down, right) in [(-0.25, -0.25), (-0.25, 0.25), (0.25, -0.25), (0.25, 0.25)] {
        let point = along(centre, plane.row, right * plane.spacing_column_mm);
        let [left, posterior, superior] = along(point, plane.column, down * plane.spacing_row_mm);
        sum += session.look.signal[person.thorax.tissue(left, posterior, superior) as usize];
    }
    (0.25 * sum) as f32
}

/// Buffers of one plane, used again for every phase.
struct Workspace {
    rows: usize,
    columns: usize,
    signal: Vec<f32>,
    noise: Vec<f32>,
    imaginary: Vec<f32>,
    between: Vec<f32>,
}

impl Workspace {
    fn new(plane: &Plane) -> Self {
        let buffer = || vec![0.0; plane.rows * plane.columns];
        Self {
            rows: plane.rows,
            columns: plane.columns,
            signal: buffer(),
            noise: buffer(),
            imaginary: buffer(),
            between: buffer(),
        }
    }

    /// Noise, k-space, magnitude, display curve and scaling of the signal.
    fn expose(&mut self, session: &Session, rng: &mut Stream) -> Image {
        let noise = session.noise as f32;
        rng.fill_noise(&mut self.noise);
        rng.fill_noise(&mut self.imaginary);
        for (value, grain) in self.signal.iter_mut().zip(&self.noise) {
            *value += noise * grain;
        }
        for value in &mut self.imaginary {
            *value *= noise;
        }
        let (rows, columns) = (self.rows, self.columns);
        convolve(&mut self.signal, &mut self.between, &session.kernel, (rows, columns));
        convolve(&mut self.imaginary, &mut self.between, &session.kernel, (rows, columns));
        let look = &session.look;
        let curve = Curve::new(look.gamma);
        self.signal
            .iter()
            .zip(&self.imaginary)
            .map(|(real, imaginary)| {
                let magnitude = f64::from((real * real + imaginary * imaginary).sqrt());
                (look.full_scale * curve.at(magnitude) + 0.5).clamp(0.0, LARGEST_STORED) as u16
            })
            .collect()
    }
}

/// The display curve x^gamma, from a table: a power per pixel would cost more than all the rest.
struct Curve(Vec<f64>);

impl Curve {
    const STEPS_PER_UNIT: f64 = 512.0;
    const LARGEST: f64 = 8.0;

    fn new(gamma: f64) -> Self {
        let steps = (Self::STEPS_PER_UNIT * Self::LARGEST) as u32 + 1;
        Self((0..=steps).map(|step| libm::pow(f64::from(step) / Self::STEPS_PER_UNIT, gamma)).collect())
    }

    fn at(&self, value: f64) -> f64 {
        let step = (value * Self::STEPS_PER_UNIT).min(Self::STEPS_PER_UNIT * Self::LARGEST);
        let index = step as usize;
        self.0[index] + (step - index as f64) * (self.0[index + 1] - self.0[index])
    }
}

/// Separable convolution in place; pixels beyond the edge repeat the edge.
fn convolve(image: &mut [f32], between: &mut [f32], kernel: &[f32], (rows, columns): (usize, usize)) {
    for (source, target) in image.chunks_exact(columns).zip(between.chunks_exact_mut(columns)) {
        target.fill(0.0);
        for (tap, &weight) in kernel.iter().enumerate() {
            add_shifted(source, target, weight, tap as isize - PSF_RADIUS as isize);
        }
    }
    image.fill(0.0);
    for (row, target) in image.chunks_exact_mut(columns).enumerate() {
        for (tap, &weight) in kernel.iter().enumerate() {
            let source = (row + tap).saturating_sub(PSF_RADIUS).min(rows - 1);
            for (value, from) in target.iter_mut().zip(&between[source * columns..]) {
                *value += weight * from;
            }
        }
    }
}

/// `target[i] += weight * source[i + shift]`, the source's ends repeated.
fn add_shifted(source: &[f32], target: &mut [f32], weight: f32, shift: isize) {
    let count = source.len();
    let distance = shift.unsigned_abs().min(count);
    let (Some(&first), Some(&last)) = (source.first(), source.last()) else { return };
    let (inner, outer, from, edge) = if shift >= 0 {
        (0..count - distance, count - distance..count, &source[distance..], last)
    } else {
        (distance..count, 0..distance, source, first)
    };
    for (value, from) in target[inner].iter_mut().zip(from) {
        *value += weight * from;
    }
    for value in &mut target[outer] {
        *value += weight * edge;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_convolution_keeps_an_even_image_and_spreads_a_point_by_the_kernel() {
        let kernel = point_spread(0.7, 0.3);
        let (rows, columns) = (15, 17);
        let mut between = vec![0.0; rows * columns];
        let mut even = vec![3.0; rows * columns];
        convolve(&mut even, &mut between, &kernel, (rows, columns));
        assert!(even.iter().all(|value| (value - 3.0).abs() < 1e-5));
        let mut point = vec![0.0; rows * columns];
        point[7 * columns + 8] = 1.0;
        convolve(&mut point, &mut between, &kernel, (rows, columns));
        for (row, column) in [(7, 8), (6, 10), (2, 3)] {
            let expected = kernel[row + PSF_RADIUS - 7] * kernel[column + PSF_RADIUS - 8];
            assert!((point[row * columns + column] - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn a_smaller_share_of_k_space_spreads_further() {
        let width = |share| point_spread(share, 0.46).iter().map(|tap| tap * tap).sum::<f32>();
        assert!(width(0.95) > width(0.75) && width(0.75) > width(0.55));
    }

    #[test]
    fn the_curve_is_a_power_within_a_grey_level() {
        let curve = Curve::new(0.85);
        for value in [0.01, 0.2, 0.9999, 1.0, 2.3, 7.9] {
            assert!((curve.at(value) - libm::pow(value, 0.85)).abs() < 1e-3);
        }
        assert!(curve.at(100.0) <= libm::pow(8.01, 0.85));
    }

    #[test]
    fn pixel_and_point_are_inverse() {
        let plane = Plane {
            origin_mm: [10.0, -20.0, 30.0],
            row: [0.6, 0.8, 0.0],
            column: [0.0, 0.0, -1.0],
            spacing_row_mm: 2.0,
            spacing_column_mm: 1.5,
            rows: 10,
            columns: 12,
            thickness_mm: 8.0,
        };
        let (row, column) = plane.pixel(plane.point(3.25, 7.5));
        assert!((row - 3.25).abs() < 1e-12 && (column - 7.5).abs() < 1e-12);
        let (row, column) = plane.moved(16.0).pixel(plane.point(3.25, 7.5));
        assert!((row - 3.25).abs() < 1e-12 && (column - 7.5).abs() < 1e-12);
    }
}
