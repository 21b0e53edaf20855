//! The pipelines for public collections, each run whole on a miniature of the collection's own layout: its tables, folders and published
//! splits are understood, and every setting is one that training takes.
#![cfg(feature = "torch")]

use std::path::Path;

use crate::ingest::{json, table, text};
use crate::layouts::{volume, write};
use crate::support::{expect_exit, groupdistil, project};

/// Runs a pipeline on `source`, trained for an epoch.
fn run(pipeline: &str, source: &Path, out: &Path) -> String {
    let pipeline = project().join("pipelines").join(pipeline);
    let mut arguments = vec!["run", text(&pipeline), "--source", text(source), "--out", text(out)];
    let short = [
        "teacher.arch=\"compact-resnet\"",
        "teacher.epochs=1",
        "student.arch=\"compact-resnet\"",
        "student.epochs=1",
        "audit.replicates=200",
        "preprocess.max_image_size=32",
    ];
    short.iter().for_each(|setting| arguments.extend(["--set", setting]));
    String::from_utf8(expect_exit(&mut groupdistil(&arguments), 0).stdout).unwrap()
}

/// `group split` of every subject of a dataset, each once, sorted.
fn places(out: &Path) -> Vec<String> {
    let samples = table(&out.join("dataset"), "samples.parquet");
    let column = |name: &str| samples.names().position(|found| found == name).unwrap();
    let (subject, group, split) = (column("subject_id"), column("group"), column("split"));
    let mut told: Vec<(String, String)> = (0..samples.rows())
        .map(|row| (samples.cell(subject, row), format!("{} {}", samples.cell(group, row), samples.cell(split, row))))
        .collect();
    told.sort();
    told.dedup();
    let mut places: Vec<String> = told.into_iter().map(|(_, place)| place).collect();
    places.sort();
    places
}

fn count(places: &[String], wanted: &str) -> usize {
    places.iter().filter(|place| *place == wanted).count()
}

#[test]
fn acdc_runs_on_its_folders() {
    let temporary = tempfile::tempdir().unwrap();
    let source = temporary.path().join("database");
    let diagnoses = ["NOR", "MINF", "DCM", "HCM", "RV"];
    for index in 0..40 {
        let (folder, diagnosis) = (if index < 25 { "training" } else { "testing" }, diagnoses[index % 5]);
        let patient = format!("patient{index:03}");
        let at = |name: &str| source.join(folder).join(&patient).join(name);
        volume(&at(&format!("{patient}_4d.nii.gz")), 3, 6);
        volume(&at(&format!("{patient}_frame01.nii.gz")), 3, 1);
        volume(&at(&format!("{patient}_frame01_gt.nii.gz")), 3, 1);
        write(&at("Info.cfg"), &format!("ED: 1\nES: 4\nGroup: {diagnosis}\nNbFrame: 6\n"));
    }
    let out = temporary.path().join("out");
    let printed = run("acdc.toml", &source, &out);
    assert!(printed.contains("group-dro") && printed.contains("audit.html"), "{printed}");
    // Of five training patients of each diagnosis one validates; the published test patients are all tested.
    let places = places(&out);
    for diagnosis in diagnoses {
        let of = |split: &str| count(&places, &format!("label={diagnosis} {split}"));
        assert_eq!((of("train"), of("val"), of("test")), (4, 1, 3), "{diagnosis}");
    }
    assert_eq!(json(&out.join("dataset/plan.json"))["cardiac_phases"]["end_systole"], "attr_es_phase");
}

#[test]
fn mnms_runs_on_its_folders_with_a_scanner_that_is_never_trained_on() {
    let temporary = tempfile::tempdir().unwrap();
    let source = temporary.path().join("OpenDataset");
    let mut information = ",External code,VendorName,Vendor,Centre,ED,ES,Age,Pathology,Sex\n".to_owned();
    let vendors = [("Siemens", "A", 1), ("Philips", "B", 2), ("GE", "C", 4), ("Canon", "D", 5)];
    let mut index = 0;
    for (folder, subfolder) in [("Training", "Labeled/"), ("Validation", ""), ("Testing", "")] {
        for (vendor, code, centre) in vendors {
            if vendor == "Canon" && folder == "Training" {
                continue;
            }
            for pathology in ["DCM", "HCM", "NOR", "Other"] {
                let id = format!("A{index}S{index}V9");
                volume(&source.join(format!("{folder}/{subfolder}{id}/{id}_sa.nii.gz")), 3, 5);
                volume(&source.join(format!("{folder}/{subfolder}{id}/{id}_sa_gt.nii.gz")), 3, 5);
                information += &format!("{index},{id},{vendor},{code},{centre},0,3,55,{pathology},F\n");
                index += 1;
            }
        }
    }
    write(&source.join("211230_M&Ms_Dataset_information_diagnosis_opendataset.csv"), &information);
    let out = temporary.path().join("out");
    run("mnms.toml", &source, &out);
    let places = places(&out);
    for vendor in ["siemens", "philips", "ge"] {
        for split in ["train", "val", "test"] {
            assert_eq!(count(&places, &format!("vendor={vendor} {split}")), 3, "{vendor} {split}");
        }
    }
    let canon: Vec<&String> = places.iter().filter(|place| place.contains("canon")).collect();
    assert_eq!(canon, ["vendor=canon test"; 6].iter().collect::<Vec<_>>(), "unseen until it is tested");
}

#[test]
fn waterbirds_run_on_their_table() {
    let temporary = tempfile::tempdir().unwrap();
    let source = temporary.path().join("waterbird_complete95_forest2water2");
    let mut listed = "img_id,img_filename,y,split,place,place_filename\n".to_owned();
    let mut index = 0_u8;
    for split in 0..3 {
        for (label, place) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            for _ in 0..3 {
                let name = format!("00{label}.Bird/{index}.jpg");
                let picture = image::RgbImage::from_fn(20, 16, |x, y| {
                    image::Rgb([index * 5, if place == 0 { 200 } else { 20 }, (x * y % 255) as u8])
                });
                let path = source.join(&name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                picture.save(path).unwrap();
                listed += &format!("{index},{name},{label},{split},{place},/b/x.jpg\n");
                index += 1;
            }
        }
    }
    write(&source.join("metadata.csv"), &listed);
    let out = temporary.path().join("out");
    run("waterbirds.toml", &source, &out);
    let places = places(&out);
    for (label, place) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        for split in ["train", "val", "test"] {
            assert_eq!(count(&places, &format!("label={label};place={place} {split}")), 3);
        }
    }
    assert_eq!(json(&out.join("dataset/dataset.json"))["image"]["channels"], 3);
}
