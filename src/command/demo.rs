//! `towline demo`: a server and two agents as processes of this machine, one pull of each agent, shown step by step.

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::api::{Api, ApiError, PullBody};
use super::crew::{Crew, CrewError, Role};
use super::follow::{Job, Outcome, follow_all};
use super::view::View;
use super::{human, pull, sample, say};
use crate::encoding::hex;
use crate::exit::Exit;
use crate::hash::hash_all;
use crate::limits;
use crate::names::{ClientId, Sha256Hash};
use crate::random;
use crate::settings::{Flag, Given, OperatorSettings, Program, Secret, UsageError, value};
use crate::signals::on_stop;
use crate::transfer::{Status, Transfer};

/// `towline demo` as its user sees it.
pub const DEMO: Program = Program {
    name: "towline demo",
    about: "Shows how it works, on this machine: a server, two agents, verified pulls.",
    arguments: "",
    settings: &[],
    flags: &[
        Flag { name: "--size", takes: "SIZE", help: "size of the file of each agent [100M]" },
        Flag { name: "--keep", takes: "", help: "leave server and agents running, and say how to stop them" },
    ],
    notes: "\
All of it is in one temporary folder, on free ports of 127.0.0.1, and goes at the end, or on Ctrl-C, unless
--keep is given.
Exit codes: 0 done, 1 failed, 2 bad usage.",
};

const SHOPS: [&str; 2] = ["shop-001", "shop-002"];
const FILE_NAME: &str = "pos.db";
/// A signal has reached its thread after this.
const SIGNAL_TIME: Duration = Duration::from_millis(100);

/// Why the demo ended early.
#[derive(Debug)]
enum DemoError {
    Io {
        doing: String,
        error: io::Error,
    },
    Crew(CrewError),
    Api(ApiError),
    /// A transfer did not end with a verified file.
    Pull(String),
    /// The published file is not the source.
    Differs {
        client: ClientId,
        source: Sha256Hash,
        published: Sha256Hash,
    },
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DemoError::Io { doing, error } => write!(f, "cannot {doing}: {error}"),
            DemoError::Crew(error) => error.fmt(f),
            DemoError::Api(error) => error.fmt(f),
            DemoError::Pull(text) => f.write_str(text),
            DemoError::Differs { client, source, published } => {
                write!(f, "{client}: the source has SHA-256 {source}, what was published has {published}")
            }
        }
    }
}

impl From<CrewError> for DemoError {
    fn from(error: CrewError) -> DemoError {
        DemoError::Crew(error)
    }
}

impl From<ApiError> for DemoError {
    fn from(error: ApiError) -> DemoError {
        DemoError::Api(error)
    }
}

fn io_error(doing: impl Into<String>) -> impl FnOnce(io::Error) -> DemoError {
    let doing = doing.into();
    move |error| DemoError::Io { doing, error }
}

/// What runs, once it runs.
struct Stage {
    api: Api,
    url: String,
    key: String,
    /// The agents and the hashes of their files.
    shops: Vec<(ClientId, Sha256Hash)>,
}

/// Does the work of `towline demo`.
///
/// # Errors
/// When it was started wrongly.
pub fn run(given: &Given) -> Result<Exit, UsageError> {
    given.no_arguments()?;
    let size = given.parsed_flag("--size", |text| match value::size(text) {
        Ok(size) if size <= limits::MAX_SAMPLE_BYTES => Ok(size),
        Ok(_) => Err(format!("at most {}", human::bytes(limits::MAX_SAMPLE_BYTES))),
        Err(wanted) => Err(wanted.to_string()),
    })?;
    let folder = std::env::temp_dir().join(format!("towline-demo-{}", std::process::id()));
    let shown = show(&folder, size.unwrap_or(100_000_000), given.has_flag("--keep"));
    Ok(match shown {
        Ok(()) => Exit::Done,
        Err(error) => {
            eprintln!("{}: {error}; what there is of it is in {}", DEMO.name, folder.display());
            Exit::Failed
        }
    })
}

