//! Output folders: one writer at a time, complete only with its JSON, resumed or refused by what it was made from.
//!
//! A folder in work holds `.inputs` (the fingerprint of settings and inputs) and a locked `.lock`; the folder's JSON (`cohort.json`,
//! `dataset.json`, `run.json`, ...) is written last. Times, host and threads go to `provenance.json` and nowhere else; paths go to that of COHORT, the one private folder.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::failure::{Classify, FailureKind};
use crate::fsx::{self, FsError};

const INPUTS_FILE: &str = ".inputs";
/// What `.inputs` holds in a folder of output folders.
const COLLECTION: &str = "collection";
const LOCK_FILE: &str = ".lock";

/// Why an output folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutDirError {
    /// It was made from something else.
    #[error("`{}` was made from other settings or inputs; give another --out, or --force to make it anew", path.display())]
    Differs {
        /// The folder.
        path: PathBuf,
    },
    /// It holds files that this program did not write.
    #[error("`{}` is not empty and was not written by groupdistil; give another --out", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// Another process writes to it.
    #[error("`{}` is being written by another groupdistil; wait for it or give another --out", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A value could not be written as JSON.
    #[error("`{}`: cannot be written as JSON", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// serde's reason.
        source: serde_json::Error,
    },
}

impl Classify for OutDirError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Differs { .. } | Self::Foreign { .. } | Self::Locked { .. } => FailureKind::Usage,
            Self::Fs(_) | Self::Json { .. } => FailureKind::Unusable,
        }
    }
}

/// What opening an output folder found.
#[derive(Debug)]
pub enum Opened {
    /// Complete, from equal settings and inputs: nothing to do.
    UpToDate,
    /// To be filled, from the start or from where an interrupted run left it.
    Work(OutDir),
}

/// A locked output folder that is being filled.
#[derive(Debug)]
pub struct OutDir {
    root: PathBuf,
    final_name: &'static str,
    /// Whether files of an interrupted run with equal settings and inputs may be there.
    pub resumed: bool,
    _lock: File,
}

/// Hex SHA-256 over the parts of a fingerprint, each with its length, so that parts cannot run into each other.
pub fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut fingerprint = Fingerprint::default();
    parts.into_iter().for_each(|part| fingerprint.add(part));
    fingerprint.finish()
}

/// [`fingerprint`] of parts that need not be there at once.
#[derive(Default)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// The next part.
    pub fn add(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    /// Hex SHA-256 of the parts so far.
    pub fn finish(self) -> String {
        data_encoding::HEXLOWER.encode(&self.0.finalize())
    }
}

impl OutDir {
    /// Opens `root`, whose JSON is `final_name`, for work on what `fingerprint` stands for.
    ///
    /// `force` empties a folder that groupdistil made from something else; one made from the same is up to date or resumed
    /// all the same, and a foreign folder is never emptied.
    ///
    /// # Errors
    /// [`OutDirError::Differs`], [`OutDirError::Foreign`] and [`OutDirError::Locked`] as said there.
    pub fn open(root: &Path, final_name: &'static str, fingerprint: &str, force: bool) -> Result<Opened, OutDirError> {
        fsx::create_folder(root)?;
        let is_ours = root.join(INPUTS_FILE).is_file();
        if !is_ours && holds_others(root)? {
            return Err(OutDirError::Foreign { path: root.to_path_buf() });
        }
        let lock = lock(root)?;
        let equal = is_ours && fsx::read_text(&root.join(INPUTS_FILE), 1024)? == fingerprint;
        if equal {
            if root.join(final_name).is_file() {
                return Ok(Opened::UpToDate);
            }
            remove_temporaries(root, true)?;
            return Ok(Opened::Work(Self { root: root.to_path_buf(), final_name, resumed: true, _lock: lock }));
        }
        if is_ours {
            if !force {
                return Err(OutDirError::Differs { path: root.to_path_buf() });
            }
            empty(root, final_name)?;
        } else {
            remove_temporaries(root, false)?;
        }
        fsx::write_atomic(&root.join(INPUTS_FILE), fingerprint.as_bytes())?;
        Ok(Opened::Work(Self { root: root.to_path_buf(), final_name, resumed: false, _lock: lock }))
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Gives up a folder that nothing was written into yet, so that a next attempt with mended settings finds it empty and need not be
    /// forced; a folder that holds anything stays as it is.
    pub fn abandon(self) -> Result<(), OutDirError> {
        let is_own = |path: &PathBuf| path.file_name().is_some_and(|name| name == LOCK_FILE || name == INPUTS_FILE);
        if fsx::list(&self.root)?.iter().all(is_own) {
            fsx::remove_file(&self.root.join(INPUTS_FILE))?;
        }
        Ok(())
    }

    /// A path inside the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Writes `name` atomically.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), OutDirError> {
        Ok(fsx::write_atomic(&self.path(name), bytes)?)
    }

