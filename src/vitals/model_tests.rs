//! A model of a small ward: readings come new, late, from the future, are amended, entered in error, moved and deleted;
//! alerts are acknowledged or not; time passes and the alarm rings. After each step what is kept and what was told is held
//! against a naive reckoning from the records themselves.

use std::collections::BTreeMap;

use serde_json::Value;

use super::alert::{Acknowledgement, Alert, Cause, Level, News, Severity};
use super::codes::Charted;
use super::evaluate::{self, State, Written};
use super::thresholds::{Limit, Thresholds};
use super::*;
use crate::channel::outbox;
use crate::config::alerts::Rules;
use crate::store::sqlite::Sqlite;
use crate::testing::Seeded;

const RULES: Rules = Rules { repeat: Ttl::from_secs(60), escalate: Ttl::from_secs(150), interval: Ttl::from_secs(10) };
const PATIENTS: [&str; 3] = ["p", "q", "r"];
/// Parameters of the model, with values that score 0 and up to 3.
const VALUES: [(Parameter, [i64; 4]); 4] = [
    (Parameter::HeartRate, [70, 100, 121, 140]),
    (Parameter::RespiratoryRate, [16, 10, 22, 30]),
    (Parameter::SystolicPressure, [130, 105, 95, 80]),
    (Parameter::OxygenSaturation, [98, 95, 92, 88]),
];
const LIMIT: i64 = 120;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    None,
    KeepsWhatWasCorrected,
    TakesLateForNew,
    RingsLate,
    LosesAcknowledgements,
    NeverEscalates,
}

struct Ward;

impl Census for Ward {
    fn told(&self, _owner: &crate::access::Owner, _event: &crate::channel::outbox::Event) -> crate::error::Result<()> {
        Ok(())
    }
    fn wards(&self, _patient: &str) -> Result<Vec<String>> {
        Ok(vec!["w".into()])
    }

    fn practitioners(&self, _wards: &[String]) -> Result<Vec<String>> {
        Ok(vec!["doctor".into()])
    }
}

struct Model {
    mutant: Mutant,
    random: Seeded,
    sql: Sqlite,
    now: UnixMillis,
    /// What the newest version of each Observation says.
    records: BTreeMap<String, Charted>,
    told: Vec<(String, Value)>,
    counts: BTreeMap<&'static str, u64>,
}

type Checked = std::result::Result<(), String>;

