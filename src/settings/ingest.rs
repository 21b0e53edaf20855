//! Settings of `ingest`: the wire form (TOML) and its checked form.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::failure::{Classify, FailureKind};

/// A setting of `ingest` that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestSettingsError {
    /// Not a regular expression.
    #[error("ingest.{key}: `{found}` is no regular expression")]
    Pattern {
        /// TOML key.
        key: &'static str,
        /// What was given.
        found: String,
        /// The parser's reason.
        source: Box<regex::Error>,
    },
    /// A value outside what is accepted.
    #[error("ingest.{key} is {found}, expected {expected}")]
    Value {
        /// TOML key.
        key: &'static str,
        /// What was given.
        found: String,
        /// What is accepted.
        expected: &'static str,
    },
}

impl Classify for IngestSettingsError {
    fn kind(&self) -> FailureKind {
        FailureKind::Usage
    }
}

/// `[ingest]` as TOML holds it. Every key may be left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestWire {
    /// Label tables.
    #[serde(default)]
    pub labels: Vec<LabelsWire>,
    /// What a group is made of; default vendor and site.
    pub group_by: Option<Vec<String>>,
    /// Regular expressions over the path below the source: such files are skipped as `excluded`.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// How PNG and JPEG files become stacks.
    pub images: Option<ImagesWire>,
    /// Sites by what a sidecar calls them, InstitutionName, StationName or the scanner's pseudonym.
    #[serde(default)]
    pub site_map: BTreeMap<String, String>,
    /// What names a site where neither a label table nor `site_map` does: `institution` (default), `station`, `device-serial` (a
    /// pseudonym of it) or `folder` (the first one below the source).
    pub site_from: Option<SiteFrom>,
    /// Groups of fewer labelled subjects are small; default 10.
    pub min_group_subjects: Option<usize>,
    /// What becomes of small groups: `warn` (default), `merge-to-other` or `hold-out`.
    pub small_groups: Option<SmallGroups>,
    /// Key of the pseudonyms; default: one in the user's configuration folder.
    pub key: Option<PathBuf>,
}

/// What names a site where nobody says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SiteFrom {
    /// InstitutionName.
    #[default]
    Institution,
    /// StationName.
    Station,
    /// A pseudonym of DeviceSerialNumber.
    DeviceSerial,
    /// The first folder below the source.
    Folder,
}

/// What becomes of groups with fewer subjects than `min_group_subjects`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SmallGroups {
    /// They stay, with a warning.
    #[default]
    Warn,
    /// Each value of their name becomes `other`: they are one group.
    MergeToOther,
    /// `groups.json` lists them in `held_out`; preprocess keeps them for the test alone.
    HoldOut,
}

/// Default of `min_group_subjects`: with fewer, nothing can be trained and judged.
const MIN_GROUP_SUBJECTS: usize = 10;

/// One label table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelsWire {
    /// The CSV; relative: from the pipeline file's folder.
    pub file: PathBuf,
    /// Our name (`patient_id`, `label`, `site`, ...) to the CSV's header. Headers of our own names need no entry.
    #[serde(default)]
    pub columns: BTreeMap<String, String>,
    /// Rules that turn the table's ids into the scans'.
    #[serde(default)]
    pub rewrite: Vec<RewriteWire>,
}

/// One rewrite rule: in `column`, every match of `pattern` becomes `replace` (`$1` is the first group).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewriteWire {
    /// Our name of the column.
    pub column: String,
    /// Regular expression.
    pub pattern: String,
    /// Replacement.
    pub replace: String,
}

/// How PNG and JPEG files become stacks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImagesWire {
    /// Regular expression over the path below the source with the group `subject`, and optionally `label`, `slice`, `phase`, or
    /// `order`: a running number that is counted off in `phases_per_slice`.
    pub pattern: String,
    /// Phases that follow each other in `order` before the next slice begins.
    pub phases_per_slice: Option<u32>,
    /// The files are a part of what was acquired and `order` counts all of it from 1: numbers 1 to `phases_per_slice` are slice 0,
    /// whichever of them are there. Without it, the files that are there are counted off.
    #[serde(default)]
    pub sparse: bool,
}

/// Checked settings of `ingest`.
#[derive(Debug, Clone)]
pub struct IngestSettings {
    /// Label tables.
    pub labels: Vec<LabelsSettings>,
    /// What a group is made of.
    pub group_by: Vec<String>,
    /// Paths that are skipped.
    pub exclude: Vec<Regex>,
    /// How PNG and JPEG files become stacks.
    pub images: Option<ImagesSettings>,
    /// Sites by what a sidecar calls them, InstitutionName, StationName or the scanner's pseudonym.
    pub site_map: BTreeMap<String, String>,
    /// What names a site where nobody says it.
    pub site_from: SiteFrom,
    /// Groups of fewer labelled subjects are small.
    pub min_group_subjects: usize,
    /// What becomes of them.
    pub small_groups: SmallGroups,
    /// Key of the pseudonyms.
    pub key: Option<PathBuf>,
    /// Where to write the map from pseudonyms back to ids, if asked for.
    pub crosswalk: Option<PathBuf>,
    /// Where to write de-identified copies of the images, if asked for.
    pub export_deidentified: Option<PathBuf>,
    /// What they were made from, without paths: part of cohort.json and of the fingerprint.
    pub wire: IngestWire,
}

