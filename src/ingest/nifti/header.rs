//! NIfTI-1 and NIfTI-2 headers, single files and pairs, either byte order (nifti1.h, nifti2.h of the NIH). Nothing is trusted.

use super::{NiftiError, field};

/// Bytes that hold the larger of both headers.
pub const HEADER_BYTES: usize = 544;
/// No cine has more voxels than this; protects from headers that lie.
const VOXELS_CAP: u64 = 1 << 31;
/// Header extensions are no larger than this.
const OFFSET_CAP: f64 = 1e9;
/// Header and its extension flag: the earliest place of voxels in a single file.
const LEAST_OFFSETS: [u64; 2] = [352, 544];
/// One vector per voxel, along the fifth axis.
const INTENT_VECTOR: i64 = 1007;

/// Sizes i, j, k, t of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// i.
    pub columns: u32,
    /// j.
    pub rows: u32,
    /// k.
    pub slices: u32,
    /// t, or the fifth axis where there is no fourth.
    pub phases: u32,
}

impl Size {
    /// All voxels; at most 2^31.
    pub fn voxels(self) -> u64 {
        [self.columns, self.rows, self.slices, self.phases].map(u64::from).iter().product()
    }
}

/// What is read of a header.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Sizes.
    pub size: Size,
    /// Spacings by axis number; `pixdim[0]` is qfac.
    pub pixdim: [f64; 8],
    /// Datatype code.
    pub datatype: i64,
    /// Whether numbers are big-endian.
    pub is_big: bool,
    /// Whether the voxels lie in an `.img` file.
    pub is_pair: bool,
    /// First byte of the voxels.
    pub offset: u64,
    /// `scl_slope` and `scl_inter` as written.
    pub scaling: (f64, f64),
    /// `qform_code` and `sform_code`.
    pub form_codes: (i64, i64),
    /// Quaternion b, c, d.
    pub quaternion: [f64; 3],
    /// `qoffset_x`, y, z.
    pub quaternion_offset: [f64; 3],
    /// `srow_x`, y, z.
    pub sform: [[f64; 4]; 3],
    /// `xyzt_units`.
    pub units: i64,
}

/// Reads fields at fixed places.
struct Fields<'a> {
    bytes: &'a [u8],
    is_big: bool,
}

impl Fields<'_> {
    fn raw<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut little = [0; N];
        // Places lie within the header, whose length was checked; a shorter file would read zeros.
        if let Some(found) = self.bytes.get(at..at + N) {
            little.copy_from_slice(found);
        }
        if self.is_big {
            little.reverse();
        }
        little
    }

    fn i16(&self, at: usize) -> i64 {
        i64::from(i16::from_le_bytes(self.raw(at)))
    }

    fn i32(&self, at: usize) -> i64 {
        i64::from(i32::from_le_bytes(self.raw(at)))
    }

    fn i64(&self, at: usize) -> i64 {
        i64::from_le_bytes(self.raw(at))
    }

    fn f32(&self, at: usize) -> f64 {
        f64::from(f32::from_le_bytes(self.raw(at)))
    }

    fn f64(&self, at: usize) -> f64 {
        f64::from_le_bytes(self.raw(at))
    }
}

/// `N` fields of `width` bytes from `at` on.
fn row<const N: usize>(at: usize, width: usize, read: impl Fn(usize) -> f64) -> [f64; N] {
    std::array::from_fn(|index| read(at + width * index))
}

impl Header {
    /// Parses the first [`HEADER_BYTES`] of a file.
    ///
    /// # Errors
    /// [`NiftiError::Read`] when it is no NIfTI, [`NiftiError::Field`] for a field that cannot be.
    pub fn parse(bytes: &[u8]) -> Result<Self, NiftiError> {
        let first: [u8; 4] = bytes.get(..4).and_then(|first| first.try_into().ok()).unwrap_or_default();
        match (i32::from_le_bytes(first), i32::from_be_bytes(first)) {
            (348, _) => Self::first_version(&Fields { bytes, is_big: false }),
            (_, 348) => Self::first_version(&Fields { bytes, is_big: true }),
            (540, _) => Self::second_version(&Fields { bytes, is_big: false }),
            (_, 540) => Self::second_version(&Fields { bytes, is_big: true }),
            _ => Err(NiftiError::Read("sizeof_hdr is neither 348 nor 540".to_owned())),
        }
    }

