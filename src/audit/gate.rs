//! Gates: `worst_group_accuracy >= 0.7`, `lower(accuracy[site=A]) >= 0.6`, `recall[class=DCM,site=A] >= 0.5`,
//! `lower(difference[versus=teacher]) >= -0.05`. Parsed before anything is read; [`super::judge`] decides them.
//!
//! ```text
//! gate       = target comparison number [ "%" ]
//! target     = reading | ( "lower" | "upper" ) "(" reading ")"
//! reading    = metric [ "[" key "=" value { "," key "=" value } "]" ]
//! comparison = ">=" | ">" | "<=" | "<"
//! ```

use serde::{Deserialize, Serialize};

use super::error::AuditError;
use super::facet::Facet;

/// What became of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateOutcome {
    /// Holds, with enough subjects.
    Pass,
    /// Does not hold.
    Fail,
    /// Too few subjects, or a number that is undefined: neither holds nor fails.
    InsufficientEvidence,
}

/// A gate with its outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateResult {
    /// As given.
    pub gate: String,
    /// What became of it.
    pub outcome: GateOutcome,
    /// The number that was looked at; `None` where it is undefined.
    pub value: Option<f64>,
    /// The number it was compared with.
    pub threshold: f64,
    /// In words.
    pub reason: String,
}

/// Which number of an estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    Value,
    Lower,
    Upper,
}

/// What is looked at. `Sample...` per sample, all others per subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Metric {
    Accuracy,
    BalancedAccuracy,
    Recall,
    Auroc,
    Brier,
    LogLoss,
    ConfidenceGap,
    CalibrationError,
    WorstGroupAccuracy,
    MeanGroupAccuracy,
    TrainWeightedAccuracy,
    SampleAccuracy,
    SampleBalancedAccuracy,
    SampleWorstGroupAccuracy,
    SampleMeanGroupAccuracy,
    SampleTrainWeightedAccuracy,
    Difference,
    WorstGroupDifference,
}

impl Metric {
    const ALL: [(&'static str, Self); 18] = [
        ("accuracy", Self::Accuracy),
        ("balanced_accuracy", Self::BalancedAccuracy),
        ("recall", Self::Recall),
        ("auroc", Self::Auroc),
        ("brier", Self::Brier),
        ("log_loss", Self::LogLoss),
        ("confidence_gap", Self::ConfidenceGap),
        ("calibration_error", Self::CalibrationError),
        ("worst_group_accuracy", Self::WorstGroupAccuracy),
        ("mean_group_accuracy", Self::MeanGroupAccuracy),
        ("train_weighted_accuracy", Self::TrainWeightedAccuracy),
        ("sample_accuracy", Self::SampleAccuracy),
        ("sample_balanced_accuracy", Self::SampleBalancedAccuracy),
        ("sample_worst_group_accuracy", Self::SampleWorstGroupAccuracy),
        ("sample_mean_group_accuracy", Self::SampleMeanGroupAccuracy),
        ("sample_train_weighted_accuracy", Self::SampleTrainWeightedAccuracy),
        ("difference", Self::Difference),
        ("worst_group_difference", Self::WorstGroupDifference),
    ];

    fn is_over_all_groups(self) -> bool {
        matches!(
            self,
            Self::WorstGroupAccuracy
                | Self::MeanGroupAccuracy
                | Self::TrainWeightedAccuracy
                | Self::SampleWorstGroupAccuracy
                | Self::SampleMeanGroupAccuracy
                | Self::SampleTrainWeightedAccuracy
                | Self::WorstGroupDifference
        )
    }

    fn is_difference(self) -> bool {
        matches!(self, Self::Difference | Self::WorstGroupDifference)
    }
}

/// How the number is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ordering {
    AtLeast,
    Above,
    AtMost,
    Below,
}

impl Ordering {
    /// Whether `value` is on the right side of `threshold`.
    pub(super) fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::AtLeast => value >= threshold,
            Self::Above => value > threshold,
            Self::AtMost => value <= threshold,
            Self::Below => value < threshold,
        }
    }
}

/// A parsed gate.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Gate {
    pub(super) text: String,
    pub(super) bound: Bound,
    pub(super) metric: Metric,
    /// One site, group, ...
    pub(super) cell: Option<(Facet, String)>,
    /// For recall.
    pub(super) class: Option<String>,
    /// The other model of a difference.
    pub(super) versus: Option<String>,
    pub(super) ordering: Ordering,
    pub(super) threshold: f64,
}

impl Gate {
    /// Parses an expression.
    ///
    /// # Errors
    /// [`AuditError::GateSyntax`] with the position.
    pub(super) fn parse(text: &str) -> Result<Self, AuditError> {
        let mut parser = Parser { characters: text.chars().collect(), at: 0 };
        parser.gate(text).map_err(|(at, problem)| AuditError::GateSyntax {
            text: text.to_owned(),
            position: at + 1,
            problem,
        })
    }
}

