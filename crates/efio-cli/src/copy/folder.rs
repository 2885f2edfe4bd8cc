//! Folders on their way: each is finished when all that is in it is, and holds few descriptors however deep it lies.
//!
//! ```text
//!  the destination ◄── top ◄── folder ◄── … ◄── folder ◄── file     each counts what is on its way in it
//!      held            held    let go           held                 and is finished by who leaves it last
//! ```
//!
//! All names are resolved beneath the folder above them, without links; so whatever is swapped for what meanwhile, a copy
//! reads from beneath its source and writes beneath its destination. Of a folder that lies deep only the last ones on
//! the way are held open: one that was let go is opened again beneath the nearest that is held, and on a way up some of
//! those above it with it, or each folder would be looked up from the top.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use efio::{Dir, Metadata, PathCall};

use crate::copy::copying::Copying;
use crate::copy::fault::Fault;

/// The bits of a mode that are kept. Set-user and set-group are not: they would speak of another owner.
pub const MODE: u32 = 0o777;

/// The most bytes of a path by which a folder is opened again.
const WAY_MAX: usize = 2048;

/// Folders opened at once for a way up that will finish them all.
const AHEAD_MAX: usize = 8;

/// A folder and its copy, open.
#[derive(Debug)]
pub struct Dirs {
    /// What is read.
    pub source: Dir,
    /// What is written.
    pub target: Dir,
}

impl Dirs {
    /// Has both closed, by whoever is the last to need them.
    pub async fn give_back(dirs: Rc<Self>, copying: &Copying) {
        if let Some(Self { source, target }) = Rc::into_inner(dirs) {
            copying.close_dir(source).await;
            copying.close_dir(target).await;
        }
    }
}

/// A folder on its way.
#[derive(Debug)]
pub struct Folder {
    /// The one that it lies in; none for the destination.
    parent: Option<Rc<Folder>>,
    /// As it was named on the command line, or its name in the folder above.
    from: PathBuf,
    /// The copy's name beneath the copy above; empty when it is that.
    to: PathBuf,
    /// The copy was made here, and gets this mode and these times at last.
    made_as: Option<Metadata>,
    dirs: RefCell<Option<Rc<Dirs>>>,
    /// What is on its way in it, and the walk through it.
    pending: Cell<usize>,
}

impl Folder {
    /// The destination, which holds all copies.
    pub fn destination(path: &Path, dir: Dir) -> Rc<Self> {
        let dirs = Dirs { source: dir.clone(), target: dir };
        Rc::new(Self {
            parent: None,
            from: PathBuf::new(),
            to: path.to_path_buf(),
            made_as: None,
            dirs: RefCell::new(Some(Rc::new(dirs))),
            pending: Cell::new(1),
        })
    }

    /// A folder in another one.
    pub fn inside(
        parent: &Rc<Self>,
        [from, to]: [&Path; 2],
        made_as: Option<Metadata>,
        dirs: Dirs,
    ) -> Rc<Self> {
        parent.stay();
        Rc::new(Self {
            parent: Some(Rc::clone(parent)),
            from: from.to_path_buf(),
            to: to.to_path_buf(),
            made_as,
            dirs: RefCell::new(Some(Rc::new(dirs))),
            pending: Cell::new(1),
        })
    }

    /// One more is on its way in it, until it leaves.
    pub fn stay(&self) {
        self.pending.set(self.pending.get() + 1);
    }

    /// True for one whose copy is the destination itself.
    pub fn is_spread(&self) -> bool {
        self.to.as_os_str().is_empty()
    }

    fn is_top(&self) -> bool {
        self.parent.as_ref().is_none_or(|parent| parent.parent.is_none())
    }

    /// Where it is copied from, for people.
    pub fn source_path(&self) -> PathBuf {
        let (mut at, mut names) = (self, vec![&self.from]);
        while let Some(parent) = at.parent.as_ref().filter(|_| !at.is_top()) {
            names.push(&parent.from);
            at = parent;
        }
        names.into_iter().rev().collect()
    }

    /// Where it is copied to, for people.
    pub fn target_path(&self) -> PathBuf {
        let (mut at, mut names) = (self, vec![&self.to]);
        while let Some(parent) = &at.parent {
            names.push(&parent.to);
            at = parent;
        }
        names.into_iter().rev().filter(|name| !name.as_os_str().is_empty()).collect()
    }

    /// Lets go of its descriptors, unless it is a top: the way back to others begins there.
    pub async fn let_go(&self, copying: &Copying) {
        let dirs = if self.is_top() { None } else { self.dirs.take() };
        if let Some(dirs) = dirs {
            Dirs::give_back(dirs, copying).await;
        }
    }

    fn held(&self) -> Option<Rc<Dirs>> {
        self.dirs.borrow().clone()
    }

    /// The folder and its copy, opened again if they were let go; the caller gives them back.
    ///
    /// # Errors
    /// When they cannot be found again.
    pub async fn dirs(&self, copying: &Copying) -> Result<Rc<Dirs>, Fault> {
        self.reopened(copying, 0).await
    }

    /// From now on it holds them itself, and so do those right above it that were let go, so many in all.
    ///
    /// # Errors
    /// When they cannot be found again.
    pub async fn hold(&self, copying: &Copying, count: usize) -> Result<(), Fault> {
        let dirs = self.reopened(copying, count).await?;
        Dirs::give_back(dirs, copying).await;
        Ok(())
    }

