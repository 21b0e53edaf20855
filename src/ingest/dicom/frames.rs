//! Plane, position and time of each frame of an object, classic or enhanced (PS3.3 C.7.6.16).

use dicom::core::Tag;
use dicom::dictionary_std::tags;

use super::item::Item;
use super::{DicomError, malformed};
use crate::geometry::{Plane, Vector};
use crate::ingest::image::{Timing, contrast};

/// What is known of one frame.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Orientation and spacing.
    pub plane: Option<Plane>,
    /// Centre of the first pixel, LPS mm.
    pub position: Option<Vector>,
    /// When.
    pub timing: Timing,
    /// What keeps it apart from other frames of the object; `None` where the object's own says it.
    pub contrast: Option<String>,
}

/// The frames of an object that announces `count`.
///
/// # Errors
/// [`DicomError::Attribute`].
pub fn frames(object: &Item, count: i64) -> Result<Vec<Frame>, DicomError> {
    let Some(groups) = object.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE) else {
        let spacing = object.floats(tags::PIXEL_SPACING)?;
        let plane = plane(object.floats(tags::IMAGE_ORIENTATION_PATIENT)?, spacing)?;
        let position = position(object.floats(tags::IMAGE_POSITION_PATIENT)?)?;
        let timing = classic_timing(object)?;
        return Ok((0..count).map(|_| Frame { plane, position, timing, contrast: None }).collect());
    };
    if i64::try_from(groups.len()) != Ok(count) {
        let found = format!("{} items for {count} frames", groups.len());
        return Err(malformed(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, found, "one item per frame"));
    }
    let shared = object.first(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE);
    let sequence = object.text(tags::SCANNING_SEQUENCE).unwrap_or_default();
    let one = |(frame, own): (i64, &Item)| {
        let macros = Macros { own, shared, top: object };
        let spacing = macros.floats(tags::PIXEL_MEASURES_SEQUENCE, tags::PIXEL_SPACING)?;
        let orientation = macros.floats(tags::PLANE_ORIENTATION_SEQUENCE, tags::IMAGE_ORIENTATION_PATIENT)?;
        let place = macros.floats(tags::PLANE_POSITION_SEQUENCE, tags::IMAGE_POSITION_PATIENT)?;
        let kinds = macros.group(tags::MR_IMAGE_FRAME_TYPE_SEQUENCE).and_then(|group| group.text(tags::FRAME_TYPE));
        Ok(Frame {
            plane: plane(orientation, spacing)?,
            position: position(place)?,
            timing: macros.timing(frame)?,
            contrast: kinds.map(|kinds| contrast(&kinds, &sequence)),
        })
    };
    (0_i64..).zip(groups).map(one).collect()
}

fn plane(orientation: Option<Vec<f64>>, spacing: Option<Vec<f64>>) -> Result<Option<Plane>, DicomError> {
    let (Some(orientation), Some(spacing)) = (orientation, spacing) else { return Ok(None) };
    let expected = "two perpendicular unit vectors and positive spacings";
    let wrong = || malformed(tags::IMAGE_ORIENTATION_PATIENT, "malformed", expected);
    let orientation: [f64; 6] = orientation.try_into().map_err(|_| wrong())?;
    let spacing: [f64; 2] =
        spacing.try_into().map_err(|_| malformed(tags::PIXEL_SPACING, "malformed", "two numbers, mm"))?;
    Plane::new(orientation, spacing).map(Some).ok_or_else(wrong)
}

fn position(values: Option<Vec<f64>>) -> Result<Option<Vector>, DicomError> {
    let wrong = |_| malformed(tags::IMAGE_POSITION_PATIENT, "malformed", "three numbers, mm");
    values.map(|values| values.try_into().map_err(wrong)).transpose()
}

/// Date and time as one number: only its order matters.
fn acquired(item: &Item) -> Option<f64> {
    let digits = |text: String| text.chars().filter(|one| one.is_ascii_digit() || *one == '.').collect::<String>();
    if let Some(moment) =
        item.text(tags::ACQUISITION_DATE_TIME).or_else(|| item.text(tags::FRAME_ACQUISITION_DATE_TIME))
    {
        return digits(moment.split(['+', '-']).next().unwrap_or_default().to_owned()).parse().ok();
    }
    let time = item.text(tags::ACQUISITION_TIME).or_else(|| item.text(tags::CONTENT_TIME))?;
    let date = item.text(tags::ACQUISITION_DATE).or_else(|| item.text(tags::CONTENT_DATE)).unwrap_or_default();
    format!("{}{}", digits(date), digits(time)).parse().ok()
}

fn classic_timing(object: &Item) -> Result<Timing, DicomError> {
    Ok(Timing {
        trigger_time_ms: object.float(tags::TRIGGER_TIME)?,
        temporal_position: object.integer(tags::TEMPORAL_POSITION_IDENTIFIER)?,
        acquisition_number: object.integer(tags::ACQUISITION_NUMBER)?,
        instance_number: object.integer(tags::INSTANCE_NUMBER)?,
        acquired: acquired(object),
        echo_number: object.integer(tags::ECHO_NUMBERS)?,
        inversion_time_ms: object.float(tags::INVERSION_TIME)?,
    })
}

/// The functional groups of one frame: its own, else the shared ones (PS3.3 C.7.6.16), else the attribute outside them: converters
/// add empty groups to classic images.
struct Macros<'a> {
    own: &'a Item,
    shared: Option<&'a Item>,
    top: &'a Item,
}

impl<'a> Macros<'a> {
    fn group(&self, sequence: Tag) -> Option<&'a Item> {
        self.own.first(sequence).or_else(|| self.shared.and_then(|shared| shared.first(sequence)))
    }

    fn floats(&self, sequence: Tag, tag: Tag) -> Result<Option<Vec<f64>>, DicomError> {
        let found = self.group(sequence).map_or(Ok(None), |group| group.floats(tag))?;
        found.map_or_else(|| self.top.floats(tag), |values| Ok(Some(values)))
    }

    fn timing(&self, frame: i64) -> Result<Timing, DicomError> {
        let content = self.group(tags::FRAME_CONTENT_SEQUENCE);
        let content_integer = |tag| content.map_or(Ok(None), |group| group.integer(tag));
        let synchronised = self.group(tags::CARDIAC_SYNCHRONIZATION_SEQUENCE);
        let delay = |tag| synchronised.map_or(Ok(None), |group| group.float(tag));
        let trigger_time_ms = match delay(tags::NOMINAL_CARDIAC_TRIGGER_DELAY_TIME)? {
            Some(time) => Some(time),
            None => delay(tags::ACTUAL_CARDIAC_TRIGGER_DELAY_TIME)?,
        };
        let classic = classic_timing(self.top)?;
        let is_one = frame == 0 && content.is_none();
        Ok(Timing {
            trigger_time_ms: trigger_time_ms.or(classic.trigger_time_ms),
            temporal_position: content_integer(tags::TEMPORAL_POSITION_INDEX)?.or(classic.temporal_position),
            acquisition_number: content_integer(tags::FRAME_ACQUISITION_NUMBER)?.or(classic.acquisition_number),
            instance_number: if is_one { classic.instance_number } else { Some(frame) },
            ..classic
        })
    }
}
