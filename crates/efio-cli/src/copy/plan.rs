//! The plan: what is copied where, and what is refused before a byte moves.

use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::Failure;
use crate::cli::Cp;

/// One thing to copy, as it was when the plan was made.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What is copied.
    pub from: PathBuf,
    /// The name of the copy, for people.
    pub to: PathBuf,
    /// The same from the plan's base on; empty for the base itself.
    pub rel: PathBuf,
    /// Its size, mode and times.
    pub metadata: Metadata,
}

/// What could not be copied, and why.
#[derive(Debug)]
pub struct Fault {
    path: PathBuf,
    reason: String,
}

impl Fault {
    /// `path` was not copied, or not fully.
    pub fn new(path: &Path, reason: impl fmt::Display) -> Self {
        Self { path: path.to_path_buf(), reason: reason.to_string() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name comes from whoever made the file: its control characters are not the terminal's to obey.
        let words = format!("efio: {}: {}", self.path.display(), self.reason);
        words.chars().try_for_each(|letter| match letter.is_control() {
            true => write!(f, "{}", letter.escape_default()),
            false => f.write_char(letter),
        })
    }
}

/// What is to be done, by kind.
#[derive(Debug, Default)]
pub struct Plan {
    /// The folder that all copies are beneath.
    pub base: PathBuf,
    /// Folders to make, each before what is in it.
    pub folders: Vec<Entry>,
    /// Files.
    pub files: Vec<Entry>,
    /// Symbolic links inside folders.
    pub links: Vec<Entry>,
    /// What is refused.
    pub faults: Vec<Fault>,
    /// The sizes of all files together.
    pub bytes: u64,
}

impl Plan {
    /// Looks at everything that is to be copied.
    ///
    /// # Errors
    /// When the destination cannot take the sources at all.
    pub fn make(options: &Cp) -> Result<Self, Failure> {
        let destination = &options.destination;
        let is_folder = fs::metadata(destination).is_ok_and(|found| found.is_dir());
        let ends_in_slash = destination.as_os_str().as_bytes().ends_with(b"/");
        if !is_folder && (options.sources.len() > 1 || (ends_in_slash && !options.recursive)) {
            return Err(format!("{}: not a folder", destination.display()).into());
        }
        let base = if is_folder {
            destination.clone()
        } else {
            match destination.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
                _ => PathBuf::from("."),
            }
        };
        let mut planner = Planner { options, plan: Self { base, ..Self::default() }, taken: HashSet::new() };
        for source in &options.sources {
            let (to, rel) = match (source.file_name(), destination.file_name()) {
                (Some(name), _) if is_folder && !ends_in_dot(source) => {
                    (destination.join(name), PathBuf::from(name))
                }
                (_, Some(name)) if !is_folder => (destination.clone(), PathBuf::from(name)),
                _ => (destination.clone(), PathBuf::new()),
            };
            planner.add_source(source, to, rel);
        }
        Ok(planner.plan)
    }
}

struct Planner<'a> {
    options: &'a Cp,
    plan: Plan,
    /// Every name that this copy makes.
    taken: HashSet<PathBuf>,
}

impl Planner<'_> {
    fn refuse(&mut self, path: &Path, reason: impl fmt::Display) {
        self.plan.faults.push(Fault::new(path, reason));
    }

    /// A source as it was named: a link stands for what it leads to.
    fn add_source(&mut self, from: &Path, to: PathBuf, rel: PathBuf) {
        let metadata = match fs::metadata(from) {
            Ok(metadata) => metadata,
            Err(error) => return self.refuse(from, error),
        };
        if !metadata.is_dir() {
            return self.add(Entry { from: from.to_path_buf(), to, rel, metadata });
        }
        if !self.options.recursive {
            return self.refuse(from, "a folder; copy it with -r");
        }
        match leads_into(from, &to) {
            Ok(false) => self.walk(Entry { from: from.to_path_buf(), to, rel, metadata }),
            Ok(true) => self.refuse(from, "a folder cannot be copied into itself"),
            Err(error) => self.refuse(from, error),
        }
    }

    /// A folder and all that is in it, without following links.
    fn walk(&mut self, top: Entry) {
        let mut folders = vec![top];
        while let Some(folder) = folders.pop() {
            let from = folder.from.clone();
            let (to, rel) = (folder.to.clone(), folder.rel.clone());
            if !self.add_folder(folder) {
                continue;
            }
            let mut names = match fs::read_dir(&from).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
                Ok(names) => names,
                Err(error) => {
                    self.refuse(&from, error);
                    continue;
                }
            };
            names.sort_by_key(fs::DirEntry::file_name);
            for name in names {
                let (from, to, rel) = (name.path(), to.join(name.file_name()), rel.join(name.file_name()));
                match fs::symlink_metadata(&from) {
                    Ok(metadata) if metadata.is_dir() => folders.push(Entry { from, to, rel, metadata }),
                    Ok(metadata) => self.add(Entry { from, to, rel, metadata }),
                    Err(error) => self.refuse(&from, error),
                }
            }
        }
    }

    /// False when it is refused, and what is in it with it.
    fn add_folder(&mut self, entry: Entry) -> bool {
        let is_base = entry.rel.as_os_str().is_empty();
        if !is_base && fs::symlink_metadata(&entry.to).is_ok_and(|found| !found.is_dir()) {
            self.refuse(&entry.from, format_args!("{} is in the way and no folder", entry.to.display()));
            return false;
        }
        if !self.taken.insert(entry.to.clone()) {
            self.refuse(&entry.from, format_args!("{} is made twice", entry.to.display()));
            return false;
        }
        self.plan.folders.push(entry);
        true
    }

    /// A file or a link.
    fn add(&mut self, entry: Entry) {
        let kind = entry.metadata.file_type();
        if !kind.is_file() && !kind.is_symlink() {
            return self.refuse(&entry.from, "neither a file, a folder nor a link");
        }
        let to = entry.to.display();
        if fs::metadata(&entry.to).is_ok_and(|found| is_same(&found, &entry.metadata)) {
            return self.refuse(&entry.from, format_args!("{to} is the same file"));
        }
        if let Ok(found) = fs::symlink_metadata(&entry.to) {
            if found.is_dir() {
                return self.refuse(&entry.from, format_args!("{to} is in the way and a folder"));
            }
            if !self.options.force {
                return self.refuse(&entry.from, format_args!("{to} exists; --force replaces it"));
            }
        }
        if !self.taken.insert(entry.to.clone()) {
            return self.refuse(&entry.from, format_args!("{to} is made twice"));
        }
        if kind.is_file() {
            self.plan.bytes += entry.metadata.len();
            self.plan.files.push(entry);
        } else {
            self.plan.links.push(entry);
        }
    }
}

