//! NIfTI-1 and -2 files: 3-d to 5-d, `.nii`, `.nii.gz`, `.hdr` + `.img`; the affine as nibabel chooses it. Voxels: `pixels/nifti.rs`.
//!
//! Array index i counts columns, j rows, k slices, t phases; frame number = t x slices + k.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::content::unpack::{self, Packing};
use super::content::{Content, ContentError, Opener};
use super::image::{Format, Image, Person, Series, Timing};
use crate::geometry::{Affine, VolumeGeometry, add, scale};

pub mod header;
mod name;
mod patient;

pub use self::header::{Header, Size};

/// Why a NIfTI file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NiftiError {
    /// Not readable.
    #[error("not readable as NIfTI: {0}")]
    Read(String),
    /// The bytes cannot be had.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// A header field is wrong.
    #[error("{field} is {found}, expected {expected}")]
    Field {
        /// Header field.
        field: &'static str,
        /// What is there.
        found: String,
        /// What the format says.
        expected: &'static str,
    },
    /// Fewer bytes than voxels.
    #[error("cut off: {there} bytes are fewer than the voxels need; copy the file again")]
    Truncated {
        /// Bytes.
        there: u64,
    },
}

impl NiftiError {
    /// The ledger's reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Read(_) => "not-nifti",
            Self::Content(error) => error.reason(),
            Self::Field { field: "datatype", .. } => "unsupported-datatype",
            Self::Field { .. } => "malformed",
            Self::Truncated { .. } => "truncated-pixels",
        }
    }
}

pub(super) fn field(field: &'static str, found: impl ToString, expected: &'static str) -> NiftiError {
    NiftiError::Field { field, found: found.to_string(), expected }
}

/// Voxel index to RAS mm: sform if its code is set, else qform, else the spacings alone (nibabel's `get_best_affine`).
fn affine(header: &Header) -> Option<Affine> {
    let (qform_code, sform_code) = header.form_codes;
    if sform_code > 0 {
        return Some(header.sform);
    }
    let spacing: Vec<f64> = header.pixdim[1..4].iter().map(|value| value.abs()).collect();
    if qform_code > 0 {
        return quaternion_affine(header, &spacing);
    }
    // nibabel's base affine: x flipped, centred on the volume.
    let half = |count: u32, spacing: f64| -(f64::from(count) - 1.0) / 2.0 * spacing;
    Some([
        [-spacing[0], 0.0, 0.0, -half(header.size.columns, spacing[0])],
        [0.0, spacing[1], 0.0, half(header.size.rows, spacing[1])],
        [0.0, 0.0, spacing[2], half(header.size.slices, spacing[2])],
    ])
}

