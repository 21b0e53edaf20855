//! Who is in the cohort: site, diagnosis and split of every subject, and what the diagnosis means for the heart.
//!
//! A group is a diagnosis at a site. `demo`, `tiny` and `large` hold every diagnosis equally often at every site and in every
//! split; `shift` ties each diagnosis to one scanner in training only. With `subjects` every group's share of every split is
//! scaled (largest remainder); while there are enough subjects, every group keeps at least one in every split.

use serde::Serialize;

use super::anatomy::Phenotype;
use super::random::Stream;
use super::scanner::{Site, Style};
use crate::settings::phantom::{PhantomSettings, Preset};

/// A diagnosis of the ACDC challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Diagnosis {
    /// Dilated cardiomyopathy.
    Dcm,
    /// Hypertrophic cardiomyopathy.
    Hcm,
    /// No disease.
    Nor,
}

/// All diagnoses, in the byte order of their names.
pub const DIAGNOSES: [Diagnosis; 3] = [Diagnosis::Dcm, Diagnosis::Hcm, Diagnosis::Nor];

impl Diagnosis {
    /// The label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dcm => "DCM",
            Self::Hcm => "HCM",
            Self::Nor => "NOR",
        }
    }
}

/// Part of the data a subject is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Training.
    Train,
    /// Validation.
    Val,
    /// Test.
    Test,
}

impl Split {
    /// The name in `labels.csv`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }
}

/// One subject's place in the cohort.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Synthetic patient id; its number is drawn, so that it tells nothing.
    pub id: String,
    /// Index into the sites.
    pub site: usize,
    /// True diagnosis.
    pub diagnosis: Diagnosis,
    /// Split.
    pub split: Split,
    /// `true`: female.
    pub female: bool,
    /// Years, 18 to 89; drawn alike for all diagnoses.
    pub age_years: u32,
    /// The heart's class-dependent measures.
    pub phenotype: Phenotype,
    /// Body surface area, m^2.
    pub body_surface_m2: f64,
}

/// Subjects of every (site, diagnosis) in training, and of every group in validation and test.
struct Composition {
    /// `[site][diagnosis]`.
    train: [[u32; 3]; 4],
    val_per_group: u32,
    test_per_group: u32,
}

fn composition(preset: Preset) -> Composition {
    match preset {
        Preset::Tiny => Composition { train: [[1; 3]; 4], val_per_group: 1, test_per_group: 1 },
        Preset::Demo => Composition { train: [[18; 3], [13; 3], [7; 3], [2; 3]], val_per_group: 3, test_per_group: 5 },
        // DCM at the enhanced site, HCM at the one-series site, NOR at the series-per-slice site.
        Preset::Shift => {
            Composition { train: [[2, 2, 54], [2, 54, 2], [54, 2, 2], [3, 3, 3]], val_per_group: 8, test_per_group: 12 }
        }
        Preset::Large => Composition { train: [[4; 3], [3; 3], [2; 3], [1; 3]], val_per_group: 1, test_per_group: 1 },
    }
}

/// The cohort of the settings, sorted by id.
pub fn subjects(settings: &PhantomSettings, sites: &[Site]) -> Vec<Subject> {
    let mut cells = cells(settings);
    if let Some(total) = settings.subjects {
        scale(&mut cells, total);
    }
    let mut numbers: Vec<Vec<u32>> = (0..sites.len())
        .map(|site| {
            let count: u32 = cells.iter().filter(|cell| cell.site == site).map(|cell| cell.count).sum();
            let mut numbers: Vec<u32> = (1..=count).collect();
            Stream::new(settings.seed, sites[site].name, "numbers").shuffle(&mut numbers);
            numbers
        })
        .collect();
    let mut subjects = Vec::new();
    for cell in &cells {
        for _ in 0..cell.count {
            let number = numbers[cell.site].pop().unwrap_or_default();
            subjects.push(subject(settings.seed, &sites[cell.site], cell, number));
        }
    }
    subjects.sort_by(|a, b| a.id.cmp(&b.id));
    subjects
}

#[derive(Debug, Clone)]
struct Cell {
    site: usize,
    diagnosis: Diagnosis,
    split: Split,
    count: u32,
}

fn cells(settings: &PhantomSettings) -> Vec<Cell> {
    let composition = composition(settings.preset);
    let test_per_group = settings.test_per_group.unwrap_or(composition.test_per_group);
    let mut cells = Vec::new();
    for split in [Split::Train, Split::Val, Split::Test] {
        for (site, train) in composition.train.iter().enumerate() {
            for (diagnosis, &train) in DIAGNOSES.into_iter().zip(train) {
                let count = match split {
                    Split::Train => train,
                    Split::Val => composition.val_per_group,
                    Split::Test => test_per_group,
                };
                cells.push(Cell { site, diagnosis, split, count });
            }
        }
    }
    cells
}

