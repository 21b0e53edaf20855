//! Ingest of bad input: each bad file a row of the ledger with its reason, each unusable whole an error with the design's exit code.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::ingest::{files, ingest, json, ledger, phantom, table, text};
use crate::support::{expect_exit, groupdistil};

/// stderr of an ingest that ends with `code`.
fn refused(arguments: &[&str], code: i32) -> String {
    let mut all = vec!["ingest"];
    all.extend(arguments);
    String::from_utf8(expect_exit(&mut groupdistil(&all), code).stderr).unwrap()
}

fn bytes_of(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

/// One classic file, one enhanced file and one NIfTI volume of a phantom.
fn samples(scans: &Path) -> [PathBuf; 3] {
    let first = |site: &str, ending: &str| {
        let fits = |path: &PathBuf| path.to_str().unwrap().ends_with(ending);
        files(&scans.join(site)).into_iter().find(fits).unwrap()
    };
    [first("north", ".dcm"), first("south", "IM_0001"), first("west", "_sa.nii.gz")]
}

#[test]
fn every_kind_of_bad_file_has_its_reason_and_the_rest_goes_on() {
    let temporary = tempfile::tempdir().unwrap();
    let phantom = phantom(temporary.path(), 12);
    let [classic, enhanced, nifti] = samples(&phantom.join("scans"));
    let bad = phantom.join("scans/bad");
    std::fs::create_dir(&bad).unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(bad.join(name), bytes).unwrap();
    let (classic, enhanced, nifti) = (bytes_of(&classic), bytes_of(&enhanced), bytes_of(&nifti));
    write("a-pixels-cut.dcm", &classic[..classic.len() - 1]);
    write("b-frames-cut", &enhanced[..enhanced.len() - 3000]);
    write("c-header-cut.dcm", &classic[..700]);
    write("d-no-preamble.dcm", &classic[132..]);
    write("e-empty.dcm", b"");
    write("f-archive.zip", b"PK\x03\x04............");
    write("g-text.dcm", b"hello");
    write("h-cut.nii.gz", &nifti[..nifti.len() / 2]);
    write("i-zeros.nii", &[0; 400]);
    write("j-notes.csv", b"a,b\n1,2\n");
    write("k_sa_gt.nii.gz", &nifti);
    write("l-picture.png", b"\x89PNG\r\n\x1a\nrest");
    // A private element of the meta group that claims 4 GB.
    let mut claims = classic[..132].to_vec();
    claims.extend(b"\x02\x00\x02\x01OB\x00\x00\xf0\xff\xff\xff");
    write("m-claims-4gb.dcm", &claims);
    let rows_at = classic.windows(8).position(|bytes| bytes == b"\x28\x00\x10\x00US\x02\x00").unwrap() + 8;
    let mut zero_rows = classic.clone();
    zero_rows[rows_at..rows_at + 2].copy_from_slice(&[0, 0]);
    write("n-zero-rows.dcm", &zero_rows);
    // A whole gzip of too few voxels.
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(nifti.as_slice()).read_to_end(&mut unpacked).unwrap();
    let mut short = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    short.write_all(&unpacked[..unpacked.len() - 1]).unwrap();
    write("o-short.nii.gz", &short.finish().unwrap());
    let cohort = temporary.path().join("cohort");
    ingest(&phantom.join("scans"), &cohort, &[]);
    let found = ledger(&cohort, bad.parent().unwrap());
    let expected = [
        ("a-pixels-cut.dcm", "rejected truncated-pixels"),
        ("b-frames-cut", "rejected truncated-pixels"),
        ("c-header-cut.dcm", "rejected malformed"),
        ("d-no-preamble.dcm", "skipped duplicate"),
        ("e-empty.dcm", "rejected empty-file"),
        ("f-archive.zip", "rejected damaged-archive"),
        ("g-text.dcm", "rejected not-dicom"),
        ("h-cut.nii.gz", "rejected damaged-archive"),
        ("i-zeros.nii", "rejected not-nifti"),
        ("j-notes.csv", "skipped not-an-image"),
        ("k_sa_gt.nii.gz", "skipped segmentation"),
        ("l-picture.png", "skipped unmapped-picture"),
        ("m-claims-4gb.dcm", "rejected malformed"),
        ("n-zero-rows.dcm", "rejected malformed"),
        ("o-short.nii.gz", "rejected truncated-pixels"),
    ];
    for (name, reason) in expected {
        assert_eq!(found[&format!("bad/{name}")], reason, "{name}");
    }
    let rows = table(&cohort, "ledger.parquet");
    let messages = rows.required_text("message").unwrap();
    assert!(messages.iter().all(|message| !message.is_empty() && !message.contains('/')), "messages hold no paths");
    let strict = refused(
        &[
            text(&phantom.join("scans")),
            "--out",
            text(&cohort),
            "--key",
            text(&cohort.with_extension("key")),
            "--strict",
        ],
        3,
    );
    assert!(strict.contains("rejected") && strict.contains("ledger.csv"), "{strict}");
    assert!(cohort.join("cohort.json").is_file());
}

#[test]
fn sources_without_anything_to_use_are_errors() {
    let temporary = tempfile::tempdir().unwrap();
    let (empty, out) = (temporary.path().join("empty"), temporary.path().join("cohort"));
    std::fs::create_dir(&empty).unwrap();
    let said = refused(&[text(&empty), "--out", text(&out)], 1);
    assert!(said.contains("no file in") && said.contains("empty"), "{said}");
    let missing = temporary.path().join("missing");
    let said = refused(&[text(&empty), text(&missing), "--out", text(&out)], 1);
    assert!(said.contains("missing") && said.contains("does not exist"), "{said}");
    std::fs::write(empty.join("notes.txt"), b"no scans here").unwrap();
    let said = refused(&[text(&empty), "--out", text(&out)], 1);
    assert!(said.contains("not-an-image 1") && said.contains("docs/ledger.md"), "{said}");
}

#[test]
fn bad_labels_settings_and_groups_name_the_place_and_the_remedy() {
    let temporary = tempfile::tempdir().unwrap();
    let phantom = phantom(temporary.path(), 4);
    let scans = phantom.join("scans");
    let file = |name: &str, content: &str| {
        let path = temporary.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let out = temporary.path().join("cohort");
    let run = |more: &[&str], code: i32| {
        let mut all = vec![text(&scans), "--out", text(&out)];
        all.extend(more);
        refused(&all, code)
    };
    let said = run(&["--labels", text(&file("nobody.csv", "patient_id,label\n1,A\n2,B\n"))], 1);
    assert!(said.contains("labels match nobody") && said.contains("leading zeros"), "{said}");
    let said = run(&["--labels", text(&file("headers.csv", "who,label\n1,A\n"))], 2);
    assert!(said.contains("headers.csv") && said.contains("no column patient_id") && said.contains("who"), "{said}");
    let said = run(&["--labels", text(&file("ragged.csv", "patient_id,label\n1,A\n2,B,C\n"))], 2);
    assert!(said.contains("ragged.csv` line 3"), "{said}");
    let said = run(&["--labels", text(&temporary.path().join("absent.csv"))], 1);
    assert!(said.contains("absent.csv"), "{said}");
    let said = run(&["--group-by", "vendor,moon"], 2);
    assert!(said.contains("`moon`") && said.contains("field_strength_t"), "{said}");
    let said = run(&["--config", text(&file("wrong.toml", "group_by = [\"vendor\"]\ngroups = 3\n"))], 2);
    assert!(said.contains("wrong.toml") && said.contains("line 2") && said.contains("groups"), "{said}");
    let said = run(&["--exclude", "(unclosed"], 2);
    assert!(said.contains("ingest.exclude") && said.contains("(unclosed"), "{said}");
    let said = run(&["--key", text(&file("short.key", "tiny"))], 2);
    assert!(said.contains("short.key") && said.contains("16 bytes"), "{said}");
    let said = run(&["--crosswalk", text(&file("thesis.doc", "precious"))], 2);
    assert!(said.contains("thesis.doc"), "{said}");
    assert_eq!(std::fs::read_to_string(temporary.path().join("thesis.doc")).unwrap(), "precious");
}

#[test]
fn a_cohort_is_up_to_date_until_its_inputs_change() {
    let temporary = tempfile::tempdir().unwrap();
    let phantom = phantom(temporary.path(), 4);
    let scans = phantom.join("scans");
    let cohort = temporary.path().join("cohort");
    let labels = ["--labels", text(&phantom.join("labels.csv")).to_owned().leak()];
    assert!(ingest(&scans, &cohort, &labels).contains("cohort written"));
    let hash = json(&cohort.join("cohort.json"))["content_hash"].clone();
    assert!(ingest(&scans, &cohort, &labels).contains("up to date"));
    let key = cohort.with_extension("key");
    let again = |more: &[&str], code: i32| {
        let mut all = vec![text(&scans), "--out", text(&cohort), "--key", text(&key)];
        all.extend(more);
        refused(&all, code)
    };
    assert!(again(&[], 2).contains("--force"), "other settings: no labels");
    assert!(again(&["--group-by", "vendor", labels[0], labels[1]], 2).contains("--force"), "other groups");
    std::fs::write(scans.join("new.txt"), b"one more file").unwrap();
    assert!(again(&labels, 2).contains("--force"), "another file");
    again(&["--force", labels[0], labels[1]], 0);
    assert_eq!(json(&cohort.join("cohort.json"))["content_hash"], hash, "a text file changes no stack");
    // An interrupted run leaves no cohort.json: the same command finishes it.
    std::fs::remove_file(cohort.join("cohort.json")).unwrap();
    assert!(ingest(&scans, &cohort, &labels).contains("cohort written"));
    let foreign = temporary.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("mine"), b"x").unwrap();
    let said = refused(&[text(&scans), "--out", text(&foreign), "--force"], 2);
    assert!(said.contains("was not written by groupdistil"), "{said}");
}

#[test]
fn an_interrupt_stops_it_and_the_same_call_finishes_it() {
    use groupdistil::context::{Context, Interrupt, Silent};
    use groupdistil::failure::{Classify, FailureKind};
    use groupdistil::settings::ingest::{IngestSettings, IngestWire};
    let temporary = tempfile::tempdir().unwrap();
    let scans = phantom(temporary.path(), 4).join("scans");
    let (key, out) = (temporary.path().join("key"), temporary.path().join("cohort"));
    std::fs::write(&key, b"a key of the tests, long enough").unwrap();
    let wire = IngestWire { key: Some(key), ..IngestWire::default() };
    let settings = IngestSettings::from_wire(wire, temporary.path()).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let run = |interrupt: &Interrupt| {
        let context = Context { observer: &Silent, interrupt, pool: &pool };
        groupdistil::ingest::ingest(&settings, std::slice::from_ref(&scans), &out, false, context)
    };
    let interrupt = Interrupt::default();
    interrupt.set();
    assert_eq!(run(&interrupt).unwrap_err().kind(), FailureKind::Interrupted);
    assert!(!out.join("cohort.json").exists());
    assert!(!run(&Interrupt::default()).unwrap().up_to_date);
    assert!(run(&Interrupt::default()).unwrap().up_to_date);
}

#[test]
fn another_key_gives_other_pseudonyms_of_the_same_stacks() {
    let temporary = tempfile::tempdir().unwrap();
    let phantom = phantom(temporary.path(), 4);
    let cohort = |name: &str, key: &str| {
        let out = temporary.path().join(name);
        std::fs::write(out.with_extension("key"), key).unwrap();
        ingest(&phantom.join("scans"), &out, &[]);
        table(&out, "stacks.parquet").required_text("subject_id").unwrap()
    };
    let (one, other) = (cohort("one", "first key of this test"), cohort("other", "second key of this test"));
    assert_eq!(one.len(), other.len());
    assert!(one.iter().all(|id| !other.contains(id)));
}

#[test]
fn label_rows_that_name_one_person_and_fit_several_are_nobodys() {
    let temporary = tempfile::tempdir().unwrap();
    let phantom = phantom(temporary.path(), 12);
    let scans = phantom.join("scans/south");
    let people = std::fs::read_dir(&scans).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count();
    assert!(people >= 2);
    let labels = temporary.path().join("labels.csv");
    // South writes the same file names for everybody; a pattern may speak of many.
    std::fs::write(&labels, "file,label,ward\nIM_0001,DCM,\n*,,cardiology\n").unwrap();
    let cohort = temporary.path().join("cohort");
    let shown = ingest(&scans, &cohort, &["--labels", text(&labels)]);
    assert!(shown.contains("label row 1:2 fits scans of several people"), "{shown}");
    let lines = std::fs::read_to_string(cohort.join("unmatched_labels.csv")).unwrap();
    assert!(lines.contains(",2,several-subjects\n") && !lines.contains(",3,"), "{lines}");
    let stacks = table(&cohort, "stacks.parquet");
    assert!(stacks.text("label").unwrap().iter().all(Option::is_none));
    assert!(stacks.text("attr_ward").unwrap().iter().all(|ward| ward.as_deref() == Some("cardiology")));
    let unlabelled = std::fs::read_to_string(cohort.join("unlabelled_stacks.csv")).unwrap();
    let expected = stacks.required_text("view").unwrap().iter().filter(|view| *view == "sax").count();
    assert!(expected > 0 && unlabelled.lines().count() == 1 + expected, "{unlabelled}");
}
