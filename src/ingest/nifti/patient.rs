//! The patient of a NIfTI file, which has no PatientID: by names alone, as the collections write them.
//!
//! Two people taken for one lose scans, one taken for two leaks between splits: a name that says who it is goes before any folder, and
//! folders that sort scans (`anat`, `cine`, `imagesTr`) are nobody.

use std::path::Path;

use super::super::content::folder_name;

/// Words for a view, a part of the cycle or a kind of file: no person, with or without a number behind them.
const COMMON_WORDS: &str = "\
    2ch 3ch 4ch acq acquisition anat bssfp cardiac cases ch cine cmr data dataset derivatives dwi echo ed es export \
    fmap frame func gre heart image images imagestr imagests imagesval img la labeled labels labelstr lax mag mri \
    nifti nii niigz opendataset out output patients perf phase raw run sa sax scan scans series ses session short \
    slice ssfp stack subjects task test testing time train training unlabeled val validation vol volume";

/// The patient's id by the path below the source (`relative`), else by the source's own folder, the last of `path`.
pub fn patient(stem: &str, relative: &str, path: &Path) -> String {
    let folders: Vec<&str> = relative.rsplit('/').skip(1).map(folder_name).collect();
    let tokens: Vec<&str> = stem.split('_').filter(|token| !token.is_empty()).collect();
    let told_folder = folders.iter().find(|folder| !is_common(folder)).copied();
    let own_folder = told_folder.filter(|folder| folders.first() == Some(folder));
    let by_source = || Some(path.parent()?.file_name()?.to_string_lossy().into_owned());
    bids_subject(tokens.iter().chain(&folders))
        .or_else(|| own_folder.filter(|folder| begins_with(stem, folder)))
        .or_else(|| tokens.first().copied().filter(|token| is_id(token)))
        .or(own_folder)
        .or_else(|| tokens.iter().copied().find(|token| is_id(token)))
        .or(told_folder)
        .or_else(|| tokens.iter().copied().find(|token| !is_common(token) && !is_date(token)))
        .map(str::to_owned)
        .or_else(by_source)
        .unwrap_or_else(|| stem.to_owned())
}

/// The entity `sub` of BIDS.
fn bids_subject<'a>(mut names: impl Iterator<Item = &'a &'a str>) -> Option<&'a str> {
    names.find(|name| name.strip_prefix("sub-").is_some_and(|id| !id.is_empty())).copied()
}

/// Whether a name begins with another, as a whole.
fn begins_with(name: &str, start: &str) -> bool {
    name.strip_prefix(start).is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric()))
}

/// Words of [`COMMON_WORDS`] in any case, also several and with numbers: `cine_sax`, `slice_01`, `ses-2`. A number alone may be a person.
fn is_common(name: &str) -> bool {
    let lower = name.to_lowercase();
    let is_listed = |part: &str| {
        let word = part.trim_end_matches(|one: char| one.is_ascii_digit());
        COMMON_WORDS.split_ascii_whitespace().any(|common| common == part || common == word)
    };
    let is_short_number = |part: &str| part.len() < 3 && part.bytes().all(|one| one.is_ascii_digit());
    let parts = || lower.split(|one: char| !one.is_alphanumeric()).filter(|part| !part.is_empty());
    parts().any(is_listed) && parts().all(|part| is_listed(part) || is_short_number(part))
}

/// A date, with or without the time, as converters write them.
fn is_date(token: &str) -> bool {
    let is_digits = token.bytes().all(|one| one.is_ascii_digit());
    is_digits && [8, 14].contains(&token.len()) && (token.starts_with("19") || token.starts_with("20"))
}

/// A word with a number, of at least three letters.
fn is_id(token: &str) -> bool {
    token.len() > 2 && token.bytes().any(|one| one.is_ascii_digit()) && !is_common(token) && !is_date(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(relative: &str) -> String {
        let path = Path::new("/mnt/source").join(relative);
        patient(&super::super::stem(&path), relative, &path)
    }

    /// Layouts of the collections' own pages, and of hospitals' folders.
    #[test]
    fn the_patient_is_in_the_name_or_is_the_folder() {
        for (path, expected) in [
            ("OpenDataset/Training/Labeled/A0S9V9/A0S9V9_sa.nii.gz", "A0S9V9"),
            ("A0S9V9.zip!/A0S9V9_sa.nii.gz", "A0S9V9"),
            ("dataset/001/001_SA_CINE.nii.gz", "001"),
            ("acdc/training/patient001/patient001_frame01.nii.gz", "patient001"),
            ("biobank/1000123/sa.nii.gz", "1000123"),
            ("biobank/1000123/4ch.nii.gz", "1000123"),
            ("biobank/1000123/cine/cine_01.nii.gz", "1000123"),
            ("bids/sub-01/ses-1/anat/sub-01_ses-1_cine.nii.gz", "sub-01"),
            ("bids/sub-01/cine/sub-01_cine.nii.gz", "sub-01"),
            ("bids/sub-anna/anat/sub-anna_acq-sax_cine.nii.gz", "sub-anna"),
            ("bids/sub-anna/ses-2/cine.nii.gz", "sub-anna"),
            ("flat/P007_sax.nii", "P007"),
            ("P007_sax.nii", "P007"),
            ("Task02_Heart/imagesTr/la_007.nii.gz", "007"),
            ("nnunet/imagesTr/patient001_frame01_0000.nii.gz", "patient001"),
            ("cine/cine_001.nii.gz", "001"),
            ("cine_001.nii.gz", "001"),
            ("hospital/anna/sax_01.nii.gz", "anna"),
            ("anna/anna_sax.nii.gz", "anna"),
            ("out/meier_cine_20240131120000_5.nii.gz", "meier"),
            ("patients/12_sax.nii.gz", "12"),
            ("patients/12/sax.nii.gz", "12"),
            ("sa.nii.gz", "source"),
        ] {
            assert_eq!(of(path), expected, "{path}");
        }
    }
}
