//! Which rows of label tables and sidecars speak of an image, the nearest first.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use regex::{RegexSet, RegexSetBuilder};

use super::image::{Format, Series};
use super::labels::{LabelRow, SIDECAR};
use super::nifti;
use super::sidecars::bids;

/// Where a sidecar's row counts: below the sidecar's folder, in its source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Index of the source; set where the sidecar was found.
    pub source: usize,
    /// The folder below the source; empty: the source itself.
    pub folder: String,
    /// The sidecar's name without its ending, where that says which images it speaks of; else the row's values say it.
    pub stem: Option<String>,
}

impl Scope {
    /// All below the folder of a sidecar.
    pub fn of(relative: &str) -> Self {
        let folder = relative.rsplit_once('/').map_or("", |(folder, _)| folder);
        Self { folder: folder.to_owned(), ..Self::default() }
    }

    fn holds(&self, source: usize, relative: &str) -> bool {
        let below = relative.strip_prefix(self.folder.as_str());
        self.source == source && below.is_some_and(|below| self.folder.is_empty() || below.starts_with('/'))
    }
}

/// Folders on the way to a file, the nearest first and the source itself (empty) last, with how many lie between it and the file.
fn folders_of(relative: &str) -> impl Iterator<Item = (&str, usize)> {
    let above = relative.rmatch_indices('/').map(move |(at, _)| &relative[..at]);
    above.chain(std::iter::once("")).zip(0..)
}

/// How closely a row speaks of an image; rows of sidecars come after all rows of label tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Nearness {
    is_sidecar: bool,
    key: KeyNearness,
}

/// 0 file, 1 study or folder, 2 patient; how many folders lie between a folder and the file; and how many of the image's entities a
/// sidecar's name leaves open.
type KeyNearness = (u8, usize, usize);

/// The rows that speak of one image, nearest first.
#[derive(Debug, Clone, Default)]
pub struct Matches<'a> {
    rows: Vec<(Nearness, &'a LabelRow)>,
}

impl<'a> Matches<'a> {
    /// The nearest value of a known column.
    pub fn get(&self, name: &str) -> Option<&'a String> {
        self.rows.iter().find_map(|(_, row)| row.get(name))
    }

    /// Whether a label table or a sidecar has that value.
    pub fn source(&self, name: &str) -> &'static str {
        let found = self.rows.iter().find(|(_, row)| row.get(name).is_some());
        if found.is_some_and(|(nearness, _)| nearness.is_sidecar) { "sidecar" } else { "table" }
    }

    /// The nearest value of every attribute.
    pub fn attributes(&self) -> BTreeMap<String, String> {
        let pairs = self.rows.iter().rev().flat_map(|(_, row)| &row.attributes);
        pairs.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// What the tables' left-out columns say of the person.
    pub fn identifiers(&self) -> impl Iterator<Item = &'a String> {
        self.rows.iter().flat_map(|(_, row)| &row.identifiers)
    }

    /// All rows, the nearest first.
    pub fn rows(&self) -> impl Iterator<Item = &'a LabelRow> {
        self.rows.iter().map(|(_, row)| *row)
    }

    /// The row that gives the label.
    pub fn label_row(&self) -> Option<&'a LabelRow> {
        self.rows().find(|row| row.get("label").is_some())
    }

    /// Two rows, equally near, that give different labels.
    pub fn contradiction(&self) -> Option<(&'a LabelRow, &'a LabelRow)> {
        let (nearness, first) = self.rows.iter().find(|(_, row)| row.get("label").is_some())?;
        let others = self.rows.iter().filter(|(other, _)| other == nearness).map(|(_, row)| *row);
        let differs = |row: &&LabelRow| row.get("label").is_some_and(|label| Some(label) != first.get("label"));
        others.into_iter().find(differs).map(|row| (*first, row))
    }
}

/// Rows whose key is a pattern: all are tried on a path at once.
#[derive(Default)]
struct Patterns {
    set: RegexSet,
    rows: Vec<usize>,
}

/// Compiled patterns of one table take no more memory than this.
const PATTERNS_CAP_BYTES: usize = 256 << 20;

impl Patterns {
    /// `*` stands for any text; a pattern fits a whole path or its end.
    fn new(keys: &[(&str, usize)]) -> Self {
        let pattern = |key: &str| format!("^(?:.*/)?{}$", regex::escape(key).replace(r"\*", ".*"));
        let rows = keys.iter().map(|(_, row)| *row).collect();
        match RegexSetBuilder::new(keys.iter().map(|(key, _)| pattern(key))).size_limit(PATTERNS_CAP_BYTES).build() {
            Ok(set) => Self { set, rows },
            // Escaped text is always a pattern: there are too many of them, and their rows match nothing, which is listed.
            Err(_) => Self::default(),
        }
    }

