//! The beating heart in its own coordinates: which tissue is at (x, y, z) mm at a moment of the cycle.
//!
//! Heart axes: z along the long axis from apex to base, x in the short-axis plane away from the septum (to the patient's left and
//! back), y downward (inferior); the origin is the middle of the end-diastolic left-ventricular cavity. The cavity is half an
//! ellipsoid cut by the valve plane: its volume is 2/3 pi r^2 L exactly, so that the true volumes and the ejection fraction are
//! known; the myocardium keeps its volume and so thickens in systole. The thorax around the heart is `thorax`'s.

use std::f64::consts::PI;

use super::random::Stream;

/// What a point in the chest is made of; its signal depends on the scanner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tissue {
    /// Outside the body.
    Air,
    /// Blood, in chambers and great vessels.
    Blood,
    /// Heart muscle, papillary muscles, leaflets.
    Myocardium,
    /// Subcutaneous and pericardial fat.
    Fat,
    /// Aerated lung.
    Lung,
    /// Skeletal muscle.
    Muscle,
    /// Liver and spleen.
    Liver,
    /// Cortical bone, pericardium.
    Bone,
    /// Bone marrow.
    Marrow,
}

/// Number of tissues; indexes signal tables by `tissue as usize`.
pub const TISSUES: usize = 9;

/// In-plane distance of the wall at the apex as a share of the mean lateral wall.
const APEX_WALL_SHARE: f64 = 0.6;
/// Fraction of the cycle at which the cavity is smallest.
const END_SYSTOLE: f64 = 0.35;

/// One person's heart.
#[derive(Debug, Clone)]
pub struct Heart {
    /// End-diastolic volume of the left ventricle, ml.
    pub edv_ml: f64,
    /// End-systolic volume, ml.
    pub esv_ml: f64,
    /// Largest end-diastolic wall thickness in the short-axis plane at the base, mm.
    pub wall_max_mm: f64,
    /// Duration of a beat, ms.
    pub rr_ms: f64,
    /// Cavity length from valve plane to apex at end-diastole, mm.
    pub length_mm: f64,
    /// Descent of the valve plane in systole, mm.
    descent_mm: f64,
    /// Thickest wall = (1 + asymmetry) x the thinnest.
    asymmetry: f64,
    /// Direction of the thickest wall, unit vector in the short-axis plane.
    thickest: (f64, f64),
    /// x semi-axis = ellipticity x the round radius, y semi-axis = the round radius / ellipticity.
    ellipticity: f64,
    /// Cosine and sine amplitudes of 3rd to 6th harmonics of the endocardial outline, relative.
    trabeculae: [(f64, f64); 4],
    papillaries: [Papillary; 2],
    rv_width_mm: f64,
    rv_offset_y_mm: f64,
    fat_mm: f64,
    fat_direction: (f64, f64),
}

#[derive(Debug, Clone, Copy)]
struct Papillary {
    direction: (f64, f64),
    radius_mm: f64,
}

/// What the diagnosis decides about a heart; the rest is drawn alike for everyone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Phenotype {
    /// End-diastolic volume, ml.
    pub edv_ml: f64,
    /// Ejection fraction, 0 to 1.
    pub ejection_fraction: f64,
    /// Largest end-diastolic wall thickness, mm.
    pub wall_max_mm: f64,
    /// Relative excess of the thickest wall over the thinnest.
    pub asymmetry: f64,
}