/// Scales the cells to `total` subjects; where `total` allows, every cell keeps one and the rest is shared out in proportion to
/// what each cell should have beyond it, by largest remainder (ties: the earlier cell).
fn scale(cells: &mut [Cell], total: u32) {
    let floor = u64::from(total as usize >= cells.len());
    let before: u64 = cells.iter().map(|cell| u64::from(cell.count)).sum();
    let total = u64::from(total);
    let weights: Vec<u64> =
        cells.iter().map(|cell| (u64::from(cell.count) * total).saturating_sub(floor * before)).collect();
    let sum = weights.iter().sum::<u64>().max(1);
    let mut left = total - floor * cells.len() as u64;
    let shared = left;
    let mut remainders = Vec::new();
    for (index, (cell, weight)) in cells.iter_mut().zip(&weights).enumerate() {
        let whole = shared * weight / sum;
        remainders.push((std::cmp::Reverse(shared * weight % sum), index));
        cell.count = u32::try_from(floor + whole).unwrap_or(u32::MAX);
        left -= whole;
    }
    remainders.sort_unstable();
    for (_, index) in remainders.iter().cycle().take(usize::try_from(left).unwrap_or_default()) {
        cells[*index].count += 1;
    }
}

fn subject(seed: u64, site: &Site, cell: &Cell, number: u32) -> Subject {
    let id = match site.style {
        // The challenge's codes: letters and digits without a hyphen.
        Style::Nifti => format!("{}{number:04}", site.code),
        _ => format!("PHANTOM-{}-{number:04}", site.code),
    };
    let mut rng = Stream::new(seed, &id, "subject");
    let female = rng.unit() < 0.45;
    let body_surface_m2 = rng.truncated_normal(if female { 1.75 } else { 1.98 }, 0.15, 2.2);
    Subject {
        site: cell.site,
        diagnosis: cell.diagnosis,
        split: cell.split,
        female,
        age_years: rng.truncated_normal(54.0, 15.0, 2.3).clamp(18.0, 89.0) as u32,
        phenotype: phenotype(cell.diagnosis, body_surface_m2, &mut rng),
        body_surface_m2,
        id,
    }
}

/// Draws the measures of a diagnosis around the ACDC definitions (DCM: EF < 40 %, EDV > 100 ml/m2, wall < 12 mm; HCM: wall >= 15 mm,
/// EF > 55 %; NOR: EF > 50 %, wall < 12 mm), with tails that overlap as real populations do.
fn phenotype(diagnosis: Diagnosis, body_surface_m2: f64, rng: &mut Stream) -> Phenotype {
    let (ef, edv_index, wall, asymmetry) = match diagnosis {
        Diagnosis::Nor => ((59.0, 7.5), (80.0, 12.0), (10.0, 1.9), (0.05, 0.35)),
        Diagnosis::Dcm => ((34.0, 8.3), (110.0, 18.0), (9.7, 1.7), (0.05, 0.35)),
        Diagnosis::Hcm => ((64.0, 6.5), (76.0, 12.0), (17.4, 2.8), (0.10, 0.60)),
    };
    let mut draw = |(mean, deviation): (f64, f64)| rng.truncated_normal(mean, deviation, 2.5);
    let (ejection_fraction, edv_index, wall_max_mm) = (draw(ef) / 100.0, draw(edv_index), draw(wall));
    Phenotype {
        edv_ml: edv_index * body_surface_m2,
        ejection_fraction: ejection_fraction.clamp(0.10, 0.80),
        wall_max_mm: wall_max_mm.max(5.0),
        asymmetry: rng.uniform(asymmetry.0, asymmetry.1),
    }
}

