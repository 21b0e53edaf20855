//! Tests of the whole stage on a synthetic cohort whose pixels come from a function instead of files.

use ndarray::Array2;

use super::*;
use crate::context::{Interrupt, Observer, Silent};
use crate::dataset::Dataset;
use crate::formats::dataset::Split;
use crate::fsx;
use crate::preprocess::source::{CohortFrame, CohortStack};
use crate::settings::preprocess::PreprocessWire;

type ReadResult = Result<Vec<Vec<Array2<f32>>>, Box<dyn std::error::Error + Send + Sync>>;

/// 24 subjects of two sites and two labels; the path of a frame is `<subject>/<slice>`, a phase is a frame of it.
fn cohort() -> Cohort {
    let (mut stacks, mut frames) = (Vec::new(), BTreeMap::new());
    for number in 0..24_usize {
        let stack_id = format!("stack{number:02}");
        let site = ["a", "b"][number % 2];
        stacks.push(CohortStack {
            stack_id: stack_id.clone(),
            subject_id: format!("subject{number:02}"),
            view: "sax".into(),
            kind: "cine".into(),
            rows: 60,
            columns: 64,
            slices: 3,
            phases: 8,
            phases_expected: 8,
            axes: Some(([1.0, 0.0, 0.0], [0.0, 0.0, -1.0])),
            spacing_mm: Some((2.5, 2.5)),
            label: Some(["NOR", "DCM"][number / 2 % 2].into()),
            acquisition_group: format!("site={site}"),
            group: format!("site={site}"),
            site: Some(site.into()),
            ..CohortStack::default()
        });
        let frame = |slice: usize, phase: usize| CohortFrame {
            slice,
            phase,
            path: format!("{number}/{slice}").into(),
            frame: i32::try_from(phase).unwrap(),
            position_mm: Some([0.0, 8.0 * slice as f64, 0.0]),
        };
        frames.insert(stack_id, (0..3).flat_map(|slice| (0..8).map(move |phase| frame(slice, phase))).collect());
    }
    Cohort::new("hash".into(), stacks, frames)
}

/// A beating disc whose size depends on the subject.
fn read(path: &Path, frames: &[i32]) -> ReadResult {
    let number: f64 = path.iter().next().unwrap().to_str().unwrap().parse()?;
    let frame = |&phase: &i32| {
        let radius = 24.0 + 0.3 * number + 6.0 * libm::cos(std::f64::consts::TAU * f64::from(phase) / 8.0);
        vec![Array2::from_shape_fn((60, 64), |(row, column)| {
            let distance = (row as f64 * 2.5 - 70.0).hypot(column as f64 * 2.5 - 90.0);
            (100.0 / (1.0 + libm::exp((distance - radius) / 2.0)) + ((row * 7 + column * 5) % 9) as f64) as f32
        })]
    };
    Ok(frames.iter().map(frame).collect())
}

fn settings(change: impl FnOnce(&mut PreprocessWire)) -> PreprocessSettings {
    let mut wire = PreprocessWire { max_image_size: 32, ..PreprocessWire::default() };
    change(&mut wire);
    PreprocessSettings::try_from(wire).unwrap()
}

struct Run<'a> {
    threads: usize,
    interrupt: Interrupt,
    observer: &'a dyn Observer,
}

impl Default for Run<'_> {
    fn default() -> Self {
        Self { threads: 2, interrupt: Interrupt::default(), observer: &Silent }
    }
}

impl Run<'_> {
    fn go(
        &self,
        settings: &PreprocessSettings,
        cohort: Cohort,
        read: &ReadFrames<'_>,
        out: &Path,
    ) -> Result<PreprocessSummary, PreprocessError> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads).build().unwrap();
        let context = Context { observer: self.observer, interrupt: &self.interrupt, pool: &pool };
        preprocess_with(settings, cohort, read, (out, false), context)
    }
}

/// Every file but provenance and the lock, with its hash.
fn contents(folder: &Path) -> BTreeMap<String, String> {
    let pages = fsx::list(&folder.join("sheets")).unwrap();
    let files = fsx::list(folder).unwrap().into_iter().chain(pages).filter(|path| path.is_file());
    let read = |path: PathBuf| {
        (
            path.file_name().unwrap().to_str().unwrap().to_owned(),
            summary::sha256_hex(&fsx::read(&path, 1 << 30).unwrap()),
        )
    };
    files.map(read).filter(|(name, _)| name != "provenance.json" && name != ".lock").collect()
}

