//! Huffman codes of JPEG (ITU T.81 annex C and F.2.2).

use super::super::CodecError;
use super::super::bits::BitReader;
use super::malformed;

/// Codes up to this length are found in one step.
const QUICK_BITS: u32 = 9;

pub(super) type Bits<'a> = BitReader<'a, false>;

/// One code table.
pub(super) struct Table {
    /// Per prefix: length of the code (0: longer than the prefix) and its symbol.
    quick: Vec<(u8, u8)>,
    /// Per length: first 16-bit prefix behind the codes of that length, and what turns a code into a place in `symbols`.
    longer: [(u32, i32); 17],
    symbols: Vec<u8>,
}

impl Table {
    /// Builds the codes from the number of them per length (1 to 16) and their symbols.
    pub(super) fn new(counts: &[u8], symbols: &[u8]) -> Result<Self, CodecError> {
        let mut quick = vec![(0, 0); 1 << QUICK_BITS];
        let mut longer = [(0, 0); 17];
        let (mut code, mut place) = (0_u32, 0_usize);
        for (length, count) in (1_u32..=16).zip(counts) {
            // At most 256 symbols: 16 counts of a byte each are bounded by the segment, whose symbols were found.
            let first = i32::try_from(place).unwrap_or(i32::MAX) - i32::try_from(code).unwrap_or(i32::MAX);
            let own = symbols.get(place..place + usize::from(*count));
            for symbol in own.ok_or_else(|| malformed("a Huffman table is too short"))? {
                if code >= 1 << length {
                    return Err(malformed("a Huffman table has too many codes"));
                }
                if length <= QUICK_BITS {
                    let start = (code << (QUICK_BITS - length)) as usize;
                    let same = 1_usize << (QUICK_BITS - length);
                    // Lengths are at most 16.
                    quick[start..start + same].fill((length.to_le_bytes()[0], *symbol));
                }
                code += 1;
                place += 1;
            }
            longer[length as usize] = (code << (16 - length), first);
            code <<= 1;
        }
        Ok(Self { quick, longer, symbols: symbols.to_vec() })
    }

    /// Takes one code.
    pub(super) fn symbol(&self, bits: &mut Bits<'_>) -> Result<u8, CodecError> {
        let prefix = bits.peek(16);
        let (length, symbol) = self.quick[(prefix >> (16 - QUICK_BITS)) as usize];
        if length > 0 {
            bits.skip(u32::from(length))?;
            return Ok(symbol);
        }
        for length in QUICK_BITS + 1..=16 {
            let (end, first) = self.longer[length as usize];
            if prefix < end {
                bits.skip(length)?;
                // Both are below 2^17.
                let code = i32::try_from(prefix >> (16 - length)).unwrap_or(i32::MAX);
                let place = usize::try_from(code + first).ok();
                let symbol = place.and_then(|place| self.symbols.get(place));
                return symbol.copied().ok_or_else(|| malformed("a code that is in no table"));
            }
        }
        // Zeros behind the end of the data may look like a code of no table.
        bits.skip(16)?;
        Err(malformed("a code that is in no table"))
    }
}

/// Takes `size` (0 to 16) bits as a signed number (ITU T.81 F.2.2.1, EXTEND).
pub(super) fn signed(bits: &mut Bits<'_>, size: u32) -> Result<i32, CodecError> {
    if size == 0 {
        return Ok(0);
    }
    // At most 16 bits.
    let value = i32::try_from(bits.take(size)?).unwrap_or(0);
    Ok(if value < 1 << (size - 1) { value - (1 << size) + 1 } else { value })
}
