//! Where bytes come from: a file on disk, or a member of an archive, which may lie in an archive itself.
//!
//! A member is named like a path, `/export/day1.zip!/a/b.dcm`. Such a name is a label only: nothing is ever unpacked under it, so no
//! member can reach a place outside. What must be unpacked goes to memory or, when large, to a temporary file without a name, which
//! the system removes whatever happens to this program; both within the bounds of [`unpack`].

mod archive;
mod opener;
mod peeked;
mod tape;
pub mod unpack;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

pub use archive::{Archive, Kind};
pub use opener::{Opener, member_path};
pub use peeked::Peeked;

/// Between the name of an archive and that of its member.
pub const MEMBER_MARK: &str = "!/";

/// The name of a folder on a member's path; an archive stands for a folder of its own name: `A0S9V9.tar.gz!` says A0S9V9.
pub fn folder_name(folder: &str) -> &str {
    folder.strip_suffix('!').map_or(folder, |archive| archive.split('.').next().unwrap_or(archive))
}

/// Why bytes cannot be had. Texts hold no path and no member's name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// The system refuses.
    #[error("cannot be read: {0}; check its permissions and the disk")]
    Io(io::ErrorKind),
    /// A compressed stream or an archive's index is damaged.
    #[error("the {kind} is damaged: {problem}; copy it again")]
    Damaged {
        /// `zip`, `tar`, `gzip` or `zstd`.
        kind: &'static str,
        /// The reader's reason.
        problem: String,
    },
    /// Packed in a way that is not undone here.
    #[error("{problem}; unpack it and ingest the folder")]
    Unsupported {
        /// What is in the way.
        problem: String,
    },
    /// It grows beyond every reason.
    #[error("unpacks to more than {cap_bytes} bytes, far beyond what scans do: taken for an archive bomb")]
    Bomb {
        /// What would be allowed.
        cap_bytes: u64,
    },
    /// The archive no longer holds it.
    #[error("is not there any more; run ingest again")]
    Gone,
}

impl ContentError {
    /// The ledger's reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Io(_) | Self::Gone => "unreadable",
            Self::Damaged { .. } => "damaged-archive",
            Self::Unsupported { .. } => "archive",
            Self::Bomb { .. } => "archive-bomb",
        }
    }
}

impl From<io::Error> for ContentError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind())
    }
}

/// Bytes that can be read at any place, from any thread.
#[derive(Debug, Clone)]
pub enum Content {
    /// A part of a file: the whole of one on disk, or a member that lies in it as it is.
    Part {
        /// The file.
        file: Arc<File>,
        /// First byte.
        start: u64,
        /// Length.
        bytes: u64,
    },
    /// In memory.
    Memory(Arc<[u8]>),
}

impl Content {
    /// A whole file.
    pub fn file(file: File, bytes: u64) -> Self {
        Self::Part { file: Arc::new(file), start: 0, bytes }
    }

    /// Length.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Part { bytes, .. } => *bytes,
            Self::Memory(all) => all.len() as u64,
        }
    }

    /// Reads at `offset` into `buffer`: as much as there is.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = usize::try_from(self.bytes().saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..left];
        match self {
            Self::Memory(all) => {
                let at = usize::try_from(offset).unwrap_or(usize::MAX).min(all.len());
                buffer.copy_from_slice(&all[at..at + left]);
                Ok(left)
            }
            Self::Part { file, start, .. } => {
                let mut filled = 0;
                while filled < left {
                    match file.read_at(&mut buffer[filled..], start + offset + filled as u64) {
                        Ok(0) => break,
                        Ok(count) => filled += count,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(filled)
            }
        }
    }

    /// Fills `buffer` from `offset` on.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if self.read_at(buffer, offset)? == buffer.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// The first `most` bytes, or all.
    pub fn start(&self, most: usize) -> io::Result<Vec<u8>> {
        self.range(0, most as u64)
    }

    /// The `bytes` bytes from `start` on, or as many as there are.
    pub fn range(&self, start: u64, bytes: u64) -> io::Result<Vec<u8>> {
        let most = self.bytes().saturating_sub(start).min(bytes);
        let mut range = vec![0; usize::try_from(most).unwrap_or(usize::MAX)];
        let there = self.read_at(&mut range, start)?;
        range.truncate(there);
        Ok(range)
    }

    /// A part of it.
    pub fn part(&self, start: u64, bytes: u64) -> Self {
        let start = start.min(self.bytes());
        let bytes = bytes.min(self.bytes() - start);
        match self {
            Self::Part { file, start: from, .. } => Self::Part { file: Arc::clone(file), start: from + start, bytes },
            Self::Memory(all) => {
                let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
                Self::Memory(Arc::from(&all[at(start)..at(start + bytes)]))
            }
        }
    }

    /// A reader from the first byte on.
    pub fn reader(&self) -> ContentReader {
        ContentReader { content: self.clone(), at: 0 }
    }
}

/// Reads a [`Content`] in order.
#[derive(Debug, Clone)]
pub struct ContentReader {
    content: Content,
    at: u64,
}

impl Read for ContentReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for ContentReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.content.bytes().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests;
