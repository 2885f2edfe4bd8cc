//! Plain: a server as one writes it on `tokio::fs` in fifty lines; one loop, files on tokio's own threads.

use std::path::{Path, PathBuf};

use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::Outcome;

/// The word by which this program becomes that server.
pub const NAME: &str = "tokio-server";

const PIECE: usize = 64 << 10;

/// Serves a folder until it is killed.
pub fn serve(root: &Path, port: u16) -> Outcome<()> {
    let loop_of_one = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    loop_of_one.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        loop {
            let (socket, _) = listener.accept().await?;
            let root = root.to_path_buf();
            // A client that goes away ends its own task.
            tokio::spawn(async move { _ = client(socket, root).await });
        }
    })
}

async fn client(mut socket: TcpStream, root: PathBuf) -> Outcome<()> {
    let mut piece = vec![0; PIECE];
    let mut input = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            match socket.read(&mut piece).await? {
                0 => return Ok(()),
                read => input.extend_from_slice(&piece[..read]),
            }
        };
        let head = String::from_utf8_lossy(&input[..end]).into_owned();
        input.drain(..end);
        let mut words = head.split(' ');
        let (method, name) = (words.next().unwrap_or(""), words.next().unwrap_or("/"));
        if name == "/ping" {
            socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
            continue;
        }
        let path = root.join(&name[1..]);
        if method == "PUT" {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            let mut left: usize = length.ok_or("no length")?.parse()?;
            let mut file = File::create(&path).await?;
            file.write_all(&input).await?;
            left -= input.len();
            input.clear();
            while left > 0 {
                let most = left.min(PIECE);
                let read = socket.read(&mut piece[..most]).await?;
                file.write_all(&piece[..read]).await?;
                left -= if read == 0 { return Ok(()) } else { read };
            }
            file.flush().await?;
            socket.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await?;
            continue;
        }
        let mut file = File::open(&path).await?;
        let length = file.metadata().await?.len();
        socket.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes()).await?;
        loop {
            if method != "GET" {
                break;
            }
            match file.read(&mut piece).await? {
                0 => break,
                read => socket.write_all(&piece[..read]).await?,
            }
        }
    }
}
