//! Names beneath a folder that they cannot leave, by the kernel's resolver and by walking.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::sys::path::Resolver;

/// A folder `root` with a file, a folder and links in it, and a secret beside it.
fn benches() -> [(Bench, Folder); 2] {
    [Resolver::Kernel, Resolver::Walk].map(|resolver| {
        let bench = Bench::on(Os { resolver, ..Os::new() });
        fs::create_dir_all(bench.path("root/inner/deep")).unwrap();
        fs::write(bench.path("secret"), "secret").unwrap();
        fs::write(bench.path("root/inner/file"), "inner").unwrap();
        symlink("../secret", bench.path("root/link_out")).unwrap();
        symlink("inner/file", bench.path("root/link_in")).unwrap();
        symlink("inner", bench.path("root/link_folder")).unwrap();
        symlink("/", bench.path("root/inner/link_root")).unwrap();
        let folder = bench.disk.open_folder(&bench.name("root")).unwrap();
        (bench, folder)
    })
}

fn within(folder: &Folder, path: &str) -> Name {
    Name { beneath: Some(folder.clone()), path: CString::new(path).unwrap() }
}

#[test]
fn a_name_beneath_a_folder_opens_and_creates() {
    for (bench, folder) in benches() {
        let opened = bench.open(reading(within(&folder, "inner/file"))).unwrap();
        assert_eq!(fill(&bench.disk, opened.handle, 0, 9).0, b"inner");
        bench.close(opened);
        bench.close(bench.open(creating(within(&folder, "inner/deep/new"))).unwrap());
        assert!(bench.path("root/inner/deep/new").exists());
    }
}

#[test]
fn no_name_leaves_its_folder() {
    let long = format!("inner/{}", "n".repeat(256));
    let cases = [
        ("", libc::ENOENT),
        ("/etc/passwd", libc::EXDEV),
        ("../secret", libc::EXDEV),
        ("inner/../../secret", libc::EXDEV),
        ("inner/..", libc::EXDEV),
        (".", libc::EINVAL),
        ("inner//file", libc::EINVAL),
        ("inner/./file", libc::EINVAL),
        ("inner/", libc::EISDIR),
        (&long, libc::ENAMETOOLONG),
        ("link_out", libc::ELOOP),
        ("link_in", libc::ELOOP),
        ("link_folder/file", libc::ELOOP),
        ("inner/link_root/etc", libc::ELOOP),
        ("inner/file/more", libc::ENOTDIR),
        ("missing/file", libc::ENOENT),
    ];
    for (bench, folder) in benches() {
        for (path, errno) in cases {
            let name = || within(&folder, path);
            let resolver = bench.disk.resolver;
            assert_eq!(bench.open(reading(name())).unwrap_err().errno, errno, "{resolver:?} {path}");
            assert_eq!(bench.open(creating(name())).unwrap_err().errno, errno, "{resolver:?} {path}");
            assert_eq!(stat(&bench.disk, name(), true).unwrap_err().errno, errno, "{resolver:?} {path}");
        }
        assert_eq!(fs::read(bench.path("secret")).unwrap(), b"secret");
    }
}

#[test]
fn a_link_is_seen_but_not_followed() {
    for (bench, folder) in benches() {
        let link = stat(&bench.disk, within(&folder, "link_out"), false).unwrap();
        assert_eq!(link.mode & libc::S_IFMT, libc::S_IFLNK);
        assert_eq!(stat(&bench.disk, bench.name("root/link_in"), true).unwrap().size, 5);
    }
}

#[test]
fn names_beneath_a_folder_are_renamed_and_removed() {
    for (bench, folder) in benches() {
        let name = |path| within(&folder, path);
        let rename = |from, to, replace| Work::Rename { from: name(from), to: name(to), replace };
        renamed(&bench.disk, rename("inner/file", "moved", true)).unwrap();
        bench.close(bench.open(creating(name("other"))).unwrap());
        assert_eq!(renamed(&bench.disk, rename("other", "moved", false)).unwrap_err().errno, libc::EEXIST);
        assert_eq!(renamed(&bench.disk, rename("moved", "../out", true)).unwrap_err().errno, libc::EXDEV);
        renamed(&bench.disk, rename("moved", "fresh", false)).unwrap();
        renamed(&bench.disk, Work::Unlink { name: name("fresh"), folder: false }).unwrap();
        renamed(&bench.disk, Work::Unlink { name: name("inner/deep"), folder: true }).unwrap();
        let full = renamed(&bench.disk, Work::Unlink { name: name("inner"), folder: true });
        assert_eq!(full.unwrap_err().errno, libc::ENOTEMPTY);
    }
}

#[test]
fn a_folder_beneath_a_folder_opens_and_closes_with_its_last_clone() {
    for (bench, folder) in benches() {
        let inner =
            match outcome(&bench.disk, Kind::Meta, Work::OpenFolder { name: within(&folder, "inner") }) {
                Outcome::Folder(inner) => inner.unwrap(),
                other => panic!("{other:?}"),
            };
        let opened = bench.open(reading(within(&inner.clone(), "file"))).unwrap();
        let path = format!("/proc/self/fd/{}", inner.handle.0);
        assert!(fs::read_link(&path).unwrap().ends_with("inner"));
        drop(inner);
        assert!(!fs::read_link(&path).is_ok_and(|target| target == bench.path("root/inner")));
        bench.close(opened);
    }
}

#[test]
fn a_staged_file_is_published_beneath_its_folder() {
    for (bench, folder) in benches() {
        let opened = bench.open(staging(within(&folder, "inner/upload"))).unwrap();
        write(&bench.disk, opened.handle, Place::At(0), b"whole");
        publish(&bench.disk, opened.handle, opened.staged.unwrap(), true).unwrap();
        close(&bench.disk, opened.handle, None).unwrap();
        assert_eq!(fs::read(bench.path("root/inner/upload")).unwrap(), b"whole");
        let outside = staging(within(&folder, "link_folder/upload"));
        assert_eq!(bench.open(outside).unwrap_err().errno, libc::ELOOP);
    }
}

/// While a client's folder is swapped for a link and back, what is opened is never what the link leads to.
#[test]
fn swapping_a_folder_for_a_link_lets_no_one_out() {
    for (bench, folder) in benches() {
        fs::create_dir(bench.path("outside")).unwrap();
        fs::write(bench.path("outside/file"), "outside").unwrap();
        symlink("../outside", bench.path("root/trap")).unwrap();
        let (inner, trap, aside) =
            (bench.path("root/inner"), bench.path("root/trap"), bench.path("root/aside"));
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    for (from, to) in [(&inner, &aside), (&trap, &inner), (&inner, &trap), (&aside, &inner)] {
                        fs::rename(from, to).unwrap();
                    }
                }
            });
            let mut found = 0;
            for _ in 0..3000 {
                if let Ok(opened) = bench.open(reading(within(&folder, "inner/file"))) {
                    assert_eq!(fill(&bench.disk, opened.handle, 0, 9).0, b"inner");
                    found += 1;
                    bench.close(opened);
                }
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            println!("{:?}: opened {found} of 3000", bench.disk.resolver);
        });
    }
}
