//! `OperationOutcome` (R4 section 2.34), from the issues of a resource and from the errors of the crate.
//!
//! Invariant: an outcome holds no value of the input: diagnostics are sentences of the source in which at most a line and a
//! column vary, expressions are element, header and parameter names.

use std::borrow::Cow;

use super::json::push_json_string;
use super::kind::ResourceType;
use crate::error::{Error, Kind};

/// `OperationOutcome.issue.severity` (value set `issue-severity`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Nothing went on after it.
    Fatal,
    /// The action failed.
    Error,
    /// It was done, perhaps not as meant.
    Warning,
    /// It was done.
    Information,
}

impl Severity {
    /// The code.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Fatal => "fatal",
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Information => "information",
        }
    }
}

/// `OperationOutcome.issue`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// How bad.
    pub severity: Severity,
    /// A code of the value set `issue-type`.
    pub code: &'static str,
    /// The element at fault in FHIRPath (names, positions in lists), or `http.` and a header's or parameter's name.
    pub expression: Option<String>,
    /// A sentence for the developer.
    pub diagnostics: Cow<'static, str>,
}

impl Issue {
    /// An issue of severity `error` without an expression.
    pub fn error(code: &'static str, diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Issue { severity: Severity::Error, code, expression: None, diagnostics: diagnostics.into() }
    }
}

/// Why a body is no resource; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub Vec<Issue>);

impl Invalid {
    /// 400 where the body is not FHIR at all (an issue of code `structure`), 422 where it is against the rules of its content
    /// (R4 section 3.1.0.8, create).
    pub fn status(&self) -> u16 {
        if self.is_syntax() { 400 } else { 422 }
    }

    fn is_syntax(&self) -> bool {
        self.0.iter().any(|issue| issue.code == "structure")
    }

    /// The outcome to answer with.
    pub fn to_outcome(&self) -> OperationOutcome {
        OperationOutcome { issues: self.0.clone() }
    }

    /// The first issue as an error, for callers that carry one; the others are lost. (Not a `From`: with a second one, `?` in
    /// front of a generic result would no longer know its type.)
    pub fn into_error(self) -> Error {
        let kind = if self.is_syntax() { Kind::Invalid } else { Kind::Unprocessable };
        match self.0.into_iter().next() {
            Some(issue) => Error { field: issue.expression, ..Error::new(kind, issue.diagnostics) },
            None => Error::new(kind, "not a resource of FHIR R4"),
        }
    }
}

/// `OperationOutcome`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationOutcome {
    /// At least one, as R4 wants it.
    pub issues: Vec<Issue>,
}

impl From<&Error> for OperationOutcome {
    fn from(error: &Error) -> Self {
        let expression = error.field.as_deref().map(expression_of);
        let diagnostics = error.message.clone();
        OperationOutcome { issues: vec![Issue { expression, ..Issue::error(error.issue_code(), diagnostics) }] }
    }
}

impl From<Invalid> for OperationOutcome {
    fn from(invalid: Invalid) -> Self {
        OperationOutcome { issues: invalid.0 }
    }
}

/// FHIRPath as it is; anything else is a header or parameter, `http.` and its name (R4 OperationOutcome.issue.expression
/// and .location).
fn expression_of(field: &str) -> String {
    let head = field.split(['.', '[']).next().unwrap_or_default();
    let element = ResourceType::parse(head).is_some() || field == "resourceType" || head == "http";
    if element { field.into() } else { ["http.", field].concat() }
}

impl OperationOutcome {
    /// An outcome that says all went well.
    pub fn success(diagnostics: impl Into<Cow<'static, str>>) -> Self {
        let issue = Issue { severity: Severity::Information, ..Issue::error("informational", diagnostics) };
        OperationOutcome { issues: vec![issue] }
    }

    /// The resource as JSON.
    pub fn to_json(&self) -> String {
        let mut out = String::from("{\"resourceType\":\"OperationOutcome\",\"issue\":[");
        for (index, issue) in self.issues.iter().enumerate() {
            out.push_str(if index > 0 { ",{\"severity\":" } else { "{\"severity\":" });
            push_json_string(&mut out, issue.severity.as_str());
            out.push_str(",\"code\":");
            push_json_string(&mut out, issue.code);
            if !issue.diagnostics.is_empty() {
                out.push_str(",\"diagnostics\":");
                push_json_string(&mut out, &issue.diagnostics);
            }
            if let Some(expression) = issue.expression.as_deref().filter(|text| !text.is_empty()) {
                out.push_str(",\"expression\":[");
                push_json_string(&mut out, expression);
                out.push(']');
            }
            out.push('}');
        }
        out.push_str("]}");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::Resource;

    #[test]
    fn errors_become_outcomes_that_are_resources() {
        let cases = [
            (Error::invalid("If-Match", "an \"ETag\" is W/\"1\""), "invalid", Some("http.If-Match")),
            (
                Error::new(Kind::Unprocessable, "m").at("Patient.name[0].given"),
                "business-rule",
                Some("Patient.name[0].given"),
            ),
            (Error::new(Kind::Invalid, "m").at("resourceType"), "invalid", Some("resourceType")),
            (Error::new(Kind::Invalid, "m").at("_count"), "invalid", Some("http._count")),
            (Error::new(Kind::Gone, "m"), "deleted", None),
        ];
        for (error, code, expression) in cases {
            let json = OperationOutcome::from(&error).to_json();
            let outcome = Resource::parse(json.as_bytes()).unwrap();
            assert_eq!(outcome.str_at(&["issue", "code"]), Some(code));
            assert_eq!(outcome.str_at(&["issue", "expression"]), expression);
            assert_eq!(outcome.str_at(&["issue", "diagnostics"]), Some(&*error.message));
        }
        assert!(Resource::parse(OperationOutcome::success("done").to_json().as_bytes()).is_ok());
    }

    #[test]
    fn status_follows_the_worst_issue() {
        let value = Issue::error("value", "m");
        let syntax = Issue::error("structure", "m");
        assert_eq!(Invalid(vec![value.clone()]).status(), 422);
        assert_eq!(Invalid(vec![value.clone(), syntax]).status(), 400);
        assert_eq!(Invalid(vec![value]).into_error().status(), 422);
    }
}
