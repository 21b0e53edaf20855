//! Bits of the entropy-coded data of JPEG and JPEG-LS, most significant first, up to the next marker.
//!
//! The two differ in what follows a byte 0xFF: in JPEG a zero byte that is dropped (ITU T.81 B.1.1.5), in JPEG-LS a zero bit (ITU T.87 9.1).

use super::CodecError;

/// Reads bits; `LS` chooses the stuffing of JPEG-LS.
pub(super) struct BitReader<'a, const LS: bool> {
    data: &'a [u8],
    /// Next byte to load; stops in front of a marker.
    at: usize,
    /// Loaded bits, the next one on top; below them zeros.
    window: u64,
    loaded: u32,
    /// JPEG-LS: the last loaded byte was 0xFF.
    is_after_ff: bool,
}

impl<'a, const LS: bool> BitReader<'a, LS> {
    /// Reads from the start of `data`.
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0, window: 0, loaded: 0, is_after_ff: false }
    }

    fn cut_off(&self) -> CodecError {
        CodecError::Truncated { codec: if LS { "JPEG-LS" } else { "JPEG" } }
    }

    /// Loads all that fits.
    fn load(&mut self) {
        // One byte short of the window, so that no shift is by its whole width.
        while self.loaded <= 48 {
            let Some(&byte) = self.data.get(self.at) else { return };
            let (bits, taken) = match (byte, self.data.get(self.at + 1)) {
                (0xFF, Some(next)) if LS && *next < 0x80 => (8, 1),
                (0xFF, Some(0)) if !LS => (8, 2),
                // A marker, or the stream's end within one.
                (0xFF, _) => return,
                _ if self.is_after_ff => (7, 1),
                _ => (8, 1),
            };
            // After 0xFF comes a byte below 0x80, of which seven bits count; it can itself not be 0xFF.
            self.window |= u64::from(byte) << (64 - bits - self.loaded);
            self.loaded += bits;
            self.at += taken;
            self.is_after_ff = LS && byte == 0xFF;
        }
    }

    /// The next `count` (1 to 32) bits without taking them; zeros where the data end.
    pub(super) fn peek(&mut self, count: u32) -> u32 {
        if self.loaded < count {
            self.load();
        }
        // The shift leaves at most 32 bits.
        u32::try_from(self.window >> (64 - count)).unwrap_or(0)
    }

    /// Takes `count` (0 to 32) bits that were seen.
    pub(super) fn skip(&mut self, count: u32) -> Result<(), CodecError> {
        if self.loaded < count {
            self.load();
            if self.loaded < count {
                return Err(self.cut_off());
            }
        }
        self.window <<= count;
        self.loaded -= count;
        Ok(())
    }

    /// Takes `count` (0 to 32) bits.
    pub(super) fn take(&mut self, count: u32) -> Result<u32, CodecError> {
        if count == 0 {
            return Ok(0);
        }
        let bits = self.peek(count);
        self.skip(count)?;
        Ok(bits)
    }

    /// Counts zeros up to and including the one bit that ends them; `None` when there are more than `most`.
    pub(super) fn take_zeros(&mut self, most: u32) -> Result<Option<u32>, CodecError> {
        let mut zeros = 0;
        loop {
            self.load();
            let here = self.window.leading_zeros();
            if here < self.loaded {
                zeros += here;
                self.skip(here + 1)?;
                return Ok((zeros <= most).then_some(zeros));
            }
            if self.loaded == 0 {
                return Err(self.cut_off());
            }
            zeros += self.loaded;
            if zeros > most {
                return Ok(None);
            }
            (self.window, self.loaded) = (0, 0);
        }
    }

    /// Leaves the rest of an interval and steps over the restart marker `number` (0 to 7).
    pub(super) fn restart(&mut self, number: u8) -> Result<(), CodecError> {
        (self.window, self.loaded, self.is_after_ff) = (0, 0, false);
        while let Some(&byte) = self.data.get(self.at) {
            let next = self.data.get(self.at + 1).copied().unwrap_or(0);
            let is_marker = byte == 0xFF && next != 0xFF && if LS { next >= 0x80 } else { next != 0 };
            if is_marker {
                if next != 0xD0 + number {
                    let codec = if LS { "JPEG-LS" } else { "JPEG" };
                    return Err(CodecError::Malformed { codec, reason: "a restart marker is missing" });
                }
                self.at += 2;
                return Ok(());
            }
            self.at += 1;
        }
        Err(self.cut_off())
    }
}
