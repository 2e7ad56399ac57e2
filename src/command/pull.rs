//! `towline pull`: asks for a file of each client, follows all of them at once, and fetches the files if asked to.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::api::{Api, PullBody};
use super::ask::ask;
use super::follow::{Job, Outcome, follow_all};
use super::view::View;
use super::{human, say, worse};
use crate::exit::Exit;
use crate::limits;
use crate::names::{ClientId, FileKey, printable};
use crate::settings::{Flag, Given, OPERATOR_SETTINGS, OperatorSettings, Program, UsageError, value};
use crate::transfer::{Status, Transfer};

/// `towline pull` as its user sees it.
pub const PULL: Program = Program {
    name: "towline pull",
    about: "Pulls a file of each client, all at once, and waits until they are verified.",
    arguments: "CLIENT…",
    settings: OPERATOR_SETTINGS,
    flags: &[
        Flag {
            name: "--file-key",
            takes: "KEY",
            help: "which file: <share> or <share>/<path>; without it, the FILE_PATH of the agent",
        },
        Flag {
            name: "--queue-for",
            takes: "TIME",
            help: "wait so long for a known client that is not connected, such as 90s, 24h or 7d",
        },
        Flag {
            name: "--timeout",
            takes: "TIME",
            help: "give up waiting after this, and leave what runs running; exit code 1",
        },
        Flag { name: "--max-rate", takes: "RATE", help: "most bytes a second for each, such as 2M" },
        Flag {
            name: "--output",
            takes: "FILE|DIR",
            help: "fetch each verified file from the server too, to this name or into this folder",
        },
        Flag { name: "--json", takes: "", help: "print each transfer as one line of JSON when it has ended" },
    ],
    notes: "\
Bars on a terminal, a line at each change of status elsewhere, both on stderr; what became of each transfer goes to stdout.
A server that does not answer is asked again for a minute; that begins nothing twice.
Ctrl-C leaves the transfers running on the server: see `towline transfers` and `towline cancel`.
Files are never overwritten, and are given their name only when size and SHA-256 are right.
Exit codes: 0 all are done, 1 failed, 2 bad usage, 3 not authorised, 4 not connected; of several, the highest.

  towline pull shop-001
  towline pull shop-001 shop-002 --file-key logs/2025-10-31.log --output ./inbox/",
};

struct Order {
    clients: Vec<ClientId>,
    body: PullBody,
    output: Option<Output>,
    timeout: Option<Duration>,
    json: bool,
}

enum Output {
    File(PathBuf),
    Folder(PathBuf),
}

impl Output {
    fn target(&self, transfer: &Transfer) -> PathBuf {
        match self {
            Output::File(path) => path.clone(),
            // Only the last part: the name comes from the server, and leads nowhere else.
            Output::Folder(folder) => {
                folder.join(Path::new(&transfer.filename).file_name().unwrap_or_default())
            }
        }
    }
}

impl Order {
    fn read(given: &Given) -> Result<Order, UsageError> {
        let mut clients = Vec::new();
        for text in &given.arguments {
            let wrong = |why| UsageError::Argument { wanted: format!("{}: {why}", printable(text)) };
            clients.push(text.parse().map_err(wrong)?);
        }
        if clients.is_empty() || clients.len() > limits::MAX_PULLED_CLIENTS {
            let most = limits::MAX_PULLED_CLIENTS;
            let wanted = format!("expected 1 to {most} clients: towline pull CLIENT…; see `towline clients`");
            return Err(UsageError::Argument { wanted });
        }
        let body = PullBody {
            file_key: given.parsed_flag("--file-key", value::name::<FileKey>)?,
            queue_for: given.parsed_flag("--queue-for", |text| match value::duration(text) {
                Ok(time) if time <= limits::MAX_QUEUE_TIME => Ok(text.to_owned()),
                Ok(_) => Err("at most 31d".to_owned()),
                Err(wanted) => Err(wanted.to_string()),
            })?,
            max_rate: given.parsed_flag("--max-rate", |text| match value::size(text) {
                Ok(0) => Err("more than 0 bytes a second".to_owned()),
                Ok(_) => Ok(text.to_owned()),
                Err(wanted) => Err(wanted.to_string()),
            })?,
        };
        let several = clients.len() > 1;
        let output = given.parsed_flag("--output", |text| output(given.resolve(text), text, several))?;
        let timeout = given.parsed_flag("--timeout", value::duration)?;
        Ok(Order { clients, body, output, timeout, json: given.has_flag("--json") })
    }
}

