//! Settings of a study of methods over seeds, as `pipelines/evidence-*.toml` hold it, and its checked form.
//!
//! ```toml
//! [phantom]                                # or sources = ["digits/seed-{seed}"]: a cohort of its own for each seed
//! [evidence]
//! methods = ["erm", "kd", "group-distil"]  # as in `compare`; those that learn from a teacher, from each of the teachers
//! teachers = ["erm", "group-dro"]
//! references = ["kd"]                      # what the others are compared with
//! [common]                                 # what every training has; [teacher] and [student] over it
//! [trials]                                 # the same number for each method, laid over [student]; validation chooses
//! kd = [{ alpha = 0.5 }, { alpha = 0.9 }]
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::compare::{named, refit};
use super::ingest::{IngestSettings, IngestSettingsError, IngestWire};
use super::objective::ObjectiveKind;
use super::phantom::{PhantomSettings, PhantomSettingsError, PhantomWire};
use super::pipeline::{Assignment, PipelineSettingsError, assign, without_paths};
use super::preprocess::{PreprocessSettings, PreprocessSettingsError, PreprocessWire};
use super::train::{TrainSettings, TrainSettingsError, TrainWire};
use crate::failure::{Classify, FailureKind};

/// In a source's path: the seed of the cohort.
const SEED_MARK: &str = "{seed}";
/// Begins the names of teachers.
const TEACHER: &str = "teacher-";

/// A study that cannot be run as written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceSettingsError {
    /// No TOML, or a key that does not exist; the text has line and column.
    #[error("{0}")]
    Toml(toml::de::Error),
    /// A key of `--set` that does not lead to a value.
    #[error(transparent)]
    Set(#[from] Box<PipelineSettingsError>),
    /// A value that cannot be.
    #[error("{key} is {found}, expected {expected}")]
    Value {
        /// TOML key.
        key: String,
        /// What was given.
        found: String,
        /// What is accepted.
        expected: String,
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
    /// A training.
    #[error("trial {trial} of `{arm}`")]
    Train {
        /// Method and teacher.
        arm: String,
        /// 1-based trial.
        trial: usize,
        /// The reason.
        source: Box<TrainSettingsError>,
    },
}

impl Classify for EvidenceSettingsError {
    fn kind(&self) -> FailureKind {
        FailureKind::Usage
    }
}

/// `[evidence]`: the protocol. Every key but `methods` may be left out.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProtocolWire {
    /// Methods by their names in `compare`, in the order of the table.
    pub methods: Vec<String>,
    /// Objectives of the teachers.
    #[serde(default)]
    pub teachers: Vec<String>,
    /// Methods that the others are compared with.
    #[serde(default)]
    pub references: Vec<String>,
    /// Seeds of the tables; default 10.
    pub seeds: Option<u32>,
    /// The first of them; default 0.
    pub first_seed: Option<u64>,
    /// Seeds on which validation chooses among the trials; default 5.
    pub tuning_seeds: Option<u32>,
    /// The first of them; default 100.
    pub first_tuning_seed: Option<u64>,
    /// Confidence of the intervals; default 0.95.
    pub confidence: Option<f64>,
    /// Replicates of the bootstrap over subjects; default 1000.
    pub replicates: Option<u32>,
}

/// The whole file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceWire {
    /// What is asked, in a line.
    pub title: Option<String>,
    /// Sources with `{seed}` in their paths; relative: from the file's folder.
    #[serde(default)]
    pub sources: Vec<String>,
    /// A synthetic cohort instead of sources; its seed is the study's.
    pub phantom: Option<PhantomWire>,
    /// The protocol.
    pub evidence: ProtocolWire,
    /// `[ingest]`.
    #[serde(default)]
    pub ingest: IngestWire,
    /// `[preprocess]`.
    #[serde(default)]
    pub preprocess: PreprocessWire,
    /// What every training has.
    #[serde(default)]
    pub common: TrainWire,
    /// What the teachers have besides.
    #[serde(default)]
    pub teacher: TrainWire,
    /// What the students have besides.
    #[serde(default)]
    pub student: TrainWire,
    /// Per method (teachers: `teacher-OBJECTIVE`) what is tried; each as many.
    #[serde(default)]
    pub trials: BTreeMap<String, Vec<TrainWire>>,
}

