//! `POST /fhir`: Bundles, each entry for itself (`batch`) or all or nothing (`transaction`), R4 section 3.1.0.11.
//!
//! Invariant: a transaction is one guarded batch, so that it takes effect whole or not at all, with its events and audit
//! rows. Practitioners and Organizations that are known by an identifier are not made again.

use super::batch::batch;
use super::once::Once;
use super::reply::{self, Response};
use super::{Context, Incoming, Platform, fenced, fhir, input};
use crate::access::{Action, Scope, refused};
use crate::chart::records::{Answer, Batch, Change, Committed, Guard, Query, Refusal, Stamp, Write};
use crate::clinic::unexpected;
use crate::error::{Error, Kind, Result};
use crate::fhir::{
    Bundle, BundleKind, Entry, Identifier, Issue, Outcome, Resource, ResourceType, Verb, is_shared, relative,
    response_bundle,
};
use crate::sorted::{BTreeMap, BTreeSet};

use super::caller::Caller;

/// How often a transaction is judged again when somebody makes what it refers to under it.
const TRIES: usize = 4;

/// Types of which one resource stands for one thing in the world, whoever sends it: matched by identifier.
const MATCHED: [ResourceType; 2] = [ResourceType::Practitioner, ResourceType::Organization];

/// `POST /fhir`
pub async fn handle<P: Platform, R: Incoming>(context: &Context<'_, P, R>) -> Result<Response> {
    input::accepts_json(context.request, fhir::FHIR_JSON)?;
    let caller = context.caller().await?;
    // Whoever may write nothing sends no Bundle; what of it they may write is asked of each entry.
    caller.may(writing(ResourceType::Observation, true))?;
    input::content_type(context.request, &fhir::TAKEN)?;
    let body = context.request.body(input::RESOURCE_LIMIT).await?;
    let read = Resource::parse(&body).and_then(|resource| match resource.kind() {
        ResourceType::Bundle => Bundle::read(&resource),
        _ => {
            let expression = Some("resourceType".to_owned());
            let issue = Issue { expression, ..Issue::error("structure", "only a Bundle is taken here") };
            Err(crate::fhir::Invalid(vec![issue]))
        }
    });
    let bundle = match read {
        Ok(bundle) => bundle,
        Err(invalid) => return Ok(reply::invalid(&invalid)),
    };
    let once = Once::of(context, &caller.session.principal.user, &body)?;
    let outcomes = match bundle.kind {
        BundleKind::Batch => batch(context, once.as_ref(), bundle.entries).await?,
        BundleKind::Transaction => transaction(context, &caller, once.as_ref(), &bundle.entries).await?,
    };
    Ok(Response::fhir(200, response_bundle(bundle.kind, &outcomes)))
}

fn writing(kind: ResourceType, create: bool) -> Action<'static> {
    Action::WriteRecords { kind: kind.as_str(), shared: is_shared(kind), create }
}

fn wrong(index: usize, message: &'static str) -> Error {
    Error::new(Kind::Unprocessable, message).at(format!("Bundle.entry[{index}]"))
}

/// What becomes of an entry of a transaction.
enum Plan {
    /// It is written under this id.
    Write(String),
    /// It is there already, under this id.
    Known(String),
}

impl Plan {
    fn id(&self) -> &str {
        match self {
            Plan::Write(id) | Plan::Known(id) => id,
        }
    }
}

type Wanted = (ResourceType, Identifier);

async fn transaction<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    caller: &Caller,
    once: Option<&Once>,
    entries: &[Entry],
) -> Result<Vec<Outcome>> {
    let is_subscription = |entry: &Entry| entry.url.split(['/', '?']).next() == Some("Subscription");
    if let Some(index) = entries.iter().position(is_subscription) {
        return Err(wrong(index, "a Subscription is sent by itself"));
    }
    for _ in 0..TRIES {
        let known = lookup(context, caller, entries).await?;
        let plans = plan(|index| once.map_or_else(|| context.platform.uuid(), |once| once.id(index)), entries, &known)?;
        let (positions, changes) = changes(context, entries, &plans, &known)?;
        let scope = scope(caller, &changes)?;
        let committed = match scope {
            Some(scope) => {
                let once = once.map(Once::name);
                let fences = fenced::of(context, caller, &changes).await?;
                let batch = Batch { once, fences, ..Batch::new(scope, caller.actor(&context.id), changes) };
                context.platform.commit(batch).await?
            }
            None => Committed::All(Vec::new()),
        };
        match committed {
            Committed::All(stamps) => {
                let stamps: BTreeMap<usize, Stamp> = positions.into_iter().zip(stamps).collect();
                return Ok(outcomes(entries, &plans, |index| stamps.get(&index).copied()));
            }
            Committed::Again => return Ok(outcomes(entries, &plans, |_| None)),
            Committed::Refused { why: Refusal::Changed, change } => {
                let index = positions.get(change).copied().unwrap_or_default();
                let matched = entries.get(index).is_some_and(|entry| entry.verb == Verb::Post);
                if !matched {
                    return Err(fhir::explain(Refusal::Changed).at(format!("Bundle.entry[{index}].request.ifMatch")));
                }
            }
            Committed::Refused { why, change } => {
                let index = positions.get(change).copied().unwrap_or_default();
                return Err(fhir::explain(why).at(format!("Bundle.entry[{index}]")));
            }
        }
    }
    Err(Error::unavailable("what this refers to is being written; try again"))
}

