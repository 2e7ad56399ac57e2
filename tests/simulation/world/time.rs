//! How time passes when nobody has anything to do.

use super::World;
use crate::server::Stopping;

impl World {
    /// Nobody can do anything at this moment: time passes, or somebody wants something.
    pub(super) fn idle(&mut self) {
        if self.scene.dice.one_in(2) {
            self.order();
        } else if !self.let_time_pass() {
            self.scene.time += 1000;
        }
    }

    /// Time passes until something is due; false when nothing ever will be.
    pub(super) fn let_time_pass(&mut self) -> bool {
        let now = self.scene.time;
        let stall = self.scene.plan.config.stall_ms;
        let mut due: Vec<u64> = Vec::new();
        for client in &self.clients {
            due.extend([client.stalls_until, client.deaf_until]);
            match client.line {
                None => due.push(client.dials_at),
                Some(line) => due.extend(self.scene.lines[line].next_due(now)),
            }
        }
        match &self.server {
            None => due.push(self.starts_at),
            Some(server) => {
                due.extend(server.next_due());
                due.extend(server.writers.iter().filter_map(|writer| writer.due(stall)));
                due.extend(
                    server.sessions.iter().filter_map(|session| self.scene.lines[session.line].next_due(now)),
                );
                match server.stopping {
                    Some(Stopping::Until(at) | Stopping::Closing(at)) => due.push(at),
                    None => {}
                }
            }
        }
        let next = due.into_iter().filter(|at| *at > now && *at < u64::MAX).min();
        self.scene.time = next.unwrap_or(now);
        next.is_some()
    }
}
