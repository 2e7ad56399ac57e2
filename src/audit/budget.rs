//! What must not fill the disk: lines that anybody can cause have a budget for each kind, and what is left out is counted.
//! Pure; times are milliseconds of any clock that never goes backwards.

use std::time::Duration;

use serde::Serialize;

use crate::limits;

/// Events that share a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Requests to the API without a valid key.
    Strangers,
    /// Refused requests of those who have one.
    Refusals,
    /// Agents that were not let in.
    AgentsRefused,
    /// Lines of agents that came and went.
    Lines,
    /// What a server asks of an agent.
    Asked,
}

/// Lines of a kind that were left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename = "left_out")]
pub(super) struct LeftOut {
    pub(super) kind: Kind,
    pub(super) count: u64,
}

/// All budgets.
#[derive(Debug)]
pub(super) struct Budgets([Budget; 5]);

#[derive(Debug)]
struct Budget {
    kind: Kind,
    burst_ms: u64,
    each_ms: u64,
    /// When all of it is there again.
    whole_at: u64,
    left_out: u64,
    /// When that is to be said.
    due: Option<u64>,
}

impl Default for Budgets {
    fn default() -> Budgets {
        let kinds = [Kind::Strangers, Kind::Refusals, Kind::AgentsRefused, Kind::Lines, Kind::Asked];
        Budgets(kinds.map(|kind| {
            let (burst, each): (u64, Duration) = match kind {
                Kind::Strangers | Kind::AgentsRefused => limits::AUDIT_STRANGERS,
                Kind::Refusals => limits::AUDIT_REFUSALS,
                Kind::Lines => limits::AUDIT_LINES,
                Kind::Asked => limits::AUDIT_ASKED,
            };
            let each_ms = each.as_millis() as u64;
            Budget { kind, burst_ms: burst * each_ms, each_ms, whole_at: 0, left_out: 0, due: None }
        }))
    }
}

impl Budgets {
    /// Whether there is a line for one more of this kind, of so many bytes; otherwise it is counted.
    pub(super) fn allow(&mut self, kind: Kind, bytes: usize, now: u64) -> bool {
        let budget = self.0.iter_mut().find(|budget| budget.kind == kind).expect("each kind has one");
        let lines = bytes.div_ceil(limits::AUDIT_LINE_BYTES).max(1) as u64;
        let whole_at = budget.whole_at.max(now) + lines * budget.each_ms;
        if whole_at - now <= budget.burst_ms {
            budget.whole_at = whole_at;
            return true;
        }
        budget.left_out += 1;
        budget.due.get_or_insert(now + limits::AUDIT_COUNT_PAUSE.as_millis() as u64);
        false
    }

    /// What was left out and is to be said by now.
    pub(super) fn take_due(&mut self, now: u64) -> Vec<LeftOut> {
        let due = self.0.iter_mut().filter(|budget| budget.due.is_some_and(|due| due <= now));
        due.map(|budget| {
            budget.due = None;
            LeftOut { kind: budget.kind, count: std::mem::take(&mut budget.left_out) }
        })
        .collect()
    }

    /// When there is something to say.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.0.iter().filter_map(|budget| budget.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_has_a_burst_of_lines_then_few_and_a_count() {
        let mut budgets = Budgets::default();
        let (burst, each) = limits::AUDIT_STRANGERS;
        let each = each.as_millis() as u64;
        // A thousand a second, for ten minutes.
        let (mut lines, mut counted) = (0, 0);
        for now in 0..600_000 {
            lines += u64::from(budgets.allow(Kind::Strangers, 100, now));
            for left_out in budgets.take_due(now) {
                assert_eq!(left_out.kind, Kind::Strangers);
                counted += left_out.count;
            }
        }
        assert_eq!(lines, burst + 600_000 / each - 1);
        assert!(budgets.next_due().is_some());
        counted += budgets.take_due(u64::MAX).iter().map(|left_out| left_out.count).sum::<u64>();
        assert_eq!(lines + counted, 600_000, "each is a line or is counted");
        assert_eq!((budgets.next_due(), budgets.take_due(u64::MAX)), (None, vec![]));
        // Others have budgets of their own, and this one fills again.
        assert!(
            budgets.allow(Kind::AgentsRefused, 100, 600_000) && budgets.allow(Kind::Refusals, 100, 600_000)
        );
        let later = 600_000 + burst * each;
        assert!((0..burst).all(|_| budgets.allow(Kind::Strangers, 100, later)));
        assert!(!budgets.allow(Kind::Strangers, 100, later));
    }

    #[test]
    fn a_fleet_that_comes_back_twice_at_once_is_all_there() {
        let mut budgets = Budgets::default();
        assert!((0..4 * 16_365).all(|_| budgets.allow(Kind::Lines, 100, 7)));
    }

    #[test]
    fn a_long_line_counts_as_several() {
        let mut budgets = Budgets::default();
        let long = 10 * limits::AUDIT_LINE_BYTES;
        let (burst, _) = limits::AUDIT_ASKED;
        assert!((0..burst / 10).all(|_| budgets.allow(Kind::Asked, long, 7)));
        assert!(!budgets.allow(Kind::Asked, 1, 7));
    }
}