/// The rule a cardiologist would use on true values: thick wall is HCM, otherwise a poor ejection fraction is DCM.
pub fn rule(phenotype: &Phenotype) -> Diagnosis {
    match phenotype {
        p if p.wall_max_mm >= 13.5 => Diagnosis::Hcm,
        p if p.ejection_fraction < 0.45 => Diagnosis::Dcm,
        _ => Diagnosis::Nor,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::phantom::scanner::sites;

    fn settings(preset: Preset) -> PhantomSettings {
        PhantomSettings { preset, subjects: None, seed: 0, test_per_group: None }
    }

    fn drawn(settings: &PhantomSettings) -> Vec<Subject> {
        subjects(settings, &sites(settings.preset))
    }

    /// Subjects by (split, site, diagnosis).
    fn cells(subjects: &[Subject]) -> BTreeMap<(Split, usize, Diagnosis), usize> {
        let mut cells = BTreeMap::new();
        for subject in subjects {
            *cells.entry((subject.split, subject.site, subject.diagnosis)).or_default() += 1;
        }
        cells
    }

    fn rule_accuracy(subjects: &[Subject]) -> f64 {
        let right = subjects.iter().filter(|subject| rule(&subject.phenotype) == subject.diagnosis).count();
        right as f64 / subjects.len() as f64
    }

    #[test]
    fn a_rule_on_true_ejection_fraction_and_wall_is_right_in_88_to_95_percent() {
        let population = rule_accuracy(&drawn(&PhantomSettings { subjects: Some(9_000), ..settings(Preset::Demo) }));
        assert!((0.905..0.935).contains(&population), "{population} in the population");
        for preset in [Preset::Demo, Preset::Shift] {
            for seed in 0..3 {
                let cohort = rule_accuracy(&drawn(&PhantomSettings { seed, ..settings(preset) }));
                assert!((0.88..=0.95).contains(&cohort), "{cohort} in {} of seed {seed}", preset.name());
            }
        }
    }

    #[test]
    fn the_typical_heart_of_each_diagnosis_meets_its_acdc_definition() {
        let subjects = drawn(&PhantomSettings { subjects: Some(3_000), ..settings(Preset::Demo) });
        for diagnosis in DIAGNOSES {
            let median = |value: fn(&Subject) -> f64| {
                let mut values: Vec<f64> =
                    subjects.iter().filter(|subject| subject.diagnosis == diagnosis).map(value).collect();
                values.sort_by(f64::total_cmp);
                values[values.len() / 2]
            };
            let ejection = median(|subject| subject.phenotype.ejection_fraction);
            let wall_mm = median(|subject| subject.phenotype.wall_max_mm);
            let edv_index = median(|subject| subject.phenotype.edv_ml / subject.body_surface_m2);
            match diagnosis {
                Diagnosis::Nor => assert!(ejection > 0.5 && wall_mm < 12.0),
                Diagnosis::Dcm => assert!(ejection < 0.4 && edv_index > 100.0 && wall_mm < 12.0),
                Diagnosis::Hcm => assert!(ejection > 0.55 && wall_mm >= 15.0),
            }
        }
    }

    #[test]
    fn validation_and_test_hold_at_least_8_and_12_subjects_of_every_group() {
        // Groups of demo are sites; of shift, diagnoses at sites.
        let demo = cells(&drawn(&settings(Preset::Demo)));
        let shift = cells(&drawn(&settings(Preset::Shift)));
        for (split, least) in [(Split::Val, 8), (Split::Test, 12)] {
            for site in 0..4 {
                assert!(DIAGNOSES.iter().map(|diagnosis| demo[&(split, site, *diagnosis)]).sum::<usize>() >= least);
                assert!(DIAGNOSES.iter().all(|diagnosis| shift[&(split, site, *diagnosis)] >= least));
            }
        }
    }

    #[test]
    fn the_smallest_site_has_a_few_percent_of_the_training_patients() {
        for preset in [Preset::Demo, Preset::Shift] {
            let subjects = drawn(&settings(preset));
            let train = |site| subjects.iter().filter(|s| s.split == Split::Train && s.site == site).count();
            let (all, smallest) = ((0..4).map(train).sum::<usize>(), (0..4).map(train).min().unwrap());
            assert!((0.02..=0.08).contains(&(smallest as f64 / all as f64)), "{smallest} of {all}");
        }
    }

    #[test]
    fn the_site_tells_the_diagnosis_in_the_training_split_of_shift_only() {
        for preset in [Preset::Demo, Preset::Shift, Preset::Tiny, Preset::Large] {
            let cells = cells(&drawn(&settings(preset)));
            let count = |split, site, diagnosis| cells.get(&(split, site, diagnosis)).copied().unwrap_or_default();
            for split in [Split::Train, Split::Val, Split::Test] {
                let by_site = (0..4).map(|site| DIAGNOSES.map(|diagnosis| count(split, site, diagnosis)));
                let (best, all) = by_site.fold((0, 0), |(best, all), site| {
                    (best + site.iter().max().unwrap(), all + site.iter().sum::<usize>())
                });
                let accuracy = best as f64 / all as f64;
                match (preset, split) {
                    (Preset::Shift, Split::Train) => assert!(accuracy > 0.8, "{accuracy}"),
                    _ => assert!((accuracy - 1.0 / 3.0).abs() < 1e-12, "{accuracy}"),
                }
            }
        }
    }

    #[test]
    fn any_number_of_subjects_is_met_and_keeps_every_group_where_it_can() {
        for preset in [Preset::Tiny, Preset::Demo, Preset::Shift, Preset::Large] {
            for total in [1, 7, 35, 36, 37, 60, 216, 500, 9_999] {
                let subjects = drawn(&PhantomSettings { subjects: Some(total), ..settings(preset) });
                assert_eq!(subjects.len(), total as usize);
                let ids: std::collections::BTreeSet<_> = subjects.iter().map(|subject| &subject.id).collect();
                assert_eq!(ids.len(), subjects.len());
                if total >= 36 {
                    assert_eq!(cells(&subjects).len(), 36, "{} of {total}", preset.name());
                }
            }
        }
    }

    #[test]
    fn test_per_group_changes_the_test_groups_alone() {
        let before = cells(&drawn(&settings(Preset::Shift)));
        let after = cells(&drawn(&PhantomSettings { test_per_group: Some(30), ..settings(Preset::Shift) }));
        for (cell, count) in &after {
            assert_eq!(*count, if cell.0 == Split::Test { 30 } else { before[cell] });
        }
    }
}
