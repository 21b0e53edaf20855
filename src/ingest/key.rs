//! The hospital's key for pseudonyms: a file of the user's choice, or one made at first use, readable by its owner alone.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::IngestError;
use crate::fsx;

/// Bytes of a key that is made here.
const KEY_BYTES: usize = 32;
/// A shorter key could be guessed.
const LEAST_BYTES: usize = 16;
const CAP_BYTES: u64 = 4096;

/// The key of `--key`, or the user's own (`$XDG_CONFIG_HOME/groupdistil/key`, else `~/.config/...`), made where absent.
///
/// # Errors
/// [`IngestError::Key`] for a short key or a home that is unknown.
pub fn read_or_create(given: Option<&Path>) -> Result<Vec<u8>, IngestError> {
    let path = match given {
        Some(path) => path.to_path_buf(),
        None => default_path()?,
    };
    if !path.exists() {
        if given.is_some() {
            return Err(IngestError::Key { path, problem: "no such key file" });
        }
        create(&path)?;
    }
    let key = fsx::read(&path, CAP_BYTES)?;
    if key.len() < LEAST_BYTES {
        return Err(IngestError::Key { path, problem: "a key needs at least 16 bytes" });
    }
    Ok(key)
}

/// Where the user's key lies.
fn default_path() -> Result<PathBuf, IngestError> {
    let config = std::env::var_os("XDG_CONFIG_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = config.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
    let problem = "no home folder for the key of pseudonyms; give one with --key FILE";
    let config = config.ok_or_else(|| IngestError::Key { path: PathBuf::from("~"), problem })?;
    Ok(config.join("groupdistil").join("key"))
}

/// A key that nobody keeps: its pseudonyms tell subjects apart and lead nowhere.
///
/// # Errors
/// [`IngestError::Fs`] when the system gives no random numbers.
pub fn throw_away() -> Result<Vec<u8>, IngestError> {
    let random = Path::new("/dev/urandom");
    let mut key = [0_u8; KEY_BYTES];
    fsx::open(random)?.read_exact(&mut key).map_err(fsx::io_error(random, "read"))?;
    Ok(key.to_vec())
}

fn create(path: &Path) -> Result<(), IngestError> {
    let key = throw_away()?;
    if let Some(folder) = path.parent() {
        fsx::create_folder(folder)?;
    }
    fsx::write_private(path, &key)?;
    Ok(())
}
