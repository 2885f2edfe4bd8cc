//! Slow: a disk that takes a few MiB a second: an ext4 image on a loop device that the kernel holds back.
//!
//! The kernel lets no more than [`RATE`] bytes a second through to the device (`blkio.throttle`), and lets writers run ahead
//! of it by no more than [`AHEAD`] bytes, so that they wait in `write(2)` as they do when the memory is full of bytes that a
//! disk has not taken yet.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;
use crate::process::Folder;

/// Bytes a second.
const RATE: u64 = 40 << 20;
/// Bytes in memory that the device has not taken yet.
const AHEAD: u64 = 32 << 20;
const THROTTLE: &str = "/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device";

/// The disk, mounted; the drop takes it down and its limits away.
#[derive(Debug)]
pub struct SlowDisk {
    folder: PathBuf,
    device: String,
    /// The device's numbers, as the kernel's files have them.
    number: String,
}

impl SlowDisk {
    /// Makes one within `folder`; an error is the reason why there can be none here.
    pub fn start(folder: &Folder) -> Outcome<Self> {
        if !Path::new(THROTTLE).exists() {
            return Err(format!("no {THROTTLE} (control groups of version 1)").into());
        }
        let image = folder.file("slow-image");
        let at = image.display().to_string();
        fs::File::create(&image)?.set_len(1 << 30)?;
        run("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", &at])?;
        let device = run("losetup", &["--find", "--show", &at])?;
        // From here on the drop takes away what there is.
        let mut disk = Self { folder: folder.file("slow"), device, number: String::new() };
        let number = fs::read_to_string(disk.device.replace("/dev/", "/sys/block/") + "/dev")?;
        disk.number = number.trim().to_string();
        fs::create_dir_all(&disk.folder)?;
        run("mount", &[&disk.device, &disk.folder.display().to_string()])?;
        disk.limit("strict_limit", 1)?;
        disk.limit("max_bytes", AHEAD)?;
        fs::write(THROTTLE, format!("{} {RATE}", disk.number))?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits until the device has taken everything.
    pub fn settle(&self) -> Outcome<()> {
        run("sync", &["-f", &self.folder.display().to_string()]).map(|_| ())
    }

    fn limit(&self, name: &str, value: u64) -> Outcome<()> {
        Ok(fs::write(format!("/sys/class/bdi/{}/{name}", self.number), value.to_string())?)
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        // What cannot be taken away shows in `mount` and `losetup`.
        let _ = fs::write(THROTTLE, format!("{} 0", self.number));
        let _ = self.limit("strict_limit", 0);
        let _ = self.limit("max_ratio", 100);
        let _ = run("umount", &[&self.folder.display().to_string()]);
        let _ = run("losetup", &["--detach", &self.device]);
    }
}

/// Runs a program; gives what it says, without the line's end.
fn run(program: &str, arguments: &[&str]) -> Outcome<String> {
    let output =
        Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
}
