//! How an export was packed must not matter: shuffled, renamed, in archives, with garbage between.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use crate::ingest::{files, ingest, phantom, table, text};
use crate::support::{expect_exit, groupdistil};

/// Cells of the stacks and frames without paths.
fn content(cohort: &Path) -> Vec<Vec<String>> {
    ["stacks.parquet", "frames.parquet"]
        .map(|name| {
            let table = table(cohort, name);
            let kept: Vec<usize> =
                table.names().enumerate().filter(|(_, name)| *name != "path").map(|(index, _)| index).collect();
            (0..table.rows())
                .flat_map(|row| kept.iter().map(|index| table.cell(*index, row)).collect::<Vec<_>>())
                .collect()
        })
        .to_vec()
}

/// A zip archive of these members.
pub fn zip_of(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        writer.start_file(name.as_str(), zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A tar archive of these members, in gzip.
pub fn tar_gz_of(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    gzip(&builder.into_inner().unwrap())
}

/// The DICOM files of one phantom site, by a name that says nothing.
fn scans(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let is_dicom = |path: &PathBuf| std::fs::read(path).unwrap().get(128..132) == Some(b"DICM");
    let found = files(folder).into_iter().filter(is_dicom).enumerate();
    // A fixed shuffle: 7919 is a prime that no count here is a multiple of.
    let named = found.map(|(index, path)| (format!("Größe {}", index * 7919 % 10_007), std::fs::read(path).unwrap()));
    let mut named: Vec<_> = named.collect();
    named.sort();
    named
}

#[test]
fn a_shuffled_renamed_and_packed_export_gives_the_same_stacks_with_the_same_ids() {
    let temporary = tempfile::tempdir().unwrap();
    let at = |name: &str| temporary.path().join(name);
    let source = phantom(temporary.path(), 12).join("scans/north");
    ingest(&source, &at("plain"), &[]);
    let expected = content(&at("plain"));
    assert!(expected[1].len() > 1000);
    let named = scans(&source);
    let packed = at("packed");
    std::fs::create_dir_all(packed.join("a/b")).unwrap();
    let quarter = named.len() / 4;
    for (name, bytes) in &named[..quarter] {
        std::fs::write(packed.join("a/b").join(name), bytes).unwrap();
    }
    std::fs::write(packed.join("one.zip.gz"), gzip(&zip_of(&named[quarter..2 * quarter]))).unwrap();
    let inner = tar_gz_of(&named[2 * quarter..3 * quarter]);
    let notes = ("notes.txt".to_owned(), b"hello".to_vec());
    std::fs::write(packed.join("two"), zip_of(&[("deep/inner.tgz".to_owned(), inner), notes])).unwrap();
    for (name, bytes) in &named[3 * quarter..] {
        std::fs::write(packed.join(format!("{name}.dcm.gz")), gzip(bytes)).unwrap();
    }
    let archived = at("archived");
    ingest(&packed, &archived, &["--threads", "2"]);
    assert!(content(&archived) == expected, "the packing changed the cohort");
    let hash = |cohort: &Path| crate::ingest::json(&cohort.join("cohort.json"))["content_hash"].clone();
    assert_eq!(hash(&archived), hash(&at("plain")));
    let ledger = table(&archived, "ledger.parquet");
    let (paths, reasons) = (ledger.required_text("path").unwrap(), ledger.required_text("reason").unwrap());
    let distinct: std::collections::BTreeSet<&String> = paths.iter().collect();
    // Files on the disk, members of both archives, and of the inner one.
    assert_eq!((paths.len(), distinct.len()), (named.len() + 2 + 2, paths.len()));
    assert_eq!(reasons.iter().filter(|reason| *reason == "container").count(), 3);
    // Any thread count gives the same bytes.
    let again = at("again");
    ingest(&packed, &again, &["--threads", "1"]);
    for name in ["stacks.parquet", "frames.parquet", "ledger.parquet", "ledger.csv", "groups.json", "cohort.json"] {
        assert!(std::fs::read(archived.join(name)).unwrap() == std::fs::read(again.join(name)).unwrap(), "{name}");
    }
}

#[test]
fn pixels_in_archives_become_the_same_dataset() {
    let temporary = tempfile::tempdir().unwrap();
    let at = |name: &str| temporary.path().join(name);
    let made = phantom(temporary.path(), 36);
    let members: Vec<(String, Vec<u8>)> = files(&made.join("scans"))
        .into_iter()
        .map(|path| (text(path.strip_prefix(&made).unwrap()).to_owned(), std::fs::read(&path).unwrap()))
        .collect();
    std::fs::create_dir(at("packed")).unwrap();
    std::fs::write(at("packed/all.tar.gz"), tar_gz_of(&members)).unwrap();
    let images = |source: &Path, name: &str| {
        let (cohort, dataset) = (at(&format!("{name}-cohort")), at(&format!("{name}-dataset")));
        ingest(source, &cohort, &["--labels", text(&made.join("labels.csv"))]);
        expect_exit(&mut groupdistil(&["preprocess", text(&cohort), "--out", text(&dataset)]), 0);
        std::fs::read(dataset.join("images-00000.npy")).unwrap()
    };
    let plain = images(&made.join("scans"), "plain");
    // Subjects and stacks of NIfTI files are named after their paths, which differ: their order may, not their number.
    assert_eq!(plain.len(), images(&at("packed"), "packed").len());
    let only = ["north", "east"].map(|site| format!("scans/{site}"));
    let dicom: Vec<(String, Vec<u8>)> =
        members.into_iter().filter(|(name, _)| only.iter().any(|site| name.starts_with(site.as_str()))).collect();
    std::fs::create_dir_all(at("dicom")).unwrap();
    std::fs::write(at("dicom/all.zip"), zip_of(&dicom)).unwrap();
    let folder = at("folder");
    for (name, bytes) in &dicom {
        std::fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    assert!(images(&at("dicom"), "zipped") == images(&folder, "unzipped"), "the zip changed the pixels");
}

#[test]
fn garbage_changes_nothing_but_the_ledger() {
    let temporary = tempfile::tempdir().unwrap();
    let at = |name: &str| temporary.path().join(name);
    let source = phantom(temporary.path(), 12).join("scans/east");
    ingest(&source, &at("before"), &[]);
    let bad = source.join("bad");
    std::fs::create_dir(&bad).unwrap();
    let random: Vec<u8> = (0..5000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let zeros = gzip(&vec![0; 1 << 20]);
    let whole = zip_of(&[("x".to_owned(), vec![7; 4000])]);
    for (name, bytes) in [
        ("random.dcm", random.as_slice()),
        ("random", &random[1..]),
        ("zeros.dcm", &zeros),
        ("twice.gz", &gzip(&zeros)),
        ("cut.zip", &whole[..whole.len() / 2]),
        ("cut.dcm.gz", &zeros[..zeros.len() / 2]),
        ("seven.7z", b"7z\xbc\xaf\x27\x1c0000"),
        ("empty", b""),
        ("settings.json", b"{\"a\": [1, 2"),
        ("Info.cfg", b"nothing: here\n"),
        ("text.nii.gz", b"text"),
        ("tiny.hdr", &[0; 348]),
    ] {
        std::fs::write(bad.join(name), bytes).unwrap();
    }
    std::os::unix::fs::symlink(&source, bad.join("loop")).unwrap();
    std::os::unix::fs::symlink(bad.join("nowhere"), bad.join("broken")).unwrap();
    ingest(&source, &at("after"), &[]);
    assert!(content(&at("before")) == content(&at("after")), "garbage changed the cohort");
    let ledger = table(&at("after"), "ledger.parquet");
    let rows: BTreeMap<String, String> = ledger
        .required_text("path")
        .unwrap()
        .into_iter()
        .zip(ledger.required_text("reason").unwrap())
        .filter_map(|(path, reason)| Some((Path::new(&path).strip_prefix(&bad).ok()?.to_str()?.to_owned(), reason)))
        .collect();
    assert!(rows.len() >= 12, "{rows:?}");
    assert_eq!(rows["cut.zip"], "damaged-archive");
    assert_eq!(rows["seven.7z"], "archive");
    assert_eq!(rows["empty"], "empty-file");
    assert_eq!(rows["settings.json"], "not-an-image");
    assert_eq!(rows["text.nii.gz"], "not-nifti");
}
