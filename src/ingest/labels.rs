//! Label tables: `labels.csv` of the design, and tables with other headers by a column mapping. Known collections' own: `sidecars`.
//!
//! Ids are text: leading zeros count. Byte-order marks, CRLF, `;` and tab as delimiters and decimal commas survive.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use regex::{RegexSet, RegexSetBuilder};

use super::IngestError;
use super::image::Series;
use crate::fsx;
use crate::settings::ingest::LabelsSettings;

/// A table of labels is small.
const CAP_BYTES: u64 = 256 << 20;
/// Table index of rows that were found among the scans.
pub const SIDECAR: usize = usize::MAX;
/// Columns with a meaning; all others become `attr_<name>`.
const KNOWN: [&str; 13] = [
    "patient_id",
    "study_uid",
    "folder",
    "file",
    "label",
    "site",
    "vendor",
    "model",
    "software",
    "sex",
    "age_years",
    "split",
    "field_strength_t",
];
/// One row of a table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LabelRow {
    /// Which table, in the order given, and its 1-based line: how a row is named without its ids.
    pub place: (usize, usize),
    /// Values by our name; absent ones are unknown.
    pub values: BTreeMap<String, String>,
    /// Columns without a meaning of their own.
    pub attributes: BTreeMap<String, String>,
    /// Names, numbers and the like in columns that are left out: what the other columns must not hold.
    pub identifiers: Vec<String>,
}

impl LabelRow {
    /// A known column's value.
    pub fn get(&self, name: &str) -> Option<&String> {
        self.values.get(name)
    }

    /// Whether the row names one person, study or file. A folder or a pattern may speak of many people.
    pub fn names_one(&self) -> bool {
        !self.values.contains_key("folder") && !self.get("file").is_some_and(|file| file.contains('*'))
    }
}

/// Columns that were left out of a table because they could identify patients.
pub type LeftOut = Vec<String>;

/// Reads a table.
///
/// # Errors
/// [`IngestError::Labels`] with line and remedy.
pub fn read(settings: &LabelsSettings, index: usize) -> Result<(Vec<LabelRow>, LeftOut), IngestError> {
    let text = decoded(&fsx::read(&settings.file, CAP_BYTES)?);
    let wrong = |line: usize, problem: String| IngestError::Labels { path: settings.file.clone(), line, problem };
    let (headers, rows) = parse(&text).map_err(|(line, problem)| wrong(line, problem))?;
    for (name, header) in &settings.columns {
        if !headers.contains(header) {
            let problem = format!("no column `{header}` for `{name}`; there are: {}", headers.join(", "));
            return Err(wrong(1, problem));
        }
    }
    let rows: Vec<LabelRow> =
        rows.into_iter().map(|(line, cells)| row(&headers, &cells, settings, (index, line))).collect();
    let keys = ["patient_id", "study_uid", "folder", "file"];
    if !rows.iter().any(|row| keys.iter().any(|key| row.get(key).is_some())) {
        let problem = format!(
            "no column patient_id, study_uid, folder or file; there are: {}; map one with columns = {{ patient_id = \"...\" }}",
            headers.join(", ")
        );
        return Err(wrong(1, problem));
    }
    let is_mapped = |header: &String| settings.columns.values().any(|mapped| mapped == header);
    let left_out = headers.into_iter().filter(|header| identifies(header) && !is_mapped(header)).collect();
    Ok((rows, left_out))
}

/// Rows of an information file with these columns, or `None` when a header is missing that tells it.
pub(super) fn sidecar_table(text: &str, columns: &[(&str, &str)], telling: &[&str]) -> Option<Vec<LabelRow>> {
    let (headers, rows) = parse(text).ok()?;
    let has = |wanted: &str| headers.iter().any(|header| header == wanted);
    if !telling.iter().all(|header| has(header)) {
        return None;
    }
    let columns = columns.iter().filter(|(_, header)| has(header));
    let columns = columns.map(|(name, header)| ((*name).to_owned(), (*header).to_owned())).collect();
    let settings = LabelsSettings { file: PathBuf::new(), columns, rewrite: Vec::new() };
    Some(rows.into_iter().map(|(line, cells)| row(&headers, &cells, &settings, (SIDECAR, line))).collect())
}

