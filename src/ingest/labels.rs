//! Label tables: `labels.csv` of the design, and tables with other headers by a column mapping. Known collections' own: `sidecars`.
//!
//! Ids are text: leading zeros count. Byte-order marks, CRLF, `;` and tab as delimiters and decimal commas survive.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use regex::Regex;

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
    let text = text.replace("\r\n", "\n");
    let first = text.lines().next().unwrap_or_default();
    let count = |delimiter: char| first.matches(delimiter).count();
    let delimiter = [';', '\t'].into_iter().find(|one| count(*one) > count(',')).unwrap_or(',');
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter as u8)
        .has_headers(false)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| {
            let line = error.position().map_or(0, |position| position.line());
            (usize::try_from(line).unwrap_or(0), error.to_string())
        })?;
        let line = record.position().map_or(0, |position| position.line());
        rows.push((usize::try_from(line).unwrap_or(0), record.iter().map(str::to_owned).collect::<Vec<_>>()));
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
    /// 0 file, 1 study or folder, 2 patient.
    key: u8,
}

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

    /// The rows that were joined by patient id.
    pub fn of_patient(&self) -> impl Iterator<Item = &'a LabelRow> {
        self.rows.iter().filter(|(nearness, _)| nearness.key == 2).map(|(_, row)| *row)
    }

    /// Two rows, equally near, that give different labels.
    pub fn contradiction(&self) -> Option<(&'a LabelRow, &'a LabelRow)> {
        let (nearness, first) = self.rows.iter().find(|(_, row)| row.get("label").is_some())?;
        let others = self.rows.iter().filter(|(other, _)| other == nearness).map(|(_, row)| *row);
        let differs = |row: &&LabelRow| row.get("label").is_some_and(|label| Some(label) != first.get("label"));
        others.into_iter().find(differs).map(|row| (*first, row))
    }
}

/// Rows by what they join on.
pub struct Joiner<'a> {
    by_patient: BTreeMap<&'a str, Vec<usize>>,
    by_study: BTreeMap<&'a str, Vec<usize>>,
    by_file: BTreeMap<&'a str, Vec<usize>>,
    by_folder: BTreeMap<&'a str, Vec<usize>>,
    by_pattern: Vec<(Regex, usize)>,
    rows: &'a [LabelRow],
    matched: BTreeSet<usize>,
}

impl<'a> Joiner<'a> {
    /// Prepares the rows; a `file` value is a path below the source or its end, `*` stands for any text.
    pub fn new(rows: &'a [LabelRow]) -> Self {
        let mut joiner = Self {
            by_patient: BTreeMap::new(),
            by_study: BTreeMap::new(),
            by_file: BTreeMap::new(),
            by_folder: BTreeMap::new(),
            by_pattern: Vec::new(),
            rows,
            matched: BTreeSet::new(),
        };
        for (index, row) in rows.iter().enumerate() {
            if let Some(id) = row.get("patient_id") {
                joiner.by_patient.entry(id.trim()).or_default().push(index);
            }
            if let Some(uid) = row.get("study_uid") {
                joiner.by_study.entry(uid.trim()).or_default().push(index);
            }
            if let Some(folder) = row.get("folder") {
                joiner.by_folder.entry(folder.trim_matches('/')).or_default().push(index);
            }
            match row.get("file") {
                Some(file) if file.contains('*') => {
                    let pattern = regex::escape(file).replace(r"\*", ".*");
                    let whole = Regex::new(&format!("^(?:.*/)?{pattern}$"));
                    joiner.by_pattern.extend(whole.ok().map(|pattern| (pattern, index)));
                }
                Some(file) => joiner.by_file.entry(file).or_default().push(index),
                None => {}
            }
        }
        joiner
    }

    /// The rows that speak of an image; each counts as matched.
    pub fn rows_of(&mut self, series: &Series, relative: &str) -> Matches<'a> {
        let mut found: BTreeMap<usize, u8> = BTreeMap::new();
        let mut add = |index: &usize, key: u8| {
            let known = found.entry(*index).or_insert(key);
            *known = key.min(*known);
        };
        let ends = std::iter::once(relative).chain(relative.match_indices('/').map(|(at, _)| &relative[at + 1..]));
        ends.filter_map(|end| self.by_file.get(end)).flatten().for_each(|index| add(index, 0));
        let fits = self.by_pattern.iter().filter(|(pattern, _)| pattern.is_match(relative));
        fits.for_each(|(_, index)| add(index, 0));
        // A folder below the source, by its whole path or by its name alone.
        let folders: Vec<&str> = relative.match_indices('/').map(|(at, _)| &relative[..at]).collect();
        let named = folders.iter().flat_map(|folder| [Some(*folder), folder.rsplit_once('/').map(|(_, name)| name)]);
        let named = named.flatten().filter_map(|folder| self.by_folder.get(folder)).flatten();
        named.for_each(|index| add(index, 1));
        let study = series.person.study_uid.as_ref().and_then(|uid| self.by_study.get(uid.as_str()));
        study.into_iter().flatten().for_each(|index| add(index, 1));
        let patient = series.person.patient_id.as_ref().and_then(|id| self.by_patient.get(id.trim()));
        patient.into_iter().flatten().for_each(|index| add(index, 2));
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
    fn a_folder_joins_all_that_is_below_it_by_path_or_name() {
        let rows = table("folder,label\nA/s1,DCM\ns2,HCM\n", &[], &[]).unwrap();
        let mut joiner = Joiner::new(&rows);
        let mut label = |path: &str| joiner.rows_of(&Series::default(), path).get("label").cloned();
        assert_eq!(label("A/s1/1/2.dcm").as_deref(), Some("DCM"));
        assert_eq!(label("B/s2/2.dcm").as_deref(), Some("HCM"));
        assert_eq!(label("B/s1/2.dcm"), None, "another s1");
        assert_eq!(label("s2.dcm"), None);
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
