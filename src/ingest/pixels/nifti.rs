//! Voxels of NIfTI files, only the wanted frames: a stream is read up to the last of them, so that memory follows what is asked
//! for and never what a header claims. Column index i runs fastest, then row j, slice k, phase t.

use std::io::Read;
use std::path::Path;

use ndarray::Array2;

use super::super::content::unpack::{self, Packing};
use super::super::content::{Content, ContentError, Opener};
use super::super::nifti::{Header, NiftiError, Size, field, image_file, read_header};
use super::{Channels, FRAME_PIXELS_CAP, PixelsError, frame_index, unreadable};

/// Bytes behind the voxels that are read to reach the checksum; more is not waited for.
const TRAILING_CAP_BYTES: u64 = 1 << 20;

/// How one voxel is stored: NIfTI-1 datatype codes of one real number.
#[derive(Debug, Clone, Copy)]
enum Kind {
    U8,
    I16,
    I32,
    F32,
    F64,
    I8,
    U16,
    U32,
    I64,
    U64,
}

impl Kind {
    fn of(code: i64) -> Option<Self> {
        Some(match code {
            2 => Self::U8,
            4 => Self::I16,
            8 => Self::I32,
            16 => Self::F32,
            64 => Self::F64,
            256 => Self::I8,
            512 => Self::U16,
            768 => Self::U32,
            1024 => Self::I64,
            1280 => Self::U64,
            _ => return None,
        })
    }

    fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }

    /// The number in little-endian `bytes` (as many as [`Kind::bytes`], the rest 0). 64-bit integers are rounded to float64.
    #[expect(clippy::cast_precision_loss, reason = "said in the doc")]
    fn number(self, bytes: [u8; 8]) -> f64 {
        let [a, b, c, d, ..] = bytes;
        match self {
            Self::U8 => f64::from(a),
            Self::I8 => f64::from(i8::from_le_bytes([a])),
            Self::I16 => f64::from(i16::from_le_bytes([a, b])),
            Self::U16 => f64::from(u16::from_le_bytes([a, b])),
            Self::I32 => f64::from(i32::from_le_bytes([a, b, c, d])),
            Self::U32 => f64::from(u32::from_le_bytes([a, b, c, d])),
            Self::F32 => f64::from(f32::from_le_bytes([a, b, c, d])),
            Self::I64 => i64::from_le_bytes(bytes) as f64,
            Self::U64 => u64::from_le_bytes(bytes) as f64,
            Self::F64 => f64::from_le_bytes(bytes),
        }
    }
}

/// How the voxels of a volume are laid out and scaled.
struct Layout {
    size: Size,
    kind: Kind,
    swap: bool,
    slope: f64,
    inter: f64,
    offset: u64,
}

impl Layout {
    fn of(header: &Header) -> Result<Self, NiftiError> {
        let expected = "a code of one real number per voxel (2, 4, 8, 16, 64, 256, 512, 768, 1024, 1280)";
        let kind = Kind::of(header.datatype).ok_or_else(|| field("datatype", header.datatype, expected))?;
        let size = header.size;
        if u64::from(size.rows) * u64::from(size.columns) > FRAME_PIXELS_CAP {
            let found = format!("{} x {}", size.columns, size.rows);
            return Err(field("dim", found, "at most 2^26 pixels a slice"));
        }
        let (slope, inter) = scaling(header)?;
        Ok(Self { size, kind, swap: header.is_big, slope, inter, offset: header.offset })
    }

    fn frame_bytes(&self) -> u64 {
        u64::from(self.size.rows) * u64::from(self.size.columns) * self.kind.bytes() as u64
    }

    fn frame(&self, bytes: &[u8]) -> Result<Array2<f32>, NiftiError> {
        let width = self.kind.bytes();
        let value = |voxel: &[u8]| {
            let mut little = [0_u8; 8];
            little[..width].copy_from_slice(voxel);
            if self.swap {
                little[..width].reverse();
            }
            (self.kind.number(little) * self.slope + self.inter) as f32
        };
        let values = bytes.chunks_exact(width).map(value).collect();
        let shape = (self.size.rows as usize, self.size.columns as usize);
        Array2::from_shape_vec(shape, values).map_err(|error| NiftiError::Read(error.to_string()))
    }
}

