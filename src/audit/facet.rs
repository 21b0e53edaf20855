//! The ways of dividing the subjects of a report, and how group names are shown.

use serde::{Deserialize, Serialize};

/// A way of dividing the subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Facet {
    /// The groups of the per-site report, without the label.
    AcquisitionGroup,
    /// The groups of q and of the worst-group accuracy.
    Group,
    /// Site.
    Site,
    /// Vendor.
    Vendor,
    /// Scanner model.
    Model,
    /// Field strength.
    FieldStrength,
    /// Sex.
    Sex,
    /// Age in bands.
    Age,
}

impl Facet {
    /// All, in the order of reports.
    pub const ALL: [Self; 8] = [
        Self::AcquisitionGroup,
        Self::Group,
        Self::Site,
        Self::Vendor,
        Self::Model,
        Self::FieldStrength,
        Self::Sex,
        Self::Age,
    ];

    /// Its name in gates, CSV and JSON.
    pub fn key(self) -> &'static str {
        match self {
            Self::AcquisitionGroup => "acquisition_group",
            Self::Group => "group",
            Self::Site => "site",
            Self::Vendor => "vendor",
            Self::Model => "model",
            Self::FieldStrength => "field_strength",
            Self::Sex => "sex",
            Self::Age => "age",
        }
    }

    /// The facet of a key.
    pub fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|facet| facet.key() == key)
    }

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Self::AcquisitionGroup => "acquisition group",
            Self::Group => "training group",
            Self::Site => "site",
            Self::Vendor => "vendor",
            Self::Model => "scanner model",
            Self::FieldStrength => "field strength",
            Self::Sex => "sex",
            Self::Age => "age",
        }
    }
}

/// The value of a sample for every facet; `None` = unknown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Facets([Option<String>; 8]);

impl Facets {
    /// The value for a facet.
    pub(super) fn get(&self, facet: Facet) -> Option<&str> {
        self.0[facet as usize].as_deref()
    }

    /// Sets it; empty and `unknown` are unknown, except for the two kinds of groups, whose names say it inside.
    pub(super) fn set(&mut self, facet: Facet, value: Option<String>) {
        let is_group = matches!(facet, Facet::AcquisitionGroup | Facet::Group);
        // Grouping by label alone leaves the acquisition group empty: one group of all.
        let value = value.map(|value| if is_group && value.is_empty() { "all".to_owned() } else { value });
        self.0[facet as usize] = value.filter(|value| !value.is_empty() && (is_group || value != "unknown"));
    }
}

/// Age in the bands of the report.
pub(super) fn age_band(years: f64) -> Option<String> {
    let band = match years {
        years if !years.is_finite() || years < 0.0 => return None,
        years if years < 40.0 => "0-39 years",
        years if years < 60.0 => "40-59 years",
        years if years < 75.0 => "60-74 years",
        _ => "75 years and over",
    };
    Some(band.to_owned())
}

/// Field strength as text.
pub(super) fn field_strength(tesla: f64) -> Option<String> {
    (tesla.is_finite() && tesla > 0.0).then(|| format!("{tesla} T"))
}

/// The parts of a group name `vendor=siemens;site=A` (`%`, `;`, `=` percent-encoded inside); `None` when it is no such name.
pub fn group_parts(name: &str) -> Option<Vec<(String, String)>> {
    let part = |part: &str| {
        let (key, value) = part.split_once('=')?;
        (!value.contains('=') && !key.is_empty()).then(|| (decode(key), decode(value)))
    };
    name.split(';').map(part).collect()
}

fn decode(text: &str) -> String {
    text.replace("%3B", ";").replace("%3b", ";").replace("%3D", "=").replace("%3d", "=").replace("%25", "%")
}

/// What the parts of all names have in common, for a column's header, for example `vendor · site`; `None` when they differ.
pub fn common_keys(names: &[&str]) -> Option<String> {
    let keys = |name: &str| -> Option<String> {
        Some(group_parts(name)?.into_iter().map(|(key, _)| key.replace('_', " ")).collect::<Vec<_>>().join(" · "))
    };
    let first = keys(names.first()?)?;
    names.iter().all(|name| keys(name).as_ref() == Some(&first)).then_some(first)
}

/// A group's values alone, for rows under a header of [`common_keys`]; unknown ones are named by their key.
pub fn short_name(name: &str) -> String {
    let shown = |(key, value): (String, String)| match (key.as_str(), value.as_str()) {
        (key, "unknown") => format!("unknown {}", key.replace('_', " ")),
        ("vendor", vendor) => vendor_name(vendor),
        ("field_strength_t", tesla) => format!("{tesla} T"),
        _ => value,
    };
    group_parts(name)
        .map_or_else(|| name.to_owned(), |parts| parts.into_iter().map(shown).collect::<Vec<_>>().join(" · "))
}

/// A group's name inside a sentence: keys are said where the value alone would not tell what it is.
pub fn sentence_name(name: &str) -> String {
    let shown = |(key, value): (String, String)| match (key.as_str(), value.as_str()) {
        ("vendor", vendor) if vendor != "unknown" => vendor_name(vendor),
        ("label" | "model", value) if value != "unknown" => value.to_owned(),
        ("field_strength_t", tesla) if tesla != "unknown" => format!("{tesla} T"),
        (key, "unknown") => format!("unknown {}", key.replace('_', " ")),
        (key, value) => format!("{} {value}", key.replace('_', " ")),
    };
    group_parts(name)
        .map_or_else(|| name.to_owned(), |parts| parts.into_iter().map(shown).collect::<Vec<_>>().join(", "))
}

/// A normalised vendor as it writes itself.
pub fn vendor_name(vendor: &str) -> String {
    match vendor {
        "ge" | "uih" => vendor.to_uppercase(),
        _ => {
            let mut letters = vendor.chars();
            letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_names_are_taken_apart_and_decoded() {
        assert_eq!(short_name("vendor=siemens;site=unknown"), "Siemens · unknown site");
        assert_eq!(short_name("vendor=ge;field_strength_t=1.5"), "GE · 1.5 T");
        assert_eq!(sentence_name("vendor=siemens;site=A"), "Siemens, site A");
        assert_eq!(sentence_name("software=unknown"), "unknown software");
        assert_eq!(sentence_name("label=DCM;background=land"), "DCM, background land");
        assert_eq!(short_name("site=a%3Bb%25c%3Dd"), "a;b%c=d");
        assert_eq!(short_name("St. Mary"), "St. Mary");
        assert_eq!(common_keys(&["vendor=a;site=b", "vendor=c;site=d"]).as_deref(), Some("vendor · site"));
        assert_eq!(common_keys(&["vendor=a", "site=d"]), None);
        assert_eq!(common_keys(&["St. Mary"]), None);
    }

    #[test]
    fn unknown_is_none_except_inside_group_names() {
        let mut facets = Facets::default();
        facets.set(Facet::Site, Some("unknown".into()));
        facets.set(Facet::Group, Some("unknown".into()));
        assert_eq!((facets.get(Facet::Site), facets.get(Facet::Group)), (None, Some("unknown")));
    }

    #[test]
    fn a_key_comes_back_as_its_facet_and_ages_fall_into_bands() {
        for facet in Facet::ALL {
            assert_eq!(Facet::from_key(facet.key()), Some(facet));
        }
        assert_eq!(age_band(39.9).as_deref(), Some("0-39 years"));
        assert_eq!(age_band(90.0).as_deref(), Some("75 years and over"));
        assert_eq!(age_band(f64::NAN), None);
    }
}
