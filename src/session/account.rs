//! Accounts: who can sign in, and what that makes them.
//!
//! Invariant: `version` grows with every change, `floor` with every change after which no session of before may live on
//! (password, role, disabling). Both only grow. An account row lives in the clinic's object; a copy without the password,
//! the [`Standing`], lives beside the account's sessions.

use serde::{Deserialize, Serialize};

use crate::access::{Principal, Role};
use crate::error::{Error, Kind, Result};

/// An account without its password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Who it makes its holder.
    pub principal: Principal,
    /// For a practitioner or nurse: the id of the Practitioner who they are in the records.
    #[serde(default)]
    pub practitioner: Option<String>,
    /// The name to sign in with; unique, lower case.
    pub username: String,
    /// Whether nobody may sign in with it.
    pub disabled: bool,
    /// Grows with every change.
    pub version: u64,
    /// Sessions opened under a lower floor are dead.
    pub floor: u64,
}

/// What a session needs to know of its account; the copy with the highest `version` is the one that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Who the account makes its holder.
    pub principal: Principal,
    /// Whether it is disabled.
    pub disabled: bool,
    /// The account's version.
    pub version: u64,
    /// The account's floor.
    pub floor: u64,
}

impl From<&Account> for Standing {
    fn from(account: &Account) -> Self {
        Standing {
            principal: account.principal.clone(),
            disabled: account.disabled,
            version: account.version,
            floor: account.floor,
        }
    }
}

/// A change of an account; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// A new name to show.
    pub name: Option<String>,
    /// A new role; ends all sessions.
    pub role: Option<Role>,
    /// A new Patient id; `Some(None)` removes it. Ends all sessions.
    pub patient: Option<Option<String>>,
    /// A new Practitioner id; `Some(None)` removes it.
    pub practitioner: Option<Option<String>>,
    /// Disables (ends all sessions) or enables.
    pub disabled: Option<bool>,
    /// The wards, whole.
    pub wards: Option<Vec<String>>,
    /// The patients of a device, whole.
    pub patients: Option<Vec<String>>,
    /// The hash of a new password; ends all sessions and unlocks.
    pub password: Option<String>,
}

impl Account {
    /// The account after `change`: one version on, and a floor higher where no session of before may live on.
    pub fn after(&self, change: &Change) -> Account {
        let mut next = self.clone();
        let ended = change.password.is_some()
            || change.role.is_some_and(|role| role != self.principal.role)
            || change.patient.as_ref().is_some_and(|patient| *patient != self.principal.patient)
            || (change.disabled == Some(true) && !self.disabled);
        next.version = self.version.saturating_add(1);
        next.floor = self.floor.saturating_add(u64::from(ended));
        let principal = &mut next.principal;
        change.name.clone_into_some(&mut principal.name);
        change.role.clone_into_some(&mut principal.role);
        change.patient.clone_into_some(&mut principal.patient);
        change.wards.clone_into_some(&mut principal.wards);
        change.patients.clone_into_some(&mut principal.patients);
        change.disabled.clone_into_some(&mut next.disabled);
        change.practitioner.clone_into_some(&mut next.practitioner);
        if change.role.is_some() && change.practitioner.is_none() && !treats(next.principal.role) {
            next.practitioner = None;
        }
        next
    }
}

trait CloneIntoSome<T> {
    fn clone_into_some(&self, target: &mut T);
}

impl<T: Clone> CloneIntoSome<T> for Option<T> {
    fn clone_into_some(&self, target: &mut T) {
        if let Some(value) = self {
            target.clone_from(value);
        }
    }
}

fn treats(role: Role) -> bool {
    matches!(role, Role::Practitioner | Role::Nurse)
}

/// Checks that role and Practitioner agree: only who treats patients is one.
pub fn check_practitioner(role: Role, practitioner: Option<&str>) -> Result<()> {
    if practitioner.is_none() || treats(role) {
        return Ok(());
    }
    let message = "only an account of role practitioner or nurse may have the id of a Practitioner";
    Err(Error::new(Kind::Unprocessable, message).at("practitioner"))
}

