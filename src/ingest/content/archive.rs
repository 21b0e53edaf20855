//! An opened zip or tar archive: its regular files by index and by name.

use std::collections::HashMap;

use zip::ZipReadOptions;
use zip::read::{Config, OwnedZipFileEntry, ZipFileEntry};
use zip::result::ZipError;
use zip::unstable::read::ZipIterable;

use super::tape::{self, TapeMember};
use super::unpack::{self, Packing, damaged};
use super::{Content, ContentError};

/// More members than any archive of scans has; bounds the index of one that lies.
const MEMBERS_CAP: usize = 10_000_000;

/// What a content is, if it holds files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// zip, in a packing of its own or not.
    Zip(Option<Packing>),
    /// tar, packed or not.
    Tar(Option<Packing>),
}

impl Kind {
    /// The kind of archive, by the first bytes of the content and, if it is packed, of what comes out of it.
    pub fn of(start: &[u8], packed: Option<(Packing, &[u8])>) -> Option<Self> {
        let (packing, start) = packed.map_or((None, start), |(packing, inside)| (Some(packing), inside));
        if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
            Some(Self::Zip(packing))
        } else {
            (start.get(257..262) == Some(b"ustar")).then_some(Self::Tar(packing))
        }
    }
}

enum Members {
    Zip { content: Content, entries: Vec<OwnedZipFileEntry> },
    Tar { content: Content, entries: Vec<TapeMember> },
}

/// An archive whose index was read.
pub struct Archive {
    members: Members,
    names: Vec<String>,
    by_name: HashMap<String, usize>,
}

impl Archive {
    /// Reads the index; a packed archive is unpacked first, all of it.
    ///
    /// # Errors
    /// [`ContentError`].
    pub fn open(kind: Kind, content: &Content) -> Result<Self, ContentError> {
        let (Kind::Zip(packing) | Kind::Tar(packing)) = kind;
        let content = packing.map_or_else(|| Ok(content.clone()), |packing| unpack::whole(packing, content))?;
        let members = match kind {
            Kind::Zip(_) => zip_members(&content)?,
            Kind::Tar(_) => Members::Tar { entries: tape::index(&content)?, content },
        };
        let given: Vec<String> = match &members {
            Members::Zip { entries, .. } => entries.iter().map(|entry| zip_name(&entry.as_ref())).collect(),
            Members::Tar { entries, .. } => entries.iter().map(|entry| entry.name.clone()).collect(),
        };
        let (names, by_name) = distinct(given);
        Ok(Self { members, names, by_name })
    }

    /// Names of the members, each once.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Unpacked size that the index announces.
    pub fn bytes(&self, index: usize) -> u64 {
        match &self.members {
            Members::Zip { entries, .. } => entries[index].as_ref().size(),
            Members::Tar { entries, .. } => entries[index].bytes,
        }
    }

    /// Whether it has a member of this name.
    pub fn holds(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// The member of this name.
    ///
    /// # Errors
    /// [`ContentError::Gone`], or as [`Archive::member`].
    pub fn named(&self, name: &str) -> Result<Content, ContentError> {
        self.member(*self.by_name.get(name).ok_or(ContentError::Gone)?)
    }

    /// The bytes of a member.
    ///
    /// # Errors
    /// [`ContentError`]: encrypted, packed in an unknown way, damaged, or a bomb.
    pub fn member(&self, index: usize) -> Result<Content, ContentError> {
        match &self.members {
            Members::Tar { content, entries } => {
                let entry = entries.get(index).ok_or(ContentError::Gone)?;
                Ok(content.part(entry.start, entry.bytes))
            }
            Members::Zip { content, entries } => {
                let entry = entries.get(index).ok_or(ContentError::Gone)?.as_ref();
                if entry.encrypted() {
                    return Err(ContentError::Unsupported { problem: "encrypted with a password".to_owned() });
                }
                let cap_bytes = entry.size().min(unpack::expansion_cap(entry.compressed_size()));
                let mut reader = content.reader();
                let file = entry.with_reader(&mut reader, ZipReadOptions::new()).map_err(zip_error)?;
                unpack::keep(file, cap_bytes, "zip")
            }
        }
    }
}

/// Names, each once, and whose they are. An archive may hold one name twice, and both are files: the first keeps it, the others get
/// their index behind it, and then `#` until no other member is called so.
fn distinct(given: Vec<String>) -> (Vec<String>, HashMap<String, usize>) {
    let mut by_name = HashMap::with_capacity(given.len());
    for (index, name) in given.iter().enumerate() {
        by_name.entry(name.clone()).or_insert(index);
    }
    let mut names = given;
    for (index, name) in names.iter_mut().enumerate() {
        if by_name.get(name) == Some(&index) {
            continue;
        }
        *name = format!("{name}#{index}");
        while by_name.contains_key(name) {
            name.push('#');
        }
        by_name.insert(name.clone(), index);
    }
    (names, by_name)
}

fn zip_name(entry: &ZipFileEntry<'_>) -> String {
    let lossy = || String::from_utf8_lossy(entry.name_raw()).into_owned();
    entry.name().map_or_else(|_| lossy(), std::borrow::Cow::into_owned)
}

fn zip_error(error: ZipError) -> ContentError {
    match error {
        ZipError::Io(error) => damaged("zip", &error),
        ZipError::CompressionMethodNotSupported(_) | ZipError::UnsupportedArchive(_) => {
            ContentError::Unsupported { problem: format!("a zip that cannot be opened here ({error})") }
        }
        other => damaged("zip", &other),
    }
}

fn zip_members(content: &Content) -> Result<Members, ContentError> {
    let mut archive = ZipIterable::try_new(content.reader(), Config::default()).map_err(zip_error)?;
    let mut entries = Vec::new();
    for entry in archive.files().map_err(zip_error)? {
        let entry = entry.map_err(zip_error)?;
        if entry.is_file() {
            entries.push(OwnedZipFileEntry::from(entry));
        }
        if entries.len() > MEMBERS_CAP {
            return Err(damaged("zip", &"it claims too many members"));
        }
    }
    // Members may share their packed bytes, so that a small file announces more than any disk holds.
    let announced = entries.iter().try_fold(0_u64, |all, entry| all.checked_add(entry.as_ref().size()));
    let cap_bytes = unpack::expansion_cap(content.bytes());
    if announced.is_none_or(|announced| announced > cap_bytes) {
        return Err(ContentError::Bomb { cap_bytes });
    }
    Ok(Members::Zip { content: content.clone(), entries })
}
