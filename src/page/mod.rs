//! The shell of a self-contained HTML page and its building blocks: inline CSS, nothing from the network, fit for desktop, phone and
//! paper. The audit report and the contact sheet are made with it; nothing here knows what they show.

pub mod chart;
pub mod dots;

use data_encoding::BASE64;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("style.css");
/// Nothing may be loaded and nothing may run, whatever a name in the data may hold.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// The policy; a page's own script is let in by its hash, and no other.
fn policy(script: Option<&str>) -> String {
    let hash = |script: &str| BASE64.encode(&Sha256::digest(script.as_bytes()));
    script.map_or_else(|| POLICY.to_owned(), |script| format!("{POLICY}; script-src 'sha256-{}'", hash(script)))
}

/// The first bytes of every page of a kind: by them a file is known to be ours.
pub fn start(kind: &str) -> String {
    let start = html! {
        (DOCTYPE)
        html lang="en" { head { meta charset="utf-8"; meta name="generator" content={ "groupdistil: " (kind) }; } }
    };
    let text = start.into_string();
    text.strip_suffix("</head></html>").unwrap_or(&text).to_owned()
}

/// One section of a page.
pub struct Section {
    /// Anchor.
    pub id: &'static str,
    /// Heading.
    pub title: &'static str,
    /// Content below the heading.
    pub body: Markup,
}

/// A whole page.
pub struct Page<'a> {
    /// Heading and window title.
    pub title: &'a str,
    /// Line above the title: what kind of page this is.
    pub kind: &'a str,
    /// Line below the title.
    pub subtitle: &'a str,
    /// What stands before the first section.
    pub lead: Markup,
    /// Sections, in the order of the navigation.
    pub sections: Vec<Section>,
    /// CSS of this kind of page, after that of all pages.
    pub style: &'static str,
    /// The page's own script; what is shown must be complete without it.
    pub script: Option<&'static str>,
    /// Last lines.
    pub footer: Markup,
}

/// The page as HTML text.
pub fn shell(page: Page<'_>) -> String {
    let Page { title, kind, subtitle, lead, sections, style, script, footer } = page;
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="generator" content={ "groupdistil: " (kind) };
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(policy(script));
                meta name="referrer" content="no-referrer";
                title { (kind) ": " (title) }
                style { (PreEscaped(STYLE)) (PreEscaped(style)) }
            }
            body {
                a.skip href="#content" { "Skip to content" }
                header { div { p { (kind) } h1 { (title) } p { (subtitle) } } }
                nav aria-label="Sections" { div { ul {
                    @for section in &sections { li { a href={ "#" (section.id) } { (section.title) } } }
                } } }
                main #content {
                    (lead)
                    @for section in &sections {
                        section aria-labelledby=(section.id) {
                            h2 id=(section.id) { (section.title) }
                            (section.body)
                        }
                    }
                }
                footer { (footer) }
                @if let Some(script) = script { script { (PreEscaped(script)) } }
            }
        }
    };
    markup.into_string()
}

/// Alignment of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table whose first column names the rows; it scrolls by itself on a narrow screen.
pub struct DataTable {
    /// What it shows; read out first.
    pub caption: Markup,
    /// Column headers.
    pub header: Vec<(Markup, Align)>,
    /// Rows.
    pub rows: Vec<TableRow>,
}

/// One row of a [`DataTable`].
pub struct TableRow {
    /// `total`, `few` or empty.
    pub class: &'static str,
    /// One per column.
    pub cells: Vec<Markup>,
}

impl DataTable {
    /// As HTML.
    pub fn render(&self) -> Markup {
        let class = |column: usize| (self.header[column].1 == Align::Right).then_some("n");
        html! {
            div.scroll tabindex="0" role="group" {
                table {
                    caption { span { (self.caption) } }
                    thead { tr { @for (index, (name, _)) in self.header.iter().enumerate() {
                        th scope="col" class=[class(index)] { (name) }
                    } } }
                    tbody { @for row in &self.rows { tr class=[(!row.class.is_empty()).then_some(row.class)] {
                        @for (index, cell) in row.cells.iter().enumerate() {
                            @if index == 0 { th scope="row" { (cell) } } @else { td class=[class(index)] { (cell) } }
                        }
                    } } }
                }
            }
        }
    }
}

/// A coloured word.
pub fn pill(kind: &'static str, text: &str) -> Markup {
    html! { span class={ "pill " (kind) } { (text) } }
}

/// Key figures: what, the figure, what it means.
pub fn tiles(figures: &[(Markup, Markup, Markup)]) -> Markup {
    html! { dl.tiles { @for (what, figure, meaning) in figures {
        div { dt { (what) } dd { (figure) } dd { (meaning) } }
    } } }
}

/// Text as markup.
pub fn text(text: &str) -> Markup {
    html! { (text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(script: Option<&'static str>) -> String {
        let (lead, footer) = (text("lead"), text("footer"));
        shell(Page { title: "<b>", kind: "Kind", subtitle: "", lead, sections: Vec::new(), style: "", script, footer })
    }

    #[test]
    fn a_page_starts_as_its_kind_says_and_escapes_its_title() {
        assert!(page(None).starts_with(&start("Kind")) && !page(None).starts_with(&start("Kin")));
        assert!(page(None).contains("&lt;b&gt;") && !page(None).contains("<b>"));
    }

    /// The hash from `printf 'a()' | openssl dgst -sha256 -binary | base64`.
    #[test]
    fn the_policy_lets_in_the_pages_own_script_and_no_other() {
        assert!(!page(None).contains("script-src"));
        assert!(page(Some("a()")).contains("script-src 'sha256-qVpDBgj7bpq5hMAcGp3AOc79J3Y1Z4HvySTwKrWDoy4='"));
    }
}