/// Checks before anything is pulled that what is pulled can be saved.
fn output(path: PathBuf, text: &str, several: bool) -> Result<Output, String> {
    if path.is_dir() {
        return Ok(Output::Folder(path));
    }
    if several || text.ends_with('/') {
        return Err("a folder that exists".to_owned());
    }
    if path.symlink_metadata().is_ok() {
        return Err("a name that is not taken: nothing is overwritten".to_owned());
    }
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() || parent.is_dir() => Ok(Output::File(path)),
        _ => Err("a name in a folder that exists".to_owned()),
    }
}

/// Does the work of `towline pull`.
///
/// # Errors
/// When it was started wrongly.
pub fn run(given: &Given) -> Result<Exit, UsageError> {
    let order = Order::read(given)?;
    let api = Api::new(OperatorSettings::read(given)?)?;
    // A time too long for the clock is no bound.
    let give_up = order.timeout.and_then(|time| Instant::now().checked_add(time));
    let mut exit = Exit::Done;
    let mut jobs = Vec::new();
    for client in &order.clients {
        match ask(&api, client, &order.body, give_up) {
            Ok(transfer) => {
                if !order.json {
                    eprintln!("{client}: transfer {}", transfer.request_id);
                }
                let target = order.output.as_ref().map(|output| output.target(&transfer));
                jobs.push(Job { transfer, target });
            }
            Err(error) => {
                eprintln!("{}: {error}", PULL.name);
                exit = worse(exit, error.exit());
            }
        }
    }
    if !jobs.is_empty() {
        let mut view = View::new(jobs.iter().map(|job| &job.transfer));
        if !order.json && view.is_painted() {
            eprintln!(
                "Ctrl-C leaves what runs running: `towline show ID` shows it, `towline cancel ID` ends it"
            );
        }
        follow_all(&api, &jobs, &mut view, give_up, |index, outcome| {
            exit = worse(exit, outcome.exit());
            report(&jobs[index], &outcome, order.json);
        });
    }
    Ok(exit)
}

/// Says what became of a transfer: results on stdout, what went wrong on stderr.
fn report(job: &Job, outcome: &Outcome, json: bool) {
    let client = &job.transfer.client_id;
    let later = format!("`towline show {}` tells later", job.transfer.request_id);
    let transfer = match outcome {
        Outcome::Ended(transfer) | Outcome::Saved(transfer, _) | Outcome::NotSaved(transfer, _) => {
            Some(transfer)
        }
        Outcome::GaveUp(transfer) => {
            eprintln!("{}: {}", PULL.name, gave_up(transfer));
            None
        }
        Outcome::Lost(error) => {
            eprintln!("{}: {client}: {error}; {later}", PULL.name);
            None
        }
        Outcome::NotFollowed(error) => {
            eprintln!("{}: {client}: cannot start a thread to follow it: {error}; {later}", PULL.name);
            None
        }
    };
    if let Some(transfer) = transfer {
        match (json, transfer.status) {
            (true, _) => say(&serde_json::to_string(&**transfer).expect("a transfer becomes JSON")),
            (false, Status::Completed) => say(&completed(transfer)),
            (false, _) => eprintln!("{}: {}", PULL.name, ended(transfer)),
        }
    }
    match outcome {
        Outcome::Saved(_, path) if !json => say(&format!("{client}: saved as {}", path.display())),
        Outcome::NotSaved(transfer, error) => {
            let id = transfer.request_id;
            eprintln!("{}: {client}: {error}; the server has the file: GET /transfers/{id}/file", PULL.name);
        }
        Outcome::Saved(..)
        | Outcome::Ended(_)
        | Outcome::GaveUp(_)
        | Outcome::Lost(_)
        | Outcome::NotFollowed(_) => {}
    }
}

/// One line on a transfer that is completed.
fn completed(transfer: &Transfer) -> String {
    let hash = transfer.sha256.map_or(String::new(), |hash| format!(", sha256 {hash}"));
    format!("{}{hash}, on the server as {}", spent(transfer), printable(&transfer.out_path))
}

/// How much a transfer that is completed brought, and how fast.
pub fn spent(transfer: &Transfer) -> String {
    let size = transfer.size.unwrap_or(transfer.bytes);
    let ms = match (transfer.started_at, transfer.finished_at) {
        (Some(started), Some(finished)) => finished.saturating_sub(started),
        _ => 0,
    };
    let rate = match human::rate(size, ms) {
        // The rest was on the server already; how fast that went says nothing of the line.
        _ if transfer.bytes_on_wire < size && transfer.attempts == 1 => {
            format!(" (the line carried {})", human::bytes(transfer.bytes_on_wire))
        }
        Some(rate) => format!(" ({}/s)", human::bytes(rate)),
        None => String::new(),
    };
    format!("{}: {} in {}{rate}", transfer.client_id, human::bytes(size), human::span(ms))
}

/// One line on a transfer that still runs when nobody waits for it any more.
fn gave_up(transfer: &Transfer) -> String {
    let Transfer { client_id, status, request_id: id, .. } = transfer;
    format!(
        "{client_id}: {status} when the time was up; it goes on: `towline show {id}` shows it, `towline cancel {id}` ends it"
    )
}

