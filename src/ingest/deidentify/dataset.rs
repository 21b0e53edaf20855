//! The profile applied to a data set, down through its sequences: what no rule keeps and no code replaces is gone.

use dicom::core::value::{DataSetSequence, PrimitiveValue};
use dicom::core::{DataElement, Length, Tag, VR};
use dicom::dictionary_std::tags;
use dicom::object::InMemDicomObject;

use super::super::dicom as headers;
use super::super::dicom::coding::DEPTH_CAP;
use super::super::privacy::{Pseudonyms, allowed};
use super::keep::{Rule, TERMS, rule};
use super::profile::{Code, published};
use super::words::cleaned;
use super::{safe, uid};

type Item = InMemDicomObject;

/// What stands for a text that must not be empty.
const DUMMY_TEXT: &str = "REMOVED";
/// SH, PS3.5 6.2.
const SHORT_CHARACTERS: usize = 16;

/// Who the file speaks of, as the cohort says.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// The pseudonym.
    pub id: String,
    /// `M`, `F` or `O`.
    pub sex: Option<String>,
    /// Age, years; 90 for all above 89.
    pub age_years: Option<f64>,
}

/// Treats the data sets of one file.
pub struct Cleaner<'a> {
    ids: &'a Pseudonyms,
    subject: &'a Subject,
    /// PatientName, PatientID and AccessionNumber: no kept text may hold a token of them.
    identifiers: Vec<String>,
    is_multi_frame: bool,
    /// The main data set as ingest reads it, in any character set; the library that reads `top` knows single ones alone.
    told: &'a headers::Item,
}

/// Text without padding; empty is absent.
fn text(item: &Item, tag: Tag) -> Option<String> {
    let value = item.get(tag)?.to_str().ok()?;
    let trimmed = value.trim_matches([' ', '\0']).to_owned();
    (!trimmed.is_empty()).then_some(trimmed)
}

fn element(tag: Tag, vr: VR, value: impl Into<PrimitiveValue>) -> DataElement<Item> {
    DataElement::new(tag, vr, value.into())
}

fn empty(tag: Tag, vr: VR) -> DataElement<Item> {
    match vr {
        VR::SQ => sequence(tag, Vec::new()),
        _ => DataElement::new(tag, vr, PrimitiveValue::Empty),
    }
}

fn sequence(tag: Tag, items: Vec<Item>) -> DataElement<Item> {
    DataElement::new(tag, VR::SQ, DataSetSequence::new(items, Length::UNDEFINED))
}

/// A value of the right form that says nothing; `None` where there is no such value, as for sequences.
fn dummy(tag: Tag, vr: VR) -> Option<DataElement<Item>> {
    let value = match vr {
        VR::PN | VR::LO | VR::SH | VR::ST | VR::LT | VR::UT | VR::UC | VR::AE | VR::CS => DUMMY_TEXT,
        VR::DA => "19000101",
        VR::TM => "000000",
        VR::DT => "19000101000000",
        VR::AS => "000Y",
        VR::IS | VR::DS => "0",
        _ => return None,
    };
    Some(element(tag, vr, value))
}

impl<'a> Cleaner<'a> {
    /// For the file whose main data set is `top`, and `told` as ingest reads it.
    pub fn new(ids: &'a Pseudonyms, subject: &'a Subject, top: &Item, told: &'a headers::Item) -> Self {
        let tags = [tags::PATIENT_NAME, tags::PATIENT_ID, tags::ACCESSION_NUMBER];
        // Both readings: a hostile file may hold an attribute twice.
        let identifiers = tags.into_iter().flat_map(|tag| [told.text(tag), text(top, tag)]).flatten().collect();
        let is_enhanced = text(top, tags::SOP_CLASS_UID).is_some_and(|class| uid::is_enhanced_class(&class));
        let is_multi_frame = is_enhanced || top.get(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).is_some();
        Self { ids, subject, identifiers, is_multi_frame, told }
    }

    /// The main data set without pixel data: de-identified, with the marks that say so, text as UTF-8.
    pub fn main(&self, top: &Item) -> Item {
        let mut cleaned = self.data_set(top, 0);
        let text = |tag, vr, value: &str| element(tag, vr, value);
        // Type 2 of the patient and study modules.
        for (tag, vr) in [
            (tags::PATIENT_NAME, VR::PN),
            (tags::PATIENT_BIRTH_DATE, VR::DA),
            (tags::STUDY_DATE, VR::DA),
            (tags::STUDY_TIME, VR::TM),
            (tags::ACCESSION_NUMBER, VR::SH),
            (tags::REFERRING_PHYSICIAN_NAME, VR::PN),
            (tags::STUDY_ID, VR::SH),
        ] {
            cleaned.put(empty(tag, vr));
        }
        cleaned.put(text(tags::PATIENT_ID, VR::LO, &self.subject.id));
        cleaned.put(text(tags::PATIENT_SEX, VR::CS, self.subject.sex.as_deref().unwrap_or_default()));
        match self.age() {
            Some(age) => cleaned.put(text(tags::PATIENT_AGE, VR::AS, &age)),
            None => cleaned.take(tags::PATIENT_AGE),
        };
        self.marks().into_iter().for_each(|mark| {
            cleaned.put(mark);
        });
        if is_ascii(&cleaned) {
            cleaned.remove_element(tags::SPECIFIC_CHARACTER_SET);
        } else {
            cleaned.convert_to_utf8();
        }
        cleaned
    }

