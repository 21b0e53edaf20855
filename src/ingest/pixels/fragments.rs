//! Encapsulated pixel data: which bytes of the fragments are which frame's stream (PS3.5 A.4). Lengths are held against the file first.

use dicom::dictionary_std::tags;

use super::super::content::{Content, ContentError};
use super::super::dicom::{DicomError, Item, malformed};

/// More fragments than any object has: bounds the index of one that lies.
const FRAGMENTS_CAP: usize = 4_000_000;
/// No compressed frame is larger.
const STREAM_CAP_BYTES: u64 = 1 << 30;
const ITEM: [u8; 4] = [0xfe, 0xff, 0x00, 0xe0];
const END: [u8; 4] = [0xfe, 0xff, 0xdd, 0xe0];

/// A fragment's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fragment {
    /// Byte in the content.
    start: u64,
    bytes: u64,
    /// From the first byte of the first fragment's item, as offset tables count.
    offset: u64,
}

/// The fragments of an object by frame.
#[derive(Debug)]
pub struct Fragments {
    content: Content,
    by_frame: Vec<Vec<Fragment>>,
}

fn wrong(found: impl Into<String>, expected: &'static str) -> DicomError {
    malformed(tags::PIXEL_DATA, found, expected)
}

impl Fragments {
    /// Sorts the fragments that begin at `start` into `frames` frames: by the offset table, else one a frame, else all to the only
    /// frame, else by the streams that begin as one.
    ///
    /// # Errors
    /// [`DicomError`] when they cannot be told apart or end beyond the file.
    pub fn of(content: &Content, start: u64, item: &Item, frames: usize) -> Result<Self, DicomError> {
        let (table, fragments) = walk(content, start)?;
        let offsets = extended_offsets(item).unwrap_or(table);
        let by_frame = if offsets.len() == frames && frames > 1 {
            by_offsets(&fragments, &offsets)?
        } else if frames == 1 {
            vec![fragments]
        } else if fragments.len() == frames {
            fragments.into_iter().map(|fragment| vec![fragment]).collect()
        } else {
            by_starts(content, &fragments)?
        };
        if by_frame.len() != frames || by_frame.iter().any(Vec::is_empty) {
            return Err(wrong(format!("{} compressed frames", by_frame.len()), "as many as NumberOfFrames"));
        }
        Ok(Self { content: content.clone(), by_frame })
    }

    /// The stream of one frame.
    ///
    /// # Errors
    /// [`DicomError`].
    pub fn stream(&self, frame: usize) -> Result<Vec<u8>, DicomError> {
        let fragments = self.by_frame.get(frame).map(Vec::as_slice).unwrap_or_default();
        let bytes = fragments.iter().try_fold(0_u64, |all, one| all.checked_add(one.bytes));
        if bytes.is_none_or(|bytes| bytes > STREAM_CAP_BYTES) {
            return Err(wrong("more than 1 GiB in one frame", "a compressed image"));
        }
        let mut stream = Vec::new();
        for fragment in fragments {
            stream.extend(self.content.range(fragment.start, fragment.bytes).map_err(ContentError::from)?);
        }
        Ok(stream)
    }
}

/// The basic offset table and the fragments behind it.
fn walk(content: &Content, start: u64) -> Result<(Vec<u64>, Vec<Fragment>), DicomError> {
    let mut table = None;
    let mut fragments = Vec::new();
    let (mut at, mut first) = (start, 0);
    while fragments.len() < FRAGMENTS_CAP {
        let mut head = [0; 8];
        let there = content.read_at(&mut head, at).map_err(ContentError::from)?;
        let [a, b, c, d, length @ ..] = head;
        // A missing delimiter at the end of the file loses nothing.
        if there < head.len() || [a, b, c, d] == END {
            break;
        }
        if [a, b, c, d] != ITEM {
            return Err(wrong("something else than fragments", "fragments of a compressed image"));
        }
        let bytes = u64::from(u32::from_le_bytes(length));
        let value = at + 8;
        if value.checked_add(bytes).is_none_or(|end| end > content.bytes()) {
            return Err(wrong("cut off within a fragment", "fragments that end within the file"));
        }
        at = value + bytes;
        if table.is_none() {
            table = Some(offsets(content, value, bytes)?);
            first = at;
        } else {
            fragments.push(Fragment { start: value, bytes, offset: value - 8 - first });
        }
    }
    Ok((table.unwrap_or_default(), fragments))
}

