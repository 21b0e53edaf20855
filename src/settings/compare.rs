//! Settings of `compare`: which methods, how many seeds, and what each of them trains with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::architecture::Architecture;
use super::objective::{ObjectiveKind, Scope};
use super::train::{Sampler, TrainSettings, TrainSettingsError, TrainWire};
use crate::failure::{Classify, FailureKind};

/// A setting outside its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CompareSettingsError {
    /// A value that cannot be.
    #[error("compare.{key} is {found}, expected {expected}")]
    Value {
        /// TOML key.
        key: &'static str,
        /// What was given.
        found: String,
        /// What is accepted.
        expected: String,
    },
    /// A setting of one method's training.
    #[error("method `{method}`")]
    Train {
        /// The method.
        method: String,
        /// What is wrong.
        source: TrainSettingsError,
    },
}

impl Classify for CompareSettingsError {
    fn kind(&self) -> FailureKind {
        FailureKind::Usage
    }
}

/// `[compare]` as TOML holds it. Every key may be left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompareWire {
    /// An objective each, with `-total` for the other scope of `group-distil` and `-balanced` for the balanced sampler; `METHOD+dfr-val` and
    /// `METHOD+dfr-train` refit a method's last layer, `dfr-val` and `dfr-train` alone that of `erm`.
    pub methods: Option<Vec<String>>,
    /// The method that the others are compared with.
    pub baseline: Option<String>,
    /// Seeds per method.
    pub seeds: Option<u32>,
    /// Teachers per seed; every method that learns from one learns from all of them.
    pub teachers: Option<u32>,
    /// The first seed.
    pub first_seed: Option<u64>,
    /// Fold that is tested.
    pub fold: Option<usize>,
    /// Confidence of the intervals of differences.
    pub confidence: Option<f64>,
    /// Settings of every training run.
    pub common: Option<TrainWire>,
    /// Settings of the teachers, over the common ones.
    pub teacher: Option<TrainWire>,
    /// Settings of the students, over the common ones.
    pub student: Option<TrainWire>,
    /// Settings of one method, over the students'.
    pub method: Option<BTreeMap<String, TrainWire>>,
}

/// One method of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Method {
    /// As given: the name of its folder.
    pub name: String,
    /// Its training, without seed, fold and teacher.
    pub wire: TrainWire,
    /// Whether it learns from the seed's teacher.
    pub needs_teacher: bool,
    /// The method whose last layer it refits; it stands before this one.
    pub base: Option<String>,
    /// 0 where it starts from no other RUN, else one more than the highest of those it starts from; teachers are in wave 0.
    pub wave: usize,
}

/// Checked settings of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct CompareSettings {
    /// In the order of the table.
    pub methods: Vec<Method>,
    /// One of the methods, if there is one to compare with.
    pub baseline: Option<String>,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// Fold that is tested.
    pub fold: Option<usize>,
    /// Confidence of the intervals of differences, 0.5..1.
    pub confidence: f64,
    /// The teachers' training.
    pub teacher: TrainWire,
    /// Teachers per seed, 1 or more.
    pub teachers: u32,
}

/// Folder of a seed's teacher, and with a number behind it of the others; no method may be called so.
const TEACHER: &str = "teacher";
/// The method whose network `agre-kd` takes as the biased one.
const BIASED: &str = "erm";
/// What the seeds of one seed's teachers are apart.
const TEACHER_SEED_STEP: u64 = 1_000_003;

/// Folder of a seed's teacher `number`, from 0.
pub fn teacher_name(number: u32) -> String {
    if number == 0 { TEACHER.to_owned() } else { format!("{TEACHER}-{}", number + 1) }
}

/// The training that a method's name stands for.
pub(super) fn named(name: &str) -> Option<TrainWire> {
    let (rest, balanced) = name.strip_suffix("-balanced").map_or((name, false), |rest| (rest, true));
    let (rest, total) = rest.strip_suffix("-total").map_or((rest, false), |rest| (rest, true));
    let objective = ObjectiveKind::from_name(rest)?;
    if objective.refits() || (total && objective != ObjectiveKind::GroupDistil) {
        return None;
    }
    Some(TrainWire {
        objective: Some(objective),
        scope: total.then_some(Scope::Total),
        sampler: balanced.then_some(Sampler::GroupBalanced),
        ..TrainWire::default()
    })
}