/// `folder/.` stands for what is in the folder, not for the folder.
fn ends_in_dot(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    bytes == b"." || bytes.ends_with(b"/.")
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// True when `to`, which may not exist yet, lies in the folder `from` or is it.
fn leads_into(from: &Path, to: &Path) -> io::Result<bool> {
    let from = from.canonicalize()?;
    let existing = to.ancestors().find_map(|part| {
        let part = if part.as_os_str().is_empty() { Path::new(".") } else { part };
        part.canonicalize().ok()
    });
    Ok(existing.is_some_and(|part| part.starts_with(from)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(force: bool, recursive: bool, sources: &[&Path], destination: &Path) -> Result<Plan, Failure> {
        let sources = sources.iter().map(|path| path.to_path_buf()).collect();
        let destination = destination.to_path_buf();
        Plan::make(&Cp { sources, destination, force, sync: false, quiet: true, recursive })
    }

    #[test]
    fn a_folder_is_planned_before_what_is_in_it() {
        let base = tempfile::tempdir().expect("a folder");
        let from = base.path().join("from");
        fs::create_dir_all(from.join("b/c")).expect("folders");
        fs::write(from.join("b/c/file"), "abc").expect("a file");
        fs::write(from.join("a"), "x").expect("a file");
        std::os::unix::fs::symlink("a", from.join("link")).expect("a link");
        let plan = plan(false, true, &[&from], &base.path().join("to")).expect("a plan");
        let names = |entries: &[Entry]| entries.iter().map(|entry| entry.to.clone()).collect::<Vec<_>>();
        let to = |name: &str| base.path().join("to").join(name);
        assert_eq!(names(&plan.folders), [base.path().join("to"), to("b"), to("b/c")]);
        assert_eq!(names(&plan.files), [to("a"), to("b/c/file")]);
        assert_eq!(names(&plan.links), [to("link")]);
        assert_eq!((plan.bytes, plan.faults.len()), (4, 0));
    }

    #[test]
    fn a_hostile_name_stays_on_its_line() {
        let fault = Fault::new(Path::new("a\n\u{1b}[2Jb"), "é is\rin the way");
        assert_eq!(fault.to_string(), "efio: a\\n\\u{1b}[2Jb: é is\\rin the way");
    }

    #[test]
    fn what_cannot_be_right_is_refused() {
        let base = tempfile::tempdir().expect("a folder");
        let (one, two) = (base.path().join("one"), base.path().join("two"));
        let folder = base.path().join("folder");
        fs::create_dir_all(folder.join("one")).expect("a folder");
        fs::write(&one, "1").expect("a file");
        fs::hard_link(&one, &two).expect("a link");
        let reasons = |made: Result<Plan, Failure>| {
            made.expect("a plan").faults.iter().map(Fault::to_string).collect::<String>()
        };
        assert!(reasons(plan(true, false, &[&one], &two)).ends_with("is the same file"));
        assert!(reasons(plan(true, false, &[&one], &folder)).ends_with("is in the way and a folder"));
        assert!(
            reasons(plan(false, false, &[&folder], &base.path().join("new"))).ends_with("copy it with -r")
        );
        assert!(reasons(plan(false, true, &[&folder], &folder.join("new/deep"))).ends_with("into itself"));
        assert!(reasons(plan(false, true, &[&folder], &folder)).ends_with("into itself"));
        assert!(reasons(plan(false, false, &[&base.path().join("none")], &two)).contains("No such file"));
        assert!(plan(false, false, &[&one, &two], &base.path().join("none")).is_err());
    }
}
