//! The library as C programs see it, and C programs built and run against it.
//!
//! The shared library stands beside this test binary: cargo makes every crate type of a library that a test needs. It is
//! copied under its C names to a folder of the build, `lib/`, as an installation would have it. Programs are compiled
//! when they or what they are made of are newer; a lock on a file keeps several test processes from doing it twice.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// What a case that cannot prove its claim here ends with.
const SKIPPED: i32 = 77;

/// The headers of the library.
pub const HEADERS: [&str; 4] = ["ef_io.h", "efio.h", "ev_include.h", "thread_pool.h"];

/// Says why a test cannot prove its claim here; the tally counts it as skipped.
pub fn skip(reason: impl std::fmt::Display) {
    println!("skipped: {reason}");
}

/// The folder of this package.
pub fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The C headers.
pub fn include() -> PathBuf {
    package().join("include")
}

/// A folder of the build for what `purpose` needs, apart for each profile.
pub fn workshop(purpose: &str) -> PathBuf {
    let profile = deps().parent().and_then(Path::file_name).unwrap_or_default().to_os_string();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(profile).join(purpose);
    fs::create_dir_all(&folder).expect("a folder of the build");
    folder
}

/// The folder of this test binary.
fn deps() -> PathBuf {
    let binary = std::env::current_exe().expect("the test binary");
    binary.parent().expect("it stands in a folder").to_path_buf()
}

/// A lock that is held until it is dropped, by one process or thread at a time.
#[allow(clippy::incompatible_msrv, reason = "tests may ask for a newer Rust than the library")]
pub fn lock(path: &Path) -> File {
    let file = File::options().create(true).append(true).open(path).expect("a lock");
    file.lock().expect("a lock");
    file
}

/// Whether a program of this name can be run.
pub fn has(program: &str) -> bool {
    let ran = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    ran.is_ok()
}

/// The C compiler, if there is one.
pub fn compiler() -> Option<OsString> {
    let name = std::env::var_os("CC").unwrap_or("cc".into());
    Command::new(&name).arg("--version").output().is_ok().then_some(name)
}

fn changed(path: &Path) -> SystemTime {
    let data = fs::metadata(path);
    data.and_then(|data| data.modified()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Puts a copy of `from` at `to` in one step, so that whoever runs the old one goes on with it.
fn replace(from: &Path, to: &Path) {
    let new = to.with_extension(format!("{}.new", std::process::id()));
    fs::copy(from, &new).expect("room for a copy of the library");
    fs::rename(&new, to).expect("a rename");
}

/// The folder with `libefio.so.0` and `libefio.so`.
pub fn library() -> PathBuf {
    let folder = workshop("lib");
    let _held = lock(&folder.join("lock"));
    let (made, own) = (deps().join("libefio_capi.so"), folder.join("libefio.so.0"));
    assert!(made.exists(), "cargo has not built {}", made.display());
    if !own.exists() || changed(&own) < changed(&made) {
        replace(&made, &own);
    }
    if !folder.join("libefio.so").exists() {
        symlink("libefio.so.0", folder.join("libefio.so")).expect("a link");
    }
    folder
}

/// A program to build: its name, what it is made of, and what the compiler is told besides.
pub struct Program<'a> {
    pub name: &'a str,
    pub sources: &'a [PathBuf],
    pub flags: &'a [&'a str],
}

impl Program<'_> {
    /// The program, built against the shared library where it is not yet or no more.
    pub fn build(&self, compiler: &OsString) -> PathBuf {
        let library = library();
        let folder = workshop("programs");
        let program = folder.join(self.name);
        let _held = lock(&folder.join(format!("{}.lock", self.name)));
        let headers = [include(), package().join("tests/c")]
            .into_iter()
            .flat_map(|folder| fs::read_dir(folder).unwrap());
        let headers =
            headers.flatten().map(|entry| entry.path()).filter(|path| path.extension() == Some("h".as_ref()));
        let newest = headers.chain(self.sources.iter().cloned()).map(|path| changed(&path)).max();
        if program.exists() && newest < Some(changed(&program)) {
            return program;
        }
        let new = folder.join(format!("{}.{}.new", self.name, std::process::id()));
        let mut command = Command::new(compiler);
        command.args(["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-D_GNU_SOURCE", "-pthread"]);
        command.args(self.flags).arg("-I").arg(include()).args(self.sources).arg("-o").arg(&new);
        command.arg(library.join("libefio.so")).arg(format!("-Wl,-rpath,{}", library.display()));
        let output = command.output().expect("the compiler");
        assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
        fs::rename(&new, &program).expect("a rename");
        program
    }
}

/// How a program ended, and all that it said.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub said: String,
}

/// Runs a command to its end, or kills it and its children at `limit`.
pub fn run(command: &mut Command, limit: Duration) -> Ended {
    let said = tempfile::NamedTempFile::new_in(workshop("outputs")).expect("a file for the output");
    let file = || said.reopen().expect("the same file");
    let append = |path: &Path| File::options().append(true).open(path).expect("the same file");
    drop(file());
    command.stdin(Stdio::null()).stdout(append(said.path())).stderr(append(said.path())).process_group(0);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let begun = Instant::now();
    let mut late = String::new();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        if begun.elapsed() > limit && late.is_empty() {
            late = format!("\nkilled after {} s", limit.as_secs());
            end_group(child.id());
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    // What it may have left behind, such as a child of a case that failed.
    end_group(child.id());
    let said = String::from_utf8_lossy(&fs::read(said.path()).unwrap()).into_owned() + &late;
    Ended { code: status.code(), signal: status.signal(), said }
}

fn end_group(leader: u32) {
    let group = format!("-{leader}");
    let _gone = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
}

/// Runs one case of a conformance program in an empty folder of its own: passes, says why not, or panics.
pub fn judge(command: &mut Command, limit: Duration) {
    let place = tempfile::tempdir_in(workshop("places")).expect("a folder of its own");
    let ended = run(command.current_dir(place.path()), limit);
    match ended.code {
        Some(0) => {}
        Some(SKIPPED) => print!("{}", ended.said),
        _ => panic!("{command:?} ended with {:?}, signal {:?}:\n{}", ended.code, ended.signal, ended.said),
    }
}

/// The sources of a conformance program.
pub fn sources(name: &str) -> [PathBuf; 2] {
    let folder = package().join("tests/c");
    [folder.join("case.c"), folder.join(format!("{name}.c"))]
}

/// The names of the functions that the headers declare: a name and `(` at the margin, not behind `typedef` or `#`.
pub fn declared() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for header in HEADERS {
        let text = fs::read_to_string(include().join(header)).unwrap();
        for line in text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase())) {
            let Some((before, _)) = line.split_once('(').filter(|_| !line.starts_with("typedef")) else {
                continue;
            };
            names.insert(before.rsplit([' ', '*']).next().unwrap().to_string());
        }
    }
    assert!(names.contains("ef_open") && names.contains("create_thread_pool"), "{names:?}");
    names
}
