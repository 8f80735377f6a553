//! Alerts: raised by what was measured or by silence, pushed until somebody has acknowledged them, then over.
//!
//! Invariant: while an alert is open and not acknowledged it has an instant at which it is pushed again, and from
//! `escalates_at` on those pushes go to the escalation topics too. An alert that was acknowledged or has ended is never
//! pushed again, unless its severity rises. It ends when its cause is gone and somebody has acknowledged it; silence ends
//! with the next reading, and what rested on a reading that was entered in error is withdrawn.

use serde::{Deserialize, Serialize};

use super::Parameter;
use super::news2::Risk;
use crate::config::alerts::Rules;
use crate::error::{Error, Kind, Result};
use crate::time::UnixMillis;

/// Which end of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// Below it.
    Low,
    /// Above it.
    High,
}

/// Why there is an alert. A patient has at most one open alert of each cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Cause {
    /// The early-warning score.
    News2,
    /// A limit set for the patient.
    Threshold(Parameter, Bound),
    /// No readings of a monitored patient.
    Silence,
}

impl Cause {
    /// The word in tables, one a cause: `news2`, `threshold/heart_rate/high`, `silence`.
    pub fn key(self) -> String {
        match self {
            Cause::News2 => "news2".to_owned(),
            Cause::Threshold(parameter, bound) => format!("threshold/{}/{}", parameter.as_str(), bound.as_str()),
            Cause::Silence => "silence".to_owned(),
        }
    }
}

impl Bound {
    fn as_str(self) -> &'static str {
        match self {
            Bound::Low => "low",
            Bound::High => "high",
        }
    }
}

/// How urgent, in the words of NEWS2's clinical risk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// 3 points in one parameter.
    LowMedium,
    /// A score of 5 or 6; a limit; silence.
    Medium,
    /// A score of 7 or more.
    High,
}

impl Severity {
    /// The severity of a risk; `None` where it is no alert.
    pub fn of(risk: Risk) -> Option<Severity> {
        match risk {
            Risk::None | Risk::Low => None,
            Risk::LowMedium => Some(Severity::LowMedium),
            Risk::Medium => Some(Severity::Medium),
            Risk::High => Some(Severity::High),
        }
    }
}

/// A cause that holds, and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The cause.
    pub cause: Cause,
    /// How urgent.
    pub severity: Severity,
    /// When the newest reading was taken that it rests on; for silence, the last one.
    pub reading_at: UnixMillis,
    /// The ids of the Observations that it rests on.
    pub sources: Vec<String>,
    /// The parameters that it rests on.
    pub parameters: Vec<Parameter>,
    /// JSON for whoever is told: the score, the value and its limit.
    pub detail: String,
}

impl Finding {
    /// Whether it rests on a reading that is new.
    pub fn is_fresh(&self, basis: &Basis) -> bool {
        self.sources.iter().any(|source| basis.fresh.contains(source))
    }

    fn is_corrected(&self, basis: &Basis) -> bool {
        self.sources.iter().any(|source| basis.corrected.contains(source))
    }
}

/// Why a patient is looked at again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Basis {
    /// There is a new latest reading that counts.
    pub counts: bool,
    /// The sources of those that are recent enough to raise an alert.
    pub fresh: Vec<String>,
    /// The Observations that say something else than before, or nothing any more.
    pub corrected: Vec<String>,
}

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Followers of the patient and of the patient's wards.
    Ward,
    /// Each practitioner of the wards besides.
    Escalated,
}

/// Who has seen it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// The account's id.
    pub user: String,
    /// The person's name.
    pub name: String,
    /// When.
    pub at: UnixMillis,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// Its cause is gone.
    Resolved,
    /// It rested on a reading that was corrected, entered in error or deleted.
    Withdrawn,
}

