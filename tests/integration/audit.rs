//! The audit command on made-up runs: numbers by hand, gates and exit codes, folds, CSVs, and what must never be in a report.

use std::path::{Path, PathBuf};

use groupdistil::audit::report::AuditReport;
use groupdistil::audit::{self, AuditError, ModelSource};
use groupdistil::context::{Context, Interrupt, Silent};
use groupdistil::formats::dataset::Split;
use groupdistil::formats::predictions::PredictionRow;
use groupdistil::metrics::interval::{PairedCounts, clopper_pearson, newcombe_paired, wilson};
use groupdistil::settings::audit::AuditSettings;

use crate::audit_runs::{RunSpec, Sample, line, row};
use crate::support::{expect_exit, groupdistil, run_python};

const CLASSES: [&str; 2] = ["DCM", "NOR"];

/// Subjects of one site: `right` of `n` are classified correctly, half of each class; wrong ones have three images, right ones one.
fn site(name: &str, right: usize, n: usize, split: Split) -> Vec<PredictionRow> {
    let of = |index: usize| {
        let is_right = index < right;
        let label = index % 2;
        let predicted = if is_right { label } else { 1 - label };
        let subject = format!("{name}{}{index:03}", split.as_str());
        let sample = Sample { subject: &subject, stack: "s", site: name, split, label, predicted };
        // Margins differ between subjects, so that ranks and calibration are not trivial.
        let margin = 0.5 + (index % 7) as f32 * 0.4;
        vec![row(sample, &CLASSES, margin); if is_right { 1 } else { 3 }]
    };
    (0..n).flat_map(of).collect()
}

/// x: 11 of 12 right and 90 training images, y: 6 of 12 and 10, z: 1 of 1 and none, w: 5 training images only.
fn rows() -> Vec<PredictionRow> {
    let mut rows = site("x", 11, 12, Split::Test);
    rows.extend(site("y", 6, 12, Split::Test));
    rows.extend(site("z", 1, 1, Split::Test));
    rows.extend(site("x", 90, 90, Split::Train));
    rows.extend(site("y", 10, 10, Split::Train));
    rows.extend(site("w", 5, 5, Split::Train));
    rows
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A run in a folder of its own.
fn written(folder: &Path, name: &str, spec: &RunSpec) -> PathBuf {
    let path = folder.join(name);
    spec.write(&path);
    path
}

/// Audits with the library, on a pool of two threads.
fn report_of(sources: &[(&str, &Path)], settings: &AuditSettings, out: &Path) -> Result<AuditReport, AuditError> {
    let interrupt = Interrupt::default();
    run_audit(sources, settings, out, &interrupt)?;
    audit::read_report(out)
}

fn run_audit(
    sources: &[(&str, &Path)],
    settings: &AuditSettings,
    out: &Path,
    interrupt: &Interrupt,
) -> Result<audit::AuditSummary, AuditError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let context = Context { observer: &Silent, interrupt, pool: &pool };
    let source =
        |(name, path): &(&str, &Path)| ModelSource { name: Some((*name).to_owned()), path: path.to_path_buf() };
    audit::audit(&sources.iter().map(source).collect::<Vec<_>>(), settings, out, false, context)
}

fn quick() -> AuditSettings {
    AuditSettings { replicates: 200, ..AuditSettings::default() }
}

/// Outside a two-sided 95 % interval, on each side.
fn tail() -> f64 {
    quick().tail()
}

fn close(found: Option<f64>, expected: f64) {
    assert!((found.unwrap() - expected).abs() < 1e-12, "{found:?} instead of {expected}");
}

