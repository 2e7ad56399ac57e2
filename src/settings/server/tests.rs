//! The server's settings: defaults, values, and what is refused.

use super::super::testing::{self, error, given};
use super::*;
use crate::limits;

fn read(env: &[(&str, &str)]) -> Result<ServerSettings, UsageError> {
    let mut env = env.to_vec();
    env.push(("AUTH_SECRET", "s3cret")); // behind: a test's own comes first
    ServerSettings::read(&given(&SERVER, &[], &env)?)
}

fn set(name: &str, value: &str) -> ServerSettings {
    read(&[(name, value)]).unwrap_or_else(|e| panic!("{name}={value}: {e}"))
}

#[test]
fn defaults_are_those_of_the_contract() {
    let s = read(&[]).unwrap();
    assert_eq!((s.host.to_string().as_str(), s.port, s.ws_path.as_str()), ("0.0.0.0", 8080, "/ws"));
    assert!(matches!(s.access, Access::Secret(secret) if secret.matches("s3cret")));
    assert_eq!((s.upload_dir, s.chunk_size, s.control_listen), ("./downloads".into(), None, None));
    assert_eq!(
        (s.max_concurrent_transfers, s.max_transfers_per_client, s.max_queued_transfers),
        (5, 2, 1000)
    );
    assert_eq!((s.max_clients, s.max_file_size, s.min_free_bytes), (None, None, 64 << 20));
    assert_eq!((s.max_spool_bytes, s.keep_downloads_days), (100_000_000_000, None));
    assert!(s.compress);
    assert_eq!(s.audit_rotate_bytes, limits::AUDIT_ROTATE_BYTES);
    let seconds = [s.heartbeat, s.stall, s.stop].map(|time| time.as_secs());
    assert_eq!(seconds, [15, 60, 20]);
    assert_eq!((s.keep_transfers, s.keep_transfers_days), (10_000, Some(90)));
    assert_eq!(s.log_level, LevelFilter::Info);
}

#[test]
fn every_setting_is_followed() {
    assert!(matches!(set("AUTH_SECRET", "other").access, Access::Secret(secret) if secret.matches("other")));
    assert_eq!(set("HOST", "::1").host.to_string(), "::1");
    assert_eq!(set("HOST", "localhost").host.to_string(), "127.0.0.1");
    assert_eq!(set("PORT", "0").port, 0);
    assert_eq!(set("WS_PATH", "/agents/ws").ws_path, "/agents/ws");
    for (text, address) in [
        ("8081", "127.0.0.1:8081"),
        ("localhost:8081", "127.0.0.1:8081"),
        ("10.0.0.1:80", "10.0.0.1:80"),
        ("[::1]:0", "[::1]:0"),
    ] {
        assert_eq!(set("CONTROL_LISTEN", text).control_listen, Some(address.parse().unwrap()));
    }
    assert_eq!(set("CONTROL_LISTEN", "off").control_listen, None);
    assert_eq!(set("UPLOAD_DIR", "/srv/in box").upload_dir, PathBuf::from("/srv/in box"));
    assert_eq!(set("CHUNK_SIZE", "65536").chunk_size, Some(65_536));
    assert_eq!(set("CHUNK_SIZE", "4Mi").chunk_size, Some(limits::MAX_CHUNK_BYTES));
    assert!(set("COMPRESS", "auto").compress && !set("COMPRESS", "off").compress);
    assert_eq!(set("MAX_CONCURRENT_TRANSFERS", "1").max_concurrent_transfers, 1);
    assert_eq!(set("MAX_TRANSFERS_PER_CLIENT", "7").max_transfers_per_client, 7);
    assert_eq!(set("MAX_QUEUED_TRANSFERS", "0").max_queued_transfers, 0);
    assert_eq!(set("MAX_CLIENTS", "9000").max_clients, Some(9000));
    assert_eq!(set("MAX_FILE_SIZE", "5G").max_file_size, Some(5_000_000_000));
    assert_eq!(set("MIN_FREE_BYTES", "0").min_free_bytes, 0);
    assert_eq!(set("MAX_SPOOL_BYTES", "5Mi").max_spool_bytes, 5 << 20);
    assert_eq!(set("HEARTBEAT_SECONDS", "1").heartbeat.as_secs(), 1);
    assert_eq!(set("STALL_SECONDS", "86400").stall.as_secs(), 86_400);
    assert_eq!(set("STOP_SECONDS", "0").stop.as_secs(), 0);
    assert_eq!(set("KEEP_TRANSFERS", "1").keep_transfers, 1);
    assert_eq!(set("KEEP_TRANSFERS_DAYS", "0").keep_transfers_days, None);
    assert_eq!(set("KEEP_TRANSFERS_DAYS", "7").keep_transfers_days, Some(7));
    assert_eq!(set("KEEP_DOWNLOADS_DAYS", "30").keep_downloads_days, Some(30));
    assert_eq!(set("AUDIT_ROTATE_BYTES", "1M").audit_rotate_bytes, 1_000_000);
    assert_eq!(set("KEEP_DOWNLOADS_DAYS", "off").keep_downloads_days, None);
    for (level, filter) in
        [("off", LevelFilter::Off), ("error", LevelFilter::Error), ("DEBUG", LevelFilter::Debug)]
    {
        assert_eq!(set("LOG_LEVEL", level).log_level, filter);
    }
}

