//! Finds every regular file below the sources, in a fixed order, without following a link twice.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::IngestError;

/// Folders nested deeper than this are no export of a scanner.
const DEPTH_CAP: usize = 64;

/// A file below a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// Path below the source, with `/`: what patterns are matched against.
    pub relative: String,
    /// Index of the source that holds it.
    pub source: usize,
    /// Size.
    pub bytes: u64,
    /// When it was last changed, ns since 1970; 0 where unknown.
    pub modified_ns: u128,
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
    for (index, source) in sources.iter().enumerate() {
        if !source.exists() {
            return Err(IngestError::Source { path: source.clone() });
        }
        for entry in WalkDir::new(source).follow_links(true).max_depth(DEPTH_CAP).sort_by_file_name() {
            match entry {
                Ok(entry) if entry.file_type().is_file() => {
                    // A file reached by two names or links is one file.
                    let real = entry.path().canonicalize().unwrap_or_else(|_| entry.path().to_path_buf());
                    if seen.insert(real) {
                        found.push(file(&entry, source, index));
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    // A folder that leads back to itself holds nothing new.
                    if error.loop_ancestor().is_none() {
                        let path = error.path().unwrap_or(source).to_path_buf();
                        // walkdir's own text repeats the path, which may name a patient.
                        let problem = error.io_error().map(|error| error.kind().to_string());
                        let problem = Some(problem.unwrap_or_else(|| "cannot be listed".to_owned()));
                        found.push(Found {
                            relative: relative(&path, source),
                            path,
                            source: index,
                            bytes: 0,
                            modified_ns: 0,
                            problem,
                        });
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

fn file(entry: &walkdir::DirEntry, source: &Path, index: usize) -> Found {
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
