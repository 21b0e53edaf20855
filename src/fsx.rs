//! The only user of `std::fs`: the path is in every error, writes are atomic, reads are capped.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::failure::Classify;

/// A file-system operation that failed, with the path it failed on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FsError {
    /// The operating system refused.
    #[error("`{}`: cannot {action}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as a verb: `open`, `write`, ...
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is larger than what this reader accepts.
    #[error("`{}`: {found_bytes} bytes, more than the {cap_bytes} bytes accepted here", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        found_bytes: u64,
        /// The cap.
        cap_bytes: u64,
    },
    /// Text was expected.
    #[error("`{}`: not UTF-8 text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
}

impl Classify for FsError {}

/// Adds path and action to an `io::Error`.
pub fn io_error(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> FsError {
    let path = path.to_path_buf();
    move |source| FsError::Io { path, action, source }
}

/// Opens a file for reading.
#[expect(clippy::disallowed_methods, reason = "this is the funnel")]
pub fn open(path: &Path) -> Result<File, FsError> {
    File::open(path).map_err(io_error(path, "open"))
}

/// Reads a whole file of at most `cap_bytes`.
pub fn read(path: &Path, cap_bytes: u64) -> Result<Vec<u8>, FsError> {
    let file = open(path)?;
    let mut bytes = Vec::new();
    file.take(cap_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(io_error(path, "read"))?;
    if bytes.len() as u64 > cap_bytes {
        let found_bytes = fs::metadata(path).map_or(bytes.len() as u64, |metadata| metadata.len());
        return Err(FsError::TooLarge { path: path.to_path_buf(), found_bytes, cap_bytes });
    }
    Ok(bytes)
}

/// Whether the file begins with these bytes; a folder or a file that cannot be read does not.
pub fn starts_with(path: &Path, bytes: &[u8]) -> bool {
    let mut start = vec![0; bytes.len()];
    path.is_file() && open(path).is_ok_and(|mut file| file.read_exact(&mut start).is_ok()) && start == bytes
}

/// Reads a UTF-8 text file of at most `cap_bytes`; a byte-order mark is dropped.
pub fn read_text(path: &Path, cap_bytes: u64) -> Result<String, FsError> {
    let bytes = read(path, cap_bytes)?;
    let mut text = String::from_utf8(bytes).map_err(|_| FsError::NotText { path: path.to_path_buf() })?;
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    Ok(text)
}

/// Creates a folder and its parents.
#[expect(clippy::disallowed_methods, reason = "this is the funnel")]
pub fn create_folder(path: &Path) -> Result<(), FsError> {
    fs::create_dir_all(path).map_err(io_error(path, "create the folder"))
}

/// Restricts a file or folder to its owner (0700 or 0600).
pub fn make_private(path: &Path) -> Result<(), FsError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = if path.is_dir() { 0o700 } else { 0o600 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(io_error(path, "set the permissions of"))
}

/// The temporary sibling that a file is written to before it is renamed into place.
pub fn temporary_sibling(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

/// Whether a file is what [`temporary_sibling`] names: half written by a run that was killed.
pub fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let process =
        name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp")).and_then(|name| name.rsplit_once('.'));
    process.is_some_and(|(_, id)| !id.is_empty() && id.bytes().all(|one| one.is_ascii_digit()))
}

/// Writes a file through a temporary sibling, syncs it and renames it into place: readers see the old file or the whole new one.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), FsError> {
    write_atomic_with(path, |file| file.write_all(bytes))
}

/// [`write_atomic`] for content that is produced by `fill`.
#[expect(clippy::disallowed_methods, reason = "this is the funnel")]
pub fn write_atomic_with(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), FsError> {
    let temporary = temporary_sibling(path);
    let written = File::create(&temporary).and_then(|mut file| {
        fill(&mut file)?;
        file.sync_all()
    });
    match written.and_then(|()| fs::rename(&temporary, path)) {
        Ok(()) => Ok(()),
        Err(source) => {
            let _ = fs::remove_file(&temporary);
            Err(FsError::Io { path: path.to_path_buf(), action: "write", source })
        }
    }
}

/// Writes one of very many files that only count once the folder's JSON is there: neither renamed nor synced.
#[expect(clippy::disallowed_methods, reason = "this is the funnel")]
pub fn write_bulk(path: &Path, bytes: &[u8]) -> Result<(), FsError> {
    fs::write(path, bytes).map_err(io_error(path, "write"))
}

/// Writes a new file that its owner alone may read (0600 from its first byte on); an existing one is an error.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), FsError> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file =
        File::options().create_new(true).write(true).mode(0o600).open(path).map_err(io_error(path, "create"))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io_error(path, "write"))
}