/// `scl_slope` and `scl_inter`; a slope of 0 or NaN means none (NIfTI-1 standard; nibabel does the same).
fn scaling(header: &Header) -> Result<(f64, f64), NiftiError> {
    let (slope, inter) = header.scaling;
    if slope == 0.0 || !slope.is_finite() {
        return Ok((1.0, 0.0));
    }
    if !inter.is_finite() {
        return Err(field("scl_inter", inter, "a finite number beside a valid scl_slope"));
    }
    Ok((slope, inter))
}

/// The bytes of a file, at any place or unpacked as they are read.
enum Stream {
    Plain(Content),
    Packed { inner: Box<dyn Read + Send>, at: u64, packing: Packing },
}

impl Stream {
    fn open(content: Content) -> Result<Self, ContentError> {
        Ok(match Packing::of(&content.start(4)?) {
            Some(packing) => Self::Packed { inner: packing.stream(&content)?, at: 0, packing },
            None => Self::Plain(content),
        })
    }

    /// `count` bytes from `offset`, which lies behind what was read before; fewer at the end of the file.
    fn read_at(&mut self, offset: u64, count: u64) -> Result<Vec<u8>, ContentError> {
        match self {
            Self::Plain(content) => Ok(content.range(offset, count)?),
            Self::Packed { inner, at, packing } => {
                let damaged = |error| unpack::damaged(packing.name(), &error);
                let mut bytes = Vec::new();
                let skip = offset.saturating_sub(*at);
                *at += std::io::copy(&mut inner.by_ref().take(skip), &mut std::io::sink()).map_err(damaged)?;
                inner.by_ref().take(count).read_to_end(&mut bytes).map_err(damaged)?;
                *at += bytes.len() as u64;
                Ok(bytes)
            }
        }
    }

    /// Reads what little may follow, and with it the checksum of a compressed file.
    fn finish(&mut self) -> Result<(), ContentError> {
        if let Self::Packed { inner, packing, .. } = self {
            let rest = std::io::copy(&mut inner.by_ref().take(TRAILING_CAP_BYTES), &mut std::io::sink());
            rest.map_err(|error| unpack::damaged(packing.name(), &error))?;
        }
        Ok(())
    }
}

