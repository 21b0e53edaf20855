//! Information files of known collections that lie among the scans, one file of code per layout (`docs/labels.md`). Text in, label
//! rows out; no files here. What a label table says goes before any of them.

use super::labels::LabelRow;

mod acdc;
pub(super) mod bids;
mod mnms;
mod mnms2;
mod sunnybrook;
pub(super) mod waterbirds;

/// Information files are small.
pub const CAP_BYTES: u64 = 16 << 20;

/// Whether a file's name lets it be an information file.
pub fn may_be_one(relative: &str) -> bool {
    let name = name(relative).to_lowercase();
    [".csv", ".tsv", ".json", ".cfg"].iter().any(|ending| name.ends_with(ending))
}

fn name(relative: &str) -> &str {
    relative.rsplit('/').next().unwrap_or(relative)
}

/// The rows of an information file, by its name and content; `None` when it is none of those known.
pub fn read(relative: &str, text: &str) -> Option<Vec<LabelRow>> {
    match name(relative).to_lowercase().as_str() {
        "info.cfg" => acdc::read(relative, text),
        "participants.tsv" => bids::participants(relative, text),
        name if name.ends_with(".json") => bids::sidecar(relative, text),
        _ => mnms::read(text).or_else(|| mnms2::read(text)).or_else(|| sunnybrook::read(text)),
    }
}

#[cfg(test)]
fn value<'a>(rows: &'a [LabelRow], name: &str) -> &'a str {
    rows[0].get(name).unwrap()
}
