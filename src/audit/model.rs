//! A model as the audit sees it, wherever its predictions came from.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::error::AuditError;
use super::facet::{Facet, Facets};
use super::report::{Identity, TrainCounts};
use crate::fsx;

/// One prediction of the split under report.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) subject: String,
    pub(super) stack: String,
    pub(super) label: usize,
    pub(super) facets: Facets,
    /// Per class of the model.
    pub(super) probabilities: Vec<f64>,
}

/// Everything read from one source.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) identity: Identity,
    pub(super) classes: Vec<String>,
    pub(super) rows: Vec<Row>,
    /// What it was trained on; `None` where the source does not say.
    pub(super) training: Option<Training>,
    /// What a reader must know about how it was read.
    pub(super) warnings: Vec<String>,
}

/// Training data per facet and cell, run by run.
#[derive(Debug, Default)]
pub(super) struct Training {
    pub(super) runs: Vec<RunTraining>,
}

/// Of one run (one fold).
#[derive(Debug, Default)]
pub(super) struct RunTraining {
    cells: BTreeMap<(Facet, Option<String>), RunCell>,
}

#[derive(Debug, Default)]
struct RunCell {
    subjects: BTreeSet<String>,
    samples: u64,
    is_tested: bool,
}

impl RunTraining {
    /// Notes a row of any split.
    pub(super) fn add(&mut self, facets: &Facets, subject: &str, is_train: bool, is_tested: bool) {
        for facet in Facet::ALL {
            let cell = self.cells.entry((facet, facets.get(facet).map(str::to_owned))).or_default();
            cell.is_tested |= is_tested;
            if is_train {
                cell.samples += 1;
                cell.subjects.insert(subject.to_owned());
            }
        }
    }
}

impl Training {
    /// Names of all cells in any split.
    pub(super) fn names(&self, facet: Facet) -> BTreeSet<Option<String>> {
        let keys = self.runs.iter().flat_map(|run| run.cells.keys());
        keys.filter(|(found, _)| *found == facet).map(|(_, name)| name.clone()).collect()
    }

    /// Training data of a cell: the fewest over the runs that tested it, or over all runs where none did.
    pub(super) fn counts(&self, facet: Facet, name: Option<&str>) -> TrainCounts {
        let key = (facet, name.map(str::to_owned));
        let of = |run: &RunTraining| {
            run.cells.get(&key).map_or((false, TrainCounts::default()), |cell| {
                (cell.is_tested, TrainCounts { subjects: cell.subjects.len() as u64, samples: cell.samples })
            })
        };
        let all: Vec<(bool, TrainCounts)> = self.runs.iter().map(of).collect();
        let is_tested = all.iter().any(|(tested, _)| *tested);
        let counted = all.into_iter().filter(|(tested, _)| *tested || !is_tested).map(|(_, counts)| counts);
        counted.min_by_key(|counts| (counts.samples, counts.subjects)).unwrap_or_default()
    }
}

/// Lower-case hex SHA-256 of a file of any size.
pub(super) fn sha256(path: &Path) -> Result<String, AuditError> {
    let mut file = fsx::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer).map_err(fsx::io_error(path, "read"))?;
        if count == 0 {
            return Ok(data_encoding::HEXLOWER.encode(&hasher.finalize()));
        }
        hasher.update(&buffer[..count]);
    }
}
