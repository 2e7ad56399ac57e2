//! `kill -9` of either side at random moments: ten here, hundreds with `cargo bench --bench survival -- kills`.

use crate::support::kill_run;

#[test]
fn ten_deaths_at_random_moments_lose_nothing_and_spoil_nothing() {
    let seed = std::process::id().into();
    eprintln!("seed {seed}"); // shown when the test fails
    let outcome = kill_run::run(seed, 10, 3);
    eprintln!("{outcome}");
    assert!(outcome.is_sound(), "seed {seed}");
    assert!(outcome.audit.interruptions > 0, "no death has met a pull: seed {seed}");
    // Five attempts in a row that came no further than one before are the one reason that deaths alone give.
    let reasons: Vec<_> = outcome.audit.failed.keys().filter(|code| *code != "client_disconnected").collect();
    assert!(reasons.is_empty(), "{reasons:?}");
}
