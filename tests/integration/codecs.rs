//! Every compression of DICOM by other people's encoders, against other people's decoders; and the same streams, damaged.

use std::path::Path;

use groupdistil::ingest::pixels::codec::{Codec, FrameShape, decode};
use serde::Deserialize;

use crate::support;

/// One stream of `codec_streams.py`.
#[derive(Deserialize)]
struct Case {
    name: String,
    uid: String,
    rows: u32,
    columns: u32,
    bytes_per_pixel: usize,
    bits_stored: u32,
    is_signed: bool,
    tolerance: i32,
}

impl Case {
    fn shape(&self) -> FrameShape {
        FrameShape {
            rows: self.rows,
            columns: self.columns,
            bytes_per_pixel: self.bytes_per_pixel,
            bits_stored: self.bits_stored,
            is_signed: self.is_signed,
        }
    }

    fn values(&self, bytes: &[u8]) -> Vec<i32> {
        let value = |bytes: &[u8]| match (bytes, self.is_signed) {
            ([one], true) => i32::from(i8::from_le_bytes([*one])),
            ([one], false) => i32::from(*one),
            (two, true) => i32::from(i16::from_le_bytes([two[0], two[1]])),
            (two, false) => i32::from(u16::from_le_bytes([two[0], two[1]])),
        };
        bytes.chunks_exact(self.bytes_per_pixel).map(value).collect()
    }
}

/// Flips and cuts of a stream, the same in every run: never a panic, whatever comes out.
fn damage(case: &Case, stream: &[u8], number: usize) {
    let codec = Codec::of(&case.uid).unwrap();
    let mut state = number as u64 + 1;
    let mut next = |below: usize| {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below.max(1) as u64).unwrap()
    };
    for _ in 0..4 {
        let mut damaged = stream.to_vec();
        for _ in 0..=next(3) {
            let place = next(damaged.len());
            damaged[place] ^= 1 << next(8);
        }
        damaged.truncate(stream.len() - next(stream.len() / 4) * next(2));
        if let Ok(bytes) = decode(codec, &damaged, &case.shape()) {
            let pixels = case.rows as usize * case.columns as usize;
            assert_eq!(bytes.len(), pixels * case.bytes_per_pixel, "{}", case.name);
        }
    }
}

#[test]
fn streams_of_other_encoders_are_decoded_as_other_decoders_do() {
    let test = "streams_of_other_encoders_are_decoded_as_other_decoders_do";
    let folder = tempfile::tempdir().unwrap();
    let Some(_) = support::run_python(test, "codec_streams.py", &[folder.path().to_str().unwrap()]) else { return };
    let read = |name: &str| std::fs::read(Path::new(folder.path()).join(name)).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&read("index.json")).unwrap();
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let stream = read(&format!("{number}.stream"));
        let expected = case.values(&read(&format!("{number}.raw")));
        match decode(Codec::of(&case.uid).unwrap(), &stream, &case.shape()) {
            Ok(bytes) => {
                let worst = case.values(&bytes).iter().zip(&expected).map(|(a, b)| (a - b).abs()).max().unwrap();
                if worst > case.tolerance || bytes.len() != expected.len() * case.bytes_per_pixel {
                    wrong.push(format!("{}: differs by {worst}", case.name));
                }
            }
            Err(error) => wrong.push(format!("{}: {error}", case.name)),
        }
        damage(case, &stream, number);
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(cases.len() > 1000, "only {} streams", cases.len());
}