#[test]
fn what_cannot_work_is_named() {
    for (name, value) in [
        ("HOST", "example.com"),
        ("HOST", "0.0.0.0:8080"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "http"),
        ("PORT", "+80"),
        ("WS_PATH", "ws"),
        ("WS_PATH", "/"),
        ("WS_PATH", "//ws"),
        ("WS_PATH", "/clients"),
        ("WS_PATH", "/download/ws"),
        ("WS_PATH", "/openapi.json"),
        ("WS_PATH", "/ws?x=1"),
        ("WS_PATH", "/w#s"),
        ("WS_PATH", "/w s"),
        ("WS_PATH", "/wß"),
        ("CONTROL_LISTEN", "example.com:80"),
        ("CONTROL_LISTEN", "127.0.0.1"),
        ("CONTROL_LISTEN", "+80"),
        ("CONTROL_LISTEN", "localhost:+80"),
        ("CONTROL_LISTEN", "99999"),
        ("CHUNK_SIZE", "1023"),
        ("CHUNK_SIZE", "5M"),
        ("CHUNK_SIZE", "64kb"),
        ("COMPRESS", "always"),
        ("COMPRESS", "on"),
        ("MAX_CONCURRENT_TRANSFERS", "0"),
        ("MAX_TRANSFERS_PER_CLIENT", "0"),
        ("MAX_TRANSFERS_PER_CLIENT", "off"),
        ("MAX_QUEUED_TRANSFERS", "many"),
        ("MAX_CLIENTS", "0"),
        ("MAX_FILE_SIZE", "0"),
        ("MIN_FREE_BYTES", "-1"),
        ("HEARTBEAT_SECONDS", "0"),
        ("HEARTBEAT_SECONDS", "3601"),
        ("STALL_SECONDS", "0"),
        ("STALL_SECONDS", "60s"),
        ("STOP_SECONDS", "3601"),
        ("KEEP_TRANSFERS", "0"),
        ("KEEP_TRANSFERS_DAYS", "90d"),
        ("KEEP_DOWNLOADS_DAYS", "0"),
        ("KEEP_DOWNLOADS_DAYS", "30d"),
        ("AUDIT_ROTATE_BYTES", "4095"),
        ("LOG_LEVEL", "trace"),
        ("LOG_LEVEL", "loud"),
    ] {
        let text = error(read(&[(name, value)]));
        assert!(text.starts_with(&format!("{name}={value} (from the environment): expected ")), "{text}");
    }
}

#[test]
fn the_secret_is_required_and_not_shown() {
    let try_secret = |env: &[(&str, &str)]| error(ServerSettings::read(&given(&SERVER, &[], env).unwrap()));
    for env in [&[][..], &[("AUTH_SECRET", "")]] {
        assert!(try_secret(env).starts_with("AUTH_SECRET is not set: "), "{env:?}");
    }
    assert!(try_secret(&[("AUTH_SECRET", "change_me")]).contains("an example that everybody knows"));
    let long = "hunter2".repeat(200);
    for bad in ["hunter2\n", "hunter2\u{7f}", " hunter2", "hunter2 ", "hunter2ü", &long] {
        let text = try_secret(&[("AUTH_SECRET", bad)]);
        assert!(text.starts_with("AUTH_SECRET (from the environment, not shown)"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert!(!format!("{:?}", read(&[]).unwrap()).contains("s3cret"));
}

#[test]
fn the_example_file_is_the_table() {
    testing::check_example(&SERVER, "server.env.example");
}
