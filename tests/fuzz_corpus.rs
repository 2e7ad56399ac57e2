//! The kept corpus of the fuzz targets, and every input that ever broke one, through the very functions that are
//! fuzzed: `fuzz/README.md`. And that the golden files hold to the same.

#[allow(dead_code)] // what a test does not call, a target does
#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use fuzz::TARGETS;

/// Runs every file in the folder through the target; says how many there were.
fn replay(folder: &Path, run: fn(&[u8])) -> usize {
    let Ok(files) = fs::read_dir(folder) else { return 0 };
    let mut count = 0;
    for file in files {
        let path = file.expect("the folder can be listed").path();
        let data = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(catch_unwind(|| run(&data)).is_ok(), "{} breaks its target", path.display());
        count += 1;
    }
    count
}

#[test]
fn the_corpus_and_all_that_broke_a_target_once() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for (name, run) in TARGETS {
        let seeds = replay(&root.join("corpus").join(name), run);
        assert!(seeds > 0, "{name} has no corpus");
        replay(&root.join("regressions").join(name), run);
    }
}

#[test]
fn every_folder_is_that_of_a_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for folders in ["corpus", "regressions"] {
        let Ok(folders) = fs::read_dir(root.join(folders)) else { continue };
        for folder in folders {
            let name = folder.expect("the folder can be listed").file_name();
            assert!(TARGETS.iter().any(|(target, _)| name.to_str() == Some(target)), "{name:?}");
        }
    }
    for (name, _) in TARGETS {
        assert!(root.join("targets").join(name).with_extension("rs").is_file(), "{name}");
    }
}

#[test]
fn the_golden_messages_hold_to_it() {
    let golden = |file: &str| {
        let path = format!("{}/test-data/wire/{file}", env!("CARGO_MANIFEST_DIR"));
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    for file in ["to-agent.jsonl", "to-server.jsonl"] {
        golden(file).lines().for_each(|line| fuzz::messages::run(line.as_bytes()));
    }
    for file in ["chunk-headers.jsonl", "hashes-headers.jsonl"] {
        for line in golden(file).lines() {
            let length = (line.len() as u32).to_be_bytes();
            fuzz::packed::run(&[&length, line.as_bytes(), b"payload!"].concat());
        }
    }
}
