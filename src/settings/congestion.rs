//! `CONGESTION_CONTROL`: who finds out how fast the agent's socket may send.

use crate::names::CongestionControl;

/// What the agent asks its kernel for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CongestionChoice {
    /// [`CongestionChoice::best`] where the kernel lets it, else what the system has set.
    Auto,
    /// What the system has set.
    System,
    /// This one.
    Named(CongestionControl),
}

impl CongestionChoice {
    /// What is wrong reads on from "expected".
    pub(super) fn parse(text: &str) -> Result<CongestionChoice, String> {
        match text {
            "auto" => Ok(CongestionChoice::Auto),
            "system" => Ok(CongestionChoice::System),
            name => name
                .parse()
                .map(CongestionChoice::Named)
                .map_err(|rule| format!("auto, system, or a name such as bbr or cubic: {rule}")),
        }
    }

    /// The one that `auto` asks for. The usual ones take each lost packet for a full line and slow down; this one measures
    /// what arrives, and when.
    pub fn best() -> CongestionControl {
        "bbr".parse().expect("it is a name")
    }
}