impl Model {
    fn new(seed: u64, mutant: Mutant) -> Model {
        let sql = Sqlite::open();
        prepare(&sql).unwrap();
        outbox::prepare(&sql).unwrap();
        let limits =
            [(Parameter::HeartRate, Limit { low: None, high: Some(Milli::whole(LIMIT)) })].into_iter().collect();
        let thresholds = Thresholds { limits, ..Thresholds::default() };
        thresholds::put(&sql, UnixMillis(0), "p", &thresholds, None).unwrap();
        let now = UnixMillis(1_764_000_000_000);
        let (records, told, counts) = Default::default();
        Model { mutant, random: Seeded::new(seed), sql, now, records, told, counts }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn pick<T: Clone>(&self, from: &[T]) -> T {
        from[usize::try_from(self.random.below(from.len() as u64)).unwrap()].clone()
    }

    fn rules(&self) -> Rules {
        let never = self.mutant == Mutant::NeverEscalates;
        Rules { escalate: if never { Ttl(u64::MAX) } else { RULES.escalate }, ..RULES }
    }

    /// The latest live reading of a parameter, reckoned from the records alone.
    fn latest(&self, patient: &str, parameter: Parameter) -> Option<(UnixMillis, String, Milli)> {
        let of = self.records.iter().filter(|(_, charted)| charted.patient == patient);
        of.flat_map(|(id, charted)| charted.readings.iter().map(move |reading| (id, charted.at, reading)))
            .filter(|(_, at, reading)| reading.parameter == parameter && at.unwrap().plus(COUNTS) >= self.now)
            .map(|(id, at, reading)| (at.unwrap(), id.clone(), reading.value))
            .max()
    }

    fn severity(&self, patient: &str) -> Option<Severity> {
        let points = VALUES.iter().filter_map(|(parameter, _)| {
            let (_, _, value) = self.latest(patient, *parameter)?;
            Some(news2::points(*parameter, value, news2::Scale::One, false))
        });
        let points: Vec<u8> = points.collect();
        Severity::of(news2::Risk::of(points.iter().sum(), points.iter().copied().max().unwrap_or(0)))
    }

    fn open(&self, patient: &str, cause: Cause) -> Option<Alert> {
        alerts_sql::of_cause(&self.sql, patient, cause).unwrap()
    }

    /// A write of an Observation: new, or another version of one that is there.
    fn write(&mut self) -> Checked {
        let known: Vec<String> = self.records.keys().cloned().collect();
        let amends = !known.is_empty() && self.random.below(4) == 0;
        let id = if amends { self.pick(&known) } else { self.random.next().to_string() };
        let removes = amends && self.random.below(3) > 0;
        let (parameter, values) = self.pick(&VALUES);
        let ago = match self.random.below(10) {
            0..6 => self.random.below(FRESH.0),
            6..8 => FRESH.0 + 1 + self.random.below(COUNTS.0 / 2),
            8 => COUNTS.0 + 1 + self.random.below(1_000_000_000),
            _ => 0,
        };
        let future = ago == 0 && self.random.below(2) == 0;
        let at = if future { self.now.plus(Ttl(5_000_000)) } else { UnixMillis(self.now.0 - ago) };
        let value = Milli::whole(self.pick(&values));
        let patient = match self.records.get(&id) {
            Some(before) if self.random.below(4) > 0 => before.patient.clone(),
            _ => self.pick(&PATIENTS).to_owned(),
        };
        let mut charted = Charted { patient, at: Some(at), readings: vec![Reading { parameter, value }] };
        let kept = Charted { at: Some(at.min(self.now)), ..charted.clone() };
        let before = self.open(&kept.patient, Cause::News2).map(|alert| alert.finding.severity);
        let limited = self.open(&kept.patient, Cause::Threshold(parameter, super::alert::Bound::High)).is_some();

        let was = self.records.remove(&id);
        let is_new_latest = self.latest(&kept.patient, parameter).is_none_or(|(newest, ..)| kept.at.unwrap() >= newest);
        let fresh = !removes && is_new_latest && kept.at.unwrap().plus(FRESH) >= self.now;
        if !removes {
            self.records.insert(id.clone(), kept.clone());
        }
        let expected = self.severity(&kept.patient);
        let scores = news2::points(parameter, value, news2::Scale::One, false) > 0;
        // Two Observations of the same instant: the one with the later id counts.
        let counts = self.latest(&kept.patient, parameter).is_some_and(|(_, source, _)| source == id);
        let raises = fresh && counts && scores && expected > before;
        let exceeds = kept.patient == "p" && parameter == Parameter::HeartRate && value > Milli::whole(LIMIT);

        let existed = was.is_some() && self.mutant != Mutant::KeepsWhatWasCorrected;
        if self.mutant == Mutant::TakesLateForNew && !fresh {
            charted.at = None;
        }
        let write = Written { id: &id, existed, charted: (!removes).then_some(&charted) };
        evaluate::written(&self.sql, &Ward, &self.random, (self.now, &self.rules()), &[write]).unwrap();
        self.hear()?;

        let raised = |cause: &str| {
            let about = |alert: &Value| alert["cause"] == cause && alert["patient"] == kept.patient;
            self.told.iter().any(|(change, alert)| change == "raised" && about(alert))
        };
        // An Observation that was another patient's may rise there; it is asked about the one that it is of now.
        if raised("news2") != raises {
            return Err(format!("raised: {}, though {before:?} became {expected:?}", !raises));
        }
        if raised("threshold") != (fresh && counts && exceeds && !limited) {
            return Err(format!("raised over a limit: {}", raised("threshold")));
        }
        self.count(match (removes, was.is_some(), fresh, ago) {
            (true, ..) => "entered in error",
            (_, true, ..) => "amended",
            (.., true, _) if future => "from the future",
            (.., true, _) => "new",
            (.., false, ago) if ago > COUNTS.0 => "history",
            _ => "late",
        });
        Ok(())
    }

    fn acknowledge(&mut self) -> Checked {
        let open = alerts_sql::open(&self.sql).unwrap();
        if open.is_empty() {
            return Ok(());
        }
        let mut alert = self.pick(&open);
        let who = Acknowledgement { user: "nora".into(), name: "Nora".into(), at: self.now };
        let seen = (self.random.below(3) > 0).then_some(alert.version);
        let news = alert.acknowledge(who, seen).unwrap();
        if self.mutant != Mutant::LosesAcknowledgements {
            alerts_sql::keep(&self.sql, &Ward, self.now, &alert, news).unwrap();
        }
        self.count(if news.is_some() { "acknowledgements" } else { "acknowledgements repeated" });
        self.hear()?;
        let kept = alerts_sql::get(&self.sql, &alert.id).unwrap().unwrap();
        if kept.acknowledged.is_none() || kept.next_push.is_some() {
            return Err("an alert that was acknowledged is pushed again".into());
        }
        Ok(())
    }

    /// Time passes; the alarm rings when it is due.
    fn pass(&mut self) -> Checked {
        let until = self.now.plus(Ttl(self.random.below(2) * 20_000 + self.random.below(100_000)));
        let late = if self.mutant == Mutant::RingsLate { 70_000 } else { 0 };
        while let Some(due) = alerts_sql::next_due(&self.sql).unwrap().filter(|due| due.plus(Ttl(late)) <= until) {
            self.now = self.now.max(due.plus(Ttl(late)));
            let before = alerts_sql::open(&self.sql).unwrap();
            alerts_sql::push(&self.sql, &Ward, &self.rules(), self.now).unwrap();
            self.hear()?;
            for alert in before {
                let told = self.told.iter().filter(|(_, told)| told["id"] == alert.id.as_str()).count();
                if alert.acknowledged.is_some() && told > 0 {
                    return Err("an alert that was acknowledged was pushed again".into());
                }
            }
        }
        self.now = until;
        for alert in alerts_sql::open(&self.sql).unwrap().iter().filter(|alert| alert.acknowledged.is_none()) {
            if alert.next_push.is_none_or(|due| due <= self.now || due > self.now.plus(RULES.repeat)) {
                return Err(format!("an alert is pushed again at {:?}, and it is {:?}", alert.next_push, self.now));
            }
            if (alert.raised_at.plus(RULES.escalate) <= self.now) != (alert.level == Level::Escalated) {
                return Err(format!("an alert of {:?} is at {:?}", alert.raised_at, alert.level));
            }
        }
        self.count("passing of time");
        Ok(())
    }

    /// Takes what was told out of the outbox, and holds what is kept against the records.
    fn hear(&mut self) -> Checked {
        self.told.clear();
        let mut escalated = Vec::new();
        for topic in outbox::owed(&self.sql, 100).unwrap() {
            let mut applied = 0;
            while let Some(delivery) = outbox::next(&self.sql, &topic, UnixMillis::MAX).unwrap() {
                applied += delivery.events.len() as u64;
                for event in delivery.events.iter().filter(|event| event.kind == "alert") {
                    let data: Value = serde_json::from_str(&event.data).unwrap();
                    let change = data["change"].as_str().unwrap().to_owned();
                    match &topic {
                        crate::channel::Topic::Patient(_) => self.told.push((change, data["alert"].clone())),
                        crate::channel::Topic::User(_) => escalated.push(event.id.clone()),
                        crate::channel::Topic::Ward(_)
                        | crate::channel::Topic::Subscription(_)
                        | crate::channel::Topic::Schedule(_) => {}
                    }
                }
                outbox::acknowledge(&self.sql, &topic, delivery.first + delivery.events.len() as u64 - 1, "e").unwrap();
            }
            assert!(applied > 0);
        }
        for index in 0..self.told.len() {
            let (change, alert) = self.told[index].clone();
            let to_user = escalated.contains(&format!("alert/{}/{}", text(&alert["id"]), alert["version"]));
            if to_user != (alert["level"] == "escalated") {
                return Err(format!("{change} at level {} and told to the practitioner: {to_user}", alert["level"]));
            }
            let known = [
                News::Raised,
                News::Repeated,
                News::Escalated,
                News::Acknowledged,
                News::Changed,
                News::Cleared,
                News::Resolved,
                News::Withdrawn,
            ];
            let news = known.into_iter().find(|news| news.as_str() == change).unwrap();
            self.count(news.as_str());
        }
        for patient in PATIENTS {
            let state = State::of(&self.sql, self.now, patient).unwrap();
            for (parameter, _) in VALUES {
                let found = state.latest.iter().find(|latest| latest.reading.parameter == parameter);
                let kept = found.map(|latest| (latest.at, latest.source.clone(), latest.reading.value));
                if kept != self.latest(patient, parameter) {
                    return Err(format!("{parameter:?} of {patient}: {kept:?}"));
                }
            }
        }
        for alert in alerts_sql::open(&self.sql).unwrap() {
            let of = |source: &String| self.records.get(source).map(|charted| charted.patient.as_str());
            if alert.finding.sources.iter().any(|source| of(source) != Some(alert.patient.as_str())) {
                return Err(format!("an open alert rests on what is not there: {:?}", alert.finding));
            }
        }
        Ok(())
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn run(seed: u64, mutant: Mutant, steps: u64) -> std::result::Result<BTreeMap<&'static str, u64>, String> {
    let mut model = Model::new(seed, mutant);
    for step in 0..steps {
        let done = match model.random.below(10) {
            0..6 => model.write(),
            6 => model.acknowledge(),
            _ => model.pass(),
        };
        done.map_err(|why| format!("seed {seed} step {step}: {why}"))?;
    }
    Ok(model.counts)
}

#[test]
fn alerts_follow_the_records() {
    let mut total: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 1..=4 {
        for (what, number) in run(seed, Mutant::None, 300).unwrap() {
            *total.entry(what).or_default() += number;
        }
    }
    println!("alerts model, seeds 1 to 4, 1,200 steps: {total:?}");
    let all = "new,late,history,from the future,amended,entered in error,acknowledgements,acknowledgements repeated,\
               passing of time,raised,repeated,escalated,acknowledged,changed,cleared,resolved,withdrawn";
    for what in all.split(',') {
        assert!(total.get(what).is_some_and(|number| *number > 0), "{what} never occurred");
    }
}

#[test]
fn the_model_catches_seeded_mutants() {
    for mutant in [
        Mutant::KeepsWhatWasCorrected,
        Mutant::TakesLateForNew,
        Mutant::RingsLate,
        Mutant::LosesAcknowledgements,
        Mutant::NeverEscalates,
    ] {
        let caught = (1..=6).find_map(|seed| run(seed, mutant, 400).err());
        println!("{mutant:?}: {}", caught.as_deref().unwrap_or("not caught"));
        assert!(caught.is_some(), "{mutant:?} was not caught");
    }
}