    fn rows_of(&self, path: &str) -> impl Iterator<Item = usize> {
        self.set.matches(path).into_iter().map(|place| self.rows[place])
    }
}

/// Rows by what they join on.
pub struct Joiner<'a> {
    by_patient: BTreeMap<&'a str, Vec<usize>>,
    by_study: BTreeMap<&'a str, Vec<usize>>,
    by_file: BTreeMap<&'a str, Vec<usize>>,
    by_folder: BTreeMap<&'a str, Vec<usize>>,
    by_pattern: Patterns,
    by_folder_pattern: Patterns,
    /// By source, folder and suffix.
    by_sidecar: BTreeMap<(usize, &'a str, &'a str), Vec<usize>>,
    rows: &'a [LabelRow],
    matched: BTreeSet<usize>,
}

impl<'a> Joiner<'a> {
    /// Prepares the rows; a `file` value is a path below the source or its end, a `folder` value likewise; `*` stands for any text.
    pub fn new(rows: &'a [LabelRow]) -> Self {
        let mut joiner = Self {
            by_patient: BTreeMap::new(),
            by_study: BTreeMap::new(),
            by_file: BTreeMap::new(),
            by_folder: BTreeMap::new(),
            by_pattern: Patterns::default(),
            by_folder_pattern: Patterns::default(),
            by_sidecar: BTreeMap::new(),
            rows,
            matched: BTreeSet::new(),
        };
        let (mut patterns, mut folder_patterns) = (Vec::new(), Vec::new());
        for (index, row) in rows.iter().enumerate() {
            if let Some(id) = row.get("patient_id") {
                joiner.by_patient.entry(id.trim()).or_default().push(index);
            }
            if let Some(uid) = row.get("study_uid") {
                joiner.by_study.entry(uid.trim()).or_default().push(index);
            }
            match row.get("folder").map(|folder| folder.trim_matches('/')) {
                Some(folder) if folder.contains('*') => folder_patterns.push((folder, index)),
                Some(folder) => joiner.by_folder.entry(folder).or_default().push(index),
                None => {}
            }
            match row.get("file") {
                Some(file) if file.contains('*') => patterns.push((file.as_str(), index)),
                Some(file) => joiner.by_file.entry(file).or_default().push(index),
                None => {}
            }
            if let Some((scope, stem)) = row.scope.as_ref().and_then(|scope| Some((scope, scope.stem.as_deref()?))) {
                let key = (scope.source, scope.folder.as_str(), bids::suffix(stem));
                joiner.by_sidecar.entry(key).or_default().push(index);
            }
        }
        joiner.by_pattern = Patterns::new(&patterns);
        joiner.by_folder_pattern = Patterns::new(&folder_patterns);
        joiner
    }