/// 0-based position and what is wrong there.
type Wrong = (usize, String);

struct Parser {
    characters: Vec<char>,
    at: usize,
}

impl Parser {
    fn gate(&mut self, text: &str) -> Result<Gate, Wrong> {
        let (start, mut word) = self.word("a metric such as accuracy")?;
        let mut at = start;
        let bound = match word.as_str() {
            "lower" => Bound::Lower,
            "upper" => Bound::Upper,
            _ => Bound::Value,
        };
        if bound != Bound::Value {
            self.expect('(')?;
            (at, word) = self.word("a metric such as accuracy")?;
        }
        let metric = Metric::ALL.into_iter().find(|(name, _)| *name == word).map(|(_, metric)| metric);
        let metric = metric.ok_or_else(|| {
            let known: Vec<&str> = Metric::ALL.iter().map(|(name, _)| *name).collect();
            (at, format!("`{word}` is no metric; there are {}", known.join(", ")))
        })?;
        let mut gate = Gate {
            text: text.trim().to_owned(),
            bound,
            metric,
            cell: None,
            class: None,
            versus: None,
            ordering: Ordering::AtLeast,
            threshold: 0.0,
        };
        self.filters(&mut gate)?;
        check_filters(&gate, &word).map_err(|problem| (at, problem))?;
        if bound != Bound::Value {
            self.expect(')')?;
        }
        gate.ordering = self.ordering()?;
        gate.threshold = self.number()?;
        Ok(gate)
    }

    fn skip_spaces(&mut self) {
        while self.characters.get(self.at).is_some_and(|character| character.is_whitespace()) {
            self.at += 1;
        }
    }

    fn peek(&mut self) -> Option<char> {
        self.skip_spaces();
        self.characters.get(self.at).copied()
    }

    fn found(&self) -> String {
        self.characters.get(self.at).map_or("the end".to_owned(), |character| format!("`{character}`"))
    }

    fn expect(&mut self, wanted: char) -> Result<(), Wrong> {
        if self.peek() == Some(wanted) {
            self.at += 1;
            return Ok(());
        }
        Err((self.at, format!("found {}, expected `{wanted}`", self.found())))
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while self.characters.get(self.at).is_some_and(|character| keep(*character)) {
            self.at += 1;
        }
        self.characters[start..self.at].iter().collect()
    }

    fn word(&mut self, expected: &str) -> Result<(usize, String), Wrong> {
        self.skip_spaces();
        let start = self.at;
        let word = self.take_while(|character| character.is_ascii_alphanumeric() || character == '_');
        if word.is_empty() {
            return Err((start, format!("found {}, expected {expected}", self.found())));
        }
        Ok((start, word))
    }

