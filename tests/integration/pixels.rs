//! Pixels as pydicom, nibabel and Pillow read them: the same numbers from the phantom's and from real files.

use std::path::{Path, PathBuf};

use groupdistil::ingest::Opener;
use groupdistil::ingest::pixels::{self, Channels, PixelsError};

use crate::support;

/// Pixels of one file by the reference, `None` where it has no decoder.
type Reference = Option<([usize; 4], Vec<f32>)>;

fn read_frames(path: &Path, frames: &[i32]) -> Result<Vec<Channels>, PixelsError> {
    pixels::read_frames(&Opener::new(), path, frames)
}

/// Files below `folder` that `wanted` accepts, sorted.
fn files(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().map(Result::unwrap);
    let mut found: Vec<PathBuf> =
        entries.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path).collect();
    found.retain(|path| wanted(path));
    assert!(!found.is_empty(), "no file in {}", folder.display());
    found
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    endings.iter().any(|ending| path.to_str().unwrap().to_lowercase().ends_with(ending))
}

/// The reference's pixels; `None` is a skip.
fn reference(test: &str, files: &[PathBuf]) -> Option<Vec<Reference>> {
    let out = tempfile::tempdir().unwrap();
    let mut arguments = vec![out.path().to_str().unwrap()];
    arguments.extend(files.iter().map(|path| path.to_str().unwrap()));
    support::run_python(test, "pixels_reference.py", &arguments)?;
    let index = std::fs::read(out.path().join("index.json")).unwrap();
    let shapes: Vec<Option<[usize; 4]>> = serde_json::from_slice(&index).unwrap();
    let load = |(number, shape): (usize, Option<[usize; 4]>)| {
        let bytes = std::fs::read(out.path().join(format!("{number}.f32")));
        shape.map(|shape| {
            let values = bytes.unwrap().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            (shape, values)
        })
    };
    Some(shapes.into_iter().enumerate().map(load).collect())
}

/// All frames of a file, flat as the reference writes them.
fn ours(path: &Path, [frames, channels, rows, columns]: [usize; 4]) -> Vec<f32> {
    let numbers: Vec<i32> = (0..i32::try_from(frames).unwrap()).collect();
    let read = read_frames(path, &numbers).unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
    assert_eq!(read.len(), frames);
    for frame in &read {
        assert_eq!(frame.len(), channels, "{}", path.display());
        assert!(frame.iter().all(|channel| channel.dim() == (rows, columns)), "{}", path.display());
    }
    read.iter().flatten().flat_map(|channel| channel.iter().copied()).collect()
}

/// Largest absolute difference; NaN equals NaN.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let one = |(a, b): (&f32, &f32)| if a.is_nan() && b.is_nan() { 0.0 } else { (a - b).abs() };
    a.iter().zip(b).map(one).fold(0.0, |worst, next| if next <= worst { worst } else { next })
}

#[track_caller]
fn assert_equal(path: &Path, (shape, expected): &([usize; 4], Vec<f32>), tolerance: f32) {
    let worst = difference(&ours(path, *shape), expected);
    assert!(worst <= tolerance, "{}: pixels differ by {worst}", path.display());
}

#[test]
fn phantom_pixels_are_those_of_pydicom_and_nibabel() {
    let test = "phantom_pixels_are_those_of_pydicom_and_nibabel";
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let arguments = ["phantom", "--preset", "tiny", "--subjects", "12", "--out", out];
    support::expect_exit(&mut support::groupdistil(&arguments), 0);
    let scans = folder.path().join("scans");
    let all = files(&scans, |path| !has_ending(path, &[".txt", ".csv"]));
    // Every enhanced object and volume, and a part of the single frames.
    let is_multi = |path: &Path| has_ending(path, &[".nii.gz"]) || path.to_str().unwrap().contains("phantom-south");
    let every_seventh = all.iter().enumerate().filter(|(number, path)| number % 7 == 0 || is_multi(path));
    let chosen: Vec<PathBuf> = every_seventh.map(|(_, path)| path.clone()).collect();
    let Some(expected) = reference(test, &chosen) else { return };
    let (mut enhanced, mut volumes) = (0, 0);
    for (path, expected) in chosen.iter().zip(expected) {
        let expected = expected.unwrap_or_else(|| panic!("pydicom cannot read {}", path.display()));
        enhanced += usize::from(expected.0[0] > 1 && !has_ending(path, &[".nii.gz"]));
        volumes += usize::from(has_ending(path, &[".nii.gz"]));
        assert_equal(path, &expected, 0.0);
    }
    assert!(enhanced > 0 && volumes > 0, "{enhanced} enhanced objects and {volumes} volumes among {}", chosen.len());
}

