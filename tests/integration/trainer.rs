//! The trainer's schedules, clipping, averages and selections on tiny datasets; starting from weights on disk.
#![cfg(feature = "torch")]

use groupdistil::context::Interrupt;
use groupdistil::failure::{Classify, FailureKind};
use groupdistil::formats::dataset::Split;
use groupdistil::formats::run::{CURVES, WEIGHTS, read_metrics};

use crate::support::{expect_exit, groupdistil};
use crate::train::{SHORTCUT, StopAfter, Tiny, bytes, expect_same, run, run_with, settings, write};

#[test]
fn averages_clipping_and_dropout_go_on_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(&folder.path().join("dataset"), Tiny { side: 32, ..SHORTCUT });
    let variants = [
        "epochs = 3\nema_decay = 0.9\nclip_norm = 0.5\nschedule = \"step\"\nselection = \"auroc\"\nchannels_last = true",
        "epochs = 3\nema_decay = 0.5\narch = \"efficientnet-b0\"\nprecision = \"float32\"\nselection = \"worst-group-loss\"",
    ];
    for (number, text) in variants.into_iter().enumerate() {
        let settings = settings(text, 5, None);
        let whole = folder.path().join(format!("whole{number}"));
        run(&settings, &dataset, &whole).unwrap();
        for steps in [3, 10, 13] {
            let parts = folder.path().join(format!("parts{number}-{steps}"));
            let interrupt = Interrupt::default();
            let stop = StopAfter::new(steps, &interrupt);
            let error = run_with(&settings, &dataset, &parts, &stop, &interrupt).unwrap_err();
            assert_eq!(error.kind(), FailureKind::Interrupted, "{error}");
            run(&settings, &dataset, &parts).unwrap();
            expect_same(&whole, &parts);
        }
    }
}

#[test]
fn the_selected_epoch_is_the_best_by_the_chosen_figure() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(&folder.path().join("dataset"), SHORTCUT);
    for selection in ["worst-group-loss", "auroc", "worst-group-auroc"] {
        let out = folder.path().join(selection);
        let text = format!("epochs = 5\nselection = \"{selection}\"\nema_decay = 0.8");
        let done = run(&settings(&text, 2, None), &dataset, &out).unwrap().run;
        assert_eq!(done.selection, selection);
        let figures: Vec<(u64, f64)> = read_metrics(&out)
            .unwrap()
            .into_iter()
            .filter(|line| line.split == Split::Val)
            .map(|line| {
                let worst = line.groups.values().map(|group| group.loss.unwrap()).fold(0.0, f64::max);
                let figure = match selection {
                    "auroc" => line.auroc.unwrap(),
                    "worst-group-auroc" => line.worst_group_auroc.unwrap(),
                    _ => -worst,
                };
                (line.epoch, figure)
            })
            .collect();
        let best = figures.iter().map(|(_, figure)| *figure).fold(f64::MIN, f64::max);
        assert!(figures.contains(&(done.best_epoch, best)), "{selection}: {} of {figures:?}", done.best_epoch);
        // The averaged weights are the ones that are kept: their evaluation is that of the epoch's line.
        let line = &done.final_metrics[&Split::Val];
        assert_eq!(if selection == "auroc" { line.auroc } else { Some(best) }, Some(best));
        let svg = String::from_utf8(bytes(&out, CURVES)).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("label=NOR;site=1"), "{svg}");
    }
    let one_sided = write(&folder.path().join("one-sided"), Tiny { held: [[8, 0], [0, 8]], ..SHORTCUT });
    let refused = settings("selection = \"worst-group-auroc\"", 0, None);
    let error = run(&refused, &one_sided, &folder.path().join("refused")).unwrap_err().to_string();
    assert!(error.contains("every class in any acquisition group"), "{error}");
}

