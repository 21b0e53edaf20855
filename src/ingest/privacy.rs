//! What may leave ingest: allow-listed scanner attributes without a token of the patient's identifiers, and keyed pseudonyms.

use std::collections::BTreeSet;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Shorter tokens of ids would make half of all text unknown (`SC`, `A`, `1`).
const TOKEN_CHARACTERS: usize = 3;
/// Tokens with so many digits are looked for inside words too: `MR0012345`.
const NUMBER_DIGITS: usize = 5;

/// Particles and titles of two letters: they name nobody, and every second hospital has one.
const PARTICLES: &[&str] = &[
    "al", "am", "an", "as", "at", "da", "de", "di", "do", "dr", "du", "el", "la", "le", "lo", "md", "mr", "ms", "of",
    "st", "te", "to", "zu",
];

/// Words of manufacturers' names: `Philips Medical Systems` is no patient's name, even if the patient is called Philips.
const VENDOR_WORDS: &[&str] = &[
    "siemens",
    "healthineers",
    "healthcare",
    "health",
    "care",
    "gmbh",
    "ag",
    "philips",
    "medical",
    "systems",
    "system",
    "ge",
    "hcs",
    "general",
    "electric",
    "toshiba",
    "canon",
    "mec",
    "nmi",
    "nmr",
    "mr",
    "united",
    "imaging",
    "uih",
    "hitachi",
    "fujifilm",
    "shanghai",
    "esaote",
    "bruker",
    "biospin",
    "neusoft",
    "mindray",
    "marconi",
    "picker",
    "corporation",
    "company",
    "inc",
    "ltd",
    "co",
];

/// Letters that Unicode does not decompose, as they are spelled without them.
const SPELLED: &[(char, &str)] =
    &[('ß', "ss"), ('ø', "o"), ('æ', "ae"), ('œ', "oe"), ('ł', "l"), ('đ', "d"), ('ð', "d"), ('þ', "th"), ('ı', "i")];

/// The value, or `None` when it holds a token of the file's own PatientName, PatientID or AccessionNumber.
///
/// Whole words are compared, without regard to case, accents and `ue` for `ü`. Inside words are looked for: an identifier as a
/// whole, long numbers, and names in scripts that put no spaces between words. Words of two letters count where the identifier has
/// no digits, as names have not (`Li`). Text in a character set that could not be decoded cannot be compared, and is not allowed.
pub fn allowed(value: &str, identifiers: &[String]) -> Option<String> {
    if value.chars().any(|letter| letter.is_control() || letter == char::REPLACEMENT_CHARACTER) {
        return None;
    }
    let value_forms = forms(value);
    let words: BTreeSet<&str> = value_forms.iter().flat_map(|form| tokens(form)).collect();
    let is_vendor = !words.is_empty() && words.iter().all(|word| VENDOR_WORDS.contains(word));
    let names = |identifier: &String| {
        let is_name = !identifier.chars().any(|letter| letter.is_ascii_digit());
        forms(identifier.trim()).iter().filter(|form| !form.is_empty()).any(|form| {
            let is_long = form.chars().count() > TOKEN_CHARACTERS;
            let is_whole = |value: &String| value.trim() == form || (is_long && value.contains(form.as_str()));
            let held = |token: &str| is_held(token, is_name, &words, &value_forms);
            value_forms.iter().any(is_whole) || tokens(form).any(held)
        })
    };
    (is_vendor || !identifiers.iter().any(names)).then(|| value.to_owned())
}

/// Whether the value, by its words and its forms, holds a token of an identifier.
fn is_held(token: &str, is_name: bool, words: &BTreeSet<&str>, values: &[String]) -> bool {
    let count = token.chars().count();
    let digits = token.chars().filter(char::is_ascii_digit).count();
    let has_no_spaces = count >= 2 && token.chars().all(is_unspaced);
    if (has_no_spaces || digits >= NUMBER_DIGITS) && values.iter().any(|value| value.contains(token)) {
        return true;
    }
    let counts = count >= TOKEN_CHARACTERS || (is_name && count == 2 && !PARTICLES.contains(&token));
    counts && words.contains(token)
}

fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric()).filter(|part| !part.is_empty())
}

/// Scripts without spaces between words: Chinese, Japanese, Korean (as decomposed by [`forms`]) and Thai.
fn is_unspaced(letter: char) -> bool {
    matches!(u32::from(letter), 0x0e00..=0x0e7f | 0x1100..=0x11ff | 0x3005..=0x30ff | 0x3400..=0x9fff | 0xf900..=0xfaff
        | 0x20000..=0x3ffff)
}

