//! The server: see `towline-server --help`.

use towline::exit::Exit;

fn main() -> Exit {
    towline::program::server(std::env::args_os().skip(1))
}
