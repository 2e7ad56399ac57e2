//! The operator's command: see `towline --help`. It is the server and the agent too, so that one file is enough.

use towline::exit::Exit;
use towline::{command, program};

fn main() -> Exit {
    let mut args = std::env::args_os().skip(1);
    let name = args.next();
    match name.as_deref().and_then(|name| name.to_str()) {
        Some("server") => program::server(args),
        Some("agent") => program::agent(args),
        Some(_) | None => command::run(name, args),
    }
}
