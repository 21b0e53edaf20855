//! The methods that others are compared with: a refit last layer, training twice, several teachers, a foreign teacher.
#![cfg(feature = "torch")]

use std::path::Path;

use groupdistil::context::Interrupt;
use groupdistil::failure::{Classify, FailureKind};
use groupdistil::formats::compare::CompareJson;
use groupdistil::formats::dataset::Split;
use groupdistil::formats::run::{HELD_OUT, RunJson, WEIGHTS, read_metrics, read_run_json};
use groupdistil::settings::train::TrainSettings;

use crate::support::{expect_exit, groupdistil, run_python};
use crate::train::{SHORTCUT, StopAfter, Tiny, bytes, expect_same, run, run_with, settings, write};

#[test]
fn last_layers_equal_those_of_scikit_learn() {
    run_python("last_layers_equal_those_of_scikit_learn", "dfr_reference.py", &[env!("CARGO_BIN_EXE_groupdistil")]);
}

fn refit(text: &str, from: &Path) -> TrainSettings {
    TrainSettings { from: Some(from.to_path_buf()), ..settings(text, 1, None) }
}

#[test]
fn a_refit_run_is_a_run_with_another_last_layer_and_says_what_it_knows() {
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name);
    let even = Tiny { train: [[20, 20], [20, 20]], ..SHORTCUT };
    let (even, shortcut) = (write(&out("even"), even), write(&out("shortcut"), SHORTCUT));
    for (name, dataset, text) in [
        ("train", &even, "objective = \"dfr-train\"\ndfr_subsets = 1"),
        ("val", &shortcut, "objective = \"dfr-val\"\ndfr_c = [1.0, 0.1]\ndfr_subsets = 3"),
    ] {
        let (base, refitted) = (out(&format!("base-{name}")), out(name));
        run(&settings("epochs = 3", 1, None), dataset, &base).unwrap();
        let settings = refit(text, &base);
        let done = run(&settings, dataset, &refitted).unwrap().run;
        assert_eq!(
            (done.architecture.as_str(), done.best_epoch),
            ("compact-resnet", read_run_json(&base).unwrap().best_epoch)
        );
        let dfr = done.dfr.clone().unwrap();
        assert_eq!((dfr.from.objective.as_deref(), dfr.penalty.as_str()), (Some("erm"), "l1"));
        assert_eq!(done.held_out.as_deref(), (name == "val").then_some(HELD_OUT));
        let (tried, per_group, chosen_on) = if name == "val" { (2, 4, 16) } else { (7, 20, 32) };
        assert_eq!((dfr.tried.len(), dfr.samples_per_group, dfr.chosen_on), (tried, per_group, chosen_on));
        assert_eq!(read_metrics(&refitted).unwrap().len(), 2);
        assert!(run(&settings, dataset, &refitted).unwrap().up_to_date);
        let again = out(&format!("again-{name}"));
        run(&settings, dataset, &again).unwrap();
        assert!(
            bytes(&again, WEIGHTS) == bytes(&refitted, WEIGHTS)
                && bytes(&again, "run.json") == bytes(&refitted, "run.json")
        );
        let arguments = [Path::new(env!("CARGO_BIN_EXE_groupdistil")), dataset, &base, &refitted]
            .map(|path| path.to_str().unwrap());
        run_python("a_refit_run_is_a_run_with_another_last_layer", "dfr_reference.py", &arguments);
        let model = out(&format!("{name}.pt"));
        expect_exit(&mut groupdistil(&["export", refitted.to_str().unwrap(), "--out", model.to_str().unwrap()]), 0);
    }
    let (refitted, base, report) = (out("val"), out("base-val"), out("report"));
    let paths = [&refitted, &base, &report].map(|path| path.to_str().unwrap().to_owned());
    expect_exit(&mut groupdistil(&["audit", &paths[0], &paths[1], "--out", &paths[2]]), 0);
    let html = String::from_utf8(bytes(&report, "audit.html")).unwrap();
    assert!(html.contains(HELD_OUT) && html.contains("erm+dfr-val compact-resnet"));
    // A student of such a network inherits what it knows.
    let student =
        run(&settings("objective = \"kd\"\nepochs = 1", 1, Some(&refitted)), &shortcut, &out("student")).unwrap();
    assert_eq!(student.run.held_out.unwrap(), format!("its teacher {HELD_OUT}"));
}