    /// Opened beneath the nearest that is held; this one and those right above it, `count` in all, hold what is opened.
    async fn reopened(&self, copying: &Copying, count: usize) -> Result<Rc<Dirs>, Fault> {
        let (mut at, mut closed) = (self, Vec::new());
        let mut above = loop {
            if let Some(held) = at.held() {
                break held;
            }
            let Some(parent) = &at.parent else {
                return Err(Fault::new(&self.source_path(), "it is closed already"));
            };
            closed.push(at);
            at = parent;
        };
        while let Some(mut next) = closed.pop() {
            let mut way = next.to.clone();
            // Those that shall not hold anything are passed through, as many at once as a path takes.
            let fits =
                |way: &PathBuf, inner: &Self| way.as_os_str().len() + inner.to.as_os_str().len() < WAY_MAX;
            while let Some(inner) =
                closed.last().copied().filter(|inner| closed.len() >= count && fits(&way, inner))
            {
                way.push(&inner.to);
                next = inner;
                closed.pop();
            }
            let opened = self.open_again(copying, &above, &way).await;
            Dirs::give_back(above, copying).await;
            above = Rc::new(opened?);
            if closed.len() < count {
                let other = next.dirs.replace(Some(Rc::clone(&above)));
                if let Some(other) = other {
                    Dirs::give_back(other, copying).await;
                }
            }
        }
        Ok(above)
    }

    /// How many folders, from this one upwards, are finished with the one thing that is still on its way in it.
    fn ends_with_one(&self) -> usize {
        let (mut at, mut count) = (Some(self), 0);
        while let Some(folder) = at.filter(|folder| folder.pending.get() == 1 && count < AHEAD_MAX) {
            count += 1;
            at = folder.parent.as_deref();
        }
        count
    }

    async fn open_again(&self, copying: &Copying, above: &Dirs, way: &Path) -> Result<Dirs, Fault> {
        let source = copying.open_dir(PathCall::open_dir(way).beneath(&above.source)).await;
        let source = source.map_err(|error| Fault::of(&self.source_path(), &error))?;
        match copying.open_dir(PathCall::open_dir(way).beneath(&above.target)).await {
            Ok(target) => Ok(Dirs { source, target }),
            Err(error) => {
                copying.close_dir(source).await;
                Err(Fault::of(&self.target_path(), &error))
            }
        }
    }

    /// One thing less is on its way in it. The last one finishes it, and then leaves the folder above.
    pub async fn leave(folder: Rc<Self>, copying: &Copying) {
        let mut at = Some(folder);
        while let Some(folder) = at {
            folder.pending.set(folder.pending.get() - 1);
            if folder.pending.get() > 0 {
                return;
            }
            if let Err(fault) = folder.finish(copying).await {
                copying.tell(&fault);
            }
            if let Some(dirs) = folder.dirs.take() {
                Dirs::give_back(dirs, copying).await;
            }
            at = folder.parent.clone();
        }
    }

    /// All that is in it has its name: mode and times, which changed while things were put in; then what makes it durable.
    async fn finish(&self, copying: &Copying) -> Result<(), Fault> {
        // Before the mode, which may forbid it.
        let own = if copying.options.sync { Some(self.dirs(copying).await?) } else { None };
        let kept = match (&self.made_as, &self.parent) {
            (Some(metadata), Some(parent)) => {
                // They are finished next, and then give back what they hold.
                let above = parent.reopened(copying, parent.ends_with_one()).await?;
                let kept = keep(copying, metadata, &self.to, &above.target).await;
                Dirs::give_back(above, copying).await;
                kept
            }
            _ => Ok(()),
        };
        let synced = match &own {
            // Modes and times that were set before go with it, in the same journal.
            Some(own) => copying.ask(PathCall::sync_dir(&own.target)).await.map(drop),
            None => Ok(()),
        };
        if let Some(own) = own {
            Dirs::give_back(own, copying).await;
        }
        kept.and(synced).map_err(|error| Fault::of(&self.target_path(), &error))
    }
}

impl Drop for Folder {
    /// However long the way up is, it is not gone on the stack.
    fn drop(&mut self) {
        let mut parent = self.parent.take();
        while let Some(mut folder) = parent.and_then(Rc::into_inner) {
            parent = folder.parent.take();
        }
    }
}

/// Gives a copy the times and the mode of what it was copied from.
///
/// # Errors
/// When one of them cannot be set.
pub async fn keep(copying: &Copying, metadata: &Metadata, name: &Path, target: &Dir) -> efio::Result<()> {
    keep_times(copying, metadata, name, target).await?;
    copying.ask(PathCall::chmod(name, metadata.mode() & MODE).beneath(target)).await.map(drop)
}

/// Gives a copy the times of what it was copied from.
///
/// # Errors
/// When they cannot be set.
pub async fn keep_times(
    copying: &Copying,
    metadata: &Metadata,
    name: &Path,
    target: &Dir,
) -> efio::Result<()> {
    let (accessed, modified) = (Some(metadata.accessed()), Some(metadata.modified()));
    copying.ask(PathCall::lutimens(name, accessed, modified).beneath(target)).await.map(drop)
}