    /// What says that, and how, the file was de-identified (PS3.15 E.2 and E.3, PS3.3 C.7.1.1 and C.12.1).
    fn marks(&self) -> Vec<DataElement<Item>> {
        let code = |(value, meaning): &(&str, &str)| {
            Item::from_element_iter([
                element(tags::CODE_VALUE, VR::SH, *value),
                element(tags::CODING_SCHEME_DESIGNATOR, VR::SH, "DCM"),
                element(tags::CODE_MEANING, VR::LO, *meaning),
            ])
        };
        let method = PrimitiveValue::Strs(super::METHOD.iter().map(|line| (*line).to_owned()).collect());
        vec![
            element(tags::PATIENT_IDENTITY_REMOVED, VR::CS, "YES"),
            DataElement::new(tags::DEIDENTIFICATION_METHOD, VR::LO, method),
            sequence(tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE, super::METHOD_CODES.iter().map(code).collect()),
            element(tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED, VR::CS, "REMOVED"),
        ]
    }

    fn age(&self) -> Option<String> {
        let years = self.subject.age_years.filter(|years| (0.0..=150.0).contains(years))?;
        Some(format!("{:03.0}Y", years.floor().min(90.0)))
    }

    /// One data set by the rules.
    fn data_set(&self, item: &Item, depth: u32) -> Item {
        let treated = item.iter().filter_map(|element| self.element(element, depth));
        Item::from_element_iter(treated.chain(safe::private(item)).collect::<Vec<_>>())
    }

    fn element(&self, found: &DataElement<Item>, depth: u32) -> Option<DataElement<Item>> {
        let (tag, vr) = (found.header().tag, found.vr());
        // Private groups but for what `safe` keeps, curves and overlays as wholes (PS3.15 table E.1-1, the rows for groups).
        if tag.group() % 2 == 1 || matches!(tag.group() & 0xff00, 0x5000 | 0x6000) {
            return None;
        }
        if let Some(rule) = rule(tag) {
            return self.keep(rule, found, depth);
        }
        match published(tag)? {
            Code::X | Code::Xz | Code::Xd | Code::Xzd | Code::Xzu => None,
            Code::D => dummy(tag, vr),
            Code::Zd if self.is_multi_frame => dummy(tag, vr),
            Code::Z | Code::Zd => Some(empty(tag, vr)),
            Code::U => self.uids(found),
        }
    }

    fn keep(&self, rule: Rule, found: &DataElement<Item>, depth: u32) -> Option<DataElement<Item>> {
        let (tag, vr) = (found.header().tag, found.vr());
        let is_short_text = vr == VR::SH || vr == VR::LO;
        match rule {
            Rule::Value => self.value(found),
            Rule::Sequence => {
                let items = found.items().filter(|_| depth < DEPTH_CAP)?;
                Some(sequence(tag, items.iter().map(|item| self.data_set(item, depth + 1)).collect()))
            }
            Rule::AllowListed => self.allow_listed(found, depth),
            Rule::Words => {
                let words = cleaned(&self.text(found, depth)?, &self.identifiers);
                (!words.is_empty()).then(|| element(tag, VR::LO, words))
            }
            Rule::StandardUid => {
                let value = found.to_str().ok()?;
                let value = value.trim_matches([' ', '\0']);
                uid::is_standard_class(value).then(|| element(tag, VR::UI, value))
            }
            Rule::Term(terms) if is_short_text || vr == VR::CS => {
                let value = found.to_str().ok()?;
                let term = terms.iter().find(|term| **term == value.trim()).or_else(|| terms.first())?;
                Some(element(tag, vr, *term))
            }
            // Set for the whole file by `main`, and of no use in sequences.
            Rule::Subject | Rule::Sex | Rule::Age => None,
            Rule::Serial => {
                let serial = found.to_str().ok()?.trim().to_owned();
                let hidden = if serial.is_empty() { String::new() } else { self.ids.of("device", &[&serial]) };
                // Type 1 in enhanced objects.
                let hidden = if serial.is_empty() && self.is_multi_frame { DUMMY_TEXT.to_owned() } else { hidden };
                Some(element(tag, VR::LO, hidden))
            }
            Rule::StackName => {
                let name = found.to_str().ok()?.trim().to_owned();
                let is_number = name.len() <= 4 && name.bytes().all(|byte| byte.is_ascii_digit());
                let hidden = || self.ids.of("stack-name", &[&name]).chars().take(SHORT_CHARACTERS).collect();
                Some(element(tag, VR::SH, if is_number { name.clone() } else { hidden() }))
            }
            Rule::Region => Some(sequence(tag, vec![heart()])),
            Rule::Empty if vr == VR::SQ || is_short_text => Some(empty(tag, vr)),
            Rule::Dummy if is_short_text => dummy(tag, vr),
            Rule::DummyInMultiFrame if self.is_multi_frame && vr == VR::DT => dummy(tag, vr),
            Rule::Term(_) | Rule::Empty | Rule::Dummy | Rule::DummyInMultiFrame => None,
        }
    }