/// The method whose last layer a name refits, and how.
pub(super) fn refit(name: &str) -> Option<(&str, ObjectiveKind)> {
    let (base, refit) = name.rsplit_once('+').unwrap_or(("erm", name));
    let objective = ObjectiveKind::from_name(refit).filter(|objective| objective.refits())?;
    named(base).map(|_| (base, objective))
}

/// The method whose RUN another one starts from: the one it refits, or the biased network of `agre-kd`.
fn before(name: &str) -> Option<String> {
    let is_biased = |wire: &TrainWire| wire.objective.is_some_and(ObjectiveKind::needs_biased);
    let biased = || named(name).filter(is_biased).map(|_| BIASED.to_owned());
    refit(name).map(|(base, _)| base.to_owned()).or_else(biased)
}

/// The names in the order of the table: a method that another one starts from stands before it, and is there even where nobody named it.
fn with_bases(names: &[String]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for name in names {
        let refitted = before(name);
        let first = refitted.as_deref().and_then(before);
        for one in [first, refitted, Some(name.clone())].into_iter().flatten() {
            if !all.contains(&one) {
                all.push(one);
            }
        }
    }
    all
}

fn wrong(key: &'static str, found: impl ToString, expected: impl ToString) -> CompareSettingsError {
    CompareSettingsError::Value { key, found: found.to_string(), expected: expected.to_string() }
}

impl TryFrom<CompareWire> for CompareSettings {
    type Error = CompareSettingsError;

    fn try_from(wire: CompareWire) -> Result<Self, CompareSettingsError> {
        let CompareWire {
            methods,
            baseline,
            seeds,
            teachers,
            first_seed,
            fold,
            confidence,
            common,
            teacher,
            student,
            method,
        } = wire;
        let names = methods.unwrap_or_else(|| ["erm", "kd", "group-distil"].map(str::to_owned).to_vec());
        let (common, mut own) = (common.unwrap_or_default(), method.unwrap_or_default());
        let student = student
            .unwrap_or_default()
            .over(&common)
            .over(&TrainWire { arch: Some(Architecture::CompactResnet), ..TrainWire::default() });
        if names.is_empty() || names.iter().collect::<BTreeSet<_>>().len() < names.len() {
            return Err(wrong("methods", format!("{names:?}"), "at least one, each once"));
        }
        let names = with_bases(&names);
        let mut methods = Vec::new();
        for name in &names {
            let refit = refit(name);
            let of_refit = refit.map(|(_, kind)| TrainWire { objective: Some(kind), ..TrainWire::default() });
            let Some(named) = of_refit.or_else(|| named(name)) else {
                let expected = "erm, kd, group-dro, group-distil, jtt or agre-kd, with -total (group-distil) or -balanced after it; dfr-train or dfr-val, alone or after \
                                another method and `+`";
                return Err(wrong("methods", format!("`{name}`"), expected));
            };
            let wire = own.remove(name).unwrap_or_default().over(&named).over(&student);
            let needs_teacher = wire.objective.is_some_and(ObjectiveKind::needs_teacher);
            let base = refit.map(|(base, _)| base.to_owned());
            let of_base = methods.iter().find(|method: &&Method| Some(&method.name) == base.as_ref());
            let wave = of_base.map_or(usize::from(needs_teacher), |base| base.wave + 1);
            methods.push(Method { name: name.clone(), wire, needs_teacher, base, wave });
        }
        if let Some(name) = own.keys().next() {
            return Err(wrong("method", format!("`{name}`"), format!("one of {}", names.join(", "))));
        }
        let seeds = seeds.unwrap_or(3);
        if !(1..=1000).contains(&seeds) {
            return Err(wrong("seeds", seeds, "1 to 1000"));
        }
        let teachers = teachers.unwrap_or(1);
        if !(1..=100).contains(&teachers) {
            return Err(wrong("teachers", teachers, "1 to 100"));
        }
        let confidence = confidence.unwrap_or(0.95);
        if !(0.5..1.0).contains(&confidence) {
            return Err(wrong("confidence", confidence, "a number from 0.5 to below 1"));
        }
        let baseline = match baseline {
            Some(name) if !names.contains(&name) => {
                return Err(wrong("baseline", format!("`{name}`"), format!("one of {}", names.join(", "))));
            }
            Some(name) => Some(name),
            None => names.iter().find(|name| *name == "kd").or(names.first()).cloned(),
        };
        let first = first_seed.unwrap_or(0);
        let teacher = teacher.unwrap_or_default().over(&common);
        let settings = Self {
            methods,
            baseline,
            seeds: (0..u64::from(seeds)).map(|seed| first.saturating_add(seed)).collect(),
            fold,
            confidence,
            teacher,
            teachers,
        };
        settings.check()?;
        Ok(settings)
    }
}

