//! Who was scanned, and with what: identifiers for ingest alone, and the allow-listed attributes of the scanner.

use dicom::dictionary_std::tags;

use super::DicomError;
use super::item::Item;
use crate::ingest::image::{Person, Scanner};
use crate::ingest::privacy::allowed;

/// Who was scanned.
pub fn person(object: &Item) -> Person {
    let sex = object.text(tags::PATIENT_SEX).filter(|sex| ["M", "F", "O"].contains(&sex.as_str()));
    Person {
        patient_id: object.text(tags::PATIENT_ID),
        identifiers: identifiers(object),
        issuer: object.text(tags::ISSUER_OF_PATIENT_ID).unwrap_or_default(),
        study_uid: object.text(tags::STUDY_INSTANCE_UID),
        birth_date: object.text(tags::PATIENT_BIRTH_DATE).filter(|date| date.trim_matches('0').len() > 3),
        sex,
        age_years: object.text(tags::PATIENT_AGE).and_then(|age| age_years(&age)).or_else(|| age_at_study(object)),
    }
}

/// An age string (PS3.5 6.2, `018M`) in whole years, 90 for all above 89 (design, Privacy); `None` when it is none.
fn age_years(age: &str) -> Option<i32> {
    let (number, unit) = age.split_at_checked(age.len().checked_sub(1)?)?;
    let number: i32 = number.parse().ok()?;
    let years = match unit {
        "Y" => number,
        "M" => number / 12,
        "W" => number / 52,
        "D" => number / 365,
        _ => return None,
    };
    (0..=150).contains(&years).then_some(years.min(90))
}

/// Completed years from PatientBirthDate to StudyDate, where both are whole dates.
fn age_at_study(object: &Item) -> Option<i32> {
    let date = |tag| {
        let text = object.text(tag).filter(|text| text.len() == 8)?;
        let number: i32 = text.parse().ok()?;
        let (month, day) = (number / 100 % 100, number % 100);
        ((1..=12).contains(&month) && (1..=31).contains(&day) && number > 18_500_000).then_some(number)
    };
    // YYYYMMDD numbers: their difference counts a year once the birthday is reached.
    let years = (date(tags::STUDY_DATE)? - date(tags::PATIENT_BIRTH_DATE)?) / 10_000;
    (0..=150).contains(&years).then_some(years.min(90))
}

/// What must not be in any text that leaves ingest.
fn identifiers(object: &Item) -> Vec<String> {
    let tags = [tags::PATIENT_NAME, tags::PATIENT_ID, tags::ACCESSION_NUMBER];
    tags.into_iter().filter_map(|tag| object.text(tag)).collect()
}

/// The scanner, by the allow-list of the design.
///
/// # Errors
/// [`DicomError::Attribute`] for a malformed field strength.
pub fn scanner(object: &Item) -> Result<Scanner, DicomError> {
    let identifiers = identifiers(object);
    let safe = |tag| object.text(tag).and_then(|value| allowed(&value, &identifiers));
    Ok(Scanner {
        manufacturer: safe(tags::MANUFACTURER),
        model: safe(tags::MANUFACTURER_MODEL_NAME),
        field_strength_raw: object.float(tags::MAGNETIC_FIELD_STRENGTH)?.filter(|field| *field > 0.0),
        software: safe(tags::SOFTWARE_VERSIONS),
        institution: safe(tags::INSTITUTION_NAME),
        station: safe(tags::STATION_NAME),
        device_serial: object.text(tags::DEVICE_SERIAL_NUMBER),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_whole_years_and_capped_at_90() {
        assert_eq!(age_years("057Y"), Some(57));
        assert_eq!(age_years("018M"), Some(1));
        assert_eq!(age_years("095Y"), Some(90));
        assert_eq!(age_years("abcY"), None);
        assert_eq!(age_years(""), None);
    }
}