#[test]
fn real_cine_frames_are_those_of_pydicom() {
    let test = "real_cine_frames_are_those_of_pydicom";
    let Some(folder) = support::real_data(test, "sunnybrook-cine/final_data/dicoms") else { return };
    let all = files(&folder, |path| has_ending(path, &[".dcm"]));
    let Some(expected) = reference(test, &all) else { return };
    assert!(all.len() > 60);
    for (path, expected) in all.iter().zip(expected) {
        assert_equal(path, &expected.unwrap(), 0.0);
    }
}

#[test]
fn vendors_native_files_are_those_of_pydicom() {
    let test = "vendors_native_files_are_those_of_pydicom";
    let Some(folder) = support::real_data(test, "vendors") else { return };
    let all = files(&folder, |path| {
        has_ending(path, &[".dcm"])
            && ["uih", "toshiba", "ge-siemens"].iter().any(|one| path.to_str().unwrap().contains(one))
    });
    let Some(expected) = reference(test, &all) else { return };
    for (path, expected) in all.iter().zip(expected) {
        assert_equal(path, &expected.unwrap(), 0.0);
    }
}

#[test]
fn an_enhanced_object_has_the_same_frames_in_every_transfer_syntax() {
    let test = "an_enhanced_object_has_the_same_frames_in_every_transfer_syntax";
    let Some(folder) = support::real_data(test, "vendors/enhanced-emri/data_store/data") else { return };
    let plain = folder.join("emri_small.dcm");
    let Some(expected) = reference(test, std::slice::from_ref(&plain)) else { return };
    let expected = expected.into_iter().next().unwrap().unwrap();
    assert_eq!(expected.0, [10, 1, 64, 64]);
    for name in [
        "emri_small.dcm",
        "emri_small_big_endian.dcm",
        "emri_small_RLE.dcm",
        "emri_small_jpeg_2k_lossless.dcm",
        "emri_small_jpeg_ls_lossless.dcm",
    ] {
        assert_equal(&folder.join(name), &expected, 0.0);
    }
    // The last fragment is cut: its frame is refused or differs, and nothing panics.
    let short = read_frames(&folder.join("emri_small_jpeg_2k_lossless_too_short.dcm"), &[0]);
    assert!(short.is_ok() || matches!(short, Err(PixelsError::Dicom { .. } | PixelsError::Panicked { .. })));
}

#[test]
fn nema_samples_are_their_uncompressed_reference() {
    let test = "nema_samples_are_their_uncompressed_reference";
    let Some(folder) = support::real_data(test, "vendors/nema-wg04/data/WG04") else { return };
    for name in ["MR1", "MR3", "MR4"] {
        // The lossless JPEG as pydicom decodes it is the reference that the zstd file must equal.
        let plain = folder.join(format!("JPLL/{name}_JPLL"));
        let Some(expected) = reference(test, std::slice::from_ref(&plain)) else { return };
        let expected = expected.into_iter().next().unwrap().unwrap();
        assert_equal(&folder.join(format!("REF/{name}_UNC.zst")), &expected, 0.0);
        let file = |syntax: &str| folder.join(format!("{syntax}/{name}_{syntax}"));
        for lossless in ["RLE", "JPLL", "J2KR", "JLSL"] {
            assert_equal(&file(lossless), &expected, 0.0);
        }
        // The lossy ones as OpenJPEG, CharLS and GDCM decode them; only JPEG-LS promises the same numbers. MR4's slope is 2.73.
        for (lossy, tolerance) in [("J2KI", 1.0), ("JLSN", 0.0), ("JPLY", if name == "MR4" { 2.74 } else { 1.0 })] {
            let Some(decoded) = reference(test, &[file(lossy)]) else { return };
            assert_equal(&file(lossy), &decoded.into_iter().next().unwrap().unwrap(), tolerance);
        }
    }
}

