//! Train under SIGKILL, Ctrl-C and on a full disk, as the command runs it: the same command goes on and ends as if
//! nothing had been. And with an early stop, which an interruption does not move.
#![cfg(feature = "torch")]

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use groupdistil::context::Interrupt;
use groupdistil::failure::{Classify, FailureKind};
use groupdistil::formats::dataset::Split;
use groupdistil::formats::run::{METRICS_JSONL, PREDICTIONS, RUN_JSON, read_metrics};

use crate::ingest::{json, text};
use crate::support::{expect_exit, groupdistil, skip_on_this_machine};
use crate::train::{SHORTCUT, StopAfter, expect_same, run, run_with, settings, write};

/// So many that there is always one left to be stopped in.
const EPOCHS: u64 = 30;

/// `train` with state of every kind: group weights, moments, averaged weights, augmentation. Not quiet: a checkpoint
/// that cannot be used is a warning.
fn command(dataset: &Path, out: &Path) -> Command {
    let mut command = groupdistil(&["train", text(dataset), "--out", text(out), "--device", "cpu", "--threads", "2"]);
    command.args(["--objective", "group-dro", "--arch", "tiny-resnet", "--seed", "3", "--epochs", &EPOCHS.to_string()]);
    command.args(["--set", "batch_size=8", "--set", "learning_rate=3e-3", "--set", "ema_decay=0.9"]);
    command
}

/// What the checkpoint of a RUN says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    pub epochs: u64,
    pub steps: u64,
    /// Length of `metrics.jsonl` when it was written.
    pub metrics_bytes: u64,
}

/// The checkpoint of the RUN at `out`; `None` before the first one.
pub fn kept(out: &Path) -> Option<Kept> {
    let read = |folder: &str| std::fs::read(out.join(folder).join("checkpoint.json")).ok();
    // Between two renames the old one has another name.
    let bytes = read("checkpoint").or_else(|| read("checkpoint.old"))?;
    let record: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let number = |pointer: &str| record.pointer(pointer).unwrap().as_u64().unwrap();
    let metrics_bytes = number("/metrics_bytes");
    Some(Kept { epochs: number("/position/epochs"), steps: number("/position/steps"), metrics_bytes })
}

/// The step at which the last call went on.
pub fn resumed_at_step(out: &Path) -> u64 {
    json(&out.join("provenance.json"))["notes"]["resumed_at_step"].as_u64().unwrap()
}

/// Waits until `ready`, or until the child has ended.
fn wait_until(child: &mut Child, ready: impl Fn() -> bool) {
    while !ready() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Kills the child with SIGKILL once `ready` and a little later; `false` when it was done before.
pub fn kill_when(child: &mut Child, ready: impl Fn() -> bool, later: Duration) -> bool {
    wait_until(child, ready);
    std::thread::sleep(later);
    // Child::kill is SIGKILL on Unix: no handler runs, nothing is flushed.
    child.kill().unwrap();
    let status = child.wait().unwrap();
    let was_killed = status.signal() == Some(9);
    assert!(was_killed || status.success(), "{status}");
    was_killed
}

/// Where a kill falls.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// The folder is there, and little else.
    Folder,
    /// Another epoch is kept, and steps follow.
    Steps,
    /// The next epoch's metrics are written, and no checkpoint knows of them.
    Metrics,
    /// The next checkpoint is half written.
    Checkpoint,
    /// Every epoch is trained.
    Trained,
    /// The predictions are written, and not yet `run.json`.
    Finish,
}

const MOMENTS: [Moment; 9] = [
    Moment::Folder,
    Moment::Steps,
    Moment::Metrics,
    Moment::Checkpoint,
    Moment::Steps,
    Moment::Checkpoint,
    Moment::Steps,
    Moment::Trained,
    Moment::Finish,
];