/// Reads frames (phase x slices + slice) of a NIfTI file.
///
/// # Errors
/// [`PixelsError`] naming the file and the header's field.
pub fn read(opener: &Opener, path: &Path, frames: &[i32]) -> Result<Vec<Channels>, PixelsError> {
    let wrong = |source: NiftiError| PixelsError::Nifti { path: path.to_path_buf(), source };
    let content = opener.open(path).map_err(unreadable(path))?;
    let header = read_header(&content).map_err(wrong)?;
    let layout = Layout::of(&header).map_err(wrong)?;
    let count = u64::from(header.size.slices) * u64::from(header.size.phases);
    let indices = frames.iter().map(|frame| frame_index(path, *frame, count)).collect::<Result<Vec<_>, _>>()?;
    // A compressed stream only runs forward: read in file order, hand out in the order asked for.
    let mut order: Vec<usize> = (0..indices.len()).collect();
    order.sort_by_key(|place| indices[*place]);
    let voxels = if header.is_pair { image_file(opener, path).map_err(wrong)? } else { content };
    let mut stream = Stream::open(voxels).map_err(unreadable(path))?;
    let mut found: Vec<Channels> = vec![Vec::new(); frames.len()];
    let mut previous: Option<usize> = None;
    for place in order {
        if let Some(same) = previous.filter(|same| indices[*same] == indices[place]) {
            found[place] = found[same].clone();
            continue;
        }
        let bytes = layout.frame_bytes();
        let offset = layout.offset.saturating_add(indices[place].saturating_mul(bytes));
        let read = stream.read_at(offset, bytes).map_err(unreadable(path))?;
        if read.len() as u64 != bytes {
            let expected = "as many voxels as the header's dim";
            return Err(wrong(field("voxels", format!("cut off in frame {}", indices[place]), expected)));
        }
        found[place] = vec![layout.frame(&read).map_err(wrong)?];
        previous = Some(place);
    }
    // Behind the last frame comes the checksum of a compressed file: only reading it says that the voxels are the written ones.
    if previous.is_some_and(|last| indices[last] + 1 == count) {
        stream.finish().map_err(unreadable(path))?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use std::path::PathBuf;

    use super::*;
    use crate::fsx;

    fn read(path: &Path, frames: &[i32]) -> Result<Vec<Channels>, PixelsError> {
        super::read(&Opener::new(), path, frames)
    }

    /// A little-endian header of 2 x 3 x 2 x 2 int16 voxels and the voxels 0, 1, 2, ...
    fn volume(slope: f32, inter: f32) -> Vec<u8> {
        let mut bytes = vec![0_u8; 352];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &348_i32.to_le_bytes());
        for (axis, size) in [4_i16, 2, 3, 2, 2, 1, 1, 1].iter().enumerate() {
            put(40 + 2 * axis, &size.to_le_bytes());
        }
        put(70, &4_i16.to_le_bytes());
        put(72, &16_i16.to_le_bytes());
        put(108, &352_f32.to_le_bytes());
        put(112, &slope.to_le_bytes());
        put(116, &inter.to_le_bytes());
        put(344, b"n+1\0");
        bytes.extend((0..24_i16).flat_map(i16::to_le_bytes));
        bytes
    }

    fn written(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fsx::write_atomic(&path, bytes).unwrap();
        (folder, path)
    }

    fn compressed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// By hand: i is the column and runs fastest, frame = phase x slices + slice; 2 v + 1.
    #[test]
    fn frames_come_in_the_order_asked_for_scaled() {
        for (name, bytes) in [("a.nii", volume(2.0, 1.0)), ("a.nii.gz", compressed(&volume(2.0, 1.0)))] {
            let (_folder, path) = written(name, &bytes);
            let read = read(&path, &[2, 0, 2]).unwrap();
            assert_eq!(read[1][0], ndarray::arr2(&[[1.0, 3.0], [5.0, 7.0], [9.0, 11.0]]));
            assert_eq!(read[0][0][(0, 0)], 25.0);
            assert_eq!(read[0], read[2]);
        }
    }

    /// nibabel's rule: a slope of 0 or NaN is none.
    #[test]
    fn a_slope_of_0_is_none_and_half_a_scaling_is_an_error() {
        let (_folder, path) = written("a.nii", &volume(0.0, 5.0));
        assert_eq!(read(&path, &[0]).unwrap()[0][0][(2, 1)], 5.0);
        let (_folder, path) = written("a.nii", &volume(2.0, f32::NAN));
        assert!(matches!(read(&path, &[0]), Err(PixelsError::Nifti { .. })));
    }

    #[test]
    fn a_damaged_or_cut_file_is_refused() {
        let good = compressed(&volume(1.0, 0.0));
        let mut damaged = good.clone();
        // A voxel of the last frame: stored uncompressed, so only the checksum tells.
        let place = damaged.len() - 8 - 4;
        damaged[place] ^= 1;
        let (_folder, path) = written("a.nii.gz", &damaged);
        assert!(read(&path, &[0]).is_ok());
        let reason = |path: &Path, frames: &[i32]| read(path, frames).unwrap_err().reason();
        assert_eq!(reason(&path, &[0, 3]), "damaged-archive");
        let (_folder, path) = written("a.nii.gz", &good[..good.len() - 20]);
        assert_eq!(reason(&path, &[3]), "damaged-archive");
        let whole = volume(1.0, 0.0);
        let (_folder, path) = written("a.nii", &whole[..whole.len() - 1]);
        assert!(read(&path, &[2]).is_ok());
        assert!(matches!(read(&path, &[3]), Err(PixelsError::Nifti { .. })));
        assert!(matches!(read(&path, &[4]), Err(PixelsError::Frame { wanted: 4, frames: 4, .. })));
    }
}