    /// The rows that speak of an image of the file at `relative` below the `source`; each counts as matched.
    pub fn rows_of(&mut self, series: &Series, source: usize, relative: &str) -> Matches<'a> {
        let mut found: BTreeMap<usize, KeyNearness> = BTreeMap::new();
        let mut add = |index: &usize, key: KeyNearness| {
            let known = found.entry(*index).or_insert(key);
            *known = key.min(*known);
        };
        let ends = std::iter::once(relative).chain(relative.match_indices('/').map(|(at, _)| &relative[at + 1..]));
        ends.filter_map(|end| self.by_file.get(end)).flatten().for_each(|index| add(index, (0, 0, 0)));
        self.by_pattern.rows_of(relative).for_each(|index| add(&index, (0, 0, 0)));
        // A folder on the way to the file, by its path below the source or its end.
        for (folder, between) in folders_of(relative).filter(|(folder, _)| !folder.is_empty()) {
            let ends = std::iter::once(folder).chain(folder.match_indices('/').map(|(at, _)| &folder[at + 1..]));
            let key = (1, between, 0);
            ends.filter_map(|end| self.by_folder.get(end)).flatten().for_each(|index| add(index, key));
            self.by_folder_pattern.rows_of(folder).for_each(|index| add(&index, key));
        }
        if series.format == Format::Nifti {
            self.sidecars_of(source, relative).into_iter().for_each(|(index, key)| add(&index, key));
        }
        let study = series.person.study_uid.as_ref().and_then(|uid| self.by_study.get(uid.as_str()));
        study.into_iter().flatten().for_each(|index| add(index, (1, 0, 0)));
        let patient = series.person.patient_id.as_ref().and_then(|id| self.by_patient.get(id.trim()));
        let counts =
            |index: &&usize| self.rows[**index].scope.as_ref().is_none_or(|scope| scope.holds(source, relative));
        patient.into_iter().flatten().filter(counts).for_each(|index| add(index, (2, 0, 0)));
        self.matched.extend(found.keys());
        let nearness = |index: usize, key| Nearness { is_sidecar: self.rows[index].place.0 == SIDECAR, key };
        let mut rows: Vec<_> = found.into_iter().map(|(index, key)| (nearness(index, key), index)).collect();
        rows.sort();
        Matches { rows: rows.into_iter().map(|(nearness, index)| (nearness, &self.rows[index])).collect() }
    }

    /// Rows of sidecars that speak of an image by its name.
    fn sidecars_of(&self, source: usize, relative: &str) -> Vec<(usize, KeyNearness)> {
        let stem = nifti::stem(Path::new(relative));
        let mut found = Vec::new();
        for (folder, between) in folders_of(relative) {
            for index in self.by_sidecar.get(&(source, folder, bids::suffix(&stem))).into_iter().flatten() {
                let own = self.rows[*index].scope.as_ref().and_then(|scope| scope.stem.as_deref());
                let open = own.and_then(|own| bids::entities_left_open(own, &stem, between));
                found.extend(open.map(|open| (*index, (0, between, open))));
            }
        }
        found
    }

    /// How many rows spoke of some image.
    pub fn matched(&self) -> usize {
        self.matched.iter().filter(|index| self.rows[**index].place.0 != SIDECAR).count()
    }

    /// Rows of label tables that spoke of no image.
    pub fn unmatched(&self) -> Vec<&'a LabelRow> {
        let open = (0..self.rows.len()).filter(|index| !self.matched.contains(index));
        open.map(|index| &self.rows[index]).filter(|row| row.place.0 != SIDECAR).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::labels;
    use super::*;

    fn table(text: &str) -> Vec<LabelRow> {
        let (headers, rows) = labels::parse(text).unwrap();
        let row = |(line, cells): (usize, Vec<String>)| {
            let values = headers.iter().cloned().zip(cells).filter(|(_, cell)| !cell.is_empty()).collect();
            LabelRow { place: (0, line), values, ..LabelRow::default() }
        };
        rows.into_iter().map(row).collect()
    }

    #[test]
    fn a_folder_joins_all_that_is_below_it_by_path_or_name() {
        let rows = table("folder,label\nA/s1,DCM\ns2,HCM\n");
        let mut joiner = Joiner::new(&rows);
        let mut label = |path: &str| joiner.rows_of(&Series::default(), 0, path).get("label").cloned();
        assert_eq!(label("A/s1/1/2.dcm").as_deref(), Some("DCM"));
        assert_eq!(label("B/s2/2.dcm").as_deref(), Some("HCM"));
        assert_eq!(label("B/s1/2.dcm"), None, "another s1");
        assert_eq!(label("s2.dcm"), None);
        let rows = table("folder,label\nDCM*/scans,DCM\n");
        let mut joiner = Joiner::new(&rows);
        let mut label = |path: &str| joiner.rows_of(&Series::default(), 0, path).get("label").cloned();
        assert_eq!(label("DCM-7/scans/a/1.dcm").as_deref(), Some("DCM"));
        assert_eq!(label("DCM-7/other/1.dcm"), None);
        let rows = table("folder,label\nward,DCM\nward/b,NOR\n");
        let mut joiner = Joiner::new(&rows);
        let matches = joiner.rows_of(&Series::default(), 0, "ward/b/c/1.dcm");
        assert_eq!((matches.get("label").map(String::as_str), matches.contradiction()), (Some("NOR"), None), "nearest");
    }

    #[test]
    fn a_sidecar_speaks_of_its_own_folder_and_source_alone() {
        let scope = Scope::of("north/participants.tsv");
        assert!(scope.holds(0, "north/sub-01/a.nii") && !scope.holds(1, "north/sub-01/a.nii"));
        assert!(!scope.holds(0, "northern/sub-01/a.nii") && Scope::of("participants.tsv").holds(0, "a.nii"));
        let folders: Vec<(&str, usize)> = folders_of("a/b/c.nii").collect();
        assert_eq!(folders, [("a/b", 0), ("a", 1), ("", 2)]);
    }
}
