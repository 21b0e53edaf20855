//! The image shards of a DATASET: `images-00000.npy`, `[n, c, h, w]` little-endian float16 in C order, as numpy writes them (NPY 1.0).
//!
//! No shard is held, and only one that is being read is open, however many there are; the trainer maps the files.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::dataset::DatasetError;
use crate::fsx;

/// Magic and padded header: the pixels start here in every file written by this program.
const HEADER_BYTES: usize = 128;

/// A header longer than this is not numpy's.
const HEADER_CAP_BYTES: u64 = 64 << 10;

/// Name of shard `number`.
pub fn shard_name(number: usize) -> String {
    format!("images-{number:05}.npy")
}

/// The whole file of `images`, whose length is a multiple of the product of `shape` = (c, h, w).
///
/// # Panics
/// When `images` is no whole number of images: a caller's bug.
pub fn npy_bytes(shape: (usize, usize, usize), images: &[f16]) -> Vec<u8> {
    let (channels, height, width) = shape;
    let per_image = channels * height * width;
    assert!(per_image > 0 && images.len().is_multiple_of(per_image), "a whole number of images");
    let rows = images.len() / per_image;
    let text =
        format!("{{'descr': '<f2', 'fortran_order': False, 'shape': ({rows}, {channels}, {height}, {width}), }}");
    let mut bytes = Vec::with_capacity(HEADER_BYTES + images.len() * 2);
    bytes.extend_from_slice(b"\x93NUMPY\x01\x00");
    let header_bytes = u16::try_from(HEADER_BYTES - 10).expect("118 fits");
    bytes.extend_from_slice(&header_bytes.to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes.resize(HEADER_BYTES - 1, b' ');
    bytes.push(b'\n');
    bytes.resize(HEADER_BYTES + images.len() * 2, 0);
    let pixels = bytes[HEADER_BYTES..].chunks_exact_mut(2);
    pixels.zip(images).for_each(|(two, value)| two.copy_from_slice(&value.to_le_bytes()));
    bytes
}

/// Writes a shard atomically.
///
/// # Errors
/// [`DatasetError::Fs`].
pub fn write_shard(path: &Path, bytes: &[u8]) -> Result<(), DatasetError> {
    Ok(fsx::write_atomic_with(path, |file| file.write_all(bytes))?)
}

/// A shard whose header and size are right.
#[derive(Debug)]
pub struct Shard {
    path: PathBuf,
    /// Byte at which the pixels start, even.
    start: u64,
    /// Images in the file.
    rows: usize,
    per_image: usize,
}

impl Shard {
    /// Checks a shard whose images have `shape` = (c, h, w).
    ///
    /// # Errors
    /// [`DatasetError::Value`] when it is no float16 C-order array of that shape or not as long as its header says.
    pub fn check(path: &Path, shape: (usize, usize, usize)) -> Result<Self, DatasetError> {
        let value = |name, found: String, expected: String| DatasetError::Value {
            path: path.to_path_buf(),
            name,
            found,
            expected,
        };
        let mut file = fsx::open(path)?;
        let npy = |source: io::Error| value("header", source.to_string(), "an NPY file".into());
        let header = npyz::NpyHeader::from_reader(Read::by_ref(&mut file).take(HEADER_CAP_BYTES)).map_err(npy)?;
        let start = file.stream_position().map_err(fsx::io_error(path, "read"))?;
        if !start.is_multiple_of(2) {
            return Err(value("header", format!("{start} bytes"), "an even number of bytes, as numpy writes".into()));
        }
        let dtype = header.dtype().descr();
        if dtype != "'<f2'" || header.order() != npyz::Order::C {
            return Err(value("dtype", dtype, "'<f2' in C order".into()));
        }
        let (channels, height, width) = shape;
        let found = header.shape();
        let wanted = [channels as u64, height as u64, width as u64];
        if found.len() != 4 || found[1..] != wanted {
            return Err(value("shape", format!("{found:?}"), format!("[n, {channels}, {height}, {width}]")));
        }
        let bytes =
            wanted.iter().chain([&found[0], &2]).try_fold(1_u64, |product, &factor| product.checked_mul(factor));
        let size = fsx::size_bytes(path)?;
        if bytes.and_then(|bytes| bytes.checked_add(start)) != Some(size) {
            return Err(value("size", format!("{size} bytes"), format!("what its shape {found:?} says")));
        }
        let rows =
            usize::try_from(found[0]).map_err(|_| value("shape", format!("{found:?}"), "fewer images".into()))?;
        Ok(Self { path: path.to_path_buf(), start, rows, per_image: channels * height * width })
    }

    /// Images in the file.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Float16 numbers before the pixels, were the header some.
    pub fn values_before_pixels(&self) -> usize {
        usize::try_from(self.start / 2).expect("a header is at most 64 KiB")
    }

    /// Opens it for reading rows.
    ///
    /// # Errors
    /// [`DatasetError::Fs`].
    pub fn open(&self) -> Result<OpenShard<'_>, DatasetError> {
        Ok(OpenShard { shard: self, file: fsx::open(&self.path)? })
    }
}

