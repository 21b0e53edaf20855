//! Settings from defaults, a TOML file, `--set` and flags, each winning over the one before.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::failure::CliError;
use crate::failure::FailureKind;
use crate::fsx;

/// No settings file is larger than this.
const CONFIG_CAP_BYTES: u64 = 1 << 20;

/// Where a command's settings come from, besides its own flags.
#[derive(Debug, Clone, clap::Args)]
pub struct SettingsArgs {
    /// TOML file with settings, for example another folder's settings.toml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Any setting, as TOML; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Settings of one table: what `--config` holds, then `--set`, then `flags`.
///
/// # Errors
/// A usage error with the file and line, or the key.
pub fn layered<W: Serialize + DeserializeOwned + Default>(
    args: &SettingsArgs,
    flags: impl IntoIterator<Item = (&'static str, Option<toml::Value>)>,
) -> Result<W, CliError> {
    let wire: W = match &args.config {
        Some(path) => read_config(path)?,
        None => W::default(),
    };
    let mut table = toml::Table::try_from(&wire).map_err(|error| CliError::new(FailureKind::Usage, error))?;
    for assignment in &args.set {
        let (key, value) = parse_assignment(assignment)?;
        insert(&mut table, &key, value);
    }
    for (key, value) in flags {
        if let Some(value) = value {
            insert(&mut table, key, value);
        }
    }
    table.try_into().map_err(|error| CliError::new(FailureKind::Usage, format!("settings: {error}")))
}

/// A TOML file as a wire type.
///
/// # Errors
/// A usage error with the file, the line and the key.
pub fn read_config<W: DeserializeOwned>(path: &Path) -> Result<W, CliError> {
    let text = fsx::read_text(path, CONFIG_CAP_BYTES)?;
    toml::from_str(&text).map_err(|error| CliError::new(FailureKind::Usage, format!("`{}`: {error}", path.display())))
}

/// `key=value`; a value that is no TOML is taken as text.
///
/// # Errors
/// A usage error when there is no `=`.
pub fn parse_assignment(text: &str) -> Result<(String, toml::Value), CliError> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| CliError::new(FailureKind::Usage, format!("--set {text}: expected KEY=VALUE")))?;
    let (key, value) = (key.trim(), value.trim());
    let parsed = toml::from_str::<toml::Table>(&format!("value = {value}")).ok();
    let value = parsed.and_then(|mut table| table.remove("value")).unwrap_or_else(|| value.into());
    Ok((key.to_owned(), value))
}

/// Sets `key`, whose dots lead into tables; what is no table on the way becomes one.
pub fn insert(table: &mut toml::Table, key: &str, value: toml::Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = table.entry(first).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if !inner.is_table() {
                *inner = toml::Value::Table(toml::Table::new());
            }
            if let toml::Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_toml_or_text() {
        assert_eq!(parse_assignment("folds = 7").unwrap(), ("folds".into(), toml::Value::from(7)));
        assert_eq!(parse_assignment("sample=cycle").unwrap(), ("sample".into(), toml::Value::from("cycle")));
        assert_eq!(parse_assignment("sample=\"cycle\"").unwrap(), ("sample".into(), toml::Value::from("cycle")));
        let list = parse_assignment("held_out_groups=[\"a=b\"]").unwrap().1;
        assert_eq!(list, toml::Value::from(vec!["a=b"]));
        assert!(parse_assignment("folds").is_err());
    }

    #[test]
    fn dots_lead_into_tables() {
        let mut table: toml::Table = toml::from_str("augment = true").unwrap();
        insert(&mut table, "augment.noise", 0.5.into());
        insert(&mut table, "augment.shift", 0.1.into());
        assert_eq!(table, toml::from_str("augment = { noise = 0.5, shift = 0.1 }").unwrap());
    }
}
