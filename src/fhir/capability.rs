//! The `CapabilityStatement` that `GET /fhir/metadata` answers with (R4 section 3.1.0.17 and 5.3).
//!
//! Invariant: it names what the server does and nothing that it does not.

use serde_json::Value;

use super::json::push_json_string;
use super::kind::ResourceType;
use super::pointer::at;
use super::search::parameters_of;
use crate::time::UnixMillis;

const SECURITY: &str = "Sign in with POST /session. The session is the cookie __Host-session, or with \
    \"transport\":\"bearer\" a token for the Authorization header. Every request but this one needs it; what it may reach \
    follows from the role of the user and, for a patient, from the patient compartment.";

const INTERACTIONS: &str = r#"[{"code":"read"},{"code":"vread"},{"code":"update"},{"code":"delete"},{"code":"history-instance"},{"code":"history-type"},{"code":"create"},{"code":"search-type"}]"#;

const FLAGS: &str = r#""versioning":"versioned-update","readHistory":true,"updateCreate":true,"conditionalCreate":false,"conditionalRead":"not-supported","conditionalUpdate":false,"conditionalDelete":"not-supported","referencePolicy":["literal","logical"]"#;

const OPERATIONS: &str =
    r#","operation":[{"name":"everything","definition":"http://hl7.org/fhir/OperationDefinition/Patient-everything"}]"#;

/// What a Subscription can be done with, which is less than other resources.
const SUBSCRIPTION: &str = r#","supportedProfile":["http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-subscription"],"interaction":[{"code":"read"},{"code":"update"},{"code":"delete"},{"code":"create"},{"code":"search-type"}],"versioning":"versioned-update","readHistory":false,"updateCreate":false,"searchParam":[{"name":"status","type":"token"},{"name":"url","type":"uri"}],"operation":[{"name":"status","definition":"http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition/backport-subscription-status"},{"name":"events","definition":"http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition/backport-subscription-events"},{"name":"get-ws-binding-token","definition":"http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition/backport-subscription-get-ws-binding-token"}]}"#;

const TOPIC: &str =
    "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/capabilitystatement-subscriptiontopic-canonical";

const WEBSOCKET: &str = "http://hl7.org/fhir/StructureDefinition/capabilitystatement-websocket";

const SYSTEM: &str = r#"[{"code":"transaction"},{"code":"batch"},{"code":"history-system"}]"#;

