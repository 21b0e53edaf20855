//! Pixels of the frames that ingest found, whatever file holds them: per frame its channels, `[rows, columns]` each, float32, with
//! the modality rescale applied. No resampling, no grouping, no clipping.
//!
//! DICOM and NIfTI have one channel; PNG and JPEG one or three (red, green, blue). Files are hostile: sizes are checked before
//! memory is taken, and a decoder that panics makes this file unreadable and nothing else.

pub mod dicom;
pub mod nifti;
pub mod picture;

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use ndarray::Array2;

use super::dicom::DicomError;
use super::nifti::NiftiError;
use crate::failure::Classify;
use crate::fsx::{self, FsError};

/// The channels of one frame, `[rows, columns]` each.
pub type Channels = Vec<Array2<f32>>;

/// No scanner makes larger images; a header that says so lies.
pub const FRAME_PIXELS_CAP: u64 = 1 << 26;
/// The largest file that is read: a day's cine as one enhanced object stays far below.
pub const FILE_BYTES_CAP: u64 = 1 << 32;

/// Why the pixels of a file cannot be used. The path is for stderr only.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PixelsError {
    /// The file cannot be read at all.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// DICOM whose pixels contradict its header.
    #[error("`{}`: no usable DICOM pixels", path.display())]
    Dicom {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: DicomError,
    },
    /// A compression that this build cannot undo.
    #[error("`{}` is compressed as {name} ({uid}), which this build cannot decode; decompress it first, for example with `gdcmconv --raw`", path.display())]
    Codec {
        /// The file.
        path: PathBuf,
        /// Name of the transfer syntax.
        name: &'static str,
        /// UID of the transfer syntax.
        uid: String,
    },
    /// NIfTI whose voxels contradict its header.
    #[error("`{}`: no usable NIfTI voxels", path.display())]
    Nifti {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: NiftiError,
    },
    /// A PNG or JPEG that cannot be decoded.
    #[error("`{}`: no usable image: {reason}", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// The decoder's reason.
        reason: String,
    },
    /// The cohort names a frame that the file does not have.
    #[error("`{}` has {frames} frames, no frame {wanted} (counted from 0); the file has changed since ingest: run it again", path.display())]
    Frame {
        /// The file.
        path: PathBuf,
        /// The wanted frame.
        wanted: i32,
        /// Frames of the file.
        frames: u64,
    },
    /// A decoder gave up in an unexpected way.
    #[error("`{}`: the decoder failed on malformed data", path.display())]
    Panicked {
        /// The file.
        path: PathBuf,
    },
}

impl Classify for PixelsError {}

/// Reads `frames` (0-based; NIfTI: phase x slices + slice) of a file, in the order given.
///
/// # Errors
/// [`PixelsError`] naming the file.
pub fn read_frames(path: &Path, frames: &[i32]) -> Result<Vec<Channels>, PixelsError> {
    let mut start = Vec::new();
    fsx::open(path)?.take(8).read_to_end(&mut start).map_err(fsx::io_error(path, "read"))?;
    if picture::is_picture(&start) {
        return picture::read(path, frames);
    }
    if super::nifti::is_nifti(path) {
        return nifti::read(path, frames);
    }
    dicom::read(path, frames)
}

/// A wanted frame as an index into a file of `frames` frames.
fn frame_index(path: &Path, wanted: i32, frames: u64) -> Result<u64, PixelsError> {
    let index = u64::try_from(wanted).ok().filter(|index| *index < frames);
    index.ok_or_else(|| PixelsError::Frame { path: path.to_path_buf(), wanted, frames })
}

/// Third-party decoders panic on some malformed data; one bad file must not end the program.
fn guarded<T>(path: &Path, decode: impl FnOnce() -> T) -> Result<T, PixelsError> {
    catch_unwind(AssertUnwindSafe(decode)).map_err(|_| PixelsError::Panicked { path: path.to_path_buf() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_image_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in
            [("empty.dcm", &b""[..]), ("note.txt", b"hello"), ("a.nii", b"short"), ("b.nii.gz", b"\x1f\x8b")]
        {
            let path = folder.path().join(name);
            fsx::write_atomic(&path, bytes).unwrap();
            let error = read_frames(&path, &[0]).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        assert!(matches!(read_frames(&folder.path().join("gone"), &[0]), Err(PixelsError::Fs(_))));
    }
}