    /// Writes `name` as indented JSON with a final newline.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), OutDirError> {
        write_json(&self.path(name), value)
    }

    /// Writes `provenance.json`, then the folder's JSON, which makes the folder complete.
    pub fn complete(self, provenance: &Provenance, json: &impl Serialize) -> Result<(), OutDirError> {
        self.write_json("provenance.json", provenance)?;
        self.write_json(self.final_name, json)
    }
}

/// A locked folder of output folders, such as the `--out` of `run`; it is never emptied as a whole.
#[derive(Debug)]
pub struct Collection {
    root: PathBuf,
    _lock: File,
}

impl Collection {
    /// Opens a new or empty folder, or one that was a collection before.
    ///
    /// # Errors
    /// [`OutDirError::Foreign`] and [`OutDirError::Locked`] as said there.
    pub fn open(root: &Path) -> Result<Self, OutDirError> {
        fsx::create_folder(root)?;
        let marker = root.join(INPUTS_FILE);
        let is_ours = marker.is_file() && fsx::read_text(&marker, 1024)? == COLLECTION;
        if !is_ours && holds_others(root)? {
            return Err(OutDirError::Foreign { path: root.to_path_buf() });
        }
        let lock = lock(root)?;
        // The folders in it belong to others, who may be writing.
        remove_temporaries(root, false)?;
        fsx::write_atomic(&marker, COLLECTION.as_bytes())?;
        Ok(Self { root: root.to_path_buf(), _lock: lock })
    }

    /// A path inside the folder.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// Writes `name` as indented JSON with a final newline.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), OutDirError> {
        write_json(&self.path(name), value)
    }
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), OutDirError> {
    let json = serde_json::to_vec_pretty(value);
    let mut bytes = json.map_err(|source| OutDirError::Json { path: path.to_path_buf(), source })?;
    bytes.push(b'\n');
    Ok(fsx::write_atomic(path, &bytes)?)
}

/// Whether a folder holds anything but the lock and what a killed run left half written.
fn holds_others(root: &Path) -> Result<bool, OutDirError> {
    let is_other = |path: PathBuf| path.file_name().is_some_and(|name| name != LOCK_FILE) && !fsx::is_temporary(&path);
    Ok(fsx::list(root)?.into_iter().any(is_other))
}

/// Removes what a killed run left half written; the lock is held, so nobody else is writing.
fn remove_temporaries(folder: &Path, with_subfolders: bool) -> Result<(), OutDirError> {
    for path in fsx::list(folder)? {
        if with_subfolders && path.is_dir() && !path.is_symlink() {
            remove_temporaries(&path, true)?;
        } else if path.is_file() && fsx::is_temporary(&path) {
            fsx::remove_file(&path)?;
        }
    }
    Ok(())
}

fn lock(root: &Path) -> Result<File, OutDirError> {
    let file = fsx::open_update(&root.join(LOCK_FILE))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OutDirError::Locked { path: root.to_path_buf() }),
        Err(TryLockError::Error(source)) => {
            Err(FsError::Io { path: root.join(LOCK_FILE), action: "lock", source }.into())
        }
    }
}

/// Removes the folder's JSON first, so that an interrupted emptying never looks complete.
fn empty(root: &Path, final_name: &str) -> Result<(), OutDirError> {
    fsx::remove_file(&root.join(final_name))?;
    for path in fsx::list(root)? {
        match path.file_name() {
            Some(name) if name == LOCK_FILE || name == INPUTS_FILE => {}
            _ if path.is_dir() && !path.is_symlink() => fsx::remove_folder(&path)?,
            _ => fsx::remove_file(&path)?,
        }
    }
    Ok(())
}

/// What differs between equal runs: when, where and with how many threads.
#[derive(Debug, Clone, Serialize)]
pub struct Provenance {
    schema: &'static str,
    groupdistil_version: &'static str,
    started_unix_s: u64,
    ended_unix_s: u64,
    host: String,
    threads: usize,
    device: String,
    /// Paths as the user gave them: in the private COHORT only, since they may name patients.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    paths: Vec<PathBuf>,
    /// Measurements of this run, for example seconds per stage.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    notes: serde_json::Map<String, serde_json::Value>,
}

impl Provenance {
    /// Starts the clock.
    pub fn begin(threads: usize, device: &str) -> Self {
        let host = fsx::read_text(Path::new("/proc/sys/kernel/hostname"), 256).unwrap_or_default().trim().to_owned();
        Self {
            schema: "groupdistil.provenance/1",
            groupdistil_version: env!("CARGO_PKG_VERSION"),
            started_unix_s: unix_s(),
            ended_unix_s: 0,
            host,
            threads,
            device: device.to_owned(),
            paths: Vec::new(),
            notes: serde_json::Map::new(),
        }
    }

