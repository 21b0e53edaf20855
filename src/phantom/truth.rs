//! `truth.json`: everything the phantom knows of itself, for tests and for whoever checks a stage against it.

use serde::Serialize;

use super::cohort::{Diagnosis, Split, Subject, rule};
use super::person::{Person, Vector, dot};
use super::render::Plane;
use super::scanner::Site;
use super::study::{Acquisition, Role};
use crate::settings::phantom::PhantomSettings;

/// The whole file; schema `groupdistil.phantom-truth/1`.
#[derive(Debug, Serialize)]
pub struct Truth {
    /// Schema name and number.
    pub schema: &'static str,
    /// What it was made from.
    pub settings: PhantomSettings,
    /// The sites.
    pub sites: Vec<SiteTruth>,
    /// Subjects by id.
    pub subjects: Vec<SubjectTruth>,
    /// Every file under `scans`, by path.
    pub files: Vec<FileTruth>,
}

/// One site.
#[derive(Debug, Serialize)]
pub struct SiteTruth {
    /// Folder and institution.
    pub site: &'static str,
    /// Normalised vendor.
    pub vendor: &'static str,
    /// Vendor as written in the files.
    pub manufacturer: &'static str,
    /// Model as written.
    pub model: &'static str,
    /// Subjects.
    pub subjects: usize,
}

/// One subject.
#[derive(Debug, Serialize)]
pub struct SubjectTruth {
    /// Synthetic patient id.
    pub patient_id: String,
    /// True diagnosis.
    pub label: Diagnosis,
    /// What the rule on true ejection fraction and wall thickness says.
    pub rule_label: Diagnosis,
    /// Site.
    pub site: &'static str,
    /// Normalised vendor.
    pub vendor: &'static str,
    /// Split.
    pub split: Split,
    /// `F` or `M`.
    pub sex: &'static str,
    /// Years.
    pub age_years: u32,
    /// Body surface area.
    pub body_surface_m2: f64,
    /// End-diastolic volume.
    pub edv_ml: f64,
    /// End-systolic volume.
    pub esv_ml: f64,
    /// (EDV - ESV) / EDV, 0 to 1.
    pub ejection_fraction: f64,
    /// Largest end-diastolic wall thickness.
    pub wall_thickness_mm: f64,
    /// Duration of a beat.
    pub rr_ms: f64,
    /// The stacks that a complete ingest finds.
    pub stacks: Vec<StackTruth>,
}

/// One geometric stack that ingest should find.
#[derive(Debug, Serialize)]
pub struct StackTruth {
    /// What it is.
    pub role: Role,
    /// `sax`, `2ch`, `4ch` or `scout`.
    pub view: &'static str,
    /// `cine` or `static`.
    pub kind: &'static str,
    /// Image rows.
    pub rows: usize,
    /// Image columns.
    pub columns: usize,
    /// Complete positions.
    pub slices: usize,
    /// Phases of a complete position.
    pub phases: usize,
    /// Positions with fewer phases, left out.
    pub positions_incomplete: usize,
    /// Direction of increasing column index.
    pub row: Vector,
    /// Direction of increasing row index.
    pub column: Vector,
    /// Distance of adjacent rows.
    pub pixel_spacing_row_mm: f64,
    /// Distance of adjacent columns.
    pub pixel_spacing_column_mm: f64,
    /// Distance of adjacent positions; null for one.
    pub slice_spacing_mm: Option<f64>,
    /// Slice thickness.
    pub slice_thickness_mm: f64,
    /// Phase of largest cavity.
    pub end_diastole_phase: usize,
    /// Phase of smallest cavity.
    pub end_systole_phase: usize,
    /// Middle of the left ventricle at the stack's middle, LPS.
    pub left_ventricle_centre_mm: Vector,
    /// Middle of both ventricles at the stack's middle, LPS.
    pub heart_centre_mm: Vector,
    /// Radius around `heart_centre_mm` that holds both ventricles at every moment.
    pub heart_radius_mm: f64,
    /// Left-ventricular volume of each phase.
    pub volumes_ml: Vec<f64>,
    /// Per position, in ascending order along row x column.
    pub positions: Vec<PositionTruth>,
}

/// The left ventricle in one position.
#[derive(Debug, Serialize)]
pub struct PositionTruth {
    /// Centre of the first pixel, LPS.
    pub position_mm: Vector,
    /// Middle of the left ventricle, fractional 0-based row and column.
    pub left_ventricle_px: [f64; 2],
    /// First and last row, first and last column of the end-diastolic left ventricle with its muscle; null where the plane misses it.
    pub left_ventricle_box_px: Option<[usize; 4]>,
    /// The same of both ventricles.
    pub ventricles_box_px: Option<[usize; 4]>,
    /// Cavity area of each phase (short-axis stacks only).
    pub cavity_areas_mm2: Vec<f64>,
}

/// One file.
#[derive(Debug, Serialize)]
pub struct FileTruth {
    /// Relative to the phantom's folder.
    pub path: String,
    /// What it is: a role, `duplicate`, `not-an-image` or `information-csv`.
    pub role: &'static str,
    /// Expected ledger outcome: `used`, `skipped` or `rejected`.
    pub outcome: &'static str,
    /// Expected ledger reason, where the outcome has one.
    pub reason: Option<&'static str>,
}