/// An alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// A UUID.
    pub id: String,
    /// The Patient's id.
    pub patient: String,
    /// Grows with every change and push.
    pub version: u64,
    /// What holds, or held when it was worst.
    pub finding: Finding,
    /// When it was raised, or last rose after it had been acknowledged.
    pub raised_at: UnixMillis,
    /// The version in which its severity last rose.
    pub risen_in: u64,
    /// Who is told.
    pub level: Level,
    /// How often it was pushed again.
    pub pushes: u64,
    /// When it is pushed again.
    pub next_push: Option<UnixMillis>,
    /// When it is escalated.
    pub escalates_at: Option<UnixMillis>,
    /// Who has seen it.
    pub acknowledged: Option<Acknowledgement>,
    /// Since when its cause is gone although nobody has acknowledged it.
    pub cleared_at: Option<UnixMillis>,
    /// When and how it ended.
    pub ended: Option<(UnixMillis, How)>,
}

/// What there is to tell of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It is new, or its severity rose.
    Raised,
    /// Nobody has acknowledged it.
    Repeated,
    /// Nobody has acknowledged it for so long that others are told.
    Escalated,
    /// Somebody has seen it.
    Acknowledged,
    /// Its severity fell, or its cause is back.
    Changed,
    /// Its cause is gone; it stays until somebody has seen it.
    Cleared,
    /// It is over.
    Resolved,
    /// It should not have been.
    Withdrawn,
}

impl News {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            News::Raised => "raised",
            News::Repeated => "repeated",
            News::Escalated => "escalated",
            News::Acknowledged => "acknowledged",
            News::Changed => "changed",
            News::Cleared => "cleared",
            News::Resolved => "resolved",
            News::Withdrawn => "withdrawn",
        }
    }
}

impl Alert {
    /// A new alert.
    pub fn raise(id: String, patient: &str, finding: Finding, now: UnixMillis, rules: &Rules) -> Alert {
        let mut alert = Alert {
            id,
            patient: patient.to_owned(),
            version: 1,
            finding,
            raised_at: now,
            risen_in: 1,
            level: Level::Ward,
            pushes: 0,
            next_push: None,
            escalates_at: None,
            acknowledged: None,
            cleared_at: None,
            ended: None,
        };
        alert.start(now, rules);
        alert
    }

    fn start(&mut self, now: UnixMillis, rules: &Rules) {
        self.level = Level::Ward;
        self.escalates_at = Some(now.plus(rules.escalate));
        self.next_push = Some(now.plus(rules.repeat).min(now.plus(rules.escalate)));
    }

    fn tell(&mut self, news: News) -> Option<News> {
        self.version = self.version.saturating_add(1);
        Some(news)
    }

    fn end(&mut self, now: UnixMillis, how: How) {
        self.ended = Some((now, how));
        (self.next_push, self.escalates_at) = (None, None);
    }

    /// Its cause holds, as `finding` says, after what happened in `basis`.
    pub fn met(&mut self, finding: Finding, basis: &Basis, now: UnixMillis, rules: &Rules) -> Option<News> {
        if finding.severity > self.finding.severity && finding.is_fresh(basis) {
            self.finding = finding;
            self.cleared_at = None;
            if self.acknowledged.take().is_some() {
                self.raised_at = now;
                self.start(now, rules);
            }
            self.risen_in = self.version.saturating_add(1);
            return self.tell(News::Raised);
        }
        let lowered = finding.severity < self.finding.severity;
        if lowered && self.acknowledged.is_none() && !self.finding.is_corrected(basis) {
            // Nobody has seen how urgent it was: that stays, with what it rests on.
            return None;
        }
        // What is late makes nothing more urgent.
        let severity = finding.severity.min(self.finding.severity);
        self.finding = Finding { severity, ..finding };
        let back = self.cleared_at.take().is_some();
        if lowered || back { self.tell(News::Changed) } else { None }
    }