/// A method, from one teacher where it learns from one; or a teacher.
#[derive(Debug, Clone, PartialEq)]
pub struct Arm {
    /// Name of its folders: `erm`, `kd-from-group-dro`, `teacher-erm`.
    pub name: String,
    /// The method: `erm`, `kd`; of a teacher its objective.
    pub method: String,
    /// Objective of the teacher it learns from.
    pub teacher: Option<String>,
    /// Whether it is a teacher itself.
    pub is_teacher: bool,
    /// Name of the arm whose last layer it refits.
    pub base: Option<String>,
    /// 0 where it starts from no other arm, else one more than the highest of those it starts from.
    pub wave: usize,
    /// Complete settings of each trial.
    pub trials: Vec<TrainWire>,
    /// The trials as the file has them.
    pub written: Vec<TrainWire>,
}

/// A checked study.
#[derive(Debug, Clone)]
pub struct EvidenceSettings {
    /// What is asked.
    pub title: String,
    /// Teachers first, then in the order of the table.
    pub arms: Vec<Arm>,
    /// Methods that the others are compared with.
    pub references: Vec<String>,
    /// Seeds of the tables.
    pub seeds: Vec<u64>,
    /// Seeds on which validation chooses.
    pub tuning_seeds: Vec<u64>,
    /// Confidence of the intervals, 0.5..1.
    pub confidence: f64,
    /// Replicates of the bootstrap, 100 or more.
    pub replicates: u32,
    /// Ingest.
    pub ingest: IngestSettings,
    /// Preprocess.
    pub preprocess: PreprocessSettings,
    /// The file without paths.
    pub resolved: toml::Table,
    sources: Vec<PathBuf>,
    phantom: Option<PhantomSettings>,
}

/// Whether a pipeline file is a study.
pub fn is_study(text: &str) -> bool {
    text.parse::<toml::Table>().is_ok_and(|table| table.contains_key("evidence"))
}

fn wrong(key: impl Into<String>, found: impl ToString, expected: impl Into<String>) -> EvidenceSettingsError {
    EvidenceSettingsError::Value { key: key.into(), found: found.to_string(), expected: expected.into() }
}

impl EvidenceSettings {
    /// Reads the file's text, with `--set` laid over it; relative paths start at `base`.
    ///
    /// # Errors
    /// [`EvidenceSettingsError`] naming line or key.
    pub fn parse(text: &str, assignments: &[Assignment], base: &Path) -> Result<Self, EvidenceSettingsError> {
        // Read from the text first: only then has an unknown key a line.
        let _: EvidenceWire = toml::from_str(text).map_err(EvidenceSettingsError::Toml)?;
        let mut table: toml::Table = text.parse().map_err(EvidenceSettingsError::Toml)?;
        assignments.iter().try_for_each(|one| assign(&mut table, one)).map_err(Box::new)?;
        let wire: EvidenceWire = table.clone().try_into().map_err(EvidenceSettingsError::Toml)?;
        Self::check(wire, table, base)
    }

    fn check(wire: EvidenceWire, table: toml::Table, base: &Path) -> Result<Self, EvidenceSettingsError> {
        check_cohorts(&wire)?;
        let protocol = &wire.evidence;
        let arms = arms(&wire)?;
        let methods: BTreeSet<&str> = arms.iter().map(|arm| arm.method.as_str()).collect();
        if let Some(name) = protocol.references.iter().find(|name| !methods.contains(name.as_str())) {
            return Err(wrong("evidence.references", format!("`{name}`"), "methods of the study"));
        }
        let seeds = seeds_of("seeds", protocol.seeds.unwrap_or(10), protocol.first_seed.unwrap_or(0))?;
        let first = protocol.first_tuning_seed.unwrap_or(100);
        let tuning_seeds = seeds_of("tuning_seeds", protocol.tuning_seeds.unwrap_or(5), first)?;
        if let Some(seed) = seeds.iter().find(|seed| tuning_seeds.contains(seed)) {
            return Err(wrong("evidence.seeds", format!("{seed} and others"), "seeds on which nothing was chosen"));
        }
        let confidence = protocol.confidence.unwrap_or(0.95);
        if !(0.5..1.0).contains(&confidence) {
            return Err(wrong("evidence.confidence", confidence, "a number from 0.5 to below 1"));
        }
        let replicates = protocol.replicates.unwrap_or(1000);
        if !(100..=100_000).contains(&replicates) {
            return Err(wrong("evidence.replicates", replicates, "100 to 100000"));
        }
        let settings = Self {
            title: wire.title.clone().unwrap_or_default(),
            references: protocol.references.clone(),
            arms,
            seeds,
            tuning_seeds,
            confidence,
            replicates,
            ingest: IngestSettings::from_wire(wire.ingest.clone(), base)?,
            preprocess: PreprocessSettings::try_from(wire.preprocess.clone())?,
            resolved: without_paths(table),
            sources: wire.sources.iter().map(|source| base.join(source)).collect(),
            phantom: wire.phantom.map(PhantomSettings::try_from).transpose()?,
        };
        for arm in &settings.arms {
            (0..arm.trials.len())
                .try_for_each(|trial| settings.training(arm, trial, 0, None, &|_| PathBuf::new()).map(drop))?;
        }
        Ok(settings)
    }

