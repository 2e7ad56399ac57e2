//! `towline-agent` with a folder of its own.

use super::program::Program;
use super::server::{SECRET, Server};
use super::temp::TempDir;

/// A running agent.
pub struct Agent {
    pub program: Program,
    pub home: TempDir,
}

impl Agent {
    /// Starts it against `url` with these settings beside the secret; does not wait.
    pub fn start(url: &str, client_id: &str, settings: &[(&str, &str)]) -> Agent {
        Agent::start_in(TempDir::new(), url, client_id, settings)
    }

    /// The same in a folder that the test has filled.
    pub fn start_in(home: TempDir, url: &str, client_id: &str, settings: &[(&str, &str)]) -> Agent {
        let mut all = vec![("SERVER_URL", url), ("CLIENT_ID", client_id), ("AUTH_SECRET", SECRET)];
        all.extend_from_slice(settings);
        let exe = env!("CARGO_BIN_EXE_towline-agent");
        let program = Program::start("towline-agent", exe, &[], &all, &home);
        Agent { program, home }
    }

    /// Starts it with `file` of `home` as its `FILE_PATH`, and waits until the server lists it.
    #[track_caller]
    pub fn serving(server: &Server, client_id: &str, home: TempDir, settings: &[(&str, &str)]) -> Agent {
        let path = home.join("file");
        let mut all = vec![("FILE_PATH", path.to_str().expect("the test's folder has a plain name"))];
        all.extend_from_slice(settings);
        let agent = Agent::start_in(home, &server.url(), client_id, &all);
        server.lists_agent(client_id);
        agent
    }

    /// Ends it as a power cut would, and hands on its folder.
    pub fn kill(mut self) -> TempDir {
        self.program.kill();
        self.home
    }
}
