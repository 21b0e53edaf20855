//! Progress bars and log lines on stderr.

use std::io::IsTerminal;
use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use super::{Global, ProgressMode};
use crate::context::Observer;

/// Draws the progress of the current step.
pub struct Reporter {
    mode: Mode,
    bar: Mutex<Option<ProgressBar>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Bars,
    Lines,
    Nothing,
}

impl Reporter {
    /// Chooses bars, lines or silence by `--progress`, `--quiet` and whether stderr is a terminal.
    pub fn new(global: &Global) -> Self {
        let mode = match global.progress {
            _ if global.quiet => Mode::Nothing,
            ProgressMode::Auto if std::io::stderr().is_terminal() => Mode::Bars,
            ProgressMode::Plain => Mode::Lines,
            ProgressMode::Auto | ProgressMode::Never => Mode::Nothing,
        };
        Self { mode, bar: Mutex::new(None) }
    }

    fn with_bar(&self, act: impl FnOnce(&ProgressBar)) {
        if let Ok(bar) = self.bar.lock()
            && let Some(bar) = bar.as_ref()
        {
            act(bar);
        }
    }
}

impl Observer for Reporter {
    #[expect(clippy::print_stderr, reason = "plain progress lines are this type's purpose")]
    fn stage(&self, title: &str) {
        if self.mode != Mode::Nothing {
            eprintln!("{title}");
        }
    }

    #[expect(clippy::print_stderr, reason = "plain progress lines are this type's purpose")]
    fn begin(&self, step: &str, total: Option<u64>) {
        if self.mode == Mode::Lines {
            eprintln!("{step}");
        }
        let target = if self.mode == Mode::Bars { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let template = match total {
            Some(_) => "{prefix:28} {bar:30} {pos}/{len} {eta} {msg}",
            None => "{prefix:28} {spinner} {pos} {elapsed} {msg}",
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(total, target).with_style(style).with_prefix(step.to_owned());
        if let Ok(mut current) = self.bar.lock() {
            *current = Some(bar);
        }
    }

    fn advance(&self, items: u64) {
        self.with_bar(|bar| bar.inc(items));
    }

    fn remark(&self, text: &str) {
        self.with_bar(|bar| bar.set_message(text.to_owned()));
    }

    #[expect(clippy::print_stderr, reason = "plain progress lines are this type's purpose")]
    fn line(&self, text: &str) {
        match self.mode {
            Mode::Bars => self.with_bar(|bar| bar.println(text)),
            Mode::Lines => eprintln!("{text}"),
            Mode::Nothing => {}
        }
    }

    fn end(&self) {
        self.with_bar(ProgressBar::finish_and_clear);
        if let Ok(mut bar) = self.bar.lock() {
            *bar = None;
        }
    }
}

/// Log lines go to stderr; warnings by default, `-v` info, `-vv` debug, `-q` errors.
pub fn start_logging(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => tracing::Level::ERROR,
        (false, 0) => tracing::Level::WARN,
        (false, 1) => tracing::Level::INFO,
        (false, _) => tracing::Level::DEBUG,
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time();
    // The DICOM library's own remarks come per element and may quote it; what matters of them is in our errors.
    let filter = Targets::new().with_default(level).with_target("dicom_", LevelFilter::OFF);
    // A second start (tests) finds the first one's subscriber in place.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
}
