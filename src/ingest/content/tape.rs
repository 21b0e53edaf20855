//! The index of a tar archive: where each regular file lies. GNU and pax long names are read within a cap.

use std::io::Read;

use tar::{EntryType, PaxExtensions};

use super::unpack::damaged;
use super::{Content, ContentError};

/// No path is longer; a header that says so would only take memory.
const NAME_CAP_BYTES: u64 = 1 << 16;

/// One regular file of a tar archive.
#[derive(Debug)]
pub struct TapeMember {
    /// Its name in the archive.
    pub name: String,
    /// Where it begins.
    pub start: u64,
    /// Its length.
    pub bytes: u64,
}

/// The regular files of a tar archive in their order.
///
/// # Errors
/// [`ContentError::Damaged`]: a broken header, a file that ends beyond the archive.
pub fn index(content: &Content) -> Result<Vec<TapeMember>, ContentError> {
    let wrong = |error: &dyn std::fmt::Display| damaged("tar", error);
    let mut archive = tar::Archive::new(content.reader());
    let mut members = Vec::new();
    let mut long_name: Option<String> = None;
    for entry in archive.entries_with_seek().map_err(|error| wrong(&error))?.raw(true) {
        let mut entry = entry.map_err(|error| wrong(&error))?;
        let kind = entry.header().entry_type();
        let bytes = entry.header().size().map_err(|error| wrong(&error))?;
        if kind.is_gnu_longname() || kind.is_pax_local_extensions() {
            let mut text = Vec::new();
            (&mut entry).take(NAME_CAP_BYTES).read_to_end(&mut text).map_err(|error| wrong(&error))?;
            long_name = if kind.is_gnu_longname() { Some(gnu_name(&text)) } else { pax_name(&text).or(long_name) };
            continue;
        }
        let own = || String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = long_name.take().unwrap_or_else(own);
        if !matches!(kind, EntryType::Regular | EntryType::Continuous) || name.ends_with('/') {
            continue;
        }
        let start = entry.raw_file_position();
        if start.checked_add(bytes).is_none_or(|end| end > content.bytes()) {
            return Err(wrong(&"it ends in the middle of a file"));
        }
        members.push(TapeMember { name, start, bytes });
    }
    Ok(members)
}

fn gnu_name(text: &[u8]) -> String {
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    String::from_utf8_lossy(&text[..end]).into_owned()
}

fn pax_name(text: &[u8]) -> Option<String> {
    let pairs = PaxExtensions::new(text).filter_map(Result::ok);
    let path = pairs.filter(|pair| pair.key_bytes() == b"path").last()?;
    Some(String::from_utf8_lossy(path.value_bytes()).into_owned())
}