/// Lower case without accents; and where it differs, with `ae`, `oe`, `ue` for the German letters.
fn forms(text: &str) -> Vec<String> {
    let lower = text.nfc().collect::<String>().to_lowercase();
    let german = lower.replace('ä', "ae").replace('ö', "oe").replace('ü', "ue");
    let mut forms = vec![plain(&lower)];
    if german != lower {
        forms.push(plain(&german));
    }
    forms
}

/// Without accents.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.nfkd().filter(|letter| !is_combining_mark(*letter)) {
        match SPELLED.iter().find(|(from, _)| *from == letter) {
            Some((_, to)) => plain += to,
            None => plain.push(letter),
        }
    }
    plain
}

/// Makes pseudonyms: HMAC-SHA-256 under the hospital's key, 128 bits, base32.
#[derive(Clone)]
pub struct Pseudonyms {
    key: Vec<u8>,
}

impl Pseudonyms {
    /// Pseudonyms under a key.
    pub fn new(key: Vec<u8>) -> Self {
        Self { key }
    }

    /// The pseudonym of `parts` in the domain `kind` (`subject`, `study`, `stack`): 26 lower-case base32 characters.
    pub fn of(&self, kind: &str, parts: &[&str]) -> String {
        data_encoding::BASE32_NOPAD.encode(&self.bits(kind, parts)).to_ascii_lowercase()
    }

    /// The same as 128 bits.
    pub fn bits(&self, kind: &str, parts: &[&str]) -> [u8; 16] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        for part in std::iter::once(&kind).chain(parts) {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part.as_bytes());
        }
        let mut bits = [0; 16];
        bits.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_with_a_token_of_the_patient_is_unknown() {
        let identifiers = ["DOE^JANE".to_owned(), "12345".to_owned()];
        assert_eq!(allowed("Praxis Dr. Doe", &identifiers), None);
        assert_eq!(allowed("MR12345", &identifiers), None);
        assert_eq!(allowed("General Hospital", &identifiers), Some("General Hospital".to_owned()));
        assert_eq!(allowed("SIEMENS", &["Al^Bo".to_owned()]), Some("SIEMENS".to_owned()));
    }

    #[test]
    fn names_are_found_whatever_their_spelling_and_script() {
        let holds = |value: &str, identifier: &str| allowed(value, &[identifier.to_owned()]).is_none();
        for (value, identifier) in [
            ("Praxis MUELLER", "Müller^Hans"),
            ("Praxis Müller", "MUELLER^HANS"),
            ("Praxis Muller", "Mu\u{308}ller^Hans"),
            ("Strauss-Klinik", "Strauß^Eva"),
            ("山田病院", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
            ("やまだ病院", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
            ("김민수내과", "Kim^Minsu=김^민수"),
            ("Li Clinic", "Li^Wei"),
            ("MR0012345", "H-0012345-A"),
            ("7", "7"),
        ] {
            assert!(holds(value, identifier), "{value} of {identifier}");
        }
        for (value, identifier) in [
            ("Hospital de la Paz", "De La^Al"),
            ("GE MEDICAL SYSTEMS", "Ge^You"),
            ("Philips Medical Systems", "Philips^Siemens"),
            ("SIEMENS", "Siem^Mens"),
            ("GE MEDICAL SYSTEMS", "GE-001"),
            ("syngo MR E11", "E1"),
        ] {
            assert!(!holds(value, identifier), "{value} of {identifier}");
        }
    }

    #[test]
    fn text_that_was_not_decoded_is_unknown() {
        // ISO 2022 IR 87 read as ASCII.
        assert_eq!(allowed("\u{1b}$B:mK1IB1!\u{1b}(B", &[]), None);
        assert_eq!(allowed("Klinik M\u{fffd}nchen", &[]), None);
    }

    #[test]
    fn pseudonyms_depend_on_key_kind_and_the_borders_of_parts() {
        let first = Pseudonyms::new(b"key".to_vec());
        let id = first.of("subject", &["", "12"]);
        assert_eq!(id.len(), 26);
        assert_eq!(id, first.of("subject", &["", "12"]));
        assert_ne!(id, first.of("subject", &["1", "2"]));
        assert_ne!(id, first.of("study", &["", "12"]));
        assert_ne!(id, Pseudonyms::new(b"other".to_vec()).of("subject", &["", "12"]));
    }
}