impl Heart {
    /// Draws everything that the phenotype leaves open.
    pub fn draw(phenotype: &Phenotype, rng: &mut Stream) -> Self {
        let round_length = 84.0 * libm::cbrt(phenotype.edv_ml / 140.0);
        let mut papillary = |degrees: f64| Papillary {
            direction: direction(degrees + rng.uniform(-14.0, 14.0)),
            radius_mm: rng.uniform(3.2, 5.0),
        };
        let papillaries = [papillary(-40.0), papillary(65.0)];
        let mut harmonic = || {
            let (amplitude, phase) = (rng.uniform(0.0, 0.022), rng.uniform(0.0, 360.0));
            let (cosine, sine) = direction(phase);
            (amplitude * cosine, amplitude * sine)
        };
        let trabeculae = [harmonic(), harmonic(), harmonic(), harmonic()];
        Self {
            edv_ml: phenotype.edv_ml,
            esv_ml: phenotype.edv_ml * (1.0 - phenotype.ejection_fraction),
            wall_max_mm: phenotype.wall_max_mm,
            rr_ms: rng.truncated_normal(880.0, 110.0, 2.2),
            length_mm: round_length * rng.uniform(0.95, 1.06),
            descent_mm: (25.0 * phenotype.ejection_fraction).clamp(4.0, 15.0) * rng.uniform(0.85, 1.1),
            asymmetry: phenotype.asymmetry,
            thickest: direction(180.0 + rng.uniform(-45.0, 60.0)),
            ellipticity: rng.uniform(0.95, 1.05),
            trabeculae,
            papillaries,
            rv_width_mm: rng.uniform(29.0, 40.0),
            rv_offset_y_mm: rng.uniform(-8.0, 3.0),
            fat_mm: rng.uniform(1.5, 5.5),
            fat_direction: direction(rng.uniform(90.0, 260.0)),
        }
    }

    /// Ejection fraction, 0 to 1.
    pub fn ejection_fraction(&self) -> f64 {
        1.0 - self.esv_ml / self.edv_ml
    }

    /// Left-ventricular volume in ml at `fraction` (0 to 1) of the beat, which starts at end-diastole.
    pub fn volume_ml(&self, fraction: f64) -> f64 {
        self.esv_ml + (self.edv_ml - self.esv_ml) * filling(fraction)
    }

    /// The heart at `fraction` (0 to 1) of its beat.
    pub fn at(&self, fraction: f64) -> Beat<'_> {
        let emptied = 1.0 - filling(fraction);
        let diastole = Shell::new(self.edv_ml, self.length_mm);
        let wall_mm = self.wall_max_mm / (1.0 + self.asymmetry);
        let muscle = diastole.grown(wall_mm).cubed() - diastole.cubed();
        let cavity = Shell::new(self.volume_ml(fraction), self.length_mm - self.descent_mm * emptied);
        let wall_now_mm = cavity.wall_for(muscle);
        let outside = cavity.grown(wall_now_mm);
        let diastolic_outside = diastole.grown(wall_mm);
        Beat {
            heart: self,
            base_z_mm: self.length_mm / 2.0 - self.descent_mm * emptied,
            cavity,
            outside,
            rv_outline_mm: diastolic_outside.radius_mm,
            rv_width_mm: self.rv_width_mm * (1.0 - 0.38 * emptied),
            atria_scale: 1.0 + 0.12 * emptied,
        }
    }

    /// Centre and radius, in the short-axis plane, of a circle that holds the whole heart at every moment, mm.
    pub fn bounding_circle_mm(&self) -> ((f64, f64), f64) {
        let outline = self.at(0.0).outside.radius_mm * (1.0 + self.asymmetry) + 3.0;
        ((-self.rv_width_mm / 2.0, 0.0), outline.max(36.0) + self.rv_width_mm / 2.0 + self.fat_mm + 6.0)
    }

    /// Range of z that holds the heart with its atria, mm.
    pub fn bounding_z_mm(&self) -> (f64, f64) {
        (-self.length_mm / 2.0 - 25.0, self.length_mm / 2.0 + 62.0)
    }
}

/// Share of the stroke volume that is in the ventricle: ejection, rapid filling, diastasis, atrial kick.
fn filling(fraction: f64) -> f64 {
    let smooth = |t: f64| t * t * (3.0 - 2.0 * t);
    let t = fraction - libm::floor(fraction);
    match t {
        t if t < END_SYSTOLE => 1.0 - smooth(t / END_SYSTOLE),
        t if t < 0.58 => 0.72 * smooth((t - END_SYSTOLE) / (0.58 - END_SYSTOLE)),
        t if t < 0.82 => 0.72 + 0.06 * (t - 0.58) / 0.24,
        t => 0.78 + 0.22 * smooth((t - 0.82) / 0.18),
    }
}

fn direction(degrees: f64) -> (f64, f64) {
    let radians = degrees * PI / 180.0;
    (libm::cos(radians), libm::sin(radians))
}

