//! Subjects: keyed pseudonyms, and ids that two people share.

use std::collections::{BTreeMap, BTreeSet};

use super::discover::Found;
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

/// The folder of a file below its source, which stands for a person whom nothing else names. Where the source is mounted does not
/// matter; the source's place among the sources keeps equal folders of several apart.
pub fn folder(file: &Found) -> String {
    let folder = file.relative.rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{}/{folder}", file.source)
}

/// Which text stands for the person: (source, issuer, id). Without an id or a study it is the folder's, which may be unknown here.
fn identity<'a>(series: &'a Series, folder: &'a str) -> (Source, &'a str, &'a str) {
    let Person { patient_id, issuer, study_uid, .. } = &series.person;
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
            let (source, issuer, id) = identity(one, "");
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

    /// The subject of a series from a file of `folder`; `site` separates people who share an id.
    pub fn subject(&self, pseudonyms: &Pseudonyms, series: &Series, folder: &str, site: Option<&str>) -> Subject {
        let (source, issuer, id) = identity(series, folder);
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
        let (source, issuer, id) = identity(series, "");
        source <= Source::FileName && self.shared.contains(&(issuer.to_owned(), id.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(person: Person) -> Series {
        Series { person, ..Series::default() }
    }

    fn person(id: Option<&str>, study: Option<&str>) -> Person {
        let text = |value: Option<&str>| value.map(str::to_owned);
        Person { patient_id: text(id), study_uid: text(study), ..Person::default() }
    }

    #[test]
    fn a_person_is_the_id_then_the_study_then_the_folder() {
        let ids = Pseudonyms::new(b"key".to_vec());
        let people = People::default();
        let subject = |person: Person| people.subject(&ids, &series(person), "0/f", None);
        let known = subject(person(Some(" 12 "), Some("1.2")));
        assert_eq!(known, subject(person(Some("12"), Some("3.4"))), "the id is trimmed, the study does not matter");
        assert_eq!(known.id, ids.of("subject", &["", "12"]));
        let issued = Person { issuer: "B".to_owned(), ..person(Some("12"), None) };
        assert_ne!(known.id, subject(issued).id, "another hospital's 12");
        assert_eq!(subject(person(None, Some("1.2"))).source, Source::StudyUid);
        assert_eq!(subject(person(None, None)).source, Source::Folder);
        assert_ne!(subject(person(None, Some("12"))).id, known.id, "a UID is never taken for a patient id");
    }

    #[test]
    fn the_folder_of_a_person_does_not_depend_on_where_the_source_is_mounted() {
        let found = |path: &str, relative: &str, source| Found {
            path: path.into(),
            relative: relative.to_owned(),
            source,
            bytes: 1,
            modified_ns: 0,
            identity: None,
            problem: None,
        };
        let here = found("/mnt/export/a/b/1.dcm", "a/b/1.dcm", 0);
        assert_eq!(folder(&here), "0/a/b");
        assert_eq!(folder(&here), folder(&found("/media/usb/a/b/2.dcm", "a/b/2.dcm", 0)));
        assert_ne!(folder(&found("/x/1.dcm", "1.dcm", 0)), folder(&found("/y/1.dcm", "1.dcm", 1)), "two sources");
    }

    #[test]
    fn an_id_with_two_sexes_is_shared_and_split_by_site() {
        let ids = Pseudonyms::new(b"key".to_vec());
        let of = |sex: &str| series(Person { sex: Some(sex.to_owned()), ..person(Some("12"), None) });
        let (woman, man, other) = (of("F"), of("M"), series(person(Some("13"), None)));
        let people = People::new([&woman, &man, &other].into_iter());
        assert!(people.is_shared(&woman) && people.is_shared(&man) && !people.is_shared(&other));
        assert_ne!(people.subject(&ids, &woman, "", Some("a")), people.subject(&ids, &man, "", Some("b")));
    }
}
