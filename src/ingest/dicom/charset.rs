//! Text of a data set in Unicode, by its SpecificCharacterSet (PS3.3 C.12.1.1.2, PS3.5 6.1).
//!
//! One hospital may write the same name in different sets; ids and site names must come out the same.

use encoding_rs::{
    EUC_KR, Encoding, GB18030, ISO_2022_JP, ISO_8859_2, ISO_8859_3, ISO_8859_4, ISO_8859_5, ISO_8859_6, ISO_8859_7,
    ISO_8859_8, SHIFT_JIS, UTF_8, WINDOWS_874, WINDOWS_1252, WINDOWS_1254,
};

/// Defined terms and what they stand for; `ISO 2022` terms are looked up as `ISO_IR`.
const SETS: [(&str, &Encoding); 20] = [
    ("ISO_IR 192", UTF_8),
    ("ISO_IR 100", WINDOWS_1252),
    ("ISO_IR 101", ISO_8859_2),
    ("ISO_IR 109", ISO_8859_3),
    ("ISO_IR 110", ISO_8859_4),
    ("ISO_IR 144", ISO_8859_5),
    ("ISO_IR 127", ISO_8859_6),
    ("ISO_IR 126", ISO_8859_7),
    ("ISO_IR 138", ISO_8859_8),
    ("ISO_IR 148", WINDOWS_1254),
    ("ISO_IR 203", WINDOWS_1252),
    ("ISO_IR 166", WINDOWS_874),
    ("ISO_IR 13", SHIFT_JIS),
    ("ISO_IR 87", ISO_2022_JP),
    ("ISO_IR 159", ISO_2022_JP),
    ("ISO_IR 149", EUC_KR),
    ("ISO_IR 58", GB18030),
    ("GB18030", GB18030),
    ("GBK", GB18030),
    ("ISO_IR 6", WINDOWS_1252),
];

/// The character set of one data set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Charset(Option<&'static Encoding>);

impl Charset {
    /// Of the values of SpecificCharacterSet; unknown terms count as absent. With code extensions, the first set that is more than
    /// ASCII stands for all: its single bytes are ASCII in every term of the standard.
    pub fn of(term: &str) -> Self {
        let known = |term: &str| {
            let plain = term.trim().replace("ISO 2022 IR", "ISO_IR");
            SETS.iter().find(|(name, _)| *name == plain).map(|(_, encoding)| *encoding)
        };
        Self(term.split('\\').filter(|term| !term.trim().is_empty()).filter_map(known).next_back())
    }

    /// The text of a value, without padding.
    pub fn decode(self, bytes: &[u8]) -> String {
        let bytes = trim(bytes);
        if bytes.iter().all(|byte| byte.is_ascii() && *byte != ESCAPE) {
            return bytes.iter().map(|byte| char::from(*byte)).collect();
        }
        let text = match self.0 {
            // No set is announced, and the text is not ASCII: UTF-8 where it is valid, else Latin-1.
            None => match std::str::from_utf8(bytes) {
                Ok(text) => text.to_owned(),
                Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned(),
            },
            Some(encoding) if encoding == ISO_2022_JP => encoding.decode_without_bom_handling(bytes).0.into_owned(),
            Some(encoding) => encoding.decode_without_bom_handling(&without_escapes(bytes)).0.into_owned(),
        };
        text.trim_matches([' ', '\0']).to_owned()
    }
}

const ESCAPE: u8 = 0x1b;

fn trim(bytes: &[u8]) -> &[u8] {
    let is_padding = |byte: &u8| *byte == b' ' || *byte == 0;
    let start = bytes.iter().position(|byte| !is_padding(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|byte| !is_padding(byte)).map_or(start, |end| end + 1);
    &bytes[start..end]
}

/// Code extensions (ISO 2022) announce a set that is decoded anyway: an escape, intermediate bytes, one final byte.
fn without_escapes(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        if *byte == ESCAPE {
            while rest.next().is_some_and(|byte| (0x20..0x30).contains(byte)) {}
        } else {
            plain.push(*byte);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Byte values from PS3.5 annexes H (Japanese), I (Korean), J (Chinese) and ISO 8859-1's table.
    #[test]
    fn examples_of_the_standard_are_decoded() {
        let korean = b"\x1b$)C\xb1\xe8\xc8\xf1\xc1\xdf";
        assert_eq!(Charset::of("\\ISO 2022 IR 149").decode(korean), "김희중");
        let japanese = b"\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B";
        assert_eq!(Charset::of("\\ISO 2022 IR 87").decode(japanese), "山田^太郎");
        assert_eq!(Charset::of("ISO_IR 192").decode("Wang^小东".as_bytes()), "Wang^小东");
        assert_eq!(Charset::of("GB18030").decode(b"\xcd\xf5^\xd0\xa1\xb6\xab "), "王^小东");
        assert_eq!(Charset::of("ISO_IR 100").decode(b"Universit\xe4t\0"), "Universität");
        assert_eq!(Charset::of("ISO_IR 144").decode(b"\xbb\xee\xda"), "Люк", "Cyrillic");
    }

    #[test]
    fn unannounced_text_is_utf8_where_it_can_be() {
        assert_eq!(Charset::of("").decode("Größe".as_bytes()), "Größe");
        assert_eq!(Charset::of("nonsense").decode(b"Gr\xf6\xdfe"), "Größe");
        assert_eq!(Charset::of("").decode(b"  plain \0"), "plain");
    }
}