#[test]
fn a_cohort_becomes_a_dataset_that_opens() {
    let folder = tempfile::tempdir().unwrap();
    let summary = Run::default().go(&settings(|_| ()), cohort(), &read, folder.path()).unwrap();
    let dataset = Dataset::open(folder.path()).unwrap();
    assert_eq!(summary.dataset.total.subjects, 24);
    assert_eq!(dataset.classes(), ["DCM", "NOR"]);
    assert_eq!(dataset.groups(), ["site=a", "site=b"]);
    assert_eq!(dataset.image_shape(), (2, 31, 31));
    let by_subject: BTreeMap<&str, BTreeSet<Split>> =
        dataset.samples().iter().fold(BTreeMap::new(), |mut found, sample| {
            found.entry(sample.subject_id.as_str()).or_default().insert(sample.split);
            found
        });
    assert!(by_subject.values().all(|splits| splits.len() == 1));
    assert!(dataset.samples().iter().all(|sample| sample.phases == [0, 4]));
    let mut image = vec![0.0; 2 * 31 * 31];
    dataset.read_rows(&[7], &mut image).unwrap();
    assert!(image.iter().all(|value| value.is_finite()) && image.iter().any(|value| *value > 0.5));
    assert!(!folder.path().join(".parts").exists());
}

#[test]
fn any_thread_count_and_memory_cap_give_the_same_bytes() {
    let reference = tempfile::tempdir().unwrap();
    Run { threads: 1, ..Run::default() }.go(&settings(|_| ()), cohort(), &read, reference.path()).unwrap();
    for (threads, memory) in [(3, None), (4, Some(98 << 20))] {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(|_| ()).with_max_memory_bytes(memory);
        Run { threads, ..Run::default() }.go(&settings, cohort(), &read, folder.path()).unwrap();
        assert_eq!(contents(folder.path()), contents(reference.path()));
    }
}

#[test]
fn a_standard_histogram_is_in_the_plan_and_the_same_for_any_thread_count() {
    let (one, three) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let settings = settings(|wire| wire.standardise_histogram = true);
    for (threads, folder) in [(1, &one), (3, &three)] {
        Run { threads, ..Run::default() }.go(&settings, cohort(), &read, folder.path()).unwrap();
    }
    assert_eq!(contents(one.path()), contents(three.path()));
    let plan = crate::formats::plan::read_plan(&one.path().join("plan.json")).unwrap();
    let landmarks = plan.intensity.standard_landmarks.unwrap();
    assert_eq!(landmarks.percentiles, crate::preprocess::landmarks::PERCENTILES);
    assert_eq!((landmarks.values[0], landmarks.values[10]), (0.0, 100.0));
}

