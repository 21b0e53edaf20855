//! Comments inside compressed pixels: JPEG, JPEG-LS and JPEG 2000 streams have segments of free text, which no decoder needs. Their
//! bytes are cleared where they lie; lengths and image bytes stay.

/// Clears comments and application data in one stream; what is no such stream stays as it is.
pub fn clear(stream: &mut [u8]) {
    match stream {
        [0xFF, 0xD8, ..] => clear_segments(stream, 2, is_free_in_jpeg, |marker| marker == 0xDA),
        // SOC and SIZ (ITU-T T.800 A.4.1); tile parts begin with SOT.
        [0xFF, 0x4F, 0xFF, 0x51, ..] => clear_segments(stream, 2, |marker, _| marker == 0x64, |marker| marker == 0x90),
        _ => {}
    }
}

/// COM, and APPn but for those that change how the image is read: JFIF, Adobe's transform (APP14) and HP's (APP8) of JPEG-LS.
fn is_free_in_jpeg(marker: u8, content: &[u8]) -> bool {
    match marker {
        0xFE => true,
        0xE0 => !content.starts_with(b"JFIF\0"),
        0xE8 => !content.starts_with(b"mrfx"),
        0xEE => !content.starts_with(b"Adobe"),
        0xE1..=0xEF => true,
        _ => false,
    }
}

fn clear_segments(stream: &mut [u8], start: usize, is_free: fn(u8, &[u8]) -> bool, is_last: fn(u8) -> bool) {
    let mut at = start;
    while let Some(&[0xFF, marker, high, low]) = stream.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
        if marker == 0xFF {
            // A fill byte (ITU-T T.81 B.1.1.2).
            at += 1;
            continue;
        }
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (from, to) = (at + 4, at + 2 + length);
        if is_last(marker) || length < 2 || to > stream.len() {
            return;
        }
        if let Some(content) = stream.get_mut(from..to)
            && is_free(marker, content)
        {
            // JPEG 2000: the registration (first two bytes) says that text follows; zeros are binary.
            content.fill(0);
        }
        at = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Segments by hand from ITU-T T.81 table B.1.
    #[test]
    fn comments_of_jpeg_are_cleared_and_all_else_stays() {
        let mut stream = [
            &[0xFF, 0xD8][..],
            b"\xFF\xE0\x00\x07JFIF\0",
            b"\xFF\xFF\xFE\x00\x05DOE",
            b"\xFF\xE1\x00\x06Exif",
            b"\xFF\xEE\x00\x07Adobe",
            b"\xFF\xDA\x00\x04ab\xFF\xFE\x00\x05xyz",
        ]
        .concat();
        let before = stream.clone();
        clear(&mut stream);
        let mut expected = before;
        expected[16..19].fill(0);
        expected[23..27].fill(0);
        assert_eq!(stream, expected);
    }

    /// SOC, SIZ, COM and SOT of ITU-T T.800 A.
    #[test]
    fn comments_of_jpeg_2000_are_cleared_and_broken_streams_stay() {
        let mut stream =
            [&b"\xFF\x4F\xFF\x51\x00\x04ab"[..], b"\xFF\x64\x00\x07\x00\x01DOE", b"\xFF\x90\x00\x04ab"].concat();
        clear(&mut stream);
        assert!(!stream.windows(3).any(|window| window == b"DOE"));
        assert!(stream.ends_with(b"\xFF\x90\x00\x04ab") && stream.starts_with(b"\xFF\x4F\xFF\x51\x00\x04ab"));
        for broken in [&b"\xFF\xD8\xFF\xFE\x00\x09DOE"[..], b"\xFF\xD8\xFF\xFE\x00\x01", b"\xFF\xD8\xFF", b"", b"DOE"] {
            let mut bytes = broken.to_vec();
            clear(&mut bytes);
            assert_eq!(bytes, broken);
        }
    }
}
