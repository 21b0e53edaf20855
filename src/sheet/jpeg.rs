//! Frames below each other as one JPEG in a `data:` address. JPEG, because a cine as PNG is four times as large.

use data_encoding::BASE64;
use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use ndarray::Array2;

use super::reduce::{Frame, Size};
use super::window::Window;

const QUALITY: u8 = 85;
/// JPEG codes blocks of 8 x 8 pixels: frames start at block borders, so that none shines through into the next.
const BLOCK: usize = 8;

/// A frame's size as it is stored in the strip.
pub fn cell(size: Size) -> Size {
    Size { rows: size.rows.next_multiple_of(BLOCK), columns: size.columns.next_multiple_of(BLOCK) }
}

/// The frames, all of the first one's size, from top to bottom. `None` if there is none, or they are too many for a JPEG.
pub fn strip(frames: &[&Frame], window: Window) -> Option<Vec<u8>> {
    let cell = cell(frames.first()?.size());
    let is_colour = frames.iter().any(|frame| matches!(frame, Frame::Colour(_)));
    let mut pixels = Vec::with_capacity(cell.rows * cell.columns * frames.len() * if is_colour { 3 } else { 1 });
    for frame in frames {
        push(frame, cell, window, is_colour, &mut pixels);
    }
    let (width, height) = (u16::try_from(cell.columns).ok()?, u16::try_from(cell.rows * frames.len()).ok()?);
    let colour = if is_colour { ExtendedColorType::Rgb8 } else { ExtendedColorType::L8 };
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, QUALITY).encode(&pixels, width.into(), height.into(), colour).ok()?;
    Some(bytes)
}

/// Writes one frame; its last row and column fill up the cell.
fn push(frame: &Frame, cell: Size, window: Window, is_colour: bool, pixels: &mut Vec<u8>) {
    let size = frame.size();
    let level = |channel: &Array2<f32>, row: usize, column: usize| channel[(row, column)];
    for row in (0..cell.rows).map(|row| row.min(size.rows - 1)) {
        for column in (0..cell.columns).map(|column| column.min(size.columns - 1)) {
            match frame {
                Frame::Grey(channel) => {
                    let grey = window.grey(level(channel, row, column));
                    pixels.extend(std::iter::repeat_n(grey, if is_colour { 3 } else { 1 }));
                }
                Frame::Colour(channels) => {
                    // Saturates; 0 to 255 already.
                    pixels.extend(channels.iter().map(|channel| level(channel, row, column).round() as u8));
                }
            }
        }
    }
}

/// The address under which a page finds a JPEG inside itself.
pub fn address(jpeg: &[u8]) -> String {
    format!("data:image/jpeg;base64,{}", BASE64.encode(jpeg))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(frames: &[&Frame]) -> image::DynamicImage {
        let window = Window::robust(frames.iter().copied());
        image::load_from_memory(&strip(frames, window).unwrap()).unwrap()
    }

    /// By hand: left half black, right half white, 10 rows in a cell of 16; the second frame the other way round.
    #[test]
    fn frames_lie_below_each_other_at_block_borders() {
        let half = |white_left: bool| {
            Frame::Grey(Array2::from_shape_fn((10, 16), |(_, column)| f32::from(u8::from((column < 8) == white_left))))
        };
        let picture = decoded(&[&half(false), &half(true)]).to_luma8();
        assert_eq!(picture.dimensions(), (16, 32));
        for (row, left, right) in [(0, 0, 255), (9, 0, 255), (15, 0, 255), (16, 255, 0), (25, 255, 0)] {
            let found = [picture[(2, row)].0[0], picture[(13, row)].0[0]];
            assert!(found[0].abs_diff(left) < 4 && found[1].abs_diff(right) < 4, "row {row}: {found:?}");
        }
    }

    #[test]
    fn colours_stay_colours() {
        let flat = |value: f32| Array2::from_elem((8, 8), value);
        let picture = decoded(&[&Frame::Colour([flat(200.0), flat(30.0), flat(60.0)])]).to_rgb8();
        let found = picture[(4, 4)].0;
        assert!(found.iter().zip([200, 30, 60]).all(|(found, wanted)| found.abs_diff(wanted) < 5), "{found:?}");
    }

    #[test]
    fn more_frames_than_a_jpeg_can_hold_are_refused() {
        let frame = Frame::Grey(Array2::zeros((224, 8)));
        let frames = vec![&frame; 400];
        assert_eq!(strip(&frames, Window::robust(frames.iter().copied())), None);
        assert_eq!(strip(&[], Window::robust(std::iter::empty())), None);
    }
}