/// The text of a table: UTF-8, UTF-16 with its byte-order mark (Excel's "Unicode text"), else Windows-1252.
pub(super) fn decoded(bytes: &[u8]) -> String {
    match encoding_rs::Encoding::for_bom(bytes) {
        Some((encoding, mark)) => encoding.decode_without_bom_handling(&bytes[mark..]).0.into_owned(),
        None => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned(),
        },
    }
}

pub(super) type Parsed = (Vec<String>, Vec<(usize, Vec<String>)>);

/// Headers, and cells with their 1-based lines.
pub(super) fn parse(text: &str) -> Result<Parsed, (usize, String)> {
    // The csv reader counts the line of a record before the `\n` of a CRLF.
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let (told, text) = told_delimiter(&text);
    // A line of Excel's own in front.
    let lines_before = usize::from(told.is_some());
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(told.unwrap_or_else(|| delimiter(text)))
        .has_headers(false)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| {
            let line = error.position().map_or(0, |position| position.line());
            (usize::try_from(line).unwrap_or(0) + lines_before, error.to_string())
        })?;
        let line = record.position().map_or(0, |position| position.line());
        rows.push((
            usize::try_from(line).unwrap_or(0) + lines_before,
            record.iter().map(str::to_owned).collect::<Vec<_>>(),
        ));
    }
    if rows.len() < 2 {
        return Err((1, "no rows below the header".to_owned()));
    }
    let (_, headers) = rows.remove(0);
    let distinct: BTreeSet<&String> = headers.iter().filter(|header| !header.is_empty()).collect();
    if distinct.len() < headers.iter().filter(|header| !header.is_empty()).count() {
        return Err((1, "two columns have the same header".to_owned()));
    }
    Ok((headers, rows))
}

/// The delimiter that Excel's line `sep=;` tells, and the text below it.
fn told_delimiter(text: &str) -> (Option<u8>, &str) {
    let Some((first, rest)) = text.split_once('\n') else { return (None, text) };
    match first.trim_matches('"').strip_prefix("sep=").map(str::as_bytes) {
        Some([delimiter]) if delimiter.is_ascii() => (Some(*delimiter), rest),
        _ => (None, text),
    }
}

/// The commonest of `,`, `;`, tab and `|` in the header, outside quotes; ties to the first of them.
fn delimiter(text: &str) -> u8 {
    const DELIMITERS: [u8; 4] = *b",;\t|";
    let mut counts = [0_usize; DELIMITERS.len()];
    let mut is_quoted = false;
    for byte in text.bytes() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\n' if !is_quoted => break,
            _ if is_quoted => {}
            byte => {
                if let Some(place) = DELIMITERS.iter().position(|one| *one == byte) {
                    counts[place] += 1;
                }
            }
        }
    }
    let most = counts.iter().copied().max().unwrap_or(0);
    counts.iter().position(|count| *count == most).map_or(b',', |place| DELIMITERS[place])
}

fn row(headers: &[String], cells: &[String], settings: &LabelsSettings, place: (usize, usize)) -> LabelRow {
    let mut found = LabelRow { place, ..LabelRow::default() };
    for (header, cell) in headers.iter().zip(cells) {
        if header.is_empty() || cell.is_empty() {
            continue;
        }
        let mapped = settings.columns.iter().find(|(_, wanted)| *wanted == header).map(|(name, _)| name.as_str());
        // A header of our own name gives way to the column that is mapped to it.
        if mapped.is_none() && identifies(header) {
            found.identifiers.push(cell.clone());
            continue;
        }
        if mapped.is_none() && settings.columns.contains_key(header) {
            continue;
        }
        let name = mapped.unwrap_or(header);
        let mut value = cell.clone();
        for (_, pattern, replace) in settings.rewrite.iter().filter(|(column, ..)| column == name) {
            value = pattern.replace_all(&value, replace.as_str()).into_owned();
        }
        if KNOWN.contains(&name) {
            found.values.insert(name.to_owned(), value);
        } else {
            found.attributes.insert(name.strip_prefix("attr_").unwrap_or(name).to_owned(), value);
        }
    }
    found
}

