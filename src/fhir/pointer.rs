//! Reading JSON that is no resource of ours yet, or no more.

use serde_json::Value;

/// What is at a JSON pointer (RFC 6901); null where nothing is.
pub fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    value.pointer(path).unwrap_or(&Value::Null)
}
