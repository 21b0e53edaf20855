//! Pictures become stacks by pattern, Waterbirds table or label table; the whole of ingest runs.

use std::io::Cursor;

use image::{GrayImage, ImageFormat};

use super::*;
use crate::context::{Interrupt, Silent};
use crate::formats::cohort::StackRow;
use crate::fsx;
use crate::ingest::{Scan, scan};
use crate::settings::ingest::{ImagesWire, IngestWire, LabelsWire};

/// Writes pictures of these paths (4 columns, 2 rows) and a text file.
fn source(pictures: &[&str], texts: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fsx::create_folder(path.parent().unwrap()).unwrap();
        fsx::write_atomic(&path, bytes).unwrap();
    };
    for (value, name) in (1_u8..).zip(pictures) {
        let mut bytes = Vec::new();
        let picture = GrayImage::from_pixel(4, 2, image::Luma([value]));
        picture.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
        write(name, &bytes);
    }
    texts.iter().for_each(|(name, text)| write(name, text.as_bytes()));
    folder
}

fn scanned(folder: &Path, wire: IngestWire) -> Scan {
    let settings = IngestSettings::from_wire(wire, folder).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let interrupt = Interrupt::default();
    let context = Context { observer: &Silent, interrupt: &interrupt, pool: &pool };
    scan(&settings, &[folder.to_path_buf()], b"0123456789abcdef", context).unwrap()
}

fn pattern(pattern: &str, phases_per_slice: Option<u32>, sparse: bool) -> IngestWire {
    let images = ImagesWire { pattern: pattern.to_owned(), phases_per_slice, sparse };
    IngestWire { images: Some(images), ..IngestWire::default() }
}

/// File name, slice and phase of every frame, by slice and phase.
fn frames(scan: &Scan) -> Vec<(String, i32, i32)> {
    let name = |path: &str| Path::new(path).file_name().unwrap().to_str().unwrap().to_owned();
    scan.frames.iter().map(|frame| (name(&frame.path), frame.slice, frame.phase)).collect()
}

fn named(expected: &[(&str, i32, i32)]) -> Vec<(String, i32, i32)> {
    expected.iter().map(|(name, slice, phase)| ((*name).to_owned(), *slice, *phase)).collect()
}

fn only(scan: &Scan) -> &StackRow {
    assert_eq!(scan.stacks.len(), 1);
    &scan.stacks[0]
}

#[test]
fn named_slices_and_phases_make_a_cine_of_the_subject() {
    let folder = source(&["a/s10_p2.png", "a/s10_p1.png", "a/s9_p1.png", "a/s9_p2.png"], &[]);
    let scan = scanned(folder.path(), pattern(r"^(?P<subject>\w+)/s(?P<slice>\d+)_p(?P<phase>\d+)", None, false));
    let stack = only(&scan);
    assert_eq!((stack.slices, stack.phases, stack.kind.as_str(), stack.view.as_str()), (2, 2, "cine", "other"));
    assert_eq!((stack.rows, stack.columns, stack.source_format.as_str(), stack.complete), (2, 4, "image", true));
    assert_eq!((stack.axes, stack.pixel_spacing_row_mm), (None, None));
    // 9 before 10: numbers, not texts.
    let expected = [("s9_p1.png", 0, 0), ("s9_p2.png", 0, 1), ("s10_p1.png", 1, 0), ("s10_p2.png", 1, 1)];
    assert_eq!(frames(&scan), named(&expected));
}

#[test]
fn a_running_number_is_counted_off_or_divided() {
    let names = ["x-007.png", "x-020.png", "x-027.png", "x-040.png"];
    let folder = source(&names, &[]);
    let order = r"(?P<subject>\w)-(?P<order>\d+)";
    let counted = scanned(folder.path(), pattern(order, Some(2), false));
    let expected = named(&[("x-007.png", 0, 0), ("x-020.png", 0, 1), ("x-027.png", 1, 0), ("x-040.png", 1, 1)]);
    assert_eq!(frames(&counted), expected);
    let sparse = scanned(folder.path(), pattern(order, Some(20), true));
    assert_eq!(frames(&sparse), expected);
    // With a lone frame in front, counting off would pair frames of different slices.
    let folder = source(&["x-007.png", "x-027.png", "x-040.png", "x-047.png", "x-060.png"], &[]);
    let sparse = scanned(folder.path(), pattern(order, Some(20), true));
    let expected = [("x-027.png", 0, 0), ("x-040.png", 0, 1), ("x-047.png", 1, 0), ("x-060.png", 1, 1)];
    assert_eq!(frames(&sparse), named(&expected));
    assert_eq!((only(&sparse).positions_incomplete, only(&sparse).complete), (1, false));
    let lone = sparse.ledger.iter().find(|row| row.path.ends_with("x-007.png")).unwrap();
    assert_eq!(lone.reason, "incomplete-position");
}

