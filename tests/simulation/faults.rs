//! What goes wrong, and who wants what, at random moments.

use towline::transfer::Status;

use crate::coverage::Seen;
use crate::disk::Crash;
use crate::operator::{Operation, Wish};
use crate::plan::Rates;
use crate::scene::trace;
use crate::server::Stopping;
use crate::wire::{Cut, Down, Up};
use crate::world::World;

const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;

impl World {
    /// Rolls the dice for each fault.
    pub fn disturb(&mut self) {
        type Fault = (fn(&Rates) -> u64, fn(&mut World));
        let faults: [Fault; 15] = [
            (|rates| rates.order, World::order),
            (|rates| rates.cancel, World::cancel),
            (|rates| rates.line_cut, World::cut_line),
            (|rates| rates.server_crash, World::crash_server),
            (|rates| rates.server_stop, World::stop_server),
            (|rates| rates.agent_restart, World::restart_agent),
            (|rates| rates.agent_away, World::send_agent_away),
            (|rates| rates.agent_stall, World::stall_agent),
            (|rates| rates.payload_damage, World::damage_payload),
            (|rates| rates.part_damage, World::damage_part),
            (|rates| rates.download_damage, World::damage_download),
            (|rates| rates.file_change, World::change_file),
            (|rates| rates.file_change_in_transfer, World::change_file_in_transfer),
            (|rates| rates.disk_trouble, World::trouble_disk),
            (|rates| rates.no_room, World::fill_disk),
        ];
        for (rate, fault) in faults {
            let rate = rate(&self.scene.plan.rates);
            if self.scene.dice.one_in(rate) {
                fault(self);
            }
        }
    }

    pub fn order(&mut self) {
        let (Some(server), scene) = (&mut self.server, &mut self.scene) else { return };
        let most = if scene.plan.has_large_file { 3 } else { 16 };
        if scene.ledger.known.len() >= most {
            return;
        }
        let client = &self.clients[scene.dice.index(self.clients.len())];
        let key = client.shelf.keys[scene.dice.index(client.shelf.keys.len())].clone();
        let queue_for_ms = scene.dice.one_in(2).then(|| scene.dice.pick(&[5 * SECOND, HOUR, 40 * HOUR]));
        let max_rate = scene.dice.one_in(20).then_some(1_000_000);
        let wish = Wish { client: client.id.clone(), key, queue_for_ms, max_rate };
        let operation = Operation::order(wish, server, scene);
        server.operations.extend(operation);
    }

