//! Finds every regular file below the sources, in a fixed order, without following a link twice.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::IngestError;
use crate::fsx;

/// Folders nested deeper than this are no export of a scanner.
const DEPTH_CAP: usize = 64;

/// A file below a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// Path below the source, with `/`: what patterns are matched against.
    pub relative: String,
    /// Size.
    pub bytes: u64,
    /// Why it cannot even be looked at.
    pub problem: Option<String>,
}

/// Walks the sources; a file that two sources share is found once.
///
/// # Errors
/// [`IngestError::Source`] when a source does not exist, [`IngestError::Empty`] when none holds a file.
pub fn discover(sources: &[PathBuf]) -> Result<Vec<Found>, IngestError> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for source in sources {
        if !source.exists() {
            return Err(IngestError::Source { path: source.clone() });
        }
        for entry in WalkDir::new(source).follow_links(true).max_depth(DEPTH_CAP).sort_by_file_name() {
            match entry {
                Ok(entry) if entry.file_type().is_file() => {
                    // A file reached by two names or links is one file.
                    let real = entry.path().canonicalize().unwrap_or_else(|_| entry.path().to_path_buf());
                    if seen.insert(real) {
                        found.push(file(entry.path(), source));
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    // A folder that leads back to itself holds nothing new.
                    if error.loop_ancestor().is_none() {
                        let path = error.path().unwrap_or(source).to_path_buf();
                        let problem = Some(error.to_string());
                        found.push(Found { relative: relative(&path, source), path, bytes: 0, problem });
                    }
                }
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

fn file(path: &Path, source: &Path) -> Found {
    let size = fsx::size_bytes(path);
    let problem = size.as_ref().err().map(ToString::to_string);
    Found { path: path.to_path_buf(), relative: relative(path, source), bytes: size.unwrap_or(0), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_lead_back_are_walked_once() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("Größe");
        fsx::create_folder(&inner).unwrap();
        fsx::write_atomic(&inner.join("scan"), b"x").unwrap();
        std::os::unix::fs::symlink(folder.path(), inner.join("back")).unwrap();
        std::os::unix::fs::symlink(inner.join("scan"), folder.path().join("again")).unwrap();
        let found = discover(&[folder.path().to_path_buf()]).unwrap();
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn an_empty_folder_and_a_missing_one_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(discover(&[folder.path().to_path_buf()]), Err(IngestError::Empty { .. })));
        assert!(matches!(discover(&[folder.path().join("no")]), Err(IngestError::Source { .. })));
    }
}
