//! The walk: from the names on the command line through their folders, a batch of names at a time.
//!
//! Files and links begin to be copied as they are met; of a folder's names only those of folders are kept, until it has come
//! to its end. So memory does not grow with the number of files, and a deep tree is no deep stack.

use std::collections::HashSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use efio::{Answer, Dir, FileKind, Metadata, PathCall};

use crate::copy::copying::Copying;
use crate::copy::fault::{Fault, reason};
use crate::copy::file::{self, Item};
use crate::copy::folder::{Dirs, Folder};
use crate::copy::link;
use crate::{Failure, failure};

/// Folders held open on the way, beside the top.
const HELD_MAX: usize = 32;

/// Where copies go, as the command line says.
pub struct Destination {
    /// The folder that all copies are beneath.
    base: PathBuf,
    /// What is copied, and the name of its copy beneath the base; empty for the base itself.
    sources: Vec<(PathBuf, PathBuf)>,
}

impl Destination {
    /// Looks at the destination.
    ///
    /// # Errors
    /// When it cannot take the sources at all.
    pub async fn find(copying: &Copying) -> Result<Self, Failure> {
        let options = &copying.options;
        let destination = &options.destination;
        let found = copying.metadata(PathCall::stat(destination)).await;
        let is_folder = found.is_ok_and(|found| found.is_dir());
        let ends_in_slash = destination.as_os_str().as_bytes().ends_with(b"/");
        if !is_folder && (options.sources.len() > 1 || (ends_in_slash && !options.recursive)) {
            return Err(failure(destination.display(), "not a folder"));
        }
        let base = match destination.parent() {
            _ if is_folder => destination.clone(),
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let name_of = |source: &PathBuf| match (source.file_name(), destination.file_name()) {
            (Some(name), _) if is_folder && !ends_in_dot(source) => PathBuf::from(name),
            (_, Some(name)) if !is_folder => PathBuf::from(name),
            _ => PathBuf::new(),
        };
        let sources = options.sources.iter().map(|source| (source.clone(), name_of(source))).collect();
        Ok(Self { base, sources })
    }
}

/// `folder/.` stands for what is in the folder, not for the folder.
fn ends_in_dot(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    bytes == b"." || bytes.ends_with(b"/.")
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// The walk through all sources.
pub struct Walk {
    copying: Rc<Copying>,
    base: PathBuf,
    destination: Rc<Folder>,
    dirs: Rc<Dirs>,
    /// The destination and the folders above it; found when it is asked for first.
    above: Vec<(u64, u64)>,
    /// The names of the copies of other sources, where one is spread over the destination.
    named: HashSet<PathBuf>,
}

/// Copies all sources.
///
/// # Errors
/// When nothing can be copied at all.
pub async fn walk(copying: Rc<Copying>) -> Result<(), Failure> {
    let Destination { base, sources } = Destination::find(&copying).await?;
    let opened = copying.open_dir(PathCall::open_dir(&base)).await;
    let opened = opened.map_err(|error| failure(base.display(), reason(&error)))?;
    let destination = Folder::destination(&base, opened);
    let dirs = destination.dirs(&copying).await.map_err(|fault| failure("the destination", fault))?;
    let named = sources.iter().map(|(_, rel)| rel.clone()).collect();
    let mut walk = Walk { copying: Rc::clone(&copying), base, destination, dirs, above: Vec::new(), named };
    let mut made = HashSet::new();
    for (from, rel) in sources {
        if let Err(fault) = walk.source(&from, &rel, &mut made).await {
            copying.tell(&fault);
        }
    }
    Dirs::give_back(walk.dirs, &copying).await;
    Folder::leave(walk.destination, &copying).await;
    Ok(())
}

impl Walk {
    /// A source as it was named: a link stands for what it leads to.
    async fn source(&mut self, from: &Path, rel: &Path, made: &mut HashSet<PathBuf>) -> Result<(), Fault> {
        let copying = Rc::clone(&self.copying);
        let unread = |error| Fault::of(from, &error);
        let metadata = copying.metadata(PathCall::stat(from)).await.map_err(unread)?;
        if metadata.is_dir() && !copying.options.recursive {
            return Err(Fault::new(from, "a folder; copy it with -r"));
        }
        if !metadata.is_dir() && !metadata.is_file() {
            return Err(Fault::new(from, "neither a file, a folder nor a link"));
        }
        if !made.insert(rel.to_path_buf()) {
            return Err(made_twice(from, &self.destination.target_path().join(rel)));
        }
        if metadata.is_file() {
            self.item(&self.destination, &self.dirs, rel, Some(from)).await;
            return Ok(());
        }
        let source = copying.open_dir(PathCall::open_dir(from)).await.map_err(unread)?;
        match self.make_top(from, rel, &source).await {
            Ok((target, made_as)) => {
                let dirs = Dirs { source, target };
                self.tree(Folder::inside(&self.destination, [from, rel], made_as, dirs)).await;
                Ok(())
            }
            Err(fault) => {
                copying.close_dir(source).await;
                Err(fault)
            }
        }
    }

    /// Makes the copy of a source, which is asked about itself: another folder may have its name by now.
    async fn make_top(
        &mut self,
        from: &Path,
        rel: &Path,
        source: &Dir,
    ) -> Result<(Dir, Option<Metadata>), Fault> {
        let metadata = self.copying.metadata(PathCall::stat_dir(source)).await;
        let metadata = metadata.map_err(|error| Fault::of(from, &error))?;
        if self.leads_into(rel, &metadata).await? {
            return Err(Fault::new(from, "a folder cannot be copied into itself"));
        }
        if rel.as_os_str().is_empty() {
            return Ok((self.dirs.target.clone(), None));
        }
        self.make(&self.dirs.target, || from.to_path_buf(), rel, &metadata, &self.destination).await
    }

    /// True when the copy, which may not exist yet, would lie in the source or be it.
    async fn leads_into(&mut self, rel: &Path, source: &Metadata) -> Result<bool, Fault> {
        let copying = &self.copying;
        if self.above.is_empty() {
            let found = copying.metadata(PathCall::stat_dir(&self.dirs.target)).await;
            self.above.push(identity(&found.map_err(|error| Fault::of(&self.base, &error))?));
            let mut at = self.base.join("..");
            // Not all that lies above may be looked at. That is no fault of the source, and where the walk meets the
            // destination it stops.
            while let Ok(found) = copying.metadata(PathCall::stat(&at)).await {
                let found = identity(&found);
                if self.above.last() == Some(&found) {
                    break;
                }
                self.above.push(found);
                at.push("..");
            }
        }
        let is_there = match rel.as_os_str().is_empty() {
            true => None,
            false => copying.metadata(PathCall::lstat(rel).beneath(&self.dirs.target)).await.ok(),
        };
        Ok(self.above.contains(&identity(source))
            || is_there.is_some_and(|there| file::is_same(&there, source)))
    }

    /// A folder and all that is in it, without following links.
    async fn tree(&self, top: Rc<Folder>) {
        let mut levels: Vec<(Rc<Folder>, Vec<OsString>)> = Vec::new();
        let mut entered = Some(top);
        loop {
            if let Some(folder) = entered.take() {
                if let Some((far, _)) = levels.len().checked_sub(HELD_MAX).and_then(|far| levels.get(far)) {
                    far.let_go(&self.copying).await;
                }
                let inside = self.list(&folder).await;
                levels.push((folder, inside));
            }
            let Some((folder, inside)) = levels.last_mut() else { return };
            if let Some(name) = inside.pop() {
                match self.enter(folder, Path::new(&name)).await {
                    Ok(inner) => entered = Some(inner),
                    Err(fault) => self.copying.tell(&fault),
                }
            } else if let Some((folder, _)) = levels.pop() {
                if let Some((parent, _)) = levels.last() {
                    // Where it fails, whoever needs the folder is told so again, and tells it.
                    let _ = parent.hold(&self.copying, HELD_MAX).await;
                }
                Folder::leave(Rc::clone(&folder), &self.copying).await;
                if levels.len() >= HELD_MAX {
                    // It may wait for what is below for long, while the walk goes up.
                    folder.let_go(&self.copying).await;
                }
            }
        }
    }

    /// Begins to copy what is in a folder, and gives the folders in it, the first one last.
    async fn list(&self, folder: &Rc<Folder>) -> Vec<OsString> {
        let mut inside = Vec::new();
        match folder.dirs(&self.copying).await {
            Ok(dirs) => {
                if let Err(error) = self.list_open(folder, &dirs, &mut inside).await {
                    self.copying.tell(&Fault::of(&folder.source_path(), &error));
                }
                Dirs::give_back(dirs, &self.copying).await;
            }
            Err(fault) => self.copying.tell(&fault),
        }
        inside.reverse();
        inside.shrink_to_fit();
        inside
    }

    async fn list_open(
        &self,
        folder: &Rc<Folder>,
        dirs: &Rc<Dirs>,
        inside: &mut Vec<OsString>,
    ) -> efio::Result<()> {
        let mut call = Some(PathCall::read_dir(&dirs.source));
        while let Some(next) = call.take() {
            let entries = match self.copying.ask(next).await? {
                Answer::Entries(entries) => entries,
                other => unreachable!("the reading of a folder is answered {other:?}"),
            };
            let mut batch: Vec<(OsString, FileKind)> =
                entries.iter().map(|entry| (entry.name().to_os_string(), entry.kind())).collect();
            batch.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            call = entries.next_batch();
            drop(entries);
            for (name, kind) in batch {
                if let Err(fault) = self.entry(folder, dirs, name, kind, inside).await {
                    self.copying.tell(&fault);
                }
            }
        }
        Ok(())
    }

    async fn entry(
        &self,
        folder: &Rc<Folder>,
        dirs: &Rc<Dirs>,
        name: OsString,
        kind: FileKind,
        inside: &mut Vec<OsString>,
    ) -> Result<(), Fault> {
        let path = Path::new(&name);
        let from = || folder.source_path().join(path);
        let kind = match kind {
            FileKind::Unknown => {
                let asked = PathCall::lstat(path).beneath(&dirs.source);
                self.copying.metadata(asked).await.map_err(|error| Fault::of(&from(), &error))?.kind()
            }
            kind => kind,
        };
        if folder.is_spread() && self.named.contains(path) {
            return Err(made_twice(&from(), &folder.target_path().join(path)));
        }
        match kind {
            FileKind::Dir => inside.push(name),
            FileKind::File => self.item(folder, dirs, path, None).await,
            FileKind::Symlink => {
                let item = self.item_of(folder, dirs, path, None);
                self.copying.begin(link::copy(Rc::clone(&self.copying), item), true).await;
            }
            _ => return Err(Fault::new(&from(), "neither a file, a folder nor a link")),
        }
        Ok(())
    }

    /// Begins to copy a file.
    async fn item(&self, folder: &Rc<Folder>, dirs: &Rc<Dirs>, name: &Path, named: Option<&Path>) {
        let item = self.item_of(folder, dirs, name, named);
        self.copying.begin(file::copy(Rc::clone(&self.copying), item), false).await;
    }

    fn item_of(&self, folder: &Rc<Folder>, dirs: &Rc<Dirs>, name: &Path, named: Option<&Path>) -> Item {
        folder.stay();
        Item {
            folder: Rc::clone(folder),
            dirs: Rc::clone(dirs),
            name: name.to_path_buf(),
            named: named.map(Path::to_path_buf),
        }
    }

    /// Opens a folder in another one, and makes its copy.
    async fn enter(&self, parent: &Rc<Folder>, name: &Path) -> Result<Rc<Folder>, Fault> {
        let above = parent.dirs(&self.copying).await?;
        let entered = self.enter_at(parent, &above, name).await;
        Dirs::give_back(above, &self.copying).await;
        entered
    }

    async fn enter_at(&self, parent: &Rc<Folder>, above: &Dirs, name: &Path) -> Result<Rc<Folder>, Fault> {
        let copying = &self.copying;
        let from = || parent.source_path().join(name);
        let unread = |error| Fault::of(&from(), &error);
        let source = copying.open_dir(PathCall::open_dir(name).beneath(&above.source)).await;
        let source = source.map_err(unread)?;
        match self.make_inner(parent, above, name, &source).await {
            Ok((target, made_as)) => {
                Ok(Folder::inside(parent, [name, name], made_as, Dirs { source, target }))
            }
            Err(fault) => {
                copying.close_dir(source).await;
                Err(fault)
            }
        }
    }

    /// Makes the copy of a folder in another one, which is asked about itself like a top.
    async fn make_inner(
        &self,
        parent: &Rc<Folder>,
        above: &Dirs,
        name: &Path,
        source: &Dir,
    ) -> Result<(Dir, Option<Metadata>), Fault> {
        let from = || parent.source_path().join(name);
        let metadata = self.copying.metadata(PathCall::stat_dir(source)).await;
        let metadata = metadata.map_err(|error| Fault::of(&from(), &error))?;
        if self.above.first() == Some(&identity(&metadata)) {
            return Err(Fault::new(&from(), "a folder cannot be copied into itself"));
        }
        self.make(&above.target, from, name, &metadata, parent).await
    }

    /// Makes the copy of a folder, for its owner only until it is filled, and opens it; one that exists is taken as it is.
    async fn make(
        &self,
        above: &Dir,
        from: impl Fn() -> PathBuf,
        name: &Path,
        metadata: &Metadata,
        parent: &Folder,
    ) -> Result<(Dir, Option<Metadata>), Fault> {
        let copying = &self.copying;
        let to = || parent.target_path().join(name);
        let unwritten = |error| Fault::of(&to(), &error);
        let made_as = match copying.ask(PathCall::mkdir(name, 0o700).beneath(above)).await {
            Ok(_) => Some(*metadata),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                let found =
                    copying.metadata(PathCall::lstat(name).beneath(above)).await.map_err(unwritten)?;
                if !found.is_dir() {
                    let reason = format!("{} is in the way and no folder", to().display());
                    return Err(Fault::new(&from(), reason));
                }
                None
            }
            Err(error) => return Err(unwritten(error)),
        };
        let target = copying.open_dir(PathCall::open_dir(name).beneath(above)).await.map_err(unwritten)?;
        Ok((target, made_as))
    }
}

fn made_twice(from: &Path, to: &Path) -> Fault {
    Fault::new(from, format_args!("{} is made twice", to.display()))
}