    fn cancel(&mut self) {
        let (Some(server), scene) = (&mut self.server, &mut self.scene) else { return };
        let released =
            scene.ledger.known.iter().filter(|(_, known)| known.is_released && known.end.is_none());
        let ids: Vec<_> = released.map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return;
        }
        let id = scene.dice.pick(&ids);
        let operation = Operation::cancel(id, server, scene);
        server.operations.extend(operation);
    }

    fn cut_line(&mut self) {
        let connected: Vec<usize> = self.clients.iter().filter_map(|client| client.line).collect();
        if connected.is_empty() {
            return;
        }
        let scene = &mut self.scene;
        let line = scene.dice.pick(&connected);
        let how = scene.dice.pick(&[Cut::Both, Cut::Both, Cut::AgentOnly, Cut::ServerOnly]);
        trace!(scene, "fault: line {line} is cut, {how:?}");
        scene.note(Seen::LineCut);
        scene.lines[line].cut(&mut scene.dice, scene.time, how);
    }

    fn crash_server(&mut self) {
        if self.server.is_none() {
            return;
        }
        let crash = self.scene.dice.pick(&[Crash::Kill, Crash::PowerCut]);
        match self.scene.dice.one_in(2) {
            true => self.crash(crash),
            false => self.scene.disk.crash_after = Some(self.scene.dice.below(8)),
        }
        let (None, scene) = (&self.server, &mut self.scene) else { return };
        let ids: Vec<_> = scene.disk.folders().collect();
        if !ids.is_empty() && scene.dice.one_in(30) {
            let id = scene.dice.pick(&ids);
            trace!(scene, "fault: the record of {id} is damaged");
            scene.disk.damage_record(id);
            scene.ledger.of(id).is_record_damaged = true;
        }
    }

    fn stop_server(&mut self) {
        let (Some(server), scene) = (&mut self.server, &mut self.scene) else { return };
        if server.stopping.is_none() {
            trace!(scene, "server: is asked to stop");
            server.hub.stop();
            server.stopping = Some(Stopping::Until(scene.time + scene.dice.between(0, 20 * SECOND)));
        }
    }

    fn restart_agent(&mut self) {
        let scene = &mut self.scene;
        let number = scene.dice.index(self.clients.len());
        let client = &mut self.clients[number];
        if let Some(line) = client.line {
            let how = scene.dice.pick(&[Cut::Both, Cut::AgentOnly]);
            scene.note(Seen::AgentRestarted);
            scene.lines[line].cut(&mut scene.dice, scene.time, how);
            client.restart(scene);
        }
    }

    /// It stays away for a while, now and then for longer than its transfers wait.
    fn send_agent_away(&mut self) {
        let scene = &mut self.scene;
        let number = scene.dice.index(self.clients.len());
        let client = &mut self.clients[number];
        if let Some(line) = client.line {
            scene.lines[line].cut(&mut scene.dice, scene.time, Cut::Both);
            client.restart(scene);
            client.dials_at = scene.time + scene.dice.pick(&[20 * SECOND, HOUR, 30 * HOUR]);
            trace!(scene, "fault: {} is away until {}", client.id, client.dials_at);
        }
    }

    fn stall_agent(&mut self) {
        let scene = &mut self.scene;
        let number = scene.dice.index(self.clients.len());
        let client = &mut self.clients[number];
        let until = scene.time + scene.dice.pick(&[10 * SECOND, 70 * SECOND, 200 * SECOND]);
        trace!(scene, "fault: {} stalls until {until}", client.id);
        match scene.dice.one_in(4) {
            true => client.deaf_until = until,
            false => client.stalls_until = until,
        }
    }

    /// A bit changes on its way, in a chunk or in a list of hashes.
    fn damage_payload(&mut self) {
        let scene = &mut self.scene;
        let mut payloads: Vec<&mut Vec<u8>> = Vec::new();
        for line in &mut scene.lines {
            payloads.extend(line.to_server.iter_mut().filter_map(|message| match message {
                Up::Chunk(_, payload) if !payload.is_empty() => Some(payload),
                Up::Chunk(..) | Up::Text(_) => None,
            }));
            payloads.extend(line.to_agent.iter_mut().filter_map(|message| match message {
                Down::Hashes(_, payload) if !payload.is_empty() => Some(payload),
                Down::Hashes(..) | Down::Text(_) => None,
            }));
        }
        if payloads.is_empty() {
            return;
        }
        let which = scene.dice.index(payloads.len());
        let at = scene.dice.index(payloads[which].len());
        payloads[which][at] ^= 1 << scene.dice.below(8);
        scene.note(Seen::PayloadCorrupted);
        scene.ledger.known.values_mut().for_each(|known| known.is_disturbed = true);
        trace!(scene, "fault: a payload is damaged");
    }

    /// A part that nobody writes to changes on the disk.
    fn damage_part(&mut self) {
        let (Some(server), scene) = (&self.server, &mut self.scene) else { return };
        let is_resting = |id: &_| {
            let status = server.hub.transfer(*id).map(|transfer| transfer.status);
            matches!(status, Some(Status::Interrupted | Status::Queued)) && scene.disk.has_part(*id)
        };
        let ids: Vec<_> = scene.disk.folders().filter(is_resting).collect();
        if ids.is_empty() {
            return;
        }
        let id = scene.dice.pick(&ids);
        scene.ledger.of(id).is_disturbed = true;
        scene.note(Seen::PartCorrupted);
        let what = scene.dice.below(4);
        trace!(scene, "fault: the part of {id} is damaged ({what})");
        if what == 0 {
            scene.disk.remove_part(id);
            return;
        }
        let Some(file) = scene.disk.part_file(id) else { return };
        let mut file = file.borrow_mut();
        let length = file.bytes.len();
        match what {
            1 => file.set_length(length / 2),
            2 => file.write_at(&scene.dice.bytes(3000), length),
            _ if length > 0 => {
                let at = scene.dice.index(length);
                file.bytes[at] ^= 0x40;
            }
            _ => {}
        }
    }

    /// Somebody changes or removes a download.
    fn damage_download(&mut self) {
        let scene = &mut self.scene;
        let is_completed = |id| scene.ledger.known[id].end.is_some_and(|(end, _)| end == Status::Completed);
        let names = scene.disk.downloads.keys().filter(|name| is_completed(&scene.ledger.names[*name]));
        let names: Vec<String> = names.cloned().collect();
        if names.is_empty() {
            return;
        }
        let name = &names[scene.dice.index(names.len())];
        trace!(scene, "fault: the download {name} is damaged");
        scene.note(Seen::DownloadTampered);
        let id = scene.ledger.names[name];
        scene.ledger.of(id).is_download_damaged = true;
        scene.ledger.known.values_mut().for_each(|known| known.is_disturbed = true);
        if scene.dice.one_in(3) {
            scene.disk.downloads.remove(name);
            return;
        }
        let mut file = scene.disk.downloads[name].borrow_mut();
        let length = file.bytes.len();
        match scene.dice.below(3) {
            0 => file.set_length(length / 2),
            _ if length > 0 => {
                let at = scene.dice.index(length);
                file.bytes[at] ^= 0x10;
            }
            _ => {}
        }
        file.sync();
    }

    fn change_file(&mut self) {
        let number = self.scene.dice.index(self.clients.len());
        self.change_file_of(number);
    }

    fn change_file_in_transfer(&mut self) {
        let sending: Vec<usize> =
            (0..self.clients.len()).filter(|number| !self.clients[*number].senders.is_empty()).collect();
        if !sending.is_empty() {
            let number = self.scene.dice.pick(&sending);
            self.change_file_of(number);
        }
    }

    fn change_file_of(&mut self, number: usize) {
        let (scene, client) = (&mut self.scene, &mut self.clients[number]);
        let what = client.shelf.change(&mut scene.dice, scene.step);
        trace!(scene, "{}: a file {what}", client.id);
    }

    fn trouble_disk(&mut self) {
        let disk = &mut self.scene.disk;
        disk.trouble_in = if disk.trouble_in > 0 { 0 } else { self.scene.dice.pick(&[1, 3, 10]) };
        trace!(self.scene, "fault: one write in {} fails", self.scene.disk.trouble_in);
    }

    fn fill_disk(&mut self) {
        let disk = &mut self.scene.disk;
        disk.room = if disk.room < u64::MAX { u64::MAX } else { self.scene.dice.below(100_000) };
        trace!(self.scene, "fault: there is room for {} bytes", self.scene.disk.room);
    }
}