#[test]
fn a_label_in_the_name_is_the_label_and_masks_are_excluded() {
    let folder = source(&["images/DCM-1_a.png", "images/NOR-2_a.png", "masks/DCM-1_a.png"], &[]);
    let mut wire = pattern(r"(?P<subject>(?P<label>[A-Z]+)-\d+)_", None, false);
    wire.exclude = vec!["^masks/".to_owned()];
    wire.group_by = Some(vec!["label".to_owned()]);
    let scan = scanned(folder.path(), wire);
    let mut labels: Vec<&str> = scan.stacks.iter().map(|stack| stack.label.as_deref().unwrap()).collect();
    labels.sort_unstable();
    assert_eq!(labels, ["DCM", "NOR"]);
    assert_eq!(scan.counts.reasons["skipped excluded"], 1);
}

#[test]
fn pictures_that_contradict_the_pattern_or_are_broken_have_reasons() {
    let folder = source(&["a/1.png", "a/01.png", "a/x.png", "b.png"], &[("a/2.png", "\u{89}PNG no png")]);
    fsx::write_atomic(&folder.path().join("a/3.png"), b"\x89PNG\r\n\x1a\n broken").unwrap();
    let scan = scanned(folder.path(), pattern(r"^(?P<subject>\w+)/(?P<order>\w+)\.png$", Some(1), false));
    let reason = |name: &str| {
        let row = scan.ledger.iter().find(|row| row.path.ends_with(name)).unwrap();
        (row.outcome.as_str(), row.reason.as_str())
    };
    assert_eq!(reason("a/01.png"), ("used", "image"));
    assert_eq!(reason("a/1.png"), ("rejected", "ambiguous-picture"));
    assert_eq!(reason("a/x.png"), ("rejected", "malformed"));
    assert_eq!(reason("a/3.png"), ("rejected", "malformed"));
    assert_eq!(reason("/b.png"), ("skipped", "unmapped-picture"));
    assert!(scan.ledger.iter().all(|row| !row.message.contains(folder.path().to_str().unwrap())));
}

/// The header and codes of Waterbirds' own metadata.csv.
#[test]
fn the_waterbirds_table_gives_label_place_and_split() {
    let table = "img_id,img_filename,y,split,place,place_filename\n\
                 1,001.Black/a.png,0,0,0,/b/x.jpg\n2,001.Black/b.png,1,1,0,/b/y.jpg\n3,002.Gull/c.png,1,2,1,/o/z.jpg\n";
    let folder =
        source(&["001.Black/a.png", "001.Black/b.png", "002.Gull/c.png", "stray.png"], &[("metadata.csv", table)]);
    let wire =
        IngestWire { group_by: Some(vec!["label".to_owned(), "attr_place".to_owned()]), ..IngestWire::default() };
    let scan = scanned(folder.path(), wire);
    let mut rows: Vec<(&str, &str, &str)> = scan
        .stacks
        .iter()
        .map(|stack| (stack.group.as_str(), stack.source_split.as_deref().unwrap(), stack.kind.as_str()))
        .collect();
    rows.sort_unstable();
    let expected = [
        ("label=0;place=0", "train", "static"),
        ("label=1;place=0", "val", "static"),
        ("label=1;place=1", "test", "static"),
    ];
    assert_eq!(rows, expected);
    assert_eq!(scan.counts.subjects, 3);
    assert!(scan.stacks.iter().all(|stack| stack.attributes.keys().eq(["place"])));
    assert_eq!((scan.counts.reasons["used sidecar"], scan.counts.reasons["skipped unmapped-picture"]), (1, 1));
}

#[test]
fn a_label_table_with_files_is_enough() {
    let table = "file,label,patient_id\nimages/a.png,DCM,7\nimages/b.png,NOR,8\nimages/c.png,NOR,8\n";
    let folder = source(&["images/a.png", "images/b.png", "images/c.png", "other.png"], &[("labels.csv", table)]);
    let labels = LabelsWire { file: "labels.csv".into(), ..LabelsWire::default() };
    let wire = IngestWire { labels: vec![labels], group_by: Some(vec!["label".to_owned()]), ..IngestWire::default() };
    let scan = scanned(folder.path(), wire);
    assert_eq!((scan.counts.subjects, scan.counts.stacks, scan.counts.labelled_stacks), (2, 3, 3));
    assert_eq!(scan.counts.reasons["skipped unmapped-picture"], 1);
}

#[test]
fn pictures_of_one_stack_with_two_labels_are_unlabelled() {
    let table = "file,label\na_1.png,DCM\na_2.png,HCM\nb_2.png,NOR\n";
    let folder = source(&["a_1.png", "a_2.png", "b_1.png", "b_2.png"], &[("labels.csv", table)]);
    let labels = LabelsWire { file: "labels.csv".into(), ..LabelsWire::default() };
    let wire = IngestWire { labels: vec![labels], ..pattern(r"^(?P<subject>\w)_(?P<slice>\d)", None, false) };
    let scan = scanned(folder.path(), wire);
    let labels: Vec<Option<&str>> = scan.stacks.iter().map(|stack| stack.label.as_deref()).collect();
    assert!(labels.len() == 2 && labels.contains(&None) && labels.contains(&Some("NOR")), "{labels:?}");
    let problems: Vec<(usize, &str)> = scan.label_problems.iter().map(|one| (one.line, one.problem)).collect();
    assert_eq!(problems, [(2, "contradiction"), (3, "contradiction")]);
}
