//! The skeleton of a JPEG 2000 codestream (ITU T.800 annex A), read before a decoder sees it: its size, whether all its tiles are there
//! whole, and how much memory its coding styles ask for.
//!
//! A few bytes can ask for 65535 layers of a million precincts. A decoder takes that memory; when there is none, the program ends.

use super::CodecError;

const CODEC: &str = "JPEG 2000";
/// Start of codestream and of its size segment.
pub(super) const START: [u8; 4] = [0xFF, 0x4F, 0xFF, 0x51];
const SIZ: u16 = 0xFF51;
const COD: u16 = 0xFF52;
const COC: u16 = 0xFF53;
const SOT: u16 = 0xFF90;
const SOD: u16 = 0xFF93;
/// Tiles of scans are few; each costs memory and time.
const TILES_CAP: u64 = 1 << 12;
/// Precincts or code blocks of one tile: 16 x 16 pixels each on the largest frame that is believed.
const PARTS_CAP: u64 = 1 << 18;
/// Packets of one tile, as decoders reckon them: resolutions x most precincts of one x layers.
const PACKETS_CAP: u64 = 1 << 24;

fn malformed(reason: &'static str) -> CodecError {
    CodecError::Malformed { codec: CODEC, reason }
}

fn truncated() -> CodecError {
    CodecError::Truncated { codec: CODEC }
}

/// The size segment (ITU T.800 A.5.1), of one component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) rows: u32,
    pub(super) columns: u32,
    pub(super) precision: u32,
    pub(super) is_signed: bool,
    /// Rows and columns of the largest tile.
    tile: (u32, u32),
    tiles: usize,
}

/// Reads big-endian numbers at places of a segment or stream.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(self, at: usize) -> Result<u8, CodecError> {
        self.0.get(at).copied().ok_or_else(truncated)
    }

    fn narrow(self, at: usize) -> Result<u16, CodecError> {
        self.0.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]])).ok_or_else(truncated)
    }

    fn wide(self, at: usize) -> Result<u32, CodecError> {
        self.0.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]])).ok_or_else(truncated)
    }
}

impl Size {
    /// Of a stream that begins with [`START`].
    pub(super) fn of(stream: &[u8]) -> Result<Self, CodecError> {
        let bytes = Bytes(stream);
        if bytes.narrow(40)? != 1 {
            return Err(CodecError::Unsupported { codec: CODEC, feature: "more than one component" });
        }
        let depth = bytes.byte(42)?;
        if (bytes.byte(43)?, bytes.byte(44)?) != (1, 1) {
            return Err(CodecError::Unsupported { codec: CODEC, feature: "subsampling" });
        }
        let (right, bottom, left, top) = (bytes.wide(8)?, bytes.wide(12)?, bytes.wide(16)?, bytes.wide(20)?);
        let extent = |end: u32, start: u32| end.checked_sub(start).ok_or_else(|| malformed("its image has no size"));
        let (rows, columns) = (extent(bottom, top)?, extent(right, left)?);
        let tiles = |end: u32, size: u32, start: u32| {
            let length = end.checked_sub(start).filter(|_| size > 0);
            length.map(|length| u64::from(length.div_ceil(size))).ok_or_else(|| malformed("its tiles have no size"))
        };
        let (tile_columns, tile_rows) = (bytes.wide(24)?, bytes.wide(28)?);
        let across = tiles(right, tile_columns, bytes.wide(32)?)?;
        let count = across.saturating_mul(tiles(bottom, tile_rows, bytes.wide(36)?)?);
        if count > TILES_CAP {
            return Err(malformed("it is cut into more tiles than any scan"));
        }
        Ok(Self {
            rows,
            columns,
            precision: u32::from(depth & 0x7F) + 1,
            is_signed: depth & 0x80 != 0,
            tile: (tile_rows.min(rows), tile_columns.min(columns)),
            // At most the cap.
            tiles: usize::try_from(count).unwrap_or(0),
        })
    }
}

/// What one tile asks for at most, over all coding styles of the stream.
#[derive(Default)]
struct Demand {
    /// Resolutions x most precincts of one of them.
    precincts: u64,
    layers: u64,
}