#[test]
fn a_refit_that_cannot_be_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name);
    let dataset = write(&out("dataset"), Tiny { held: [[8, 2], [8, 8]], folds: Some(3), ..SHORTCUT });
    let mut base = settings("epochs = 1", 1, None);
    base.fold = Some(1);
    run(&base, &dataset, &out("base")).unwrap();
    let refused = |settings: &TrainSettings, kind: FailureKind, words: &[&str]| {
        let error = run(settings, &dataset, &out("refused")).unwrap_err();
        let message = error.to_string();
        assert!(error.kind() == kind && words.iter().all(|word| message.contains(word)), "{message}");
    };
    let text = "objective = \"dfr-train\"";
    refused(&settings(text, 1, None), FailureKind::Usage, &["--from RUN"]);
    refused(&refit("", &out("base")), FailureKind::Usage, &["leave --from away"]);
    refused(&refit(text, &out("base")), FailureKind::Unusable, &["trained with fold 1", "no fold"]);
    refused(&refit(text, &dataset), FailureKind::Unusable, &["no complete run"]);
    let dataset = write(&out("small"), Tiny { held: [[8, 2], [8, 8]], ..SHORTCUT });
    run(&settings("epochs = 1", 1, None), &dataset, &out("whole")).unwrap();
    let error =
        run(&refit("objective = \"dfr-val\"", &out("whole")), &dataset, &out("refused")).unwrap_err().to_string();
    assert!(error.contains("two subjects or more") && error.contains("`label=DCM;site=1`"), "{error}");
}

/// 72 training samples in batches of 16: 5 steps an epoch of the first run.
const JTT: &str = "objective = \"jtt\"\nepochs = 3\njtt_epochs = 2\njtt_upweight = 5\njtt_learning_rate = 1e-4";

#[test]
fn training_twice_repeats_the_errors_and_goes_on_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(&folder.path().join("dataset"), SHORTCUT);
    let settings = settings(JTT, 5, None);
    let whole = folder.path().join("whole");
    let done = run(&settings, &dataset, &whole).unwrap().run;
    let first = read_run_json(&whole.join("identify")).unwrap();
    assert_eq!((first.objective.as_str(), first.best_epoch, first.selection.as_str()), ("erm", 2, "last-epoch"));
    // The errors are those of the first run's training split, and an epoch is that much longer.
    let wrong = |run: &RunJson, group: &str| {
        let group = &run.final_metrics[&Split::Train].groups[group];
        group.n - (group.accuracy.unwrap() * group.n as f64).round() as u64
    };
    let jtt = done.jtt.clone().unwrap();
    assert!(jtt.errors.iter().all(|(group, &errors)| errors == wrong(&first, group)), "{jtt:?}");
    let errors: u64 = jtt.errors.values().sum();
    assert!(errors > 0, "a first run at this rate leaves errors");
    let seen: u64 = read_metrics(&whole).unwrap()[0].groups.values().map(|group| group.n).sum();
    assert_eq!(seen, 72 + 4 * errors);
    // Within the first run, at its end, and within the second.
    for stops in [&[3][..], &[10], &[14], &[4, 9]] {
        let parts = folder.path().join(format!("parts-{stops:?}"));
        for &steps in stops {
            let interrupt = Interrupt::default();
            let error =
                run_with(&settings, &dataset, &parts, &StopAfter::new(steps, &interrupt), &interrupt).unwrap_err();
            assert_eq!(error.kind(), FailureKind::Interrupted, "{error}");
        }
        run(&settings, &dataset, &parts).unwrap();
        expect_same(&whole, &parts);
        expect_same(&whole.join("identify"), &parts.join("identify"));
    }
}

#[test]
fn several_teachers_and_a_biased_network_are_named_and_listened_to() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(&folder.path().join("dataset"), SHORTCUT);
    let out = |name: &str| folder.path().join(name);
    for (name, seed) in [("one", 1), ("two", 2), ("biased", 3)] {
        run(&settings("epochs = 2", seed, None), &dataset, &out(name)).unwrap();
    }
    let taught = |text: &str, more: &[&str], biased: Option<&str>| TrainSettings {
        more_teachers: more.iter().map(|name| out(name)).collect(),
        biased: biased.map(out),
        ..settings(text, 1, Some(&out("one")))
    };
    let loss = |run: &RunJson| run.final_metrics[&Split::Val].loss.unwrap();
    let kd = "objective = \"kd\"\nepochs = 1\nprecision = \"float32\"";
    let alone = run(&taught(kd, &[], None), &dataset, &out("kd")).unwrap().run;
    let twice = run(&taught(kd, &["one"], None), &dataset, &out("kd-twice")).unwrap().run;
    let both = run(&taught(kd, &["two"], None), &dataset, &out("kd-both")).unwrap().run;
    assert!((loss(&alone) - loss(&twice)).abs() < 1e-3, "a teacher with itself is that teacher");
    assert!(bytes(&out("kd"), WEIGHTS) != bytes(&out("kd-both"), WEIGHTS), "the second is listened to");
    assert_eq!((alone.teachers.len(), both.teachers.len()), (0, 2));
    assert_eq!(both.teacher.as_ref(), both.teachers.first());
    assert!(
        !both.warnings.iter().any(|warning| warning.contains("is of seed")),
        "further teachers differ by seed: {:?}",
        both.warnings
    );
    for augment in ["false", "true"] {
        let text = format!("objective = \"agre-kd\"\nepochs = 8\nalpha = 0.7\naugment = {augment}");
        let name = format!("agreed-{augment}");
        let agreed = run(&taught(&text, &["two"], Some("biased")), &dataset, &out(&name)).unwrap().run;
        assert_eq!(agreed.biased.unwrap().seed, Some(3));
        let lines = read_metrics(&out(&name)).unwrap();
        assert!(lines[14].loss.unwrap() < lines[0].loss.unwrap(), "{lines:?}");
    }
    let refused = |settings: &TrainSettings, word: &str| {
        let error = run(settings, &dataset, &out("refused")).unwrap_err();
        assert!(error.kind() == FailureKind::Usage && error.to_string().contains(word), "{error}");
    };
    refused(&taught("objective = \"agre-kd\"", &["two"], None), "--biased");
    refused(&taught(kd, &["two"], Some("biased")), "leave --biased away");
    let paths = ["one", "two", "biased", "agreed-cli"].map(|name| out(name).to_str().unwrap().to_owned());
    let arguments =
        ["train", dataset.to_str().unwrap(), "--out", &paths[3], "--objective", "agre-kd", "--teacher", &paths[0]];
    let more =
        ["--teacher", &paths[1], "--biased", &paths[2], "--epochs", "1", "--arch", "compact-resnet", "--threads", "1"];
    let done = expect_exit(groupdistil(&arguments).args(more), 0);
    assert_eq!(String::from_utf8_lossy(&done.stdout).matches("teacher: compact-resnet by erm").count(), 2);
}