fn show(folder: &Path, size: u64, keep: bool) -> Result<(), DemoError> {
    // 0700: what is in there is as private as the files of a shop would be.
    let made = DirBuilder::new().mode(0o700).create(folder);
    made.map_err(io_error(format!("create {}", folder.display())))?;
    let mut crew = Crew::new(folder)?;
    let stopper = crew.stopper();
    on_stop(move || stopper.stop()).map_err(io_error("take signals"))?;
    say(&format!("A server and two agents on this machine, in {}\n", folder.display()));
    let played = play(&mut crew, folder, size, keep);
    if played.is_err() {
        // Ctrl-C reaches the crew too, and its end may be seen before our own signal is: the stopper goes first.
        thread::sleep(SIGNAL_TIME);
    }
    played?;
    if keep {
        let pids: Vec<String> = crew.pids().iter().map(u32::to_string).collect();
        crew.leave();
        say(&format!("\nIt all runs on. To end it: kill {}; rm -r {}", pids.join(" "), folder.display()));
    } else {
        drop(crew);
        fs::remove_dir_all(folder).map_err(io_error(format!("remove {}", folder.display())))?;
        say("\nStopped, and the folder is removed. `towline demo --keep` leaves it all running.");
    }
    Ok(())
}

fn play(crew: &mut Crew, folder: &Path, size: u64, keep: bool) -> Result<(), DemoError> {
    let stage = set(crew, folder, size)?;
    let transfers = perform(&stage)?;
    verify(&stage, &transfers)?;
    by_hand(&stage, &transfers[0], keep);
    Ok(())
}

/// Makes the files, starts the server and the agents, and waits until they have found each other.
fn set(crew: &mut Crew, folder: &Path, size: u64) -> Result<Stage, DemoError> {
    let started = Instant::now();
    let mut shops: Vec<(ClientId, Sha256Hash)> = Vec::new();
    for (seed, name) in SHOPS.iter().enumerate() {
        let logs = folder.join(name).join("logs");
        // One by one: a folder that a signal has removed must not come back.
        for made in [folder.join(name), logs.clone()] {
            fs::create_dir(&made).map_err(io_error(format!("create {}", made.display())))?;
        }
        let line = format!("{name} opened at 08:00\n");
        fs::write(logs.join("today.log"), line).map_err(io_error(format!("write to {}", logs.display())))?;
        let path = folder.join(name).join(FILE_NAME);
        let hash =
            sample::make(&path, size, seed as u64).map_err(io_error(format!("write {}", path.display())))?;
        shops.push((name.parse().expect("a client id"), hash));
    }
    let spent = human::span(started.elapsed().as_millis() as u64);
    say(&format!("1. Files   {} for each shop, of random bytes, in {spent}", human::bytes(size)));

    let key = hex(&random::bytes::<16>());
    let downloads = folder.join("downloads").to_string_lossy().into_owned();
    let settings = [
        ("AUTH_SECRET", key.as_str()),
        ("HOST", "127.0.0.1"),
        ("PORT", "0"),
        ("UPLOAD_DIR", downloads.as_str()),
    ];
    crew.start(Role::Server, "server", &settings)?;
    let port: u16 = crew.wait_for("server", port)?;
    let url = format!("http://127.0.0.1:{port}");
    say(&format!("2. Server  pid {}, listens on port {port} for agents and for its API", crew.pids()[0]));

    let started = Instant::now();
    let server_url = format!("ws://127.0.0.1:{port}/ws");
    for (name, _) in &shops {
        let home = folder.join(name.as_str());
        let file = home.join(FILE_NAME).to_string_lossy().into_owned();
        let shares = format!("logs={}", home.join("logs").display());
        let settings = [
            ("AUTH_SECRET", key.as_str()),
            ("SERVER_URL", server_url.as_str()),
            ("CLIENT_ID", name.as_str()),
            ("FILE_PATH", file.as_str()),
            ("SHARES", shares.as_str()),
        ];
        crew.start(Role::Agent, name.as_str(), &settings)?;
    }
    let settings = OperatorSettings { server: url.clone(), key: Secret::new(key.clone()), tls_ca: None };
    let api = Api::new(settings).expect("without TLS no file is read");
    // An error of the API ends the wait, and is told.
    crew.wait_for("server", |_| match api.clients() {
        Ok(clients) if clients.len() < shops.len() => None,
        other => Some(other),
    })??;
    let spent = human::span(started.elapsed().as_millis() as u64);
    let pids: Vec<String> = crew.pids()[1..].iter().map(u32::to_string).collect();
    let names = SHOPS.join(" and ");
    say(&format!(
        "3. Agents  {names}, pids {}, have dialled in after {spent}; they listen on no port",
        pids.join(" and ")
    ));
    Ok(Stage { api, url, key, shops })
}

/// The port in the server's line `Server running on port N`.
fn port(output: &str) -> Option<u16> {
    // The last line may be half written.
    let lines = &output[..output.rfind('\n')?];
    lines.lines().find_map(|line| line.strip_prefix("Server running on port ")?.parse().ok())
}