/// NIfTI-1 method 2: rotation from the quaternion (b, c, d), qfac in `pixdim[0]`.
fn quaternion_affine(header: &Header, spacing: &[f64]) -> Option<Affine> {
    let [b, c, d] = header.quaternion;
    let square = 1.0 - (b * b + c * c + d * d);
    if !square.is_finite() || square < -1e-6 {
        return None;
    }
    let a = square.max(0.0).sqrt();
    let qfac = if header.pixdim[0] < 0.0 { -1.0 } else { 1.0 };
    let rotation = [
        [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
        [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
        [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - c * c - b * b],
    ];
    let offset = header.quaternion_offset;
    let row = |axis: usize| {
        let [x, y, z] = rotation[axis];
        [x * spacing[0], y * spacing[1], z * spacing[2] * qfac, offset[axis]]
    };
    Some([row(0), row(1), row(2)])
}

/// Milliseconds of one step along the time axis; `None` when its unit is unknown.
fn step_ms(header: &Header) -> Option<f64> {
    let step = header.pixdim[4];
    let unit_ms = match header.units & 0x38 {
        8 => 1000.0,
        16 => 1.0,
        24 => 0.001,
        _ => return None,
    };
    (step.is_finite() && step > 0.0).then_some(step * unit_ms)
}

fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"))
}

/// File name without its NIfTI endings.
pub fn stem(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut stem = name.as_str();
    for ending in [".gz", ".nii", ".hdr"] {
        stem = stem.strip_suffix(ending).unwrap_or(stem);
    }
    stem.to_owned()
}

/// The header of a NIfTI file, packed or not.
///
/// # Errors
/// [`NiftiError`].
pub fn read_header(content: &Content) -> Result<Header, NiftiError> {
    let start = content.start(header::HEADER_BYTES).map_err(ContentError::from)?;
    let start = match Packing::of(&start) {
        Some(packing) => unpack::peek(packing, content, header::HEADER_BYTES)?,
        None => start,
    };
    Header::parse(&start)
}

/// The split that a folder names, as the M&Ms collection's do.
fn split(relative: &str) -> Option<String> {
    let folders = relative.rsplit_once('/')?.0.to_lowercase();
    let named = |folder: &str| match folder {
        "train" | "training" => Some("train"),
        "val" | "validation" => Some("val"),
        "test" | "testing" => Some("test"),
        _ => None,
    };
    folders.split('/').find_map(named).map(str::to_owned)
}

/// The voxels must be real numbers, and all in the file.
fn check_voxels(header: &Header, place: &Place<'_>) -> Result<(), NiftiError> {
    let bytes_per_voxel = match header.datatype {
        2 | 256 => 1,
        4 | 512 => 2,
        8 | 16 | 768 => 4,
        64 | 1024 | 1280 => 8,
        32 | 1792 | 2048 => return Err(field("datatype", "complex", "real numbers; give the magnitude")),
        128 | 2304 => return Err(field("datatype", "colour", "one number per voxel")),
        other => return Err(field("datatype", other, "integers of 8 to 64 bits, float32 or float64")),
    };
    let pair = header.is_pair.then(|| image_file(place.opener, place.path)).transpose()?;
    let data = pair.as_ref().unwrap_or(place.content);
    let end = header.size.voxels().saturating_mul(bytes_per_voxel).saturating_add(header.offset);
    let there = match Packing::of(&data.start(4).map_err(ContentError::from)?) {
        None => data.bytes(),
        // What a gzip says of itself is believed where it is just right: then it was written to its end.
        Some(packing) if unpack::told_bytes(packing, data).map(u64::from) == Some(end) => end,
        Some(packing) => unpack::counted_bytes(packing, data)?,
    };
    if there < end { Err(NiftiError::Truncated { there }) } else { Ok(()) }
}

/// The voxels of a `.hdr`: the `.img` or `.img.gz` beside it.
///
/// # Errors
/// [`NiftiError::Read`] when there is none.
pub fn image_file(opener: &Opener, path: &Path) -> Result<Content, NiftiError> {
    let stem = stem(path);
    let beside = ["img", "img.gz", "IMG", "IMG.GZ"].map(|ending| path.with_file_name(format!("{stem}.{ending}")));
    let missing = || NiftiError::Read("its other half, the .img file of the same name, is missing".to_owned());
    beside.iter().find_map(|beside| opener.open(beside).ok()).ok_or_else(missing)
}

/// With the last extension (before `.gz`) replaced, where it was `from`.
fn with_half(path: &Path, from: &str, to: &str) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let (stem, gz) = name.strip_suffix(".gz").map_or((name, ""), |stem| (stem, ".gz"));
    let stem = stem.strip_suffix(from)?;
    Some(path.with_file_name(format!("{stem}{to}{gz}")))
}

/// The file with the voxels of a `.hdr`.
fn data_of(path: &Path) -> Option<PathBuf> {
    with_half(path, ".hdr", ".img")
}

/// Whether a file is the header of a pair.
pub fn is_header(path: &Path) -> bool {
    data_of(path).is_some()
}

/// The file with the header of an `.img`.
pub fn header_of(path: &Path) -> Option<PathBuf> {
    with_half(path, ".img", ".hdr")
}

/// A file and where it lies.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// Opens its other half.
    pub opener: &'a Opener,
    /// The file.
    pub path: &'a Path,
    /// Its path below the source.
    pub relative: &'a str,
    /// Its bytes, packed as they are.
    pub content: &'a Content,
}

