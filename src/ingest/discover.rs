//! Finds every regular file below the sources, in a fixed order, without following a link twice.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::IngestError;

/// Folders nested deeper than this are no export of a scanner.
const DEPTH_CAP: usize = 64;

/// Device and inode: what a file is, whatever names and links lead to it.
pub type Identity = (u64, u64);

/// A file below a source, on the disk or in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file; a member of an archive as `archive.zip!/member`.
    pub path: PathBuf,
    /// Path below the source, with `/`: what patterns are matched against.
    pub relative: String,
    /// Index of the source that holds it.
    pub source: usize,
    /// Size.
    pub bytes: u64,
    /// When it was last changed, ns since 1970; 0 where unknown.
    pub modified_ns: u128,
    /// Which file on the disk it is; `None` for members of archives.
    pub identity: Option<Identity>,
    /// Why it cannot even be looked at.
    pub problem: Option<String>,
}

/// Which file a path leads to.
pub fn identity(path: &Path) -> Option<Identity> {
    path.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Walks the sources but not the folders `without`; a file that two names or sources share is found once.
///
/// # Errors
/// [`IngestError::Source`] when a source does not exist, [`IngestError::Empty`] when none holds a file.
pub fn discover(sources: &[PathBuf], without: &[&Path]) -> Result<Vec<Found>, IngestError> {
    let without: Vec<Identity> = without.iter().filter_map(|folder| identity(folder)).collect();
    let is_wanted = |entry: &DirEntry| {
        let is_left_out = |identity: Identity| without.contains(&identity);
        without.is_empty() || !entry.file_type().is_dir() || !identity(entry.path()).is_some_and(is_left_out)
    };
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        if !source.exists() {
            return Err(IngestError::Source { path: source.clone() });
        }
        let walk = WalkDir::new(source).follow_links(true).max_depth(DEPTH_CAP).sort_by_file_name();
        for entry in walk.into_iter().filter_entry(is_wanted) {
            match entry {
                Ok(entry) if entry.file_type().is_file() => {
                    let file = file(&entry, source, index);
                    if file.identity.is_none_or(|identity| seen.insert(identity)) {
                        found.push(file);
                    }
                }
                Ok(_) => {}
                // A folder that leads back to itself holds nothing new.
                Err(error) if error.loop_ancestor().is_some() => {}
                Err(error) => found.push(unlisted(&error, source, index)),
            }
        }
    }
    if found.is_empty() {
        return Err(IngestError::Empty { paths: sources.to_vec() });
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn relative(path: &Path, source: &Path) -> String {
    let below = path.strip_prefix(source).unwrap_or(path);
    let shown = if below.as_os_str().is_empty() { path.file_name().map(Path::new).unwrap_or(path) } else { below };
    shown.to_string_lossy().into_owned()
}

/// What the walk could not enter.
fn unlisted(error: &walkdir::Error, source: &Path, index: usize) -> Found {
    let path = error.path().unwrap_or(source).to_path_buf();
    // walkdir's own text repeats the path, which may name a patient.
    let problem = error.io_error().map(|error| error.kind().to_string());
    Found {
        relative: relative(&path, source),
        path,
        source: index,
        bytes: 0,
        modified_ns: 0,
        identity: None,
        problem: Some(problem.unwrap_or_else(|| "cannot be listed".to_owned())),
    }
}

fn file(entry: &DirEntry, source: &Path, index: usize) -> Found {
    let path = entry.path();
    let metadata = entry.metadata().ok();
    let modified = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
    let modified = modified.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    Found {
        path: path.to_path_buf(),
        relative: relative(path, source),
        source: index,
        bytes: metadata.as_ref().map_or(0, std::fs::Metadata::len),
        modified_ns: modified.map_or(0, |elapsed| elapsed.as_nanos()),
        identity: metadata.as_ref().map(|metadata| (metadata.dev(), metadata.ino())),
        problem: metadata.is_none().then(|| "cannot be looked at".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fsx;

    #[test]
    fn links_that_lead_back_are_walked_once() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("Größe");
        fsx::create_folder(&inner).unwrap();
        fsx::write_atomic(&inner.join("scan"), b"x").unwrap();
        std::os::unix::fs::symlink(folder.path(), inner.join("back")).unwrap();
        std::os::unix::fs::symlink(inner.join("scan"), folder.path().join("again")).unwrap();
        let found = discover(&[folder.path().to_path_buf()], &[]).unwrap();
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn an_empty_folder_and_a_missing_one_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(discover(&[folder.path().to_path_buf()], &[]), Err(IngestError::Empty { .. })));
        assert!(matches!(discover(&[folder.path().join("no")], &[]), Err(IngestError::Source { .. })));
    }
}