/// By what a created resource is found to be there already.
fn identifier_of(index: usize, entry: &Entry) -> Result<Option<Wanted>> {
    let Some(resource) = entry.resource.as_ref().filter(|_| entry.verb == Verb::Post) else { return Ok(None) };
    let kind = resource.kind();
    if let Some(query) = &entry.if_none_exist {
        let decoded = input::decode(query).as_deref().and_then(Identifier::of_query);
        let message = "ifNoneExist can be identifier=system|value here";
        return decoded.map(|identifier| Some((kind, identifier))).ok_or_else(|| wrong(index, message));
    }
    Ok(MATCHED
        .contains(&kind)
        .then(|| Identifier::all(resource).into_iter().next().map(|first| (kind, first)))
        .flatten())
}

/// What a conditional reference `Type?identifier=system|value` names.
fn conditional(text: &str) -> Option<Wanted> {
    let (kind, query) = text.split_once('?')?;
    Some((ResourceType::parse(kind)?, Identifier::of_query(&input::decode(query)?)?))
}

/// Asks once for everything that may be there already.
async fn lookup<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    caller: &Caller,
    entries: &[Entry],
) -> Result<BTreeMap<Wanted, String>> {
    let mut wanted = BTreeSet::new();
    for (index, entry) in entries.iter().enumerate() {
        wanted.extend(identifier_of(index, entry)?);
        if let Some(mut resource) = entry.resource.clone() {
            resource.map_references(&mut |text| {
                wanted.extend(conditional(text));
                None
            });
        }
    }
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    let wanted: Vec<Wanted> = wanted.into_iter().collect();
    let scope = caller.may(writing(ResourceType::Observation, true))?;
    match context.platform.query(scope, Query::Identified(wanted.clone())).await? {
        Answer::Ids(ids) => Ok(wanted.into_iter().zip(ids).filter_map(|(wanted, id)| Some((wanted, id?))).collect()),
        _ => Err(unexpected()),
    }
}

fn plan(new_id: impl Fn(usize) -> String, entries: &[Entry], known: &BTreeMap<Wanted, String>) -> Result<Vec<Plan>> {
    let mut here: BTreeMap<Wanted, String> = BTreeMap::new();
    let mut plans = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        plans.push(match entry.verb {
            Verb::Get => return Err(wrong(index, "a GET is taken in a batch and not in a transaction")),
            Verb::Put | Verb::Delete => {
                Plan::Write(relative(&entry.url).map(|to| to.id.to_owned()).unwrap_or_default())
            }
            Verb::Post => {
                let wanted = identifier_of(index, entry)?;
                let there = wanted.as_ref().and_then(|wanted| known.get(wanted).or_else(|| here.get(wanted)));
                match there {
                    Some(id) => Plan::Known(id.clone()),
                    None => {
                        let id = new_id(index);
                        here.extend(wanted.map(|wanted| (wanted, id.clone())));
                        Plan::Write(id)
                    }
                }
            }
        });
    }
    Ok(plans)
}