#[test]
fn an_interrupted_run_goes_on_and_ends_with_the_same_bytes() {
    // 300 stacks of the same 24 patients' pictures make three parts; the interrupt comes in the second.
    let large = || {
        let mut large = cohort();
        let (stacks, mut frames) = (large.stacks.clone(), BTreeMap::new());
        large.stacks.clear();
        for copy in 0..13 {
            for stack in &stacks {
                let stack_id = format!("{}-{copy}", stack.stack_id);
                frames.insert(stack_id.clone(), cohort().frames_of(stack).to_vec());
                large.stacks.push(CohortStack { stack_id, ..stack.clone() });
            }
        }
        Cohort::new("large".into(), large.stacks, frames)
    };
    let reference = tempfile::tempdir().unwrap();
    Run::default().go(&settings(|_| ()), large(), &read, reference.path()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let run = Run::default();
    let reads = std::sync::atomic::AtomicUsize::new(0);
    let stopping = |path: &Path, frames: &[i32]| {
        if reads.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 600 {
            run.interrupt.set();
        }
        read(path, frames)
    };
    let stopped = run.go(&settings(|_| ()), large(), &stopping, folder.path());
    assert!(matches!(stopped, Err(PreprocessError::Interrupted)));
    assert!(folder.path().join(".parts/00000.json").is_file() && !folder.path().join(DATASET_JSON).exists());
    let counting = |path: &Path, frames: &[i32]| {
        reads.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        read(path, frames)
    };
    reads.store(0, std::sync::atomic::Ordering::SeqCst);
    Run::default().go(&settings(|_| ()), large(), &counting, folder.path()).unwrap();
    assert!(reads.load(std::sync::atomic::Ordering::SeqCst) < 312 * 3, "the first part is not done again");
    assert_eq!(contents(folder.path()), contents(reference.path()));
    let again = Run::default().go(&settings(|_| ()), large(), &|_, _| Err("not read".into()), folder.path()).unwrap();
    assert!(again.up_to_date);
}

#[test]
fn a_bad_stack_is_left_out_by_name_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let bad =
        |path: &Path, frames: &[i32]| if path.starts_with("5") { Err("truncated".into()) } else { read(path, frames) };
    let mut cohort = cohort();
    cohort.stacks[7].view = "scout".into();
    cohort.stacks[8].label = None;
    let summary = Run::default().go(&settings(|_| ()), cohort, &bad, folder.path()).unwrap();
    let wanted = [("no-label", 1), ("unreadable", 1), ("view", 1)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(summary.excluded, wanted.into());
    assert_eq!(summary.dataset.total.subjects, 21);
}

#[test]
fn unusable_cohorts_are_refused_with_the_reason() {
    let refused = |settings: PreprocessSettings, change: &dyn Fn(&mut CohortStack)| {
        let folder = tempfile::tempdir().unwrap();
        let mut cohort = cohort();
        cohort.stacks.iter_mut().for_each(change);
        Run::default().go(&settings, cohort, &read, folder.path()).unwrap_err().to_string()
    };
    let same = |_: &mut CohortStack| ();
    let message = refused(settings(|_| ()), &|stack| stack.label = Some("NOR".into()));
    assert!(message.contains("label `NOR`"), "{message}");
    let message = refused(settings(|_| ()), &|stack| stack.view = "4ch".into());
    assert!(message.contains("view: 24"), "{message}");
    let message = refused(settings(|_| ()), &|stack| {
        if stack.stack_id == "stack03" {
            stack.group = "site=c".into();
        }
    });
    assert!(message.contains("`site=c` has 1 subjects"), "{message}");
    let message = refused(settings(|wire| wire.held_out_groups = vec!["site=z".into()]), &same);
    assert!(message.contains("held_out_groups names `site=z`") && message.contains("site=a, site=b"), "{message}");
    let message = refused(settings(|_| ()).with_max_memory_bytes(Some(97 << 20)), &same);
    assert!(message.contains("--max-memory"), "{message}");
    let message = refused(settings(|wire| wire.classes = Some(vec!["NOR".into(), "HCM".into()])), &same);
    assert!(message.contains("class `HCM`"), "{message}");
}

#[test]
fn a_held_out_group_is_only_tested_on_and_said_to_be_so() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(|wire| wire.held_out_groups = vec!["site=b".into()]);
    let summary = Run::default().go(&settings, cohort(), &read, folder.path()).unwrap();
    let held_out: Vec<bool> = summary.dataset.groups.iter().map(|group| group.held_out).collect();
    assert_eq!(held_out, [false, true]);
    let dataset = Dataset::open(folder.path()).unwrap();
    let of_b = dataset.samples().iter().filter(|sample| sample.group == "site=b");
    assert!(of_b.clone().count() > 0 && of_b.clone().all(|sample| sample.split == Split::Test));
}

#[test]
fn small_groups_are_merged_by_the_stated_rule() {
    let folder = tempfile::tempdir().unwrap();
    let mut cohort = cohort();
    for index in [3, 5] {
        cohort.stacks[index].group = format!("site=small{index}");
    }
    let settings = settings(|wire| wire.merge_small_groups_into = Some("site=b".into()));
    let summary = Run::default().go(&settings, cohort, &read, folder.path()).unwrap();
    assert_eq!(summary.dataset.groups.len(), 2);
}

#[test]
fn the_same_pixels_under_two_subjects_of_different_splits_are_refused() {
    let copying = |path: &Path, frames: &[i32]| {
        let text = path.to_str().unwrap();
        let original: String = text.replace("21/", "2/").replace("23/", "2/").replace("19/", "2/").replace("17/", "2/");
        read(Path::new(&original), frames)
    };
    let folder = tempfile::tempdir().unwrap();
    let refused = Run::default().go(&settings(|_| ()), cohort(), &copying, folder.path()).unwrap_err();
    assert!(matches!(refused, PreprocessError::Leakage { .. }), "{refused}");
    let folder = tempfile::tempdir().unwrap();
    let allowed = settings(|wire| wire.allow_shared_pixels = true);
    Run::default().go(&allowed, cohort(), &copying, folder.path()).unwrap();
}
