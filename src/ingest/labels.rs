//! Label tables: `labels.csv` of the design, and tables with other headers by a column mapping. Known collections' own: `sidecars`.
//!
//! Ids are text: leading zeros count. Byte-order marks, CRLF, `;` and tab as delimiters and decimal commas survive.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::IngestError;
use super::groups;
use super::join::Scope;
use crate::fsx;
use crate::settings::ingest::LabelsSettings;

/// A table of labels is small.
const CAP_BYTES: u64 = 256 << 20;
/// Table index of rows that were found among the scans.
pub const SIDECAR: usize = usize::MAX;
/// Columns with a meaning; all others become `attr_<name>`.
const KNOWN: [&str; 14] = [
    "patient_id",
    "study_uid",
    "folder",
    "file",
    "label",
    "site",
    "vendor",
    "model",
    "station",
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
    /// Where the row of a sidecar counts; `None`: everywhere.
    pub scope: Option<Scope>,
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

/// A number with a decimal point or comma. Thousands separators make it unknown, not another number: `1.234,5`, `15,000`.
pub fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    if let Some((whole, decimals)) = text.split_once(',') {
        let is_thousands = whole.trim_start_matches('-').len() > 1 && decimals.len() == THOUSANDS_DIGITS;
        if is_thousands || text.contains('.') {
            return None;
        }
    }
    text.replace(',', ".").parse().ok().filter(|value: &f64| value.is_finite())
}

/// Digits after a separator of thousands.
const THOUSANDS_DIGITS: usize = 3;
/// Nobody is older, years.
const AGE_MOST_YEARS: f64 = 130.0;

/// An age in years; `None` for what is none.
pub fn age_years(text: &str) -> Option<f64> {
    number(text).filter(|age| (0.0..=AGE_MOST_YEARS).contains(age))
}

/// No magnet for people is stronger, T.
const FIELD_MOST_T: f64 = 12.0;

/// A field strength as it stands, tesla or gauss (`groups::field_strength_t`); `None` for what is neither.
pub fn field_strength(text: &str) -> Option<f64> {
    number(text).filter(|raw| groups::field_strength_t(*raw).is_some_and(|field_t| field_t <= FIELD_MOST_T))
}

type Parser = fn(&str) -> Option<f64>;

/// Columns of a table with values that are no such number, as warnings that name their first lines.
pub fn unread_numbers(rows: &[LabelRow]) -> Vec<String> {
    const SHOWN: usize = 5;
    let columns: [(&str, Parser); 2] = [("age_years", age_years), ("field_strength_t", field_strength)];
    let of_column = |(name, parsed): (&str, Parser)| {
        let is_unread = |row: &&LabelRow| row.get(name).is_some_and(|text| parsed(text).is_none());
        let lines: Vec<String> = rows.iter().filter(is_unread).map(|row| row.place.1.to_string()).collect();
        let more = if lines.len() > SHOWN { ", ..." } else { "" };
        let shown = lines.get(..SHOWN.min(lines.len())).unwrap_or_default().join(", ");
        let count = lines.len();
        (count > 0)
            .then(|| format!("{count} values of `{name}` cannot be read and count as unknown (lines {shown}{more})"))
    };
    columns.into_iter().filter_map(of_column).collect()
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

    /// 1234.5 as Germans write it, and 15 000 gauss as Americans do; then what decimal commas and points are.
    #[test]
    fn thousands_separators_make_a_number_unknown() {
        for text in ["1.234,5", "1,234.5", "15,000", "1,234,567", "1.234.567", "12,345", "nan", "inf", "61 y"] {
            assert_eq!(number(text), None, "{text}");
        }
        assert_eq!([number(" 35,5 "), number("1,494"), number("61.25")], [Some(35.5), Some(1.494), Some(61.25)]);
        assert_eq!([age_years("61"), age_years("1234"), age_years("-1")], [Some(61.0), None, None]);
        let fields = ["1.5", "15000", "15.000", "0"].map(field_strength);
        assert_eq!(fields, [Some(1.5), Some(15000.0), None, None]);
        let rows = table("patient_id,age_years,field_strength_t\n1,61,3\n2,1.234;5,3\n3,n/a,\n", &[], &[]).unwrap();
        let expected = "2 values of `age_years` cannot be read and count as unknown (lines 3, 4)";
        assert_eq!(unread_numbers(&rows), [expected]);
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
