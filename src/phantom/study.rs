//! What a site acquires of a subject: planes, phases and timing of every series, and the oddities every real export has.

use serde::Serialize;

use super::person::{Person, Vector, along, unit};
use super::random::Stream;
use super::render::Plane;
use super::scanner::{Protocol, Site, Turn};
use crate::settings::phantom::Preset;

/// What a series is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The short-axis cine stack.
    ShortAxis,
    /// One short-axis position, acquired a second time.
    ReacquiredPosition,
    /// One more short-axis position, stopped before the end of the beat.
    InterruptedCine,
    /// Two-chamber cine.
    TwoChamber,
    /// Four-chamber cine.
    FourChamber,
    /// Three orthogonal static images.
    Scout,
}

impl Role {
    /// The view as `stacks.parquet` names it.
    pub fn view(self) -> &'static str {
        match self {
            Self::ShortAxis | Self::ReacquiredPosition | Self::InterruptedCine => "sax",
            Self::TwoChamber => "2ch",
            Self::FourChamber => "4ch",
            Self::Scout => "scout",
        }
    }
}

/// One position of an acquisition with its timing.
#[derive(Debug, Clone)]
pub struct Position {
    /// Where.
    pub plane: Plane,
    /// Duration of a beat while it was acquired, ms: heart rates drift.
    pub rr_ms: f64,
    /// Phases actually acquired, from the R wave on.
    pub phases: usize,
}

/// Positions acquired together.
#[derive(Debug, Clone)]
pub struct Acquisition {
    /// What it is.
    pub role: Role,
    /// In the order of acquisition.
    pub positions: Vec<Position>,
    /// Phases of a whole beat; 1 is a static image.
    pub phases_expected: usize,
    /// Number of the first series.
    pub series_number: u32,
}

impl Acquisition {
    /// Time of a phase after the R wave, ms.
    pub fn trigger_time_ms(&self, position: &Position, phase: usize) -> f64 {
        position.rr_ms * phase as f64 / self.phases_expected as f64
    }

    /// Fractions of the beat at which a position's phases lie.
    pub fn fractions(&self, position: &Position) -> Vec<f64> {
        (0..position.phases).map(|phase| phase as f64 / self.phases_expected as f64).collect()
    }

    /// Whether it shows the beating heart.
    pub fn is_cine(&self) -> bool {
        self.phases_expected > 1
    }
}

/// Which oddities a subject's export has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extras {
    /// Scouts.
    pub scouts: bool,
    /// 2- and 4-chamber cines.
    pub long_axis: bool,
    /// A position acquired twice.
    pub reacquired: bool,
    /// A position stopped early.
    pub interrupted: bool,
    /// A file stored twice.
    pub duplicate: bool,
    /// A file that is no image.
    pub not_an_image: bool,
}

impl Extras {
    /// Of the `rank`-th subject of a site, by id: the first has them all, so that every site has each, later ones one now and then.
    pub fn of(preset: Preset, rank: usize) -> Self {
        let first = rank == 0;
        let hospital = preset == Preset::Large;
        Self {
            scouts: first || hospital || rank % 16 == 3,
            long_axis: first || hospital || rank % 16 == 5,
            reacquired: first || rank % 16 == 7,
            interrupted: first || rank % 16 == 9,
            duplicate: first || rank % 16 == 11,
            not_an_image: first,
        }
    }
}

/// The acquisitions of one subject, the short-axis stack first.
pub fn acquisitions(person: &Person, site: &Site, extras: Extras, rng: &mut Stream) -> Vec<Acquisition> {
    let mut planner = Planner { person, protocol: zoomed(&site.protocol, rng), rng, next_series: 1 };
    let scouts = extras.scouts.then(|| planner.scouts());
    let four = extras.long_axis.then(|| planner.long_axis(Role::FourChamber));
    let two = extras.long_axis.then(|| planner.long_axis(Role::TwoChamber));
    let axis = planner.short_axis();
    let interrupted = extras.interrupted.then(|| planner.interrupted(&axis));
    let reacquired = extras.reacquired.then(|| planner.reacquired(&axis));
    std::iter::once(axis).chain([scouts, four, two, interrupted, reacquired].into_iter().flatten()).collect()
}

/// Technicians fit the field of view to the person, a little.
fn zoomed(protocol: &Protocol, rng: &mut Stream) -> Protocol {
    let mut protocol = protocol.clone();
    // Spacings in headers have few digits.
    protocol.pixel_spacing_mm = libm::round(protocol.pixel_spacing_mm * rng.uniform(0.95, 1.06) * 1e4) / 1e4;
    protocol
}

struct Planner<'a> {
    person: &'a Person,
    protocol: Protocol,
    rng: &'a mut Stream,
    next_series: u32,
}

