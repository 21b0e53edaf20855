//! One stack on the page: its pictures with letters on the edges, and what is known of it.

use maud::{Markup, html};

use super::letters::Edges;
use super::reduce::Size;
use super::thumbnail::Thumbnail;

/// What stands where the picture is.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    /// The picture.
    Picture(Box<Thumbnail>),
    /// Why there is none; without paths and identifiers.
    Unreadable(String),
}

/// A short word of a card; doubtful ones are for a person to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pill {
    /// `plain`, `good`, `doubt` or `bad`.
    pub kind: &'static str,
    /// The word.
    pub text: String,
}

/// One stack. Nothing in it may identify a patient.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    /// What it is called: `Subject 3, study 1`.
    pub heading: String,
    /// The pictures.
    pub shown: Shown,
    /// Letters of the edges; `None` without geometry.
    pub edges: Option<Edges>,
    /// Where slices run to from the first to the last; `None` for one slice or without geometry.
    pub slices_towards: Option<String>,
    /// How many slices there are.
    pub slices: usize,
    /// View, for the filter.
    pub view: String,
    /// Site, for the filter.
    pub site: String,
    /// View, kind and what is doubtful.
    pub pills: Vec<Pill>,
    /// Name and value; `None` is unknown.
    pub facts: Vec<(&'static str, Option<String>)>,
    /// Whether a person should look at it.
    pub is_doubtful: bool,
}

/// Names of groups are long and have no spaces.
fn breakable(text: &str) -> Markup {
    html! { @for part in text.split_inclusive([';', '=']) { (part) wbr; } }
}

fn box_of(size: Size) -> String {
    format!("width:{}px;height:{}px", size.columns, size.rows)
}

impl Card {
    /// As HTML.
    pub(super) fn render(&self) -> Markup {
        html! {
            article.card data-view=(self.view) data-site=(self.site) data-check[self.is_doubtful] {
                @match &self.shown {
                    Shown::Picture(picture) => { (self.stage(picture)) (self.strip(picture)) }
                    Shown::Unreadable(reason) => div.stage.none { p { b { "No picture. " } (reason) } },
                }
                h3 { (self.heading) }
                p.pills { @for pill in &self.pills { span class={ "pill " (pill.kind) } { (pill.text) } " " } }
                dl { @for (name, value) in &self.facts {
                    dt { (name) }
                    @match value { Some(value) => dd { (breakable(value)) }, None => dd.unknown { "unknown" } }
                } }
            }
        }
    }

    fn stage(&self, picture: &Thumbnail) -> Markup {
        let what = if picture.frames > 1 { "middle slice, moving" } else { "middle slice" };
        let timing = (picture.frames > 1).then(|| {
            format!("animation-duration:{:.0}ms;animation-timing-function:steps({})", picture.beat_ms, picture.frames)
        });
        html! {
            div.stage {
                div.frame style=(box_of(picture.size)) {
                    img class=[timing.is_some().then_some("cine")] src=(picture.address) style=[timing]
                        width=(picture.cell.columns) height=(picture.cell.rows * picture.frames)
                        alt={ (self.heading) ": " (what) };
                    @if let Some(edges) = &self.edges {
                        @for (side, letters) in [("l", &edges.left), ("r", &edges.right), ("t", &edges.top), ("b", &edges.bottom)] {
                            span class={ "edge " (side) } { (letters) }
                        }
                    }
                }
                @if picture.is_flat { p.flat { "all pixels are equal" } }
            }
        }
    }

    fn strip(&self, picture: &Thumbnail) -> Markup {
        if picture.slices.is_empty() {
            return html! {};
        }
        html! {
            div.strip {
                @for small in &picture.slices {
                    figure {
                        div.frame style=(box_of(small.size)) {
                            img src=(small.address) alt={ "slice " (small.slice + 1) };
                        }
                        figcaption { (small.slice + 1) }
                    }
                }
            }
            p.order {
                "Slices 1 to " (self.slices)
                @if let Some(letters) = &self.slices_towards { " run towards " b { (letters) } }
            }
        }
    }
}
