//! The server on a hostile internet: each test does something bad while another client's 100 MB are pulled, and that pull
//! ends verified, within the memory that is stated.

mod downloads;
mod frames;
mod log;
mod messages;
mod probes;
mod requests;
mod slow;
mod strangers;
#[path = "../support/mod.rs"]
mod support;
mod twins;
