//! `/users`: administrators create, disable, reset and assign; everybody may change their own password.
//!
//! Invariant: a change is acknowledged only once the account's open sessions are under it; whoever changes their own password
//! goes on under a new token. The very first account is made
//! with the deployment's setup token and is an administrator; after that the token opens nothing.

use serde::{Deserialize, Serialize};

use super::caller::{Caller, transport};
use super::reply::Response;
use super::sessions::SessionBody;
use super::sign_in::{Transport, issue};
use super::{Context, Incoming, Platform, input, sessions};
use crate::access::audit::Actor;
use crate::access::{Action, Principal, Role, refused};
use crate::clinic::{ClinicReply, ClinicRequest};
use crate::clinic::{
    sessions::{SessionRequest, Sessions},
    unexpected,
};
use crate::error::{Error, Kind, Result};
use crate::session::account::{Account, Change, Standing, check_bindings, check_practitioner, is_username};
use crate::session::{self, password, signed_out, token};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewUser {
    username: String,
    name: String,
    role: Role,
    password: String,
    patient: Option<String>,
    practitioner: Option<String>,
    #[serde(default)]
    wards: Vec<String>,
    #[serde(default)]
    patients: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserChange {
    name: Option<String>,
    role: Option<Role>,
    patient: Option<String>,
    practitioner: Option<String>,
    disabled: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Assignment {
    wards: Option<Vec<String>>,
    patients: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    password: String,
    current: Option<String>,
}

#[derive(Serialize)]
struct UserBody<'a> {
    id: &'a str,
    username: &'a str,
    name: &'a str,
    role: Role,
    disabled: bool,
    patient: Option<&'a str>,
    practitioner: Option<&'a str>,
    wards: &'a [String],
    patients: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<SessionBody<'a>>,
}

fn user_body(account: &Account) -> UserBody<'_> {
    let principal = &account.principal;
    UserBody {
        id: &principal.user,
        username: &account.username,
        name: &principal.name,
        role: principal.role,
        disabled: account.disabled,
        patient: principal.patient.as_deref(),
        practitioner: account.practitioner.as_deref(),
        wards: &principal.wards,
        patients: &principal.patients,
        session: None,
    }
}

fn write(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|_| Error::internal("an account could not be written"))
}

/// The most wards or patients that one account has.
const MOST: usize = 1_000;

fn check_name(name: &str) -> Result<()> {
    if (1..=200).contains(&name.trim().chars().count()) {
        return Ok(());
    }
    Err(Error::new(Kind::Unprocessable, "a name has 1 to 200 characters").at("name"))
}

fn check_ids(field: &str, ids: &[String]) -> Result<()> {
    if ids.len() > MOST {
        return Err(Error::new(Kind::Unprocessable, "an account has at most 1000 of these").at(field));
    }
    if ids.iter().all(|id| crate::fhir::is_valid_id(id)) {
        return Ok(());
    }
    Err(Error::new(Kind::Unprocessable, "each must be the id of a resource, without its type").at(field))
}

/// Whether the request carries the deployment's setup token: `Authorization: Setup <token>`.
fn has_setup_token<P, R: Incoming>(context: &Context<'_, P, R>) -> Result<bool> {
    let Some(authorization) = context.request.header("authorization") else { return Ok(false) };
    let Some((scheme, sent)) = authorization.split_once(' ') else { return Ok(false) };
    if !scheme.eq_ignore_ascii_case("setup") {
        return Ok(false);
    }
    let wanted = context.config.setup_token.as_deref().unwrap_or_default();
    if !wanted.is_empty() && token::same_secret(&context.config.session_key, sent.trim(), wanted)? {
        return Ok(true);
    }
    Err(signed_out())
}

async fn administrator<P: Platform, R: Incoming>(context: &Context<'_, P, R>) -> Result<Caller> {
    let caller = context.caller().await?;
    caller.may(Action::ManageAccounts)?;
    Ok(caller)
}

/// `/users`
pub async fn all<P: Platform, R: Incoming>(context: &Context<'_, P, R>) -> Result<Response> {
    if context.request.method() == "POST" { create(context).await } else { list(context).await }
}

async fn create<P: Platform, R: Incoming>(context: &Context<'_, P, R>) -> Result<Response> {
    let only_first = has_setup_token(context)?;
    let actor = if only_first {
        Actor { user: "setup".to_owned(), request: context.id.clone() }
    } else {
        administrator(context).await?.actor(&context.id)
    };
    let sent: NewUser = input::json(context.request).await?;
    if only_first && sent.role != Role::Admin {
        return Err(Error::new(Kind::Unprocessable, "the first account must be an administrator's").at("role"));
    }
    if !is_username(&sent.username) {
        let message = "a user name has 1 to 64 of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit";
        return Err(Error::new(Kind::Unprocessable, message).at("username"));
    }
    check_name(&sent.name)?;
    check_ids("wards", &sent.wards)?;
    check_ids("patients", &sent.patients)?;
    check_ids("patient", sent.patient.as_slice())?;
    check_ids("practitioner", sent.practitioner.as_slice())?;
    check_practitioner(sent.role, sent.practitioner.as_deref())?;
    password::check_choice(&sent.password, &sent.username)?;
    let principal = Principal {
        user: context.platform.uuid(),
        name: sent.name,
        role: sent.role,
        patient: sent.patient,
        wards: sent.wards,
        patients: sent.patients,
    };
    check_bindings(&principal)?;
    let practitioner = sent.practitioner;
    let account = Account { principal, practitioner, username: sent.username, disabled: false, version: 1, floor: 1 };
    let hash = password::hash(&sent.password, context.platform)?;
    let account = context.platform.change(ClinicRequest::CreateAccount { account, hash, only_first, actor }).await?;
    let location = format!("/users/{}", account.principal.user);
    Ok(Response::json(201, write(&user_body(&account))?).header("location", location))
}