/// A shard whose rows are read by position: no copy of it is held, the system's page cache serves all readers.
#[derive(Debug)]
pub struct OpenShard<'a> {
    shard: &'a Shard,
    file: File,
}

impl OpenShard<'_> {
    /// Reads image `row` as float32 into `image`, whose length is c x h x w; `scratch` is reused between calls.
    ///
    /// # Errors
    /// [`DatasetError::Value`] for a row outside the file, [`DatasetError::Fs`].
    ///
    /// # Panics
    /// When `image` has another length: a caller's bug.
    pub fn read(&self, row: usize, image: &mut [f32], scratch: &mut Vec<u8>) -> Result<(), DatasetError> {
        let Shard { path, start, rows, per_image } = self.shard;
        assert_eq!(image.len(), *per_image, "one image");
        if row >= *rows {
            return Err(DatasetError::Value {
                path: path.clone(),
                name: "row",
                found: row.to_string(),
                expected: format!("below {rows}"),
            });
        }
        scratch.resize(per_image * 2, 0);
        let offset = start + (row * per_image * 2) as u64;
        fsx::read_exact_at(&self.file, path, scratch, offset)?;
        let halves: Vec<f16> = scratch.chunks_exact(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]])).collect();
        halves.convert_to_f32_slice(image);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_come_back_as_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(shard_name(0));
        let images: Vec<f16> = (0..2 * 2 * 3 * 5_u16).map(|value| f16::from_f32(f32::from(value) / 4.0)).collect();
        write_shard(&path, &npy_bytes((2, 3, 5), &images)).unwrap();
        let shard = Shard::check(&path, (2, 3, 5)).unwrap();
        assert_eq!(shard.rows(), 2);
        let shard = shard.open().unwrap();
        let (mut image, mut scratch) = (vec![0.0; 30], Vec::new());
        shard.read(1, &mut image, &mut scratch).unwrap();
        assert_eq!(image, images[30..].iter().map(|value| value.to_f32()).collect::<Vec<_>>());
        assert!(shard.read(2, &mut image, &mut scratch).is_err());
    }

    #[test]
    fn another_shape_and_a_truncated_file_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(shard_name(0));
        let bytes = npy_bytes((1, 2, 2), &[f16::ONE; 8]);
        write_shard(&path, &bytes).unwrap();
        assert!(matches!(Shard::check(&path, (1, 2, 3)), Err(DatasetError::Value { name: "shape", .. })));
        write_shard(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(matches!(Shard::check(&path, (1, 2, 2)), Err(DatasetError::Value { name: "size", .. })));
        // A header that is one space longer than numpy's, so that the pixels lie across the numbers of a mapped file.
        let length = (u16::try_from(HEADER_BYTES).unwrap() - 10 + 1).to_le_bytes();
        let odd = [&bytes[..8], &length, &bytes[10..HEADER_BYTES - 1], b" \n", &bytes[HEADER_BYTES..]].concat();
        write_shard(&path, &odd).unwrap();
        assert!(matches!(Shard::check(&path, (1, 2, 2)), Err(DatasetError::Value { name: "header", .. })));
    }
}