impl Moment {
    /// Whether it has come in a run that began when `before` epochs were kept.
    fn has_come(self, out: &Path, before: u64) -> bool {
        let kept = kept(out);
        let goes_on = kept.is_some_and(|kept| kept.epochs > before);
        match self {
            Self::Folder => out.join(".lock").is_file(),
            Self::Steps => goes_on,
            Self::Metrics => {
                let found = std::fs::metadata(out.join(METRICS_JSONL)).map_or(0, |file| file.len());
                goes_on && kept.is_some_and(|kept| found > kept.metrics_bytes)
            }
            Self::Checkpoint => goes_on && out.join("checkpoint.new").exists(),
            Self::Trained => kept.is_some_and(|kept| kept.epochs == EPOCHS),
            Self::Finish => out.join(PREDICTIONS).is_file(),
        }
    }

    /// How long after it the kill comes. Where exactly does not matter, so it need not be the same every time.
    fn later(self, number: u32) -> Duration {
        match self {
            Self::Folder | Self::Steps => Duration::from_micros(u64::from(std::process::id() + number * 7919) % 30_000),
            _ => Duration::ZERO,
        }
    }
}

#[test]
fn a_training_killed_at_any_step_goes_on_and_ends_with_the_same_weights() {
    let temporary = tempfile::tempdir().unwrap();
    let dataset = write(&temporary.path().join("dataset"), SHORTCUT);
    let [whole, killed, log] = ["whole", "killed", "log"].map(|name| temporary.path().join(name));
    expect_exit(&mut command(&dataset, &whole), 0);
    let mut kills = 0;
    for (number, moment) in (0_u32..).zip(MOMENTS) {
        let before = kept(&killed).map_or(0, |kept| kept.epochs);
        let stderr = File::options().create(true).append(true).open(&log).unwrap();
        let mut child = command(&dataset, &killed).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        let was_killed = kill_when(&mut child, || moment.has_come(&killed, before), moment.later(number));
        kills += u32::from(was_killed && kept(&killed).is_some());
    }
    assert!(kills >= 3, "only {kills} runs could be killed after a checkpoint");
    expect_exit(&mut command(&dataset, &killed), 0);
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(!log.contains("anew"), "{log}");
    assert!(resumed_at_step(&killed) > 0);
    expect_same(&whole, &killed);
}

