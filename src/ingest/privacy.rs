//! What may leave ingest: allow-listed scanner attributes without a token of the patient's identifiers, and keyed pseudonyms.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Shorter tokens would make half of all text unknown (`SC`, `A`, `1`).
const TOKEN_CHARACTERS: usize = 3;

/// The value, or `None` when it holds a token of the file's own PatientName, PatientID or AccessionNumber.
pub fn allowed(value: &str, identifiers: &[String]) -> Option<String> {
    let tokens = |text: &str| -> Vec<String> {
        let parts = text.split(|letter: char| !letter.is_alphanumeric());
        parts.filter(|part| part.chars().count() >= TOKEN_CHARACTERS).map(str::to_lowercase).collect()
    };
    let lower = value.to_lowercase();
    let words = tokens(value);
    let names = |identifier: &String| {
        // Whole words of the value against tokens of the identifier, and the identifier as a whole anywhere in it.
        let whole = identifier.trim().to_lowercase();
        let inside = whole.chars().count() > TOKEN_CHARACTERS && lower.contains(&whole);
        inside || tokens(identifier).iter().any(|token| words.contains(token))
    };
    (!identifiers.iter().any(names)).then(|| value.to_owned())
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