/// One checked label table.
#[derive(Debug, Clone)]
pub struct LabelsSettings {
    /// The CSV.
    pub file: PathBuf,
    /// Our name to the CSV's header.
    pub columns: BTreeMap<String, String>,
    /// Column, pattern, replacement.
    pub rewrite: Vec<(String, Regex, String)>,
}

/// Checked [`ImagesWire`].
#[derive(Debug, Clone)]
pub struct ImagesSettings {
    /// Over the path below the source.
    pub pattern: Regex,
    /// Phases that follow each other in `order`.
    pub phases_per_slice: u32,
    /// `order` numbers all that was acquired, from 1.
    pub is_sparse: bool,
}

fn pattern(key: &'static str, found: &str) -> Result<Regex, IngestSettingsError> {
    let wrong = |source| IngestSettingsError::Pattern { key, found: found.to_owned(), source: Box::new(source) };
    Regex::new(found).map_err(wrong)
}

impl IngestSettings {
    /// Checks the wire form; relative paths in it start at `base`.
    ///
    /// # Errors
    /// [`IngestSettingsError`] naming the key.
    pub fn from_wire(wire: IngestWire, base: &Path) -> Result<Self, IngestSettingsError> {
        let kept = without_paths(wire.clone());
        // Every field by name: a new one is not forgotten here.
        let IngestWire {
            labels,
            group_by,
            exclude,
            images,
            site_map,
            site_from,
            min_group_subjects,
            small_groups,
            key,
        } = wire;
        let labels = labels.iter().map(|one| LabelsSettings::from_wire(one, base)).collect::<Result<_, _>>()?;
        let group_by = group_by.unwrap_or_else(|| vec!["vendor".to_owned(), "site".to_owned()]);
        if group_by.is_empty() || group_by.iter().any(|key| key.trim().is_empty()) {
            let expected = "names such as vendor, site, model, field_strength_t, software, label or attr_<column>";
            return Err(IngestSettingsError::Value { key: "group_by", found: format!("{group_by:?}"), expected });
        }
        Ok(Self {
            labels,
            group_by,
            exclude: exclude.iter().map(|one| pattern("exclude", one)).collect::<Result<_, _>>()?,
            images: images.map(ImagesSettings::try_from).transpose()?,
            site_map,
            site_from: site_from.unwrap_or_default(),
            min_group_subjects: min_group_subjects.unwrap_or(MIN_GROUP_SUBJECTS),
            small_groups: small_groups.unwrap_or_default(),
            key: key.map(|key| base.join(key)),
            crosswalk: None,
            export_deidentified: None,
            wire: kept,
        })
    }
}

/// Paths go to provenance.json alone.
fn without_paths(mut wire: IngestWire) -> IngestWire {
    wire.key = None;
    wire.labels.iter_mut().for_each(|labels| labels.file = PathBuf::new());
    wire
}

impl LabelsSettings {
    /// A table with the design's own headers and ids as in the scans.
    pub fn plain(file: PathBuf) -> Self {
        Self { file, columns: BTreeMap::new(), rewrite: Vec::new() }
    }

    fn from_wire(wire: &LabelsWire, base: &Path) -> Result<Self, IngestSettingsError> {
        let LabelsWire { file, columns, rewrite } = wire;
        if file.as_os_str().is_empty() {
            let expected = "the path of the label table; settings.toml of a cohort leaves paths out, so add it";
            return Err(IngestSettingsError::Value { key: "labels.file", found: "empty".to_owned(), expected });
        }
        let rule = |rule: &RewriteWire| {
            Ok((rule.column.clone(), pattern("labels.rewrite.pattern", &rule.pattern)?, rule.replace.clone()))
        };
        let rewrite = rewrite.iter().map(rule).collect::<Result<_, _>>()?;
        Ok(Self { file: base.join(file), columns: columns.clone(), rewrite })
    }
}

impl TryFrom<ImagesWire> for ImagesSettings {
    type Error = IngestSettingsError;

    fn try_from(wire: ImagesWire) -> Result<Self, Self::Error> {
        let ImagesWire { pattern: text, phases_per_slice, sparse } = wire;
        let compiled = pattern("images.pattern", &text)?;
        if !compiled.capture_names().flatten().any(|name| name == "subject") {
            let expected = "a regular expression with a group (?P<subject>...)";
            return Err(IngestSettingsError::Value { key: "images.pattern", found: format!("`{text}`"), expected });
        }
        match phases_per_slice {
            Some(0) => Err(IngestSettingsError::Value {
                key: "images.phases_per_slice",
                found: "0".to_owned(),
                expected: "a whole number above 0",
            }),
            None if sparse => Err(IngestSettingsError::Value {
                key: "images.sparse",
                found: "true".to_owned(),
                expected: "phases_per_slice beside it: how many numbers a slice has",
            }),
            count => Ok(Self { pattern: compiled, phases_per_slice: count.unwrap_or(1), is_sparse: sparse }),
        }
    }
}
