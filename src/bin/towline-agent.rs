//! The agent: see `towline-agent --help`.

use towline::exit::Exit;

fn main() -> Exit {
    towline::program::agent(std::env::args_os().skip(1))
}
