//! Real pictures as a cohort: the Sunnybrook slices by the settings of their pipeline.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use groupdistil::formats::table::Table;

use crate::support;

/// `[ingest]` of the pipeline as a configuration file of `ingest`, with its table found from anywhere, and with the running number of the
/// images divided into slices of 20 phases where `sparse`.
fn settings(folder: &Path, sparse: bool) -> PathBuf {
    let text = std::fs::read_to_string(support::project().join("pipelines/sunnybrook.toml")).unwrap();
    let pipeline: toml::Table = toml::from_str(&text).unwrap();
    let mut ingest = pipeline["ingest"].as_table().unwrap().clone();
    for table in ingest["labels"].as_array_mut().unwrap() {
        let table = table.as_table_mut().unwrap();
        let file = support::project().join("pipelines").join(table["file"].as_str().unwrap());
        table.insert("file".into(), file.to_str().unwrap().into());
    }
    if sparse {
        let images = ingest["images"].as_table_mut().unwrap();
        images.insert("phases_per_slice".into(), 20.into());
        images.insert("sparse".into(), true.into());
    }
    let path = folder.join("ingest.toml");
    std::fs::write(&path, toml::to_string(&ingest).unwrap()).unwrap();
    path
}

/// `SC-N-02` and 48 of `.../SC-N-02-IM-0001-0048.dcm.png`.
fn parse(path: &str) -> (String, u32) {
    let name = Path::new(path).file_name().unwrap().to_str().unwrap();
    let (patient, rest) = name.split_once("-IM-0001-").unwrap();
    (patient.to_owned(), rest.strip_suffix(".dcm.png").unwrap().parse().unwrap())
}

/// Ingests the pictures into a cohort; `None` where they are not there.
fn ingest(test: &str, folder: &Path, sparse: bool) -> Option<PathBuf> {
    let slices = support::real_data(test, "sunnybrook-slices")?;
    let key = folder.join("key");
    std::fs::write(&key, [7; 32]).unwrap();
    let (config, cohort) = (settings(folder, sparse), folder.join("cohort"));
    let [slices, config, key, out] = [&slices, &config, &key, &cohort].map(|path| path.to_str().unwrap());
    let words = ["ingest", slices, "--config", config, "--key", key, "--out", out];
    support::expect_exit(&mut support::groupdistil(&words), 0);
    Some(cohort)
}

fn ledger_reasons(cohort: &Path) -> BTreeMap<String, usize> {
    let ledger = Table::read_parquet(&cohort.join("ledger.parquet")).unwrap();
    let mut counts = BTreeMap::new();
    ledger.required_text("reason").unwrap().into_iter().for_each(|reason| *counts.entry(reason).or_default() += 1);
    counts
}

fn counts(expected: &[(&str, usize)]) -> BTreeMap<String, usize> {
    expected.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect()
}

#[test]
fn sunnybrook_pictures_are_45_patients_and_every_image_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let test = "sunnybrook_pictures_are_45_patients_and_every_image_is_used";
    let Some(cohort) = ingest(test, folder.path(), false) else { return };
    let stacks = Table::read_parquet(&cohort.join("stacks.parquet")).unwrap();
    let subjects: BTreeSet<String> = stacks.required_text("subject_id").unwrap().into_iter().collect();
    assert_eq!((stacks.rows(), subjects.len()), (45, 45));
    let count = |column: &str| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for value in stacks.text(column).unwrap() {
            *counts.entry(value.clone().unwrap_or_else(|| "unknown".to_owned())).or_default() += 1;
        }
        counts.into_iter().map(|(value, count)| format!("{value} {count}")).collect::<Vec<_>>().join(", ")
    };
    // Counted in the file names and in sunnybrook-patients.csv, which lacks two patients.
    assert_eq!(count("label"), "HF-I 12, HF-NI 12, HYP 12, N 9");
    assert_eq!(count("software"), "14.0_M4_0629.a 21, 14.0_M5_0737.f 22, unknown 2");
    assert_eq!(stacks.text("sex").unwrap().iter().flatten().count(), 43);
    assert_eq!(stacks.float64("age_years").unwrap().iter().flatten().count(), 43);
    assert!(stacks.int32("slices").unwrap().iter().all(|slices| *slices == Some(10)));
    assert_eq!(ledger_reasons(&cohort), counts(&[("excluded", 450), ("image", 450), ("not-an-image", 1)]));
}

#[test]
fn the_running_number_of_sunnybrook_pictures_tells_their_slices() {
    let folder = tempfile::tempdir().unwrap();
    let test = "the_running_number_of_sunnybrook_pictures_tells_their_slices";
    let Some(cohort) = ingest(test, folder.path(), true) else { return };
    // 10 images a patient; 20 patients have their first and last image alone in their slice (20 phases a slice).
    let frames = Table::read_parquet(&cohort.join("frames.parquet")).unwrap();
    assert_eq!(frames.rows(), 45 * 10 - 20 * 2);
    let mut blocks: BTreeMap<(String, i32), BTreeSet<(String, u32)>> = BTreeMap::new();
    for row in 0..frames.rows() {
        let (patient, number) = parse(frames.text("path").unwrap()[row].as_deref().unwrap());
        let stack = frames.text("stack_id").unwrap()[row].clone().unwrap();
        let slice = frames.int32("slice").unwrap()[row].unwrap();
        blocks.entry((stack, slice)).or_default().insert((patient, (number - 1) / 20));
    }
    assert!(blocks.values().all(|block| block.len() == 1), "a slice holds images of two slices");
    assert_eq!(blocks.len(), 205);

    let expected = [("excluded", 450), ("image", 410), ("incomplete-position", 40), ("not-an-image", 1)];
    assert_eq!(ledger_reasons(&cohort), counts(&expected));
}