#[test]
fn numbers_are_as_computed_by_hand() {
    let temporary = tempfile::tempdir().unwrap();
    let run = written(temporary.path(), "run", &RunSpec::new(&CLASSES, rows()));
    let report = report_of(&[("m", &run)], &quick(), &temporary.path().join("report")).unwrap();
    let model = report.audited();
    let (subject, sample) = (&model.overall.subject, &model.overall.sample);
    assert_eq!((subject.correct, subject.n), (18, 25));
    close(subject.accuracy.value, 0.72);
    assert_eq!(subject.accuracy.interval, wilson(18, 25, tail()));
    // Per image: 18 right ones with 1 image each, 7 wrong ones with 3.
    assert_eq!((sample.correct, sample.n), (18, 39));
    assert!(sample.accuracy.interval.unwrap().low < 18.0 / 39.0);
    // Worst: y with 6 of 12; exact limits, the upper one after Bonferroni over three groups.
    let worst = &model.subject.worst;
    assert_eq!((worst.group.as_deref(), worst.groups), (Some("site=y"), 3));
    close(worst.accuracy.value, 0.5);
    let found = worst.accuracy.interval.unwrap();
    // z has one subject, right: its lower limit is the lowest of the three.
    assert_eq!(found.low, clopper_pearson(1, 1, tail()).unwrap().low);
    assert_eq!(found.high, clopper_pearson(6, 12, tail() / 3.0).unwrap().high);
    let enough = &model.subject.worst_with_evidence;
    assert_eq!((enough.group.as_deref(), enough.groups), (Some("site=y"), 2));
    assert_eq!(enough.accuracy.interval.unwrap().low, clopper_pearson(6, 12, tail()).unwrap().low);
    // Training shares 90 and 10 (z has none); mean over groups 11/12, 1/2, 1.
    close(model.subject.train_weighted_accuracy, 0.9 * 11.0 / 12.0 + 0.1 * 0.5);
    close(model.subject.mean_group_accuracy, (11.0 / 12.0 + 0.5 + 1.0) / 3.0);
    close(model.sample.train_weighted_accuracy, 0.9 * 11.0 / 14.0 + 0.1 * 6.0 / 24.0);
    let html = std::fs::read_to_string(temporary.path().join("report/audit.html")).unwrap();
    let said = "gave the right class (DCM or NOR) for 18 of 25 test subjects from 3 sites, subjects that were not used for training: 72.0\u{a0}%";
    assert!(html.contains(said));
    assert!(html.contains("It did worst in site y: 50.0\u{a0}% (6 of 12 subjects)."));
}