impl CompareSettings {
    /// Whether any method learns from a teacher.
    pub fn needs_teacher(&self) -> bool {
        self.methods.iter().any(|method| method.needs_teacher)
    }

    /// Folders of a seed's teachers; none where no method learns from one.
    pub fn teacher_names(&self) -> Vec<String> {
        (0..self.teachers).filter(|_| self.needs_teacher()).map(teacher_name).collect()
    }

    /// The training of a seed's teacher `number`, from 0. The first has the seed itself, the others seeds of their own.
    ///
    /// # Errors
    /// [`CompareSettingsError::Train`].
    pub fn teacher_settings(&self, seed: u64, number: u32) -> Result<TrainSettings, CompareSettingsError> {
        let seed = seed.wrapping_add(u64::from(number) * TEACHER_SEED_STEP);
        TrainSettings::from_wire(&self.teacher, seed, self.fold, None)
            .map_err(|source| CompareSettingsError::Train { method: TEACHER.to_owned(), source })
    }

    /// A method's training of a seed; `folder` holds the seed's RUNs by method.
    ///
    /// # Errors
    /// [`CompareSettingsError::Train`].
    pub fn method_settings(
        &self,
        method: &Method,
        seed: u64,
        folder: &Path,
    ) -> Result<TrainSettings, CompareSettingsError> {
        let teacher = method.needs_teacher.then(|| folder.join(TEACHER));
        let from = method.base.as_ref().map(|base| folder.join(base));
        let settings = TrainSettings::from_wire(&method.wire, seed, self.fold, teacher)
            .map_err(|source| CompareSettingsError::Train { method: method.name.clone(), source })?;
        if settings.objective.objective.refits() != from.is_some() {
            let found = settings.objective.objective.as_str();
            return Err(wrong(
                "method.objective",
                format!("{found} in `{}`", method.name),
                "the one that the name says",
            ));
        }
        let more_teachers = self.teacher_names().into_iter().skip(1).filter(|_| method.needs_teacher);
        let more_teachers = more_teachers.map(|name| folder.join(name)).collect();
        let biased = settings.objective.objective.needs_biased().then(|| folder.join(BIASED));
        Ok(TrainSettings { from, more_teachers, biased, ..settings })
    }

