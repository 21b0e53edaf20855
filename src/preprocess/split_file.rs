//! A table of the split of each subject, as a study protocol or a challenge gives it: `--split-file`.
//!
//! Its columns are `split` (train, val or test) and the key: `subject_id`, the pseudonym as the cohort has it, or `attr_<name>`, a
//! column that ingest took from a label table. Other columns are ignored. Who is meant by two rows of different splits, and who
//! is in no row, is refused; rows that fit no usable subject are warned of by line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::cohort::Cohort;
use super::error::PreprocessError;
use crate::dataset::splits::Subject;
use crate::fsx;

/// More than any cohort's table needs, bytes.
const FILE_CAP_BYTES: u64 = 64 << 20;
/// Subjects or lines that a message names.
const NAMED: usize = 5;
const SPLIT_COLUMN: &str = "split";
const SUBJECT_COLUMN: &str = "subject_id";

/// A table as read: which split each key value has.
#[derive(Debug)]
pub struct SplitFile {
    path: PathBuf,
    /// The file itself: part of what a dataset was made from.
    pub bytes: Vec<u8>,
    /// Header of the key.
    key: String,
    /// 1-based line, key value and split of each row.
    rows: Vec<(u64, String, String)>,
}

/// The first few of a list, and how many more there are.
fn some(items: impl ExactSizeIterator<Item = String>) -> String {
    let more = items.len().saturating_sub(NAMED);
    let named = items.take(NAMED).collect::<Vec<_>>().join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}

