//! `inspect`: what is said of the phantom and of real scans, and that it names nobody.

use std::path::Path;

use crate::support;

fn inspect(arguments: &[&str]) -> String {
    let mut all = vec!["inspect"];
    all.extend(arguments);
    let output = support::expect_exit(&mut support::groupdistil(&all), 0);
    String::from_utf8(output.stdout).unwrap()
}

/// Stacks of a folder as (view, kind, slices, phases, complete).
fn stacks(folder: &Path) -> Vec<(String, String, i64, i64, bool)> {
    let text = inspect(&[folder.to_str().unwrap(), "--json"]);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let stack = |stack: &serde_json::Value| {
        let text = |key: &str| stack[key].as_str().unwrap().to_owned();
        let number = |key: &str| stack[key].as_i64().unwrap();
        (text("view"), text("kind"), number("slices"), number("phases"), stack["complete"].as_bool().unwrap())
    };
    value["stacks"].as_array().unwrap().iter().map(stack).collect()
}

fn stack(view: &str, kind: &str, slices: i64, phases: i64, complete: bool) -> (String, String, i64, i64, bool) {
    (view.to_owned(), kind.to_owned(), slices, phases, complete)
}

#[test]
fn the_phantom_is_described_without_names_the_same_every_time_and_nothing_is_written() {
    let temporary = tempfile::tempdir().unwrap();
    let out = temporary.path().to_str().unwrap();
    let arguments = ["phantom", "--preset", "tiny", "--subjects", "8", "--out", out];
    support::expect_exit(&mut support::groupdistil(&arguments), 0);
    let scans = temporary.path().join("scans");
    let files = || walkdir::WalkDir::new(temporary.path()).into_iter().count();
    let before = files();
    let text = inspect(&[scans.to_str().unwrap(), "--all"]);
    assert_eq!(text, inspect(&[scans.to_str().unwrap(), "--all"]), "a random key shows");
    assert_eq!(files(), before);
    for needed in ["sax", "scout", "siemens", "philips", "skipped   duplicate", "vendor=ge"] {
        assert!(text.contains(needed), "{needed} is missing:\n{text}");
    }
    // Folders are named after the patients, and so are names and ids in the files.
    let json = inspect(&[scans.to_str().unwrap(), "--json"]);
    for entry in walkdir::WalkDir::new(&scans).min_depth(2).max_depth(2) {
        let patient = entry.unwrap().file_name().to_str().unwrap().to_owned();
        assert!(!text.contains(&patient) && !json.contains(&patient), "{patient} is on stdout");
    }
    assert!(!text.contains(out) && !json.contains(out), "a path is on stdout");
}

#[test]
fn real_cines_are_as_complete_as_they_are() {
    let test = "real_cines_are_as_complete_as_they_are";
    let Some(folder) = support::real_data(test, "sunnybrook-cine/final_data/dicoms") else { return };
    assert_eq!(stacks(&folder.join("SCD0000301")), [stack("sax", "cine", 3, 20, true)]);
    assert_eq!(stacks(&folder.join("SCD0000101")), [stack("sax", "cine", 9, 2, false)]);
}

#[test]
fn real_scouts_are_no_short_axis_cines() {
    let test = "real_scouts_are_no_short_axis_cines";
    let Some(folder) = support::real_data(test, "sunnybrook-scouts") else { return };
    let found = stacks(&folder);
    assert!(!found.is_empty());
    assert!(found.iter().all(|(view, kind, ..)| view != "sax" && kind == "static"), "{found:?}");
}

#[test]
fn files_with_their_reasons_go_to_stderr_alone() {
    let temporary = tempfile::tempdir().unwrap();
    let out = temporary.path().to_str().unwrap();
    let arguments = ["phantom", "--preset", "tiny", "--subjects", "1", "--out", out];
    support::expect_exit(&mut support::groupdistil(&arguments), 0);
    std::fs::write(temporary.path().join("scans/notes.txt"), "hello").unwrap();
    let scans = temporary.path().join("scans");
    let mut command = support::groupdistil(&["inspect", scans.to_str().unwrap(), "--files"]);
    let output = support::expect_exit(&mut command, 0);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("not-an-image") && stderr.contains("notes.txt"), "{stderr}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("notes.txt"));
}

