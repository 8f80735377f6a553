use super::*;
use crate::time::Ttl;

const RULES: Rules = Rules { repeat: Ttl::from_secs(60), escalate: Ttl::from_secs(150), interval: Ttl::from_secs(10) };

fn at(seconds: u64) -> UnixMillis {
    UnixMillis(seconds * 1_000)
}

fn finding(severity: Severity, source: &str) -> Finding {
    Finding {
        cause: Cause::News2,
        severity,
        reading_at: at(0),
        sources: vec![source.into()],
        parameters: vec![Parameter::HeartRate],
        detail: "{}".into(),
    }
}

fn raised(severity: Severity) -> Alert {
    Alert::raise("a".into(), "p", finding(severity, "o1"), at(0), &RULES)
}

fn fresh(source: &str) -> Basis {
    Basis { counts: true, fresh: vec![source.into()], corrected: Vec::new() }
}

fn corrected(source: &str) -> Basis {
    Basis { corrected: vec![source.into()], ..Basis::default() }
}

fn seen(alert: &mut Alert, seconds: u64) -> Result<Option<News>> {
    alert.acknowledge(Acknowledgement { user: "u".into(), name: "Ada".into(), at: at(seconds) }, None)
}

#[test]
fn it_is_pushed_again_then_escalated_then_pushed_again_until_somebody_has_seen_it() {
    let mut alert = raised(Severity::High);
    let mut told = Vec::new();
    for second in 0..=300 {
        if let Some(news) = alert.tick(at(second), &RULES) {
            told.push((second, news, alert.level));
        }
    }
    let expected = [
        (60, News::Repeated, Level::Ward),
        (120, News::Repeated, Level::Ward),
        (150, News::Escalated, Level::Escalated),
        (210, News::Repeated, Level::Escalated),
        (270, News::Repeated, Level::Escalated),
    ];
    assert_eq!(told, expected);
    assert_eq!(seen(&mut alert, 301).unwrap(), Some(News::Acknowledged));
    assert_eq!(seen(&mut alert, 302).unwrap(), None, "a repetition changes nothing");
    assert_eq!(alert.acknowledged.as_ref().unwrap().at, at(301));
    assert_eq!(alert.tick(at(100_000), &RULES), None);
}

#[test]
fn rising_raises_it_again_and_falling_shows_once_it_was_seen() {
    let mut alert = raised(Severity::Medium);
    assert_eq!(alert.met(finding(Severity::LowMedium, "o2"), &fresh("o2"), at(1), &RULES), None);
    assert_eq!(alert.finding, finding(Severity::Medium, "o1"), "nobody has seen how urgent it was");
    seen(&mut alert, 2).unwrap();
    assert_eq!(alert.met(finding(Severity::LowMedium, "o3"), &fresh("o3"), at(3), &RULES), Some(News::Changed));
    let late = Basis { counts: true, ..Basis::default() };
    assert_eq!(alert.met(finding(Severity::High, "o4"), &late, at(4), &RULES), None);
    assert_eq!(alert.finding, finding(Severity::LowMedium, "o4"), "what is late makes nothing more urgent");
    assert_eq!(alert.met(finding(Severity::High, "o5"), &fresh("o5"), at(5), &RULES), Some(News::Raised));
    assert_eq!((alert.acknowledged.clone(), alert.next_push, alert.raised_at), (None, Some(at(65)), at(5)));
    // Whoever saw the version of before has not seen this.
    let who = Acknowledgement { user: "u".into(), name: "Ada".into(), at: at(6) };
    let stale = alert.acknowledge(who.clone(), Some(alert.version - 1)).unwrap_err();
    assert_eq!((stale.status(), stale.field.as_deref()), (409, Some("version")));
    assert_eq!(alert.acknowledge(who, Some(alert.version)).unwrap(), Some(News::Acknowledged));
}

