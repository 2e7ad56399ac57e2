//! Where the control plane listens: a Unix socket that only this user can reach, gone when the server is.
//!
//! It is reached by a handle where the system has `/proc`, so that a cleaner that removes its file cuts nobody off.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{Mode, OFlags};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::limits;
use crate::lock::lock;

/// The socket's file.
const NAME: &str = "control.sock";

/// The private address of the control plane. Removed from the file system on drop.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    /// A folder that was made for the socket, and goes with it.
    folder: Option<PathBuf>,
    /// The socket itself, whatever has become of its path.
    handle: Mutex<Option<OwnedFd>>,
}

impl ControlSocket {
    /// Listens in `dir`; where the path is too long for a socket, or the file system holds none, in a fresh private
    /// folder among the system's temporary files.
    ///
    /// # Errors
    /// [`ErrorKind::AddrInUse`] when another server answers in `dir`; otherwise when neither place will do.
    pub fn bind(dir: &Path) -> io::Result<(ControlSocket, UnixListener)> {
        let path = dir.join(NAME);
        remove_stale(&path)?;
        match listen(&path) {
            Ok(listener) => {
                let handle = Mutex::new(handle(&path));
                Ok((ControlSocket { path, folder: None, handle }, listener))
            }
            Err(error) => {
                log::debug!("no control socket at {}: {error}", path.display());
                ControlSocket::bind_elsewhere()
            }
        }
    }

    /// Listens again, after the first listener was closed.
    ///
    /// # Errors
    /// When descriptors have run out, or the folder has gone.
    pub fn listen_again(&self) -> io::Result<UnixListener> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let listener = listen(&self.path)?;
        *lock(&self.handle) = handle(&self.path);
        Ok(listener)
    }

    /// Connects to the control plane.
    ///
    /// # Errors
    /// When it does not listen, or descriptors have run out.
    pub fn connect(&self) -> io::Result<UnixStream> {
        let handle = lock(&self.handle);
        let by_handle = handle
            .as_ref()
            .map(|handle| UnixStream::connect(format!("/proc/self/fd/{}", handle.as_raw_fd())));
        drop(handle);
        match by_handle {
            Some(Ok(socket)) => Ok(socket),
            Some(Err(_)) | None => UnixStream::connect(&self.path),
        }
    }

    fn bind_elsewhere() -> io::Result<(ControlSocket, UnixListener)> {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let folder = std::env::temp_dir().join(format!("towline-{}-{nanos:x}", std::process::id()));
        // Fails when anything has this name already, a link too: nobody can prepare the folder for us.
        DirBuilder::new().mode(0o700).create(&folder)?;
        let path = folder.join(NAME);
        let listening = listen(&path);
        let handle = Mutex::new(handle(&path));
        let socket = ControlSocket { path, folder: Some(folder), handle };
        Ok((socket, listening?))
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let removed = fs::remove_file(&self.path);
        if let Err(error) = self.folder.as_ref().map_or(removed, fs::remove_dir) {
            log::debug!("removing {}: {error}", self.path.display());
        }
    }
}

/// Removes a socket that a server left behind when it was killed; one that answers stays.
fn remove_stale(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        return Ok(());
    }
    match UnixStream::connect(path) {
        Ok(_) => {
            let message = format!("another server is running: it answers at {}", path.display());
            Err(io::Error::new(ErrorKind::AddrInUse, message))
        }
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(_) => Ok(()), // not ours: `bind` will say so
    }
}

/// A handle on the socket at `path`; without one, the path has to do.
fn handle(path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .inspect_err(|error| log::debug!("no handle on {}: {error}", path.display()))
        .ok()
}

/// As `UnixListener::bind`, but nobody else can connect at any moment: between `bind` and `listen` nobody can at all.
fn listen(path: &Path) -> io::Result<UnixListener> {
    if path.as_os_str().len() > limits::MAX_SOCKET_PATH_BYTES {
        return Err(io::Error::new(ErrorKind::InvalidInput, "the path is too long for a socket"));
    }
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    let listening = fs::set_permissions(path, Permissions::from_mode(0o600))
        .and_then(|()| net::listen(&socket, limits::ACCEPT_BACKLOG).map_err(io::Error::from));
    match listening {
        Ok(()) => Ok(UnixListener::from(socket)),
        Err(error) => fs::remove_file(path).and(Err(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("towline-door-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn reachable(socket: &ControlSocket, listener: &UnixListener) {
        thread::scope(|scope| {
            let caller = scope.spawn(|| socket.connect().unwrap());
            listener.accept().unwrap();
            caller.join().unwrap();
        });
    }

    #[test]
    fn lives_in_its_folder_and_goes_with_its_owner() {
        let dir = folder("plain");
        let (socket, listener) = ControlSocket::bind(&dir).unwrap();
        assert_eq!(socket.path, dir.join(NAME));
        assert_eq!(mode(&socket.path), 0o600);
        reachable(&socket, &listener);

        assert_eq!(ControlSocket::bind(&dir).unwrap_err().kind(), ErrorKind::AddrInUse);
        assert!(socket.path.exists(), "the other server keeps its socket");

        drop((socket, listener));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
        fs::remove_dir(dir).unwrap();
    }

    #[test]
    fn a_cleaner_that_removes_its_file_cuts_nobody_off() {
        let dir = folder("cleaned");
        let (socket, listener) = ControlSocket::bind(&dir).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        reachable(&socket, &listener);
        drop(listener);
        let listener = socket.listen_again().unwrap();
        reachable(&socket, &listener);
        drop(socket);
        fs::remove_dir(dir).unwrap();
    }

    #[test]
    fn a_stale_socket_is_replaced() {
        let dir = folder("stale");
        drop(UnixListener::bind(dir.join(NAME)).unwrap()); // the file stays
        let (socket, listener) = ControlSocket::bind(&dir).unwrap();
        reachable(&socket, &listener);
        drop(socket);
        fs::remove_dir(dir).unwrap();
    }

    #[test]
    fn where_the_folder_will_not_do_another_is_made() {
        let long = folder(&"x".repeat(100));
        let occupied = folder("occupied");
        fs::write(occupied.join(NAME), "not ours").unwrap();
        for dir in [long.clone(), occupied.clone(), occupied.join("missing")] {
            let (socket, listener) = ControlSocket::bind(&dir).unwrap();
            let made = socket.folder.clone().unwrap();
            assert_eq!((mode(&made), mode(&socket.path)), (0o700, 0o600));
            reachable(&socket, &listener);
            drop(socket);
            assert!(!made.exists());
        }
        assert_eq!(fs::read(occupied.join(NAME)).unwrap(), b"not ours");
        fs::remove_dir_all(occupied).unwrap();
        fs::remove_dir(long).unwrap();
    }
}
