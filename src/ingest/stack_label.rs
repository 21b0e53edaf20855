//! The label of a stack: what is said of its files, taken together. Label tables go before sidecars, and both before the files' names.
//! Files that are said to be of different classes leave their stack without a label.

use std::collections::BTreeSet;

use super::labels;

/// Table and line of a label row.
pub type Place = (usize, usize);

/// The label of one file, as its nearest row or its name gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLabel {
    /// The row; `None`: the file's name.
    pub place: Option<Place>,
    /// `None`: the row is not to be trusted.
    pub label: Option<String>,
}

impl FileLabel {
    /// 0 label table, 1 sidecar, 2 name.
    fn rank(&self) -> u8 {
        match self.place {
            Some((labels::SIDECAR, _)) => 1,
            Some(_) => 0,
            None => 2,
        }
    }
}

/// The label of a stack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StackLabel {
    /// `None`: nobody says it, or not all say the same.
    pub label: Option<String>,
    /// Two rows that say different things of it.
    pub dispute: Option<(Place, Place)>,
}

/// What the files of a stack say together; files of which nothing is said are left out.
pub fn of_files(files: Vec<FileLabel>) -> StackLabel {
    let Some(first_rank) = files.iter().map(FileLabel::rank).min() else { return StackLabel::default() };
    let counted: Vec<FileLabel> = files.into_iter().filter(|file| file.rank() == first_rank).collect();
    let distinct: BTreeSet<&Option<String>> = counted.iter().map(|file| &file.label).collect();
    if distinct.len() == 1 {
        return StackLabel { label: counted[0].label.clone(), dispute: None };
    }
    // A row that is not to be trusted is warned of by itself.
    let mut trusted: Vec<(Place, &String)> =
        counted.iter().filter_map(|file| Some((file.place?, file.label.as_ref()?))).collect();
    trusted.sort();
    let other = trusted.iter().find(|(_, label)| *label != trusted[0].1);
    StackLabel { label: None, dispute: other.map(|(place, _)| (trusted[0].0, *place)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(place: Option<Place>, label: Option<&str>) -> FileLabel {
        FileLabel { place, label: label.map(str::to_owned) }
    }

    fn of(files: &[FileLabel]) -> (Option<String>, Option<(Place, Place)>) {
        let StackLabel { label, dispute } = of_files(files.to_vec());
        (label, dispute)
    }

    #[test]
    fn files_of_one_label_give_it_and_files_of_two_give_none() {
        let (dcm, hcm) = (file(Some((0, 2)), Some("DCM")), file(Some((0, 5)), Some("HCM")));
        assert_eq!(of(&[]), (None, None));
        assert_eq!(of(&[dcm.clone(), dcm.clone()]), (Some("DCM".into()), None));
        assert_eq!(of(&[hcm, dcm.clone()]), (None, Some(((0, 2), (0, 5)))));
        assert_eq!(of(&[dcm.clone(), file(Some((0, 9)), None)]), (None, None), "its own warning names row 9");
        assert_eq!(of(&[dcm, file(Some((0, 7)), Some("DCM"))]), (Some("DCM".into()), None));
    }

    #[test]
    fn tables_go_before_sidecars_and_sidecars_before_names() {
        let table = file(Some((1, 2)), Some("DCM"));
        let (sidecar, name) = (file(Some((labels::SIDECAR, 1)), Some("HCM")), file(None, Some("NOR")));
        assert_eq!(of(&[name.clone(), sidecar.clone(), table]), (Some("DCM".into()), None));
        assert_eq!(of(&[name.clone(), sidecar]), (Some("HCM".into()), None));
        assert_eq!(of(&[name, file(None, Some("DCM"))]), (None, None));
    }
}