    /// The sources of a seed's cohort; empty with a phantom.
    pub fn sources(&self, seed: u64) -> Vec<PathBuf> {
        let of_seed = |source: &PathBuf| {
            let part = |part: std::path::Component<'_>| match part.as_os_str().to_str() {
                Some(text) => PathBuf::from(text.replace(SEED_MARK, &seed.to_string())),
                None => PathBuf::from(part.as_os_str()),
            };
            source.components().map(part).collect()
        };
        self.sources.iter().map(of_seed).collect()
    }

    /// The synthetic cohort of a seed, if that is the source.
    pub fn phantom(&self, seed: u64) -> Option<PhantomSettings> {
        self.phantom.clone().map(|phantom| PhantomSettings { seed, ..phantom })
    }

    /// The arm of a name.
    pub fn arm(&self, name: &str) -> Option<&Arm> {
        self.arms.iter().find(|arm| arm.name == name)
    }

    /// What `arm` is compared with under the name `reference`: the same teacher's, else the first there is; not itself.
    pub fn reference(&self, arm: &Arm, reference: &str) -> Option<&Arm> {
        let named = || self.arms.iter().filter(|one| one.method == reference && !one.is_teacher);
        let found = named().find(|one| one.teacher == arm.teacher).or_else(|| named().next());
        found.filter(|one| one.name != arm.name)
    }

    /// A training of `arm`; `run` gives the RUN of another arm with the same seed and fold.
    ///
    /// # Errors
    /// [`EvidenceSettingsError::Train`].
    pub fn training(
        &self,
        arm: &Arm,
        trial: usize,
        seed: u64,
        fold: Option<usize>,
        run: &dyn Fn(&str) -> PathBuf,
    ) -> Result<TrainSettings, EvidenceSettingsError> {
        let learns = arm.base.is_none();
        let teacher = arm.teacher.as_ref().filter(|_| learns).map(|objective| run(&format!("{TEACHER}{objective}")));
        let settings = TrainSettings::from_wire(&arm.trials[trial], seed, fold, teacher).map_err(|source| {
            EvidenceSettingsError::Train { arm: arm.name.clone(), trial: trial + 1, source: Box::new(source) }
        })?;
        Ok(TrainSettings { from: arm.base.as_deref().map(run), ..settings })
    }
}

fn check_cohorts(wire: &EvidenceWire) -> Result<(), EvidenceSettingsError> {
    let EvidenceWire { sources, phantom, .. } = wire;
    if sources.is_empty() == phantom.is_none() {
        return Err(wrong("sources", format!("{sources:?}"), "either sources or a table [phantom]"));
    }
    if let Some(seed) = phantom.as_ref().and_then(|phantom| phantom.seed) {
        return Err(wrong("phantom.seed", seed, "no value: every seed of the study makes a cohort of its own"));
    }
    Ok(())
}

fn seeds_of(key: &str, count: u32, first: u64) -> Result<Vec<u64>, EvidenceSettingsError> {
    if !(1..=1000).contains(&count) {
        return Err(wrong(format!("evidence.{key}"), count, "1 to 1000"));
    }
    Ok((0..u64::from(count)).map(|seed| first.saturating_add(seed)).collect())
}

/// The training that a method's name stands for, and the method that it refits.
fn meaning(name: &str) -> Result<(TrainWire, Option<&str>), EvidenceSettingsError> {
    let of_refit =
        refit(name).map(|(base, kind)| (TrainWire { objective: Some(kind), ..TrainWire::default() }, Some(base)));
    let found = of_refit.or_else(|| named(name).map(|wire| (wire, None)));
    found.filter(|(wire, _)| !wire.objective.is_some_and(ObjectiveKind::needs_biased)).ok_or_else(|| {
        let expected = "erm, kd, group-dro, group-distil or jtt, with -total or -balanced after it; dfr-train or dfr-val, alone or after another and `+`";
        wrong("evidence.methods", format!("`{name}`"), expected)
    })
}

