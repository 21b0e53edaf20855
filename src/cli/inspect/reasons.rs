//! What the ledger's reasons mean and what to do, from the one list that people read: `docs/ledger.md`.

const PAGE: &str = include_str!("../../../docs/ledger.md");

/// Meaning and remedy of a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Guide {
    pub(super) meaning: &'static str,
    pub(super) remedy: &'static str,
}

/// The guide to a reason of an outcome; `None` for one that the page lacks.
pub(super) fn guide(outcome: &str, reason: &str) -> Option<Guide> {
    rows()
        .find(|row| row[0] == outcome && is_named(row[1], reason))
        .map(|[_, _, meaning, remedy]| Guide { meaning, remedy })
}

/// What to do about a rejected file.
pub(super) fn remedy(reason: &str) -> Option<&'static str> {
    guide("rejected", reason).map(|guide| guide.remedy)
}

/// Some rows explain several reasons.
fn is_named(cell: &str, reason: &str) -> bool {
    cell.split(',').any(|name| name.trim().trim_matches('`') == reason)
}

fn rows() -> impl Iterator<Item = [&'static str; 4]> {
    let cells = |line: &'static str| {
        let inner = line.strip_prefix('|')?.strip_suffix('|')?;
        let cells: Vec<&str> = inner.split('|').map(str::trim).collect();
        <[&str; 4]>::try_from(cells).ok()
    };
    PAGE.lines().filter_map(cells).filter(|[outcome, ..]| matches!(*outcome, "used" | "skipped" | "rejected"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_has_a_meaning_and_a_remedy() {
        let table = PAGE.lines().filter(|line| line.starts_with('|')).count();
        // Its header and the line below it are no rows.
        assert_eq!(rows().count() + 2, table);
        assert!(rows().all(|row| row.iter().all(|cell| !cell.is_empty())));
    }

    #[test]
    fn a_reason_is_found_alone_and_among_several() {
        assert_eq!(remedy("truncated-pixels"), Some("copy or export the file again"));
        assert_eq!(remedy("not-nifti"), remedy("not-dicom"));
        assert!(guide("skipped", "duplicate").is_some() && guide("rejected", "duplicate").is_none());
    }
}
