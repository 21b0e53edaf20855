//! Where the crop lies against what is known of the heart: the phantom's `truth.json`, the experts' contours and masks.
//!
//! The benchmark `crop` prints it, the test `heart` holds it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use groupdistil::context::{Context, Interrupt, Silent};
use groupdistil::formats::plan::Plan;
use groupdistil::ingest::{self, Opener, pixels};
use groupdistil::phantom;
use groupdistil::preprocess::{self, Cohort, CohortFrame, CohortStack, PreparedStack, decide, flags, prepare, source};
use groupdistil::settings::ingest::{IngestSettings, IngestWire};
use groupdistil::settings::phantom::PhantomSettings;
use groupdistil::settings::preprocess::PreprocessSettings;
use rayon::prelude::*;
use serde_json::Value;

/// Pixel size of Sunnybrook's pictures, which do not say it: what its DICOM files have, 1.25 to 1.4 mm.
const PICTURE_PIXEL_MM: f64 = 1.37;
const KEY: [u8; 32] = [0; 32];

/// Rows and columns from first to last, in pixels.
type Box4 = [f64; 4];

/// What was found of one stack against what is true.
#[derive(Debug)]
pub struct Verdict {
    /// Preset and vendor, or which real scans.
    pub row: String,
    /// Pseudonym of the stack.
    pub stack_id: String,
    /// Whether a quality flag was raised.
    pub flagged: bool,
    /// By how much the crop cuts the left ventricle (of real scans: the contour), mm; 0 = it is whole.
    pub left_cut_mm: f64,
    /// The same of both ventricles; `None` where only the left one is known.
    pub heart_cut_mm: Option<f64>,
    /// Of the crop's centre against the middle of both ventricles (of real scans: of the contour), mm.
    pub centre_error_mm: f64,
    /// Phases, on the circle: end-diastole, end-systole.
    pub phase_error: Option<(usize, usize)>,
}

impl Verdict {
    /// Whether the crop cuts anything that is known of the heart.
    pub fn is_cut(&self) -> bool {
        self.left_cut_mm > 0.0 || self.heart_cut_mm.is_some_and(|cut| cut > 0.0)
    }
}

/// The value under which `share` of the values lie.
pub fn quantile<T: Copy + PartialOrd>(values: impl Iterator<Item = T>, share: f64) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_by(|a, b| a.partial_cmp(b).unwrap());
    values[((values.len() as f64 * share).ceil() as usize).clamp(1, values.len()) - 1]
}

fn context<T>(work: impl FnOnce(Context<'_>) -> T) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    work(Context { observer: &Silent, interrupt: &Interrupt::default(), pool: &pool })
}

/// The short-axis cines below a folder, and the plan of `preprocess` for them.
fn cines(scans: &Path) -> (Cohort, Vec<usize>, Plan) {
    let settings = IngestSettings::from_wire(IngestWire::default(), Path::new("")).unwrap();
    let scan = context(|context| ingest::scan(&settings, &[scans.to_path_buf()], &KEY, context).unwrap());
    let cohort = Cohort::from_rows("", &scan.stacks, &scan.frames).unwrap();
    let is_cine = |&index: &usize| cohort.stacks[index].view == "sax" && cohort.stacks[index].kind == "cine";
    let chosen: Vec<usize> = (0..cohort.stacks.len()).filter(is_cine).collect();
    let stacks: Vec<&CohortStack> = chosen.iter().map(|&index| &cohort.stacks[index]).collect();
    let plan = decide::decide(&PreprocessSettings::default(), &stacks, 1);
    (cohort, chosen, plan)
}

/// Half of the crop's side, mm.
fn half_crop_mm(plan: &Plan) -> f64 {
    let mm = plan.geometry.pixel_spacing_mm().unwrap();
    mm * plan.geometry.size().0 as f64 / 2.0
}

/// By how much a crop around `centre` cuts `inner`, mm.
fn cut_mm(centre: (f64, f64), half_mm: f64, inner: Box4, spacing_mm: (f64, f64)) -> f64 {
    let beyond =
        |low: f64, high: f64, centre: f64, mm: f64| ((centre - low).max(high - centre) * mm - half_mm).max(0.0);
    let rows = beyond(inner[0], inner[1], centre.0, spacing_mm.0);
    rows.max(beyond(inner[2], inner[3], centre.1, spacing_mm.1))
}

/// The smallest box around both.
fn around(a: Box4, b: Box4) -> Box4 {
    [a[0].min(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].max(b[3])]
}

fn middle(inner: Box4) -> (f64, f64) {
    ((inner[0] + inner[1]) / 2.0, (inner[2] + inner[3]) / 2.0)
}

fn distance_mm(a: (f64, f64), b: (f64, f64), spacing_mm: (f64, f64)) -> f64 {
    ((a.0 - b.0) * spacing_mm.0).hypot((a.1 - b.1) * spacing_mm.1)
}

/// Distance of two phases on a cycle.
fn on_circle(a: usize, b: usize, phases: usize) -> usize {
    let apart = a.abs_diff(b) % phases;
    apart.min(phases - apart)
}

fn position(value: &Value) -> [f64; 3] {
    std::array::from_fn(|axis| value[axis].as_f64().unwrap())
}

/// The first position of a stack to a tenth of a millimetre: what tells the phantom's stacks apart.
fn place(position: [f64; 3]) -> [i64; 3] {
    position.map(|mm| (mm * 10.0).round() as i64)
}

/// Every short-axis stack of a `truth.json` by its first position, with the vendor.
fn truths(folder: &Path) -> Vec<(Value, String)> {
    let truth: Value = serde_json::from_slice(&std::fs::read(folder.join("truth.json")).unwrap()).unwrap();
    let mut found = Vec::new();
    for subject in truth["subjects"].as_array().unwrap() {
        let vendor = subject["vendor"].as_str().unwrap();
        let stacks = subject["stacks"].as_array().unwrap().iter().filter(|stack| stack["view"] == "sax");
        found.extend(stacks.map(|stack| (stack.clone(), vendor.to_owned())));
    }
    found
}

/// The truth of a stack: its first position to a tenth of a mm, either end first (NIfTI may list the other way).
fn truth_of<'a>(truths: &'a [(Value, String)], frames: &[CohortFrame]) -> &'a (Value, String) {
    let first = place(frames[0].position_mm.unwrap());
    let near =
        |value: &Value| place(position(&value["position_mm"])).iter().zip(first).all(|(a, b)| (a - b).abs() <= 1);
    truths.iter().find(|(stack, _)| near(&stack["positions"][0])).expect("every stack has its truth")
}