/// Renames a file or folder.
#[expect(clippy::disallowed_methods, reason = "this is the funnel")]
pub fn rename(from: &Path, to: &Path) -> Result<(), FsError> {
    fs::rename(from, to).map_err(io_error(to, "rename into place"))
}

/// Waits until the bytes of a file that another library wrote are on the disk.
pub fn sync(path: &Path) -> Result<(), FsError> {
    open(path)?.sync_all().map_err(io_error(path, "write"))
}

/// Renames a file that another library wrote, once it is on the disk: a crash leaves the old file or the whole new one.
pub fn rename_synced(from: &Path, to: &Path) -> Result<(), FsError> {
    sync(from)?;
    rename(from, to)
}

/// Opens a file for appending, creating it where it is absent.
pub fn open_append(path: &Path) -> Result<File, FsError> {
    File::options().create(true).append(true).open(path).map_err(io_error(path, "open for appending"))
}

/// Opens a file for reading and writing without truncation, creating it where it is absent.
pub fn open_update(path: &Path) -> Result<File, FsError> {
    File::options().create(true).truncate(false).read(true).write(true).open(path).map_err(io_error(path, "open"))
}

/// Removes a file; one that is already gone is no error.
#[expect(clippy::disallowed_methods, reason = "this is the funnel")]
pub fn remove_file(path: &Path) -> Result<(), FsError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(path, "remove")(error)),
        _ => Ok(()),
    }
}

/// Removes a folder with all it holds; one that is already gone is no error.
pub fn remove_folder(path: &Path) -> Result<(), FsError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(path, "remove")(error)),
        _ => Ok(()),
    }
}

/// The entries of a folder, sorted by name.
pub fn list(path: &Path) -> Result<Vec<PathBuf>, FsError> {
    let entries = fs::read_dir(path).map_err(io_error(path, "list"))?;
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>();
    if let Ok(paths) = &mut paths {
        paths.sort();
    }
    paths.map_err(io_error(path, "list"))
}

/// Fills `bytes` from an open file, starting at byte `offset`; the file's position does not move.
pub fn read_exact_at(file: &File, path: &Path, bytes: &mut [u8], offset: u64) -> Result<(), FsError> {
    use std::os::unix::fs::FileExt;
    file.read_exact_at(bytes, offset).map_err(io_error(path, "read"))
}

/// Size of a file in bytes.
pub fn size_bytes(path: &Path) -> Result<u64, FsError> {
    fs::metadata(path).map(|metadata| metadata.len()).map_err(io_error(path, "look at"))
}

/// Where the machine's memory cannot be read.
const ASSUMED_MEMORY_BYTES: u64 = 8 << 30;

/// Memory that this process may use: of the machine, or of its container.
pub fn memory_bytes() -> u64 {
    let machine = read_text(Path::new("/proc/meminfo"), 1 << 20).ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    });
    let container = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| read_text(Path::new(path), 64).ok()?.trim().parse::<u64>().ok());
    machine.unwrap_or(ASSUMED_MEMORY_BYTES).min(container.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_temporary() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_atomic(&path, b"old").unwrap();
        let failed = write_atomic_with(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("disk full"))
        });
        assert!(failed.unwrap_err().to_string().contains("a.json"));
        assert_eq!(read(&path, 10).unwrap(), b"old");
        assert_eq!(list(folder.path()).unwrap(), vec![path]);
    }

    #[test]
    fn a_file_over_the_cap_is_refused_with_its_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big");
        write_atomic(&path, &[0; 11]).unwrap();
        assert!(matches!(read(&path, 10), Err(FsError::TooLarge { found_bytes: 11, cap_bytes: 10, .. })));
    }
}
