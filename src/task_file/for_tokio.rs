//! The traits of tokio for `TaskFile`; no runtime of tokio's is needed for them.

use std::io::{self, IoSlice, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

use super::{ANY, TaskFile};

impl AsyncRead for TaskFile {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if into.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let bytes = ready!(self.get_mut().poll_read(task, into.initialize_unfilled()))?;
        into.advance(bytes);
        Poll::Ready(Ok(()))
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

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Done when every byte is in the file.
    fn poll_flush(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_flush(task)
    }

    /// Writes what is left, closes, and tells the first error that nothing healed.
    fn poll_shutdown(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_close(task)
    }
}

impl AsyncSeek for TaskFile {
    fn start_seek(self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        self.get_mut().seek = Some(to);
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<u64>> {
        let file = self.get_mut();
        let to = file.seek.unwrap_or(SeekFrom::Current(0));
        let offset = ready!(file.poll_with(task, &ANY, |file| io::Seek::seek(file, to)));
        file.seek = None;
        Poll::Ready(offset)
    }
}
