//! Peer: the servers that are compared, each a process that serves one folder on one port.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Outcome;

/// efio's own server.
pub const EFIO: &str = "efio serve";

/// One server and its program.
#[derive(Clone, Debug)]
pub struct Kind {
    /// As the board names it.
    pub name: &'static str,
    program: PathBuf,
    arguments: fn(&Path, u16) -> Outcome<Vec<String>>,
    /// What its loop answers by itself, without a look at any file, and how.
    pub ping: (&'static str, &'static str),
}

/// The servers that are there; for one that is missing it says so.
pub fn found() -> Vec<Kind> {
    let here = std::env::current_exe().unwrap_or_default();
    let efio = std::env::var_os("EFIO_BENCH_EFIO").map_or_else(|| here.with_file_name("efio"), PathBuf::from);
    let nginx = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"].map(PathBuf::from);
    let nginx = nginx.into_iter().find(|path| path.exists());
    let ping = ("/ping", "204");
    let mut kinds = vec![Kind { name: EFIO, program: efio, arguments: efio_arguments, ping: ("/", "404") }];
    match nginx {
        Some(program) => {
            kinds.push(Kind { name: "nginx, WebDAV PUT", program, arguments: nginx_arguments, ping })
        }
        None => println!("skipped: serve: nginx is not installed"),
    }
    kinds.push(Kind { name: "tokio::fs, 50 lines", program: here, arguments: tokio_arguments, ping });
    kinds.retain(|kind| kind.program.exists());
    kinds
}

fn efio_arguments(folder: &Path, port: u16) -> Outcome<Vec<String>> {
    let root = folder.join("root").display().to_string();
    Ok(["serve", "--root", &root, "--bind", &format!("127.0.0.1:{port}")].map(String::from).to_vec())
}

fn tokio_arguments(folder: &Path, port: u16) -> Outcome<Vec<String>> {
    let root = folder.join("root").display().to_string();
    Ok(vec![super::plain::NAME.to_string(), root, port.to_string()])
}

/// One worker in one process, sendfile for downloads, bodies straight into files beside the root.
fn nginx_arguments(folder: &Path, port: u16) -> Outcome<Vec<String>> {
    let at = folder.display();
    let settings = format!(
        "daemon off; master_process off; worker_processes 1; pid {at}/pid; error_log {at}/errors;
        events {{ worker_connections 512; }}
        http {{
            access_log off; sendfile on; tcp_nodelay on; client_max_body_size 0; keepalive_requests 100000000;
            client_body_temp_path {at}/temp;
            server {{ listen 127.0.0.1:{port}; root {at}/root; location = /ping {{ return 204; }} location / {{ dav_methods PUT; }} }}
        }}\n"
    );
    fs::create_dir_all(folder.join("temp"))?;
    let path = folder.join("nginx.conf");
    fs::write(&path, settings)?;
    Ok(vec!["-c".into(), path.display().to_string(), "-e".into(), format!("{at}/errors")])
}

/// A server that runs; the drop ends it and removes its files.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl Server {
    /// Starts it, and waits until it answers.
    pub fn start(kind: &Kind, folder: &Path) -> Outcome<Self> {
        let folder = folder.join("serve");
        fs::create_dir_all(folder.join("root"))?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let arguments = (kind.arguments)(&folder, address.port())?;
        let child = Command::new(&kind.program).args(arguments).stdout(Stdio::null()).spawn()?;
        let server = Self { child, address, folder };
        fs::write(server.folder.join("root/small"), b"small")?;
        for _ in 0..500 {
            if TcpStream::connect(address).is_ok() {
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(format!("{} does not answer", kind.name).into())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Seconds of processor time of all its threads so far.
    pub fn cpu_s(&self) -> Outcome<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // Behind the name, which may hold blanks: user and system time are the 12th and 13th, in hundredths.
        let behind = stat.rsplit_once(") ").ok_or("a stat without a name")?.1;
        let times = behind.split(' ').skip(11).take(2).map(str::parse::<f64>);
        Ok(times.sum::<Result<f64, _>>()? / 100.0)
    }

    /// Every upload is there, as long as it should be.
    pub fn check(&self, clients: usize, bytes: u64) -> Outcome<()> {
        for number in 0..clients {
            let path = self.folder.join(format!("root/{number}"));
            if fs::metadata(&path)?.len() != bytes {
                return Err(format!("{} is not as long as it was sent", path.display()).into());
            }
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended by itself needs no end; what cannot be removed is seen by whoever owns the folder.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
