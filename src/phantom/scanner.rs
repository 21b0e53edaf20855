//! The sites and their scanners: protocol, contrast, coils, noise, resolution, and how each writes its files.
//!
//! Tissue signals follow balanced SSFP cine in kind (bright blood and fat, dark muscle and lung); no scanner is a model of a real
//! device, whatever its name in the header.

use super::anatomy::TISSUES;
use crate::settings::phantom::Preset;

/// How a site stores its cines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Classic MR objects, a series per slice position.
    SeriesPerSlice,
    /// Classic MR objects, one series for all positions.
    OneSeries,
    /// Enhanced MR objects: one multi-frame file per stack.
    Enhanced,
    /// NIfTI in the layout of the M&Ms challenge, with its information CSV.
    Nifti,
}

/// One site with its one scanner.
#[derive(Debug, Clone)]
pub struct Site {
    /// Folder and institution name.
    pub name: &'static str,
    /// Two letters that begin the site's patient ids.
    pub code: &'static str,
    /// Normalised vendor.
    pub vendor: &'static str,
    /// (0008,0070) as this vendor writes it.
    pub manufacturer: &'static str,
    /// (0008,1090).
    pub model: &'static str,
    /// (0018,1020).
    pub software: &'static str,
    /// (0008,1010).
    pub station: &'static str,
    /// Vendor letter and centre number of the M&Ms CSV.
    pub challenge: (&'static str, u32),
    /// How it stores.
    pub style: Style,
    /// (0018,0087) as written: some write gauss.
    pub field_strength: &'static str,
    /// What its images look like.
    pub look: Look,
    /// What it acquires.
    pub protocol: Protocol,
}

/// Appearance: everything that turns a tissue map into pixel values.
#[derive(Debug, Clone)]
pub struct Look {
    /// Relative signal by tissue, in the order of `Tissue`.
    pub signal: [f64; TISSUES],
    /// Exponent of the display curve the vendor bakes in.
    pub gamma: f64,
    /// Standard deviation of the noise in each receiver channel, relative to blood.
    pub noise: f64,
    /// Acquired share of k-space; the rest is zero-filled.
    pub acquired_share: f64,
    /// k-space apodisation: 0 none (ringing), 0.46 Hamming (blur).
    pub apodisation: f64,
    /// Depth of the surface coil's fall-off, 0 (even) to 1.
    pub coil_fall_off: f64,
    /// Strength of the grain texture, relative.
    pub texture: f64,
    /// Size of a cell of the grain, mm.
    pub texture_cell_mm: f64,
    /// Stored value of full blood signal before rescale.
    pub full_scale: f64,
    /// Rescale slope and intercept, where the vendor writes them.
    pub rescale: Option<(f64, f64)>,
}

/// Acquisition geometry and timing.
#[derive(Debug, Clone)]
pub struct Protocol {
    /// Image rows.
    pub rows: usize,
    /// Image columns.
    pub columns: usize,
    /// Distance of adjacent rows and columns, mm.
    pub pixel_spacing_mm: f64,
    /// Slice thickness, mm.
    pub slice_thickness_mm: f64,
    /// Distance of adjacent positions, mm.
    pub slice_spacing_mm: f64,
    /// Short-axis positions.
    pub slices: usize,
    /// Phases of a beat.
    pub phases: usize,
    /// Ways in which technicians and reconstruction turn the image.
    pub turns: &'static [Turn],
}

/// One of the eight flips and transpositions of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Rows become columns, before the flips.
    pub transposed: bool,
    /// Columns run the other way.
    pub columns_reversed: bool,
    /// Rows run the other way.
    pub rows_reversed: bool,
}

const fn turn(transposed: bool, columns_reversed: bool, rows_reversed: bool) -> Turn {
    Turn { transposed, columns_reversed, rows_reversed }
}

/// Noise of `shift` relative to `demo`.
const SHIFT_NOISE: f64 = 2.2;
/// Acquired share of k-space of `shift` relative to `demo`.
const SHIFT_ACQUIRED: f64 = 0.9;

/// The sites of a preset, largest first; matrices and slice counts follow the preset.
pub fn sites(preset: Preset) -> Vec<Site> {
    let mut sites = vec![siemens(), ge(), philips(), canon()];
    for site in &mut sites {
        let protocol = &mut site.protocol;
        match preset {
            Preset::Demo => {}
            Preset::Shift => {
                protocol.scale_matrix(0.8);
                protocol.slices = 3;
                site.look.hurry();
            }
            Preset::Tiny => {
                protocol.scale_matrix(0.55);
                protocol.slices = 3;
                protocol.slice_spacing_mm = 18.0;
                protocol.phases = 20;
            }
            Preset::Large => {
                protocol.scale_matrix(1.4);
                protocol.slices = (80.0 / protocol.slice_thickness_mm) as usize;
                protocol.slice_spacing_mm = protocol.slice_thickness_mm + 2.0;
            }
        }
    }
    sites
}

impl Look {
    /// Fast, low-signal acquisitions: each scanner's own noise grain shows, and anatomy is harder to read than the scanner.
    fn hurry(&mut self) {
        self.noise *= SHIFT_NOISE;
        self.acquired_share *= SHIFT_ACQUIRED;
    }
}

