//! PNG and JPEG: grey is one channel, colour three. Alpha is dropped, palettes become colour; EXIF rotation is not applied.
//!
//! Values are as stored; 16-bit colour is brought to the 8-bit scale, so that colour is 0 to 255 whatever the file.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use ndarray::Array2;

use super::super::content::{Content, Opener};
use super::{Channels, FRAME_PIXELS_CAP, PixelsError, frame_index, guarded, unreadable};

/// The largest PNG or JPEG that is read.
const BYTES_CAP: u64 = 1 << 28;
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG: &[u8] = b"\xff\xd8\xff";
/// 65535 / 255.
const WIDE_TO_BYTE: f32 = 257.0;

/// Whether a file that starts with these bytes (8 of them) is PNG or JPEG.
pub fn is_picture(start: &[u8]) -> bool {
    start.starts_with(PNG) || start.starts_with(JPEG)
}

/// All bytes of a picture.
fn whole(path: &Path, content: &Content) -> Result<Vec<u8>, PixelsError> {
    if content.bytes() > BYTES_CAP {
        let reason = format!("{} bytes, expected at most {BYTES_CAP}", content.bytes());
        return Err(PixelsError::Picture { path: path.to_path_buf(), reason });
    }
    content.start(usize::MAX).map_err(|error| unreadable(path)(error.into()))
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    // The decoder's own memory: at most four channels of 16 bits, and as much again for its work.
    limits.max_alloc = Some(FRAME_PIXELS_CAP * 16);
    limits
}

/// Opens the decoder after checking what the header says.
fn decoder<'a>(path: &Path, bytes: &'a [u8]) -> Result<impl ImageDecoder + 'a, PixelsError> {
    let wrong = |reason: String| PixelsError::Picture { path: path.to_path_buf(), reason };
    let format = if bytes.starts_with(PNG) { ImageFormat::Png } else { ImageFormat::Jpeg };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits());
    let decoder = reader.into_decoder().map_err(|error| wrong(error.to_string()))?;
    let (columns, rows) = decoder.dimensions();
    let pixels = u64::from(columns) * u64::from(rows);
    if pixels == 0 || pixels > FRAME_PIXELS_CAP {
        return Err(wrong(format!("{rows} x {columns} pixels, expected 1 to {FRAME_PIXELS_CAP}")));
    }
    Ok(decoder)
}

/// Rows and columns of a PNG or JPEG, from its header.
///
/// # Errors
/// [`PixelsError`] when the header cannot be read.
pub fn size(opener: &Opener, path: &Path) -> Result<(u32, u32), PixelsError> {
    let bytes = whole(path, &opener.open_unpacked(path).map_err(unreadable(path))?)?;
    if !is_picture(&bytes) {
        return Err(PixelsError::Picture { path: path.to_path_buf(), reason: "neither PNG nor JPEG".to_owned() });
    }
    let (columns, rows) = guarded(path, || decoder(path, &bytes).map(|decoder| decoder.dimensions()))??;
    Ok((rows, columns))
}

/// Reads a PNG or JPEG, whose only frame is 0.
///
/// # Errors
/// [`PixelsError`].
pub fn read(path: &Path, content: &Content, frames: &[i32]) -> Result<Vec<Channels>, PixelsError> {
    for frame in frames {
        frame_index(path, *frame, 1)?;
    }
    let bytes = whole(path, content)?;
    let wrong = |reason: String| PixelsError::Picture { path: path.to_path_buf(), reason };
    let decoded = guarded(path, || {
        let decoder = decoder(path, &bytes)?;
        DynamicImage::from_decoder(decoder).map_err(|error| wrong(error.to_string()))
    })??;
    let channels = channels(decoded).map_err(|error| wrong(error.to_string()))?;
    Ok(vec![channels; frames.len()])
}