impl Planner<'_> {
    fn series(&mut self, count: usize) -> u32 {
        let first = self.next_series;
        self.next_series += count as u32;
        first
    }

    fn rr_ms(&mut self) -> f64 {
        libm::round(self.person.heart.rr_ms * self.rng.uniform(0.98, 1.02))
    }

    /// A plane centred at a point, with usual image directions turned as the site does.
    fn plane(&mut self, centre: Vector, right: Vector, down: Vector, turn: Turn) -> Plane {
        let protocol = &self.protocol;
        let (mut row, mut column) = if turn.transposed { (down, right) } else { (right, down) };
        if turn.columns_reversed {
            row = row.map(|value| -value);
        }
        if turn.rows_reversed {
            column = column.map(|value| -value);
        }
        let spacing = protocol.pixel_spacing_mm;
        let (rows, columns) = (protocol.rows, protocol.columns);
        let corner = along(centre, row, -0.5 * spacing * (columns as f64 - 1.0));
        Plane {
            origin_mm: along(corner, column, -0.5 * spacing * (rows as f64 - 1.0)),
            row,
            column,
            spacing_row_mm: spacing,
            spacing_column_mm: spacing,
            rows,
            columns,
            thickness_mm: protocol.slice_thickness_mm,
        }
    }

    fn short_axis(&mut self) -> Acquisition {
        let turn = self.protocol.turns[self.rng.index(self.protocol.turns.len())];
        let angle = self.rng.uniform(-12.0, 12.0) * std::f64::consts::PI / 180.0;
        let (cosine, sine) = (libm::cos(angle), libm::sin(angle));
        let [x, y, z] = self.person.axes;
        let right = unit(along(x.map(|value| cosine * value), y, sine));
        let down = unit(along(y.map(|value| cosine * value), x, -sine));
        // Heart and image centre differ by what a hurried plan leaves; both ventricles are meant to be in view.
        let centre = self.person.to_patient([self.rng.uniform(-26.0, 2.0), self.rng.uniform(-14.0, 14.0), 0.0]);
        let offset = self.rng.uniform(-4.0, 4.0);
        let (slices, spacing) = (self.protocol.slices, self.protocol.slice_spacing_mm);
        let phases = self.protocol.phases;
        let series_number = self.series(slices);
        let positions = (0..slices)
            .map(|slice| {
                // From base to apex.
                let height = offset + spacing * (0.5 * (slices as f64 - 1.0) - slice as f64);
                let plane = self.plane(along(centre, z, height), right, down, turn);
                Position { plane, rr_ms: self.rr_ms(), phases }
            })
            .collect();
        Acquisition { role: Role::ShortAxis, positions, phases_expected: phases, series_number }
    }

    /// The next position toward the apex, stopped after three fifths of the beat.
    fn interrupted(&mut self, axis: &Acquisition) -> Acquisition {
        let last = &axis.positions[axis.positions.len() - 1];
        let toward_apex = self.person.axes[2].map(|value| -value);
        let origin_mm = along(last.plane.origin_mm, toward_apex, self.protocol.slice_spacing_mm);
        let position = Position {
            plane: Plane { origin_mm, ..last.plane.clone() },
            rr_ms: self.rr_ms(),
            phases: axis.phases_expected * 3 / 5,
        };
        let series_number = self.series(1);
        Acquisition { role: Role::InterruptedCine, positions: vec![position], series_number, ..axis.clone() }
    }

    /// The second position once more.
    fn reacquired(&mut self, axis: &Acquisition) -> Acquisition {
        let again = &axis.positions[1.min(axis.positions.len() - 1)];
        let position = Position { rr_ms: self.rr_ms(), ..again.clone() };
        let series_number = self.series(1);
        Acquisition { role: Role::ReacquiredPosition, positions: vec![position], series_number, ..axis.clone() }
    }

    fn long_axis(&mut self, role: Role) -> Acquisition {
        let [x, y, z] = self.person.axes;
        // Apex up; the four-chamber plane cuts both ventricles, the two-chamber plane the anterior and inferior wall.
        let across = if role == Role::FourChamber { unit(along(x, y, 0.15)) } else { unit(along(y, x, -0.2)) };
        let centre = self.person.to_patient([-8.0, 0.0, 18.0]);
        let turn = Turn { transposed: false, columns_reversed: false, rows_reversed: false };
        let plane = self.plane(centre, across, z, turn);
        let phases = self.protocol.phases;
        let position = Position { plane, rr_ms: self.rr_ms(), phases };
        let series_number = self.series(1);
        Acquisition { role, positions: vec![position], phases_expected: phases, series_number }
    }

    /// Axial, coronal and sagittal, on a larger field of view.
    fn scouts(&mut self) -> Acquisition {
        let turn = Turn { transposed: false, columns_reversed: false, rows_reversed: false };
        let (left, posterior, inferior) = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]);
        let centre = along(self.person.centre_mm, left, -25.0);
        let planes = [(left, posterior), (left, inferior), (posterior, inferior)];
        let spacing = self.protocol.pixel_spacing_mm;
        self.protocol.pixel_spacing_mm = libm::round(spacing * 1.55 * 1e4) / 1e4;
        let positions = planes
            .into_iter()
            .map(|(right, down)| {
                let plane = self.plane(centre, right, down, turn);
                Position { plane, rr_ms: self.person.heart.rr_ms, phases: 1 }
            })
            .collect();
        self.protocol.pixel_spacing_mm = spacing;
        let series_number = self.series(1);
        Acquisition { role: Role::Scout, positions, phases_expected: 1, series_number }
    }
}
