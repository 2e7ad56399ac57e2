//! `towline clients`, `transfers`, `show` and `cancel`: what the server knows, as a table or as its JSON.

use super::api::{Api, ApiError, Client};
use super::{done, human, say};
use crate::clock;
use crate::exit::Exit;
use crate::limits;
use crate::names::{ClientId, RequestId, printable};
use crate::settings::{Flag, Given, OPERATOR_SETTINGS, OperatorSettings, Program, UsageError, value};
use crate::transfer::{Status, Transfer};

const JSON: Flag = Flag { name: "--json", takes: "", help: "print the JSON of the server as it is" };

/// `towline clients` as its user sees it.
pub const CLIENTS: Program = Program {
    name: "towline clients",
    about: "Lists the clients that are connected now.",
    arguments: "",
    settings: OPERATOR_SETTINGS,
    flags: &[JSON],
    notes: "",
};

/// `towline transfers` as its user sees it.
pub const TRANSFERS: Program = Program {
    name: "towline transfers",
    about: "Lists transfers, the newest first.",
    arguments: "",
    settings: OPERATOR_SETTINGS,
    flags: &[
        Flag { name: "--client", takes: "CLIENT", help: "of this client only" },
        Flag { name: "--status", takes: "STATUS", help: "in this status only, such as receiving or failed" },
        Flag { name: "--limit", takes: "N", help: "at most so many [100]" },
        JSON,
    ],
    notes: "",
};

/// `towline show` as its user sees it.
pub const SHOW: Program = Program {
    name: "towline show",
    about: "Shows all that the server knows of one transfer.",
    arguments: "ID",
    settings: OPERATOR_SETTINGS,
    flags: &[JSON],
    notes: "",
};

/// `towline cancel` as its user sees it.
pub const CANCEL: Program = Program {
    name: "towline cancel",
    about: "Ends one transfer. A file that is complete already stays.",
    arguments: "ID",
    settings: OPERATOR_SETTINGS,
    flags: &[JSON],
    notes: "",
};

/// Does the work of `towline clients`.
///
/// # Errors
/// When it was started wrongly.
pub fn clients(given: &Given) -> Result<Exit, UsageError> {
    given.no_arguments()?;
    let api = Api::new(OperatorSettings::read(given)?)?;
    Ok(done(CLIENTS.name, list(&api, given, "list the clients", "/clients", client_table)))
}

/// Does the work of `towline transfers`.
///
/// # Errors
/// When it was started wrongly.
pub fn transfers(given: &Given) -> Result<Exit, UsageError> {
    given.no_arguments()?;
    let path = transfers_path(given)?;
    let api = Api::new(OperatorSettings::read(given)?)?;
    Ok(done(TRANSFERS.name, list(&api, given, "list the transfers", &path, transfer_table)))
}

/// Does the work of `towline show`.
///
/// # Errors
/// When it was started wrongly.
pub fn show(given: &Given) -> Result<Exit, UsageError> {
    let id = request_id(given)?;
    let api = Api::new(OperatorSettings::read(given)?)?;
    let doing = format!("show transfer {id}");
    Ok(done(SHOW.name, list(&api, given, &doing, &format!("/transfers/{id}"), |transfer| details(&transfer))))
}

/// Does the work of `towline cancel`.
///
/// # Errors
/// When it was started wrongly.
pub fn cancel(given: &Given) -> Result<Exit, UsageError> {
    let id = request_id(given)?;
    let api = Api::new(OperatorSettings::read(given)?)?;
    let cancelled = api.cancel(id).map(|json| match given.has_flag(JSON.name) {
        true => say(&json),
        false => say(&format!("{id}: cancelled")),
    });
    Ok(done(CANCEL.name, cancelled))
}

fn list<T: serde::de::DeserializeOwned>(
    api: &Api,
    given: &Given,
    doing: &str,
    path: &str,
    table: impl FnOnce(T) -> String,
) -> Result<(), ApiError> {
    let text = api.text(doing, path)?;
    match given.has_flag(JSON.name) {
        true => say(text.trim_end()),
        false => say(table(api.read(doing, &text)?).trim_end()),
    }
    Ok(())
}

fn request_id(given: &Given) -> Result<RequestId, UsageError> {
    let wrong = |wanted: String| UsageError::Argument { wanted };
    match given.arguments.as_slice() {
        [id] => id.parse().map_err(|why| wrong(format!("{}: {why}", printable(id)))),
        _ => Err(wrong("expected the id of one transfer; `towline transfers` lists them".to_owned())),
    }
}