#[test]
fn an_empty_folder_and_an_unknown_setting_are_told_apart_by_their_exit_code() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().to_str().unwrap();
    let output = support::expect_exit(&mut support::groupdistil(&["inspect", folder]), 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("no file in"));
    let output = support::expect_exit(&mut support::groupdistil(&["inspect", folder, "--set", "colour=red"]), 2);
    assert!(String::from_utf8_lossy(&output.stderr).contains("colour"));
}

/// A NIfTI volume of bytes: voxel (i, j, k) is `value(i, j, k)`; RAS axes along i, j and k.
fn nifti(size: [i16; 3], spacing_mm: [f32; 3], value: impl Fn(usize, usize, usize) -> u8) -> Vec<u8> {
    let mut bytes = vec![0; 352];
    let mut put = |at: usize, what: &[u8]| bytes[at..at + what.len()].copy_from_slice(what);
    put(0, &348_i32.to_le_bytes());
    for (index, side) in [3, size[0], size[1], size[2], 1, 1, 1, 1].iter().enumerate() {
        put(40 + 2 * index, &side.to_le_bytes());
    }
    put(70, &2_i16.to_le_bytes()); // datatype: unsigned bytes
    put(72, &8_i16.to_le_bytes());
    for (index, spacing) in [1.0, spacing_mm[0], spacing_mm[1], spacing_mm[2]].iter().enumerate() {
        put(76 + 4 * index, &spacing.to_le_bytes());
    }
    put(108, &352_f32.to_le_bytes());
    put(123, &[2]); // mm
    put(254, &1_i16.to_le_bytes()); // sform
    for (axis, spacing) in spacing_mm.iter().enumerate() {
        put(280 + 20 * axis, &spacing.to_le_bytes());
    }
    put(344, b"n+1\0");
    let [columns, rows, slices] = size.map(|side| side as usize);
    for k in 0..slices {
        for j in 0..rows {
            bytes.extend((0..columns).map(|i| value(i, j, k)));
        }
    }
    bytes
}

fn write_page(arguments: &[&str], page: &Path) -> String {
    let mut all = arguments.to_vec();
    all.extend(["--html", page.to_str().unwrap()]);
    assert!(inspect(&all).ends_with("page written\n"));
    std::fs::read_to_string(page).unwrap()
}

/// The parts of a page that match, in order.
fn found(page: &str, pattern: &str) -> Vec<String> {
    regex::Regex::new(pattern).unwrap().captures_iter(page).map(|found| found[1].to_owned()).collect()
}

