//! The shape of the house (design, section 5): who may import whom, and where each foreign package may be named.

use std::path::{Path, PathBuf};

use crate::support::project;

/// The ground floor, open to every room.
const GROUND: [&str; 4] = ["context", "failure", "fsx", "outdir"];

/// Room -> rooms it may import besides the ground floor and itself. `cli` may import all, `pipeline` and `evidence` all but `cli`.
const IMPORTS: [(&str, &[&str]); 20] = [
    ("fsx", &[]),
    ("outdir", &[]),
    ("formats", &["geometry"]),
    ("geometry", &[]),
    ("page", &[]),
    ("settings", &["formats", "geometry"]),
    ("metrics", &["settings", "formats"]),
    ("phantom", &["settings", "formats", "geometry"]),
    ("ingest", &["settings", "formats", "geometry"]),
    ("dataset", &["settings", "formats"]),
    ("preprocess", &["ingest", "dataset", "metrics", "sheet", "settings", "formats", "geometry", "page"]),
    ("audit", &["metrics", "settings", "formats", "page"]),
    ("sheet", &["geometry", "page"]),
    ("torch", &["settings", "formats"]),
    ("objective", &["torch", "settings", "formats"]),
    ("model", &["torch", "settings", "formats"]),
    ("train", &["model", "objective", "dataset", "metrics", "torch", "settings", "formats", "page"]),
    ("compare", &["train", "model", "objective", "dataset", "metrics", "torch", "settings", "formats"]),
    ("export", &["model", "dataset", "metrics", "torch", "settings", "formats"]),
    ("predict", &["export", "model", "preprocess", "ingest", "dataset", "metrics", "torch", "settings", "formats"]),
];

/// What may be named only in these rooms.
const FOREIGN: [(&str, &[&str]); 8] = [
    ("clap::", &["cli"]),
    ("dicom::", &["ingest", "phantom", "predict"]),
    ("jpeg2k::", &["ingest"]),
    ("nifti::", &["ingest", "phantom", "predict"]),
    ("tch::", &["torch", "model", "objective", "train", "export", "compare", "predict", "cli", "pipeline"]),
    ("torch_sys::", &["torch"]),
    ("unsafe {", &["torch"]),
    ("std::fs::{self", &["fsx"]),
];

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Every source file with its room (`src/train/loop.rs` is in `train`) and its code without comments.
fn sources() -> Vec<(PathBuf, String, String)> {
    let root = project().join("src");
    let read = |path: PathBuf| {
        let relative = path.strip_prefix(&root).unwrap().to_path_buf();
        let first = relative.iter().next().unwrap().to_str().unwrap();
        let room = first.strip_suffix(".rs").unwrap_or(first).to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        (relative, room, code.join("\n"))
    };
    let files: Vec<_> = rust_files(&root).into_iter().map(read).collect();
    assert!(files.len() > 20, "the sources were not found");
    files
}

/// The rooms named after `crate::` in a file.
fn imported(code: &str) -> Vec<String> {
    let names = code.split("crate::").skip(1).flat_map(|rest| {
        let end = rest.find(';').unwrap_or(rest.len());
        match rest.strip_prefix('{') {
            Some(group) => {
                group[..end - 1].split([',', '\n']).map(|part| part.trim_start_matches([' ', '{'])).collect()
            }
            None => vec![rest],
        }
    });
    let first_word = |text: &str| -> String {
        text.chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect()
    };
    names.map(first_word).collect()
}

#[test]
fn imports_point_downward_only() {
    let mut wrong = Vec::new();
    for (path, room, code) in sources() {
        let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == room) else { continue };
        for name in imported(&code) {
            let is_room = IMPORTS.iter().any(|(known, _)| *known == name)
                || ["cli", "pipeline", "evidence"].contains(&name.as_str());
            if is_room && name != room && !allowed.contains(&name.as_str()) && !GROUND.contains(&name.as_str()) {
                wrong.push(format!("{} imports {name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the design:\n{}", wrong.join("\n"));
}

#[test]
fn pipelines_and_studies_do_not_import_the_command_line() {
    for (path, room, code) in sources() {
        assert!(
            !["pipeline", "evidence"].contains(&room.as_str()) || !code.contains("crate::cli"),
            "{}",
            path.display()
        );
    }
}

#[test]
fn foreign_packages_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    for (path, room, code) in sources() {
        for (needle, rooms) in FOREIGN {
            let named = code
                .match_indices(needle)
                .any(|(at, _)| !code[..at].ends_with(|before: char| before.is_ascii_alphanumeric() || before == '_'));
            if named && !rooms.contains(&room.as_str()) {
                wrong.push(format!("{} names {needle}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "against the design:\n{}", wrong.join("\n"));
}

#[test]
fn no_file_is_longer_than_800_lines() {
    for (path, _, _) in sources() {
        let lines = std::fs::read_to_string(project().join("src").join(&path)).unwrap().lines().count();
        assert!(lines <= 800, "{} has {lines} lines", path.display());
    }
}

/// Reasons are a closed list that scripts and nurses read.
#[test]
fn every_reason_of_the_ledger_is_documented() {
    let page = std::fs::read_to_string(project().join("docs/ledger.md")).unwrap();
    let verdict = regex::Regex::new(r#"Verdict::(?:used|skipped|rejected)\(\s*"([a-z0-9-]+)""#).unwrap();
    let error = regex::Regex::new(r#"Self::\w+[^\n]*=> "([a-z0-9]+-[a-z0-9-]+|malformed)""#).unwrap();
    let mut reasons = std::collections::BTreeSet::new();
    for (path, room, code) in sources() {
        if room == "ingest" {
            let errors = ["dicom.rs", "nifti.rs"].iter().any(|name| path.ends_with(name) && path.iter().count() == 2);
            let found = verdict.captures_iter(&code).chain(error.captures_iter(&code).filter(|_| errors));
            reasons.extend(found.map(|found| found[1].to_owned()));
        }
    }
    assert!(reasons.len() > 10, "the reasons were not found");
    let missing: Vec<_> = reasons.iter().filter(|reason| !page.contains(&format!("`{reason}`"))).collect();
    assert!(missing.is_empty(), "docs/ledger.md lacks {missing:?}");
}

#[test]
fn the_import_scanner_sees_plain_and_grouped_imports() {
    let code = "use crate::fsx;\nuse crate::{audit::x, train};\nlet a = crate::model::f();";
    assert_eq!(imported(code), ["fsx", "audit", "train", "model"]);
}
