//! The C and C++ compilers of this machine, and programs made with them against the library that cargo has just built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a program may run.
const LIMIT: Duration = Duration::from_secs(120);

/// Warnings that the headers and the programs must not raise.
const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

/// How a program is linked.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Linking {
    Shared,
    Static,
}

/// A folder of this test alone, with the libraries under the names that linkers and loaders look for.
pub(crate) struct Workshop {
    folder: tempfile::TempDir,
}

/// The folder of this package.
pub(crate) fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What cargo has built lies where this test does.
pub(crate) fn built(name: &str) -> PathBuf {
    let library = std::env::current_exe().unwrap().with_file_name(name);
    assert!(library.exists(), "cargo has not built {}", library.display());
    library
}

/// A program of this machine: the one that the variable names, else the one on the path. None: there is none.
pub(crate) fn tool(variable: &str, name: &str) -> Option<String> {
    let tool = std::env::var(variable).unwrap_or_else(|_| name.to_string());
    let found = Command::new(&tool).arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        println!("skipped: {tool} is not installed");
    }
    found.then_some(tool)
}

impl Workshop {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["libefio_ds.so", "libefio_ds.so.0"] {
            std::os::unix::fs::symlink(built("libefio_ds.so"), folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    /// Compiles a source file (`.c` or `.cpp`) to a program; None: no compiler.
    pub(crate) fn compile(&self, source: &Path, standard: &str, linking: Linking) -> Option<PathBuf> {
        let compiler = if source.extension()? == "c" { tool("CC", "cc")? } else { tool("CXX", "c++")? };
        let program = self.folder.path().join(source.file_stem()?);
        let mut command = Command::new(compiler);
        command.arg(format!("-std={standard}")).args(WARNINGS);
        command.args(["-D_POSIX_C_SOURCE=200809L", "-O1", "-g", "-pthread", "-I"]);
        command.arg(package().join("include")).arg("-I").arg(package().join("tests/c"));
        command.arg("-I").arg(source.parent()?).arg(source).arg("-o").arg(&program);
        match linking {
            Linking::Shared => command.arg("-L").arg(self.folder.path()).arg("-lefio_ds"),
            Linking::Static => command.arg(built("libefio_ds.a")).args(["-ldl", "-lm"]),
        };
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(program)
    }

    /// Runs a program to its end, which must come in time and be a good one.
    pub(crate) fn run(&self, command: &mut Command) -> Output {
        command.env("LD_LIBRARY_PATH", self.folder.path()).stdin(Stdio::null());
        let log = self.folder.path().join("log");
        let file = fs::File::create(&log).unwrap();
        command.stdout(file.try_clone().unwrap()).stderr(file);
        let mut child = command.spawn().unwrap();
        let begun = Instant::now();
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None if begun.elapsed() > LIMIT => {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    panic!("{command:?} has not ended in {LIMIT:?}: {}", fs::read_to_string(&log).unwrap());
                }
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        let said = fs::read(&log).unwrap();
        assert!(status.success(), "{command:?}: {status}: {}", String::from_utf8_lossy(&said));
        Output { status, stdout: said, stderr: Vec::new() }
    }
}

/// The standard that the programs of a language are written in.
pub(crate) fn oldest(source: &str) -> &'static str {
    if source.ends_with(".c") { "c99" } else { "c++11" }
}

/// Compiles one of `tests/c` and runs it.
pub(crate) fn check(source: &str, arguments: &[&str]) {
    let workshop = Workshop::new();
    let path = package().join("tests/c").join(source);
    if let Some(program) = workshop.compile(&path, oldest(source), Linking::Shared) {
        workshop.run(Command::new(program).args(arguments));
    }
}

/// The same under valgrind, which must find no bad access and no memory that was not given back.
pub(crate) fn check_memory(source: &str, arguments: &[&str]) {
    let workshop = Workshop::new();
    let path = package().join("tests/c").join(source);
    let Some(valgrind) = tool("VALGRIND", "valgrind") else { return };
    if let Some(program) = workshop.compile(&path, oldest(source), Linking::Shared) {
        let mut command = Command::new(valgrind);
        command.args(["-q", "--error-exitcode=99", "--leak-check=full", "--show-leak-kinds=all"]);
        command.arg("--errors-for-leak-kinds=all").arg(program).args(arguments);
        workshop.run(&mut command);
    }
}