    /// A number or a coded term, in the form that the standard gives it; what is in no such form is emptied or removed.
    fn value(&self, found: &DataElement<Item>) -> Option<DataElement<Item>> {
        let (tag, vr) = (found.header().tag, found.vr());
        let value = found.value().primitive()?;
        match vr {
            VR::US | VR::SS | VR::UL | VR::SL | VR::UV | VR::SV | VR::FL | VR::FD | VR::AT | VR::OV | VR::OW
                if !matches!(value, PrimitiveValue::Str(_) | PrimitiveValue::Strs(_)) =>
            {
                Some(DataElement::new(tag, vr, value.clone()))
            }
            VR::DS | VR::IS => {
                let parts = value.to_multi_str();
                let is_number = |part: &String| {
                    let part = part.trim_matches([' ', '\0']);
                    let letters = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
                    part.is_empty() || (part.len() <= 64 && part.bytes().all(letters) && part.parse::<f64>().is_ok())
                };
                let kept = if parts.iter().all(is_number) { value.clone() } else { PrimitiveValue::Empty };
                Some(DataElement::new(tag, vr, kept))
            }
            VR::CS => {
                let parts: Vec<String> = value.to_multi_str().iter().map(|part| part.trim().to_owned()).collect();
                let kept: Vec<String> = parts.into_iter().filter(|part| self.is_term(part)).collect();
                let kept = if kept.is_empty() { PrimitiveValue::Empty } else { PrimitiveValue::Strs(kept.into()) };
                Some(DataElement::new(tag, vr, kept))
            }
            _ => None,
        }
    }

    /// Whether a coded term is in the letters of CS and not the patient's name.
    fn is_term(&self, term: &str) -> bool {
        let letters = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ' || byte == b'_';
        let in_letters = term.len() <= SHORT_CHARACTERS && term.bytes().all(letters);
        in_letters && (TERMS.contains(&term) || allowed(term, &self.identifiers).is_some())
    }

    /// The values of a text, joined by backslashes: of the main data set as ingest reads it.
    fn text(&self, found: &DataElement<Item>, depth: u32) -> Option<String> {
        let tag = found.header().tag;
        if depth == 0 && self.told.has(tag) {
            return Some(self.told.text(tag).unwrap_or_default());
        }
        Some(found.value().primitive()?.to_multi_str().join("\\"))
    }

    fn allow_listed(&self, found: &DataElement<Item>, depth: u32) -> Option<DataElement<Item>> {
        let (tag, vr) = (found.header().tag, found.vr());
        if !matches!(vr, VR::LO | VR::SH) {
            return None;
        }
        let text = self.text(found, depth)?;
        let parts: Vec<String> = text.split('\\').map(|part| part.trim_matches([' ', '\0']).to_owned()).collect();
        // All values or none, as ingest looks at the whole.
        let whole = parts.join("\\");
        let is_safe = !whole.is_empty() && allowed(&whole, &self.identifiers).is_some();
        let kept = if is_safe { PrimitiveValue::Strs(parts.into()) } else { PrimitiveValue::Empty };
        Some(DataElement::new(tag, vr, kept))
    }

    fn uids(&self, found: &DataElement<Item>) -> Option<DataElement<Item>> {
        let value = found.value().primitive().filter(|_| found.vr() == VR::UI)?;
        let parts = value.to_multi_str();
        let new = parts.iter().map(|part| {
            let uid = part.trim_matches([' ', '\0']);
            if uid.is_empty() { String::new() } else { uid::replaced(self.ids, uid) }
        });
        Some(DataElement::new(found.header().tag, VR::UI, PrimitiveValue::Strs(new.collect())))
    }
}

/// The code of the heart (PS3.16 CID 4).
fn heart() -> Item {
    Item::from_element_iter([
        element(tags::CODE_VALUE, VR::SH, "80891009"),
        element(tags::CODING_SCHEME_DESIGNATOR, VR::SH, "SCT"),
        element(tags::CODE_MEANING, VR::LO, "Heart"),
    ])
}

/// Whether all text is in the default repertoire; only allow-listed attributes of the main data set may hold other letters.
fn is_ascii(item: &Item) -> bool {
    let is_text = |element: &&DataElement<Item>| matches!(element.vr(), VR::LO | VR::SH);
    item.iter().filter(is_text).all(|element| element.to_str().is_ok_and(|text| text.is_ascii()))
}
