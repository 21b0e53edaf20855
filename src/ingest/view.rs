//! View and kind of a stack: geometry and timing first, the description second.
//!
//! The long axis of the left ventricle points left, anterior and inferior from base to apex; patients differ by some 20 degrees. A
//! plane across it is a short axis; planes along it are told apart by their angle around it, unless the description names one.

use crate::geometry::{Vector, cross, dot, scale, subtract, unit};

/// Mean direction from base to apex in LPS.
const LONG_AXIS: Vector = [0.66, -0.52, -0.54];
/// Largest angle between a short-axis stack's normal and the mean long axis, degrees.
const SHORT_AXIS_DEG: f64 = 45.0;
/// The same where the description says that it is one, degrees.
const SHORT_AXIS_IF_SAID_DEG: f64 = 60.0;
/// A plane whose normal is this close to a body axis was not angled to the heart, degrees.
const CARDINAL_DEG: f64 = 5.0;
/// Angle around the long axis from the four-chamber plane's normal, degrees: below is 4ch, above the other is 2ch.
const FOUR_CHAMBER_DEG: f64 = 35.0;
const TWO_CHAMBER_DEG: f64 = 65.0;

/// What the classification looks at.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// Whether several cardiac phases were acquired.
    pub is_cine: bool,
    /// Whole positions.
    pub slices: usize,
    /// row x column, LPS; `None` without geometry.
    pub normal: Option<Vector>,
    /// Lower-case descriptions.
    pub description: &'a str,
    /// Whether axes along the body's may mean that the orientation was dropped, as in ACDC's NIfTI files.
    pub may_lack_orientation: bool,
}

fn angle_deg(a: Vector, b: Vector) -> f64 {
    dot(a, b).abs().clamp(0.0, 1.0).acos().to_degrees()
}

/// Words that are looked for: as whole words, after which a number may stand (`loc2`), and as parts of words.
struct Words {
    whole: &'static [&'static str],
    parts: &'static [&'static str],
}

const SCOUT: Words = Words {
    whole: &["loc", "haste", "pilot", "3pl"],
    parts: &["scout", "locali", "lokali", "survey", "3-pl", "3 pl", "three plane"],
};
const SHORT_AXIS: Words = Words {
    whole: &["sa", "shax", "kha"],
    parts: &["sax", "short", "kurzachs", "kurze achse", "petit axe", "eje corto", "asse corto"],
};
const LONG_AXES: [(&str, Words); 3] = [
    (
        "2ch",
        Words {
            whole: &["vla", "2kb", "2cv"],
            parts: &["2ch", "2 ch", "2-ch", "two chamber", "2kammer", "2 kammer", "2-kammer", "zweikammer"],
        },
    ),
    (
        "3ch",
        Words {
            whole: &["3kb", "3cv"],
            parts: &["3ch", "3 ch", "3-ch", "three chamber", "lvot", "3kammer", "3 kammer", "3-kammer", "dreikammer"],
        },
    ),
    (
        "4ch",
        Words {
            whole: &["hla", "4kb", "4cv"],
            parts: &["4ch", "4 ch", "4-ch", "four chamber", "4kammer", "4 kammer", "4-kammer", "vierkammer"],
        },
    ),
];
/// Planes through vessels and valves: oblique as those of the ventricle are, and no view of it.
const ELSEWHERE: Words = Words {
    whole: &["flow", "qflow", "venc", "ao", "mpa", "pc"],
    parts: &["rvot", "aort", "pulmon", "phase contrast", "throughplane", "through plane", "through-plane"],
};

impl Words {
    fn are_in(&self, description: &str) -> bool {
        let mut words = description.split(|letter: char| !letter.is_alphanumeric());
        let bare = |word: &str| word.trim_end_matches(|letter: char| letter.is_ascii_digit()).to_owned();
        words.any(|word| self.whole.iter().any(|known| word == *known || bare(word) == *known))
            || self.parts.iter().any(|part| holds(description, part))
    }
}

/// Whether `part` is in the description, and not as the end of a larger number: a coil of 32 channels (`32ch`) is no view.
fn holds(description: &str, part: &str) -> bool {
    let starts_with_digit = part.starts_with(|letter: char| letter.is_ascii_digit());
    let mut places = description.match_indices(part).map(|(place, _)| place);
    places.any(|place| !(starts_with_digit && description[..place].ends_with(|letter: char| letter.is_ascii_digit())))
}