#[test]
fn nifti_volumes_are_those_of_nibabel_or_refused() {
    let test = "nifti_volumes_are_those_of_nibabel_or_refused";
    let Some(folder) = support::real_data(test, "nifti/nifti-rs/resources") else { return };
    let endings = [".nii", ".nii.gz", ".hdr", ".hdr.gz"];
    let left_out = ["fuzz", "avg152T1_LR_nifti.hdr.gz"];
    let all = files(&folder, |path| {
        has_ending(path, &endings) && !left_out.iter().any(|part| path.to_str().unwrap().contains(part))
    });
    let Some(expected) = reference(test, &all) else { return };
    let mut compared = 0;
    for (path, expected) in all.iter().zip(expected) {
        let name = path.to_str().unwrap();
        if ["/complex/", "/rgb/", "/rgba/"].iter().any(|part| name.contains(part)) {
            assert!(matches!(read_frames(path, &[0]), Err(PixelsError::Nifti { .. })), "{name}");
        } else if name.ends_with("minimal2.hdr") {
            // A pair of which only one half is compressed: not nibabel's, but its twin holds the same.
            assert_eq!(read_frames(path, &[0]).unwrap(), read_frames(&folder.join("minimal.hdr"), &[0]).unwrap());
        } else {
            assert_equal(path, &expected.unwrap(), 0.0);
            compared += 1;
        }
    }
    let half = read_frames(&folder.join("avg152T1_LR_nifti.hdr.gz"), &[0]).unwrap_err();
    assert!(std::error::Error::source(&half).unwrap().to_string().contains(".img file"), "{half:?}");
    assert!(compared >= 16, "only {compared} volumes were compared");
    for path in files(&folder.join("fuzz_artifacts"), |_| true) {
        // Whatever the reader says, it says it without a panic of its own.
        let _ = read_frames(&path, &[0, i32::MAX, -1]);
    }
}