#[test]
fn a_run_starts_from_a_run_or_its_model_and_knows_what_from() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(&folder.path().join("dataset"), SHORTCUT);
    let out = |name: &str| folder.path().join(name);
    run(&settings("epochs = 2", 0, None), &dataset, &out("first")).unwrap();
    let (first, model) = (out("first"), out("model.pt"));
    expect_exit(&mut groupdistil(&["export", first.to_str().unwrap(), "--out", model.to_str().unwrap()]), 0);
    let weights = first.join(WEIGHTS);
    let mut runs = Vec::new();
    for (name, init) in
        [("of-run", Some(&first)), ("of-weights", Some(&weights)), ("of-model", Some(&model)), ("anew", None)]
    {
        let mut settings = settings("epochs = 1", 1, None);
        settings.init = init.cloned();
        runs.push(run(&settings, &dataset, &out(name)).unwrap().run);
        let text = std::fs::read_to_string(out(name).join("settings.toml")).unwrap();
        assert!(!text.contains("first") && !text.contains("model.pt"), "{text}");
    }
    assert!(bytes(&out("of-run"), WEIGHTS) == bytes(&out("of-weights"), WEIGHTS));
    assert!(bytes(&out("of-run"), WEIGHTS) == bytes(&out("of-model"), WEIGHTS));
    assert!(bytes(&out("of-run"), WEIGHTS) != bytes(&out("anew"), WEIGHTS));
    assert_eq!(runs[0].init, runs[1].init);
    let (of_run, of_model) = (runs[0].init.as_ref().unwrap(), runs[2].init.as_ref().unwrap());
    assert_ne!(of_run.weights_sha256, of_model.weights_sha256);
    assert_eq!((of_run.channels, of_run.new_last_layer, &runs[3].init), (2, false, &None));

    // The file's hash is part of what a RUN was made from, and the command has a flag for it.
    let arguments = ["train", dataset.to_str().unwrap(), "--arch", "compact-resnet", "--epochs", "1", "--threads", "1"];
    let command = |init: &std::path::Path| {
        let mut command = groupdistil(&arguments);
        command.args(["--out", out("by-command").to_str().unwrap(), "--init", init.to_str().unwrap()]);
        command
    };
    expect_exit(&mut command(&weights), 0);
    expect_exit(&mut command(&first), 0);
    let differs = expect_exit(&mut command(&model), 2);
    assert!(String::from_utf8_lossy(&differs.stderr).contains("other settings or inputs"));
    let missing = expect_exit(&mut command(&out("nothing.pth")), 1);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("nothing.pth"));
}

#[test]
fn weights_of_another_fold_are_refused_and_those_of_another_dataset_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let folds = write(&folder.path().join("folds"), Tiny { folds: Some(3), ..SHORTCUT });
    let other = write(&folder.path().join("other"), SHORTCUT);
    let out = |name: &str| folder.path().join(name);
    let mut first = settings("epochs = 1", 0, None);
    first.fold = Some(1);
    run(&first, &folds, &out("first")).unwrap();
    let (trained, model) = (out("first"), out("model.pt"));
    expect_exit(&mut groupdistil(&["export", trained.to_str().unwrap(), "--out", model.to_str().unwrap()]), 0);
    for init in [trained.clone(), trained.join(WEIGHTS), model] {
        let mut second = settings("epochs = 1", 0, None);
        (second.fold, second.init) = (Some(2), Some(init.clone()));
        let error = run(&second, &folds, &out("second")).unwrap_err().to_string();
        assert!(error.contains("trained with fold 1, this run is with fold 2"), "{error}");
        (second.fold, second.init) = (None, Some(init));
        let name = format!("third-{}", second.init.as_ref().unwrap().file_name().unwrap().to_str().unwrap());
        let warnings = run(&second, &other, &out(&name)).unwrap().run.warnings;
        assert!(
            warnings.iter().any(|warning| warning.contains("started from were trained on another dataset")),
            "{warnings:?}"
        );
    }
}
