//! README.md against the code: no setting, route, status or code is missing there, and defaults are the true ones.

use towline::refusal::RefusalCode;
use towline::settings::{AGENT, Kind, OPERATOR_SETTINGS, SERVER, Setting};
use towline::transfer::Status;

const README: &str = include_str!("../README.md");

/// The text of README.md from the heading or bold name `from` to the next one that starts alike.
fn part(from: &str, end: &str) -> &'static str {
    let start = README.find(from).unwrap_or_else(|| panic!("README.md has no {from}")) + from.len();
    let rest = &README[start..];
    &rest[..rest.find(end).unwrap_or(rest.len())]
}

fn check_settings(table: &str, settings: &[Setting]) {
    for setting in settings {
        let name = format!("`{}`", setting.name);
        let row =
            table.lines().find(|line| line.split(" | ").next().is_some_and(|first| first.contains(&name)));
        let row = row.unwrap_or_else(|| panic!("README.md has no row for {name}"));
        if setting.kind == Kind::Plain && !setting.default.is_empty() {
            assert_eq!(
                row.split('|').nth(2).map(str::trim),
                Some(&*format!("`{}`", setting.default)),
                "{row}"
            );
        }
        // README tells of a build with TLS.
        if cfg!(feature = "tls") || !setting.name.starts_with("TLS_") {
            assert_eq!(setting.kind == Kind::Unsupported, row.contains("not supported yet"), "{row}");
        }
    }
}

#[test]
fn every_setting_with_its_default() {
    check_settings(part("\n**towline-server**\n", "\n**"), SERVER.settings);
    check_settings(part("\n**towline-agent**\n", "\n**"), AGENT.settings);
    let (key, own): (Vec<Setting>, Vec<Setting>) =
        OPERATOR_SETTINGS.iter().copied().partition(|setting| setting.name == "AUTH_SECRET");
    let table = part("\n**towline**\n", "\n## ");
    check_settings(table, &own);
    assert!(key.len() == 1 && table.contains("`AUTH_SECRET`"));
}

/// The routes as `server/control.rs` matches them: `(Method::Get, ["clients", client]) =>`.
#[test]
fn every_route() {
    let mut count = 0;
    for line in include_str!("../src/server/control.rs").lines() {
        let Some((method, rest)) = line.trim().strip_prefix("(Method::").and_then(|l| l.split_once(", ["))
        else {
            continue;
        };
        let (segments, _) = rest.split_once("])").expect("a route ends with `])`");
        let path: String = segments
            .split(", ")
            .map(|segment| match segment.strip_prefix('"') {
                Some(word) => format!("/{}", word.trim_end_matches('"')),
                None => "/:".to_owned(),
            })
            .collect();
        let wanted = format!("{} {path}", method.to_ascii_uppercase());
        let found = part("\n## The API\n", "\n## ").lines().any(|row| {
            let route = row.strip_prefix("| `").and_then(|row| row.split('`').next()).unwrap_or_default();
            let parts = route.split('/').map(|part| if part.starts_with(':') { ":" } else { part });
            parts.collect::<Vec<_>>().join("/") == wanted
        });
        assert!(found, "README.md has no row for {wanted}");
        count += 1;
    }
    assert!(count >= 11, "only {count} routes found in control.rs: has `route` another form now?");
}

#[test]
fn every_status_and_agents_code() {
    let table = part("\n## A transfer\n", "\n## ");
    let words = Status::ALL.map(Status::as_str).into_iter().chain(RefusalCode::ALL.map(RefusalCode::as_str));
    for word in words {
        assert!(table.contains(&format!("\n| `{word}` | ")), "README.md has no row for {word}");
    }
}

/// Each row of the tables of faults and threats names a test that there is.
#[test]
fn every_fault_and_every_threat_has_its_test() {
    let mut sources = String::new();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("tests"), root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(path).unwrap();
                sources.extend(text.lines().flat_map(|line| [line.trim_start(), "\n"]));
            }
        }
    }
    let tables = [include_str!("../src/FAULTS.md"), include_str!("../src/THREATS.md")];
    for (table, least) in tables.into_iter().zip([35, 40]) {
        let rows = table.lines().filter(|line| line.starts_with("| "));
        let rows = rows.filter(|row| !row.starts_with("| fault ") && !row.starts_with("| they |"));
        let mut count = 0;
        for row in rows {
            let test = row.rsplit('`').nth(1).unwrap_or_else(|| panic!("no test: {row}"));
            assert!(sources.contains(&format!("#[test]\nfn {test}(")), "no such test: {row}");
            count += 1;
        }
        assert!(count >= least, "{count} rows");
    }
}
