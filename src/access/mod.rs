//! Who may do what: refused unless a rule here allows it.
//!
//! Invariant: no record is read or written without a [`Scope`], and a [`Scope`] comes only out of [`decide`], or is that of
//! what is [`published`]. The verdict
//! has two halves: the role's ([`decide`], before anything is looked up) and the record's ([`Scope::reaches`], held inside
//! the transaction that reads or writes it, against the patients whose compartment the record is in and the wards they
//! are in at that instant).

pub mod audit;
pub mod bar;
pub mod trail;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// What a person or device is to the clinic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs the deployment: accounts, imports, every record.
    Admin,
    /// A doctor or other clinician: records of the patients in their wards and of outpatients.
    Practitioner,
    /// A nurse: as a practitioner.
    Nurse,
    /// A patient: their own compartment, to read.
    Patient,
    /// A monitor or gateway: posts observations of the patients it is assigned to, and nothing else.
    Device,
    /// A wall display: the board of one ward, to read.
    Display,
}

/// Who is asking: the account behind a session, as it is now and not as it was at sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The account's id, a UUID.
    pub user: String,
    /// The name to show to others.
    pub name: String,
    /// The role.
    pub role: Role,
    /// For role `patient`: the id of their own Patient resource.
    pub patient: Option<String>,
    /// For staff and displays: the ids of the Location resources that are their wards.
    pub wards: Vec<String>,
    /// For role `device`: the ids of the Patient resources it is assigned to.
    pub patients: Vec<String>,
}

/// What is to be done, as far as a role decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Create, change, disable accounts.
    ManageAccounts,
    /// Read resources of a type; `shared` where the type is in no patient's compartment.
    ReadRecords {
        /// The resource type.
        kind: &'a str,
        /// Whether resources of this type are in no patient's compartment.
        shared: bool,
    },
    /// Create, update or delete resources of a type.
    WriteRecords {
        /// The resource type.
        kind: &'a str,
        /// Whether resources of this type are in no patient's compartment.
        shared: bool,
        /// Whether it is a creation with an id of the server's choosing.
        create: bool,
    },
    /// Read every version of every record.
    ReadEverything,
    /// Follow the events of a patient.
    FollowPatient,
    /// Follow the events of a ward.
    FollowWard {
        /// The ward's Location id.
        ward: &'a str,
    },
    /// Follow the events addressed to a user.
    FollowUser {
        /// The account's id.
        user: &'a str,
    },
    /// Send a notice to whoever follows a patient or a ward (those reached otherwise), or to an account.
    Notify {
        /// Whether it is to an account.
        user: bool,
    },
    /// Have and use FHIR Subscriptions of one's own.
    Subscribe,
    /// Follow what becomes of the Slots of a Schedule.
    FollowSchedule,
    /// Find, hold, book, move and cancel Appointments.
    Book,
    /// Take, renew, free and look up leases.
    UseLeases,
    /// Post readings of monitors that are no records.
    PostTelemetry,
    /// See and acknowledge alerts, see and set the limits of a patient.
    Attend,
    /// Take a lease from its holder.
    BreakLeases,
    /// See who did and read what.
    ReadAuditTrail,
}

/// Which records a verdict reaches. Made here alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope(Reach);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Reach {
    Everything,
    Shared,
    Wards(Vec<String>),
    Own(String),
    /// One's own compartment, and with it what is in nobody's: the Slots of one's own Appointments.
    OwnAndSlots(String),
    Assigned(Vec<String>),
}

/// A patient whose compartment a record is in, with the wards that patient is in now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The Patient's id.
    pub patient: String,
    /// The ids of the wards; empty for an outpatient.
    pub wards: Vec<String>,
}

impl Scope {
    /// Whether a record in the compartment of `owner` is reached.
    pub fn reaches(&self, owner: &Owner) -> bool {
        match &self.0 {
            Reach::Everything => true,
            Reach::Shared => false,
            Reach::Wards(wards) => owner.wards.is_empty() || owner.wards.iter().any(|ward| wards.contains(ward)),
            Reach::Own(patient) | Reach::OwnAndSlots(patient) => *patient == owner.patient,
            Reach::Assigned(patients) => patients.contains(&owner.patient),
        }
    }

    /// Whether a record in the compartments of `owners` may be read: one of them is enough, since the record is in the
    /// chart of each. A record in nobody's compartment is open to staff, and to all where its type is shared.
    pub fn may_read(&self, owners: &[Owner]) -> bool {
        self.may_touch_unowned(owners) || owners.iter().any(|owner| self.reaches(owner))
    }