#[test]
fn small_unseen_and_untested_groups_are_listed_as_such() {
    let temporary = tempfile::tempdir().unwrap();
    let run = written(temporary.path(), "run", &RunSpec::new(&CLASSES, rows()));
    let report = report_of(&[("m", &run)], &quick(), &temporary.path().join("report")).unwrap();
    let json = serde_json::to_value(report.audited().breakdowns[0].clone()).unwrap();
    let cell = |index: usize| &json["cells"][index];
    let names: Vec<_> = (0..4).map(|index| cell(index)["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["site=w", "site=x", "site=y", "site=z"]);
    assert_eq!(cell(0)["performance"], serde_json::Value::Null);
    assert_eq!(cell(0)["train"]["subjects"], 5);
    assert_eq!(cell(1)["performance"]["evidence"], "sufficient");
    let one = &cell(3)["performance"];
    assert_eq!((&one["evidence"], &one["subject"]["n"]), (&"insufficient".into(), &1.into()));
    for (level, metric) in [("subject", "accuracy"), ("subject", "brier"), ("sample", "accuracy")] {
        assert_eq!(one[level][metric]["interval"], serde_json::Value::Null, "{metric}");
        assert_eq!(one[level][metric]["missing"], "one-subject", "{metric}");
    }
    // z's one subject is of class DCM: the cell of NOR is empty, not 0.
    assert_eq!(one["subject"]["recall"][1]["recall"]["value"], serde_json::Value::Null);
    let warnings = report.warnings.join("\n");
    assert!(
        warnings.contains("w: in training or validation only") && warnings.contains("z: never trained on"),
        "{warnings}"
    );
    let html = std::fs::read_to_string(temporary.path().join("report/audit.html")).unwrap();
    for word in ["insufficient evidence", "unseen in training", "training only", "empty"] {
        assert!(html.contains(word), "{word}");
    }
}

#[test]
fn neither_the_order_of_rows_nor_of_models_nor_doubled_images_change_the_numbers() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let spec = RunSpec::new(&CLASSES, rows());
    let run = written(folder, "run", &spec);
    let mut reversed = spec.clone();
    reversed.rows.reverse();
    let reversed = written(folder, "reversed", &reversed);
    let mut doubled = spec.clone();
    doubled.rows = spec.rows.iter().flat_map(|row| [row.clone(), row.clone()]).collect();
    let doubled = written(folder, "doubled", &doubled);
    let mut other = spec.clone();
    other.rows.iter_mut().filter(|row| row.subject_id.ends_with('3')).for_each(|row| row.logits.reverse());
    let other = written(folder, "other", &other);
    let all = [("m", run.as_path()), ("n", &other), ("o", &doubled)];
    let first = report_of(&all, &quick(), &folder.join("1")).unwrap();
    let second = report_of(&[("m", &reversed), ("o", &doubled), ("n", &other)], &quick(), &folder.join("2")).unwrap();
    let model = |report: &AuditReport, name: &str| {
        let found = report.models.iter().find(|model| model.identity.name == name).unwrap().clone();
        (found.overall, found.subject, found.sample, found.calibration)
    };
    for name in ["m", "n", "o"] {
        assert_eq!(model(&first, name), model(&second, name), "{name}");
    }
    assert_eq!(first.comparisons[0], second.comparisons[1]);
    let (once, twice) = (model(&first, "m").0, model(&first, "o").0);
    assert_eq!(once.subject, twice.subject);
    assert_eq!(twice.sample.n, 2 * once.sample.n);
    // The number alone: its intervals follow, since both images of a subject are drawn together.
    assert_eq!(once.sample.accuracy, twice.sample.accuracy);
}

#[test]
fn models_are_compared_in_pairs_and_the_teacher_is_found_by_its_weights() {
    use sha2::Digest;
    let temporary = tempfile::tempdir().unwrap();
    let mut student = RunSpec::new(&CLASSES, rows());
    student.teacher_sha256 = Some(data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(b"big")));
    let mut teacher = RunSpec::new(&CLASSES, rows());
    teacher.weights = b"big".to_vec();
    // Of site y the teacher knows subject 6 (wrong before) and not subject 0 (right before); of x all but the same one.
    for row in &mut teacher.rows {
        if row.subject_id == "ytest006" || row.subject_id == "ytest007" || row.subject_id == "ytest000" {
            row.logits.reverse();
        }
    }
    let student = written(temporary.path(), "student", &student);
    let teacher = written(temporary.path(), "teacher", &teacher);
    let out = temporary.path().join("report");
    let report = report_of(&[("s", &student), ("t", &teacher)], &quick(), &out).unwrap();
    assert_eq!(serde_json::to_value(report.models[1].role).unwrap(), "teacher");
    let comparison = &report.comparisons[0];
    // Both 17, only the student 1, only the teacher 2, neither 5.
    assert_eq!(comparison.cells[0].correct, [17, 1, 2, 5]);
    close(comparison.cells[0].accuracy.value, -1.0 / 25.0);
    let counts = PairedCounts { both: 17, first_only: 1, second_only: 2, neither: 5 };
    assert_eq!(comparison.cells[0].accuracy.interval, newcombe_paired(counts, tail()));
    let of_y = comparison.cells.iter().find(|cell| cell.name.as_deref() == Some("site=y")).unwrap();
    assert_eq!((of_y.n, of_y.correct), (12, [5, 1, 2, 4]));
    // Worst group per subject: 6 of 12 against 7 of 12.
    close(comparison.worst_group_accuracy.value, -1.0 / 12.0);
    let html = std::fs::read_to_string(out.join("audit.html")).unwrap();
    assert!(html.contains("its teacher") && html.contains("Paired differences"));
}