fn pictures(page: &str) -> Vec<image::GrayImage> {
    let decode = |text: String| {
        let bytes = data_encoding::BASE64.decode(text.as_bytes()).unwrap();
        image::load_from_memory(&bytes).unwrap().to_luma8()
    };
    found(page, r#"src="data:image/jpeg;base64,([^"]+)""#).into_iter().map(decode).collect()
}

/// A page without its pictures, whose text may hold anything.
fn without_pictures(page: &str) -> String {
    regex::Regex::new(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+").unwrap().replace_all(page, "PICTURE").into_owned()
}

#[test]
fn the_page_loads_nothing_names_nobody_and_is_the_same_at_any_thread_count() {
    let temporary = tempfile::tempdir().unwrap();
    let out = temporary.path().join("Muster^Max");
    let arguments = ["phantom", "--preset", "tiny", "--subjects", "8", "--out", out.to_str().unwrap()];
    support::expect_exit(&mut support::groupdistil(&arguments), 0);
    let scans = out.join("scans");
    let labels = out.join("labels.csv");
    let arguments = [scans.to_str().unwrap(), "--labels", labels.to_str().unwrap()];
    let pages: Vec<String> = ["1", "4"]
        .iter()
        .map(|threads| {
            let mut all = arguments.to_vec();
            all.extend(["--threads", threads]);
            write_page(&all, &temporary.path().join(format!("page-{threads}.html")))
        })
        .collect();
    assert!(pages[0] == pages[1], "threads or the random key show");
    let text = without_pictures(&pages[0]);
    assert!(text.matches("PICTURE").count() > 20);
    for forbidden in ["http:", "https:", "//", "@import", "url(", "<link", "<iframe", "<object"] {
        assert!(!text.contains(forbidden), "{forbidden} is on the page");
    }
    assert!(
        found(&text, r#"(?:src|href)="([^"]*)""#).iter().all(|target| target == "PICTURE" || target.starts_with('#'))
    );
    assert!(text.contains("script-src 'sha256-") && text.contains("prefers-reduced-motion"));
    // Folders are named after the patients, and so are names and ids in the files.
    let csv = std::fs::read_to_string(&labels).unwrap();
    let patients: Vec<&str> = csv.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(patients.len(), 8);
    for planted in patients.iter().copied().chain(["Muster", "/scans", temporary.path().to_str().unwrap()]) {
        assert!(!text.contains(planted), "{planted} is on the page");
    }
    for needed in
        ["short axis", "scout", "duplicate", "vendor=ge;", "1 position left out", "Subject 8", "the same bytes"]
    {
        assert!(text.contains(needed), "{needed} is missing");
    }
}

/// By hand: RAS axes along i and j are LPS -x and -y: columns run to the right side, rows to the front. 32 x 32 pixels of 1 x 2 mm are
/// twice as high as wide.
#[test]
fn a_known_volume_hangs_and_looks_as_it_is_stored() {
    let temporary = tempfile::tempdir().unwrap();
    let bright = |i: usize, j: usize, k: usize| match (i >= 16, j >= 16, k) {
        (true, true, _) => 200,
        (false, true, 2) => 100,
        _ => 20,
    };
    std::fs::write(temporary.path().join("volume.nii"), nifti([32, 32, 3], [1.0, 2.0, 8.0], bright)).unwrap();
    let page =
        write_page(&[temporary.path().join("volume.nii").to_str().unwrap()], &temporary.path().join("page.html"));
    let letters: Vec<String> = ["l", "r", "t", "b"]
        .iter()
        .flat_map(|side| found(&page, &format!(r#"class="edge {side}">([A-Z]*)<"#)))
        .collect();
    assert_eq!(letters, ["L", "R", "P", "A"]);
    assert_eq!(found(&page, r"run towards <b>([A-Z]*)</b>"), ["H"]);
    let pictures = pictures(&page);
    let sizes: Vec<(u32, u32)> = pictures.iter().map(image::GrayImage::dimensions).collect();
    assert_eq!(sizes, [(112, 224), (40, 72), (40, 72), (40, 72)]);
    let near = |picture: &image::GrayImage, place: (u32, u32), grey: u8| {
        let value = picture.get_pixel(place.0, place.1).0[0];
        assert!(value.abs_diff(grey) < 6, "{value} at {place:?}, expected {grey}");
    };
    // Window: 20 is the lowest, what lies above it mostly 200.
    for (place, grey) in [((20, 40), 0), ((90, 40), 0), ((20, 200), 0), ((90, 200), 255)] {
        near(&pictures[0], place, grey);
    }
    // The last slice alone has grey at the bottom left.
    near(&pictures[1], (6, 60), 0);
    assert!(pictures[3].get_pixel(6, 60).0[0] > 40, "the last slice is not the last");
}

#[test]
fn real_cines_move_and_their_letters_are_those_of_their_geometry() {
    let test = "real_cines_move_and_their_letters_are_those_of_their_geometry";
    let Some(folder) = support::real_data(test, "sunnybrook-cine/final_data/dicoms/SCD0000301") else { return };
    let temporary = tempfile::tempdir().unwrap();
    let page = write_page(&[folder.to_str().unwrap()], &temporary.path().join("page.html"));
    // Row (0.712, 0.701, -0.034), column (-0.308, 0.268, -0.913) by pydicom; row x column = (-0.631, 0.661, 0.406).
    assert_eq!(found(&page, r#"class="edge .">([A-Z]*)<"#), ["RA", "LP", "H", "F"]);
    assert_eq!(found(&page, r"run towards <b>([A-Z]*)</b>"), ["PRH"]);
    assert_eq!(found(&page, r"timing-function:steps\((\d+)\)"), ["20"]);
    assert_eq!(pictures(&page)[0].dimensions(), (224, 20 * 224));
}

#[test]
fn a_stack_whose_pixels_cannot_be_read_is_shown_with_the_reason_and_without_its_path() {
    let temporary = tempfile::tempdir().unwrap();
    let volume = nifti([16, 16, 4], [1.0; 3], |i, j, k| (i * j + k) as u8);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    std::io::Write::write_all(&mut packed, &volume).unwrap();
    // One voxel that the checksum does not fit: nothing tells before all is read.
    let mut damaged = packed.finish().unwrap();
    let voxel = damaged.len() - 100;
    damaged[voxel] ^= 1;
    // In folders of their own: patients of their own.
    for (folder, name, bytes) in [("1", "Muster-Max.nii.gz", damaged), ("2", "good.nii", volume)] {
        std::fs::create_dir(temporary.path().join(folder)).unwrap();
        std::fs::write(temporary.path().join(folder).join(name), bytes).unwrap();
    }
    let target = temporary.path().join("page.html");
    let arguments =
        ["inspect", temporary.path().to_str().unwrap(), "--html", target.to_str().unwrap(), "--exclude", "html$"];
    let output = support::expect_exit(&mut support::groupdistil(&arguments), 0);
    assert!(String::from_utf8_lossy(&output.stderr).contains("Muster-Max.nii.gz"), "stderr does not say which");
    let page = std::fs::read_to_string(target).unwrap();
    assert_eq!(found(&page, r"(No picture\.)").len(), 1);
    let said = r"Its pixels cannot be read \((damaged-archive)\): copy it again\.";
    assert_eq!(found(&page, said).len(), 1, "{:?}", found(&page, "(pixels cannot be read[^<]*)"));
    assert!(!page.contains("Muster") && !page.contains("No picture.</p>"));
    assert_eq!(pictures(&page).len(), 4);
}

#[test]
fn a_page_replaces_a_page_and_another_file_only_when_forced() {
    let temporary = tempfile::tempdir().unwrap();
    let scan = temporary.path().join("volume.nii");
    std::fs::write(&scan, nifti([8, 8, 1], [1.0; 3], |i, _, _| i as u8)).unwrap();
    let target = temporary.path().join("new/page.html");
    let first = write_page(&[scan.to_str().unwrap()], &target);
    assert_eq!(write_page(&[scan.to_str().unwrap()], &target), first);
    std::fs::write(&target, "<!DOCTYPE html><title>my thesis</title>").unwrap();
    let arguments = ["inspect", scan.to_str().unwrap(), "--html", target.to_str().unwrap()];
    let output = support::expect_exit(&mut support::groupdistil(&arguments), 2);
    assert!(String::from_utf8_lossy(&output.stderr).contains("--force"));
    assert!(std::fs::read_to_string(&target).unwrap().contains("my thesis"));
    assert_eq!(write_page(&[scan.to_str().unwrap(), "--force"], &target), first);
    let folder = ["inspect", scan.to_str().unwrap(), "--html", temporary.path().to_str().unwrap()];
    let output = support::expect_exit(&mut support::groupdistil(&folder), 2);
    assert!(String::from_utf8_lossy(&output.stderr).contains("is a folder"));
}

#[test]
fn the_tree_hangs_stacks_on_studies_and_studies_on_subjects() {
    let test = "the_tree_hangs_stacks_on_studies_and_studies_on_subjects";
    let Some(folder) = support::real_data(test, "sunnybrook-cine/final_data/dicoms") else { return };
    let text = inspect(&[folder.to_str().unwrap(), "--tree"]);
    let expected = "subject 2\n└─ study 1, ge, SIGNA HDx, 1.5 T\n   └─ sax cine, 3 x 20, complete\nsubject 3\n";
    assert!(text.contains(expected), "{text}");
}
