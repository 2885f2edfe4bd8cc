//! The traits of futures-io for `TaskFile`.

use std::io::{self, IoSlice, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite};

use super::{ANY, TaskFile};

impl AsyncRead for TaskFile {
    fn poll_read(self: Pin<&mut Self>, task: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_read(task, into)
    }
}

impl AsyncBufRead for TaskFile {
    fn poll_fill_buf(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.get_mut().poll_fill_buf(task)
    }

    fn consume(self: Pin<&mut Self>, bytes: usize) {
        self.get_mut().consume_bytes(bytes);
    }
}

impl AsyncWrite for TaskFile {
    fn poll_write(self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write(task, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_vectored(task, slices)
    }

    /// Done when every byte is in the file.
    fn poll_flush(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_flush(task)
    }

    /// Writes what is left, closes, and tells the first error that nothing healed.
    fn poll_close(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_close(task)
    }
}

impl AsyncSeek for TaskFile {
    fn poll_seek(self: Pin<&mut Self>, task: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
        self.get_mut().poll_with(task, &ANY, |file| io::Seek::seek(file, to))
    }
}