fn transfers_path(given: &Given) -> Result<String, UsageError> {
    let client: Option<ClientId> = given.parsed_flag("--client", value::name)?;
    let status = given.parsed_flag("--status", |text| {
        let words = Status::ALL.map(Status::as_str);
        words.into_iter().find(|word| *word == text).ok_or(format!("one of {}", words.join(", ")))
    })?;
    let most = limits::MAX_LISTED_TRANSFERS as u64;
    let limit = given.parsed_flag("--limit", |text| {
        let limit = value::whole(text).filter(|limit| (1..=most).contains(limit));
        limit.ok_or(format!("a whole number from 1 to {most}"))
    })?;
    let parts = [
        client.map(|client| format!("clientId={client}")),
        status.map(|status| format!("status={status}")),
        limit.map(|limit| format!("limit={limit}")),
    ];
    let query: Vec<String> = parts.into_iter().flatten().collect();
    Ok(if query.is_empty() { "/transfers".to_owned() } else { format!("/transfers?{}", query.join("&")) })
}

fn client_table(clients: Vec<Client>) -> String {
    if clients.is_empty() {
        return "no client is connected".to_owned();
    }
    let rows: Vec<_> = clients
        .iter()
        .map(|client| {
            let meta = match &client.meta {
                serde_json::Value::Object(labels) => labels
                    .iter()
                    .map(|(key, value)| {
                        format!("{key}={}", value.as_str().map_or(value.to_string(), str::to_owned))
                    })
                    .collect::<Vec<_>>()
                    .join(" "),
                _ => String::new(),
            };
            let mut address = client.address.clone().unwrap_or_default();
            if let Some(other) = &client.contested {
                address += &format!(" and {}", other.address);
            }
            [
                client.client_id.to_string(),
                client.connected_at.map_or(String::new(), moment),
                shown(&address),
                shown(client.agent_version.as_deref().unwrap_or("v1")),
                client.rtt_ms.map_or(String::new(), |ms| format!("{ms:.1} ms")),
                shown(client.congestion_control.as_deref().unwrap_or_default()),
                client.active_transfers.map_or(String::new(), |count| count.to_string()),
                shown(&meta),
            ]
        })
        .collect();
    human::table(
        ["CLIENT", "CONNECTED", "ADDRESS", "AGENT", "ROUND TRIP", "SENDS BY", "RUNNING", "LABELS"],
        &rows,
    )
}

fn transfer_table(transfers: Vec<Transfer>) -> String {
    if transfers.is_empty() {
        return "no such transfer".to_owned();
    }
    let rows: Vec<_> = transfers
        .iter()
        .map(|transfer| {
            let status = match (&transfer.failure, transfer.status) {
                (Some(failure), Status::Failed | Status::Interrupted) => {
                    format!("{} ({})", transfer.status, failure.code)
                }
                _ => transfer.status.to_string(),
            };
            let bytes = match transfer.size {
                Some(size) if transfer.status == Status::Completed => human::bytes(size),
                Some(size) => format!("{} of {}", human::bytes(transfer.bytes), human::bytes(size)),
                None => String::new(),
            };
            [
                transfer.request_id.to_string(),
                transfer.client_id.to_string(),
                status,
                bytes,
                moment(transfer.created_at),
                shown(file(transfer)),
            ]
        })
        .collect();
    human::table(["TRANSFER", "CLIENT", "STATUS", "BYTES", "ASKED FOR", "FILE"], &rows)
}

fn details(transfer: &Transfer) -> String {
    let bytes = |count: u64| format!("{count} ({})", human::bytes(count));
    let optional_moment = |ms: Option<u64>| ms.map(clock::iso8601);
    let rows = [
        ("transfer", Some(transfer.request_id.to_string())),
        ("client", Some(transfer.client_id.to_string())),
        ("status", Some(transfer.status.to_string())),
        ("reason", transfer.failure.as_ref().map(|failure| shown(&failure.to_string()))),
        ("file key", transfer.file_key.as_ref().map(|key| shown(key.as_str()))),
        ("source", transfer.source_name.as_deref().map(shown)),
        ("size", transfer.size.map(bytes)),
        ("bytes here", Some(bytes(transfer.bytes))),
        ("on the wire", Some(bytes(transfer.bytes_on_wire))),
        ("sha256", transfer.sha256.map(|hash| hash.to_string())),
        ("download", Some(shown(&transfer.out_path))),
        ("attempts", Some(transfer.attempts.to_string())),
        ("asked by", Some(shown(&transfer.requested_by))),
        ("batch", transfer.batch_id.map(|id| id.to_string())),
        ("most a second", transfer.max_rate.map(bytes)),
        ("asked for", Some(clock::iso8601(transfer.created_at))),
        ("started", optional_moment(transfer.started_at)),
        ("ended", optional_moment(transfer.finished_at)),
        ("expires", optional_moment(transfer.expires_at)),
    ];
    rows.into_iter().filter_map(|(name, value)| value.map(|value| format!("{name:<14} {value}\n"))).collect()
}