    /// Whether a record in the compartments of `owners` may be written: all must be reached.
    pub fn may_write(&self, owners: &[Owner]) -> bool {
        self.may_touch_unowned(owners) || (!owners.is_empty() && owners.iter().all(|owner| self.reaches(owner)))
    }

    fn may_touch_unowned(&self, owners: &[Owner]) -> bool {
        owners.is_empty()
            && matches!(self.0, Reach::Everything | Reach::Shared | Reach::Wards(_) | Reach::OwnAndSlots(_))
    }

    /// The wards that bound what is reached; `None` where wards do not.
    pub fn wards(&self) -> Option<&[String]> {
        match &self.0 {
            Reach::Wards(wards) => Some(wards),
            _ => None,
        }
    }

    /// Whether there is nothing that is not reached.
    pub fn is_everything(&self) -> bool {
        self.0 == Reach::Everything
    }

    /// The only patients reached; `None` where the bound is another.
    pub fn patients(&self) -> Option<Vec<&str>> {
        match &self.0 {
            Reach::Own(patient) | Reach::OwnAndSlots(patient) => Some(vec![patient]),
            Reach::Assigned(patients) => Some(patients.iter().map(String::as_str).collect()),
            Reach::Everything | Reach::Shared | Reach::Wards(_) => None,
        }
    }
}

/// Types outside every patient's compartment that staff keep up themselves; the rest of those is for administrators.
const STAFF_KEEPS: [&str; 3] = ["Schedule", "Slot", "Medication"];

/// The refusal of a role or record that is not reached: 403, with nothing about what is there.
pub fn refused() -> Error {
    Error::new(Kind::Forbidden, "this account is not allowed to do this")
}

/// The refusal of every request without a valid session: 401, the same whatever the reason.
pub fn signed_out() -> Error {
    Error::new(Kind::Unauthenticated, "sign in first: there is no session, or it has ended")
}

/// What may be published: records of shared types that are in nobody's compartment, whoever asks.
pub fn published() -> Scope {
    Scope(Reach::Shared)
}

