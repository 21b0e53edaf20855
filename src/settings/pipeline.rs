//! Settings of `run`: a whole pipeline, stage by stage, as `pipelines/*.toml` hold it, and its checked form.
//!
//! ```toml
//! sources = ["scans"]                    # or [phantom]; relative to this file
//! students = ["group-distil", "kd"]      # the first one is exported and under audit
//! [ingest]                               # each table as in the stage's own settings.toml
//! [preprocess]
//! [teacher]
//! [student]                              # what all students share
//! [method.kd]                            # what one of them has besides
//! [audit]
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::audit::{AuditSettings, AuditSettingsError, AuditWire};
use super::ingest::{IngestSettings, IngestSettingsError, IngestWire};
use super::objective::ObjectiveKind;
use super::phantom::{PhantomSettings, PhantomSettingsError, PhantomWire};
use super::preprocess::{PreprocessSettings, PreprocessSettingsError, PreprocessWire};
use super::train::{TrainSettings, TrainSettingsError, TrainWire};
use crate::failure::{Classify, FailureKind};

/// Folder of the teacher among the runs, so no student may have it as its name.
pub const TEACHER: &str = "teacher";

/// A pipeline that cannot be run as written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineSettingsError {
    /// No TOML, or a key that does not exist; the text has line and column.
    #[error("{0}")]
    Toml(toml::de::Error),
    /// A key of `--set` that does not lead to a value.
    #[error("--set {key}: `{part}` is no table")]
    Set {
        /// The whole key.
        key: String,
        /// Where it ends.
        part: String,
    },
    /// Neither `sources` nor `[phantom]`, or both.
    #[error("give either `sources = [...]` or a table [phantom]")]
    Sources,
    /// No student.
    #[error("`students` is empty; name at least one, for example students = [\"group-distil\", \"kd\", \"erm\"]")]
    NoStudents,
    /// A student's name that cannot be a folder, or that is taken.
    #[error(
        "student `{name}`: a name is lower-case letters, digits and dashes, each name once and none of them `teacher`"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// A `[method.x]` that no student uses.
    #[error("[method.{name}] is used by no student; the students are {}", students.join(", "))]
    UnusedMethod {
        /// The method.
        name: String,
        /// Those there are.
        students: Vec<String>,
    },
    /// A student that learns from a teacher, without one.
    #[error("student `{name}` learns from a teacher; add a table [teacher]")]
    NoTeacher {
        /// The student.
        name: String,
    },
    /// A student that is made from another run, which a pipeline does not do.
    #[error(
        "student `{name}`: {objective} is made from another run; use `groupdistil compare`, or `groupdistil train` with --from or --biased"
    )]
    OfAnotherRun {
        /// The student.
        name: String,
        /// Its objective.
        objective: &'static str,
    },
    /// A student whose objective neither its name nor a table says.
    #[error(
        "student `{name}` has no objective; add a table [method.{name}] with objective = \"erm\", \"kd\", \"group-dro\" or \"group-distil\""
    )]
    NoObjective {
        /// The student.
        name: String,
    },
    /// `[phantom]`.
    #[error(transparent)]
    Phantom(#[from] PhantomSettingsError),
    /// `[ingest]`.
    #[error(transparent)]
    Ingest(#[from] IngestSettingsError),
    /// `[preprocess]`.
    #[error(transparent)]
    Preprocess(#[from] PreprocessSettingsError),
    /// `[teacher]`, `[student]` or `[method.x]`.
    #[error("[{table}]")]
    Train {
        /// Which of them.
        table: String,
        /// The reason.
        source: Box<TrainSettingsError>,
    },
    /// `[audit]`.
    #[error(transparent)]
    Audit(#[from] AuditSettingsError),
}

impl Classify for PipelineSettingsError {
    fn kind(&self) -> FailureKind {
        FailureKind::Usage
    }
}

/// The whole file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineWire {
    /// What it is for, in a line.
    pub title: Option<String>,
    /// Files and folders with scans; relative: from the pipeline file's folder.
    #[serde(default)]
    pub sources: Vec<PathBuf>,
    /// Fixes initial weights, batch order and augmentation of teacher and students.
    #[serde(default)]
    pub seed: u64,
    /// Train and test once per fold of the dataset and pool the out-of-fold predictions.
    #[serde(default)]
    pub cross_validate: bool,
    /// Students by name, in the order of the report; the first one is exported and under audit.
    #[serde(default)]
    pub students: Vec<String>,
    /// A synthetic cohort instead of sources.
    pub phantom: Option<PhantomWire>,
    /// `[ingest]`.
    #[serde(default)]
    pub ingest: IngestWire,
    /// `[preprocess]`.
    #[serde(default)]
    pub preprocess: PreprocessWire,
    /// `[teacher]`; its objective is `erm` unless given.
    pub teacher: Option<TrainWire>,
    /// What all students share.
    #[serde(default)]
    pub student: TrainWire,
    /// What one student has besides; its objective is its name unless given.
    #[serde(default)]
    pub method: BTreeMap<String, TrainWire>,
    /// `[audit]`.
    #[serde(default)]
    pub audit: AuditWire,
}

/// One student: its name, which is its folder, and how it is trained.
#[derive(Debug, Clone)]
pub struct Student {
    /// Lower-case letters, digits and dashes.
    pub name: String,
    /// `[student]` with `[method.<name>]` laid over it.
    pub train: TrainWire,
}

/// A checked pipeline.
#[derive(Debug, Clone)]
pub struct PipelineSettings {
    /// What it is for.
    pub title: String,
    /// Files and folders with scans; empty with a phantom.
    pub sources: Vec<PathBuf>,
    /// The synthetic cohort, if that is the source.
    pub phantom: Option<PhantomSettings>,
    /// Ingest.
    pub ingest: IngestSettings,
    /// Preprocess.
    pub preprocess: PreprocessSettings,
    /// Seed of teacher and students.
    pub seed: u64,
    /// Once per fold.
    pub cross_validate: bool,
    /// The teacher, if there is one.
    pub teacher: Option<TrainWire>,
    /// Never empty.
    pub students: Vec<Student>,
    /// Audit.
    pub audit: AuditSettings,
    /// The whole pipeline as it will be run, without paths.
    pub resolved: toml::Table,
}

/// One `--set a.b=value`.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// Dotted key, for example `student.epochs`.
    pub key: String,
    /// Its value.
    pub value: toml::Value,
}

impl PipelineSettings {
    /// Reads a pipeline file's text, lays `assignments` over it and checks all of it; relative paths start at `base`.
    ///
    /// # Errors
    /// [`PipelineSettingsError`] naming line or key.
    pub fn parse(text: &str, assignments: &[Assignment], base: &Path) -> Result<Self, PipelineSettingsError> {
        let mut table: toml::Table = text.parse().map_err(PipelineSettingsError::Toml)?;
        // Read from the text first: only then has an unknown key a line.
        let mut wire: PipelineWire = toml::from_str(text).map_err(PipelineSettingsError::Toml)?;
        if !assignments.is_empty() {
            assignments.iter().try_for_each(|one| assign(&mut table, one))?;
            wire = table.clone().try_into().map_err(PipelineSettingsError::Toml)?;
        }
        Self::check(wire, &table, base)
    }

    fn check(wire: PipelineWire, table: &toml::Table, base: &Path) -> Result<Self, PipelineSettingsError> {
        let wire = with_base(wire, base);
        let PipelineWire { title, sources, seed, cross_validate, students: names, phantom, .. } = wire.clone();
        if sources.is_empty() == phantom.is_none() {
            return Err(PipelineSettingsError::Sources);
        }
        if names.is_empty() {
            return Err(PipelineSettingsError::NoStudents);
        }
        if let Some(name) = wire.method.keys().find(|name| !names.contains(name)) {
            return Err(PipelineSettingsError::UnusedMethod { name: name.clone(), students: names });
        }
        let students = names.iter().enumerate().map(|(index, name)| {
            if !is_folder_name(name) || name == TEACHER || names[..index].contains(name) {
                return Err(PipelineSettingsError::Name { name: name.clone() });
            }
            Ok(student(name, &wire))
        });
        let students = students.collect::<Result<_, _>>()?;
        let settings = Self {
            title: title.unwrap_or_default(),
            sources: sources.iter().map(|source| base.join(source)).collect(),
            phantom: phantom.map(PhantomSettings::try_from).transpose()?,
            ingest: IngestSettings::from_wire(wire.ingest, base)?,
            preprocess: PreprocessSettings::try_from(wire.preprocess)?,
            seed,
            cross_validate,
            teacher: wire.teacher,
            students,
            audit: AuditSettings::try_from(wire.audit)?,
            resolved: without_paths(table.clone()),
        };
        settings.check_training()?;
        Ok(settings)
    }

    /// Every training's settings, so that a wrong one is found before anything is done.
    fn check_training(&self) -> Result<(), PipelineSettingsError> {
        let check = |table: &str, wire: &TrainWire, teacher: Option<PathBuf>| {
            TrainSettings::from_wire(wire, self.seed, None, teacher)
                .map_err(|error| PipelineSettingsError::Train { table: table.to_owned(), source: Box::new(error) })
        };
        if let Some(teacher) = &self.teacher {
            check(TEACHER, teacher, None)?;
        }
        for student in &self.students {
            if student.train.objective.is_none() {
                return Err(PipelineSettingsError::NoObjective { name: student.name.clone() });
            }
            let settings = check(&format!("method.{}", student.name), &student.train, Some(PathBuf::from(TEACHER)))?;
            let objective = settings.objective.objective;
            if objective.refits() || objective.needs_biased() {
                let (name, objective) = (student.name.clone(), objective.as_str());
                return Err(PipelineSettingsError::OfAnotherRun { name, objective });
            }
            if objective.needs_teacher() && self.teacher.is_none() {
                return Err(PipelineSettingsError::NoTeacher { name: student.name.clone() });
            }
        }
        Ok(())
    }
}

fn is_folder_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// `[method.<name>]` over `[student]`, and the name as objective where neither has one.
fn student(name: &str, wire: &PipelineWire) -> Student {
    let mut train = wire.method.get(name).cloned().unwrap_or_default().over(&wire.student);
    train.objective = train.objective.or_else(|| ObjectiveKind::from_name(name));
    Student { name: name.to_owned(), train }
}

pub(super) fn assign(table: &mut toml::Table, assignment: &Assignment) -> Result<(), PipelineSettingsError> {
    let Assignment { key, value } = assignment;
    let mut parts: Vec<&str> = key.split('.').collect();
    let last = parts.pop().unwrap_or_default();
    let mut place = table;
    for part in parts {
        let next = place.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        place = next
            .as_table_mut()
            .ok_or_else(|| PipelineSettingsError::Set { key: key.clone(), part: part.to_owned() })?;
    }
    place.insert(last.to_owned(), value.clone());
    Ok(())
}

/// Weights to start from are looked for from the file's folder on, as all its paths.
fn with_base(mut wire: PipelineWire, base: &Path) -> PipelineWire {
    for train in wire.teacher.iter_mut().chain([&mut wire.student]).chain(wire.method.values_mut()) {
        train.init = train.init.take().map(|init| base.join(init));
    }
    wire
}

/// Paths belong to provenance alone.
pub(super) fn without_paths(mut table: toml::Table) -> toml::Table {
    table.remove("sources");
    let mut trained: Vec<&mut toml::Value> = Vec::new();
    for (key, value) in &mut table {
        match key.as_str() {
            "teacher" | "student" | "common" => trained.push(value),
            "method" => trained.extend(
                value.as_table_mut().into_iter().flat_map(|methods| methods.iter_mut()).map(|(_, value)| value),
            ),
            "trials" => trained.extend(
                (value.as_table_mut().into_iter().flat_map(|methods| methods.iter_mut()))
                    .flat_map(|(_, trials)| trials.as_array_mut().into_iter().flatten()),
            ),
            _ => {}
        }
    }
    trained.into_iter().filter_map(toml::Value::as_table_mut).for_each(|train| drop(train.remove("init")));
    if let Some(ingest) = table.get_mut("ingest").and_then(toml::Value::as_table_mut) {
        ingest.remove("key");
        let labels = ingest.get_mut("labels").and_then(toml::Value::as_array_mut).into_iter().flatten();
        labels.filter_map(toml::Value::as_table_mut).for_each(|labels| drop(labels.remove("file")));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "\
sources = ['scans']
students = ['group-distil', 'plain']
[teacher]
epochs = 3
[student]
epochs = 5
[method.plain]
objective = 'erm'
epochs = 7
";

    fn parse(text: &str, assignments: &[Assignment]) -> Result<PipelineSettings, PipelineSettingsError> {
        PipelineSettings::parse(text, assignments, Path::new("base"))
    }

    #[test]
    fn a_method_is_laid_over_what_students_share_and_named_by_its_objective() {
        let settings = parse(SMALL, &[]).unwrap();
        let found: Vec<_> = settings
            .students
            .iter()
            .map(|one| (one.train.objective.unwrap().as_str(), one.train.epochs.unwrap()))
            .collect();
        assert_eq!(found, [("group-distil", 5), ("erm", 7)]);
        assert_eq!(settings.sources, [PathBuf::from("base/scans")]);
        assert!(!settings.resolved.contains_key("sources"));
    }

    #[test]
    fn an_assignment_wins_over_the_file() {
        let set = Assignment { key: "student.epochs".into(), value: 9.into() };
        assert_eq!(parse(SMALL, &[set]).unwrap().students[0].train.epochs, Some(9));
        let set = Assignment { key: "seed.x".into(), value: 9.into() };
        let with_seed = format!("seed = 1\n{SMALL}");
        assert!(matches!(parse(&with_seed, &[set]), Err(PipelineSettingsError::Set { .. })));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_known_ones() {
        let message = parse(&SMALL.replace("epochs = 5", "epoch = 5"), &[]).unwrap_err().to_string();
        assert!(message.contains("line 6") && message.contains("`epoch`") && message.contains("`epochs`"), "{message}");
    }

    #[test]
    fn contradictions_are_refused_before_anything_is_done() {
        let refused = |text: &str| parse(text, &[]).unwrap_err();
        let refit = refused(&SMALL.replace("objective = 'erm'", "objective = 'dfr-val'")).to_string();
        assert!(refit.contains("student `plain`: dfr-val") && refit.contains("--from"), "{refit}");
        assert!(matches!(refused(&SMALL.replace("'plain'", "'teacher'")), PipelineSettingsError::UnusedMethod { .. }));
        let teacher = SMALL.replace("'plain'", "'teacher'").replace("[method.plain]", "[method.teacher]");
        assert!(matches!(refused(&teacher), PipelineSettingsError::Name { .. }));
        assert!(matches!(refused(&SMALL.replace("'scans'", "")), PipelineSettingsError::Sources));
        assert!(matches!(
            refused(&SMALL.replace("[teacher]\nepochs = 3\n", "")),
            PipelineSettingsError::NoTeacher { .. }
        ));
    }

    #[test]
    fn weights_to_start_from_lie_beside_the_file_and_are_not_written_on() {
        let text = SMALL
            .replace("[teacher]\n", "[teacher]\ninit = 'big.pth'\n")
            .replace("[method.plain]\n", "[method.plain]\ninit = '/x/y.pth'\n");
        let settings = PipelineSettings::parse(&text, &[], Path::new("base")).unwrap();
        assert_eq!(settings.teacher.unwrap().init, Some(PathBuf::from("base/big.pth")));
        assert!(settings.students.iter().any(|student| student.train.init == Some(PathBuf::from("/x/y.pth"))));
        let resolved = settings.resolved.to_string();
        assert!(!resolved.contains(".pth") && resolved.contains("epochs"), "{resolved}");
    }
}
