//! What each setting of an agent takes, and what it does not.

use super::super::testing::{self, error, given};
use super::*;

fn read(env: &[(&str, &str)]) -> Result<AgentSettings, UsageError> {
    let mut env = env.to_vec();
    env.push(("AUTH_SECRET", "s3cret")); // behind: a test's own comes first
    AgentSettings::read_on(&given(&AGENT, &[], &env)?, "shop-001.local")
}

fn set(name: &str, value: &str) -> AgentSettings {
    read(&[(name, value)]).unwrap_or_else(|e| panic!("{name}={value}: {e}"))
}

#[test]
fn defaults_are_those_of_the_contract() {
    let s = read(&[]).unwrap();
    let url = ServerUrl {
        host: "localhost".to_owned(),
        port: 8080,
        path_and_query: "/ws".to_owned(),
        is_secure: false,
        text: "ws://localhost:8080/ws".to_owned(),
    };
    assert_eq!((s.server_url, s.client_id.as_str()), (url, "shop-001.local"));
    assert_eq!((s.file_path, s.chunk_size, s.max_rate, s.shares.len()), (None, None, None, 0));
    assert!(s.auth_secret.matches("s3cret") && s.meta.is_empty());
    assert_eq!(s.compress, Wish::Auto);
    assert!(s.reconnect && !s.token_in_url && s.proxy.is_none());
    assert_eq!((s.log_level, s.stop.as_secs(), s.audit_file), (LevelFilter::Info, 20, None));
}

#[test]
fn every_setting_is_followed() {
    assert!(set("AUTH_SECRET", "other").auth_secret.matches("other"));
    assert!(set("AUTH_SECRET", "change_me").auth_secret.matches("change_me"), "v1's, which a server refuses");
    assert_eq!(set("CLIENT_ID", "shop-9").client_id.as_str(), "shop-9");
    assert_eq!(set("FILE_PATH", "C:\\pos\\data.db").file_path, Some("C:\\pos\\data.db".into()));
    assert_eq!(set("CHUNK_SIZE", "1Ki").chunk_size, Some(1024));
    assert_eq!(set("COMPRESS", "off").compress, Wish::Off);
    if compression::IS_BUILT_IN {
        assert_eq!(set("COMPRESS", "always").compress, Wish::Always);
    } else {
        assert!(error(read(&[("COMPRESS", "always")])).contains("built without compression"));
    }
    assert_eq!(set("MAX_RATE", "2M").max_rate, Some(2_000_000));
    assert_eq!(set("MAX_RATE", "off").max_rate, None);
    assert_eq!(set("MAX_PULLS_PER_HOUR", "20").max_pulls_per_hour, Some(20));
    assert_eq!(set("MAX_PULLS_PER_HOUR", "off").max_pulls_per_hour, None);
    assert_eq!(set("MAX_BYTES_PER_DAY", "5G").max_bytes_per_day, Some(5_000_000_000));
    assert_eq!(set("MAX_BYTES_PER_DAY", "off").max_bytes_per_day, None);
    assert_eq!(set("STOP_SECONDS", "0").stop.as_secs(), 0);
    assert_eq!(set("AUDIT_FILE", "taken.jsonl").audit_file, Some("/nonexistent/taken.jsonl".into()));
    assert_eq!(set("AUDIT_FILE", "off").audit_file, None);
    assert_eq!(set("CONGESTION_CONTROL", "auto").congestion_control, CongestionChoice::Auto);
    assert_eq!(set("CONGESTION_CONTROL", "system").congestion_control, CongestionChoice::System);
    let named = CongestionChoice::Named("cubic".parse().unwrap());
    assert_eq!(set("CONGESTION_CONTROL", "cubic").congestion_control, named);
    for (text, reconnect) in [("false", false), ("true", true), ("0", true), ("False", true)] {
        assert_eq!(set("RECONNECT", text).reconnect, reconnect);
    }
    assert!(set("TOKEN_IN_URL", "true").token_in_url);
    assert_eq!(set("LOG_LEVEL", "warn").log_level, LevelFilter::Warn);
    assert_eq!(set("HTTP_PROXY", "http://p:1").proxy.unwrap().host, "p");
    assert!(set("HTTPS_PROXY", "http://p:1").proxy.is_none(), "towards ws://");
    assert_eq!(set("META", r#"{"region":"west","n":[1]}"#).meta["region"], "west");
    let shares = set("SHARES", "logs=/var/log/pos, db=data/pos=1.db").shares;
    let shares: Vec<_> = shares.iter().map(|(name, path)| (name.as_str(), path.to_str().unwrap())).collect();
    assert_eq!(shares, [("logs", "/var/log/pos"), ("db", "/nonexistent/data/pos=1.db")]);
}

#[test]
fn what_cannot_work_is_named() {
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(limits::MAX_META_BYTES));
    let many: Vec<String> = (0..=limits::MAX_SHARES).map(|n| format!("s{n}=/")).collect();
    for (name, value, wanted) in [
        ("CLIENT_ID", "../x", "): expected a valid name: a client id is"),
        ("CLIENT_ID", "a b", "a client id is"),
        ("CHUNK_SIZE", "1", "1024 to 4194304 bytes"),
        ("COMPRESS", "zstd", "auto, always or off"),
        ("MAX_RATE", "0", "at least 1024 bytes"),
        ("MAX_RATE", "2Mbit", "whole number"),
        ("CONGESTION_CONTROL", "bbr, cubic", "auto, system, or a name such as bbr or cubic"),
        ("CONGESTION_CONTROL", "sixteen_or_more_", "1 to 15 characters"),
        ("MAX_PULLS_PER_HOUR", "0", "1 to 10000, or off"),
        ("MAX_PULLS_PER_HOUR", "10001", "1 to 10000, or off"),
        ("MAX_PULLS_PER_HOUR", "many", "1 to 10000, or off"),
        ("MAX_BYTES_PER_DAY", "0", "at least 1024 bytes"),
        ("MAX_BYTES_PER_DAY", "-1", "whole number"),
        ("STOP_SECONDS", "3601", "0 to 3600"),
        ("TOKEN_IN_URL", "yes", "true or false"),
        ("LOG_LEVEL", "trace", "off, error, warn, info or debug"),
        ("META", "region=west", "a JSON object"),
        ("META", "[1]", "a JSON object"),
        ("META", long.as_str(), "4 KiB"),
        ("SHARES", "/var/log", "without ="),
        ("SHARES", "a=/x,", "without ="),
        ("SHARES", "a=", "without a path"),
        ("SHARES", "../a=/x", "a share name is"),
        ("SHARES", "a=/x,a=/y", "a is there twice"),
        ("SHARES", many.join(",").as_str(), "at most 64"),
    ] {
        let text = error(read(&[(name, value)]));
        assert!(text.starts_with(&format!("{name}=")) && text.contains(wanted), "{text}");
    }
    let none = given(&AGENT, &[], &[("AUTH_SECRET", "x")]).unwrap();
    for host_name in ["", "-shop", "a\nb", "schön"] {
        assert!(error(AgentSettings::read_on(&none, host_name)).starts_with("CLIENT_ID is not set: "));
    }
}

#[test]
fn the_example_file_is_the_table() {
    testing::check_example(&AGENT, "agent.env.example");
}