/// The cardiac phase that a volume is by its name (`001_sa_ed`, `patient001_frame01`): one of a cine, not a scout.
pub fn named_phase(name: &str) -> Option<&str> {
    let last = name.rsplit(['_', '-']).next()?;
    let is_frame = last.strip_prefix("frame").is_some_and(|number| number.parse::<u32>().is_ok());
    (last == "ed" || last == "es" || is_frame).then_some(last)
}

/// A view and what it was told by, in words that name nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// `sax`, `2ch`, `3ch`, `4ch`, `scout` or `other`.
    pub name: &'static str,
    /// Geometry, timing or description.
    pub evidence: String,
}

/// The view of a stack: geometry and timing first, the description second.
pub fn view(evidence: &Evidence<'_>) -> View {
    let Evidence { is_cine, normal, description, slices, .. } = *evidence;
    let told = |name, evidence: &str| View { name, evidence: evidence.to_owned() };
    let (Some(normal), Some(axis)) = (normal, unit(LONG_AXIS)) else { return told("other", "no geometry") };
    let cardinal = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    let is_cardinal = cardinal.iter().any(|body| angle_deg(normal, *body) < CARDINAL_DEG);
    let is_phase = evidence.may_lack_orientation && named_phase(description).is_some();
    if !is_cine && is_cardinal && !is_phase {
        return told("scout", "geometry: static, along an axis of the body");
    }
    if !is_cine && SCOUT.are_in(description) {
        return told("scout", "description: a localiser, static");
    }
    let from_axis = angle_deg(normal, axis);
    let geometry = format!("geometry: normal {from_axis:.0} deg from the long axis");
    let says_short = SHORT_AXIS.are_in(description);
    let says_long = named_long_axis(description);
    // One oblique plane may be anything: the description goes first. Several planes across the long axis are a short axis.
    if slices <= 2 && !says_short && says_long.is_none() && !is_cardinal && ELSEWHERE.are_in(description) {
        return told("other", "description: a plane through a vessel or valve");
    }
    if from_axis <= SHORT_AXIS_DEG && (says_long.is_none() || slices > 2) {
        return told("sax", &geometry);
    }
    if is_cardinal && (is_cine || is_phase) && evidence.may_lack_orientation {
        // Long axes are acquired plane by plane: a cine of several positions is a short axis.
        return match (says_long, says_short) {
            (Some(view), _) => told(view, "description: orientation unknown"),
            (None, true) => told("sax", "description: orientation unknown"),
            (None, false) if slices > 2 && is_cine => {
                told("sax", "timing: a cine of several planes, orientation unknown")
            }
            (None, false) if slices > 2 => told("sax", "name: a phase of several planes, orientation unknown"),
            (None, false) => told("other", "orientation unknown"),
        };
    }
    if is_cardinal && !says_short {
        return told("other", "geometry: along an axis of the body");
    }
    if says_short && says_long.is_none() && from_axis < SHORT_AXIS_IF_SAID_DEG {
        return told("sax", &format!("description; {geometry}"));
    }
    if !is_cine {
        return told("other", &format!("{geometry}; static"));
    }
    match says_long {
        Some(view) => told(view, &format!("description; {geometry}")),
        None => long_axis(normal, axis),
    }
}

fn named_long_axis(description: &str) -> Option<&'static str> {
    LONG_AXES.iter().find(|(_, words)| words.are_in(description)).map(|(view, _)| *view)
}