/// One line on a transfer that ended otherwise.
pub fn ended(transfer: &Transfer) -> String {
    let why = transfer.failure.as_ref().map_or(String::new(), |failure| {
        let says_it_already = failure.code.as_str() == transfer.status.as_str();
        let text = if says_it_already { failure.message.clone() } else { failure.to_string() };
        format!(": {}", printable(&text))
    });
    format!("{}: {}{why} (transfer {})", transfer.client_id, transfer.status, transfer.request_id)
}

#[cfg(test)]
mod tests {
    use super::super::progress::tests::transfer;
    use super::super::testing::{error, given};
    use super::*;

    #[test]
    fn orders() {
        let read = |args: &[&str]| Order::read(&given(&PULL, args)?);
        let order =
            read(&["shop-001", "shop-002", "--max-rate", "2M", "--file-key=logs/x", "--json"]).unwrap();
        assert_eq!(order.clients.len(), 2);
        assert_eq!(serde_json::to_string(&order.body).unwrap(), r#"{"fileKey":"logs/x","maxRate":"2M"}"#);
        assert!(order.json && order.output.is_none() && order.timeout.is_none());
        let order = read(&["shop-001", "--queue-for", "31d", "--timeout", "90s"]).unwrap();
        assert_eq!(serde_json::to_string(&order.body).unwrap(), r#"{"fileKey":null,"queueFor":"31d"}"#);
        assert_eq!(order.timeout, Some(Duration::from_secs(90)));
        let body = read(&["shop-001"]).unwrap().body;
        assert_eq!(serde_json::to_string(&body).unwrap(), r#"{"fileKey":null}"#);

        let folder = std::env::temp_dir().join(format!("towline-pull-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        std::fs::write(folder.join("taken"), "").unwrap();
        let target =
            |args: &[&str]| read(args).unwrap().output.unwrap().target(&transfer(Status::Completed, 0, None));
        assert_eq!(target(&["a", "--output", &path("new")]), folder.join("new"));
        let name = "shop-001_2025-10-31T15-30-00-123Z.bin";
        assert_eq!(target(&["a", "b", "--output", &path("")]), folder.join(name));

        for (args, wanted) in [
            (&[][..], "expected 1 to 256 clients"),
            (&["../x"], "../x: a client id is"),
            (&["a\nb"], "a\\nb: a client id is"),
            (&["a", "--max-rate", "0"], "--max-rate=0 (from the command line): expected more than 0"),
            (
                &["a", "--max-rate", "fast"],
                "--max-rate=fast (from the command line): expected a whole number",
            ),
            (&["a", "--queue-for", "32d"], "--queue-for=32d (from the command line): expected at most 31d"),
            (&["a", "--queue-for", "24"], "such as 90s, 30m, 24h or 7d"),
            (&["a", "--timeout", "soon"], "--timeout=soon (from the command line): expected a whole number"),
            (&["a", "--file-key", ""], "--file-key= (from the command line): expected"),
            (&["a", "--output", &path("taken")], "nothing is overwritten"),
            (&["a", "--output", &path("no/such")], "a folder that exists"),
            (&["a", "--output", &path("new/")], "a folder that exists"),
            (&["a", "b", "--output", &path("new")], "a folder that exists"),
            (&["a", "--overwrite"], "no such flag"),
        ] {
            let text = error(read(args).map(|_| ()));
            assert!(text.contains(wanted), "{text}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_target_stays_in_its_folder() {
        let mut hostile = transfer(Status::Completed, 0, None);
        for (name, expected) in
            [("../../etc/passwd", "/in/passwd"), ("/etc/passwd", "/in/passwd"), ("..", "/in/")]
        {
            hostile.filename = name.to_owned();
            assert_eq!(Output::Folder("/in".into()).target(&hostile), PathBuf::from(expected));
        }
    }

    #[test]
    fn reports() {
        let mut done = transfer(Status::Completed, 100_000_000, Some(100_000_000));
        (done.started_at, done.finished_at) = (Some(1000), Some(1500));
        assert_eq!(
            completed(&done),
            "shop-001: 100.0 MB in 0.5 s (200.0 MB/s), on the server as downloads/shop-001_2025-10-31T15-30-00-123Z.bin"
        );
        (done.bytes_on_wire, done.attempts) = (12_800, 1);
        assert!(
            completed(&done).starts_with("shop-001: 100.0 MB in 0.5 s (the line carried 12.8 kB), on the")
        );
        let text = ended(&transfer(Status::Cancelled, 0, None));
        assert_eq!(text, "shop-001: cancelled (transfer 1b4e28ba-2fa1-41d2-883f-0016d3cca427)");
    }
}
