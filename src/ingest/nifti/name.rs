//! What the name of a NIfTI file says besides the patient.

use super::super::view;

/// What keeps volumes of one subject apart that share their planes: the cardiac phase that the name holds (ACDC's
/// `patient001_frame12`, M&Ms-2's `001_SA_ES`); empty where it holds none. `stem` without the file's endings.
pub fn contrast(stem: &str) -> String {
    view::named_phase(&stem.to_lowercase()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of the collections' own files.
    #[test]
    fn phases_by_name_are_contrasts_and_cines_are_none() {
        for (stem, expected) in [
            ("patient001_frame01", "frame01"),
            ("patient001_frame12", "frame12"),
            ("001_SA_ED", "ed"),
            ("A0S9V9_sa_ES", "es"),
            ("patient001_4d", ""),
            ("001_SA_CINE", ""),
            ("sub-01_cine", ""),
        ] {
            assert_eq!(contrast(stem), expected, "{stem}");
        }
    }
}