/// By the angle around the long axis: the four-chamber plane's normal is the one closest to the feet-head direction.
fn long_axis(normal: Vector, axis: Vector) -> View {
    let across = |vector: Vector| unit(subtract(vector, scale(axis, dot(vector, axis))));
    let (Some(four), Some(own)) = (across([0.0, 0.0, 1.0]), across(normal)) else {
        return View { name: "other", evidence: "geometry: no direction across the long axis".to_owned() };
    };
    let around = dot(own, cross(axis, four)).abs().atan2(dot(own, four).abs()).to_degrees();
    let name = if around < FOUR_CHAMBER_DEG {
        "4ch"
    } else if around > TWO_CHAMBER_DEG {
        "2ch"
    } else {
        "3ch"
    };
    View { name, evidence: format!("geometry: {around:.0} deg around the long axis from the four-chamber plane") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(evidence: &Evidence<'_>) -> &'static str {
        view(evidence).name
    }

    fn evidence(is_cine: bool, slices: usize, normal: Vector, description: &str) -> Evidence<'_> {
        Evidence { is_cine, slices, normal: unit(normal), description, may_lack_orientation: false }
    }

    #[test]
    fn geometry_decides_between_short_and_long_axis() {
        assert_eq!(name(&evidence(true, 9, [0.7, -0.5, -0.5], "")), "sax");
        assert_eq!(name(&evidence(true, 9, [-0.7, 0.5, 0.5], "cine")), "sax");
        assert_eq!(name(&evidence(true, 1, [0.5, -0.1, 0.86], "")), "4ch");
        assert_eq!(name(&evidence(true, 1, [0.6, 0.8, 0.05], "cine_2ch")), "2ch");
    }

    /// Python's math: the angle between (0.7, -0.5, -0.5) and the mean long axis is 3.442 degrees.
    #[test]
    fn what_a_view_was_told_by_is_kept_without_the_description() {
        let told = |is_cine, slices, normal, text| view(&evidence(is_cine, slices, normal, text)).evidence;
        let short = told(true, 9, [0.7, -0.5, -0.5], "doe^jane sax");
        assert_eq!(short, "geometry: normal 3 deg from the long axis");
        let named = told(true, 1, [0.6, 0.8, 0.05], "doe^jane 2ch");
        assert!(named.starts_with("description; geometry: normal ") && !named.contains("doe"), "{named}");
        assert_eq!(told(false, 1, [0.7, -0.5, -0.5], "doe^jane localizer"), "description: a localiser, static");
    }

    #[test]
    fn a_cine_whose_orientation_was_dropped_is_told_by_its_positions() {
        let axial = |slices, description| Evidence {
            may_lack_orientation: true,
            ..evidence(true, slices, [0.0, 0.0, 1.0], description)
        };
        assert_eq!(name(&axial(10, "patient001_4d")), "sax");
        assert_eq!(name(&axial(1, "a_4ch")), "4ch");
        assert_eq!(name(&axial(1, "a")), "other");
        assert_eq!(name(&evidence(true, 10, [0.0, 0.0, 1.0], "")), "other", "an axial stack of a scanner");
    }

    #[test]
    fn words_are_not_found_in_other_words() {
        let oblique = [0.7, -0.5, -0.5];
        assert_eq!(name(&evidence(false, 1, oblique, "velocity map")), "sax", "no `loc`");
        assert_eq!(name(&evidence(false, 1, oblique, "trufi_loc3")), "scout");
        let long = [0.5, -0.1, 0.86];
        assert_eq!(name(&evidence(true, 1, long, "cine sagittal 32ch")), "4ch", "neither `sa` nor `2ch`");
        assert_eq!(name(&evidence(true, 1, long, "cine 3-Kammer".to_lowercase().as_str())), "3ch");
        assert!(SHORT_AXIS.are_in("cine_kha_10mm") && SHORT_AXIS.are_in("b-ssfp sa2") && !SHORT_AXIS.are_in("sag"));
    }

    /// A plane across the ascending aorta is nearly one across the ventricle.
    #[test]
    fn single_planes_of_vessels_are_no_short_axis() {
        let plane = [0.6, -0.4, -0.69];
        assert_eq!(name(&evidence(true, 1, plane, "fl_throughplane_ao")), "other");
        assert_eq!(name(&evidence(true, 1, plane, "cine")), "sax");
        assert_eq!(name(&evidence(true, 10, plane, "cine flow sax")), "sax", "ten planes are a ventricle");
    }

    #[test]
    fn a_phase_of_a_cine_by_its_name_is_no_scout() {
        let phase = |slices, description| Evidence {
            may_lack_orientation: true,
            ..evidence(false, slices, [0.0, 0.0, 1.0], description)
        };
        assert_eq!(name(&phase(10, "patient001_frame12")), "sax");
        assert_eq!(name(&phase(1, "001_4ch_ed")), "4ch");
        assert_eq!(name(&phase(10, "patient001")), "scout");
    }

    #[test]
    fn unangled_or_named_static_planes_are_scouts() {
        assert_eq!(name(&evidence(false, 5, [0.0, 0.0, 1.0], "")), "scout");
        assert_eq!(name(&evidence(false, 1, [0.7, -0.5, -0.5], "localizer")), "scout");
    }
}