    /// Adds the sources' paths; for COHORT alone.
    #[must_use]
    pub fn with_private_paths(self, paths: &[PathBuf]) -> Self {
        Self { paths: paths.to_vec(), ..self }
    }

    /// Adds a measurement.
    pub fn note(&mut self, key: &str, value: impl Into<serde_json::Value>) {
        self.notes.insert(key.to_owned(), value.into());
    }

    /// Stops the clock.
    pub fn end(mut self) -> Self {
        self.ended_unix_s = unix_s();
        self
    }
}

fn unix_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// Appends one line to a text file such as `metrics.jsonl`.
pub fn append_line(path: &Path, line: &str) -> Result<(), FsError> {
    let mut file = fsx::open_append(path)?;
    file.write_all(format!("{line}\n").as_bytes()).map_err(fsx::io_error(path, "append to"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(opened: Opened) -> OutDir {
        match opened {
            Opened::Work(folder) => folder,
            Opened::UpToDate => panic!("expected work to do"),
        }
    }

    #[test]
    fn a_folder_is_fresh_then_resumed_then_up_to_date_then_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().join("out");
        assert!(!work(OutDir::open(&root, "x.json", "a", false).unwrap()).resumed);
        let folder = work(OutDir::open(&root, "x.json", "a", false).unwrap());
        assert!(folder.resumed);
        folder.complete(&Provenance::begin(1, "cpu").end(), &serde_json::json!({"schema": "x/1"})).unwrap();
        assert!(matches!(OutDir::open(&root, "x.json", "a", false).unwrap(), Opened::UpToDate));
        assert!(matches!(OutDir::open(&root, "x.json", "b", false), Err(OutDirError::Differs { .. })));
        assert!(!work(OutDir::open(&root, "x.json", "b", true).unwrap()).resumed);
        assert!(!root.join("x.json").exists());
    }

    #[test]
    fn what_a_killed_run_left_half_written_is_removed_and_nothing_else() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().join("out");
        fsx::create_folder(&root).unwrap();
        let half = [".inputs.123.tmp", "sheets/.a.html.9.tmp"].map(|name| root.join(name));
        let kept = [".note.tmp", "sheets/a.12.tmp", "sheets/.b.html.x9.tmp"].map(|name| root.join(name));
        half[..1].iter().for_each(|path| fsx::write_atomic(path, b"half").unwrap());
        // Killed before the folder was marked: not foreign.
        work(OutDir::open(&root, "x.json", "a", false).unwrap());
        fsx::create_folder(&root.join("sheets")).unwrap();
        half.iter().chain(&kept).for_each(|path| fsx::write_atomic(path, b"").unwrap());
        assert!(work(OutDir::open(&root, "x.json", "a", false).unwrap()).resumed);
        assert!(half.iter().all(|path| !path.exists()) && kept.iter().all(|path| path.exists()));
    }

    #[test]
    fn an_abandoned_folder_takes_other_settings_and_one_with_work_in_it_does_not() {
        let temporary = tempfile::tempdir().unwrap();
        let open = |print: &str| OutDir::open(temporary.path(), "x.json", print, false);
        work(open("a").unwrap()).abandon().unwrap();
        let folder = work(open("b").unwrap());
        folder.write("half", b"done").unwrap();
        folder.abandon().unwrap();
        assert!(matches!(open("c"), Err(OutDirError::Differs { .. })));
    }

    #[test]
    fn a_second_writer_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let _first = work(OutDir::open(temporary.path(), "x.json", "a", false).unwrap());
        assert!(matches!(OutDir::open(temporary.path(), "x.json", "a", false), Err(OutDirError::Locked { .. })));
    }

    #[test]
    fn a_collection_is_opened_again_but_no_other_folder_is_taken_for_one() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().join("all");
        fsx::create_folder(&Collection::open(&root).unwrap().path("stage")).unwrap();
        assert!(Collection::open(&root).is_ok());
        let stage = temporary.path().join("stage");
        drop(work(OutDir::open(&stage, "x.json", "a", false).unwrap()));
        assert!(matches!(Collection::open(&stage), Err(OutDirError::Foreign { .. })));
    }

    #[test]
    fn force_never_empties_a_foreign_folder() {
        let temporary = tempfile::tempdir().unwrap();
        fsx::write_atomic(&temporary.path().join("thesis.doc"), b"precious").unwrap();
        assert!(matches!(OutDir::open(temporary.path(), "x.json", "a", true), Err(OutDirError::Foreign { .. })));
        assert!(temporary.path().join("thesis.doc").exists());
    }
}
