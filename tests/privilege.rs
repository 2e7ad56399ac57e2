//! Both programs as a user without rights, and what they say when they are root.
#![allow(clippy::unwrap_used, reason = "clippy's leave for tests does not reach their helpers")]

mod support;

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use support::agent::Agent;
use support::files::random_file;
use support::program::Program;
use support::server::{SECRET, Server, id};
use support::temp::TempDir;

/// Debian's `nobody`; any number that owns nothing would do.
const NOBODY: u32 = 65_534;
const WARNING: &str = "this runs as root";

/// Starts `exe` as nobody in `home`. Nothing, and a word on stderr, where we are not root or nobody can't get at it.
fn as_nobody(exe: &str, home: &Path, settings: &[(&str, &str)]) -> Option<Program> {
    let mut command = Command::new(exe);
    command.env_clear().envs(settings.iter().copied()).current_dir(home).uid(NOBODY).gid(NOBODY);
    match Program::spawn("program of nobody", command) {
        Ok(program) => Some(program),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            eprintln!("SKIPPED: can't run {exe} as another user: {error}");
            None
        }
        Err(error) => panic!("{exe}: {error}"),
    }
}

fn give(path: &Path, owner: u32, mode: u32) {
    chown(path, Some(owner), Some(owner)).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn root_is_warned_of_once_and_nobody_else() {
    let server = Server::start(&[]);
    let agent = Agent::start(&server.url(), "shop-001", &[]);
    agent.program.wait_line("connected to");
    let expected = usize::from(rustix::process::geteuid().is_root());
    for program in [&server.program, &agent.program] {
        assert_eq!(program.output().matches(WARNING).count(), expected, "{}", program.output());
    }
}

#[test]
fn both_work_as_a_user_who_has_no_more_than_the_readme_says() {
    let (home, shop) = (TempDir::new(), TempDir::new());
    let uploads = home.join("uploads");
    fs::create_dir(&uploads).unwrap();
    let share = shop.join("share");
    fs::create_dir(&share).unwrap();
    let content = random_file(&share.join("shown"), 1, 3_000_000);
    random_file(&share.join("kept"), 2, 1000);
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: only root can start a program as another user");
    }
    give(&uploads, NOBODY, 0o700);
    give(&share.join("kept"), 0, 0o600);
    for path in [&*home, &*shop, &*share, &share.join("shown")] {
        give(path, 0, 0o755); // nobody may read, and write nothing
    }
    let settings = [
        ("HOST", "127.0.0.1"),
        ("PORT", "0"),
        ("AUTH_SECRET", SECRET),
        ("UPLOAD_DIR", uploads.to_str().unwrap()),
    ];
    let Some(program) = as_nobody(env!("CARGO_BIN_EXE_towline-server"), &home, &settings) else { return };
    let server = Server::of(program, uploads, home);
    let (url, shares) = (server.url(), format!("s={}", share.display()));
    let settings =
        [("SERVER_URL", &*url), ("CLIENT_ID", "shop-001"), ("AUTH_SECRET", SECRET), ("SHARES", &*shares)];
    let Some(agent) = as_nobody(env!("CARGO_BIN_EXE_towline-agent"), &shop, &settings) else { return };
    server.lists_agent("shop-001");

    let pull = |key: &str| id(&server.pull("shop-001", &json!({"fileKey": key})));
    server.assert_verified(&pull("s/shown"), &content);
    server.assert_failed(&pull("s/kept"), "permission_denied");

    for program in [&server.program, &agent] {
        assert!(!program.output().contains(WARNING) && program.status("Uid") == u64::from(NOBODY));
    }
}