impl SplitFile {
    /// Reads a table.
    ///
    /// # Errors
    /// [`PreprocessError::SplitFile`] for what is no such table, [`PreprocessError::Fs`] for a file that cannot be read.
    pub fn read(path: &Path) -> Result<Self, PreprocessError> {
        let bytes = fsx::read(path, FILE_CAP_BYTES)?;
        let wrong = |problem: String| PreprocessError::SplitFile { path: path.to_path_buf(), problem };
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(text);
        let header = reader.headers().map_err(|_| wrong("is no CSV in UTF-8".to_owned()))?.clone();
        let column = |wanted: &dyn Fn(&str) -> bool| header.iter().position(wanted);
        let split = column(&|name| name == SPLIT_COLUMN);
        let key = column(&|name| name == SUBJECT_COLUMN).or_else(|| column(&|name| name.starts_with("attr_")));
        let (Some(split), Some(key)) = (split, key) else {
            let expected = "expected columns `split` and `subject_id`, or `split` and an `attr_<name>` of the cohort";
            return Err(wrong(format!("{expected}; the header is `{}`", header.iter().collect::<Vec<_>>().join(","))));
        };
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| wrong(format!("is no CSV in UTF-8 ({error})")))?;
            let line = record.position().map_or(0, csv::Position::line);
            let field = |index: usize| record.get(index).filter(|field| !field.is_empty()).map(str::to_owned);
            match (field(key), field(split)) {
                (Some(key), Some(split)) => rows.push((line, key, split)),
                _ => return Err(wrong(format!("line {line} lacks its {} or its split", &header[key]))),
            }
        }
        let key = header[key].to_owned();
        Ok(Self { path: path.to_path_buf(), bytes, key, rows })
    }

    /// Puts the splits into `subjects`, which are the usable ones of the cohort; those held out or trained on only need none.
    ///
    /// # Errors
    /// [`PreprocessError::SplitFile`] when a subject has no row or rows of different splits.
    pub fn apply(&self, cohort: &Cohort, subjects: &mut [Subject]) -> Result<(), PreprocessError> {
        let keys = self.keys(cohort)?;
        let mut splits: BTreeMap<&str, &str> = BTreeMap::new();
        let usable: BTreeSet<&str> = subjects.iter().map(|subject| subject.id.as_str()).collect();
        let mut unmatched = Vec::new();
        for (line, key, split) in &self.rows {
            let meant = keys.get(key.as_str()).into_iter().flatten().filter(|subject| usable.contains(*subject));
            let mut count = 0;
            for subject in meant {
                count += 1;
                let known = splits.entry(subject).or_insert(split);
                if known != split {
                    let problem =
                        format!("line {line} puts subject {subject} into `{split}`, another one into `{known}`");
                    return Err(self.wrong(problem));
                }
            }
            if count == 0 {
                unmatched.push(*line);
            }
        }
        if !unmatched.is_empty() {
            let lines = some(unmatched.iter().map(u64::to_string));
            tracing::warn!(rows = unmatched.len(), "rows of the split file fit no usable subject: lines {lines}");
        }
        let missing: Vec<String> = subjects
            .iter()
            .filter(|subject| !subject.held_out && !subject.training_only && !splits.contains_key(subject.id.as_str()))
            .map(|subject| subject.id.clone())
            .collect();
        if !missing.is_empty() {
            let (count, named) = (missing.len(), some(missing.into_iter()));
            let problem = format!("has no split for {count} of {} usable subjects: {named}", subjects.len());
            return Err(self.wrong(problem));
        }
        let splits: BTreeMap<String, String> =
            splits.into_iter().map(|(subject, split)| (subject.to_owned(), split.to_owned())).collect();
        for subject in subjects {
            subject.source_split = splits.get(&subject.id).cloned();
        }
        Ok(())
    }

    /// The subjects behind each value of the key.
    fn keys<'a>(&self, cohort: &'a Cohort) -> Result<BTreeMap<&'a str, BTreeSet<&'a str>>, PreprocessError> {
        let mut keys: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for stack in &cohort.stacks {
            let subject = stack.subject_id.as_str();
            let value = match self.key.as_str() {
                SUBJECT_COLUMN => Some(subject),
                name => stack.attributes.get(name).map(String::as_str),
            };
            if let Some(value) = value {
                keys.entry(value).or_default().insert(subject);
            }
        }
        if keys.is_empty() {
            return Err(self.wrong(format!("the cohort has no column `{}`", self.key)));
        }
        Ok(keys)
    }

    fn wrong(&self, problem: String) -> PreprocessError {
        PreprocessError::SplitFile { path: self.path.clone(), problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preprocess::source::CohortStack;

    fn cohort() -> (Cohort, Vec<Subject>) {
        let stack = |number: usize| CohortStack {
            stack_id: format!("stack{number}"),
            subject_id: format!("subject{number}"),
            attributes: [("attr_code".to_owned(), format!("C{number}"))].into(),
            ..CohortStack::default()
        };
        let subject = |number: usize| Subject {
            id: format!("subject{number}"),
            group: "g".into(),
            label: "A".into(),
            site: None,
            source_split: None,
            held_out: false,
            training_only: false,
        };
        let stacks = (0..4).map(stack).collect();
        // Subject 3 is in the cohort and not usable.
        (Cohort::new("hash".into(), stacks, BTreeMap::new()), (0..3).map(subject).collect())
    }

    fn applied(text: &str) -> Result<Vec<Option<String>>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("splits.csv");
        fsx::write_atomic(&path, text.as_bytes()).unwrap();
        let (cohort, mut subjects) = cohort();
        let file = SplitFile::read(&path).map_err(|error| error.to_string())?;
        file.apply(&cohort, &mut subjects).map_err(|error| error.to_string())?;
        Ok(subjects.into_iter().map(|subject| subject.source_split).collect())
    }

    #[test]
    fn splits_are_found_by_pseudonym_or_by_a_column_of_the_cohort() {
        let wanted = ["train", "val", "test"].map(|split| Some(split.to_owned()));
        let by_subject = "subject_id,note,split\nsubject1,x,val\nsubject0,,train\nsubject2,,test\nsubject3,,train\n";
        assert_eq!(applied(by_subject).unwrap(), wanted);
        let by_code = "\u{feff}split, attr_code\ntrain, C0\nval, C1\ntest, C2\nval, C99\n";
        assert_eq!(applied(by_code).unwrap(), wanted);
    }

    #[test]
    fn what_is_missing_or_contradicts_itself_is_named() {
        let message = applied("subject_id,split\nsubject0,train\n").unwrap_err();
        assert!(message.contains("no split for 2 of 3 usable subjects: subject1, subject2"), "{message}");
        let message = applied("subject_id,split\nsubject0,train\nsubject0,test\n").unwrap_err();
        assert!(message.contains("line 3 puts subject subject0 into `test`"), "{message}");
        let message = applied("patient,split\nsubject0,train\n").unwrap_err();
        assert!(message.contains("the header is `patient,split`"), "{message}");
        let message = applied("attr_other,split\nC0,train\n").unwrap_err();
        assert!(message.contains("no column `attr_other`"), "{message}");
        let message = applied("subject_id,split\nsubject0,\n").unwrap_err();
        assert!(message.contains("line 2 lacks"), "{message}");
    }
}