/// Half an ellipsoid of revolution below the valve plane.
#[derive(Debug, Clone, Copy)]
struct Shell {
    radius_mm: f64,
    length_mm: f64,
}

impl Shell {
    /// The shell of a volume in ml and a length: V = 2/3 pi r^2 L.
    fn new(volume_ml: f64, length_mm: f64) -> Self {
        Self { radius_mm: libm::sqrt(1500.0 * volume_ml / (PI * length_mm)), length_mm }
    }

    fn grown(self, wall_mm: f64) -> Self {
        Self { radius_mm: self.radius_mm + wall_mm, length_mm: self.length_mm + APEX_WALL_SHARE * wall_mm }
    }

    /// r^2 L: the volume without its constant.
    fn cubed(self) -> f64 {
        self.radius_mm * self.radius_mm * self.length_mm
    }

    /// The wall that gives a muscle of `cubed` volume around this cavity (bisection: the volume grows with the wall).
    fn wall_for(self, cubed: f64) -> f64 {
        let (mut low, mut high) = (0.0, 80.0);
        for _ in 0..40 {
            let middle = 0.5 * (low + high);
            if self.grown(middle).cubed() - self.cubed() < cubed { low = middle } else { high = middle }
        }
        0.5 * (low + high)
    }

    /// Radius at `below_mm` under the valve plane; 0 beyond the apex.
    fn radius_at(self, below_mm: f64) -> f64 {
        let share = below_mm / self.length_mm;
        if share >= 1.0 { 0.0 } else { self.radius_mm * libm::sqrt(1.0 - share * share) }
    }
}

/// A heart at one moment.
#[derive(Debug, Clone)]
pub struct Beat<'a> {
    heart: &'a Heart,
    base_z_mm: f64,
    cavity: Shell,
    outside: Shell,
    rv_outline_mm: f64,
    rv_width_mm: f64,
    atria_scale: f64,
}

