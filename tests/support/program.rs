//! A program under test: started with nothing but the settings given, its output kept line by line, killed on drop.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

use super::wait::{Deadline, SOON, within};

/// Both output streams in order of arrival; wakes whoever waits at each line and at the end of a stream.
#[derive(Default)]
struct Output {
    captured: Mutex<Captured>,
    changed: Condvar,
}

#[derive(Default)]
struct Captured {
    lines: Vec<String>,
    /// All of it, to the byte.
    bytes: Vec<u8>,
    ended_streams: u8,
}

/// What a program may leak.
#[derive(Debug, Clone, Copy)]
pub struct Holds {
    pub threads: u64,
    pub descriptors: usize,
}

impl Holds {
    pub fn is_within(self, bound: Holds) -> bool {
        self.threads <= bound.threads && self.descriptors <= bound.descriptors
    }
}

/// A running program.
pub struct Program {
    name: &'static str,
    child: Child,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
}

impl Program {
    pub fn start(
        name: &'static str,
        exe: &str,
        args: &[&str],
        settings: &[(&str, &str)],
        dir: &Path,
    ) -> Program {
        let mut command = Command::new(exe);
        command.args(args).env_clear().envs(settings.iter().copied()).current_dir(dir);
        Program::spawn(name, command).expect("the program starts")
    }

    /// The same of a command that is made, as of another user.
    pub fn spawn(name: &'static str, mut command: Command) -> std::io::Result<Program> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let output = Arc::new(Output::default());
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        let readers = vec![read_lines(stdout, &output), read_lines(stderr, &output)];
        Ok(Program { name, child, output, readers })
    }

    /// Waits for a line that contains `part`, and returns it whole.
    #[track_caller]
    pub fn wait_line(&self, part: &str) -> String {
        self.wait_nth_line(part, 1)
    }

    /// Waits for the `nth` line (from 1) that contains `part`.
    #[track_caller]
    pub fn wait_nth_line(&self, part: &str, nth: usize) -> String {
        let found = self.wait_for(|captured| {
            captured.lines.iter().filter(|line| line.contains(part)).nth(nth - 1).cloned()
        });
        found.unwrap_or_else(|| panic!("{} never printed line {nth} with {part:?}", self.name))
    }

    /// Waits until the program has ended, and returns its exit code.
    #[track_caller]
    pub fn wait_exit(&mut self) -> i32 {
        let ended = self.wait_for(|captured| (captured.ended_streams == 2).then_some(()));
        assert!(ended.is_some(), "{} did not end", self.name);
        let status = self.child.wait().expect("a child can be waited for");
        status.code().unwrap_or_else(|| panic!("{} ended by a signal: {status}", self.name))
    }

    /// Whether it has ended, as far as its output tells.
    pub fn has_ended(&self) -> bool {
        self.output.captured.lock().expect("no reader panicked").ended_streams == 2
    }

    /// Everything printed so far.
    pub fn output(&self) -> String {
        self.output.captured.lock().expect("no reader panicked").lines.join("\n")
    }

    /// The same to the byte.
    pub fn raw_output(&self) -> Vec<u8> {
        self.output.captured.lock().expect("no reader panicked").bytes.clone()
    }

    /// Ends it without a chance to tidy up.
    pub fn kill(&mut self) {
        self.child.kill().expect("our own child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("our own child takes a signal");
    }

    /// A number from the kernel's status of the process, such as `Threads` or `VmHWM` (in kB).
    pub fn status(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        let status = std::fs::read_to_string(path).expect("the process is alive");
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        number.unwrap_or_else(|| panic!("no {name} in {status}"))
    }

    /// How often its threads have gone to sleep and been woken: a program that waits for nothing stays at a number.
    pub fn wake_ups(&self) -> u64 {
        let path = format!("/proc/{}/task", self.pid().as_raw_nonzero());
        let threads = std::fs::read_dir(path).expect("the process is alive");
        let statuses = threads.flatten().filter_map(|thread| {
            std::fs::read_to_string(thread.path().join("status")).ok() // a thread may have ended since
        });
        let counts = statuses.flat_map(|status| {
            let lines = status.lines().filter_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            lines.filter_map(|count| count.trim().parse::<u64>().ok()).collect::<Vec<_>>()
        });
        counts.sum()
    }

    /// How many descriptors it holds.
    pub fn descriptors(&self) -> usize {
        let path = format!("/proc/{}/fd", self.pid().as_raw_nonzero());
        std::fs::read_dir(path).expect("the process is alive").count()
    }

    /// What it holds now.
    pub fn holds(&self) -> Holds {
        Holds { threads: self.status("Threads"), descriptors: self.descriptors() }
    }

    /// Waits until it holds no more than `before`: threads that served a caller may rest for some seconds.
    #[track_caller]
    pub fn holds_no_more_than(&self, before: Holds) {
        within(SOON + SOON, &format!("{} holds no more than {before:?}", self.name), || {
            self.holds().is_within(before).then_some(())
        });
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn wait_for<T>(&self, find: impl Fn(&Captured) -> Option<T>) -> Option<T> {
        let deadline = Deadline::soon();
        let mut captured = self.output.captured.lock().expect("no reader panicked");
        loop {
            let found = find(&captured);
            if found.is_some() || captured.ended_streams == 2 || deadline.passed() {
                return found;
            }
            let waited = self.output.changed.wait_timeout(captured, deadline.left());
            captured = waited.expect("no reader panicked").0;
        }
    }
}

fn read_lines(stream: impl Read + Send + 'static, output: &Arc<Output>) -> JoinHandle<()> {
    let output = Arc::clone(output);
    std::thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            let mut captured = output.captured.lock().expect("no waiter panicked");
            captured.lines.push(text);
            captured.bytes.extend_from_slice(&line);
            drop(captured);
            output.changed.notify_all();
            line.clear();
        }
        output.captured.lock().expect("no waiter panicked").ended_streams += 1;
        output.changed.notify_all();
    })
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        if std::thread::panicking() {
            eprintln!("--- {} printed ---\n{}\n---", self.name, self.output());
        }
    }
}