/// A tmpfs, gone when dropped.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: a test that failed may have left a program that writes to it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A small disk at `folder`, or why there can be none on this machine.
fn small_disk(folder: &Path) -> Result<Mounted, String> {
    std::fs::create_dir(folder).unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=32m", "tmpfs"]).arg(folder);
    let output = mount.output().map_err(|error| format!("mount: {error}"))?;
    if output.status.success() {
        return Ok(Mounted(folder.to_path_buf()));
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// Takes what is left of the disk.
fn fill(filler: &mut File) {
    let error = loop {
        if let Err(error) = filler.write_all(&[0; 4096]) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
}

#[test]
fn a_full_disk_keeps_the_last_good_checkpoint() {
    let temporary = tempfile::tempdir().unwrap();
    let [whole, disk] = ["whole", "disk"].map(|name| temporary.path().join(name));
    let _mounted = match small_disk(&disk) {
        Ok(mounted) => mounted,
        Err(reason) => return skip_on_this_machine("a_full_disk_keeps_the_last_good_checkpoint", &reason),
    };
    let dataset = write(&temporary.path().join("dataset"), SHORTCUT);
    expect_exit(&mut command(&dataset, &whole), 0);
    let (out, filler) = (disk.join("run"), disk.join("filler"));
    let mut file = File::create(&filler).unwrap();
    let mut child = command(&dataset, &out).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until(&mut child, || kept(&out).is_some());
    // Again and again: an older checkpoint that is removed makes room for a newer one.
    while child.try_wait().unwrap().is_none() {
        fill(&mut file);
        std::thread::sleep(Duration::from_micros(100));
    }
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains(text(&out)) && message.contains("No space left"), "{message}");
    assert!(!out.join(RUN_JSON).exists());
    let good = kept(&out).unwrap();
    assert!((1..EPOCHS).contains(&good.epochs), "{good:?}");

    drop(file);
    std::fs::remove_file(&filler).unwrap();
    expect_exit(&mut command(&dataset, &out), 0);
    assert_eq!(resumed_at_step(&out), good.steps);
    expect_same(&whole, &out);
}

/// Sends a signal by the shell's own `kill`.
fn send(child: &Child, signal: &str) {
    let line = format!("kill -{signal} {}", child.id());
    expect_exit(Command::new("sh").args(["-c", &line]), 0);
}

#[test]
fn ctrl_c_ends_after_the_step_with_everything_saved_and_exit_code_130() {
    let temporary = tempfile::tempdir().unwrap();
    let dataset = write(&temporary.path().join("dataset"), SHORTCUT);
    let [whole, parts] = ["whole", "parts"].map(|name| temporary.path().join(name));
    expect_exit(&mut command(&dataset, &whole), 0);
    let mut before = 0;
    // What Ctrl-C sends, and what a batch system sends before it kills.
    for signal in ["INT", "TERM"] {
        let mut child = command(&dataset, &parts).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        wait_until(&mut child, || kept(&parts).is_some_and(|kept| kept.epochs > before));
        send(&child, signal);
        let output = child.wait_with_output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{message}");
        let now = kept(&parts).unwrap();
        assert!(message.contains(&format!("everything up to step {} is kept", now.steps)), "{now:?}: {message}");
        assert!(now.epochs > before && !parts.join(RUN_JSON).exists(), "{now:?}");
        before = now.epochs;
    }
    let last = kept(&parts).unwrap();
    expect_exit(&mut command(&dataset, &parts), 0);
    assert_eq!(resumed_at_step(&parts), last.steps);
    expect_same(&whole, &parts);
}

/// Index of the least loss, the first of equal ones.
fn least(losses: &[f64]) -> usize {
    (0..losses.len()).min_by(|&a, &b| losses[a].total_cmp(&losses[b])).unwrap()
}

#[test]
fn early_stopping_ends_the_run_and_keeps_the_best_epoch() {
    let temporary = tempfile::tempdir().unwrap();
    let dataset = write(&temporary.path().join("dataset"), SHORTCUT);
    // A learning rate that stays high: the validation loss goes up and down.
    let settings = settings(
        "arch = \"tiny-resnet\"\nepochs = 60\nearly_stop_epochs = 2\nselection = \"loss\"\nschedule = \"constant\"\n\
         warm_up_epochs = 0\nlearning_rate = 0.02",
        5,
        None,
    );
    let whole = temporary.path().join("whole");
    let done = run(&settings, &dataset, &whole).unwrap().run;
    let lines = read_metrics(&whole).unwrap();
    let validated = lines.iter().filter(|line| line.split == Split::Val);
    let losses: Vec<f64> = validated.map(|line| line.loss.unwrap()).collect();
    let best = least(&losses);
    assert!(losses.len() < 60, "{losses:?}");
    assert_eq!((done.epochs, done.best_epoch), (losses.len() as u64, best as u64 + 1), "{losses:?}");
    assert_eq!(losses.len() - 1 - best, 2, "{losses:?}");
    // Nor had there been two epochs without a better one before.
    for epochs in 1..losses.len() {
        assert!(epochs - 1 - least(&losses[..epochs]) < 2, "{losses:?}");
    }
    // The weights that are kept are those of the best epoch; batches of another size may round otherwise.
    let kept = done.final_metrics[&Split::Val].loss.unwrap();
    assert!((kept - losses[best]).abs() < 1e-4 * (1.0 + losses[best]), "{kept} of {losses:?}");
    assert!(run(&settings, &dataset, &whole).unwrap().up_to_date);

    // Early, within the epochs that are no better, and between the last step and its evaluation.
    for steps in [3, done.steps / 2, done.steps - 1, done.steps] {
        let parts = temporary.path().join(format!("parts-{steps}"));
        let interrupt = Interrupt::default();
        let stop = StopAfter::new(steps, &interrupt);
        let error = run_with(&settings, &dataset, &parts, &stop, &interrupt).unwrap_err();
        assert_eq!(error.kind(), FailureKind::Interrupted, "{error}");
        let resumed = run(&settings, &dataset, &parts).unwrap().run;
        assert_eq!((resumed.epochs, resumed.best_epoch), (done.epochs, done.best_epoch));
        expect_same(&whole, &parts);
    }
}