#[test]
fn a_model_that_lacks_subjects_is_compared_on_those_it_has_and_that_is_said() {
    let temporary = tempfile::tempdir().unwrap();
    let run = written(temporary.path(), "run", &RunSpec::new(&CLASSES, rows()));
    let mut fewer = RunSpec::new(&CLASSES, rows());
    fewer.rows.retain(|row| row.site.as_deref() != Some("z"));
    let fewer = written(temporary.path(), "fewer", &fewer);
    let report = report_of(&[("m", &run), ("f", &fewer)], &quick(), &temporary.path().join("report")).unwrap();
    assert_eq!((report.audited().overall.subject.n, report.models[1].overall.subject.n), (25, 24));
    assert_eq!(report.comparisons[0].cells[0].n, 24);
    assert!(report.warnings.iter().any(|warning| warning.contains("only 24 of 25 subjects")), "{:?}", report.warnings);
    let mut elsewhere = RunSpec::new(&CLASSES, rows());
    elsewhere.rows.iter_mut().for_each(|row| row.subject_id.insert(0, 'q'));
    let elsewhere = written(temporary.path(), "elsewhere", &elsewhere);
    let error = report_of(&[("m", &run), ("e", &elsewhere)], &quick(), &temporary.path().join("none")).unwrap_err();
    assert!(matches!(error, AuditError::NothingInCommon { .. }), "{error}");
    let mut relabelled = RunSpec::new(&CLASSES, rows());
    relabelled.rows[0].label = "NOR".to_owned();
    let relabelled = written(temporary.path(), "relabelled", &relabelled);
    let error = report_of(&[("m", &run), ("r", &relabelled)], &quick(), &temporary.path().join("none")).unwrap_err();
    assert!(matches!(error, AuditError::LabelsDiffer { subjects: 1, .. }), "{error}");
}

#[test]
fn gates_decide_the_exit_code_after_the_report_is_written() {
    let temporary = tempfile::tempdir().unwrap();
    let run = written(temporary.path(), "run", &RunSpec::new(&CLASSES, rows()));
    let audit = |name: &str, gate: &str, code: i32| {
        let out = temporary.path().join(name);
        let arguments =
            ["audit", text(&run), "--out", text(&out), "--replicates", "200", "--gate", gate].map(str::to_owned);
        let output = expect_exit(&mut groupdistil(&arguments.iter().map(String::as_str).collect::<Vec<_>>()), code);
        let written = out.join("audit.json").is_file() && out.join("audit.html").is_file();
        assert_eq!(written, code == 0 || code == 4, "{gate}");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    assert!(audit("a", "accuracy >= 0.72", 0).contains("pass"));
    assert!(audit("b", "accuracy > 0.72", 4).contains("FAIL"));
    assert!(audit("c", "accuracy[site=y] >= 0.5", 0).contains("pass"));
    assert!(audit("d", "lower(accuracy[site=y]) >= 0.5", 4).contains("FAIL"));
    // z has one subject: right, and no evidence.
    assert!(audit("e", "accuracy[site=z] >= 0.5", 4).contains("INSUFFICIENT EVIDENCE"));
    assert!(audit("f", "worst_group_accuracy >= 0.5", 4).contains("1 of 3 groups have fewer than 10 subjects"));
    assert!(audit("g", "worst_group_accuracy >= 0.6", 4).contains("FAIL"));
    assert!(audit("h", "accuracy[site=w] >= 0.5", 4).contains("INSUFFICIENT EVIDENCE"));
    assert!(audit("i", "accuracy >> 0.5", 2).contains("position 10"));
    assert!(audit("j", "accuracy[site=v] >= 0.5", 2).contains("w, x, y, z"));
    assert!(audit("k", "recall[class=HCM] >= 0.5", 2).contains("DCM, NOR"));
    assert!(audit("l", "difference[versus=teacher] >= 0", 2).contains("no model compared here"));
}

#[test]
fn a_second_audit_is_up_to_date_with_the_same_summary_and_another_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let run = written(temporary.path(), "run", &RunSpec::new(&CLASSES, rows()));
    let out = temporary.path().join("report");
    let arguments = ["audit", text(&run), "--out", text(&out), "--replicates", "200", "--gate", "accuracy > 0.9"];
    let first = expect_exit(&mut groupdistil(&arguments), 4).stdout;
    let again = expect_exit(&mut groupdistil(&arguments), 4).stdout;
    let (first, again) = (String::from_utf8(first).unwrap(), String::from_utf8(again).unwrap());
    assert_eq!(first.replace("written:", "up to date:"), again);
    let other = ["audit", text(&run), "--out", text(&out), "--replicates", "201"];
    let output = expect_exit(&mut groupdistil(&other), 2);
    assert!(String::from_utf8_lossy(&output.stderr).contains("--force"));
    expect_exit(&mut groupdistil(&[&other[..], &["--force"]].concat()), 0);
}

