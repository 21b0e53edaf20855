//! What a content is, told once by its first bytes and by those that come out of it where it is packed.

use super::unpack::{self, Packing};
use super::{Content, ContentError, Kind};

/// The first bytes of a content, and of what comes out of it.
pub struct Peeked {
    /// As they lie there.
    pub start: Vec<u8>,
    /// The packing and the first bytes inside, of a packed content.
    pub packed: Option<(Packing, Vec<u8>)>,
    /// Which archive it is, packed or not.
    pub archive: Option<Kind>,
}

impl Peeked {
    /// Reads `most` bytes, and `most` unpacked ones.
    ///
    /// # Errors
    /// [`ContentError`]: it cannot be read, or nothing comes out of it.
    pub fn of(content: &Content, most: usize) -> Result<Self, ContentError> {
        let start = content.start(most)?;
        let packed = match Packing::of(&start) {
            Some(packing) => Some((packing, unpack::peek(packing, content, most)?)),
            None => None,
        };
        let archive = Kind::of(&start, packed.as_ref().map(|(packing, inside)| (*packing, inside.as_slice())));
        Ok(Self { start, packed, archive })
    }

    /// The first bytes, unpacked.
    pub fn unpacked(&self) -> &[u8] {
        self.packed.as_ref().map_or(&self.start, |(_, inside)| inside)
    }
}
