//! From a socket through a chunked stream into a file: chunk by chunk and by vectored writes, every byte once and in order.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[cfg(feature = "bytes")]
use std::io::Read;
use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use efio::queue::chunked::{self, Buffer, State};
use efio::{Efio, Fd, File, OpenOptions};

mod support;

use support::noise;

const BYTES: usize = 3 << 20;

/// `ef_write` as a `Write`.
struct ByDescriptor<'a>(&'a Efio, Fd);

impl Write for ByDescriptor<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.0.ef_write(self.1, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends `bytes` through a socket to `drain`, by way of a stream with room for 100,000; stops at the end of the socket.
fn through(bytes: &[u8], mut drain: impl FnMut(&mut chunked::Reader) -> io::Result<usize>) {
    let (mut near, mut far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || far.write_all(bytes).unwrap());
        let (mut writer, mut reader) = chunked::stream(100_000);
        while reader.state() == State::Open || !reader.is_empty() {
            match writer.fill_from(&mut near, 16 << 10) {
                Ok(0) => _ = writer.end(),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) if error.kind() == ErrorKind::BrokenPipe && writer.is_closed() => {}
                Err(error) => panic!("{error}"),
            }
            assert!(writer.len() <= writer.limit(), "the bound holds");
            match drain(&mut reader) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
                Ok(_) => {}
            }
        }
    });
}

/// A module with little memory, so that the file refuses now and then.
fn narrow() -> Efio {
    Efio::builder().memory_limit(8 << 20).file_memory_limit(1 << 20).build().unwrap()
}

fn opened(efio: &Efio, path: &Path) -> File {
    let file = efio.open(path, &OpenOptions::new().write(true).create(true)).unwrap();
    support::wait_until("the file is open", || efio.ef_open_status(file.fd()).is_ok());
    file
}

fn closed(file: File, path: &Path, bytes: &[u8]) {
    let efio = file.efio().clone();
    efio.ef_close_immediate(file.into_fd()).unwrap();
    let found = std::fs::read(path).unwrap();
    assert!(found == bytes, "{} bytes of {} differ", found.len(), bytes.len());
}

#[test]
fn a_socket_goes_into_a_file_chunk_by_chunk() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes, efio) = (folder.path().join("file"), noise(1, BYTES), narrow());
    let fd = opened(&efio, &path).into_fd();
    through(&bytes, |reader| reader.drain_into(&mut ByDescriptor(&efio, fd)));
    closed(efio.from_fd(fd).unwrap(), &path, &bytes);
}

#[test]
fn a_socket_goes_into_a_file_by_vectored_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes, efio) = (folder.path().join("file"), noise(2, BYTES), narrow());
    let mut file = opened(&efio, &path);
    through(&bytes, |reader| reader.drain_vectored(&mut file));
    closed(file, &path, &bytes);
}

#[test]
fn buffers_of_every_owner_go_into_a_file_by_one_vectored_write() {
    let folder = tempfile::tempdir().unwrap();
    let (path, efio) = (folder.path().join("file"), narrow());
    let mut file = opened(&efio, &path);
    let (mut writer, mut reader) = chunked::stream(1 << 20);
    let mut expected = Vec::new();
    let mut push = |buffer: Buffer| {
        expected.extend_from_slice(&buffer);
        assert!(writer.push(buffer).is_ok());
    };
    push(b"vector ".to_vec().into());
    push(b"slice ".to_vec().into_boxed_slice().into());
    push(b"static "[..].into());
    // A page that somebody lends stays with its owner until the stream is done with it.
    let page = std::sync::Arc::new([b'p'; 4096]);
    struct Lent(std::sync::Arc<[u8; 4096]>);
    impl AsRef<[u8]> for Lent {
        fn as_ref(&self) -> &[u8] {
            &self.0[..]
        }
    }
    push(Buffer::from_owner(Lent(page.clone())));
    #[cfg(feature = "bytes")]
    push(bytes::Bytes::from_static(b"bytes").into());
    assert_eq!(std::sync::Arc::strong_count(&page), 2);
    assert_eq!(reader.drain_vectored(&mut file).unwrap(), expected.len());
    assert_eq!(std::sync::Arc::strong_count(&page), 1, "given back when its bytes were taken");
    closed(file, &path, &expected);
}

#[cfg(feature = "bytes")]
#[test]
fn bytes_are_shared_and_never_copied() {
    let page = bytes::Bytes::from(noise(3, 4096));
    let (mut writer, mut reader) = chunked::stream(1 << 20);
    assert!(writer.push(page.slice(96..)).is_ok() && writer.push(bytes::Bytes::new()).is_ok());
    assert!(writer.end());
    assert_eq!(reader.len(), 4000, "an empty buffer changes nothing");
    let mut start = [0; 10];
    assert_eq!(reader.copy(7, &mut start), 10);
    assert_eq!(start, page[103..113]);
    assert_eq!(reader.erase(4), Ok(()));
    assert_eq!(reader.chunks().next().unwrap().as_ptr(), page[100..].as_ptr());
    let chunk = reader.pop().unwrap();
    assert_eq!(chunk.as_ptr(), page[100..].as_ptr());
    assert_eq!(chunk.into_vec(), page[100..]);
    assert_eq!(reader.read(&mut start).unwrap(), 0);
    assert!(page.is_unique(), "the stream has let go of it");
}