    fn filters(&mut self, gate: &mut Gate) -> Result<(), Wrong> {
        if self.peek() != Some('[') {
            return Ok(());
        }
        self.at += 1;
        loop {
            let (at, key) = self.word("a key such as site")?;
            self.expect('=')?;
            let value = self.value()?;
            let is_second = match key.as_str() {
                "class" => gate.class.replace(value).is_some(),
                "versus" => gate.versus.replace(value).is_some(),
                _ => {
                    let facet = Facet::from_key(&key).ok_or_else(|| {
                        let known: Vec<&str> = Facet::ALL.iter().map(|facet| facet.key()).collect();
                        (at, format!("`{key}` is no key; there are class, versus, {}", known.join(", ")))
                    })?;
                    gate.cell.replace((facet, value)).is_some()
                }
            };
            if is_second {
                return Err((
                    at,
                    "only one site, group or other cell, one class and one model can be named".to_owned(),
                ));
            }
            match self.peek() {
                Some(',') => self.at += 1,
                Some(']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err((self.at, format!("found {}, expected `,` or `]`", self.found()))),
            }
        }
    }

    /// Quoted, or everything up to `,` or `]`.
    fn value(&mut self) -> Result<String, Wrong> {
        let quote = self.peek().filter(|character| matches!(character, '"' | '\''));
        let start = self.at;
        let value = if let Some(quote) = quote {
            self.at += 1;
            let value = self.take_while(|character| character != quote);
            if self.characters.get(self.at) != Some(&quote) {
                return Err((start, "the quotation does not end".to_owned()));
            }
            self.at += 1;
            value
        } else {
            self.take_while(|character| !matches!(character, ',' | ']')).trim_end().to_owned()
        };
        if value.is_empty() { Err((start, "the value is empty".to_owned())) } else { Ok(value) }
    }

    fn ordering(&mut self) -> Result<Ordering, Wrong> {
        self.skip_spaces();
        let start = self.at;
        let sign = self.take_while(|character| matches!(character, '<' | '>' | '=' | '≥' | '≤' | '!'));
        match sign.as_str() {
            ">=" | "≥" => Ok(Ordering::AtLeast),
            ">" => Ok(Ordering::Above),
            "<=" | "≤" => Ok(Ordering::AtMost),
            "<" => Ok(Ordering::Below),
            "" => Err((start, format!("found {}, expected >=, >, <= or <", self.found()))),
            other => Err((start, format!("found `{other}`, expected >=, >, <= or <"))),
        }
    }

    fn number(&mut self) -> Result<f64, Wrong> {
        self.skip_spaces();
        let start = self.at;
        let text = self.take_while(|character| !character.is_whitespace() && character != '%');
        let is_percent = self.peek() == Some('%');
        if is_percent {
            self.at += 1;
        }
        if self.peek().is_some() {
            return Err((self.at, format!("found {}, expected the end", self.found())));
        }
        let value = text.parse::<f64>().ok().filter(|value| value.is_finite());
        let value = value.ok_or_else(|| (start, format!("`{text}` is no number; write 0.7 or 70%")))?;
        Ok(if is_percent { value / 100.0 } else { value })
    }
}

/// What a metric needs or cannot have in brackets.
fn check_filters(gate: &Gate, name: &str) -> Result<(), String> {
    let is_recall = gate.metric == Metric::Recall;
    if is_recall != gate.class.is_some() {
        return Err(if is_recall {
            "recall needs a class: recall[class=NAME]".to_owned()
        } else {
            format!("class= is for recall, not for {name}")
        });
    }
    if gate.metric.is_difference() != gate.versus.is_some() {
        return Err(if gate.metric.is_difference() {
            format!("{name} needs another model: {name}[versus=NAME]")
        } else {
            format!("versus= is for differences, not for {name}")
        });
    }
    match (&gate.cell, gate.metric) {
        (Some(_), metric) if metric.is_over_all_groups() => Err(format!("{name} is over all groups; it takes no cell")),
        (Some((facet, _)), Metric::Difference) if !matches!(facet, Facet::AcquisitionGroup | Facet::Site) => {
            Err("differences are made by acquisition_group and site".to_owned())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(text: &str) -> usize {
        match Gate::parse(text) {
            Err(AuditError::GateSyntax { position, .. }) => position,
            other => panic!("`{text}` gave {other:?}"),
        }
    }

    #[test]
    fn gates_of_the_help_are_understood() {
        let gate = Gate::parse("worst_group_accuracy >= 0.7").unwrap();
        assert_eq!((gate.metric, gate.bound, gate.threshold), (Metric::WorstGroupAccuracy, Bound::Value, 0.7));
        let gate = Gate::parse(" lower( accuracy[site=St. Mary] ) > 60 % ").unwrap();
        assert_eq!((gate.bound, gate.ordering, gate.threshold), (Bound::Lower, Ordering::Above, 0.6));
        assert_eq!(gate.cell, Some((Facet::Site, "St. Mary".to_owned())));
        let gate = Gate::parse(r#"recall[class=DCM,group="vendor=a;site=[b],c"]<=1"#).unwrap();
        assert_eq!(gate.class.as_deref(), Some("DCM"));
        assert_eq!(gate.cell, Some((Facet::Group, "vendor=a;site=[b],c".to_owned())));
        let gate = Gate::parse("lower(difference[versus=teacher]) >= -0.05").unwrap();
        assert_eq!((gate.versus.as_deref(), gate.threshold), (Some("teacher"), -0.05));
    }

    #[test]
    fn a_mistake_is_named_with_its_position() {
        assert_eq!(position(""), 1);
        assert_eq!(position("acuracy >= 0.7"), 1);
        assert_eq!(position("accuracy => 0.7"), 10);
        assert_eq!(position("accuracy >= 0,7"), 13);
        assert_eq!(position("accuracy >= nan"), 13);
        assert_eq!(position("accuracy[sit=A] >= 0.7"), 10);
        assert_eq!(position("accuracy[site=A >= 0.7"), 23);
        assert_eq!(position("accuracy[site=A,site=B] >= 0.7"), 17);
        assert_eq!(position("lower(accuracy >= 0.7"), 16);
        assert_eq!(position("accuracy >= 0.7 please"), 17);
        assert_eq!(position("recall >= 0.7"), 1);
        assert_eq!(position("difference >= 0"), 1);
        assert_eq!(position("worst_group_accuracy[site=A] >= 0"), 1);
        assert_eq!(position("accuracy[site='A] >= 0"), 15);
    }
}
