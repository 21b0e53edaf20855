//! The page: filters over the cards, then whatever tables the caller adds.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::card::Card;
use crate::page::{Page, Section, shell};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// Everything on a page.
pub struct ContactSheet<'a> {
    /// Kind of page, for example `Inspection`.
    pub kind: &'a str,
    /// Heading.
    pub title: &'a str,
    /// Line below it.
    pub subtitle: &'a str,
    /// Before the cards.
    pub lead: Markup,
    /// One per stack.
    pub cards: &'a [Card],
    /// What was left out or shown in part.
    pub notes: &'a [String],
    /// How to read a picture.
    pub legend: Markup,
    /// After the cards.
    pub sections: Vec<Section>,
}

/// The page as HTML text.
pub fn html(sheet: ContactSheet<'_>) -> String {
    let ContactSheet { kind, title, subtitle, lead, cards, notes, legend, sections } = sheet;
    let body = html! {
        (filters(cards))
        @for note in notes { p.note { (note) } }
        div.cards { @for card in cards { (card.render()) } }
        details.legend-box { summary { "How to read a picture" } (legend) }
    };
    let stacks = Section { id: "stacks", title: "Stacks", body };
    shell(Page {
        title,
        kind,
        subtitle,
        lead,
        sections: std::iter::once(stacks).chain(sections).collect(),
        style: STYLE,
        script: Some(SCRIPT),
        footer: html! {
            p { "groupdistil " (env!("CARGO_PKG_VERSION")) ". Pictures of patients without names: treat this page as you treat their scans. No medical device." }
        },
    })
}

/// Shown by the script alone, since they do nothing without it.
fn filters(cards: &[Card]) -> Markup {
    let values = |pick: fn(&Card) -> &str| -> BTreeSet<&str> { cards.iter().map(pick).collect() };
    let select = |name: &str, what: &str, values: BTreeSet<&str>| {
        // A choice of one is none.
        html! { @if values.len() > 1 { label { (what) " " select name=(name) {
            option value="" { "all" }
            @for value in &values { option value={ "=" (value) } { (value) } }
        } } } }
    };
    html! {
        form #filters hidden {
            (select("view", "View", values(|card| &card.view)))
            (select("site", "Site", values(|card| &card.site)))
            label { input type="checkbox" name="check"; " only what needs a look" }
            button type="button" { "Pause" }
            output {}
        }
    }
}

/// How to read pictures of stacks as they are stored.
pub fn stored_legend() -> Markup {
    html! {
        p { "Each picture is the stack's middle slice as it is stored, with the true aspect of its pixels. Below it are the first, the middle and the
            last slice at the first phase. Black and white are the 1st and the 98th percentile of what is shown of the stack (without its lowest value, the
            padding); colours are as they are." }
        p { "Letters say where an edge looks to in the patient: " b { "R" } " right, " b { "L" } " left, " b { "A" } " front (anterior), " b { "P" } " back (posterior), "
            b { "H" } " head, " b { "F" } " feet; every direction within 70 degrees, the nearest first. They come from the geometry in the
            file: where they contradict what you see, the geometry is wrong. A picture without letters has no geometry." }
    }
}