async fn list<P: Platform, R: Incoming>(context: &Context<'_, P, R>) -> Result<Response> {
    administrator(context).await?;
    let parameters = input::parameters(context.request, &["after", "limit"])?;
    let count = input::count(&parameters, "limit", 100, 1_000)?;
    let after = input::parameter(&parameters, "after").unwrap_or_default().to_owned();
    match context.platform.ask(ClinicRequest::Accounts { after, count }).await? {
        ClinicReply::Accounts(accounts) => {
            let users: Vec<_> = accounts.iter().map(user_body).collect();
            Ok(Response::json(200, write(&serde_json::json!({ "users": users }))?))
        }
        _ => Err(unexpected()),
    }
}

/// `/users/{id}`
pub async fn one<P: Platform, R: Incoming>(context: &Context<'_, P, R>, id: &str) -> Result<Response> {
    let caller = administrator(context).await?;
    if context.request.method() != "PUT" {
        let account = context.platform.account(id).await?;
        return reply(&account, None);
    }
    let sent: UserChange = input::json(context.request).await?;
    let own = caller.session.principal.user == id;
    if own && (sent.disabled == Some(true) || sent.role.is_some_and(|role| role != Role::Admin)) {
        let message = "administrators cannot disable themselves or give up the role; another one can do it";
        return Err(Error::new(Kind::Conflict, message));
    }
    if let Some(name) = &sent.name {
        check_name(name)?;
    }
    check_ids("patient", sent.patient.as_slice())?;
    check_ids("practitioner", sent.practitioner.as_slice())?;
    let change = Change {
        name: sent.name,
        role: sent.role,
        patient: sent.patient.map(Some),
        practitioner: sent.practitioner.map(Some),
        disabled: sent.disabled,
        ..Change::default()
    };
    reply(&apply(context, id, change, caller.actor(&context.id)).await?, None)
}

/// `/users/{id}/wards`
pub async fn wards<P: Platform, R: Incoming>(context: &Context<'_, P, R>, id: &str) -> Result<Response> {
    let caller = administrator(context).await?;
    let sent: Assignment = input::json(context.request).await?;
    if sent.wards.is_none() && sent.patients.is_none() {
        return Err(Error::invalid("wards", "give wards, or patients for a device, or both"));
    }
    check_ids("wards", sent.wards.as_deref().unwrap_or_default())?;
    check_ids("patients", sent.patients.as_deref().unwrap_or_default())?;
    let change = Change { wards: sent.wards, patients: sent.patients, ..Change::default() };
    reply(&apply(context, id, change, caller.actor(&context.id)).await?, None)
}

/// `/users/{id}/password`
pub async fn password<P: Platform, R: Incoming>(context: &Context<'_, P, R>, id: &str) -> Result<Response> {
    let caller = context.caller().await?;
    let own = caller.session.principal.user == id;
    if !own {
        caller.may(Action::ManageAccounts)?;
    }
    let sent: NewPassword = input::json(context.request).await?;
    let account = context.platform.account(id).await?;
    let places = context.places()?;
    if own {
        let current = sent.current.ok_or_else(|| Error::invalid("current", "the present password is missing"))?;
        let credential = context.platform.attempt(&account.username, &places).await?;
        if !password::verify(&current, credential.as_ref().map(|credential| credential.hash.as_str())) {
            context.platform.about(SessionRequest::Failed { actor: caller.actor(&context.id) }).await?;
            return Err(refused().at("current"));
        }
    }
    password::check_choice(&sent.password, &account.username)?;
    let hash = password::hash(&sent.password, context.platform)?;
    let change = Change { password: Some(hash), ..Change::default() };
    let account = apply(context, id, change, caller.actor(&context.id)).await?;
    if !own {
        return reply(&account, None);
    }
    // The session that this came with has ended with all others; its holder goes on under a new token.
    let Some((session, token)) = issue(context, &account, None, &places, &places).await? else {
        return Err(Error::unavailable("the password is changed, and the account is being changed again; sign in"));
    };
    match transport(context.request) {
        Transport::Bearer => reply(&account, Some(sessions::body(&session, Some(&token)))),
        Transport::Cookie => {
            Ok(sessions::handed_over(context, reply(&account, Some(sessions::body(&session, None)))?, &token))
        }
    }
}

/// Commits the change, then brings it to the account's sessions before it is acknowledged.
async fn apply<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    id: &str,
    change: Change,
    actor: Actor,
) -> Result<Account> {
    let request = ClinicRequest::ChangeAccount { id: id.to_owned(), change, actor };
    let account = context.platform.change(request).await?;
    let standing = Standing::from(&account);
    session::project(context.platform.sessions(), &standing).await.map_err(|_| {
        Error::unavailable(
            "the change is recorded and not yet in force for open sessions; it will be, or send it again",
        )
    })?;
    context.platform.ask(ClinicRequest::Heard(standing)).await?;
    context.settled().await;
    Ok(account)
}

fn reply(account: &Account, session: Option<SessionBody<'_>>) -> Result<Response> {
    Ok(Response::json(200, write(&UserBody { session, ..user_body(account) })?))
}
