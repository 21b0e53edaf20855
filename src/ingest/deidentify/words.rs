//! Descriptions without people in them: of a SeriesDescription, ProtocolName or file name only the words of this published list stay
//! (option Clean Descriptors, PS3.15 E.3.4).

use super::super::privacy::allowed;

/// Found anywhere in a description, as the view's classification looks for them.
const ANYWHERE: &[&str] = &["sax", "short", "scout", "loc", "survey", "haste", "vla", "hla", "lvot"];

/// Whole words.
const WORDS: &[&str] = &[
    "sa",
    "la",
    "lax",
    "long",
    "axis",
    "axial",
    "transversal",
    "transverse",
    "coronal",
    "cor",
    "sagittal",
    "sag",
    "radial",
    "base",
    "basal",
    "mid",
    "apex",
    "apical",
    "lv",
    "rv",
    "rvot",
    "aorta",
    "aortic",
    "mitral",
    "heart",
    "cardiac",
    "cine",
    "stack",
    "multi",
    "slice",
    "slices",
    "phase",
    "phases",
    "function",
    "trufi",
    "truefisp",
    "fisp",
    "fiesta",
    "bffe",
    "ffe",
    "btfe",
    "tfe",
    "bal",
    "balanced",
    "ssfp",
    "bssfp",
    "flash",
    "spgr",
    "gre",
    "tse",
    "fse",
    "se",
    "epi",
    "psir",
    "ir",
    "mag",
    "molli",
    "shmolli",
    "map",
    "mapping",
    "perfusion",
    "perf",
    "flow",
    "tagging",
    "tag",
    "lge",
    "de",
    "dynamic",
    "retro",
    "retrospective",
    "prospective",
    "realtime",
    "rt",
    "segmented",
    "seg",
    "breathhold",
    "bh",
    "free",
    "breathing",
    "nav",
    "navigator",
    "ecg",
    "vcg",
    "gated",
    "trigger",
    "triggered",
    "ipat",
    "grappa",
    "sense",
    "asset",
    "cs",
    "moco",
    "pre",
    "post",
    "rest",
    "stress",
    "systole",
    "diastole",
    "ed",
    "es",
    "mr",
    "mri",
    "cmr",
];

/// No description is longer (LO, PS3.5 6.2).
const CAP_CHARACTERS: usize = 64;

/// Runs of letters and runs of digits.
fn runs(text: &str) -> Vec<String> {
    let mut runs: Vec<String> = Vec::new();
    let mut last = None;
    for letter in text.to_lowercase().chars() {
        let kind = if letter.is_ascii_digit() { Some(true) } else { letter.is_alphabetic().then_some(false) };
        match (kind, last == Some(kind), runs.last_mut()) {
            (Some(_), true, Some(run)) => run.push(letter),
            (Some(_), _, _) => runs.push(letter.to_string()),
            (None, ..) => {}
        }
        last = Some(kind);
    }
    runs
}

/// `2ch`, `3pl`, `t1` and the like from two runs.
fn pair(first: &str, second: &str) -> Option<String> {
    let count = match first {
        "two" => "2",
        "three" => "3",
        "four" => "4",
        other => other,
    };
    match (count, second) {
        ("2" | "3" | "4", "ch" | "chamber" | "cv") => Some(format!("{count}ch")),
        ("3", plane) if plane.starts_with("pl") => Some("3pl".to_owned()),
        ("t", "1" | "2") => Some(format!("t{second}")),
        _ => None,
    }
}

/// The words of the list in their order, joined by `_`; those that are a token of `identifiers` are left out too.
pub fn cleaned(text: &str, identifiers: &[String]) -> String {
    let runs = runs(text);
    let mut words: Vec<String> = Vec::new();
    let mut at = 0;
    while let Some(run) = runs.get(at) {
        let paired = runs.get(at + 1).and_then(|next| pair(run, next));
        at += if paired.is_some() { 2 } else { 1 };
        match paired {
            Some(word) => words.push(word),
            None if WORDS.contains(&run.as_str()) => words.push(run.clone()),
            None => words.extend(ANYWHERE.iter().find(|word| run.contains(**word)).map(|word| (*word).to_owned())),
        }
    }
    let mut text = String::new();
    for word in words.into_iter().filter_map(|word| allowed(&word, identifiers)) {
        if text.len() + 1 + word.len() > CAP_CHARACTERS {
            break;
        }
        if !text.is_empty() {
            text.push('_');
        }
        text += &word;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_of_the_list_stay() {
        for (text, expected) in [
            ("CINE_trufi_SAX_12", "cine_trufi_sax"),
            ("Mueller, Hans 4 ch cine", "4ch_cine"),
            ("two chamber b-FFE", "2ch_ffe"),
            ("3-plane Localizer", "3pl_loc"),
            ("shortaxis T1 map 1.2.840.1", "short_t1_map"),
            ("Müller 山田 19620304", ""),
            ("", ""),
        ] {
            assert_eq!(cleaned(text, &[]), expected, "{text}");
        }
        assert_eq!(cleaned("short axis", &["SHORT^MARTIN".to_owned()]), "axis");
    }
}