impl Beat<'_> {
    /// The tissue at a point of the heart; `None` outside the pericardium.
    pub fn tissue(&self, x: f64, y: f64, z: f64) -> Option<Tissue> {
        let below = self.base_z_mm - z;
        if below < 0.0 { self.above_valve_plane(x, y, -below) } else { self.ventricles(x, y, below) }
    }

    /// Radii of the endocardium and of the mean epicardium in the short-axis plane at z, mm; 0 where the plane misses them.
    pub fn radii_mm(&self, z: f64) -> (f64, f64) {
        let below = self.base_z_mm - z;
        if below < 0.0 {
            return (0.0, 0.0);
        }
        (self.cavity.radius_at(below), self.outside.radius_at(below))
    }

    /// Whether a point lies in the left ventricle: cavity or muscle.
    pub fn in_left_ventricle(&self, x: f64, y: f64, z: f64) -> bool {
        let (below, r) = (self.base_z_mm - z, libm::sqrt(x * x + y * y));
        below >= 0.0 && (r < 1e-9 || r < self.left_ventricle(below, x / r, y / r).1)
    }

    /// Whether a point lies in either ventricle: cavity or muscle.
    pub fn in_ventricles(&self, x: f64, y: f64, z: f64) -> bool {
        let below = self.base_z_mm - z;
        below >= 0.0 && matches!(self.ventricles(x, y, below), Some(Tissue::Blood | Tissue::Myocardium))
    }

    /// Inner and outer radius of the left ventricle in the direction (cosine, sine) at `below` mm under the valve plane.
    fn left_ventricle(&self, below: f64, cosine: f64, sine: f64) -> (f64, f64) {
        let heart = self.heart;
        let (round, outer) = (self.cavity.radius_at(below), self.outside.radius_at(below));
        let (a, b) = (heart.ellipticity, 1.0 / heart.ellipticity);
        let ellipse = 1.0 / libm::sqrt((cosine / a) * (cosine / a) + (sine / b) * (sine / b));
        let inner = round * ellipse * self.trabeculated(cosine, sine);
        let toward = 0.5 * (1.0 + cosine * heart.thickest.0 + sine * heart.thickest.1);
        (inner, inner + (outer - round) * (1.0 + heart.asymmetry * toward * toward))
    }

    /// Relative outline of the endocardium, of mean square 1.
    fn trabeculated(&self, cosine: f64, sine: f64) -> f64 {
        // The angle's multiples by the addition theorems: no trigonometry per point.
        let (mut c, mut s) = (cosine * cosine - sine * sine, 2.0 * cosine * sine);
        let (mut outline, mut square) = (1.0, 1.0);
        for (a, b) in self.heart.trabeculae {
            (c, s) = (c * cosine - s * sine, s * cosine + c * sine);
            outline += a * c + b * s;
            square += 0.5 * (a * a + b * b);
        }
        outline / libm::sqrt(square)
    }

    fn ventricles(&self, x: f64, y: f64, below: f64) -> Option<Tissue> {
        let heart = self.heart;
        let r = libm::sqrt(x * x + y * y);
        let (cosine, sine) = if r > 1e-9 { (x / r, y / r) } else { (1.0, 0.0) };
        let (inner, outer) = self.left_ventricle(below, cosine, sine);
        if r < inner {
            return Some(if self.in_papillary(x, y, below) { Tissue::Myocardium } else { Tissue::Blood });
        }
        if r < outer {
            return Some(Tissue::Myocardium);
        }
        let (rv_depth, rv_scale_mm) = self.right_ventricle(x, y, below);
        if rv_depth < 1.0 {
            return Some(Tissue::Blood);
        }
        let from_rv_mm = (rv_depth - 1.0) * rv_scale_mm;
        if from_rv_mm < 3.2 {
            return Some(Tissue::Myocardium);
        }
        let toward = 0.5 * (1.0 + cosine * heart.fat_direction.0 + sine * heart.fat_direction.1);
        let fat_mm = heart.fat_mm * (0.25 + toward) + if below < 12.0 { 0.25 * (12.0 - below) } else { 0.0 };
        let distance_mm = (r - outer).min(from_rv_mm - 3.2);
        // Below the apex only the shell's tip is fat: no ring hangs in the air.
        let near_apex = below > self.outside.length_mm + 3.0;
        match distance_mm {
            _ if near_apex => None,
            d if d < fat_mm => Some(Tissue::Fat),
            d if d < fat_mm + 1.2 => Some(Tissue::Bone),
            _ => None,
        }
    }

    fn in_papillary(&self, x: f64, y: f64, below: f64) -> bool {
        let share = below / self.cavity.length_mm;
        if !(0.3..0.85).contains(&share) {
            return false;
        }
        let ring = self.cavity.radius_at(below);
        // In systole the muscles come together and fill more of the cavity.
        let shrink = (ring / 22.0).clamp(0.55, 1.1);
        self.heart.papillaries.iter().any(|papillary| {
            let radius = papillary.radius_mm * shrink;
            let distance = (ring - 1.15 * radius).max(0.0);
            let (dx, dy) = (x - distance * papillary.direction.0, y - distance * papillary.direction.1);
            dx * dx + dy * dy < radius * radius
        })
    }

    /// Scaled distance from the right ventricle's axis (< 1 inside; the left ventricle lies over it), and the scale in mm.
    fn right_ventricle(&self, x: f64, y: f64, below: f64) -> (f64, f64) {
        let share = below / (0.86 * self.outside.length_mm);
        if share >= 1.0 {
            return (f64::INFINITY, 1.0);
        }
        let taper = libm::sqrt(1.0 - share * share);
        let outline = self.rv_outline_mm * libm::sqrt(1.0 - 0.7 * share * share);
        let semi_x = 0.5 * outline + self.rv_width_mm * taper;
        let semi_y = 1.02 * outline * (0.35 + 0.65 * taper);
        let (dx, dy) = ((x + 0.5 * outline) / semi_x, (y - self.heart.rv_offset_y_mm) / semi_y);
        (libm::sqrt(dx * dx + dy * dy), 0.5 * (semi_x + semi_y))
    }

    /// Atria, aortic root and the valve plane's leaflets.
    fn above_valve_plane(&self, x: f64, y: f64, above: f64) -> Option<Tissue> {
        let scale = self.atria_scale;
        let ring = self.cavity.radius_at(0.0);
        let left = chamber((x - 6.0, y - 8.0, above - 20.0 * scale), (25.0 * scale, 22.0 * scale, 23.0 * scale));
        let right = chamber((x + 42.0, y - 4.0, above - 20.0 * scale), (23.0 * scale, 25.0 * scale, 24.0 * scale));
        let aorta = libm::sqrt((x + 12.0) * (x + 12.0) + (y + 16.0) * (y + 16.0));
        if above < 2.0 && libm::sqrt(x * x + y * y) < ring {
            return Some(Tissue::Myocardium);
        }
        if aorta < 13.0 && above < 55.0 {
            return Some(Tissue::Blood);
        }
        match left.min(right) {
            d if d < 1.0 => Some(Tissue::Blood),
            d if d < 1.12 => Some(Tissue::Myocardium),
            d if d < 1.3 && above < 30.0 => Some(Tissue::Fat),
            _ if aorta < 15.0 && above < 55.0 => Some(Tissue::Myocardium),
            _ => None,
        }
    }
}