/// The box of a truth over all positions, in pixels of the first slice: the phantom's slices do not shift in the plane.
fn true_box(stack: &Value, key: &str) -> Box4 {
    let boxes = stack["positions"].as_array().unwrap().iter().filter_map(|position| {
        let found = position[key].as_array()?;
        Some(std::array::from_fn(|side| found[side].as_f64().unwrap()))
    });
    boxes.reduce(around).expect("the heart is in the stack")
}

fn is_flagged(stack: &CohortStack, prepared: &PreparedStack) -> bool {
    !flags::flags(stack, &prepared.findings).is_empty()
}

/// Every short-axis cine of a phantom cohort, which is written into `folder`, against its truth.
pub fn phantom_verdicts(settings: &PhantomSettings, folder: &Path) -> Vec<Verdict> {
    context(|context| phantom::write(settings, folder, true, context).unwrap());
    let truths = truths(folder);
    let (cohort, chosen, plan) = cines(&folder.join(phantom::SCANS));
    let read = source::reader();
    let verdict = |&index: &usize| {
        let (stack, frames) = (&cohort.stacks[index], cohort.frames_of(&cohort.stacks[index]));
        let (truth, vendor) = truth_of(&truths, frames);
        let prepared = preprocess::prepare_stack(&plan, stack, frames, &*read).unwrap();
        let (centre, spacing) = (prepared.findings.centre_pixel.unwrap(), stack.spacing_mm.unwrap());
        let heart = true_box(truth, "ventricles_box_px");
        let phase = |key: &str| truth[key].as_u64().unwrap() as usize;
        let (diastole, systole) = prepared.findings.phases;
        Verdict {
            row: format!("{:<6} {vendor}", settings.preset.name()),
            stack_id: stack.stack_id.clone(),
            flagged: is_flagged(stack, &prepared),
            left_cut_mm: cut_mm(centre, half_crop_mm(&plan), true_box(truth, "left_ventricle_box_px"), spacing),
            heart_cut_mm: Some(cut_mm(centre, half_crop_mm(&plan), heart, spacing)),
            centre_error_mm: distance_mm(centre, middle(heart), spacing),
            phase_error: Some((
                on_circle(diastole, phase("end_diastole_phase"), stack.phases),
                on_circle(systole, phase("end_systole_phase"), stack.phases),
            )),
        }
    };
    context(|context| context.pool.install(|| chosen.par_iter().map(verdict).collect()))
}