/// The statement as JSON: an instance of FHIR 4.0.1 in JSON with every resource type of R4. `base` is the URL of the FHIR
/// endpoint (without a slash at the end), `now` the statement's date, `topics` the canonical URLs of what can be subscribed
/// to. All texts are escaped; one of the first three that is empty is left out. Where records are kept at an `origin`, whose
/// statement that is, it is what both do.
pub fn capability_statement(
    clinic_name: &str,
    software_version: &str,
    base: &str,
    now: UnixMillis,
    topics: &[String],
    origin: Option<&Value>,
) -> String {
    let mut out = String::with_capacity(64 * 1024);
    let string = |out: &mut String, before: &str, text: &str| {
        out.push_str(before);
        push_json_string(out, text);
    };
    out.push_str(r#"{"resourceType":"CapabilityStatement","status":"active""#);
    string(&mut out, ",\"date\":", &now.to_rfc3339());
    if !clinic_name.is_empty() {
        string(&mut out, ",\"publisher\":", clinic_name);
    }
    out.push_str(r#","kind":"instance","software":{"name":"Bedside""#);
    if !software_version.is_empty() {
        string(&mut out, ",\"version\":", software_version);
    }
    let described = if clinic_name.is_empty() { "Bedside" } else { clinic_name };
    string(&mut out, "},\"implementation\":{\"description\":", described);
    if !base.is_empty() {
        string(&mut out, ",\"url\":", base);
    }
    out.push_str(r#"},"fhirVersion":"4.0.1","format":["json"],"rest":[{"#);
    if let Some(rest) = base.strip_prefix("http") {
        string(&mut out, "\"extension\":[{\"url\":", WEBSOCKET);
        string(&mut out, ",\"valueUri\":", &format!("ws{rest}/websocket"));
        out.push_str("}],");
    }
    out.push_str(r#""mode":"server","security":{"cors":false"#);
    string(&mut out, ",\"description\":", SECURITY);
    out.push_str("},\"resource\":[");
    for (index, kind) in ResourceType::all().enumerate() {
        string(&mut out, if index > 0 { ",{\"type\":" } else { "{\"type\":" }, kind.as_str());
        if kind == ResourceType::Subscription {
            for (index, topic) in topics.iter().enumerate() {
                string(&mut out, if index > 0 { ",{\"url\":" } else { ",\"extension\":[{\"url\":" }, TOPIC);
                string(&mut out, ",\"valueCanonical\":", topic);
                out.push('}');
            }
            out.extend([if topics.is_empty() { "" } else { "]" }, SUBSCRIPTION]);
            continue;
        }
        if let Some(origin) = origin {
            out.push_str(&at_origin(kind, of_kind(origin, kind)));
            continue;
        }
        let operations = if kind == ResourceType::Patient { OPERATIONS } else { "" };
        out.extend([",\"interaction\":", INTERACTIONS, ",", FLAGS]);
        out.push_str(r#","searchParam":[{"name":"_id","type":"token"},{"name":"_lastUpdated","type":"date"}"#);
        for known in parameters_of(kind) {
            string(&mut out, ",{\"name\":", known.code);
            string(&mut out, ",\"type\":", known.kind.as_str());
            out.push('}');
        }
        out.extend(["]", operations, "}"]);
    }
    let system = if origin.is_some() { r#"[{"code":"batch"}]"# } else { SYSTEM };
    out.extend(["],\"interaction\":", system, "}]}"]);
    out
}

/// What a CapabilityStatement says of `kind`.
pub fn of_kind(statement: &Value, kind: ResourceType) -> &Value {
    let all = at(statement, "/rest/0/resource").as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().find(|one| at(one, "/type") == kind.as_str()).unwrap_or(&Value::Null)
}

/// Whether `list` has a member `name` of this value.
pub fn has(list: &Value, name: &str, wanted: &str) -> bool {
    list.as_array().is_some_and(|all| all.iter().any(|one| one.get(name).is_some_and(|found| found == wanted)))
}

/// Of what is done with our own records of `kind`, what is done with those of an origin that says `said` of them.
fn at_origin(kind: ResourceType, said: &Value) -> String {
    let does = |code: &str| has(at(said, "/interaction"), "code", code);
    let guarded = at(said, "/versioning") == "versioned-update";
    let creates = guarded && at(said, "/updateCreate") == &Value::Bool(true);
    let all = [
        ("read", does("read")),
        ("search-type", does("search-type")),
        ("update", guarded && does("update")),
        ("delete", guarded && does("delete")),
        ("create", creates && does("update")),
    ];
    let mut out = String::new();
    let mut list = |name: &str, items: &mut dyn Iterator<Item = String>| {
        let items: Vec<String> = items.collect();
        if !items.is_empty() {
            out.extend([",\"", name, "\":[", &items.join(","), "]"]);
        }
    };
    list("interaction", &mut all.iter().filter(|(_, does)| *does).map(|(code, _)| format!(r#"{{"code":"{code}"}}"#)));
    let known = parameters_of(kind).iter().map(|known| (known.code, known.kind.as_str()));
    let known = [("_id", "token"), ("_lastUpdated", "date")].into_iter().chain(known);
    let known = known.filter(|(code, _)| has(at(said, "/searchParam"), "name", code));
    list("searchParam", &mut known.map(|(name, kind)| format!(r#"{{"name":"{name}","type":"{kind}"}}"#)));
    if guarded {
        out.push_str(&format!(r#","versioning":"versioned-update","updateCreate":{creates}"#));
    }
    out + "}"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::Resource;

    #[test]
    fn it_is_a_resource_and_says_what_was_asked() {
        let json = capability_statement(
            "Ward \"A\"\n",
            "0.1.0",
            "https://a.example/fhir",
            UnixMillis(0),
            &["https://t.example/a".into()],
            None,
        );
        let statement = Resource::parse(json.as_bytes()).unwrap();
        assert_eq!(statement.kind(), ResourceType::CapabilityStatement);
        assert_eq!(statement.str_at(&["fhirVersion"]), Some("4.0.1"));
        assert_eq!(statement.str_at(&["publisher"]), Some("Ward \"A\"\n"));
        assert_eq!(statement.str_at(&["implementation", "url"]), Some("https://a.example/fhir"));
        let types: Vec<&str> = statement.strs_at(&["rest", "resource", "type"]).collect();
        assert_eq!(types, ResourceType::all().map(ResourceType::as_str).collect::<Vec<_>>());
        assert_eq!(statement.strs_at(&["rest", "resource", "interaction", "code"]).count(), 8 * types.len() - 3);
        assert_eq!(statement.str_at(&["rest", "extension", "valueUri"]), Some("wss://a.example/fhir/websocket"));
        assert_eq!(statement.str_at(&["rest", "resource", "extension", "valueCanonical"]), Some("https://t.example/a"));
        assert!(statement.strs_at(&["rest", "resource", "searchParam", "name"]).count() > 900);
        assert!(Resource::parse(capability_statement("", "", "", UnixMillis(0), &[], None).as_bytes()).is_ok());
    }
}
