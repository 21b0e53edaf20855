//! The pictures of one stack: the middle slice, moving if it has phases, and first, middle and last slice in small.

use super::jpeg;
use super::reduce::{Frame, Size};
use super::window::Window;

/// Longer side of the large picture.
pub const THUMBNAIL_PIXELS: usize = 224;
/// Longer side of the pictures of the strip.
pub const SLICE_PIXELS: usize = 72;
/// A strip of noise may not make the page grow: beyond this, phases are left out.
const BYTES_CAP: usize = 384 << 10;
/// How long one heartbeat is shown where its length is unknown, and its bounds.
const BEAT_MS: f64 = 1000.0;
const BEAT_RANGE_MS: (f64, f64) = (600.0, 2000.0);

/// Reduced frames of a stack.
#[derive(Debug, Clone)]
pub struct Sketch {
    /// The middle slice at its phases, in order, all of one size.
    pub cine: Vec<Frame>,
    /// Slices by their 0-based index.
    pub slices: Vec<(usize, Frame)>,
    /// Length of the heartbeat, ms, where known.
    pub beat_ms: Option<f64>,
    /// Pixels of the page along each side of a pixel of the cine; the browser draws what lies between.
    pub enlarged: usize,
}

impl Default for Sketch {
    fn default() -> Self {
        Self { cine: Vec::new(), slices: Vec::new(), beat_ms: None, enlarged: 1 }
    }
}

/// One of the small pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct SlicePicture {
    /// 0-based slice.
    pub slice: usize,
    /// Size.
    pub size: Size,
    /// `data:` address.
    pub address: String,
}

/// Pictures of a stack, ready for the page.
#[derive(Debug, Clone, PartialEq)]
pub struct Thumbnail {
    /// Size of one frame on the page.
    pub size: Size,
    /// Size of one frame in the strip, a little larger, on the page.
    pub cell: Size,
    /// `data:` address of the strip of frames.
    pub address: String,
    /// Frames of the strip; 1 is a still picture.
    pub frames: usize,
    /// How long all of them are shown, ms.
    pub beat_ms: f64,
    /// First, middle and last slice.
    pub slices: Vec<SlicePicture>,
    /// All pixels are equal.
    pub is_flat: bool,
}

impl Thumbnail {
    /// Draws a sketch; `None` when it has no frame.
    pub fn draw(sketch: &Sketch) -> Option<Self> {
        let size = sketch.cine.first()?.size();
        let window = Window::robust(sketch.cine.iter().chain(sketch.slices.iter().map(|(_, frame)| frame)));
        let (bytes, frames) = small_strip(&sketch.cine, window)?;
        let slice = |(slice, frame): &(usize, Frame)| {
            let address = jpeg::address(&jpeg::strip(&[frame], window)?);
            Some(SlicePicture { slice: *slice, size: frame.size(), address })
        };
        let (shortest, longest) = BEAT_RANGE_MS;
        Some(Self {
            size: size.times(sketch.enlarged),
            cell: jpeg::cell(size).times(sketch.enlarged),
            address: jpeg::address(&bytes),
            frames,
            beat_ms: sketch.beat_ms.filter(|beat| beat.is_finite()).unwrap_or(BEAT_MS).clamp(shortest, longest),
            slices: sketch.slices.iter().filter_map(slice).collect(),
            is_flat: window.is_flat() && sketch.cine.iter().all(|frame| matches!(frame, Frame::Grey(_))),
        })
    }
}

/// A strip below the cap, with as many phases as that allows.
fn small_strip(cine: &[Frame], window: Window) -> Option<(Vec<u8>, usize)> {
    let mut step = 1;
    loop {
        let frames: Vec<&Frame> = cine.iter().step_by(step).collect();
        let bytes = jpeg::strip(&frames, window)?;
        if bytes.len() <= BYTES_CAP || frames.len() == 1 {
            return Some((bytes, frames.len()));
        }
        step += 1;
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    fn noise(seed: u32) -> Frame {
        let mut state = seed;
        Frame::Grey(Array2::from_shape_simple_fn((224, 224), || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32
        }))
    }

    #[test]
    fn a_cine_of_noise_loses_phases_rather_than_growing() {
        let thumbnail = Thumbnail::draw(&Sketch { cine: (0..20).map(noise).collect(), ..Sketch::default() }).unwrap();
        assert!(thumbnail.frames < 20 && thumbnail.frames > 1, "{}", thumbnail.frames);
        assert!(thumbnail.address.len() <= BYTES_CAP * 4 / 3 + 64, "{}", thumbnail.address.len());
    }

    #[test]
    fn a_heartbeat_of_any_length_can_be_watched() {
        let beat =
            |beat_ms| Thumbnail::draw(&Sketch { cine: vec![noise(1)], beat_ms, ..Sketch::default() }).unwrap().beat_ms;
        assert_eq!(
            [None, Some(857.0), Some(1e9), Some(0.0), Some(f64::NAN)].map(beat),
            [1000.0, 857.0, 2000.0, 600.0, 1000.0]
        );
    }

    /// By hand: frames of 10 x 12 lie in cells of 16 x 16; the page shows both three times as large.
    #[test]
    fn an_enlarged_cine_is_stored_as_small_as_it_is() {
        let frame = Frame::Grey(Array2::from_shape_fn((10, 12), |(row, column)| (row * column) as f32));
        let sketch = Sketch { cine: vec![frame; 2], enlarged: 3, ..Sketch::default() };
        let drawn = Thumbnail::draw(&sketch).unwrap();
        assert_eq!((drawn.size, drawn.cell), (Size { rows: 30, columns: 36 }, Size { rows: 48, columns: 48 }));
        assert_eq!(drawn.address, Thumbnail::draw(&Sketch { enlarged: 1, ..sketch }).unwrap().address);
    }

    #[test]
    fn an_image_without_contrast_says_so_and_no_frame_is_no_picture() {
        let flat = Sketch { cine: vec![Frame::Grey(Array2::zeros((8, 8)))], ..Sketch::default() };
        assert!(Thumbnail::draw(&flat).unwrap().is_flat);
        assert_eq!(Thumbnail::draw(&Sketch::default()), None);
    }
}
