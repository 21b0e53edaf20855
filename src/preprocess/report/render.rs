//! `report.html`: one self-contained page of the report's numbers. Nothing is computed here.

use maud::{Markup, html};

use super::numbers::{GroupGrey, Probe, Report, Scale};
use super::probe::{C, FEWEST_SUBJECTS, FOLDS, Guessed, MOST_STACKS};
use crate::formats::quality::QualityFlag;
use crate::page::{self, Align, DataTable, Page, Section, TableRow, shell};

/// Okabe and Ito's colours, which colour-blind people tell apart, as the audit uses them; the yellow is left out on white.
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#1b2733"];
/// Dash patterns of groups that share a colour.
const DASHES: [&str; 3] = ["", "6 3", "2 3"];
/// More groups are not drawn: their lines could not be told apart.
const MOST_LINES: usize = 21;
/// Drawing area, px.
const LEFT: f64 = 44.0;
const TOP: f64 = 10.0;
const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 160.0;

/// The page.
pub(super) fn html(report: &Report) -> String {
    let subtitle = format!(
        "{} stacks of {} subjects in {} acquisition groups",
        report.stacks,
        report.subjects,
        report.groups.len()
    );
    shell(Page {
        title: "How alike the scanners' images are",
        kind: "Preprocessing report",
        subtitle: &subtitle,
        lead: lead(report),
        sections: vec![
            Section { id: "grey-values", title: "Grey values", body: grey_values(report) },
            Section { id: "probe", title: "Which scanner was it?", body: probes(report) },
            Section { id: "flags", title: "Quality flags", body: flags(report) },
        ],
        style: ".tiles{margin-top:20px}",
        script: None,
        footer: html! { p { "groupdistil " (env!("CARGO_PKG_VERSION")) ". Made from report.json beside it. No medical device." } },
    })
}

fn share(value: f64) -> String {
    format!("{value:.2}")
}

