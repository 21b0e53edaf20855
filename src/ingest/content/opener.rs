//! Opens paths that may lead into archives; the index of an archive that was opened is kept for its next member.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Archive, Content, ContentError, MEMBER_MARK, Peeked, unpack};
use crate::fsx::{self, FsError};

/// Archives that are kept open: each holds a file and its index.
const KEPT_ARCHIVES: usize = 16;
/// Enough to tell an archive.
const SNIFF_BYTES: usize = 512;

type Kept = (PathBuf, Arc<Mutex<Option<Arc<Archive>>>>);

/// Opens files and members of archives.
#[derive(Default)]
pub struct Opener {
    kept: Mutex<VecDeque<Kept>>,
}

impl Opener {
    /// Nothing open yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes that `path` names, on disk or in an archive, packed as they are.
    ///
    /// # Errors
    /// [`ContentError`].
    pub fn open(&self, path: &Path) -> Result<Content, ContentError> {
        let Some((mut outer, mut name)) = outermost(path) else { return on_disk(path) };
        loop {
            let archive = self.archive(&outer)?;
            if archive.holds(&name) {
                return archive.named(&name);
            }
            // The mark may also be a part of a member's name: the archive itself says which of its members holds archives.
            let mut marks = name.match_indices(MEMBER_MARK).map(|(at, _)| at);
            let at = marks.find(|at| archive.holds(&name[..*at])).ok_or(ContentError::Gone)?;
            outer = member_path(&outer, &name[..at]);
            name = name.split_off(at + MEMBER_MARK.len());
        }
    }

    /// [`Opener::open`], with gzip and zstd undone.
    ///
    /// # Errors
    /// [`ContentError`].
    pub fn open_unpacked(&self, path: &Path) -> Result<Content, ContentError> {
        unpack::undone(&self.open(path)?)
    }

    /// Whether a path leads to a file or member.
    pub fn exists(&self, path: &Path) -> bool {
        path.is_file() || (outermost(path).is_some() && self.open(path).is_ok())
    }

    /// The archive at `path`; two threads that want the same one read its index once.
    fn archive(&self, path: &Path) -> Result<Arc<Archive>, ContentError> {
        let slot = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            match kept.iter().position(|(known, _)| known == path) {
                Some(at) => Arc::clone(&kept[at].1),
                None => {
                    let slot = Arc::new(Mutex::new(None));
                    kept.push_back((path.to_path_buf(), Arc::clone(&slot)));
                    if kept.len() > KEPT_ARCHIVES {
                        kept.pop_front();
                    }
                    slot
                }
            }
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(archive) = slot.as_ref() {
            return Ok(Arc::clone(archive));
        }
        let content = self.open(path)?;
        let kind = Peeked::of(&content, SNIFF_BYTES)?.archive.ok_or(ContentError::Gone)?;
        let archive = Arc::new(Archive::open(kind, &content)?);
        *slot = Some(Arc::clone(&archive));
        Ok(archive)
    }
}

fn on_disk(path: &Path) -> Result<Content, ContentError> {
    let wrong = |error: FsError| match error {
        FsError::Io { source, .. } => ContentError::Io(source.kind()),
        _ => ContentError::Gone,
    };
    let file = fsx::open(path).map_err(wrong)?;
    let bytes = file.metadata()?.len();
    Ok(Content::file(file, bytes))
}

/// The path of a member of the archive at `archive`.
pub fn member_path(archive: &Path, member: &str) -> PathBuf {
    let mut path = archive.as_os_str().to_owned();
    path.push(MEMBER_MARK);
    path.push(member);
    PathBuf::from(path)
}

/// The archive on the disk that a path leads into, and the rest of the path. A file whose own name holds the mark is a file.
fn outermost(path: &Path) -> Option<(PathBuf, String)> {
    let text = path.to_str()?;
    if !text.contains(MEMBER_MARK) || path.is_file() {
        return None;
    }
    let mut marks = text.match_indices(MEMBER_MARK).map(|(at, _)| at);
    let at = marks.find(|at| Path::new(&text[..*at]).is_file())?;
    Some((PathBuf::from(&text[..at]), text[at + MEMBER_MARK.len()..].to_owned()))
}