fn learns_from_teacher(name: &str) -> Result<bool, EvidenceSettingsError> {
    let (wire, base) = meaning(name)?;
    match base {
        Some(base) => learns_from_teacher(base),
        None => Ok(wire.objective.is_some_and(ObjectiveKind::needs_teacher)),
    }
}

fn arms(wire: &EvidenceWire) -> Result<Vec<Arm>, EvidenceSettingsError> {
    let ProtocolWire { methods, teachers, .. } = &wire.evidence;
    if methods.is_empty() || methods.iter().collect::<BTreeSet<_>>().len() < methods.len() {
        return Err(wrong("evidence.methods", format!("{methods:?}"), "at least one, each once"));
    }
    let mut trials = Trials::of(wire);
    let mut arms = Vec::new();
    for objective in teachers {
        let (own, base) = meaning(objective)?;
        if base.is_some() || learns_from_teacher(objective)? {
            return Err(wrong("evidence.teachers", format!("`{objective}`"), "objectives that need no other run"));
        }
        let name = format!("{TEACHER}{objective}");
        let (trials, written) = trials.take(&name, &own, &wire.teacher)?;
        let method = objective.clone();
        arms.push(Arm { name, method, teacher: None, is_teacher: true, base: None, wave: 0, trials, written });
    }
    for method in methods {
        let (own, base) = meaning(method)?;
        let (trials, written) = trials.take(method, &own, &wire.student)?;
        let from: Vec<Option<&String>> = match learns_from_teacher(method)? {
            true if teachers.is_empty() => {
                return Err(wrong("evidence.teachers", "empty", format!("one at least: `{method}` learns from it")));
            }
            true => teachers.iter().map(Some).collect(),
            false => vec![None],
        };
        for teacher in from {
            let named =
                |method: &str| teacher.map_or_else(|| method.to_owned(), |from| format!("{method}-from-{from}"));
            let base = base.map(named);
            let of_base = arms.iter().find(|arm| Some(&arm.name) == base.as_ref());
            if of_base.is_none() && base.is_some() {
                return Err(wrong("evidence.methods", format!("`{method}`"), "what it refits before it"));
            }
            let wave = of_base.map_or(usize::from(teacher.is_some()), |base| base.wave + 1);
            let (teacher, method, name) = (teacher.cloned(), method.clone(), named(method));
            let (trials, written) = (trials.clone(), written.clone());
            arms.push(Arm { name, method, teacher, is_teacher: false, base, wave, trials, written });
        }
    }
    trials.none_left()?;
    Ok(arms)
}

/// The trials that no method has taken yet.
struct Trials<'a> {
    common: &'a TrainWire,
    left: BTreeMap<String, Vec<TrainWire>>,
    each: usize,
}

impl<'a> Trials<'a> {
    /// All methods must have had the same number of tries.
    fn of(wire: &'a EvidenceWire) -> Self {
        let each = wire.trials.values().map(Vec::len).max().unwrap_or(1);
        Self { common: &wire.common, left: wire.trials.clone(), each }
    }

    fn take(
        &mut self,
        name: &str,
        own: &TrainWire,
        role: &TrainWire,
    ) -> Result<(Vec<TrainWire>, Vec<TrainWire>), EvidenceSettingsError> {
        let written = self.left.remove(name).unwrap_or_else(|| vec![TrainWire::default()]);
        if written.len() != self.each {
            let expected = format!("{} trials, as many as the other methods have", self.each);
            return Err(wrong(format!("trials.{name}"), format!("{} trials", written.len()), expected));
        }
        let whole = |trial: &TrainWire| trial.clone().over(own).over(role).over(self.common);
        Ok((written.iter().map(whole).collect(), written))
    }

