//! What the clinic's object watches by: the deployment's rules.

use crate::config::alerts::Rules;

/// The watch over all patients, in the memory of the clinic's object.
#[derive(Debug)]
pub struct Watch {
    /// How alerts are pushed and escalated.
    pub rules: Rules,
}

impl Watch {
    /// A watch by these rules.
    pub fn new(rules: Rules) -> Watch {
        Watch { rules }
    }
}