/// The role's half of the verdict: what of `action` this principal may reach, or a refusal.
pub fn decide(principal: &Principal, action: Action<'_>) -> Result<Scope> {
    let staff = || Scope(Reach::Wards(principal.wards.clone()));
    let scope = match (principal.role, action) {
        (Role::Admin, Action::FollowUser { user }) if user != principal.user => return Err(refused()),
        (Role::Admin, _) => Scope(Reach::Everything),

        (_, Action::FollowUser { user }) if user == principal.user => Scope(Reach::Shared),
        (_, Action::ManageAccounts | Action::FollowUser { .. }) => return Err(refused()),

        (
            Role::Practitioner | Role::Nurse,
            Action::ReadRecords { .. }
            | Action::FollowPatient
            | Action::Notify { user: false }
            | Action::Subscribe
            | Action::FollowSchedule
            | Action::Book
            | Action::UseLeases
            | Action::Attend,
        ) => staff(),
        (Role::Practitioner | Role::Nurse, Action::WriteRecords { kind, shared, .. })
            if !shared || STAFF_KEEPS.contains(&kind) =>
        {
            staff()
        }
        (Role::Practitioner | Role::Nurse | Role::Display, Action::FollowWard { ward })
            if principal.wards.iter().any(|own| own == ward) =>
        {
            staff()
        }

        (Role::Patient, Action::Subscribe | Action::ReadRecords { shared: true, .. } | Action::FollowSchedule) => {
            Scope(Reach::Shared)
        }
        (Role::Patient, Action::Book) => Scope(Reach::OwnAndSlots(principal.patient.clone().ok_or_else(refused)?)),
        (Role::Patient, Action::ReadRecords { shared: false, .. } | Action::FollowPatient) => {
            Scope(Reach::Own(principal.patient.clone().ok_or_else(refused)?))
        }

        (Role::Device, Action::WriteRecords { kind: "Observation", create: true, .. } | Action::PostTelemetry) => {
            Scope(Reach::Assigned(principal.patients.clone()))
        }

        (Role::Practitioner | Role::Nurse | Role::Patient | Role::Device | Role::Display, _) => return Err(refused()),
    };
    Ok(scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(role: Role) -> Principal {
        Principal {
            user: "me".into(),
            name: "Me".into(),
            role,
            patient: (role == Role::Patient).then(|| "p1".into()),
            wards: vec!["w1".into()],
            patients: vec!["p1".into(), "p2".into()],
        }
    }

    fn owner(patient: &str, wards: &[&str]) -> Owner {
        Owner { patient: patient.into(), wards: wards.iter().map(|ward| (*ward).to_owned()).collect() }
    }

    const READ: Action<'_> = Action::ReadRecords { kind: "Observation", shared: false };
    const READ_SHARED: Action<'_> = Action::ReadRecords { kind: "Location", shared: true };
    const CREATE: Action<'_> = Action::WriteRecords { kind: "Observation", shared: false, create: true };
    const UPDATE: Action<'_> = Action::WriteRecords { kind: "Observation", shared: false, create: false };
    const WRITE_SHARED: Action<'_> = Action::WriteRecords { kind: "Location", shared: true, create: true };
    const WRITE_SLOT: Action<'_> = Action::WriteRecords { kind: "Slot", shared: true, create: true };
    const OWN_WARD: Action<'_> = Action::FollowWard { ward: "w1" };
    const OTHER_WARD: Action<'_> = Action::FollowWard { ward: "w2" };
    const MYSELF: Action<'_> = Action::FollowUser { user: "me" };
    const NOTIFY: Action<'_> = Action::Notify { user: false };
    const NOTIFY_USER: Action<'_> = Action::Notify { user: true };
    const ANOTHER: Action<'_> = Action::FollowUser { user: "you" };

    /// The whole table of the role's half: what is not in a row is refused.
    #[test]
    fn each_role_may_do_just_this() {
        let all = [
            Action::ManageAccounts,
            READ,
            READ_SHARED,
            CREATE,
            UPDATE,
            WRITE_SHARED,
            WRITE_SLOT,
            Action::ReadEverything,
            Action::FollowPatient,
            OWN_WARD,
            OTHER_WARD,
            MYSELF,
            ANOTHER,
            NOTIFY,
            NOTIFY_USER,
            Action::Subscribe,
            Action::FollowSchedule,
            Action::Book,
            Action::UseLeases,
            Action::Attend,
            Action::BreakLeases,
            Action::ReadAuditTrail,
            Action::PostTelemetry,
        ];
        let staff = vec![
            READ,
            READ_SHARED,
            CREATE,
            UPDATE,
            WRITE_SLOT,
            Action::FollowPatient,
            OWN_WARD,
            MYSELF,
            NOTIFY,
            Action::Subscribe,
            Action::FollowSchedule,
            Action::Book,
            Action::UseLeases,
            Action::Attend,
        ];
        let table = [
            (Role::Admin, all.iter().copied().filter(|action| *action != ANOTHER).collect()),
            (Role::Practitioner, staff.clone()),
            (Role::Nurse, staff),
            (
                Role::Patient,
                vec![
                    READ,
                    READ_SHARED,
                    Action::FollowPatient,
                    MYSELF,
                    Action::Subscribe,
                    Action::FollowSchedule,
                    Action::Book,
                ],
            ),
            (Role::Device, vec![CREATE, MYSELF, Action::PostTelemetry]),
            (Role::Display, vec![OWN_WARD, MYSELF]),
        ];
        for (role, allowed) in table {
            for action in all {
                let verdict = decide(&principal(role), action);
                assert_eq!(verdict.is_ok(), allowed.contains(&action), "{role:?} {action:?}");
            }
        }
    }

    #[test]
    fn staff_reach_their_wards_and_outpatients() {
        let scope = decide(&principal(Role::Nurse), READ).unwrap();
        assert!(scope.may_read(&[owner("p9", &["w1", "w7"])]));
        assert!(scope.may_read(&[owner("p9", &[])]));
        assert!(!scope.may_read(&[owner("p9", &["w2"])]));
        assert!(scope.may_read(&[owner("p9", &["w2"]), owner("p8", &["w1"])]));
        assert!(!scope.may_write(&[owner("p9", &["w2"]), owner("p8", &["w1"])]));
        assert!(scope.may_write(&[]));
    }

    #[test]
    fn a_patient_reaches_only_their_own_compartment() {
        let scope = decide(&principal(Role::Patient), READ).unwrap();
        assert!(scope.may_read(&[owner("p1", &["w9"])]));
        assert!(!scope.may_read(&[owner("p2", &[])]));
        assert!(!scope.may_read(&[]));
        let unlinked = Principal { patient: None, ..principal(Role::Patient) };
        assert!(decide(&unlinked, READ).is_err());
    }

    #[test]
    fn a_device_writes_only_for_its_patients() {
        let scope = decide(&principal(Role::Device), CREATE).unwrap();
        assert!(scope.may_write(&[owner("p2", &["w9"])]));
        assert!(!scope.may_write(&[owner("p3", &["w1"])]));
        assert!(!scope.may_write(&[]));
    }
}
