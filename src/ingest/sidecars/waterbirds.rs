//! `metadata.csv` of Waterbirds (<https://github.com/kohpangwei/group_DRO>), told by its headers: pictures with label, split and place.

use std::collections::BTreeMap;

use super::super::labels::parse;

/// The file's name.
pub const NAME: &str = "metadata.csv";
/// Larger tables are not read.
pub const CAP_BYTES: u64 = 256 << 20;
/// Its columns that are no attributes of a picture; those that end in `filename` are none either.
const KNOWN: [&str; 4] = ["img_id", "img_filename", "y", "split"];

/// One picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// `y`.
    pub label: Option<String>,
    /// `train`, `val` or `test`; other texts are judged where splits are made.
    pub split: Option<String>,
    /// The other columns.
    pub attributes: BTreeMap<String, String>,
}

/// Rows by the picture's path below the table's folder; `None` when the table is another.
pub fn read(text: &str) -> Option<BTreeMap<String, Row>> {
    let (headers, rows) = parse(text).ok()?;
    let column = |name: &str| headers.iter().position(|header| header == name);
    let (file, label) = (column("img_filename")?, column("y")?);
    let split = column("split");
    let is_attribute =
        |header: &String| !header.is_empty() && !KNOWN.contains(&header.as_str()) && !header.ends_with("filename");
    let row = |(_, cells): (usize, Vec<String>)| {
        let cell = |index: usize| cells.get(index).filter(|cell| !cell.is_empty()).cloned();
        let attributes = headers.iter().enumerate().filter(|(_, header)| is_attribute(header));
        let row = Row {
            label: cell(label),
            split: split.and_then(cell).map(|split| split_name(&split)),
            attributes: attributes.filter_map(|(index, header)| Some((header.clone(), cell(index)?))).collect(),
        };
        Some((cell(file)?, row))
    };
    Some(rows.into_iter().filter_map(row).collect())
}

/// 0, 1 and 2 as the design's names.
fn split_name(text: &str) -> String {
    let known = [("0", "train"), ("1", "val"), ("2", "test")];
    known.iter().find(|(code, _)| *code == text).map_or(text, |(_, name)| name).to_owned()
}
