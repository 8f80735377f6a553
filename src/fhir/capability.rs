//! The `CapabilityStatement` that `GET /fhir/metadata` answers with (R4 section 3.1.0.17 and 5.3).
//!
//! Invariant: it names what the server does and nothing that it does not.

use super::json::push_json_string;
use super::kind::ResourceType;
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
/// to. All texts are escaped; one of the first three that is empty is left out.
pub fn capability_statement(
    clinic_name: &str,
    software_version: &str,
    base: &str,
    now: UnixMillis,
    topics: &[String],
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
    out.extend(["],\"interaction\":", SYSTEM, "}]}"]);
    out
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
        assert!(Resource::parse(capability_statement("", "", "", UnixMillis(0), &[]).as_bytes()).is_ok());
    }
}
