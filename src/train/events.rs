//! TensorBoard's event files, written by hand: TFRecord framing (length, masked CRC-32C, data, masked CRC-32C) around `Event`
//! messages with scalar summaries. Only what TensorBoard needs of protocol buffers is here.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::TrainError;
use crate::fsx;

/// The one event file of a RUN. TensorBoard takes any name with `tfevents` in it; time and host, which it usually holds, would make
/// equal runs differ.
pub const EVENTS_FILE: &str = "tensorboard/events.out.tfevents.0.groupdistil";

/// An event file that is appended to.
#[derive(Debug)]
pub struct Events {
    path: PathBuf,
}

impl Events {
    /// Opens the event file of the RUN at `root`; a new one gets its header.
    ///
    /// # Errors
    /// [`TrainError::Fs`].
    pub fn open(root: &Path) -> Result<Self, TrainError> {
        let path = root.join(EVENTS_FILE);
        fsx::create_folder(path.parent().unwrap_or(root))?;
        let events = Self { path };
        if !events.path.is_file() || fsx::size_bytes(&events.path)? == 0 {
            // Field 3: file_version.
            events.append(&[double(1, 0.0), bytes(3, b"brain.Event:2")].concat())?;
        }
        Ok(events)
    }

    /// Appends one event with scalars at `step`.
    ///
    /// # Errors
    /// [`TrainError::Fs`].
    #[expect(clippy::cast_possible_truncation, reason = "TensorBoard's scalars are float32")]
    pub fn scalars(&self, step: u64, scalars: &[(String, f64)]) -> Result<(), TrainError> {
        // Summary.Value: field 1 tag, field 2 simple_value; Summary: field 1 value.
        let value =
            |(tag, value): &(String, f64)| bytes(1, &[bytes(1, tag.as_bytes()), float(2, *value as f32)].concat());
        let summary: Vec<u8> = scalars.iter().flat_map(value).collect();
        // Event: field 1 wall_time, field 2 step, field 5 summary. The step stands in for the time, which would differ.
        self.append(&[double(1, step as f64), integer(2, step), bytes(5, &summary)].concat())
    }

    /// Length of the file.
    ///
    /// # Errors
    /// [`TrainError::Fs`].
    pub fn size_bytes(&self) -> Result<u64, TrainError> {
        Ok(fsx::size_bytes(&self.path)?)
    }

    fn append(&self, event: &[u8]) -> Result<(), TrainError> {
        let mut file = fsx::open_append(&self.path)?;
        Ok(file.write_all(&record(event)).map_err(fsx::io_error(&self.path, "append to"))?)
    }
}

/// One TFRecord.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let checksum = |bytes: &[u8]| masked_crc32c(bytes).to_le_bytes();
    [length.as_slice(), &checksum(&length), data, &checksum(data)].concat()
}

/// Protocol buffers' variable-length integer.
fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

/// Field key: number and wire type.
fn key(field: u64, wire: u64) -> Vec<u8> {
    varint(field << 3 | wire)
}

fn integer(field: u64, value: u64) -> Vec<u8> {
    [key(field, 0), varint(value)].concat()
}

fn double(field: u64, value: f64) -> Vec<u8> {
    [key(field, 1), value.to_le_bytes().to_vec()].concat()
}

fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [key(field, 2), varint(value.len() as u64), value.to_vec()].concat()
}

fn float(field: u64, value: f32) -> Vec<u8> {
    [key(field, 5), value.to_le_bytes().to_vec()].concat()
}

/// CRC-32C (Castagnoli, reflected polynomial 0x82f63b78), bit by bit: a few hundred bytes an epoch.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

/// TFRecord's mask: a rotation and a constant, so that a checksum of data that holds checksums is a good one.
fn masked_crc32c(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, B.4: 32 bytes of zeros, of ones, and 0..31.
    #[test]
    fn checksums_equal_those_of_the_rfc() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
    }

    #[test]
    fn integers_are_protocol_buffers_varints() {
        assert_eq!(integer(2, 300), [0x10, 0xac, 0x02]);
        assert_eq!(varint(0), [0]);
        assert_eq!(varint(u64::MAX).len(), 10);
    }
}