/// The changes, deletions first, then creations, then updates (R4 section 3.1.0.11.2), each with the position of its entry.
fn changes<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    entries: &[Entry],
    plans: &[Plan],
    known: &BTreeMap<Wanted, String>,
) -> Result<(Vec<usize>, Vec<Change>)> {
    let planned = || entries.iter().zip(plans);
    let named: BTreeMap<&str, String> = planned()
        .filter_map(|(entry, plan)| {
            Some((entry.full_url.as_deref()?, format!("{}/{}", entry.resource.as_ref()?.kind(), plan.id())))
        })
        .collect();
    let own = format!("{}/", context.base());
    let mut found: Vec<(usize, Change)> = Vec::new();
    let mut written = BTreeSet::new();
    for (index, (entry, plan)) in planned().enumerate() {
        let Plan::Write(id) = plan else { continue };
        let guard = match entry.if_match.as_deref().map(input::entity_tag) {
            None if entry.verb == Verb::Post && identifier_of(index, entry)?.is_some() => Guard::Unmatched,
            None if entry.verb == Verb::Post => Guard::Absent,
            None => Guard::Any,
            Some(Some(version)) => Guard::Version(version),
            Some(None) => return Err(wrong(index, "ifMatch must be one entity tag, as in W/\"3\"")),
        };
        let (kind, write) = match entry.resource.clone().filter(|_| entry.verb != Verb::Delete) {
            Some(mut resource) => {
                let mut dangling = false;
                resource.map_references(&mut |text| {
                    let to = named.get(text).cloned().or_else(|| text.strip_prefix(&own).map(str::to_owned));
                    if to.is_some() {
                        return to;
                    }
                    let wanted = conditional(text);
                    let to = wanted.as_ref().and_then(|wanted| Some(format!("{}/{}", wanted.0, known.get(wanted)?)));
                    dangling |= to.is_none() && (text.starts_with("urn:uuid:") || text.contains('?'));
                    to
                });
                if dangling {
                    return Err(wrong(index, "a reference in it leads to no entry and to nothing that is here"));
                }
                if !resource.set_id(id) {
                    return Err(Error::internal("a new id was not a valid one"));
                }
                let write = Write::put(&mut resource, context.platform.now()).map_err(|error| {
                    let inner = error.field.as_deref().and_then(|field| field.split_once('.')).map(|(_, path)| path);
                    let field = format!("Bundle.entry[{index}].resource.{}", inner.unwrap_or_default());
                    error.at(field)
                })?;
                (resource.kind(), write)
            }
            None => {
                let to = relative(&entry.url).ok_or_else(|| wrong(index, "this names no resource"))?;
                (to.kind, Write::Delete)
            }
        };
        if !written.insert((kind, id.clone())) {
            return Err(wrong(index, "another entry writes the same resource"));
        }
        found.push((index, Change { kind, id: id.clone(), guard, write }));
    }
    let mut ordered = Vec::with_capacity(found.len());
    for verb in [Verb::Delete, Verb::Post] {
        let is_next = |(index, _): &(usize, Change)| entries.get(*index).is_some_and(|entry| entry.verb == verb);
        let (next, rest): (Vec<_>, Vec<_>) = found.into_iter().partition(is_next);
        ordered.extend(next);
        found = rest;
    }
    Ok(ordered.into_iter().chain(found).unzip())
}

/// What of all records the caller reaches; `None` where nothing is to be written.
fn scope(caller: &Caller, changes: &[Change]) -> Result<Option<Scope>> {
    let mut scope: Option<Scope> = None;
    for change in changes {
        let create = matches!(change.guard, Guard::Absent | Guard::Unmatched);
        let reached = caller.may(writing(change.kind, create))?;
        // One scope bounds the whole batch: a role for which they differ from type to type sends no transaction.
        if scope.as_ref().is_some_and(|scope| *scope != reached) {
            return Err(refused());
        }
        scope = Some(reached);
    }
    Ok(scope)
}

fn outcomes(entries: &[Entry], plans: &[Plan], stamp: impl Fn(usize) -> Option<Stamp>) -> Vec<Outcome> {
    let one = |(index, (entry, plan)): (usize, (&Entry, &Plan))| {
        let stamp = stamp(index);
        let status = match (entry.verb, stamp) {
            (Verb::Delete, _) => 204,
            (_, Some(stamp)) if stamp.created => 201,
            _ => 200,
        };
        let kind = entry.resource.as_ref().map(Resource::kind).filter(|_| entry.verb != Verb::Delete);
        Outcome {
            status,
            location: kind.map(|kind| match stamp {
                Some(stamp) => format!("{kind}/{}/_history/{}", plan.id(), stamp.version),
                None => format!("{kind}/{}", plan.id()),
            }),
            etag: stamp.map(|stamp| fhir::etag(stamp.version)),
            last_modified: stamp.map(|stamp| stamp.at.to_rfc3339()),
            resource: None,
        }
    };
    entries.iter().zip(plans).enumerate().map(one).collect()
}