/// Both versions and byte orders, pairs, packed, 5-d, sform, qform and neither: voxels and geometry as nibabel has them.
#[test]
fn nifti_files_of_every_kind_are_those_of_nibabel() {
    let test = "nifti_files_of_every_kind_are_those_of_nibabel";
    let temporary = tempfile::tempdir().unwrap();
    let Some(_) = support::run_python(test, "nifti_files.py", &[temporary.path().to_str().unwrap()]) else { return };
    let scans = temporary.path().join("scans");
    let all = files(&scans, |path| has_ending(path, &[".nii", ".nii.gz", ".hdr"]));
    let expected = reference(test, &all).unwrap();
    for (path, expected) in all.iter().zip(expected) {
        assert_equal(path, &expected.unwrap(), 0.0);
    }
    assert_eq!(all.len(), 10);
    let cohort = temporary.path().join("cohort");
    crate::ingest::ingest(&scans, &cohort, &[]);
    let truth = crate::ingest::json(&temporary.path().join("truth.json"));
    let stacks = crate::ingest::table(&cohort, "stacks.parquet");
    let frames = crate::ingest::table(&cohort, "frames.parquet");
    let ids = stacks.required_text("stack_id").unwrap();
    let (of, paths) = (frames.required_text("stack_id").unwrap(), frames.required_text("path").unwrap());
    let number = |table: &groupdistil::formats::table::Table, name: &str, row: usize| -> f64 {
        let place = table.names().position(|found| found == name).unwrap();
        table.cell(place, row).parse().unwrap()
    };
    for (row, id) in ids.iter().enumerate() {
        // Slices ascend along row x column: the first frame is the volume's first or last slice.
        let first = of.iter().position(|stack| stack == id).unwrap();
        let name = Path::new(&paths[first]).file_name().unwrap().to_str().unwrap();
        let truth = &truth[name];
        let near = |found: f64, expected: &serde_json::Value| {
            let expected = expected.as_f64().unwrap();
            assert!((found - expected).abs() < 1e-4 * expected.abs().max(1.0), "{name}: {found}, expected {expected}");
        };
        for (axis, letter) in ["x", "y", "z"].iter().enumerate() {
            near(number(&stacks, &format!("row_{letter}"), row), &truth["row"][axis]);
            near(number(&stacks, &format!("column_{letter}"), row), &truth["column"][axis]);
            let value = |name: &str| truth[name][axis].as_f64().unwrap();
            let place = number(&frames, &format!("position_{letter}_mm"), first);
            let ends = [value("position"), value("position") + 2.0 * value("step")];
            assert!(ends.iter().any(|end| (end - place).abs() < 1e-3), "{name}: {place} is neither of {ends:?}");
        }
        near(number(&stacks, "pixel_spacing_row_mm", row), &truth["spacing_row"]);
        near(number(&stacks, "pixel_spacing_column_mm", row), &truth["spacing_column"]);
    }
    assert_eq!(ids.len(), 10);
}

#[test]
fn real_pictures_are_those_of_pillow() {
    let test = "real_pictures_are_those_of_pillow";
    let Some(folder) = support::real_data(test, "sunnybrook-slices/Test/Images") else { return };
    let all: Vec<PathBuf> = files(&folder, |path| has_ending(path, &[".png"])).into_iter().step_by(10).collect();
    let Some(expected) = reference(test, &all) else { return };
    for (path, expected) in all.iter().zip(expected) {
        assert_equal(path, &expected.unwrap(), 0.0);
    }
}

/// pydicom's own files: every vendor's oddities, cut files and colour among them.
#[test]
fn pydicom_own_files_are_read_alike_or_refused() {
    let test = "pydicom_own_files_are_read_alike_or_refused";
    let Some(python) = support::python(test) else { return };
    let packages = python.parent().unwrap().parent().unwrap().join("lib");
    let found = walkdir::WalkDir::new(packages).max_depth(2).into_iter().map(Result::unwrap);
    let folders = found.map(|entry| entry.path().join("pydicom/data/test_files")).filter(|path| path.is_dir());
    let Some(folder) = folders.into_iter().next() else { return support::skip(test, "pydicom has no test files") };
    let all = files(&folder, |path| has_ending(path, &[".dcm"]));
    let Some(expected) = reference(test, &all) else { return };
    let mut compared = 0;
    for (path, expected) in all.iter().zip(expected) {
        let Some((shape, values)) = expected else {
            // Whatever is said of what pydicom cannot decode, it is said without a panic of ours.
            let _ = read_frames(path, &[0]);
            continue;
        };
        // 1-bit segmentations, 32-bit doses and palettes are no scans.
        let name = path.file_name().unwrap().to_str().unwrap();
        if ["liver", "rtdose", "examples_palette"].iter().any(|start| name.starts_with(start)) {
            let refused = read_frames(path, &[0]);
            assert!(matches!(refused, Err(PixelsError::Dicom { .. })), "{name}: {refused:?}");
            continue;
        }
        let read = read_frames(path, &[0]).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let ours: Vec<f32> = read[0][0].iter().copied().collect();
        // Lossy JPEG may differ by one grey value between decoders.
        let worst = difference(&ours, &values[..shape[2] * shape[3]]);
        assert!(worst <= 1.0, "{name}: pixels differ by {worst}");
        compared += 1;
    }
    assert!(compared >= 11, "only {compared} files were compared");
}
