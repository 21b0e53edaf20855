//! The chest around the heart, which stands still: body wall, lungs, spine, aorta, liver; patient axes (LPS) relative to the heart.
//!
//! Nothing here depends on the diagnosis: image corners must not give it away.

use super::anatomy::Tissue;
use super::random::Stream;

/// One person's chest.
#[derive(Debug, Clone)]
pub struct Thorax {
    /// From the body's axis to the heart's centre, mm left and posterior.
    heart_left_mm: f64,
    heart_posterior_mm: f64,
    half_width_mm: f64,
    half_depth_mm: f64,
    fat_mm: f64,
    muscle_mm: f64,
    /// Height of the right diaphragm's dome relative to the heart's centre, mm (negative: below).
    dome_mm: f64,
    rib_phase_mm: f64,
}

impl Thorax {
    /// Draws a chest.
    pub fn draw(rng: &mut Stream) -> Self {
        Self {
            heart_left_mm: rng.uniform(18.0, 38.0),
            heart_posterior_mm: rng.uniform(-34.0, -18.0),
            half_width_mm: rng.uniform(150.0, 185.0),
            half_depth_mm: rng.uniform(104.0, 128.0),
            fat_mm: rng.uniform(8.0, 28.0),
            muscle_mm: rng.uniform(13.0, 20.0),
            dome_mm: rng.uniform(-38.0, -18.0),
            rib_phase_mm: rng.uniform(0.0, 26.0),
        }
    }

    /// The tissue at a point given in mm left, posterior and superior of the heart's centre.
    pub fn tissue(&self, left: f64, posterior: f64, superior: f64) -> Tissue {
        let (x, y, z) = (left + self.heart_left_mm, posterior + self.heart_posterior_mm, superior);
        let (a, b) = (self.half_width_mm, self.half_depth_mm);
        let rho = libm::sqrt((x / a) * (x / a) + (y / b) * (y / b));
        if rho >= 1.0 {
            return Tissue::Air;
        }
        // Depth under the skin along the ray from the body's axis, mm.
        let from_axis = libm::sqrt(x * x + y * y);
        let depth = if rho > 1e-6 { from_axis * (1.0 / rho - 1.0) } else { a };
        if depth < self.fat_mm {
            return Tissue::Fat;
        }
        if depth < self.fat_mm + self.muscle_mm {
            return self.chest_wall(depth - self.fat_mm, x, z);
        }
        self.inside(x, y, z)
    }

    fn chest_wall(&self, depth: f64, x: f64, z: f64) -> Tissue {
        // Ribs run downward to the front: their height depends on x.
        let along = z + 0.25 * x.abs() + self.rib_phase_mm;
        let within = along - 26.0 * libm::floor(along / 26.0);
        match depth {
            d if d < 4.0 || d > self.muscle_mm - 2.0 => Tissue::Muscle,
            _ if within < 2.0 || (10.0..12.0).contains(&within) => Tissue::Bone,
            _ if within < 10.0 => Tissue::Marrow,
            _ => Tissue::Muscle,
        }
    }

    fn inside(&self, x: f64, y: f64, z: f64) -> Tissue {
        let back = self.half_depth_mm;
        let circle = |x0: f64, y0: f64| libm::sqrt((x - x0) * (x - x0) + (y - y0) * (y - y0));
        match circle(0.0, back - 46.0) {
            d if d < 19.0 => return Tissue::Marrow,
            d if d < 22.0 => return Tissue::Bone,
            _ => {}
        }
        match circle(22.0, back - 76.0) {
            d if d < 10.5 => return Tissue::Blood,
            d if d < 12.5 => return Tissue::Muscle,
            _ => {}
        }
        if z < self.diaphragm_mm(x, y) {
            return self.abdomen(x, y, z);
        }
        // Mediastinum: a waist of fat and muscle between the lungs, wider at the front and around the heart's foot.
        let half = 20.0 + 0.10 * y.abs();
        match x.abs() {
            d if d < half - 6.0 => Tissue::Fat,
            d if d < half => Tissue::Muscle,
            _ => Tissue::Lung,
        }
    }

    /// Height of the diaphragm: a dome on each side, the right one higher.
    fn diaphragm_mm(&self, x: f64, y: f64) -> f64 {
        let dome = |x0: f64, top: f64| {
            let (dx, dy) = ((x - x0) / 90.0, (y - 5.0) / 95.0);
            top - 55.0 * (dx * dx + dy * dy)
        };
        dome(-65.0, self.dome_mm + 14.0).max(dome(60.0, self.dome_mm - 8.0))
    }

    fn abdomen(&self, x: f64, y: f64, z: f64) -> Tissue {
        let (dx, dy, dz) = (x - 55.0, y + 10.0, z - self.dome_mm + 52.0);
        let stomach = libm::sqrt((dx / 38.0) * (dx / 38.0) + (dy / 40.0) * (dy / 40.0) + (dz / 34.0) * (dz / 34.0));
        match stomach {
            d if d < 0.92 => Tissue::Air,
            d if d < 1.0 => Tissue::Muscle,
            _ if x > 48.0 && y < 20.0 => Tissue::Fat,
            _ => Tissue::Liver,
        }
    }
}

/// A smooth random texture, periodic in 32 cells each way, in -1 to 1: vessels, trabeculae and grain that no outline shows.
#[derive(Debug, Clone)]
pub struct Texture(Vec<f32>);

const CELLS: usize = 32;

impl Texture {
    /// Draws a texture.
    pub fn draw(rng: &mut Stream) -> Self {
        Self((0..CELLS * CELLS * CELLS).map(|_| rng.uniform(-1.0, 1.0) as f32).collect())
    }

    /// The texture at a point given in cells: trilinear between the cells' corners.
    pub fn at(&self, x: f64, y: f64, z: f64) -> f64 {
        let split = |value: f64| {
            let floor = libm::floor(value);
            let cell = (floor - CELLS as f64 * libm::floor(floor / CELLS as f64)) as usize % CELLS;
            (cell, (cell + 1) % CELLS, value - floor)
        };
        let ((x0, x1, fx), (y0, y1, fy), (z0, z1, fz)) = (split(x), split(y), split(z));
        let corner = |x: usize, y: usize, z: usize| f64::from(self.0[(z * CELLS + y) * CELLS + x]);
        let along_x = |y, z| corner(x0, y, z) + fx * (corner(x1, y, z) - corner(x0, y, z));
        let along_y = |z| along_x(y0, z) + fy * (along_x(y1, z) - along_x(y0, z));
        along_y(z0) + fz * (along_y(z1) - along_y(z0))
    }
}