impl Protocol {
    /// Changes the matrix at an equal field of view.
    fn scale_matrix(&mut self, factor: f64) {
        let scaled = |count: usize| 4 * ((count as f64 * factor / 4.0) as usize);
        let columns = self.columns;
        (self.rows, self.columns) = (scaled(self.rows), scaled(columns));
        self.pixel_spacing_mm *= columns as f64 / self.columns as f64;
    }
}

fn siemens() -> Site {
    Site {
        name: "north",
        code: "PN",
        vendor: "siemens",
        manufacturer: "SIEMENS",
        model: "Avanto",
        software: "syngo MR B17",
        station: "MRN1",
        challenge: ("A", 1),
        style: Style::SeriesPerSlice,
        field_strength: "1.5",
        look: Look {
            signal: [0.005, 1.0, 0.34, 0.80, 0.07, 0.28, 0.42, 0.04, 0.45],
            gamma: 1.0,
            noise: 0.030,
            acquired_share: 0.92,
            apodisation: 0.15,
            coil_fall_off: 0.35,
            texture: 0.06,
            texture_cell_mm: 9.0,
            full_scale: 620.0,
            rescale: None,
        },
        protocol: Protocol {
            rows: 108,
            columns: 96,
            pixel_spacing_mm: 2.35,
            slice_thickness_mm: 8.0,
            slice_spacing_mm: 18.0,
            slices: 3,
            phases: 25,
            turns: const { &[turn(false, false, false), turn(true, false, false)] },
        },
    }
}

fn ge() -> Site {
    Site {
        name: "east",
        code: "PE",
        vendor: "ge",
        manufacturer: "GE MEDICAL SYSTEMS",
        model: "SIGNA EXCITE",
        software: "14\\LX\\MR Software release:14.0_M5_0737.f",
        station: "MRE1",
        challenge: ("C", 4),
        style: Style::OneSeries,
        field_strength: "15000",
        look: Look {
            signal: [0.01, 0.90, 0.43, 1.0, 0.10, 0.36, 0.50, 0.05, 0.60],
            gamma: 0.85,
            noise: 0.045,
            acquired_share: 0.62,
            apodisation: 0.0,
            coil_fall_off: 0.15,
            texture: 0.10,
            texture_cell_mm: 5.0,
            full_scale: 1900.0,
            rescale: None,
        },
        protocol: Protocol {
            rows: 104,
            columns: 104,
            pixel_spacing_mm: 2.34,
            slice_thickness_mm: 8.0,
            slice_spacing_mm: 16.0,
            slices: 4,
            phases: 20,
            turns: const { &[turn(false, false, false), turn(false, true, false), turn(false, false, true)] },
        },
    }
}

fn philips() -> Site {
    Site {
        name: "south",
        code: "PS",
        vendor: "philips",
        manufacturer: "Philips Medical Systems",
        model: "Achieva",
        software: "5.3.1",
        station: "MRS1",
        challenge: ("B", 2),
        style: Style::Enhanced,
        field_strength: "3",
        look: Look {
            signal: [0.005, 1.0, 0.27, 0.55, 0.05, 0.22, 0.34, 0.03, 0.35],
            gamma: 1.15,
            noise: 0.024,
            acquired_share: 0.70,
            apodisation: 0.46,
            coil_fall_off: 0.65,
            texture: 0.05,
            texture_cell_mm: 14.0,
            full_scale: 1200.0,
            rescale: Some((1.734_310, 0.0)),
        },
        protocol: Protocol {
            rows: 104,
            columns: 104,
            pixel_spacing_mm: 2.25,
            slice_thickness_mm: 8.0,
            slice_spacing_mm: 18.0,
            slices: 3,
            phases: 24,
            turns: const { &[turn(false, false, false), turn(true, true, false), turn(false, true, true)] },
        },
    }
}

fn canon() -> Site {
    Site {
        name: "west",
        code: "PW",
        vendor: "canon",
        manufacturer: "Canon Medical Systems",
        model: "Vantage Orian",
        software: "V6.0",
        station: "MRW1",
        challenge: ("D", 5),
        style: Style::Nifti,
        field_strength: "1.5",
        look: Look {
            signal: [0.02, 0.80, 0.42, 0.62, 0.14, 0.38, 0.46, 0.08, 0.50],
            gamma: 0.92,
            noise: 0.050,
            acquired_share: 0.55,
            apodisation: 0.30,
            coil_fall_off: 0.45,
            texture: 0.08,
            texture_cell_mm: 7.0,
            full_scale: 400.0,
            rescale: None,
        },
        protocol: Protocol {
            rows: 96,
            columns: 104,
            pixel_spacing_mm: 2.4,
            slice_thickness_mm: 10.0,
            slice_spacing_mm: 18.0,
            slices: 3,
            phases: 25,
            turns: const { &[turn(true, false, true), turn(true, true, false), turn(false, true, false)] },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_has_four_vendors_and_twenty_to_thirty_phases() {
        for preset in [Preset::Tiny, Preset::Demo, Preset::Shift, Preset::Large] {
            let sites = sites(preset);
            let vendors: std::collections::BTreeSet<_> = sites.iter().map(|site| site.vendor).collect();
            assert_eq!(vendors.len(), 4);
            for site in &sites {
                assert!((20..=30).contains(&site.protocol.phases), "{}", site.name);
                assert!(
                    site.protocol.slices >= 3 && site.protocol.slice_spacing_mm >= site.protocol.slice_thickness_mm
                );
            }
        }
    }
}