/// Checks that role and bindings agree: a patient's account has its Patient, a device's its patients, nobody else's.
pub fn check_bindings(principal: &Principal) -> Result<()> {
    let wrong = |field: &str, message: &'static str| Err(Error::new(Kind::Unprocessable, message).at(field));
    match principal.role {
        Role::Patient if principal.patient.is_none() => {
            return wrong("patient", "an account of role patient needs the id of its Patient");
        }
        Role::Patient => {}
        _ if principal.patient.is_some() => {
            return wrong("patient", "only an account of role patient may have the id of a Patient");
        }
        _ => {}
    }
    if principal.role != Role::Device && !principal.patients.is_empty() {
        return wrong("patients", "only an account of role device may be assigned to patients");
    }
    if matches!(principal.role, Role::Patient | Role::Device) && !principal.wards.is_empty() {
        return wrong("wards", "an account of this role has no wards");
    }
    if principal.role == Role::Display && principal.wards.len() != 1 {
        return wrong("wards", "an account of role display shows exactly one ward");
    }
    Ok(())
}

/// Whether `username` may be one: 1 to 64 of `a-z 0-9 . _ -`, beginning with a letter or digit.
pub fn is_username(username: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    (1..=64).contains(&username.len())
        && username.bytes().all(allowed)
        && username.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account {
            principal: Principal {
                user: "u".into(),
                name: "Nora".into(),
                role: Role::Nurse,
                patient: None,
                wards: vec!["w".into()],
                patients: Vec::new(),
            },
            practitioner: None,
            username: "nora".into(),
            disabled: false,
            version: 4,
            floor: 2,
        }
    }

    #[test]
    fn only_some_changes_end_sessions() {
        let cases = [
            (Change { name: Some("N".into()), ..Change::default() }, 2),
            (Change { wards: Some(Vec::new()), ..Change::default() }, 2),
            (Change { role: Some(Role::Nurse), ..Change::default() }, 2),
            (Change { disabled: Some(false), ..Change::default() }, 2),
            (Change { role: Some(Role::Practitioner), ..Change::default() }, 3),
            (Change { disabled: Some(true), ..Change::default() }, 3),
            (Change { password: Some("hash".into()), ..Change::default() }, 3),
        ];
        for (change, floor) in cases {
            let next = account().after(&change);
            assert_eq!((next.version, next.floor), (5, floor), "{change:?}");
        }
    }

    #[test]
    fn bindings_must_fit_the_role() {
        let with = |role, patient: Option<&str>, wards: usize, patients: usize| Principal {
            role,
            patient: patient.map(Into::into),
            wards: vec!["w".into(); wards],
            patients: vec!["p".into(); patients],
            ..account().principal
        };
        for good in [
            with(Role::Nurse, None, 2, 0),
            with(Role::Admin, None, 0, 0),
            with(Role::Patient, Some("p"), 0, 0),
            with(Role::Device, None, 0, 3),
            with(Role::Display, None, 1, 0),
        ] {
            assert!(check_bindings(&good).is_ok(), "{good:?}");
        }
        for (bad, field) in [
            (with(Role::Patient, None, 0, 0), "patient"),
            (with(Role::Nurse, Some("p"), 0, 0), "patient"),
            (with(Role::Nurse, None, 0, 1), "patients"),
            (with(Role::Device, None, 1, 1), "wards"),
            (with(Role::Display, None, 2, 0), "wards"),
        ] {
            assert_eq!(check_bindings(&bad).unwrap_err().field.as_deref(), Some(field), "{bad:?}");
        }
    }

    #[test]
    fn usernames_are_plain() {
        for good in ["nora", "n.o-r_a9", "9"] {
            assert!(is_username(good), "{good}");
        }
        for bad in ["", "Nora", ".nora", "no ra", "nora@x", "noé"] {
            assert!(!is_username(bad), "{bad}");
        }
    }
}
