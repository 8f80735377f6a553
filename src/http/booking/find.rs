//! `Appointment/$find` (ITI-115): free Slots as proposed Appointments.
//!
//! Invariant: what is proposed was free when it was read, is not in the past, and is held or booked by its reference alone:
//! the id of a proposal is that of its Slot.

use serde_json::Value;

use super::wanted::wrong;
use super::{Desk, proposal};
use crate::chart::records::Record;
use crate::error::{Error, Kind, Result};
use crate::fhir::search::Place;
use crate::fhir::{Json, Resource, ResourceType, SearchEntry, SearchMode, at, relative, searchset};
use crate::http::reply::Response;
use crate::http::{Incoming, Platform, fhir, input, search, views};
use crate::sorted::BTreeMap;
use crate::time::UnixMillis;

/// Proposals by default, and at most.
const COUNT: (u64, u64) = (50, 200);
/// So many Schedules are looked into at most; more are refused.
const SCHEDULES: u64 = 100;
/// So many of them one search for Slots names.
const TOGETHER: usize = 30;
/// Parameters that name actors, of which an Appointment has one of each kind.
const ACTORS: [(&str, ResourceType); 3] = [
    ("practitioner", ResourceType::Practitioner),
    ("location-reference", ResourceType::Location),
    ("organization", ResourceType::Organization),
];
/// Parameters that name codes, and where a Slot or Schedule has them.
const CODES: [(&str, &str); 2] = [("visit-type", "serviceType"), ("specialty", "specialty")];

/// Names and values, of a query or of Parameters.
type Asked = Vec<(String, String)>;

/// The parameters of the body, as a query would have them.
fn of_body(parameters: &Resource) -> Result<Asked> {
    let text = |part: &Json| {
        for name in ["valueDateTime", "valueDate", "valueInstant", "valueString", "valueUri", "valueCode"] {
            if let Some(text) = part.get(name).and_then(|value| value.as_str()) {
                return Some(text.to_owned());
            }
        }
        let number = part.get("valueInteger").or_else(|| part.get("valuePositiveInt"));
        let reference = part.get("valueReference").and_then(|value| value.get("reference"));
        number.and_then(|number| number.as_number()).or_else(|| reference?.as_str()).map(str::to_owned)
    };
    let parts = parameters.values_at(&["parameter"]).map(|part| {
        let name = part.get("name").and_then(|name| name.as_str()).unwrap_or_default();
        let value = text(part).ok_or_else(|| wrong("Parameters.parameter", "this has no value that is known here"))?;
        Ok((name.to_owned(), value))
    });
    parts.collect()
}

fn known(name: &str) -> bool {
    ["start", "end", "_count", "patient-reference"].contains(&name)
        || ACTORS.iter().any(|(known, _)| *known == name)
        || CODES.iter().any(|(known, _)| *known == name)
}

/// Whether one of `codings` is one of the wanted `system|code`s.
fn has_code(concepts: &Value, wanted: &[&str]) -> bool {
    let concepts = concepts.as_array().into_iter().flatten();
    let mut codings = concepts.flat_map(|concept| at(concept, "/coding").as_array().into_iter().flatten());
    codings.any(|coding| {
        let (system, code) = (at(coding, "/system").as_str().unwrap_or_default(), at(coding, "/code").as_str());
        wanted.iter().any(|wanted| match wanted.split_once('|') {
            Some((of, wanted)) => of == system && code == Some(wanted),
            None => code == Some(*wanted),
        })
    })
}