/// The images of a NIfTI file.
///
/// # Errors
/// [`NiftiError`], which becomes a `rejected` row.
pub fn read(place: &Place<'_>) -> Result<Vec<Image>, NiftiError> {
    let Place { path, relative, content, .. } = *place;
    let header = read_header(content)?;
    check_voxels(&header, place)?;
    let size = header.size;
    let geometry = affine(&header).as_ref().and_then(VolumeGeometry::from_affine);
    let Some(geometry) = geometry else {
        return Err(field("affine", "degenerate", "perpendicular axes with positive spacings"));
    };
    let thickness = header.pixdim[3].abs();
    let stem = stem(path);
    let series = Arc::new(Series {
        format: Format::Nifti,
        person: Person { patient_id: Some(patient::patient(&stem, relative, path)), ..Person::default() },
        series_uid: relative.to_owned(),
        description: stem.to_lowercase(),
        contrast: name::contrast(&stem),
        phases_expected: i32::try_from(size.phases).ok(),
        slice_thickness_mm: (thickness > 0.0 && size.slices == 1).then_some(thickness),
        split: split(relative),
        ..Series::default()
    });
    let step = step_ms(&header);
    let mut images = Vec::new();
    for phase in 0..size.phases {
        for slice in 0..size.slices {
            images.push(Image {
                file: 0,
                frame: i32::try_from(phase * size.slices + slice).unwrap_or(i32::MAX),
                instance: relative.to_owned(),
                rows: size.rows,
                columns: size.columns,
                plane: Some(geometry.plane),
                position: Some(add(geometry.first_position, scale(geometry.slice_step, f64::from(slice)))),
                timing: Timing {
                    trigger_time_ms: step.filter(|_| size.phases > 1).map(|step| step * f64::from(phase)),
                    temporal_position: Some(i64::from(phase)),
                    instance_number: Some(i64::from(phase)),
                    ..Timing::default()
                },
                series: Arc::clone(&series),
            });
        }
    }
    Ok(images)
}

/// Whether a file's name says that it is NIfTI. `.img` is the other half of `.hdr`.
pub fn is_nifti(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name = if is_gzip(path) { name.trim_end_matches(".gz") } else { name.as_str() };
    name.ends_with(".nii") || name.ends_with(".hdr")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_the_challenge_name_the_split() {
        assert_eq!(split("OpenDataset/Validation/A1/A1_sa.nii.gz").as_deref(), Some("val"));
        assert_eq!(split("A1/A1_sa.nii.gz"), None);
        assert_eq!(split("test.nii.gz"), None);
    }

    fn header() -> Header {
        let mut bytes = vec![0_u8; 352];
        bytes[..4].copy_from_slice(&348_i32.to_le_bytes());
        bytes[344..348].copy_from_slice(b"n+1\0");
        for (axis, size) in [3_i16, 4, 6, 3, 1, 1, 1, 1].iter().enumerate() {
            bytes[40 + 2 * axis..42 + 2 * axis].copy_from_slice(&size.to_le_bytes());
        }
        Header { pixdim: [1.0, 2.0, 3.0, 8.0, 0.0, 0.0, 0.0, 0.0], ..Header::parse(&bytes).unwrap() }
    }

    /// By hand: qform with the identity rotation and offsets 10, 20, 30; qfac -1 turns the third axis round.
    #[test]
    fn the_affine_is_sform_then_qform_then_spacings() {
        let mut plain = header();
        // nibabel 5.4.2, Nifti1Image(zeros((4, 6, 3)), None, header with these zooms).header.get_base_affine()
        let base = [[-2.0, 0.0, 0.0, 3.0], [0.0, 3.0, 0.0, -7.5], [0.0, 0.0, 8.0, -8.0]];
        assert_eq!(affine(&plain), Some(base));
        plain.form_codes = (1, 0);
        plain.quaternion_offset = [10.0, 20.0, 30.0];
        plain.pixdim[0] = -1.0;
        let by_quaternion = [[2.0, 0.0, 0.0, 10.0], [0.0, 3.0, 0.0, 20.0], [0.0, 0.0, -8.0, 30.0]];
        assert_eq!(affine(&plain), Some(by_quaternion));
        plain.form_codes = (1, 1);
        plain.sform = [[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 2.0], [0.0, 0.0, 1.0, 3.0]];
        assert_eq!(affine(&plain).unwrap()[2], [0.0, 0.0, 1.0, 3.0]);
        plain.form_codes = (1, 0);
        plain.quaternion[0] = 2.0;
        assert_eq!(affine(&plain), None, "no unit quaternion");
    }
}
