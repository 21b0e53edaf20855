//! Settings of augmentation: `augment = true`, `false` or a table of ranges. Mirror images are off, and refused for images in patient
//! axes: anatomy has sides.

use std::fmt;

use serde::de::{Error, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

/// Ranges of the random changes; each is drawn anew per sample and epoch. 0 switches one off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Largest shift, as a share of the image's side.
    pub shift: f64,
    /// Largest rotation, degrees.
    pub rotation_degrees: f64,
    /// Largest change of size: 0.1 draws factors from 1/1.1 to 1.1.
    pub scale: f64,
    /// Largest logarithm of the exponent that grey values, brought to 0..1, are raised to.
    pub gamma: f64,
    /// Largest deviation of Gaussian noise, in deviations of the training split.
    pub noise: f64,
    /// Largest logarithm of the gain of a smooth field (second order), as receive coils have, that grey values, brought to 0..1, are
    /// multiplied by.
    #[serde(skip_serializing_if = "is_off")]
    pub bias_field: f64,
    /// Largest deviation of a Gaussian blur, pixels.
    #[serde(skip_serializing_if = "is_off")]
    pub blur: f64,
    /// Every other image, drawn at random, is mirrored left to right.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub flip: bool,
}

/// Ranges that came later are written where they are on only, so that a RUN from before them stays up to date.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_off(range: &f64) -> bool {
    *range == 0.0
}

impl Default for Augmentation {
    fn default() -> Self {
        Self { shift: 0.06, rotation_degrees: 12.0, scale: 0.12, gamma: 0.25, noise: 0.05, ..Self::OFF }
    }
}

impl Augmentation {
    /// Nothing is changed.
    pub const OFF: Self = Self {
        shift: 0.0,
        rotation_degrees: 0.0,
        scale: 0.0,
        gamma: 0.0,
        noise: 0.0,
        bias_field: 0.0,
        blur: 0.0,
        flip: false,
    };

    /// Checks the ranges.
    ///
    /// # Errors
    /// The key, what was given and what is accepted.
    pub fn check(&self) -> Result<(), (&'static str, f64, &'static str)> {
        let range = |key, found: f64, high: f64, expected| {
            if (0.0..=high).contains(&found) { Ok(()) } else { Err((key, found, expected)) }
        };
        range("augment.shift", self.shift, 0.5, "0 to 0.5")?;
        range("augment.rotation_degrees", self.rotation_degrees, 180.0, "0 to 180")?;
        range("augment.scale", self.scale, 1.0, "0 to 1")?;
        range("augment.gamma", self.gamma, 2.0, "0 to 2")?;
        range("augment.noise", self.noise, 2.0, "0 to 2")?;
        range("augment.bias_field", self.bias_field, 2.0, "0 to 2")?;
        range("augment.blur", self.blur, 10.0, "0 to 10")
    }
}

/// The TOML form.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Augment {
    /// On with the default ranges, or off.
    Switch(bool),
    /// On with these ranges.
    Table(Augmentation),
}

impl Augment {
    /// The ranges; `None` when augmentation is off.
    pub fn resolve(self) -> Option<Augmentation> {
        match self {
            Self::Switch(true) => Some(Augmentation::default()),
            Self::Switch(false) => None,
            Self::Table(ranges) => Some(ranges),
        }
    }
}

impl Serialize for Augment {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Switch(on) => serializer.serialize_bool(*on),
            Self::Table(ranges) => ranges.serialize(serializer),
        }
    }
}

/// By hand: an untagged enum would hide which key of the table is wrong.
impl<'de> Deserialize<'de> for Augment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Augment;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("true, false or a table of ranges")
            }

            fn visit_bool<E: Error>(self, on: bool) -> Result<Augment, E> {
                Ok(Augment::Switch(on))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Augment, A::Error> {
                Augmentation::deserialize(MapAccessDeserializer::new(map)).map(Augment::Table)
            }
        }
        deserializer.deserialize_any(Either)
    }
}
