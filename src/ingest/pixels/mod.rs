//! Pixels of the frames that ingest found, whatever file holds them: per frame its channels, `[rows, columns]` each, float32, with
//! the modality rescale applied. No resampling, no grouping, no clipping.
//!
//! DICOM and NIfTI have one channel; PNG and JPEG one or three (red, green, blue). Files are hostile: sizes are checked before
//! memory is taken, and a decoder that panics makes this file unreadable and nothing else.

pub mod codec;
pub mod dicom;
mod fragments;
pub mod nifti;
pub mod picture;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use ndarray::Array2;

use super::content::{ContentError, Opener};
use super::dicom::DicomError;
use super::nifti::NiftiError;
use crate::failure::Classify;

/// The channels of one frame, `[rows, columns]` each.
pub type Channels = Vec<Array2<f32>>;

/// No scanner makes larger images; a header that says so lies.
pub const FRAME_PIXELS_CAP: u64 = 1 << 26;

/// Why the pixels of a file cannot be used. The path is for stderr only.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PixelsError {
    /// The file cannot be read at all.
    #[error("`{}` {source}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ContentError,
    },
    /// DICOM whose pixels contradict its header.
    #[error("`{}`: no usable DICOM pixels", path.display())]
    Dicom {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: DicomError,
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

impl PixelsError {
    /// The ledger's word for it (`docs/ledger.md`): what can be said where the path may not.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Content { source, .. } => source.reason(),
            Self::Dicom { source, .. } => source.reason(),
            Self::Nifti { source, .. } => source.reason(),
            Self::Picture { .. } | Self::Frame { .. } | Self::Panicked { .. } => "malformed",
        }
    }
}

/// Reads `frames` (0-based; NIfTI: phase x slices + slice) of a file or of an archive's member, in the order given.
///
/// # Errors
/// [`PixelsError`] naming the file.
pub fn read_frames(opener: &Opener, path: &Path, frames: &[i32]) -> Result<Vec<Channels>, PixelsError> {
    if super::nifti::is_nifti(path) {
        return nifti::read(opener, path, frames);
    }
    let content = opener.open_unpacked(path).map_err(unreadable(path))?;
    let start = content.start(8).map_err(|error| unreadable(path)(error.into()))?;
    if picture::is_picture(&start) {
        picture::read(path, &content, frames)
    } else {
        dicom::read(path, &content, frames)
    }
}

/// Names the file in an error of its bytes.
fn unreadable(path: &Path) -> impl Fn(ContentError) -> PixelsError + '_ {
    |source| PixelsError::Content { path: path.to_path_buf(), source }
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
    use crate::fsx;

    #[test]
    fn a_file_that_is_no_image_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in
            [("empty.dcm", &b""[..]), ("note.txt", b"hello"), ("a.nii", b"short"), ("b.nii.gz", b"\x1f\x8b")]
        {
            let path = folder.path().join(name);
            fsx::write_atomic(&path, bytes).unwrap();
            let error = read_frames(&Opener::new(), &path, &[0]).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        let gone = read_frames(&Opener::new(), &folder.path().join("gone"), &[0]);
        assert!(matches!(gone, Err(PixelsError::Content { .. })));
    }
}