/// Headers that would carry an identity into `attr_` columns; they are dropped unless mapped on purpose.
fn identifies(header: &str) -> bool {
    let plain: String = header.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    let words = ["name", "birth", "dob", "accession", "mrn", "uid", "address", "phone", "path", "filename", "ssn"];
    !KNOWN.contains(&header) && words.iter().any(|word| plain.contains(word)) && plain != "vendorname"
}

/// How closely a row speaks of an image; rows of sidecars come after all rows of label tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Nearness {
    is_sidecar: bool,
    key: KeyNearness,
}

/// 0 file, 1 study or folder, 2 patient; and how many folders lie between a folder and the file.
type KeyNearness = (u8, usize);

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
        }
        joiner.by_pattern = Patterns::new(&patterns);
        joiner.by_folder_pattern = Patterns::new(&folder_patterns);
        joiner
    }

    /// The rows that speak of an image; each counts as matched.
    pub fn rows_of(&mut self, series: &Series, relative: &str) -> Matches<'a> {
        let mut found: BTreeMap<usize, KeyNearness> = BTreeMap::new();
        let mut add = |index: &usize, key: KeyNearness| {
            let known = found.entry(*index).or_insert(key);
            *known = key.min(*known);
        };
        let ends = std::iter::once(relative).chain(relative.match_indices('/').map(|(at, _)| &relative[at + 1..]));
        ends.filter_map(|end| self.by_file.get(end)).flatten().for_each(|index| add(index, (0, 0)));
        self.by_pattern.rows_of(relative).for_each(|index| add(&index, (0, 0)));
        // A folder on the way to the file, by its path below the source or its end.
        let folders = relative.match_indices('/').map(|(at, _)| &relative[..at]);
        for folder in folders {
            let ends = std::iter::once(folder).chain(folder.match_indices('/').map(|(at, _)| &folder[at + 1..]));
            let key = (1, relative[folder.len() + 1..].matches('/').count());
            ends.filter_map(|end| self.by_folder.get(end)).flatten().for_each(|index| add(index, key));
            self.by_folder_pattern.rows_of(folder).for_each(|index| add(&index, key));
        }
        let study = series.person.study_uid.as_ref().and_then(|uid| self.by_study.get(uid.as_str()));
        study.into_iter().flatten().for_each(|index| add(index, (1, 0)));
        let patient = series.person.patient_id.as_ref().and_then(|id| self.by_patient.get(id.trim()));
        patient.into_iter().flatten().for_each(|index| add(index, (2, 0)));
        self.matched.extend(found.keys());
        let nearness = |index: usize, key| Nearness { is_sidecar: self.rows[index].place.0 == SIDECAR, key };
        let mut rows: Vec<_> = found.into_iter().map(|(index, key)| (nearness(index, key), index)).collect();
        rows.sort();
        Matches { rows: rows.into_iter().map(|(nearness, index)| (nearness, &self.rows[index])).collect() }
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

/// A number with a decimal point or comma.
pub fn number(text: &str) -> Option<f64> {
    text.trim().replace(',', ".").parse().ok().filter(|value: &f64| value.is_finite())
}

