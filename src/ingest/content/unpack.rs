//! gzip and zstd streams, undone within bounds: small ones in memory, large ones in a temporary file without a name.

use std::io::{self, BufReader, Read, Write};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;

use super::{Content, ContentError};

/// Up to this size unpacked bytes stay in memory.
const MEMORY_CAP_BYTES: u64 = 64 << 20;
/// However small the packed file, this much may come out of it.
const ALLOWANCE_BYTES: u64 = 256 << 20;
/// Scans shrink to a half or a third, masks to a fiftieth; what shrinks more is made to fill disks.
const RATIO_CAP: u64 = 200;
/// Nothing larger is unpacked.
const EXPANDED_CAP_BYTES: u64 = 1 << 38;

/// Enough to tell a packing.
const MAGIC_BYTES: usize = 4;

/// A stream's compression, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Packing {
    /// The packing that `start` begins with.
    pub fn of(start: &[u8]) -> Option<Self> {
        if start.starts_with(b"\x1f\x8b\x08") {
            Some(Self::Gzip)
        } else if start.starts_with(b"\x28\xb5\x2f\xfd") {
            Some(Self::Zstd)
        } else {
            None
        }
    }

    /// For messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The unpacked bytes as a stream; the caller bounds what is read.
    ///
    /// # Errors
    /// [`ContentError::Damaged`] when the stream does not begin as it should.
    pub fn stream(self, packed: &Content) -> Result<Box<dyn Read + Send>, ContentError> {
        let reader = BufReader::with_capacity(1 << 16, packed.reader());
        match self {
            Self::Gzip => Ok(Box::new(MultiGzDecoder::new(reader))),
            Self::Zstd => {
                let decoder = StreamingDecoder::new(reader);
                Ok(Box::new(decoder.map_err(|error| damaged(self.name(), &error))?))
            }
        }
    }
}

/// How much may come out of `packed_bytes`.
pub fn expansion_cap(packed_bytes: u64) -> u64 {
    packed_bytes.saturating_mul(RATIO_CAP).saturating_add(ALLOWANCE_BYTES).min(EXPANDED_CAP_BYTES)
}

/// The error of a stream that is not what its packing says.
pub fn damaged(kind: &'static str, error: &dyn std::fmt::Display) -> ContentError {
    ContentError::Damaged { kind, problem: error.to_string() }
}

/// The first `most` unpacked bytes of a packed content; fewer where it is damaged behind them.
///
/// # Errors
/// [`ContentError::Damaged`] when nothing comes out of it.
pub fn peek(packing: Packing, packed: &Content, most: usize) -> Result<Vec<u8>, ContentError> {
    let mut start = Vec::new();
    match packing.stream(packed)?.take(most as u64).read_to_end(&mut start) {
        Err(error) if start.is_empty() => Err(damaged(packing.name(), &error)),
        _ => Ok(start),
    }
}

/// How much a gzip says at its end that comes out of it, modulo 2^32 (RFC 1952); of several streams in a row it is the last one's.
pub fn told_bytes(packing: Packing, packed: &Content) -> Option<u32> {
    let mut told = [0; 4];
    let at = packed.bytes().checked_sub(4).filter(|_| packing == Packing::Gzip)?;
    packed.read_exact_at(&mut told, at).ok()?;
    Some(u32::from_le_bytes(told))
}

/// How much comes out of it, by unpacking it to nowhere.
///
/// # Errors
/// [`ContentError::Damaged`], also where it is cut off; [`ContentError::Bomb`].
pub fn counted_bytes(packing: Packing, packed: &Content) -> Result<u64, ContentError> {
    let cap_bytes = expansion_cap(packed.bytes());
    let mut stream = packing.stream(packed)?.take(cap_bytes.saturating_add(1));
    let bytes = io::copy(&mut stream, &mut io::sink()).map_err(|error| damaged(packing.name(), &error))?;
    if bytes > cap_bytes { Err(ContentError::Bomb { cap_bytes }) } else { Ok(bytes) }
}

/// A content with its gzip or zstd undone; one that has none as it is.
///
/// # Errors
/// As [`whole`], or [`ContentError::Io`] when it cannot be read.
pub fn undone(content: &Content) -> Result<Content, ContentError> {
    match Packing::of(&content.start(MAGIC_BYTES)?) {
        Some(packing) => whole(packing, content),
        None => Ok(content.clone()),
    }
}

/// The unpacked content.
///
/// # Errors
/// [`ContentError::Damaged`], [`ContentError::Bomb`], [`ContentError::Io`] when the temporary file cannot be written.
pub fn whole(packing: Packing, packed: &Content) -> Result<Content, ContentError> {
    keep(packing.stream(packed)?, expansion_cap(packed.bytes()), packing.name())
}

/// Keeps a stream of at most `cap_bytes`, in memory or in a temporary file.
///
/// # Errors
/// As [`whole`].
pub fn keep(stream: impl Read, cap_bytes: u64, kind: &'static str) -> Result<Content, ContentError> {
    let mut stream = stream.take(cap_bytes.saturating_add(1));
    let mut memory = Vec::new();
    let first = (&mut stream).take(MEMORY_CAP_BYTES).read_to_end(&mut memory);
    first.map_err(|error| damaged(kind, &error))?;
    if (memory.len() as u64) < MEMORY_CAP_BYTES {
        return if memory.len() as u64 > cap_bytes {
            Err(ContentError::Bomb { cap_bytes })
        } else {
            Ok(Content::Memory(Arc::from(memory)))
        };
    }
    let mut file = tempfile::tempfile()?;
    file.write_all(&memory)?;
    let mut bytes = memory.len() as u64;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                file.write_all(&buffer[..count])?;
                bytes += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(damaged(kind, &error)),
        }
    }
    if bytes > cap_bytes {
        return Err(ContentError::Bomb { cap_bytes });
    }
    Ok(Content::file(file, bytes))
}