impl<P: Platform, R: Incoming> Desk<'_, P, R> {
    pub(super) async fn find(&self) -> Result<Response> {
        let mut asked: Asked = input::pairs(self.context.request.query())?;
        if self.context.request.method() == "POST" {
            match fhir::sent(self.context, ResourceType::Parameters).await? {
                Ok(parameters) => asked.extend(of_body(&parameters)?),
                Err(response) => return Ok(response),
            }
        }
        if asked.iter().any(|(name, _)| !known(name)) {
            return Err(Error::invalid("query", "there is a parameter that is not known here"));
        }
        let values = |name: &str| -> Vec<&str> {
            asked.iter().filter(|(found, _)| found == name).flat_map(|(_, value)| value.split(',')).collect()
        };
        let one = |name: &str| match values(name).as_slice() {
            [value] => Ok((*value).to_owned()),
            _ => Err(Error::invalid(name, "this parameter is needed, once")),
        };
        let count = match values("_count").as_slice() {
            [] => COUNT.0,
            [text] => text.parse().map_err(|_| Error::invalid("_count", "this must be a whole number"))?,
            _ => return Err(Error::invalid("_count", "this parameter may be given once")),
        };
        let count = usize::try_from(count.clamp(1, COUNT.1)).unwrap_or(usize::MAX);
        let (start, end) = (one("start")?, one("end")?);

        // One that says nothing of it is active.
        let mut of_schedules: Asked = vec![("active:not".to_owned(), "false".to_owned())];
        for (name, kind) in ACTORS {
            let actors: Vec<String> = values(name)
                .iter()
                .map(|text| {
                    let bare = text.strip_prefix(&format!("{}/", self.context.base())).unwrap_or(text);
                    let id = relative(bare).filter(|to| to.kind == kind).map_or(bare, |to| to.id);
                    format!("{kind}/{id}")
                })
                .collect();
            if !actors.is_empty() {
                of_schedules.push(("actor".to_owned(), actors.join(",")));
            }
        }
        let (schedules, more) = self.search(ResourceType::Schedule, of_schedules, SCHEDULES, None).await?;
        if more.is_some() {
            let message =
                "these are more than 100 Schedules: say whose, by practitioner, location-reference or organization";
            return Err(Error::new(Kind::TooCostly, message).at("practitioner"));
        }
        let mut found: BTreeMap<String, Value> = BTreeMap::new();
        for Record { id, body, .. } in schedules {
            found.insert(id, body.as_deref().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default());
        }
        // By when they begin, then by their ids.
        let mut proposals: BTreeMap<String, Value> = BTreeMap::new();
        let schedules: Vec<&String> = found.keys().collect();
        for some in schedules.chunks(TOGETHER) {
            let most = proposals.len().saturating_add(count);
            let of = some.iter().map(|id| format!("Schedule/{id}")).collect::<Vec<_>>().join(",");
            let query: Asked = [
                ("schedule", of),
                ("status", "free".to_owned()),
                ("start", format!("ge{start}")),
                ("start", format!("lt{end}")),
                ("start", format!("ge{}", self.context.platform.now().to_rfc3339())),
                ("_sort", "start".to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec();
            let mut after = None;
            loop {
                let (slots, next) = self.search(ResourceType::Slot, query.clone(), COUNT.1, after.take()).await?;
                for Record { id, body, .. } in slots {
                    let slot: Value =
                        body.as_deref().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default();
                    let of = at(&slot, "/schedule/reference").as_str().and_then(|text| text.strip_prefix("Schedule/"));
                    let schedule = of.and_then(|of| found.get(of)).unwrap_or(&Value::Null);
                    let fits = CODES.iter().all(|(name, element)| {
                        let wanted = values(name);
                        let said = slot.get(element).or_else(|| schedule.get(element)).unwrap_or(&Value::Null);
                        wanted.is_empty() || has_code(said, &wanted)
                    });
                    if fits && proposals.len() < most {
                        let (ids, slots) = (std::slice::from_ref(&id), std::slice::from_ref(&slot));
                        let mut proposed = proposal::appointment(ids, slots, schedule);
                        proposed.insert("id".to_owned(), id.clone().into());
                        let begins = at(&slot, "/start").as_str().and_then(UnixMillis::parse_rfc3339);
                        let key = format!("{:015} {id}", begins.map_or(0, |begins| begins.0));
                        proposals.insert(key, Value::Object(proposed));
                    }
                }
                after = next;
                if after.is_none() || proposals.len() >= most {
                    break;
                }
            }
        }
        let text = |(_, proposed): (String, Value)| {
            let id = at(&proposed, "/id").as_str().unwrap_or_default();
            (format!("{}/Appointment/{id}", self.context.base()), proposed.to_string())
        };
        let proposals: Vec<(String, String)> = proposals.into_iter().take(count).map(text).collect();
        let entries = proposals.iter().map(|(url, proposed)| SearchEntry {
            full_url: Some(url.as_str().into()),
            resource: proposed.as_str().into(),
            mode: SearchMode::Match,
        });
        Ok(Response::fhir(200, searchset(entries, &[], None)))
    }

    async fn search(
        &self,
        kind: ResourceType,
        query: Asked,
        count: u64,
        after: Option<Place>,
    ) -> Result<(Vec<Record>, Option<Place>)> {
        let (base, now) = (self.context.base(), self.context.platform.now());
        // Not as the one who books: a patient's reach there is their own compartment.
        let scope = self.caller.may(views::reading(kind))?;
        let own = search::Own { kind, query: &query, base: &base, now, after, count };
        search::own(self.context.platform, scope, own).await
    }
}