/// `M`, `F` or `O`.
pub fn sex(text: &str) -> Option<String> {
    match text.trim().to_lowercase().as_str() {
        "m" | "male" => Some("M".to_owned()),
        "f" | "female" | "w" => Some("F".to_owned()),
        "o" | "other" => Some("O".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    fn table(
        text: &str,
        columns: &[(&str, &str)],
        rewrite: &[(&str, &str, &str)],
    ) -> Result<Vec<LabelRow>, IngestError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("labels.csv");
        fsx::write_atomic(&file, text.as_bytes()).unwrap();
        let own = |text: &&str| (*text).to_owned();
        let columns = columns.iter().map(|(name, header)| (own(name), own(header))).collect();
        let rewrite = rewrite.iter().map(|(a, b, c)| (own(a), Regex::new(b).unwrap(), own(c))).collect();
        read(&LabelsSettings { file, columns, rewrite }, 0).map(|(rows, _)| rows)
    }

    #[test]
    fn byte_order_mark_crlf_and_semicolons_survive_and_zeros_count() {
        let rows = table("\u{feff}patient_id;label;EF\r\n007;DCM;35,5\r\n", &[], &[]).unwrap();
        assert_eq!(rows[0].get("patient_id").unwrap(), "007");
        assert_eq!(number(&rows[0].attributes["EF"]), Some(35.5));
        assert_eq!(rows[0].place, (0, 2));
    }

    /// As Excel writes "Unicode text": UTF-16 little-endian, tabs, a quoted line break; and a German Windows table.
    #[test]
    fn tables_of_excel_are_read() {
        let text = "patient_id\tlabel\tnote\r\n007\tDCM\t\"two\r\nlines\"\r\n";
        let utf16: Vec<u8> = [0xFEFF_u16].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        assert_eq!(decoded(&utf16), text);
        let (_, rows) = parse(&decoded(&utf16)).unwrap();
        assert_eq!(rows, [(2, vec!["007".to_owned(), "DCM".to_owned(), "two\nlines".to_owned()])]);
        assert_eq!(decoded(b"Gr\xf6\xdfe"), "Größe");
    }

    #[test]
    fn the_delimiter_is_told_by_the_header_outside_quotes_or_by_excels_own_line() {
        let header = |text: &str| parse(text).unwrap().0;
        assert_eq!(header("\"id, of the, hospital\";label\n1;2\n"), ["id, of the, hospital", "label"]);
        assert_eq!(header("\"two\nlines, of a header\"|label\n1|2\n"), ["two\nlines, of a header", "label"]);
        let (headers, rows) = parse("sep=|\r\nid|label\r\n1|2\r\n").unwrap();
        assert_eq!((headers, rows), (vec!["id".into(), "label".into()], vec![(3, vec!["1".into(), "2".into()])]));
        assert_eq!(header("label\nx\n"), ["label"]);
    }

    #[test]
    fn a_folder_joins_all_that_is_below_it_by_path_or_name() {
        let rows = table("folder,label\nA/s1,DCM\ns2,HCM\n", &[], &[]).unwrap();
        let mut joiner = Joiner::new(&rows);
        let mut label = |path: &str| joiner.rows_of(&Series::default(), path).get("label").cloned();
        assert_eq!(label("A/s1/1/2.dcm").as_deref(), Some("DCM"));
        assert_eq!(label("B/s2/2.dcm").as_deref(), Some("HCM"));
        assert_eq!(label("B/s1/2.dcm"), None, "another s1");
        assert_eq!(label("s2.dcm"), None);
        let rows = table("folder,label\nDCM*/scans,DCM\n", &[], &[]).unwrap();
        let mut joiner = Joiner::new(&rows);
        let mut label = |path: &str| joiner.rows_of(&Series::default(), path).get("label").cloned();
        assert_eq!(label("DCM-7/scans/a/1.dcm").as_deref(), Some("DCM"));
        assert_eq!(label("DCM-7/other/1.dcm"), None);
        let rows = table("folder,label\nward,DCM\nward/b,NOR\n", &[], &[]).unwrap();
        let mut joiner = Joiner::new(&rows);
        let matches = joiner.rows_of(&Series::default(), "ward/b/c/1.dcm");
        assert_eq!((matches.get("label").map(String::as_str), matches.contradiction()), (Some("NOR"), None), "nearest");
    }

    #[test]
    fn the_sunnybrook_ids_are_rewritten_to_the_file_names() {
        let rows = table(
            "patient_id,original_id\nSCD0000101,SC-HF-I-1\nSCD0000901,SC-HF-I-10\n",
            &[("patient_id", "original_id"), ("attr_code", "patient_id")],
            &[("patient_id", r"-(\d)$", "-0$1")],
        )
        .unwrap();
        let ids: Vec<_> = rows.iter().map(|row| row.get("patient_id").unwrap().as_str()).collect();
        assert_eq!(ids, ["SC-HF-I-01", "SC-HF-I-10"]);
    }

    #[test]
    fn a_table_without_a_key_column_says_what_is_there() {
        let error = table("name,label\nx,DCM\n", &[], &[]).unwrap_err().to_string();
        assert!(error.contains("no column patient_id") && error.contains("name, label"), "{error}");
        let error = table("id,label\nx,DCM\n", &[("patient_id", "code")], &[]).unwrap_err().to_string();
        assert!(error.contains("no column `code`"), "{error}");
    }
}
