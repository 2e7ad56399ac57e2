//! What stands in the place of TLS in a build without it: nothing of it can exist, and nothing of it is compiled.

use std::convert::Infallible;
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rustix::net::RecvFlags;

use super::{Room, Stream};

/// Whether this build can do TLS.
pub const IS_BUILT_IN: bool = false;

const NOT_BUILT_IN: &str = "this program was built without TLS";

/// Nothing: there is no TLS to speak of.
pub fn words(_: &io::Error) -> Option<String> {
    None
}

/// TLS over one socket: never.
#[derive(Debug)]
pub struct Session(Infallible);

impl Session {
    pub(super) fn peer_names(&self) -> Option<&[String]> {
        match self.0 {}
    }

    pub(super) fn version(&self) -> &'static str {
        match self.0 {}
    }

    pub(super) fn seal(&self, _: &[u8]) -> io::Result<Vec<u8>> {
        match self.0 {}
    }

    pub(super) fn seal_close(&self) -> Vec<u8> {
        match self.0 {}
    }

    pub(super) fn read_into(
        &self,
        _: &mut dyn Room,
        _: impl Fn(&mut Vec<u8>, RecvFlags) -> io::Result<usize>,
    ) -> io::Result<usize> {
        match self.0 {}
    }
}

/// Takes TLS connections: never.
#[derive(Debug)]
pub struct Acceptor(Infallible);

impl Acceptor {
    /// # Errors
    /// Always.
    pub fn load(_: PathBuf, _: PathBuf, _: Option<PathBuf>) -> Result<Acceptor, String> {
        Err(NOT_BUILT_IN.to_owned())
    }

    /// Never called.
    pub fn wants_certificates(&self) -> bool {
        match self.0 {}
    }

    /// Never called.
    ///
    /// # Errors
    /// Never.
    pub fn accept(&self, _: Arc<TcpStream>, _: Instant) -> io::Result<Stream> {
        match self.0 {}
    }

    /// Never called.
    pub fn look(&self) {
        match self.0 {}
    }
}

/// Opens TLS connections: never.
#[derive(Debug)]
pub struct Connector(Infallible);

impl Connector {
    /// # Errors
    /// Always.
    pub fn load(_: Option<&Path>, _: Option<&(PathBuf, PathBuf)>) -> Result<Connector, String> {
        Err(NOT_BUILT_IN.to_owned())
    }

    /// Never called.
    ///
    /// # Errors
    /// Never.
    pub fn connect(&self, _: TcpStream, _: &str, _: Instant) -> io::Result<Stream> {
        match self.0 {}
    }
}
