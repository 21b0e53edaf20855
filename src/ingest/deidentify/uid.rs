//! New UIDs: under `2.25.`, the decimal of 128 bits (PS3.5 B.2), keyed, so that the same UID becomes the same new one everywhere and
//! nobody without the key can tell which it was.

use dicom::dictionary_std::uids;

use super::super::privacy::Pseudonyms;

/// Classes that an MR image has or refers to (PS3.4 B.5).
const CLASSES: &[&str] = &[
    uids::MR_IMAGE_STORAGE,
    uids::ENHANCED_MR_IMAGE_STORAGE,
    uids::ENHANCED_MR_COLOR_IMAGE_STORAGE,
    uids::LEGACY_CONVERTED_ENHANCED_MR_IMAGE_STORAGE,
    uids::MR_SPECTROSCOPY_STORAGE,
    uids::SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_GRAYSCALE_BYTE_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_GRAYSCALE_WORD_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::RAW_DATA_STORAGE,
    uids::SEGMENTATION_STORAGE,
    uids::REAL_WORLD_VALUE_MAPPING_STORAGE,
    uids::PARAMETRIC_MAP_STORAGE,
];

/// Whether this UID is a SOP class of the standard that MR images have; vendors' own classes are not.
pub fn is_standard_class(uid: &str) -> bool {
    CLASSES.contains(&uid)
}

/// Whether objects of this class have functional groups.
pub fn is_enhanced_class(uid: &str) -> bool {
    const ENHANCED: [&str; 3] = [
        uids::ENHANCED_MR_IMAGE_STORAGE,
        uids::ENHANCED_MR_COLOR_IMAGE_STORAGE,
        uids::LEGACY_CONVERTED_ENHANCED_MR_IMAGE_STORAGE,
    ];
    ENHANCED.contains(&uid)
}

/// The new UID in place of `uid`.
pub fn replaced(ids: &Pseudonyms, uid: &str) -> String {
    format!("2.25.{}", u128::from_be_bytes(ids.bits("uid", &[uid])))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// HMAC-SHA-256 by Python: hmac.new(b"key", struct.pack("<Q", 3) + b"uid" + struct.pack("<Q", 5) + b"1.2.3", "sha256"), first
    /// 16 bytes, big-endian, in decimal.
    #[test]
    fn a_new_uid_is_the_keyed_hash_in_decimal() {
        let ids = Pseudonyms::new(b"key".to_vec());
        assert_eq!(replaced(&ids, "1.2.3"), "2.25.55250036790960354355653774191251568974");
        assert_ne!(replaced(&ids, "1.2.3"), replaced(&Pseudonyms::new(b"other".to_vec()), "1.2.3"));
    }

    #[test]
    fn classes_of_the_standard_are_told_from_others() {
        assert!(is_standard_class("1.2.840.10008.5.1.4.1.1.4") && is_standard_class("1.2.840.10008.5.1.4.1.1.4.4"));
        // Philips' private MR class, and a UID that only begins like the standard's.
        assert!(!is_standard_class("1.3.46.670589.11.0.0.12.1") && !is_standard_class("1.2.840.10008.5.1.4.1.1.4.777"));
    }
}