    fn check(&self) -> Result<(), CompareSettingsError> {
        if self.needs_teacher() {
            let objective = self.teacher.objective.unwrap_or(ObjectiveKind::Erm);
            if objective.needs_teacher() {
                return Err(wrong("teacher.objective", objective.as_str(), "erm or group-dro"));
            }
            self.teacher_settings(0, 0)?;
        }
        self.methods.iter().try_for_each(|method| self.method_settings(method, 0, Path::new("")).map(drop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<CompareSettings, String> {
        let wire: CompareWire = toml::from_str(text).map_err(|error| error.to_string())?;
        CompareSettings::try_from(wire).map_err(|error| format!("{error}: {:?}", std::error::Error::source(&error)))
    }

    #[test]
    fn each_layer_wins_over_the_one_below() {
        let text = "methods = ['kd', 'group-distil-total-balanced']\nseeds = 2\nfirst_seed = 5\n[common]\nepochs = 3\n\
                    batch_size = 8\n[teacher]\nepochs = 9\n[student]\nbatch_size = 16\n[method.kd]\nalpha = 0.5";
        let settings = parse(text).unwrap();
        assert_eq!((settings.seeds.as_slice(), settings.baseline.as_deref()), (&[5, 6][..], Some("kd")));
        let teacher = settings.teacher_settings(5, 0).unwrap();
        assert_eq!((teacher.epochs, teacher.batch_size, teacher.arch), (9, 8, Architecture::Resnet18));
        let kd = settings.method_settings(&settings.methods[0], 5, Path::new("t")).unwrap();
        assert_eq!((kd.epochs, kd.batch_size, kd.objective.alpha, kd.arch), (3, 16, 0.5, Architecture::CompactResnet));
        let total = settings.method_settings(&settings.methods[1], 5, Path::new("t")).unwrap();
        assert_eq!((total.objective.scope, total.sampler), (Scope::Total, Sampler::GroupBalanced));
        assert_eq!(total.objective.alpha, 0.9);
    }

    #[test]
    fn a_refit_stands_after_what_it_refits_and_takes_settings_of_its_own() {
        let text = "methods = ['dfr-val', 'group-distil+dfr-train', 'erm']\n[common]\ndfr_subsets = 3\n\
                    [method.'group-distil+dfr-train']\ndfr_c = [0.5]\n[method.group-distil]\nalpha = 0.5";
        let settings = parse(text).unwrap();
        let names: Vec<&str> = settings.methods.iter().map(|method| method.name.as_str()).collect();
        assert_eq!(names, ["erm", "dfr-val", "group-distil", "group-distil+dfr-train"]);
        let of = |at: usize| settings.method_settings(&settings.methods[at], 5, Path::new("seed-5")).unwrap();
        assert_eq!((of(1).from.unwrap(), of(1).teacher), ("seed-5/erm".into(), None));
        assert_eq!((of(3).from.unwrap(), of(3).dfr.unwrap().c), ("seed-5/group-distil".into(), vec![0.5]));
        assert_eq!((of(2).objective.alpha, of(1).dfr.unwrap().subsets), (0.5, 3));
        assert!(settings.needs_teacher());
        for wrong in ["dfr-val+erm", "kd+dfr", "dfr-val-balanced", "erm+dfr-val+dfr-val"] {
            assert!(parse(&format!("methods = ['{wrong}']")).is_err(), "{wrong}");
        }
        assert!(parse("methods = ['erm']\n[method.erm]\nobjective = 'dfr-val'").unwrap_err().contains("the name says"));
    }

    #[test]
    fn several_teachers_have_seeds_of_their_own_and_agre_kd_takes_erm_as_the_biased_network() {
        let settings = parse("methods = ['agre-kd+dfr-val', 'kd']\nteachers = 3").unwrap();
        let names: Vec<&str> = settings.methods.iter().map(|method| method.name.as_str()).collect();
        assert_eq!(names, ["erm", "agre-kd", "agre-kd+dfr-val", "kd"]);
        assert_eq!(settings.teacher_names(), ["teacher", "teacher-2", "teacher-3"]);
        let seeds = [0, 1, 2].map(|number| settings.teacher_settings(5, number).unwrap().seed);
        assert_eq!(seeds, [5, 1_000_008, 2_000_011]);
        let of = |at: usize| settings.method_settings(&settings.methods[at], 5, Path::new("s")).unwrap();
        assert_eq!((of(1).biased, of(1).teacher), (Some("s/erm".into()), Some("s/teacher".into())));
        assert_eq!(of(3).more_teachers, [Path::new("s/teacher-2"), Path::new("s/teacher-3")]);
        assert!(of(0).more_teachers.is_empty() && of(2).more_teachers.is_empty());
        assert!(parse("teachers = 0").unwrap_err().contains("1 to 100"));
        assert!(parse("methods = ['erm']").unwrap().teacher_names().is_empty());
    }

    #[test]
    fn a_wrong_method_baseline_or_setting_is_named() {
        assert!(parse("methods = ['dfr']").unwrap_err().contains("`dfr`, expected erm, kd"));
        assert!(parse("methods = ['kd-total']").is_err());
        assert!(parse("methods = ['kd', 'kd']").unwrap_err().contains("each once"));
        assert!(parse("baseline = 'group-dro'").unwrap_err().contains("one of erm, kd, group-distil"));
        assert!(parse("[method.group-dro]\neta = 1").unwrap_err().contains("`group-dro`"));
        assert!(parse("[method.kd]\nalpha = 2").unwrap_err().contains("method `kd`"));
        assert!(parse("[teacher]\nobjective = 'kd'").unwrap_err().contains("erm or group-dro"));
    }
}
