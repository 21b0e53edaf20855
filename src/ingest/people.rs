//! Subjects: keyed pseudonyms, and ids that two people share.

use std::collections::{BTreeMap, BTreeSet};

use super::image::{Format, Person, Series};
use super::privacy::Pseudonyms;

/// What a pseudonym is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// PatientID with its issuer.
    PatientId,
    /// The id in a file's or folder's name.
    FileName,
    /// StudyInstanceUID: the file has no PatientID.
    StudyUid,
    /// The folder: the file has neither.
    Folder,
}

impl Source {
    /// As written in `stacks.parquet`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PatientId => "patient-id",
            Self::FileName => "file-name",
            Self::StudyUid => "study-uid",
            Self::Folder => "folder",
        }
    }
}

/// One subject.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// The pseudonym.
    pub id: String,
    /// What it was made from.
    pub source: Source,
}

/// Which text stands for the person: (source, issuer, id).
fn identity(series: &Series) -> (Source, &str, &str) {
    let Person { patient_id, issuer, study_uid, folder, .. } = &series.person;
    match (patient_id, study_uid) {
        (Some(id), _) if series.format == Format::Dicom => (Source::PatientId, issuer, id.trim()),
        (Some(id), _) => (Source::FileName, issuer, id.trim()),
        (None, Some(uid)) => (Source::StudyUid, "", uid),
        (None, None) => (Source::Folder, "", folder),
    }
}

/// Makes subjects from series; knows which ids two people share.
#[derive(Debug, Default)]
pub struct People {
    shared: BTreeSet<(String, String)>,
}

impl People {
    /// Looks for ids with several birth dates or sexes.
    pub fn new<'a>(series: impl Iterator<Item = &'a Series>) -> Self {
        let mut facts: BTreeMap<(String, String), [BTreeSet<String>; 2]> = BTreeMap::new();
        for one in series {
            let (source, issuer, id) = identity(one);
            if source > Source::FileName {
                continue;
            }
            let [birth_dates, sexes] = facts.entry((issuer.to_owned(), id.to_owned())).or_default();
            birth_dates.extend(one.person.birth_date.clone());
            sexes.extend(one.person.sex.clone());
        }
        let several = |[birth_dates, sexes]: &[BTreeSet<String>; 2]| birth_dates.len() > 1 || sexes.len() > 1;
        Self { shared: facts.into_iter().filter(|(_, found)| several(found)).map(|(id, _)| id).collect() }
    }

    /// The subject of a series; `site` separates people who share an id.
    pub fn subject(&self, pseudonyms: &Pseudonyms, series: &Series, site: Option<&str>) -> Subject {
        let (source, issuer, id) = identity(series);
        let is_shared = source <= Source::FileName && self.shared.contains(&(issuer.to_owned(), id.to_owned()));
        let id = if is_shared {
            pseudonyms.of("subject", &[issuer, id, "site", site.unwrap_or("unknown")])
        } else {
            // Without PatientID the kind of the text is part of the pseudonym: a UID is never taken for a patient id.
            match source {
                Source::PatientId | Source::FileName => pseudonyms.of("subject", &[issuer, id]),
                Source::StudyUid | Source::Folder => pseudonyms.of("subject", &["", id, source.as_str()]),
            }
        };
        Subject { id, source }
    }

    /// Whether the id of a series belongs to several people.
    pub fn is_shared(&self, series: &Series) -> bool {
        let (_, issuer, id) = identity(series);
        self.shared.contains(&(issuer.to_owned(), id.to_owned()))
    }
}