    fn first_version(fields: &Fields<'_>) -> Result<Self, NiftiError> {
        let is_pair = match fields.bytes.get(344..348) {
            Some(b"n+1\0") => false,
            Some(b"ni1\0") => true,
            Some(_) => return Err(NiftiError::Read("no NIfTI-1 magic: Analyze 7.5 has no orientation".to_owned())),
            None => return Err(NiftiError::Read("the header is cut off".to_owned())),
        };
        let dim = std::array::from_fn(|axis| fields.i16(40 + 2 * axis));
        Ok(Self {
            size: size(dim, fields.i16(68))?,
            pixdim: row(76, 4, |at| fields.f32(at)),
            datatype: fields.i16(70),
            is_big: fields.is_big,
            is_pair,
            offset: offset(fields.f32(108), is_pair, 0)?,
            scaling: (fields.f32(112), fields.f32(116)),
            form_codes: (fields.i16(252), fields.i16(254)),
            quaternion: row(256, 4, |at| fields.f32(at)),
            quaternion_offset: row(268, 4, |at| fields.f32(at)),
            sform: [280, 296, 312].map(|at| row(at, 4, |at| fields.f32(at))),
            units: i64::from(fields.bytes[123]),
        })
    }

    fn second_version(fields: &Fields<'_>) -> Result<Self, NiftiError> {
        let is_pair = match fields.bytes.get(4..12) {
            Some(b"n+2\0\r\n\x1a\n") => false,
            Some(b"ni2\0\r\n\x1a\n") => true,
            _ => return Err(NiftiError::Read("no NIfTI-2 magic: a transfer as text has changed it".to_owned())),
        };
        if fields.bytes.len() < 540 {
            return Err(NiftiError::Read("the header is cut off".to_owned()));
        }
        let dim = std::array::from_fn(|axis| fields.i64(16 + 8 * axis));
        // Exact up to 2^53; more is refused.
        let start = fields.i64(168) as f64;
        Ok(Self {
            size: size(dim, fields.i32(504))?,
            pixdim: row(104, 8, |at| fields.f64(at)),
            datatype: fields.i16(12),
            is_big: fields.is_big,
            is_pair,
            offset: offset(start, is_pair, 1)?,
            scaling: (fields.f64(176), fields.f64(184)),
            form_codes: (fields.i32(344), fields.i32(348)),
            quaternion: row(352, 8, |at| fields.f64(at)),
            quaternion_offset: row(376, 8, |at| fields.f64(at)),
            sform: [400, 432, 464].map(|at| row(at, 8, |at| fields.f64(at))),
            units: fields.i32(500),
        })
    }
}

fn offset(found: f64, is_pair: bool, version: usize) -> Result<u64, NiftiError> {
    if !(0.0..=OFFSET_CAP).contains(&found) {
        return Err(field("vox_offset", found, "a number of bytes"));
    }
    // 0 to 1e9, whole or cut to whole: exact in u64.
    let offset = found as u64;
    Ok(if is_pair { offset } else { offset.max(LEAST_OFFSETS[version]) })
}

fn size(dim: [i64; 8], intent: i64) -> Result<Size, NiftiError> {
    let shown = || format!("{dim:?}");
    let count = usize::try_from(dim[0]).unwrap_or(0);
    if !(2..=7).contains(&count) {
        return Err(field("dim[0]", dim[0], "2 to 7 axes"));
    }
    let axis = |index: usize| if index <= count { dim[index] } else { 1 };
    if let Some(wrong) = (1..=count).find(|index| axis(*index) < 1) {
        return Err(field("dim", format!("{} on axis {wrong}", axis(wrong)), "sizes above 0"));
    }
    let phases = match (axis(4), axis(5)) {
        (_, 2..) if intent == INTENT_VECTOR => {
            return Err(field("intent_code", "a vector per voxel", "one number per voxel"));
        }
        (time, 1) => time,
        // Some writers put the cycle on the fifth axis and leave the fourth 1.
        (1, other) => other,
        _ => return Err(field("dim", shown(), "one axis besides the three of space")),
    };
    if axis(6) > 1 || axis(7) > 1 {
        return Err(field("dim", shown(), "one axis besides the three of space"));
    }
    let narrow = |value: i64| u32::try_from(value).map_err(|_| field("dim", shown(), "sizes below 2^32"));
    let size =
        Size { columns: narrow(axis(1))?, rows: narrow(axis(2))?, slices: narrow(axis(3))?, phases: narrow(phases)? };
    let sides = [size.columns, size.rows, size.slices, size.phases];
    let voxels = sides.iter().try_fold(1_u64, |all, side| all.checked_mul(u64::from(*side)));
    if voxels.is_none_or(|voxels| voxels > VOXELS_CAP) {
        return Err(field("dim", shown(), "at most 2^31 voxels"));
    }
    Ok(size)
}