#[test]
fn reports_are_equal_at_any_thread_count_and_the_json_of_stdout_holds_no_path() {
    let temporary = tempfile::tempdir().unwrap();
    crate::audit_showcase::write(temporary.path());
    let run = temporary.path().join("student");
    let audit = |threads: &str| {
        let out = temporary.path().join(format!("report{threads}"));
        let arguments =
            ["audit", text(&run), "--out", text(&out), "--replicates", "300", "--threads", threads, "--json"];
        let stdout = expect_exit(&mut groupdistil(&arguments), 0).stdout;
        let files = ["audit.json", "audit.csv", "audit.html"].map(|name| std::fs::read(out.join(name)).unwrap());
        (files, String::from_utf8(stdout).unwrap())
    };
    let (one, three) = (audit("1"), audit("3"));
    assert!(one == three, "bytes depend on the thread count");
    let json: serde_json::Value = serde_json::from_str(&one.1).unwrap();
    assert_eq!(json["models"][0]["name"], "group-distil compact-resnet");
    assert_eq!(json["models"][0]["subject"]["n"], 147);
    assert!(!one.1.contains(text(temporary.path())), "{}", one.1);
}

#[test]
fn a_report_is_one_file_without_network_script_subject_or_path() {
    let temporary = tempfile::tempdir().unwrap();
    crate::audit_showcase::write(temporary.path());
    let paths = ["student", "teacher", "erm"].map(|name| temporary.path().join(name));
    let sources: Vec<(&str, &Path)> =
        ["<b>student</b>", "teacher", "erm"].into_iter().zip(paths.iter().map(PathBuf::as_path)).collect();
    let out = temporary.path().join("report");
    let report = report_of(&sources, &quick(), &out).unwrap();
    let html = std::fs::read_to_string(out.join("audit.html")).unwrap();
    for forbidden in ["http://", "https://", "<script", "src=", "@import", "url(", "<b>student", "NaN", "inf "] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    for part in ["<!DOCTYPE html>", "lang=\"en\"", "viewport", "<caption>", "aria-label", "@media print", "TRIPOD+AI"] {
        assert!(html.contains(part), "{part}");
    }
    let dataset_hash = report.audited().identity.dataset_hash.as_ref().unwrap();
    let weights = report.audited().identity.networks[0].weights_sha256.as_ref().unwrap();
    assert!(html.contains(dataset_hash) && html.contains(weights));
    for name in ["audit.html", "audit.json", "audit.csv"] {
        let text = std::fs::read_to_string(out.join(name)).unwrap();
        assert!(!text.contains("subjnorthgate") && !text.contains("stacknorthgate"), "a subject's id is in {name}");
        assert!(!text.contains(temporary.path().to_str().unwrap()), "a path is in {name}");
    }
}