impl Demand {
    /// Adds a coding style (ITU T.800 A.6.1, A.6.2): decomposition levels, exponents of the blocks' sides, then of the precincts'.
    fn style(&mut self, style: &[u8], has_precincts: bool, size: &Size) -> Result<(), CodecError> {
        let bytes = Bytes(style);
        let (levels, block) = (bytes.byte(0)?, (u32::from(bytes.byte(1)?) + 2, u32::from(bytes.byte(2)?) + 2));
        if levels > 32 || block.0 > 10 || block.1 > 10 || block.0 + block.1 > 12 {
            return Err(malformed("its coding style is impossible"));
        }
        let (mut precincts, mut most, mut blocks) = (0_u64, 0_u64, 0_u64);
        for resolution in 0..=levels {
            let (wide, high) = if has_precincts {
                let exponents = bytes.byte(5 + usize::from(resolution))?;
                (u32::from(exponents & 15), u32::from(exponents >> 4))
            } else {
                (15, 15)
            };
            let shrink = |length: u32| u64::from(length).div_ceil(1 << (levels - resolution));
            let (rows, columns) = (shrink(size.tile.0), shrink(size.tile.1));
            // One more than fits, for a first one that is cut.
            let parts = |length: u64, exponent: u32| length.div_ceil(1 << exponent) + 1;
            let count = parts(columns, wide).saturating_mul(parts(rows, high));
            most = most.max(count);
            precincts += count;
            // The three bands of a resolution together have no more blocks than its area has; none is larger than its precinct,
            // which has half its size in a band.
            let (block_wide, block_high) = (block.0.min(wide.saturating_sub(1)), block.1.min(high.saturating_sub(1)));
            blocks += parts(columns, block_wide).saturating_mul(parts(rows, block_high));
        }
        if precincts.max(blocks) > PARTS_CAP {
            return Err(malformed("it is cut into more precincts or code blocks than any scan"));
        }
        self.precincts = self.precincts.max((u64::from(levels) + 1) * most);
        self.packets()
    }

    fn packets(&self) -> Result<(), CodecError> {
        if self.precincts.saturating_mul(self.layers) > PACKETS_CAP {
            return Err(malformed("it has more layers and precincts than any scan"));
        }
        Ok(())
    }

    /// Reads the coding styles among the segments from `at` on, up to the marker `end`; gives the place of that marker.
    fn read(&mut self, stream: Bytes<'_>, mut at: usize, end: u16, size: &Size) -> Result<usize, CodecError> {
        loop {
            let marker = stream.narrow(at)?;
            if marker == end {
                return Ok(at);
            }
            let length = usize::from(stream.narrow(at + 2)?);
            if marker < 0xFF00 || length < 2 {
                return Err(malformed("bytes between its segments"));
            }
            let segment = stream.0.get(at + 4..at + 2 + length).ok_or_else(truncated)?;
            match (marker, segment) {
                (SIZ, _) if at > 2 => return Err(malformed("it has two sizes")),
                (COD, [flags, _order, high, low, _transform, style @ ..]) => {
                    self.layers = self.layers.max(u64::from(u16::from_be_bytes([*high, *low])));
                    self.style(style, flags & 1 == 1, size)?;
                }
                (COC, [_component, flags, style @ ..]) => self.style(style, flags & 1 == 1, size)?,
                (COD | COC, _) => return Err(malformed("a coding style is too short")),
                _ => {}
            }
            at += 2 + length;
        }
    }
}

/// Walks through all headers of a stream that begins with [`START`].
///
/// # Errors
/// [`CodecError`] when a tile is missing or cut off, or when the stream asks for more memory than any scan needs.
pub(super) fn check(stream: &[u8], size: &Size) -> Result<(), CodecError> {
    let bytes = Bytes(stream);
    let mut demand = Demand::default();
    let mut at = demand.read(bytes, 2, SOT, size)?;
    // Per tile: its parts so far, and as many as it says.
    let mut parts = vec![(0_u32, 0_u32); size.tiles];
    // What follows the last tile-part is the end marker, or padding.
    while bytes.narrow(at).is_ok_and(|marker| marker == SOT) {
        let tile = parts.get_mut(usize::from(bytes.narrow(at + 4)?)).ok_or_else(|| malformed("an unknown tile"))?;
        let (length, count) = (bytes.wide(at + 6)?, bytes.byte(at + 11)?);
        *tile = (tile.0 + 1, tile.1.max(u32::from(count)));
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let data = demand.read(bytes, at + 12, SOD, size)? + 2;
        // The last part may leave its length to the end of the stream.
        let end = if length == 0 { stream.len() } else { at.saturating_add(length) };
        if end < data {
            return Err(malformed("a part of a tile is shorter than its header"));
        }
        if end > stream.len() {
            return Err(truncated());
        }
        at = end;
    }
    if parts.iter().any(|(found, said)| *found == 0 || found < said) {
        return Err(truncated());
    }
    Ok(())
}

#[cfg(test)]
#[path = "codestream_tests.rs"]
mod tests;
