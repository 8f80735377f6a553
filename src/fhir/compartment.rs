//! Which patients a resource belongs to: the patient compartment of R4 (section 5.6.1, CompartmentDefinition/patient).
//!
//! Invariant: membership follows from the resource alone, through relative references `Patient/id` at the places that
//! `compartment.txt` lists (generated from the definition and its search parameters by `scripts/fhir/generate.mjs`). A
//! reference in any other form (absolute, `urn:`, by identifier) puts a resource in no compartment: make references to
//! this server relative before asking.

use super::kind::ResourceType;
use super::reference::relative;
use super::resource::Resource;

/// One line a type: its name, then the paths to references to patients. A test holds the lines to the table of types.
static TEXT: &str = include_str!("compartment.txt");

fn paths(kind: ResourceType) -> Option<&'static str> {
    TEXT.lines().find_map(|line| {
        let (name, paths) = line.split_once(' ').unwrap_or((line, ""));
        (name == kind.as_str()).then_some(paths)
    })
}

/// The ids of the patients in whose compartments the resource is, each once, in document order; for a Patient, its own id
/// (a patient that it links to is not one).
pub fn patients(resource: &Resource) -> Vec<String> {
    if resource.kind() == ResourceType::Patient {
        return resource.id().map(str::to_owned).into_iter().collect();
    }
    let mut found: Vec<String> = Vec::new();
    for path in paths(resource.kind()).unwrap_or_default().split_whitespace() {
        let path: Vec<&str> = path.split('.').chain(["reference"]).collect();
        for text in resource.strs_at(&path) {
            if let Some(to) = relative(text)
                && to.kind == ResourceType::Patient
                && !found.iter().any(|id| id == to.id)
            {
                found.push(to.id.to_owned());
            }
        }
    }
    found
}

/// Whether a reference to a Patient at any of `elements` puts a resource of `kind` in that patient's compartment.
pub(super) fn holds(kind: ResourceType, elements: &[&str]) -> bool {
    let all: Vec<&str> = paths(kind).unwrap_or_default().split_whitespace().collect();
    !elements.is_empty() && elements.iter().all(|element| all.contains(element))
}

/// Whether resources of this type can be in a patient's compartment. One of them need not be: ask [`patients`].
pub fn in_patient_compartment(kind: ResourceType) -> bool {
    paths(kind).is_some()
}

/// Whether resources of this type are shared by all patients: the directory (who, where, when, with what) and definitions.
///
/// A type may be neither shared nor in the compartment (Task, Binary, Bundle, Linkage, ...): R4 does not say whose it is, so
/// nobody but staff should reach it. Schedule is both: R4 lets a patient be its actor; ask [`patients`] of the one at hand.
pub fn is_shared(kind: ResourceType) -> bool {
    use ResourceType::*;
    matches!(
        kind,
        Practitioner
            | PractitionerRole
            | Organization
            | OrganizationAffiliation
            | Location
            | HealthcareService
            | Endpoint
            | Schedule
            | Slot
            | Device
            | DeviceDefinition
            | DeviceMetric
            | Medication
            | MedicationKnowledge
            | Substance
            | InsurancePlan
            | ActivityDefinition
            | ChargeItemDefinition
            | EventDefinition
            | Library
            | Measure
            | ObservationDefinition
            | PlanDefinition
            | Questionnaire
            | SpecimenDefinition
            | CapabilityStatement
            | CodeSystem
            | CompartmentDefinition
            | ConceptMap
            | GraphDefinition
            | ImplementationGuide
            | MessageDefinition
            | NamingSystem
            | OperationDefinition
            | SearchParameter
            | StructureDefinition
            | StructureMap
            | TerminologyCapabilities
            | ValueSet
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::structure::{Shape, table};

    fn of(json: &str) -> Vec<String> {
        patients(&Resource::parse(json.as_bytes()).unwrap())
    }

    #[test]
    fn every_path_ends_at_references() {
        let table = table();
        for line in TEXT.lines() {
            let mut words = line.split(' ');
            let kind = ResourceType::parse(words.next().unwrap()).unwrap();
            for path in words {
                let mut at = table.find(kind.as_str()).unwrap();
                for name in path.split('.') {
                    let (_, _, shape) =
                        table.lookup(table.fields(at), name).unwrap_or_else(|| panic!("{line}: {name}"));
                    let Shape::Complex(next) = shape else { panic!("{line}: {name}") };
                    at = next;
                }
                assert_eq!(at, table.reference, "{line}");
            }
        }
        assert_eq!(TEXT.lines().count(), 66);
    }

    #[test]
    fn membership() {
        assert_eq!(
            of(r#"{"resourceType":"Patient","id":"a","link":[{"other":{"reference":"Patient/b"},"type":"seealso"}]}"#),
            ["a"]
        );
        assert_eq!(of(r#"{"resourceType":"Patient"}"#), [""; 0]);
        let observation = |rest: &str| {
            of(&format!(r#"{{"resourceType":"Observation","status":"final","code":{{"text":"x"}}{rest}}}"#))
        };
        assert_eq!(
            observation(
                r#","subject":{"reference":"Patient/a"},"performer":[{"reference":"Practitioner/p"},{"reference":"Patient/b"},{"reference":"Patient/a/_history/3"}]"#
            ),
            ["a", "b"]
        );
        assert_eq!(observation(r#","focus":[{"reference":"Patient/c"}]"#), [""; 0]);
        for other in ["Group/g", "https://a.example/fhir/Patient/a", "urn:uuid:a", "#a"] {
            assert_eq!(observation(&format!(r#","subject":{{"reference":"{other}"}}"#)), [""; 0], "{other}");
        }
        assert_eq!(
            of(
                r#"{"resourceType":"Appointment","status":"booked","participant":[{"status":"accepted","actor":{"reference":"Location/l"}},{"status":"accepted","actor":{"reference":"Patient/a"}}]}"#
            ),
            ["a"]
        );
        assert_eq!(of(r#"{"resourceType":"Schedule","actor":[{"reference":"Practitioner/p"}]}"#), [""; 0]);
    }

    #[test]
    fn kinds() {
        use ResourceType::*;
        for kind in [Patient, Observation, Encounter, Appointment, Schedule, AuditEvent, DocumentReference] {
            assert!(in_patient_compartment(kind), "{kind}");
        }
        for kind in [Practitioner, Organization, Location, Slot, Device, Medication, Task, Binary, Bundle] {
            assert!(!in_patient_compartment(kind), "{kind}");
        }
        for kind in ResourceType::all().filter(|kind| is_shared(*kind) && *kind != Schedule) {
            assert!(!in_patient_compartment(kind), "{kind}");
        }
        for kind in [Patient, Task, Binary, Bundle, Parameters, Observation] {
            assert!(!is_shared(kind), "{kind}");
        }
    }
}