#[test]
fn curves_of_the_run_are_drawn() {
    let temporary = tempfile::tempdir().unwrap();
    let mut spec = RunSpec::new(&CLASSES, rows());
    spec.objective = "group-distil";
    spec.metrics = (1..=3)
        .flat_map(|epoch| {
            let weight = [0.4, 0.5, 0.6][epoch as usize - 1];
            [
                line(epoch, Split::Train, &[("site=x", 0.8, Some(1.0 - weight)), ("site=y", 0.5, Some(weight))]),
                line(epoch, Split::Val, &[("site=x", 0.8, None), ("site=y", weight - 0.25, None)]),
            ]
        })
        .collect();
    let run = written(temporary.path(), "run", &spec);
    let out = temporary.path().join("report");
    let report = report_of(&[("m", &run)], &quick(), &out).unwrap();
    let history = &report.audited().identity.networks[0].history;
    assert_eq!(history.weights["site=y"], [Some(0.4), Some(0.5), Some(0.6)]);
    assert_eq!(history.val_worst, [Some(0.4 - 0.25), Some(0.25), Some(0.6 - 0.25)]);
    let html = std::fs::read_to_string(out.join("audit.html")).unwrap();
    assert!(html.contains("Group weights of m") && html.matches("<polyline").count() >= 3);
}

/// Fold `k` of three: its own third of the subjects is tested, the others are trained on.
fn fold(k: usize, dataset: &[PredictionRow]) -> RunSpec {
    let split = |row: &PredictionRow| {
        let number: usize = row.subject_id[row.subject_id.len() - 3..].parse().unwrap();
        // Site w is never tested.
        if row.site.as_deref() != Some("w") && number % 3 == k { Split::Test } else { Split::Train }
    };
    let rows = dataset.iter().map(|row| PredictionRow { split: split(row), ..row.clone() }).collect();
    RunSpec { fold: Some(k), ..RunSpec::new(&CLASSES, rows) }
}

fn fold_data() -> Vec<PredictionRow> {
    let mut rows = site("x", 20, 24, Split::Test);
    rows.extend(site("y", 9, 15, Split::Test));
    rows.extend(site("w", 2, 2, Split::Test));
    rows
}

#[test]
fn folds_are_pooled_and_the_report_says_what_that_means() {
    let temporary = tempfile::tempdir().unwrap();
    let folds = temporary.path().join("folds");
    for k in 0..3 {
        fold(k, &fold_data()).write(&folds.join(format!("fold-{k}")));
    }
    let out = temporary.path().join("report");
    let report = report_of(&[("m", &folds)], &quick(), &out).unwrap();
    let subject = &report.audited().overall.subject;
    assert_eq!((subject.correct, subject.n, report.data.folds), (29, 39, Some(3)));
    assert_eq!(subject.accuracy.interval, wilson(29, 39, tail()));
    assert_eq!(report.audited().identity.networks.len(), 3);
    let warnings = report.warnings.join("\n");
    assert!(warnings.contains("Out-of-fold") && warnings.contains("fold 0's network alone"), "{warnings}");
    assert!(warnings.contains("w: in training or validation only"), "{warnings}");
    // A subject in two folds, a run of another fold, and a missing fold are refused.
    let mut twice = fold(2, &fold_data());
    twice.rows.iter_mut().filter(|row| row.subject_id == "xtest000").for_each(|row| row.split = Split::Test);
    twice.write(&folds.join("fold-2"));
    let refused = |expected: &str| {
        let error = report_of(&[("m", &folds)], &quick(), &temporary.path().join("none")).unwrap_err();
        assert!(error.to_string().contains(expected) && !error.to_string().contains("xtest000"), "{error}");
    };
    refused("a subject is in split `test` of fold-0 and of fold-2");
    RunSpec { fold: Some(1), ..fold(2, &fold_data()) }.write(&folds.join("fold-2"));
    refused("the run in fold-2 was tested on fold 1");
    std::fs::remove_dir_all(folds.join("fold-1")).unwrap();
    refused("only fold-0 is there");
}