impl SubjectTruth {
    /// The truth of a subject and its acquisitions.
    pub fn new(subject: &Subject, site: &Site, person: &Person, acquisitions: &[Acquisition]) -> Self {
        let heart = &person.heart;
        Self {
            patient_id: subject.id.clone(),
            label: subject.diagnosis,
            rule_label: rule(&subject.phenotype),
            site: site.name,
            vendor: site.vendor,
            split: subject.split,
            sex: if subject.female { "F" } else { "M" },
            age_years: subject.age_years,
            body_surface_m2: subject.body_surface_m2,
            edv_ml: heart.edv_ml,
            esv_ml: heart.esv_ml,
            ejection_fraction: heart.ejection_fraction(),
            wall_thickness_mm: heart.wall_max_mm,
            rr_ms: heart.rr_ms,
            stacks: stacks(person, acquisitions),
        }
    }
}

/// The short-axis stack takes up interrupted and re-acquired positions; a scout's planes are not parallel: a stack each.
fn stacks(person: &Person, acquisitions: &[Acquisition]) -> Vec<StackTruth> {
    let interrupted = acquisitions.iter().filter(|other| other.role == Role::InterruptedCine).count();
    let mut stacks = Vec::new();
    for acquisition in acquisitions {
        let planes: Vec<&Plane> = acquisition.positions.iter().map(|position| &position.plane).collect();
        match acquisition.role {
            Role::ReacquiredPosition | Role::InterruptedCine => {}
            Role::Scout => stacks.extend(planes.into_iter().map(|plane| stack(person, acquisition, vec![plane], 0))),
            Role::ShortAxis => stacks.push(stack(person, acquisition, planes, interrupted)),
            Role::TwoChamber | Role::FourChamber => stacks.push(stack(person, acquisition, planes, 0)),
        }
    }
    stacks
}

fn stack(person: &Person, acquisition: &Acquisition, mut planes: Vec<&Plane>, interrupted: usize) -> StackTruth {
    let normal = planes[0].normal();
    planes.sort_by(|a, b| dot(a.origin_mm, normal).total_cmp(&dot(b.origin_mm, normal)));
    let first = planes[0];
    let fractions: Vec<f64> = acquisition.fractions(&acquisition.positions[0]);
    let volumes_ml: Vec<f64> = fractions.iter().map(|fraction| person.heart.volume_ml(*fraction)).collect();
    let height = |plane: &Plane| {
        let middle = plane.point(0.5 * (plane.rows as f64 - 1.0), 0.5 * (plane.columns as f64 - 1.0));
        if acquisition.role == Role::ShortAxis { person.to_heart(middle)[2] } else { 0.0 }
    };
    let middle_height = 0.5 * (height(first) + height(planes[planes.len() - 1]));
    let ((x, y), heart_radius_mm) = person.heart.bounding_circle_mm();
    let spacing = (planes.len() > 1).then(|| {
        (dot(planes[planes.len() - 1].origin_mm, normal) - dot(first.origin_mm, normal)) / (planes.len() as f64 - 1.0)
    });
    let smallest = volumes_ml.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(phase, _)| phase);
    StackTruth {
        role: acquisition.role,
        view: acquisition.role.view(),
        kind: if acquisition.is_cine() { "cine" } else { "static" },
        rows: first.rows,
        columns: first.columns,
        slices: planes.len(),
        phases: acquisition.phases_expected,
        positions_incomplete: interrupted,
        row: first.row,
        column: first.column,
        pixel_spacing_row_mm: first.spacing_row_mm,
        pixel_spacing_column_mm: first.spacing_column_mm,
        slice_spacing_mm: spacing,
        slice_thickness_mm: first.thickness_mm,
        end_diastole_phase: 0,
        end_systole_phase: smallest,
        left_ventricle_centre_mm: person.to_patient([0.0, 0.0, middle_height]),
        heart_centre_mm: person.to_patient([x, y, middle_height]),
        heart_radius_mm,
        volumes_ml,
        positions: planes
            .iter()
            .map(|plane| position(person, acquisition.role, plane, height(plane), &fractions))
            .collect(),
    }
}

fn position(person: &Person, role: Role, plane: &Plane, height: f64, fractions: &[f64]) -> PositionTruth {
    let (row, column) = plane.pixel(person.to_patient([0.0, 0.0, height]));
    let areas = |fraction: &f64| {
        let (cavity_mm, _) = person.heart.at(*fraction).radii_mm(height);
        std::f64::consts::PI * cavity_mm * cavity_mm
    };
    let beat = person.heart.at(0.0);
    PositionTruth {
        position_mm: plane.origin_mm,
        left_ventricle_px: [row, column],
        left_ventricle_box_px: box_of(person, plane, |x, y, z| beat.in_left_ventricle(x, y, z)),
        ventricles_box_px: box_of(person, plane, |x, y, z| beat.in_ventricles(x, y, z)),
        cavity_areas_mm2: if role == Role::ShortAxis { fractions.iter().map(areas).collect() } else { Vec::new() },
    }
}

/// First and last row, first and last column of the pixels whose centres, in the heart's coordinates, are inside.
fn box_of(person: &Person, plane: &Plane, inside: impl Fn(f64, f64, f64) -> bool) -> Option<[usize; 4]> {
    let mut found: Option<[usize; 4]> = None;
    for row in 0..plane.rows {
        for column in 0..plane.columns {
            let [x, y, z] = person.to_heart(plane.point(row as f64, column as f64));
            if inside(x, y, z) {
                let [top, bottom, left, right] = found.unwrap_or([row, row, column, column]);
                found = Some([top.min(row), bottom.max(row), left.min(column), right.max(column)]);
            }
        }
    }
    found
}