/// What a person calls the file: its key, else its name on the client.
fn file(transfer: &Transfer) -> &str {
    match (&transfer.file_key, &transfer.source_name) {
        (Some(key), _) => key.as_str(),
        (None, Some(name)) => name,
        (None, None) => "",
    }
}

fn shown(text: &str) -> String {
    printable(text).to_string()
}

/// A moment to the second: `2025-10-31 15:30:00Z`.
pub fn moment(ms: u64) -> String {
    format!("{}Z", clock::iso8601(ms)[..19].replace('T', " "))
}

#[cfg(test)]
mod tests {
    use super::super::progress::tests::transfer;
    use super::super::testing::{error, given};
    use super::*;
    use crate::transfer::{Failure, FailureCode};

    #[test]
    fn filters_become_a_query() {
        let path = |args: &[&str]| transfers_path(&given(&TRANSFERS, args)?);
        assert_eq!(path(&[]).unwrap(), "/transfers");
        assert_eq!(
            path(&["--client", "shop-001", "--status", "failed", "--limit", "5"]).unwrap(),
            "/transfers?clientId=shop-001&status=failed&limit=5"
        );
        for (args, wanted) in [
            (["--client", "a&b"], "a client id is"),
            (["--status", "done"], "one of queued, requested"),
            (["--limit", "0"], "from 1 to 1000"),
            (["--limit", "1001"], "from 1 to 1000"),
        ] {
            assert!(error(path(&args)).contains(wanted));
        }
    }

    #[test]
    fn ids() {
        let id = "1b4e28ba-2fa1-41d2-883f-0016d3cca427";
        assert_eq!(request_id(&given(&SHOW, &[id]).unwrap()).unwrap().to_string(), id);
        for args in [&[][..], &["x"], &[id, id]] {
            assert!(request_id(&given(&SHOW, args).unwrap()).is_err(), "{args:?}");
        }
    }

    #[test]
    fn tables() {
        let json = r#"[{"clientId":"shop-001","lastSeen":1,"meta":{"region":"west","n":1},"connectedAt":1761924600123,
            "address":"10.0.0.7","agentVersion":"0.1.0","congestionControl":"bbr","protocol":2,"activeTransfers":1,"rttMs":20.25},
            {"clientId":"old","lastSeen":"x","meta":null}]"#;
        let twins =
            r#"[{"clientId":"twin","address":"10.0.0.7:1","contested":{"address":"10.0.0.8:2","times":3}}]"#;
        let text = client_table(serde_json::from_str(twins).unwrap());
        assert!(text.contains("10.0.0.7:1 and 10.0.0.8:2"), "{text}");
        assert_eq!(
            client_table(serde_json::from_str(json).unwrap()),
            "CLIENT    CONNECTED             ADDRESS   AGENT  ROUND TRIP  SENDS BY  RUNNING  LABELS\n\
             shop-001  2025-10-31 15:30:00Z  10.0.0.7  0.1.0  20.2 ms     bbr       1        n=1 region=west\n\
             old                                       v1\n"
        );
        let mut failed = transfer(Status::Failed, 5_000_000, Some(10_000_000));
        failed.failure = Some(Failure::new(FailureCode::Stalled, "no byte for 60 s"));
        let text = transfer_table(vec![transfer(Status::Completed, 1000, Some(1000)), failed.clone()]);
        assert_eq!(
            text,
            "TRANSFER                              CLIENT    STATUS            BYTES              ASKED FOR             FILE\n\
             1b4e28ba-2fa1-41d2-883f-0016d3cca427  shop-001  completed         1.0 kB             1970-01-01 00:00:00Z  pos.db\n\
             1b4e28ba-2fa1-41d2-883f-0016d3cca427  shop-001  failed (stalled)  5.0 MB of 10.0 MB  1970-01-01 00:00:00Z  pos.db\n"
        );
        let text = details(&failed);
        assert!(text.contains("reason         stalled: no byte for 60 s\n"), "{text}");
        assert!(!text.contains("sha256"), "{text}");
    }
}