/// The test rows as a CSV, with and without labels.
fn csv(rows: &[PredictionRow], with_label: bool) -> String {
    let mut text = String::from(if with_label { "subject_id,stack_id,label," } else { "subject_id,stack_id," });
    text += "group,site,prob_DCM,prob_NOR\n";
    for row in rows.iter().filter(|row| row.split == Split::Test) {
        let powers: Vec<f64> = row.logits.iter().map(|logit| f64::from(*logit).exp()).collect();
        let sum: f64 = powers.iter().sum();
        let label = if with_label { format!("{},", row.label) } else { String::new() };
        let site = row.site.as_deref().unwrap();
        text += &format!(
            "{},{},{label}{},{site},{},{}\n",
            row.subject_id,
            row.stack_id,
            row.group,
            powers[0] / sum,
            powers[1] / sum
        );
    }
    text
}

#[test]
fn a_csv_gives_the_numbers_of_the_run_and_labels_may_come_beside_it() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let rows = rows();
    let run = written(folder, "run", &RunSpec::new(&CLASSES, rows.clone()));
    let (whole, bare, labels) = (folder.join("whole.csv"), folder.join("bare.csv"), folder.join("labels.csv"));
    std::fs::write(&whole, csv(&rows, true)).unwrap();
    std::fs::write(&bare, csv(&rows, false)).unwrap();
    let mut pairs: Vec<String> = rows
        .iter()
        .filter(|row| row.split == Split::Test && row.subject_id != "ytest011")
        .map(|row| format!("{},{}", row.subject_id, row.label))
        .collect();
    pairs.dedup();
    std::fs::write(&labels, format!("subject_id,label\n{}\n", pairs.join("\n"))).unwrap();
    let of_run = report_of(&[("m", &run)], &quick(), &folder.join("1")).unwrap();
    let of_csv = report_of(&[("m", &whole)], &quick(), &folder.join("2")).unwrap();
    let (a, b) = (&of_run.audited().overall, &of_csv.audited().overall);
    assert_eq!(
        (a.counts, &a.subject.accuracy, &a.subject.confusion),
        (b.counts, &b.subject.accuracy, &b.subject.confusion)
    );
    close(b.subject.brier.value, a.subject.brier.value.unwrap());
    close(b.subject.auroc.value, a.subject.auroc.value.unwrap());
    assert_eq!(of_csv.audited().subject.train_weighted_accuracy, None);
    let settings = AuditSettings { labels: Some(labels), ..quick() };
    let joined = report_of(&[("m", &bare)], &settings, &folder.join("3")).unwrap();
    // One subject (wrong, three images) has no label.
    assert_eq!((joined.audited().overall.subject.correct, joined.audited().overall.subject.n), (18, 24));
    assert!(
        joined.warnings.iter().any(|warning| warning.contains("3 of 39 rows have no label")),
        "{:?}",
        joined.warnings
    );
}

#[test]
fn the_name_of_a_file_is_not_the_name_of_a_model() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("MUELLER.csv");
    std::fs::write(&path, csv(&rows(), true)).unwrap();
    let out = temporary.path().join("report");
    let arguments = ["audit", text(&path), "--out", text(&out), "--replicates", "200", "--json"];
    let stdout = expect_exit(&mut groupdistil(&arguments), 0).stdout;
    assert!(!String::from_utf8(stdout).unwrap().contains("MUELLER"));
    for name in ["audit.html", "audit.json", "audit.csv"] {
        assert!(!std::fs::read_to_string(out.join(name)).unwrap().contains("MUELLER"), "{name}");
    }
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(out.join("audit.json")).unwrap()).unwrap();
    assert_eq!(json["models"][0]["identity"]["name"], "predictions");
}

