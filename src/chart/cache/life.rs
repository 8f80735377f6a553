//! How long a view lives: fresh, refreshed early, and past its lifetime while the origin is down.
//!
//! Invariant: none of this is about an earlier generation, which is never used. What is past its lifetime is used only for
//! classes of data for which a setting says so, and never for allergies, medication or results.

use serde::{Deserialize, Serialize};

use crate::config::cache::{Class, Stale};
use crate::fhir::ResourceType;
use crate::time::{Ttl, UnixMillis};

/// When a view was filled and until when it is fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// When it was filled.
    pub filled: UnixMillis,
    /// How long that took.
    pub took: Ttl,
    /// The first instant at which it is no longer fresh.
    pub fresh_until: UnixMillis,
}

impl Life {
    /// Whether it is fresh at `now`. A clock that went back to before the fill makes it no fresher.
    pub fn is_fresh(&self, now: UnixMillis) -> bool {
        self.filled <= now && now < self.fresh_until
    }

    /// Whether [`Life::is_due`] could be true at `now` with any draw: -ln(2^-53) is less than 37.
    pub fn may_be_due(&self, now: UnixMillis) -> bool {
        now.until(self.fresh_until).0 <= self.took.0.saturating_mul(37)
    }

    /// Whether whoever reads it at `now` should have it filled again already: each reader draws by itself, the likelier the
    /// nearer the end and the longer a fill takes, so that of many one comes early instead of all late (XFetch: Vattani,
    /// Chierichetti, Lowenstein, "Optimal probabilistic cache stampede prevention", 2015, with beta 1).
    #[allow(clippy::cast_precision_loss, reason = "millseconds far below 2^53, and 53 of 64 random bits are enough")]
    pub fn is_due(&self, now: UnixMillis, random: u64) -> bool {
        let uniform = ((random >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
        let early = self.took.0 as f64 * -uniform.ln();
        now.until(self.fresh_until).0 as f64 <= early
    }

    /// So long ago was it filled.
    pub fn age(&self, now: UnixMillis) -> Ttl {
        self.filled.until(now)
    }
}

/// The class of what resources of `kind` say.
pub fn class(kind: ResourceType) -> Class {
    match kind.as_str() {
        "Patient" | "RelatedPerson" | "Person" => Class::Demographics,
        "Encounter" | "EpisodeOfCare" | "CareTeam" => Class::Encounters,
        "Appointment" | "AppointmentResponse" | "Schedule" | "Slot" => Class::Scheduling,
        "Account" | "Claim" | "ClaimResponse" | "Coverage" | "ExplanationOfBenefit" | "Invoice" => Class::Billing,
        _ => Class::Clinical,
    }
}

/// So long past its lifetime may a view of `class` be used while the origin is down.
pub fn stale(rule: &Stale, class: Class) -> Ttl {
    if class != Class::Clinical && rule.classes.contains(&class) { rule.longest } else { Ttl(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_readers_few_come_early_and_none_long_before() {
        let life = Life { filled: UnixMillis(0), took: Ttl(100), fresh_until: UnixMillis(10_000) };
        let draws = |now| (0..1_000_u64).filter(|n| life.is_due(now, n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).count();
        assert_eq!(draws(UnixMillis(5_000)), 0);
        let near = draws(UnixMillis(9_900));
        assert!((300..440).contains(&near), "about e^-1 of 1,000 with as much left as a fill takes: {near}");
        assert_eq!(draws(UnixMillis(10_000)), 1_000);
    }

    #[test]
    fn a_clock_that_went_back_makes_nothing_fresher() {
        let life = Life { filled: UnixMillis(500), took: Ttl(1), fresh_until: UnixMillis(1_000) };
        let fresh = [499, 500, 999, 1_000].map(|now| life.is_fresh(UnixMillis(now)));
        assert_eq!(fresh, [false, true, true, false]);
    }

    #[test]
    fn allergies_medication_and_results_are_never_stale() {
        let rule = Stale { classes: vec![Class::Demographics, Class::Clinical], longest: Ttl(5) };
        for kind in ["AllergyIntolerance", "MedicationRequest", "Observation", "DiagnosticReport", "Condition"] {
            let kind = ResourceType::parse(kind).unwrap();
            assert_eq!(stale(&rule, class(kind)), Ttl(0), "{kind}");
        }
        assert_eq!(stale(&rule, class(ResourceType::Patient)), Ttl(5));
        assert_eq!(stale(&rule, class(ResourceType::Encounter)), Ttl(0));
    }
}