fn lead(report: &Report) -> Markup {
    let flagged: usize = report.groups.iter().map(|group| group.flagged).sum();
    let figure = |guessed: Option<&Guessed>| guessed.map_or("not told".to_owned(), |one| share(one.balanced_accuracy));
    let tile = |probe: &Probe| {
        let after = probe.after.as_ref();
        let chance = after.map_or_else(
            || probe.reason.clone().unwrap_or_default(),
            |one| format!("of subjects by a linear probe; {} by chance", share(one.chance)),
        );
        (
            html! { (capital(&probe.target)) " told before, after" },
            html! { @if after.is_some() { (figure(probe.before.as_ref())) ", " } (figure(after)) },
            html! { (chance) },
        )
    };
    let mut tiles: Vec<_> = report.probes.iter().map(tile).collect();
    tiles.push((html! { "Stacks to look at" }, html! { (flagged) }, html! { "of " (report.stacks) "; see sheets/" }));
    tiles.push((html! { "Left out" }, html! { (report.left_out) }, html! { "stacks, with reasons in exclusions.csv" }));
    page::tiles(&tiles)
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

fn grey_values(report: &Report) -> Markup {
    let drawn = &report.groups[..report.groups.len().min(MOST_LINES)];
    let constant = number(report.before.unit);
    html! {
        p { "Mean histograms of the acquisition groups. Both charts show the same pixels: the crops on the common grid, before and after the
            intensity steps (" (report.steps) "). Lines that lie on each other mean images that a network finds alike in brightness." }
        (legend(drawn))
        @if drawn.len() < report.groups.len() {
            p.note { "The first " (MOST_LINES) " of " (report.groups.len()) " groups are drawn; report.json has all." }
        }
        div.pair {
            div { h3 { "Before" } (chart(drawn, &report.before, |group| &group.before, "source value / ".to_owned() + &constant)) }
            div { h3 { "After" } (chart(drawn, &report.after, |group| &group.after, "value that the network gets".to_owned())) }
        }
        p.note { "Before, all source values are divided by one constant of the cohort (" (constant) ", the 95th percentile over stacks of their
            99th percentile). What lies beyond a scale counts in its outer bins." }
    }
}

/// Few digits, whatever the size.
fn number(value: f64) -> String {
    let digits = if value.abs() >= 100.0 {
        0
    } else if value.abs() >= 1.0 {
        1
    } else {
        3
    };
    format!("{value:.digits$}")
}

fn stroke(index: usize) -> (&'static str, &'static str) {
    (COLOURS[index % COLOURS.len()], DASHES[index / COLOURS.len() % DASHES.len()])
}

fn legend(groups: &[GroupGrey]) -> Markup {
    html! { ul.legend { @for (index, group) in groups.iter().enumerate() {
        @let (colour, dash) = stroke(index);
        li {
            svg width="26" height="10" aria-hidden="true" {
                line x1="0" x2="26" y1="5" y2="5" stroke=(colour) stroke-width="3" stroke-dasharray=(dash) {}
            }
            code { (group.name) }
        }
    } } }
}

/// Shares per bin as lines through the bins' middles.
fn chart(groups: &[GroupGrey], scale: &Scale, pick: fn(&GroupGrey) -> &Vec<f64>, x_title: String) -> Markup {
    let most = groups.iter().flat_map(pick).copied().fold(0.0, f64::max);
    // The darkest bin may hold half of all pixels: what lies above the top is cut, so that the rest can be seen.
    let inner = groups.iter().flat_map(|group| pick(group).iter().skip(1)).copied().fold(0.0, f64::max);
    let high = nice((1.15 * inner).min(most).max(0.02));
    let y = |value: f64| TOP + (1.0 - (value / high).clamp(0.0, 1.0)) * HEIGHT;
    let points = |values: &[f64]| {
        let place = |(bin, value): (usize, &f64)| {
            let x = LEFT + (bin as f64 + 0.5) / values.len().max(1) as f64 * WIDTH;
            format!("{x:.1},{:.1}", y(*value))
        };
        values.iter().enumerate().map(place).collect::<Vec<_>>().join(" ")
    };
    let tick = |part: u8| f64::from(part) / 4.0;
    html! {
        svg.chart viewBox="0 0 364 206" role="img" aria-label={ "Histograms per group over " (x_title) } {
            @for part in 0..=4u8 {
                @let value = high * tick(part);
                line x1=(LEFT) x2=(LEFT + WIDTH) y1=(format!("{:.1}", y(value))) y2=(format!("{:.1}", y(value))) stroke="#e3e9ed" {}
                text x=(LEFT - 5.0) y=(format!("{:.1}", y(value) + 4.0)) text-anchor="end" { (percent(value)) }
                @let at = LEFT + WIDTH * tick(part);
                text x=(at) y=(TOP + HEIGHT + 15.0) text-anchor="middle" { (format!("{:.2}", scale.low + (scale.high - scale.low) * tick(part))) }
            }
            text x=(LEFT + WIDTH / 2.0) y=(TOP + HEIGHT + 31.0) text-anchor="middle" { (x_title) }
            @for (index, group) in groups.iter().enumerate() {
                @let (colour, dash) = stroke(index);
                polyline points=(points(pick(group))) fill="none" stroke=(colour) stroke-width="1.8" stroke-linejoin="round"
                    stroke-dasharray=(dash) {}
            }
        }
    }
}

/// Whole percents without a decimal.
fn percent(share: f64) -> String {
    let digits = usize::from((100.0 * share).fract().abs() > 0.01);
    format!("{:.digits$} %", 100.0 * share)
}

/// The next of 2, 4, 8 % and so on.
fn nice(value: f64) -> f64 {
    [0.02, 0.04, 0.08, 0.12, 0.2, 0.4, 0.6, 0.8].into_iter().find(|top| value <= *top).unwrap_or(1.0)
}

fn probes(report: &Report) -> Markup {
    html! {
        p { "A linear classifier guesses the scanner of subjects that it has not seen, from a histogram of 32 bins and an image of 8 x 8 means per
            stack. What it tells, a network can use instead of the heart. Near chance is good; well above chance after the intensity steps
            means that scanners still look different, or have different patients." }
        (probe_table(report))
        @for probe in &report.probes {
            @if let Some(reason) = &probe.reason { p.note { (capital(&probe.target)) ": not probed, " (reason) "." } }
            @for (when, guessed) in [("before", &probe.before), ("after", &probe.after)] {
                @if let Some(guessed) = guessed { p.note { (capital(&probe.target)) ", " (when) ": " (recalls(guessed)) } }
            }
        }
        p.note { "Multinomial logistic regression, ridge C = " (C) ", features standardised on the training folds; " (FOLDS) " folds by subject; a subject's
            stacks vote together. Balanced accuracy: the mean over classes of the share of subjects guessed right. Intervals are Wilson's at the
            size that this mean amounts to. Classes under " (FEWEST_SUBJECTS) " subjects are left out; at most " (MOST_STACKS) " stacks are probed." }
    }
}

fn recalls(guessed: &Guessed) -> Markup {
    html! {
        @for (index, class) in guessed.classes.iter().enumerate() {
            @if index > 0 { ", " } (class.name) " " (share(class.recall)) " of " (class.subjects)
        }
        "." @if !guessed.classes_too_small.is_empty() { " Too few subjects: " (guessed.classes_too_small.join(", ")) "." }
        @if guessed.stacks_unused > 0 { " " (guessed.stacks) " of " (guessed.stacks + guessed.stacks_unused) " stacks." }
    }
}

fn probe_table(report: &Report) -> Markup {
    let cell = |guessed: &Option<Guessed>| match guessed {
        None => html! { "-" },
        Some(one) => html! {
            (share(one.balanced_accuracy))
            @if let Some(interval) = one.interval { span.range { (share(interval.low)) " to " (share(interval.high)) } }
        },
    };
    let row = |probe: &Probe| {
        let after = probe.after.as_ref();
        let classes = after.map_or("-".to_owned(), |one| one.classes.len().to_string());
        let subjects: usize = after.map_or(0, |one| one.classes.iter().map(|class| class.subjects).sum());
        let cells = vec![
            html! { (capital(&probe.target)) },
            html! { (classes) },
            html! { (subjects) },
            html! { (after.map_or("-".to_owned(), |one| share(one.chance))) },
            cell(&probe.before),
            cell(&probe.after),
        ];
        TableRow { class: "", cells }
    };
    let header = [
        ("What is guessed", Align::Left),
        ("Classes", Align::Right),
        ("Subjects", Align::Right),
        ("Chance", Align::Right),
        ("Before", Align::Right),
        ("After", Align::Right),
    ];
    let header = header.iter().map(|(name, align)| (page::text(name), *align)).collect();
    let caption = page::text("Balanced accuracy of the probe by subject, with 95 % intervals");
    DataTable { caption, header, rows: report.probes.iter().map(row).collect() }.render()
}

fn flags(report: &Report) -> Markup {
    let row = |group: &GroupGrey| {
        let mut cells = vec![html! { code { (group.name) } }, html! { (group.stacks) }, html! { (group.flagged) }];
        cells.extend(QualityFlag::ALL.map(|flag| {
            let count = group.flags.get(flag.as_str()).copied().unwrap_or(0);
            html! { @if count > 0 { b { (count) } } @else { "0" } }
        }));
        TableRow { class: "", cells }
    };
    let mut header = vec![
        (html! { "Acquisition group" }, Align::Left),
        (html! { "Stacks" }, Align::Right),
        (html! { "Flagged" }, Align::Right),
    ];
    header.extend(QualityFlag::ALL.map(|flag| (html! { (flag.as_str()) }, Align::Right)));
    let caption = page::text(
        "Stacks per flag. Flags report and never leave a stack out; quality.csv has the numbers behind them",
    );
    html! {
        (DataTable { caption, header, rows: report.groups.iter().map(row).collect() }.render())
        dl.terms { @for flag in QualityFlag::ALL { dt { code { (flag.as_str()) } } dd { (flag.meaning()) } } }
    }
}