/// Scaled distance from the centre of an ellipsoid: < 1 inside.
fn chamber((x, y, z): (f64, f64, f64), (a, b, c): (f64, f64, f64)) -> f64 {
    libm::sqrt((x / a) * (x / a) + (y / b) * (y / b) + (z / c) * (z / c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heart(seed: u64) -> Heart {
        let phenotype = Phenotype { edv_ml: 150.0, ejection_fraction: 0.6, wall_max_mm: 10.0, asymmetry: 0.3 };
        Heart::draw(&phenotype, &mut Stream::new(seed, "heart", "test"))
    }

    /// Cavity volume by counting points on a 1 mm grid, papillary muscles included as in clinical reading.
    fn counted_ml(beat: &Beat<'_>) -> f64 {
        let mut count = 0;
        for z in -70..70 {
            for y in -60..60 {
                for x in -60..60 {
                    let (x, y, below) = (f64::from(x) + 0.5, f64::from(y) + 0.5, beat.base_z_mm - f64::from(z) - 0.5);
                    let r = libm::sqrt(x * x + y * y);
                    count += i32::from(below >= 0.0 && r < beat.left_ventricle(below, x / r, y / r).0);
                }
            }
        }
        f64::from(count) / 1000.0
    }

    #[test]
    fn the_true_volumes_are_those_of_the_shape() {
        let heart = heart(1);
        for (fraction, expected) in [(0.0, heart.edv_ml), (END_SYSTOLE, heart.esv_ml)] {
            let counted = counted_ml(&heart.at(fraction));
            assert!((counted / expected - 1.0).abs() < 0.01, "{counted} ml counted, {expected} ml stated");
        }
    }

    #[test]
    fn the_thickest_diastolic_wall_is_the_stated_one() {
        let heart = heart(2);
        let beat = heart.at(0.0);
        let thickest = (0..360)
            .map(|degrees| {
                let (cosine, sine) = direction(f64::from(degrees));
                let (inner, outer) = beat.left_ventricle(0.0, cosine, sine);
                outer - inner
            })
            .fold(0.0, f64::max);
        assert!((thickest - heart.wall_max_mm).abs() < 0.02, "{thickest} mm");
    }

    #[test]
    fn systole_thickens_the_wall_and_lowers_the_base() {
        let heart = heart(3);
        let (diastole, systole) = (heart.at(0.0), heart.at(END_SYSTOLE));
        let wall = |beat: &Beat<'_>| beat.outside.radius_mm - beat.cavity.radius_mm;
        assert!(wall(&systole) > 1.2 * wall(&diastole));
        assert!(systole.base_z_mm < diastole.base_z_mm - 3.0);
    }

    #[test]
    fn no_heart_tissue_lies_outside_the_bounding_circle() {
        for seed in 0..6 {
            let heart = heart(seed);
            let ((x0, y0), radius) = heart.bounding_circle_mm();
            for fraction in [0.0, 0.2, END_SYSTOLE, 0.7] {
                let beat = heart.at(fraction);
                for degrees in 0..72 {
                    let (cosine, sine) = direction(5.0 * f64::from(degrees));
                    for z in -40..=40 {
                        let (x, y) = (x0 + radius * cosine, y0 + radius * sine);
                        assert_eq!(beat.tissue(x, y, f64::from(z)), None, "seed {seed} z {z} angle {}", 5 * degrees);
                    }
                }
            }
        }
    }
}