    fn none_left(&self) -> Result<(), EvidenceSettingsError> {
        match self.left.keys().next() {
            Some(name) => Err(wrong("trials", format!("`{name}`"), "methods of the study, or teacher-OBJECTIVE")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STUDY: &str = "\
[phantom]
preset = 'shift'
[evidence]
methods = ['erm', 'dfr-val', 'kd', 'group-distil', 'group-distil+dfr-val']
teachers = ['erm', 'group-dro']
references = ['kd', 'dfr-val']
[common]
epochs = 3
[teacher]
arch = 'compact-resnet'
[student]
arch = 'tiny-resnet'
[trials]
teacher-erm = [{ weight_decay = 0.1 }, {}]
teacher-group-dro = [{ eta = 0.1 }, { eta = 0.2 }]
erm = [{}, { weight_decay = 0.1 }]
dfr-val = [{}, { dfr_subsets = 3 }]
kd = [{ alpha = 0.5 }, { alpha = 0.9 }]
group-distil = [{ eta = 0.01 }, { eta = 0.1 }]
'group-distil+dfr-val' = [{}, { dfr_subsets = 3 }]
";

    fn parse(text: &str) -> Result<EvidenceSettings, String> {
        EvidenceSettings::parse(text, &[], Path::new("base")).map_err(|error| error.to_string())
    }

    #[test]
    fn methods_are_crossed_with_teachers_and_stand_after_what_they_start_from() {
        let settings = parse(STUDY).unwrap();
        let waves: Vec<(&str, usize)> = settings.arms.iter().map(|arm| (arm.name.as_str(), arm.wave)).collect();
        let expected = [
            ("teacher-erm", 0),
            ("teacher-group-dro", 0),
            ("erm", 0),
            ("dfr-val", 1),
            ("kd-from-erm", 1),
            ("kd-from-group-dro", 1),
            ("group-distil-from-erm", 1),
            ("group-distil-from-group-dro", 1),
            ("group-distil+dfr-val-from-erm", 2),
            ("group-distil+dfr-val-from-group-dro", 2),
        ];
        assert_eq!(waves, expected);
        let run = |name: &str| PathBuf::from(format!("runs/{name}"));
        let distil = settings.arm("group-distil-from-group-dro").unwrap();
        let training = settings.training(distil, 1, 7, None, &run).unwrap();
        assert_eq!((training.objective.eta, training.epochs, training.seed), (0.1, 3, 7));
        assert_eq!(training.teacher.unwrap(), Path::new("runs/teacher-group-dro"));
        let refit = settings.arm("group-distil+dfr-val-from-erm").unwrap();
        let training = settings.training(refit, 1, 7, None, &run).unwrap();
        assert_eq!((training.from.unwrap(), training.teacher), ("runs/group-distil-from-erm".into(), None));
    }

    #[test]
    fn a_reference_is_of_the_same_teacher_and_nothing_is_its_own() {
        let settings = parse(STUDY).unwrap();
        let name = |arm: &str, reference: &str| {
            settings.reference(settings.arm(arm).unwrap(), reference).map(|arm| arm.name.clone())
        };
        assert_eq!(name("group-distil-from-group-dro", "kd").as_deref(), Some("kd-from-group-dro"));
        assert_eq!(name("erm", "kd").as_deref(), Some("kd-from-erm"));
        assert_eq!(name("kd-from-erm", "kd"), None);
        assert_eq!(name("kd-from-group-dro", "dfr-val").as_deref(), Some("dfr-val"));
    }

    #[test]
    fn unequal_trials_shared_seeds_and_unknown_methods_are_refused() {
        let unequal = STUDY.replace("kd = [{ alpha = 0.5 }, ", "kd = [");
        assert!(parse(&unequal).unwrap_err().contains("trials.kd is 1 trials, expected 2 trials"));
        let shared = STUDY.replace("[evidence]", "[evidence]\nfirst_tuning_seed = 9");
        assert!(parse(&shared).unwrap_err().contains("nothing was chosen"));
        let unknown = STUDY.replace("'erm', 'dfr-val'", "'erm', 'agre-kd'");
        assert!(parse(&unknown).unwrap_err().contains("`agre-kd`"));
        let unused = STUDY.replace("[trials]", "[trials]\njtt = [{}, {}]");
        assert!(parse(&unused).unwrap_err().contains("`jtt`"));
        assert!(parse(&STUDY.replace("preset", "seed = 3\npreset")).unwrap_err().contains("phantom.seed"));
    }

    #[test]
    fn the_seed_stands_in_the_path_of_a_source() {
        let text = STUDY.replace("[phantom]\npreset = 'shift'", "sources = ['data/seed-{seed}']");
        assert_eq!(parse(&text).unwrap().sources(12), [Path::new("base/data/seed-12")]);
    }
}
