//! Streams by hand from ITU T.800 annex A, and the hostile ones that made OpenJPEG take more than 6 GB.

use proptest::prelude::*;

use super::*;

/// One coding style and size; all else of a stream follows.
#[derive(Clone)]
struct Plan {
    size: (u32, u32),
    tile: (u32, u32),
    layers: u16,
    levels: u8,
    /// Of all resolutions.
    precinct: Option<u8>,
    block: (u8, u8),
}

const PLAIN: Plan = Plan { size: (200, 130), tile: (200, 130), layers: 1, levels: 5, precinct: None, block: (4, 4) };

impl Plan {
    fn style(&self) -> Vec<u8> {
        let mut style = vec![self.levels, self.block.0, self.block.1, 0, 1];
        style.extend(self.precinct.iter().flat_map(|exponents| vec![*exponents; usize::from(self.levels) + 1]));
        style
    }

    fn main_header(&self) -> Vec<u8> {
        let mut stream = START.to_vec();
        stream.extend([0, 41, 0, 0]);
        for value in [self.size.1, self.size.0, 0, 0, self.tile.1, self.tile.0, 0, 0] {
            stream.extend(value.to_be_bytes());
        }
        stream.extend([0, 1, 0x8B, 1, 1]);
        let [high, low] = self.layers.to_be_bytes();
        let mut style = vec![u8::from(self.precinct.is_some()), 0, high, low, 0];
        style.extend(self.style());
        stream.extend(segment(COD, &style));
        stream
    }

    fn checked(&self) -> Result<(), CodecError> {
        let mut stream = self.main_header();
        stream.extend(part(0, 1, &[]));
        check(&stream, &Size::of(&stream).unwrap())
    }
}

fn segment(marker: u16, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 2).unwrap();
    [&marker.to_be_bytes()[..], &length.to_be_bytes(), body].concat()
}

/// A part of tile `tile`, which says to have `count`, with `header` segments and 9 bytes of data.
fn part(tile: u16, count: u8, header: &[u8]) -> Vec<u8> {
    let length = u32::try_from(12 + header.len() + 2 + 9).unwrap();
    let body = [&tile.to_be_bytes()[..], &length.to_be_bytes(), &[0, count]].concat();
    [&segment(SOT, &body)[..], header, &SOD.to_be_bytes(), &[7; 9]].concat()
}

fn checked(stream: &[u8]) -> Result<(), CodecError> {
    check(stream, &Size::of(stream)?)
}

#[test]
fn the_size_is_that_of_the_image_within_its_grid() {
    let mut stream = START.to_vec();
    stream.extend([0, 41, 0, 0]);
    for value in [300_u32, 200, 10, 20, 300, 200, 0, 0] {
        stream.extend(value.to_be_bytes());
    }
    stream.extend([0, 1, 0x8B, 1, 1]);
    let size = Size { rows: 180, columns: 290, precision: 12, is_signed: true, tile: (180, 290), tiles: 1 };
    assert_eq!(Size::of(&stream), Ok(size));
    for length in 4..stream.len() {
        assert!(Size::of(&stream[..length]).is_err());
    }
    stream[24..32].fill(0);
    assert!(Size::of(&stream).is_err(), "tiles without a size");
}

#[test]
fn a_stream_with_all_its_tiles_is_whole_with_or_without_an_end_marker() {
    let plan = Plan { tile: (100, 130), ..PLAIN };
    let mut stream = [plan.main_header(), part(0, 2, &[]), part(1, 0, &[]), part(0, 2, &[])].concat();
    for end in [&[][..], b"\xff\xd9", b"\xff\xd9\0"] {
        assert_eq!(checked(&[&stream, end].concat()), Ok(()));
    }
    for length in 45..stream.len() {
        assert!(checked(&stream[..length]).is_err(), "cut to {length}");
    }
    // The last part's length may be left out.
    let last = stream.len() - part(0, 2, &[]).len();
    stream[last + 6..last + 10].fill(0);
    assert_eq!(checked(&stream), Ok(()));
}

#[test]
fn a_missing_tile_or_part_is_a_cut_stream() {
    let plan = Plan { tile: (100, 130), ..PLAIN };
    for parts in [vec![part(0, 1, &[])], vec![part(0, 2, &[]), part(1, 1, &[])], vec![]] {
        let stream = [plan.main_header(), parts.concat(), b"\xff\xd9".to_vec()].concat();
        assert!(checked(&stream).is_err());
    }
    let unknown = [plan.main_header(), part(0, 1, &[]), part(1, 1, &[]), part(2, 1, &[])].concat();
    assert!(matches!(checked(&unknown), Err(CodecError::Malformed { .. })));
}

/// Each but the first of these few hundred bytes had OpenJPEG fail for want of 6 GB, or take 30 bytes a pixel.
#[test]
fn what_asks_for_more_memory_than_any_scan_is_refused() {
    let large = Plan { size: (8192, 8192), tile: (8192, 8192), ..PLAIN };
    assert_eq!(large.checked(), Ok(()));
    let hostile = [
        Plan { precinct: Some(0x11), ..large.clone() },
        Plan { layers: 65_535, precinct: Some(0x11), ..large.clone() },
        Plan { layers: 65_535, precinct: Some(0x55), size: (4096, 4096), tile: (4096, 4096), ..large.clone() },
        Plan { block: (0, 0), levels: 0, ..large.clone() },
        Plan { levels: 33, ..PLAIN },
        Plan { block: (9, 0), ..PLAIN },
    ];
    for plan in hostile {
        assert!(matches!(plan.checked(), Err(CodecError::Malformed { .. })));
    }
    let tiles = Plan { tile: (64, 64), ..large }.main_header();
    assert!(matches!(Size::of(&tiles), Err(CodecError::Malformed { .. })));
}

#[test]
fn a_style_in_the_header_of_a_tile_counts_too() {
    let plan = Plan { size: (8192, 8192), tile: (8192, 8192), ..PLAIN };
    let style = Plan { precinct: Some(0x11), ..plan.clone() }.style();
    for (marker, start) in [(COD, vec![1, 0, 0, 1, 0]), (COC, vec![0, 1])] {
        let header = segment(marker, &[start, style.clone()].concat());
        let stream = [plan.main_header(), part(0, 1, &header)].concat();
        assert!(matches!(checked(&stream), Err(CodecError::Malformed { .. })));
    }
}

proptest! {
    #[test]
    fn damaged_headers_never_panic(flips in proptest::collection::vec((0_usize..200, 0_u8..8), 1..6), length in 0_usize..200) {
        let plan = Plan { tile: (100, 130), precinct: Some(0x77), ..PLAIN };
        let mut stream = [plan.main_header(), part(0, 1, &segment(COC, &[0, 0, 5, 4, 4, 0, 1])), part(1, 1, &[])].concat();
        for (place, bit) in flips {
            let place = place % stream.len();
            stream[place] ^= 1 << bit;
        }
        stream.truncate(stream.len().min(length.max(4)));
        let _ = Size::of(&stream).and_then(|size| check(&stream, &size));
    }
}
