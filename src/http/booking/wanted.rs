//! What a caller of a booking operation sends: FHIR Parameters, by the names of IHE Scheduling and a few of our own.
//!
//! Invariant: an unknown parameter is refused by its name, and nothing is read that was not asked for.

use super::MOST_SLOTS;
use crate::error::{Error, Kind, Result};
use crate::fhir::{Json, Resource, ResourceType, relative};
use crate::time::Ttl;

/// The longest reason, in bytes.
const LONGEST_REASON: usize = 500;
/// How long a hold lasts, at most and unless it is said.
const LONGEST_HOLD: u64 = 15;
const USUAL_HOLD: u64 = 5;

/// What was sent.
#[derive(Default)]
pub struct Wanted {
    /// `appointment-reference`: ids of an Appointment that is held, or of proposals.
    pub references: Vec<String>,
    /// `appt-resource`: an Appointment that names its Slots.
    pub appointment: Option<Resource>,
    /// `patient-reference`: the id of the Patient.
    pub patient: Option<String>,
    /// `fence`: of the lease of the first Slot.
    pub fence: Option<u64>,
    /// `minutes`: how long to hold.
    pub minutes: Option<u64>,
    /// `override-reason`: why somebody else's hold gives way.
    pub override_reason: Option<String>,
    /// `reason`: why it is cancelled or moved.
    pub reason: Option<String>,
    /// All of it, as JSON.
    pub sent: String,
}

pub fn wrong(field: &str, message: &'static str) -> Error {
    Error::new(Kind::Unprocessable, message).at(field)
}

fn place(name: &str) -> String {
    format!("Parameters.parameter.where(name='{name}')")
}

fn reference(part: &Json, name: &str, kind: ResourceType) -> Result<String> {
    let text = part.get("valueReference").and_then(|value| value.get("reference")?.as_str());
    let to = text.and_then(relative).filter(|to| to.kind == kind);
    to.map(|to| to.id.to_owned())
        .ok_or_else(|| wrong(&place(name), "this must be a valueReference to one that is here"))
}

fn number(part: &Json, name: &str) -> Result<u64> {
    // An integer of FHIR ends at 2^31: the fences of a Redis that was started again are above it, and come as a decimal.
    let number = ["valuePositiveInt", "valueInteger", "valueDecimal"].iter().find_map(|kind| part.get(kind));
    let number = number.and_then(|number| number.as_number()).and_then(|text| text.parse().ok());
    number.ok_or_else(|| wrong(&place(name), "this must be a valuePositiveInt, or a whole valueDecimal"))
}

fn sentence(part: &Json, name: &str) -> Result<String> {
    let text = part.get("valueString").and_then(|value| value.as_str()).map(str::trim);
    let text = text.filter(|text| (1..=LONGEST_REASON).contains(&text.len()));
    text.map(str::to_owned).ok_or_else(|| wrong(&place(name), "this must be a valueString of 1 to 500 bytes"))
}

impl Wanted {
    /// Reads the Parameters, of which `known` may be there.
    pub fn read(parameters: &Resource, known: &[&str]) -> Result<Wanted> {
        let mut wanted = Wanted { sent: parameters.to_json(), ..Wanted::default() };
        for part in parameters.values_at(&["parameter"]) {
            let name = part.get("name").and_then(|name| name.as_str()).unwrap_or_default();
            if !known.contains(&name) {
                return Err(wrong("Parameters.parameter.name", "this operation has no such parameter"));
            }
            match name {
                "appointment-reference" => {
                    wanted.references.push(reference(part, name, ResourceType::Appointment)?);
                }
                "appt-resource" => {
                    let found = part.get("resource").cloned().map(Resource::from_json);
                    let found = found.and_then(std::result::Result::ok);
                    let found = found.filter(|found| found.kind() == ResourceType::Appointment);
                    wanted.appointment = Some(found.ok_or_else(|| wrong(&place(name), "this must be an Appointment"))?);
                }
                "patient-reference" => wanted.patient = Some(reference(part, name, ResourceType::Patient)?),
                "fence" => wanted.fence = Some(number(part, name)?),
                "minutes" => wanted.minutes = Some(number(part, name)?),
                "override-reason" => wanted.override_reason = Some(sentence(part, name)?),
                _ => wanted.reason = Some(sentence(part, name)?),
            }
        }
        if wanted.references.len() > MOST_SLOTS {
            return Err(wrong(&place("appointment-reference"), "these are too many Slots for one Appointment"));
        }
        Ok(wanted)
    }

    /// How long to hold.
    pub fn hold(&self) -> Result<Ttl> {
        match self.minutes.unwrap_or(USUAL_HOLD) {
            minutes @ 1..=LONGEST_HOLD => Ok(Ttl::from_mins(minutes)),
            _ => Err(wrong(&place("minutes"), "a hold lasts 1 to 15 minutes")),
        }
    }

    /// The ids of the Slots that the Appointment names, the first one first and each once.
    pub fn slots(appointment: &Resource) -> Result<Vec<String>> {
        let mut slots: Vec<String> = Vec::new();
        for text in appointment.strs_at(&["slot", "reference"]) {
            let to = relative(text).filter(|to| to.kind == ResourceType::Slot);
            let to = to.ok_or_else(|| wrong("Appointment.slot", "each must refer to a Slot that is here"))?;
            if !slots.iter().any(|slot| slot == to.id) {
                slots.push(to.id.to_owned());
            }
        }
        if slots.is_empty() || slots.len() > MOST_SLOTS {
            return Err(wrong("Appointment.slot", "an Appointment that is booked has 1 to 16 Slots"));
        }
        Ok(slots)
    }
}