/// Expert contours of a patient around one box: points of every file whose image number is one of the stack's.
fn contour_box(contours: &Path, images: &[u32]) -> Option<Box4> {
    let mut found: Option<Box4> = None;
    for entry in walkdir::WalkDir::new(contours).into_iter().map(Result::unwrap) {
        let number = entry.file_name().to_str()?.strip_prefix("IM-0001-").and_then(|rest| rest.get(..4)?.parse().ok());
        if !number.is_some_and(|number: u32| images.contains(&number)) {
            continue;
        }
        for line in std::fs::read_to_string(entry.path()).unwrap().lines() {
            let numbers: Vec<f64> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
            let point = [numbers[1], numbers[1], numbers[0], numbers[0]];
            found = Some(found.map_or(point, |found| around(found, point)));
        }
    }
    found
}

/// Real cines of Sunnybrook's `final_data` with expert contours.
pub fn contour_verdicts(folder: &Path) -> Vec<Verdict> {
    let links = std::fs::read_to_string(folder.join("link.csv")).unwrap();
    let links: BTreeMap<&str, &str> = links.lines().filter_map(|line| line.trim().split_once(',')).collect();
    let (cohort, chosen, plan) = cines(&folder.join("dicoms"));
    let read = source::reader();
    let mut verdicts = Vec::new();
    for index in chosen {
        let (stack, frames) = (&cohort.stacks[index], cohort.frames_of(&cohort.stacks[index]));
        let patient = frames[0].path.parent().unwrap().file_name().unwrap().to_str().unwrap();
        let number = |frame: &CohortFrame| frame.path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        let images: Vec<u32> = frames.iter().map(number).collect();
        let Some(contour) = contour_box(&folder.join("contourfiles").join(links[patient]), &images) else { continue };
        let prepared = preprocess::prepare_stack(&plan, stack, frames, &*read).unwrap();
        verdicts.push(real_verdict("real   cine", stack, &prepared, half_crop_mm(&plan), contour));
    }
    verdicts
}

fn real_verdict(row: &str, stack: &CohortStack, prepared: &PreparedStack, half_mm: f64, inner: Box4) -> Verdict {
    let (centre, spacing) = (prepared.findings.centre_pixel.unwrap(), stack.spacing_mm.unwrap());
    Verdict {
        row: row.to_owned(),
        stack_id: stack.stack_id.clone(),
        flagged: is_flagged(stack, prepared),
        left_cut_mm: cut_mm(centre, half_mm, inner, spacing),
        heart_cut_mm: None,
        centre_error_mm: distance_mm(centre, middle(inner), spacing),
        phase_error: None,
    }
}

/// Sunnybrook's pictures as cines of five slices by two phases, against the masks of the left ventricle.
pub fn mask_verdicts(folder: &Path) -> Vec<Verdict> {
    let mut patients: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().map(Result::unwrap) {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "png") && path.to_str().unwrap().contains("/Images/") {
            let name = entry.file_name().to_str().unwrap().split("-IM-").next().unwrap();
            patients.entry(name.to_owned()).or_default().push(path.to_path_buf());
        }
    }
    let settings = PreprocessSettings::default();
    let stack = CohortStack {
        view: "sax".into(),
        kind: "cine".into(),
        rows: 256,
        columns: 256,
        phases: 2,
        phases_expected: 2,
        spacing_mm: Some((PICTURE_PIXEL_MM, PICTURE_PIXEL_MM)),
        ..CohortStack::default()
    };
    let plan = decide::decide(&settings, &[&stack], 1);
    let opener = Opener::new();
    let image = |path: &Path| pixels::read_frames(&opener, path, &[0]).unwrap().remove(0).remove(0);
    let mask = |path: &Path| image(Path::new(&path.to_str().unwrap().replace("/Images/", "/Labels/")));
    let verdict = |(number, paths): (usize, &Vec<PathBuf>)| {
        let images = prepare::StackImages {
            frames: paths.chunks_exact(2).map(|pair| pair.iter().map(|path| vec![image(path)]).collect()).collect(),
            spacing_mm: stack.spacing_mm,
            axes: None,
            positions_mm: Vec::new(),
            known_phases: None,
        };
        let prepared = prepare::prepare_images(&plan, images).unwrap();
        let inside = paths.iter().flat_map(|path| {
            let mask = mask(path);
            let set: Vec<(usize, usize)> = mask.indexed_iter().filter(|(_, v)| **v > 0.0).map(|(at, _)| at).collect();
            set.into_iter().map(|(row, column)| [row as f64, row as f64, column as f64, column as f64])
        });
        let inner = inside.reduce(around).expect("a mask");
        let stack = CohortStack { stack_id: format!("patient {number} by name"), ..stack.clone() };
        real_verdict("real   pictures", &stack, &prepared, settings.crop_mm / 2.0, inner)
    };
    patients.values().enumerate().map(verdict).collect()
}
