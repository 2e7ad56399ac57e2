//! The processes of the demo: a server and agents, each this very program, with their output in a file each.
//!
//! They die with the [`Crew`] unless it is left to run, or by its [`Stopper`]. They are in the terminal's foreground
//! group, so Ctrl-C, and the end of the terminal, reach them as they reach us.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::exit::Exit;
use crate::lock::lock;
use crate::names::printable;
use crate::settings::{AGENT, SERVER};

/// Between two looks at a process that starts.
const LOOK_TIME: Duration = Duration::from_millis(10);
/// In this time a process has started, or never will.
const START_TIME: Duration = Duration::from_secs(20);

/// More than the files that are made beside it.
const REMOVE_TRIES: u32 = 100;

/// Which of the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `towline server`.
    Server,
    /// `towline agent`.
    Agent,
}

/// The processes that were started.
pub struct Crew {
    program: PathBuf,
    folder: PathBuf,
    members: Arc<Mutex<Members>>,
}

/// Nothing once they are left to run, or have been stopped: then nobody stops them any more.
type Members = Option<Vec<Member>>;

/// Ends a [`Crew`] from another thread.
pub struct Stopper {
    folder: PathBuf,
    members: Arc<Mutex<Members>>,
}

struct Member {
    name: String,
    child: Child,
}

impl Member {
    /// Its name, when it has ended.
    fn ended(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(_)) | Err(_) => Some(self.name.clone()),
        }
    }
}

/// Why a process did not start.
#[derive(Debug)]
pub enum CrewError {
    /// The system did not let us.
    Io {
        /// What we were doing.
        doing: String,
        /// Why not.
        error: io::Error,
    },
    /// It ended, or did not say what it should have said in time.
    Silent {
        /// Which one.
        name: String,
        /// The last line of its output.
        last: String,
    },
}

impl fmt::Display for CrewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CrewError::Io { doing, error } => write!(f, "cannot {doing}: {error}"),
            CrewError::Silent { name, last } => write!(f, "{name} did not start: {}", printable(last)),
        }
    }
}

impl std::error::Error for CrewError {}

impl Crew {
    /// Nobody yet; their output will go to `folder`, which is their working directory too.
    ///
    /// # Errors
    /// When this program does not know where it is.
    pub fn new(folder: &Path) -> Result<Crew, CrewError> {
        let program = std::env::current_exe()
            .map_err(|error| CrewError::Io { doing: "find this program".to_owned(), error })?;
        let members = Arc::new(Mutex::new(Some(Vec::new())));
        Ok(Crew { program, folder: folder.to_owned(), members })
    }

    /// What ends it from another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper { folder: self.folder.clone(), members: self.members.clone() }
    }

    /// Starts one more, with `settings` and no other.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self, role: Role, name: &str, settings: &[(&str, &str)]) -> Result<(), CrewError> {
        let word = match role {
            Role::Server => "server",
            Role::Agent => "agent",
        };
        let failed = |error| CrewError::Io { doing: format!("start {name}"), error };
        // Locked from before it is there until it is counted: a stopper misses nobody.
        let mut members = lock(&self.members);
        let log = File::create(self.log(name)).map_err(failed)?;
        let mut command = Command::new(&self.program);
        command.arg(word).current_dir(&self.folder).stdin(Stdio::null());
        command.stdout(log.try_clone().map_err(failed)?).stderr(log);
        // What is set for this user's own server must not reach a demo.
        for setting in SERVER.settings.iter().chain(AGENT.settings) {
            for name in setting.names() {
                command.env_remove(name);
            }
        }
        let child = command.envs(settings.iter().copied()).spawn().map_err(failed)?;
        members.get_or_insert_default().push(Member { name: name.to_owned(), child });
        Ok(())
    }

    /// Waits until `probe` has an answer, which it looks for in the output of `name`.
    ///
    /// # Errors
    /// When any process ends, or the answer does not come in time.
    pub fn wait_for<T>(
        &mut self,
        name: &str,
        mut probe: impl FnMut(&str) -> Option<T>,
    ) -> Result<T, CrewError> {
        let started = Instant::now();
        loop {
            let output = fs::read_to_string(self.log(name)).unwrap_or_default();
            if let Some(answer) = probe(&output) {
                return Ok(answer);
            }
            let ended = {
                let mut members = lock(&self.members);
                members.iter_mut().flatten().find_map(Member::ended)
            };
            let silent = match ended {
                Some(name) => name,
                None if started.elapsed() > START_TIME => name.to_owned(),
                None => {
                    thread::sleep(LOOK_TIME);
                    continue;
                }
            };
            let output = fs::read_to_string(self.log(&silent)).unwrap_or_default();
            let last = output.lines().last().unwrap_or("it said nothing").to_owned();
            return Err(CrewError::Silent { name: silent, last });
        }
    }

    /// The process ids, in the order of starting.
    pub fn pids(&self) -> Vec<u32> {
        lock(&self.members).iter().flatten().map(|member| member.child.id()).collect()
    }

    /// Lets all of them run on, without us.
    pub fn leave(self) {
        drop(lock(&self.members).take());
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        kill(lock(&self.members).take());
    }
}

/// Agents first, so that none of them logs that its server went away.
fn kill(members: Members) {
    for mut member in members.into_iter().flatten().rev() {
        if let Err(error) = member.child.kill().and_then(|()| member.child.wait()) {
            eprintln!("towline demo: cannot stop {} (pid {}): {error}", member.name, member.child.id());
        }
    }
}

impl Stopper {
    /// Kills all, removes their folder and ends this process; does nothing when they are left to run, or have been
    /// stopped by their owner, who ends it then.
    pub fn stop(self) {
        // Held to the end: whoever would start one more waits for it, and goes with the process.
        let mut members = lock(&self.members);
        if members.is_none() {
            return;
        }
        kill(members.take());
        let folder = self.folder.display();
        match remove(&self.folder) {
            Ok(()) => eprintln!("towline demo: stopped, and {folder} is removed"),
            Err(error) => eprintln!("towline demo: stopped; cannot remove {folder}: {error}"),
        }
        std::process::exit(Exit::Failed.code().into());
    }
}

/// Removes `folder` while our other thread may still make files in it: it makes a few, so this has an end.
fn remove(folder: &Path) -> io::Result<()> {
    let mut tries = 0;
    loop {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && tries < REMOVE_TRIES => {
                tries += 1
            }
            done => return done,
        }
    }
}