#[test]
fn mistakes_in_a_csv_are_named_with_line_column_and_remedy_but_without_ids() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("p.csv");
    let refused = |content: &str, code: i32, expected: &[&str]| {
        std::fs::write(&path, content).unwrap();
        let out = temporary.path().join("report");
        let output = expect_exit(&mut groupdistil(&["audit", text(&path), "--out", text(&out)]), code);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        for part in expected {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
        assert!(!message.contains("MUELLER"), "{message}");
        assert!(!out.exists(), "a report was begun");
    };
    let head = "subject_id,label,group,prob_A,prob_B\n";
    refused(
        &format!("{head}MUELLER1,A,s,0.9,0.1\nMUELLER2,A,s,0.9,0.3\n"),
        1,
        &["p.csv", "line 3", "prob_", "sum to 1.2"],
    );
    refused(&format!("{head}MUELLER1,A,s,3.5,-2.5\n"), 1, &["line 2", "prob_A", "softmax"]);
    refused(&format!("{head}MUELLER1,C,s,0.9,0.1\n"), 1, &["line 2", "`label`", "A, B"]);
    refused(&format!("{head}MUELLER1,A,,0.9,0.1\n"), 1, &["line 2", "`group`", "unknown"]);
    refused(&format!("{head},A,s,0.9,0.1\n"), 1, &["line 2", "`subject_id`"]);
    refused(&format!("{head}MUELLER1,A,s,x,0.1\n"), 1, &["line 2", "prob_A", "no number"]);
    refused(&format!("{head}MUELLER1,A,s,0.5\n"), 1, &["p.csv", "CSV"]);
    refused(head, 1, &["no row below the header"]);
    refused("subject_id,group,prob_A,prob_B\nMUELLER1,s,0.9,0.1\n", 2, &["`label`", "--labels"]);
    refused("subject_id,label,prob_A,prob_B\nMUELLER1,A,0.9,0.1\n", 2, &["`group`", "site or scanner"]);
    refused("id,label,group,prob_A,prob_B\nMUELLER1,A,s,0.9,0.1\n", 2, &["`subject_id`", "id, label"]);
    refused("subject_id,label,group,A,B\nMUELLER1,A,s,0.9,0.1\n", 2, &["prob_<label>"]);
}

#[test]
fn what_is_no_source_or_has_no_test_data_is_an_error_with_a_remedy() {
    let temporary = tempfile::tempdir().unwrap();
    let out = temporary.path().join("report");
    let output = expect_exit(&mut groupdistil(&["audit", text(temporary.path()), "--out", text(&out)]), 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("no RUN"));
    let mut spec = RunSpec::new(&CLASSES, rows());
    spec.rows.retain(|row| row.split == Split::Train);
    let run = written(temporary.path(), "run", &spec);
    let output = expect_exit(&mut groupdistil(&["audit", text(&run), "--out", text(&out)]), 1);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("only in train") && message.contains("--split"), "{message}");
    let same = ["audit", "a=x", "a=y", "--out", text(&out)];
    let output = expect_exit(&mut groupdistil(&same), 2);
    assert!(String::from_utf8_lossy(&output.stderr).contains("two models are named `a`"));
}

#[test]
fn an_interrupted_audit_leaves_no_report() {
    let temporary = tempfile::tempdir().unwrap();
    let run = written(temporary.path(), "run", &RunSpec::new(&CLASSES, rows()));
    let out = temporary.path().join("report");
    let interrupt = Interrupt::default();
    interrupt.set();
    let error = run_audit(&[("m", &run)], &quick(), &out, &interrupt).unwrap_err();
    assert!(matches!(error, AuditError::Interrupted));
    assert!(!out.join("audit.json").exists());
}

#[test]
fn scikit_learn_and_scipy_get_the_same_numbers() {
    let temporary = tempfile::tempdir().unwrap();
    crate::audit_showcase::write(temporary.path());
    let (student, erm) = (temporary.path().join("student"), temporary.path().join("erm"));
    let out = temporary.path().join("report");
    report_of(&[("student", &student), ("erm", &erm)], &quick(), &out).unwrap();
    let test = "scikit_learn_and_scipy_get_the_same_numbers";
    run_python(test, "audit_reference.py", &[text(&student), text(&erm), text(&out)]);
}