#[test]
fn rising_unseen_does_not_start_the_clock_anew() {
    let mut alert = raised(Severity::Medium);
    assert_eq!(alert.met(finding(Severity::High, "o2"), &fresh("o2"), at(50), &RULES), Some(News::Raised));
    assert_eq!((alert.next_push, alert.escalates_at), (Some(at(60)), Some(at(150))));
}

#[test]
fn it_ends_when_its_cause_is_gone_and_somebody_has_seen_it() {
    let known = [Parameter::HeartRate];
    let mut alert = raised(Severity::Medium);
    assert_eq!(alert.unmet(&[], &fresh("o2"), at(1)), None, "nobody knows that the cause is gone");
    assert_eq!(alert.unmet(&known, &Basis::default(), at(1)), None);
    assert_eq!(alert.unmet(&known, &fresh("o2"), at(1)), Some(News::Cleared));
    assert_eq!(alert.unmet(&known, &fresh("o3"), at(2)), None);
    assert_eq!(alert.tick(at(60), &RULES), Some(News::Repeated), "it latches");
    assert_eq!(alert.met(finding(Severity::Medium, "o4"), &fresh("o4"), at(61), &RULES), Some(News::Changed));
    assert_eq!(alert.unmet(&known, &fresh("o5"), at(62)), Some(News::Cleared));
    assert_eq!(seen(&mut alert, 63).unwrap(), Some(News::Acknowledged));
    assert_eq!(alert.ended, Some((at(63), How::Resolved)));

    let mut alert = raised(Severity::Medium);
    seen(&mut alert, 1).unwrap();
    assert_eq!(alert.unmet(&known, &fresh("o2"), at(2)), Some(News::Resolved));
    assert_eq!(seen(&mut alert, 3).unwrap(), None);

    let mut silence = raised(Severity::Medium);
    assert_eq!(silence.resolve(at(1)), Some(News::Resolved));
    assert_eq!(seen(&mut silence, 2).unwrap_err().status(), 409);
}

#[test]
fn what_rested_on_an_error_is_withdrawn() {
    let mut alert = raised(Severity::High);
    assert_eq!(alert.unmet(&[], &corrected("o9"), at(1)), None);
    assert_eq!(alert.unmet(&[], &corrected("o1"), at(1)), Some(News::Withdrawn));
    assert_eq!((alert.next_push, alert.ended), (None, Some((at(1), How::Withdrawn))));

    let mut alert = raised(Severity::High);
    assert_eq!(alert.met(finding(Severity::Medium, "o0"), &corrected("o1"), at(1), &RULES), Some(News::Changed));
    assert_eq!(alert.finding.severity, Severity::Medium, "the urgent part of it was the error");
}

/// Clients in the field read this, and the table keeps alerts in the other form.
#[test]
fn the_shape_is_pinned() {
    let mut alert = raised(Severity::High);
    alert.finding.cause = Cause::Threshold(Parameter::HeartRate, Bound::High);
    alert.finding.detail = r#"{"value":140,"limit":130}"#.into();
    assert_eq!(alert.finding.cause.key(), "threshold/heart_rate/high");
    seen(&mut alert, 5).unwrap();
    alert.resolve(at(6));
    let expected = serde_json::json!({
        "id": "a", "version": 3, "patient": "p", "cause": "threshold", "parameter": "heart_rate", "bound": "high",
        "severity": "high", "level": "ward", "raised_at": "1970-01-01T00:00:00.000Z",
        "reading_at": "1970-01-01T00:00:00.000Z", "pushes": 0, "next_push_at": null, "escalates_at": null,
        "acknowledged": { "by": { "id": "u", "name": "Ada" }, "at": "1970-01-01T00:00:05.000Z" },
        "cleared_at": null, "ended": { "at": "1970-01-01T00:00:06.000Z", "how": "resolved" },
        "detail": { "value": 140, "limit": 130 },
    });
    assert_eq!(alert.to_json(), expected);
    let kept = serde_json::to_string(&alert).unwrap();
    assert_eq!(serde_json::from_str::<Alert>(&kept).unwrap(), alert);
}