/// Pulls from all agents at once.
fn perform(stage: &Stage) -> Result<Vec<Transfer>, DemoError> {
    let body = PullBody::default();
    let mut jobs = Vec::new();
    for (client, _) in &stage.shops {
        jobs.push(Job { transfer: stage.api.pull(client, &body, random::request_id())?, target: None });
    }
    say("4. Pull    POST /download/CLIENT for both at once");
    let mut view = View::new(jobs.iter().map(|job| &job.transfer));
    let mut transfers: Vec<Option<Transfer>> = jobs.iter().map(|_| None).collect();
    let mut problem = None;
    follow_all(&stage.api, &jobs, &mut view, None, |index, outcome| match outcome {
        Outcome::Ended(transfer) | Outcome::Saved(transfer, _) if transfer.status == Status::Completed => {
            say(&format!("           {}", pull::spent(&transfer)));
            transfers[index] = Some(*transfer);
        }
        Outcome::Ended(transfer)
        | Outcome::Saved(transfer, _)
        | Outcome::NotSaved(transfer, _)
        | Outcome::GaveUp(transfer) => {
            problem = Some(DemoError::Pull(pull::ended(&transfer)));
        }
        Outcome::Lost(error) => problem = Some(DemoError::Api(error)),
        Outcome::NotFollowed(error) => problem = Some(io_error("start a thread")(error)),
    });
    match (problem, transfers.into_iter().collect::<Option<Vec<Transfer>>>()) {
        (None, Some(transfers)) => Ok(transfers),
        (Some(problem), _) => Err(problem),
        (None, None) => unreachable!("every transfer has an outcome"),
    }
}

/// Reads what was published once more, and compares it with what the files were when they were made.
fn verify(stage: &Stage, transfers: &[Transfer]) -> Result<(), DemoError> {
    let started = transfers.iter().filter_map(|transfer| transfer.started_at).min().unwrap_or(0);
    let finished = transfers.iter().filter_map(|transfer| transfer.finished_at).max().unwrap_or(0);
    let ms = finished.saturating_sub(started);
    let bytes = transfers.iter().map(|transfer| transfer.bytes).sum();
    let rate = human::rate(bytes, ms).map_or(String::new(), |rate| format!(", {}/s", human::bytes(rate)));
    let spent = human::span(ms);
    say(&format!("           together {} in {spent}{rate}, on the disk and verified", human::bytes(bytes)));
    say("5. Verify  SHA-256 of each download, read again, against that of the shop's own file");
    for (transfer, (client, source)) in transfers.iter().zip(&stage.shops) {
        let path = PathBuf::from(&transfer.out_path);
        let read = File::open(&path).and_then(hash_all);
        let (published, _) = read.map_err(io_error(format!("read {}", path.display())))?;
        if published != *source {
            return Err(DemoError::Differs { client: client.clone(), source: *source, published });
        }
        say(&format!("           {client}: equal, {published}"));
        say(&format!("           in {}", path.display()));
    }
    Ok(())
}

/// The lines to go on by hand.
fn by_hand(stage: &Stage, transfer: &Transfer, keep: bool) {
    let url = &stage.url;
    let id = transfer.request_id;
    let client = &transfer.client_id;
    say(match keep {
        true => "\nTo go on by hand:\n",
        false => "\nBy hand, while it runs (`towline demo --keep`), the same is:\n",
    });
    let towline = std::env::args().next().unwrap_or("towline".to_owned()); // as it was called
    let header = "-H \"x-api-key: $API_KEY\"";
    say(&format!("  export SERVER={url} API_KEY={}", stage.key));
    for line in [
        format!("curl \"$SERVER/clients\" {header}"),
        format!(
            "curl -X POST \"$SERVER/download/{client}\" {header} -H \"Content-Type: application/json\" -d '{{\"fileKey\": null}}'"
        ),
        format!(
            "curl -X POST \"$SERVER/download/{client}?wait=60\" {header} -d '{{\"fileKey\": \"logs/today.log\"}}'"
        ),
        format!("curl \"$SERVER/transfers/{id}\" {header}"),
        format!("curl -OJ \"$SERVER/transfers/{id}/file\" {header}"),
        format!("{towline} pull {} --output .", SHOPS.join(" ")),
    ] {
        say(&format!("  {line}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_a_whole_line() {
        for (output, expected) in [
            ("", None),
            ("Server running on port 80", None),
            ("Server running on port 8080\nWebSocket path: /ws\n", Some(8080)),
            ("a log line\nServer running on port 1\n", Some(1)),
            ("Server running on port x\n", None),
        ] {
            assert_eq!(port(output), expected, "{output}");
        }
    }
}
