//! `.env` files, and what the programs make of them.

use std::collections::BTreeMap;
use std::ffi::OsString;

use towline::settings::{
    AGENT, AgentSettings, Asked, Given, Program, SERVER, ServerSettings, Surroundings, UsageError, dotenv,
    gather,
};

/// Every text is read as assignments; what is read can be written so that it is read as the same. Whatever the values are,
/// they are settings or one line that says what is wrong, without a secret.
pub fn run(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return }; // such a file is refused whole
    let values = dotenv::parse(text);
    check_values(&values);
    let server = check(&SERVER, &values, ServerSettings::read);
    if let Some(server) = server {
        assert!(server.ws_path.starts_with('/') && server.ws_path.bytes().all(|b| b.is_ascii_graphic()));
    }
    if let Some(agent) = check(&AGENT, &values, AgentSettings::read) {
        let url = agent.server_url;
        assert!(!url.host.is_empty() && url.port > 0 && !url.host.contains(['/', '@', '?', '#', '[']));
        assert!(
            url.path_and_query.starts_with('/') && url.path_and_query.bytes().all(|b| b.is_ascii_graphic())
        );
        assert!(!url.text.contains(['?', '@', '#']), "it is shown");
    }
}

fn check_values(values: &BTreeMap<String, String>) {
    let mut written = String::new();
    let mut kept = BTreeMap::new();
    for (name, value) in values {
        assert!(!name.is_empty());
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')), "{name}");
        let quote = ['\'', '`'].into_iter().find(|quote| !value.contains(*quote));
        // Neither an escaped quote nor a carriage return can be written.
        if let Some(quote) = quote.filter(|_| !value.ends_with('\\') && !value.contains('\r')) {
            written.push_str(&format!("{name}={quote}{value}{quote}\n"));
            kept.insert(name.clone(), value.clone());
        }
    }
    assert_eq!(dotenv::parse(&written), kept);
}

fn check<T: std::fmt::Debug>(
    program: &'static Program,
    values: &BTreeMap<String, String>,
    read: impl FnOnce(&Given) -> Result<T, UsageError>,
) -> Option<T> {
    let env = |name: &str| values.get(name).map(OsString::from);
    let around = Surroundings { args: Vec::new(), env: &env, folder: "/nonexistent".into() };
    let taken = gather(program, around).and_then(|asked| match asked {
        Asked::Run(given) => read(&given),
        Asked::Help | Asked::Version => panic!("nobody asked for it"),
    });
    let shown = match &taken {
        Ok(settings) => format!("{settings:?}"),
        Err(error) => {
            let text = error.to_string();
            super::assert_one_line(&text);
            text
        }
    };
    assert!(!shown.contains(SECRET) || !is_secret(values), "{shown}");
    taken.ok()
}

/// A text that no message of ours holds.
const SECRET: &str = "hunter2";

/// Whether that text stands only where it must never be shown: in the secret, and before the `@` of a URL.
fn is_secret(values: &BTreeMap<String, String>) -> bool {
    values.iter().all(|(name, value)| match name.to_ascii_uppercase().as_str() {
        "AUTH_SECRET" => true,
        "SERVER_URL" | "HTTP_PROXY" | "HTTPS_PROXY" => {
            !value.rsplit_once('@').map_or(&**value, |(_, shown)| shown).contains(SECRET)
        }
        _ => !value.contains(SECRET),
    })
}