fn channels(decoded: DynamicImage) -> Result<Channels, ndarray::ShapeError> {
    // An image within the cap has fewer than 2^32 rows and columns: usize is at least as wide here.
    let size = (decoded.height() as usize, decoded.width() as usize);
    match decoded {
        DynamicImage::ImageLuma8(_) | DynamicImage::ImageLumaA8(_) => planes(size, decoded.to_luma8().as_raw(), 1, 1.0),
        DynamicImage::ImageLuma16(_) | DynamicImage::ImageLumaA16(_) => {
            planes(size, decoded.to_luma16().as_raw(), 1, 1.0)
        }
        DynamicImage::ImageRgb16(_) | DynamicImage::ImageRgba16(_) => {
            planes(size, decoded.to_rgb16().as_raw(), 3, WIDE_TO_BYTE)
        }
        other => planes(size, other.to_rgb8().as_raw(), 3, 1.0),
    }
}

/// Takes interleaved samples apart.
fn planes<T: Copy + Into<f32>>(
    size: (usize, usize),
    samples: &[T],
    channels: usize,
    divisor: f32,
) -> Result<Channels, ndarray::ShapeError> {
    let plane = |channel: usize| {
        let values = samples.iter().skip(channel).step_by(channels).map(|&value| value.into() / divisor).collect();
        Array2::from_shape_vec(size, values)
    };
    (0..channels).map(plane).collect()
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, Luma, Rgb, Rgba};

    use super::*;
    use crate::fsx;

    fn read(path: &Path, frames: &[i32]) -> Result<Vec<Channels>, PixelsError> {
        super::read(path, &Opener::new().open(path).unwrap(), frames)
    }

    fn written(image: DynamicImage) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let mut bytes = Vec::new();
        image.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
        fsx::write_atomic(&path, &bytes).unwrap();
        (folder, path)
    }

    #[test]
    fn grey_is_one_channel_in_rows_and_columns_and_keeps_16_bits() {
        let grey = ImageBuffer::from_fn(3, 2, |column, row| Luma([u16::try_from(1000 * row + column).unwrap()]));
        let (_folder, path) = written(DynamicImage::ImageLuma16(grey));
        let read = read(&path, &[0]).unwrap();
        assert_eq!(read[0].len(), 1);
        assert_eq!(read[0][0], ndarray::arr2(&[[0.0, 1.0, 2.0], [1000.0, 1001.0, 1002.0]]));
        assert_eq!(size(&Opener::new(), &path).unwrap(), (2, 3));
    }

    #[test]
    fn colour_is_three_channels_on_the_8_bit_scale_without_alpha() {
        let bytes = ImageBuffer::from_pixel(2, 2, Rgba([1_u8, 2, 3, 0]));
        let wide = ImageBuffer::from_pixel(2, 2, Rgb([257_u16, 514, 771]));
        for image in [DynamicImage::ImageRgba8(bytes), DynamicImage::ImageRgb16(wide)] {
            let (_folder, path) = written(image);
            let values: Vec<f32> = read(&path, &[0]).unwrap()[0].iter().map(|channel| channel[(1, 0)]).collect();
            assert_eq!(values, [1.0, 2.0, 3.0]);
        }
    }

    #[test]
    fn another_frame_a_cut_file_and_a_giant_header_are_errors() {
        let (folder, path) = written(DynamicImage::ImageLuma8(ImageBuffer::from_pixel(64, 64, Luma([7_u8]))));
        assert!(matches!(read(&path, &[1]), Err(PixelsError::Frame { wanted: 1, frames: 1, .. })));
        let mut bytes = fsx::read(&path, 10_000).unwrap();
        let cut = folder.path().join("cut.png");
        fsx::write_atomic(&cut, &bytes[..bytes.len() / 2]).unwrap();
        assert!(matches!(read(&cut, &[0]), Err(PixelsError::Picture { .. })));
        // Width and height of the IHDR chunk, bytes 16 to 24, and its checksum left wrong or right: never an allocation.
        bytes[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
        let giant = folder.path().join("giant.png");
        fsx::write_atomic(&giant, &bytes).unwrap();
        assert!(matches!(read(&giant, &[0]), Err(PixelsError::Picture { .. })));
    }
}