    /// Its cause does not hold after what happened in `basis`. `known` are the parameters of which there is a reading that
    /// counts: where one that it rests on has none any more, nobody knows that the cause is gone.
    pub fn unmet(&mut self, known: &[Parameter], basis: &Basis, now: UnixMillis) -> Option<News> {
        if self.finding.is_corrected(basis) {
            self.end(now, How::Withdrawn);
            return self.tell(News::Withdrawn);
        }
        if !basis.counts || !self.finding.parameters.iter().all(|parameter| known.contains(parameter)) {
            return None;
        }
        if self.acknowledged.is_some() {
            return self.resolve(now);
        }
        if self.cleared_at.is_some() {
            return None;
        }
        self.cleared_at = Some(now);
        self.tell(News::Cleared)
    }

    /// It is over.
    pub fn resolve(&mut self, now: UnixMillis) -> Option<News> {
        self.end(now, How::Resolved);
        self.tell(News::Resolved)
    }

    /// `who` has seen it, in version `seen` where they say so. Once it is acknowledged a repetition changes nothing. 409
    /// where it has ended, and where it has risen since they saw it.
    pub fn acknowledge(&mut self, who: Acknowledgement, seen: Option<u64>) -> Result<Option<News>> {
        if self.acknowledged.is_some() {
            return Ok(None);
        }
        if self.ended.is_some() {
            return Err(Error::new(Kind::Conflict, "this alert has ended: there is nothing to acknowledge"));
        }
        if seen.is_some_and(|seen| seen < self.risen_in) {
            return Err(Error::new(Kind::Conflict, "this alert has become more urgent: look again").at("version"));
        }
        let now = who.at;
        self.acknowledged = Some(who);
        (self.next_push, self.escalates_at) = (None, None);
        if self.cleared_at.is_some() {
            self.end(now, How::Resolved);
        }
        Ok(self.tell(News::Acknowledged))
    }

    /// What is due at `now`.
    pub fn tick(&mut self, now: UnixMillis, rules: &Rules) -> Option<News> {
        if self.next_push.is_none_or(|due| now < due) {
            return None;
        }
        self.pushes = self.pushes.saturating_add(1);
        let escalates = self.escalates_at.is_some_and(|due| now >= due);
        if escalates {
            self.level = Level::Escalated;
            self.escalates_at = None;
        }
        let next = now.plus(rules.repeat);
        self.next_push = Some(self.escalates_at.map_or(next, |due| next.min(due)));
        self.tell(if escalates { News::Escalated } else { News::Repeated })
    }

    /// The JSON on the wire.
    pub fn to_json(&self) -> serde_json::Value {
        let finding = &self.finding;
        let time = |at: Option<UnixMillis>| at.map(UnixMillis::to_rfc3339);
        let detail: serde_json::Value = serde_json::from_str(&finding.detail).unwrap_or_default();
        let mut json = serde_json::json!({
            "id": self.id,
            "version": self.version,
            "patient": self.patient,
            "cause": "threshold",
            "severity": finding.severity,
            "level": self.level,
            "raised_at": self.raised_at.to_rfc3339(),
            "reading_at": finding.reading_at.to_rfc3339(),
            "pushes": self.pushes,
            "next_push_at": time(self.next_push),
            "escalates_at": time(self.escalates_at),
            "acknowledged": self.acknowledged.as_ref().map(|who| serde_json::json!({
                "by": { "id": who.user, "name": who.name },
                "at": who.at.to_rfc3339(),
            })),
            "cleared_at": time(self.cleared_at),
            "ended": self.ended.map(|(at, how)| serde_json::json!({ "at": at.to_rfc3339(), "how": how })),
            "detail": detail,
        });
        if let Some(json) = json.as_object_mut() {
            match finding.cause {
                Cause::News2 => drop(json.insert("cause".into(), "news2".into())),
                Cause::Silence => drop(json.insert("cause".into(), "silence".into())),
                Cause::Threshold(parameter, bound) => {
                    json.insert("parameter".into(), parameter.as_str().into());
                    json.insert("bound".into(), bound.as_str().into());
                }
            }
        }
        json
    }
}

#[cfg(test)]
#[path = "alert_tests.rs"]
mod tests;