/// The entries of a basic offset table.
fn offsets(content: &Content, start: u64, bytes: u64) -> Result<Vec<u64>, DicomError> {
    if bytes > (FRAGMENTS_CAP * 4) as u64 {
        return Err(wrong("an offset table without end", "one entry a frame"));
    }
    let table = content.range(start, bytes).map_err(ContentError::from)?;
    let entry = |entry: &[u8]| u64::from(u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]));
    Ok(table.chunks_exact(4).map(entry).collect())
}

/// The extended offset table (PS3.3 C.7.6.3.1.8), where there is one.
fn extended_offsets(item: &Item) -> Option<Vec<u64>> {
    let table = item.bytes(tags::EXTENDED_OFFSET_TABLE)?;
    let entry = |entry: &[u8]| entry.iter().rev().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
    Some(table.chunks_exact(8).map(entry).collect())
}

fn by_offsets(fragments: &[Fragment], offsets: &[u64]) -> Result<Vec<Vec<Fragment>>, DicomError> {
    if offsets.windows(2).any(|pair| pair[0] >= pair[1]) || offsets.first() != Some(&0) {
        return Err(wrong("an offset table that does not ascend from 0", "one ascending entry a frame"));
    }
    let mut frames = vec![Vec::new(); offsets.len()];
    for fragment in fragments {
        let frame = offsets.partition_point(|offset| *offset <= fragment.offset) - 1;
        frames[frame].push(*fragment);
    }
    Ok(frames)
}

/// A frame begins with each fragment that begins as a JPEG or JPEG 2000 stream does.
fn by_starts(content: &Content, fragments: &[Fragment]) -> Result<Vec<Vec<Fragment>>, DicomError> {
    let mut frames: Vec<Vec<Fragment>> = Vec::new();
    for fragment in fragments {
        let start = content.range(fragment.start, 4).map_err(ContentError::from)?;
        let begins = start.starts_with(&[0xff, 0xd8]) || start.starts_with(&[0xff, 0x4f, 0xff, 0x51]);
        match frames.last_mut() {
            Some(frame) if !begins => frame.push(*fragment),
            _ => frames.push(vec![*fragment]),
        }
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::super::super::dicom::charset::Charset;
    use super::*;

    fn item(value: &[u8]) -> Vec<u8> {
        let length = u32::try_from(value.len()).unwrap();
        [&ITEM[..], &length.to_le_bytes(), value].concat()
    }

    fn streams(items: &[&[u8]], frames: usize) -> Result<Vec<Vec<u8>>, DicomError> {
        let mut bytes: Vec<u8> = items.iter().flat_map(|value| item(value)).collect();
        bytes.extend([&END[..], &[0; 4]].concat());
        let content = Content::Memory(bytes.into());
        let found = Fragments::of(&content, 0, &Item::empty(false, Charset::of("")), frames)?;
        (0..frames).map(|frame| found.stream(frame)).collect()
    }

    /// PS3.5 table A.4-2: two frames, the first in two fragments, offsets 0 and 0x646.
    #[test]
    fn the_example_of_the_standard_with_an_offset_table() {
        let (first, second, third) = (vec![1; 0x2C8], vec![2; 0x36E], vec![3; 0xBC8]);
        let table = [0_u32.to_le_bytes(), 0x646_u32.to_le_bytes()].concat();
        let found = streams(&[&table, &first, &second, &third], 2).unwrap();
        assert_eq!(found, [[first, second].concat(), third]);
    }

    #[test]
    fn without_a_table_streams_are_told_by_their_starts() {
        let (start, rest) = (&[0xff, 0xd8, 0xff][..], &[9, 9][..]);
        let found = streams(&[&[], start, rest, start], 2).unwrap();
        assert_eq!(found, [[start, rest].concat(), start.to_vec()]);
        assert_eq!(streams(&[&[], start, rest], 1).unwrap(), [[start, rest].concat()]);
        assert_eq!(streams(&[&[], rest, rest], 2).unwrap(), [rest.to_vec(), rest.to_vec()]);
        assert!(streams(&[&[], start, rest, start], 3).is_ok(), "one a frame");
        assert!(streams(&[&[], start, rest], 3).is_err());
    }

    #[test]
    fn a_fragment_beyond_the_file_and_a_wrong_table_are_errors() {
        let mut bytes = [item(&[]), item(&[1, 2])].concat();
        bytes.truncate(bytes.len() - 1);
        let empty = Item::empty(false, Charset::of(""));
        assert!(Fragments::of(&Content::Memory(bytes.into()), 0, &empty, 1).is_err());
        let table = [8_u32.to_le_bytes(), 0_u32.to_le_bytes()].concat();
        assert!(streams(&[&table, &[1], &[2]], 2).is_err());
    }
}