#[test]
fn a_foreign_teacher_gets_images_of_its_own_size_and_normalisation() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(&folder.path().join("dataset"), SHORTCUT);
    let model = folder.path().join("foreign.pt");
    let test = "a_foreign_teacher_gets_images_of_its_own_size";
    if run_python(test, "foreign_teacher.py", &[model.to_str().unwrap()]).is_none() {
        return;
    }
    let out = folder.path().join("student");
    let text = "objective = \"kd\"\nepochs = 1\naugment = true\nteacher_classes = [\"NOR\", \"DCM\"]";
    let error = run(&settings(text, 1, Some(&model)), &dataset, &out).unwrap_err().to_string();
    assert!(error.contains("cannot take images of 2 x 24 x 24") && error.contains("32 x 20"), "{error}");
    let sized = format!("{text}\nteacher_input = [32, 20]\nteacher_mean = [0.5, 0.5]\nteacher_std = [1.0, 2.0]");
    std::fs::remove_dir_all(&out).unwrap();
    let done = run(&settings(&sized, 1, Some(&model)), &dataset, &out).unwrap().run;
    assert_eq!(done.teacher.unwrap().kind, "torchscript");
    let text = String::from_utf8(bytes(&out, "settings.toml")).unwrap();
    assert!(text.contains("teacher_input") && text.contains("32"), "{text}");
}

#[test]
fn a_comparison_takes_the_methods_by_name_and_says_which_use_held_out_data() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(&folder.path().join("dataset"), SHORTCUT);
    let out = folder.path().join("compare");
    let arguments =
        ["compare", dataset.to_str().unwrap(), "--out", out.to_str().unwrap(), "--threads", "1", "--seeds", "1"];
    let mut command = groupdistil(&arguments);
    for setting in [
        "epochs=2",
        "arch=compact-resnet",
        "batch_size=16",
        "augment=false",
        "dfr_subsets=2",
        "method.jtt.jtt_upweight=3",
        "teachers=2",
    ] {
        command.args(["--set", setting]);
    }
    let done = expect_exit(command.args(["--methods", "jtt,dfr-train,dfr-val,group-distil+dfr-val,agre-kd"]), 0);
    let table = String::from_utf8_lossy(&done.stdout);
    assert!(table.contains(&format!("note: dfr-val: {HELD_OUT}")), "{table}");
    assert!(
        table.contains(&format!("note: group-distil+dfr-val: {HELD_OUT}")) && !table.contains("note: dfr-train"),
        "{table}"
    );
    let compare: CompareJson = serde_json::from_slice(&bytes(&out, "compare.json")).unwrap();
    let methods: Vec<&str> = compare.summary.iter().map(|summary| summary.method.as_str()).collect();
    let expected = [
        "teacher",
        "teacher-2",
        "jtt",
        "erm",
        "dfr-train",
        "dfr-val",
        "group-distil",
        "group-distil+dfr-val",
        "agre-kd",
    ];
    assert_eq!(methods, expected);
    assert!(compare.runs.iter().all(|run| run.seed == 0));
    let of = |method: &str| read_run_json(&out.join("seed-0").join(method)).unwrap();
    let refitted = of("group-distil+dfr-val").dfr.unwrap();
    assert_eq!(refitted.from.objective.as_deref(), Some("group-distil"));
    assert_eq!((refitted.subsets, of("jtt").jtt.unwrap().upweight), (2, 3));
    let agreed = of("agre-kd");
    assert_eq!((agreed.teachers.len(), agreed.biased.unwrap().objective.as_deref()), (2, Some("erm")));
    let csv = String::from_utf8(bytes(&out, "compare.csv")).unwrap();
    assert!(csv.lines().next().unwrap().ends_with(",held_out"), "{csv}");
}
