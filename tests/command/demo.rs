//! `towline demo`.

use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::program::Program;
use crate::support::temp::TempDir;
use crate::{TOWLINE, code, err, names, out, towline};

#[test]
fn demo_shows_a_verified_pull_and_leaves_nothing() {
    let home = TempDir::new();
    let mut demo = towline(&home, &["demo", "--size", "3M"]);
    // What its user has set for a server of their own.
    demo.env("TMPDIR", &*home).env("PORT", "not a port").env("AUTH_SECRET", "change_me");
    demo.env("http_proxy", "http://nobody.invalid:1");
    let output = demo.output().unwrap();
    assert_eq!(code(&output), 0, "{}{}", out(&output), err(&output));
    let curl = "curl -X POST \"$SERVER/download/shop-001\"";
    for expected in ["shop-001: equal, ", "shop-002: equal, ", "MB/s", curl] {
        assert!(out(&output).contains(expected), "{expected} in {}", out(&output));
    }
    assert_eq!(names(&home), [""; 0]);
}

#[test]
fn demo_keeps_all_running_when_told_to() {
    let home = TempDir::new();
    let output = towline(&home, &["demo", "--size", "0", "--keep"]).env("TMPDIR", &*home).output().unwrap();
    assert_eq!(code(&output), 0, "{}{}", out(&output), err(&output));
    let text = out(&output);
    let part = |from: &str, to: &str| text.split_once(from).unwrap().1.split_once(to).unwrap().0.to_owned();
    let mut clients = towline(&home, &["clients", "--json"]);
    clients.env("SERVER", part("SERVER=", " ")).env("API_KEY", part("API_KEY=", "\n"));
    let listed = clients.output().unwrap();
    // Stopped before anything is asserted: nothing else would stop them.
    let stopped = Command::new("sh").args(["-c", &part("To end it: ", "\n")]).status().unwrap();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert!(stopped.success());
    assert_eq!(names(&home), [""; 0]);
}

#[test]
fn a_demo_that_is_stopped_leaves_nothing() {
    let home = TempDir::new();
    let tmp = home.to_str().unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        for line in ["A server and two agents", "2. Server", "4. Pull"] {
            let mut demo =
                Program::start("demo", TOWLINE, &["demo", "--size", "30M"], &[("TMPDIR", tmp)], &home);
            demo.wait_line(line);
            demo.signal(signal);
            assert_eq!(demo.wait_exit(), 1, "{line}: {}", demo.output());
            assert!(demo.output().contains("towline demo: stopped, and "), "{line}: {}", demo.output());
            assert_eq!(names(&home), [""; 0], "{line}");
        }
    }
}

#[test]
fn a_demo_that_cannot_start_says_why() {
    let home = TempDir::new();
    let output = towline(&home, &["demo"]).env("TMPDIR", home.join("absent")).output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(err(&output).starts_with("towline demo: cannot create "), "{}", err(&output));
    assert_eq!(err(&output).lines().count(), 1);
}
