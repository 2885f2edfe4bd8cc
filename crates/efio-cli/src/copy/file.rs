//! One file on its way: read from one descriptor, written to another, published when both ends agree.
//!
//! ```text
//!  source ──opened, a file──► target ──opened──► flowing ──end, the source as it was──► closing ──► complete
//!      any fault: the target is aborted and leaves nothing
//! ```

use std::path::PathBuf;
use std::rc::Rc;

use efio::{CacheMode, Dir, Durability, Efio, Error, Fd, Metadata, OnFull, OpenOptions, PathCall};

use crate::copy::copying::Copying;
use crate::copy::fault::{Fault, reason};
use crate::copy::folder::{Dirs, Folder, MODE, keep};

/// The most pieces moved at one turn.
const PIECES_MAX: u32 = 16;

/// A name to copy, in a folder that it stays in.
pub struct Item {
    /// The folder.
    pub folder: Rc<Folder>,
    /// The same, open.
    pub dirs: Rc<Dirs>,
    /// The name of the copy, and of what is copied.
    pub name: PathBuf,
    /// What is copied, where it was named on the command line: then a link stands for what it leads to.
    pub named: Option<PathBuf>,
}

impl Item {
    /// What is copied, for people.
    pub fn from(&self) -> PathBuf {
        self.named.clone().unwrap_or_else(|| self.folder.source_path().join(&self.name))
    }

    /// Its copy, for people.
    pub fn to(&self) -> PathBuf {
        self.folder.target_path().join(&self.name)
    }

    fn fault(&self, reason: impl std::fmt::Display) -> Fault {
        Fault::new(&self.from(), reason)
    }

    /// Why the copy cannot be made; `found` is what has its name.
    pub async fn in_the_way(&self, copying: &Copying, source: &Metadata, found: &Metadata) -> Option<Fault> {
        let to = self.to();
        let behind = match found.is_symlink() {
            // Only to see whether it leads to the source: nothing is done by this name.
            true => copying.metadata(PathCall::stat(&to)).await.ok(),
            false => Some(*found),
        };
        let to = to.display();
        if behind.is_some_and(|behind| is_same(&behind, source)) {
            return Some(self.fault(format_args!("{to} is the same file")));
        }
        if found.is_dir() {
            return Some(self.fault(format_args!("{to} is in the way and a folder")));
        }
        let exists = !copying.options.force;
        exists.then(|| self.fault(format_args!("{to} exists; --force replaces it")))
    }

    /// The same, where the copy was refused with this error, or may replace what is there.
    pub async fn refused(&self, copying: &Copying, source: &Metadata, target: &Dir) -> Option<Fault> {
        let found = copying.metadata(PathCall::lstat(&self.name).beneath(target)).await.ok()?;
        self.in_the_way(copying, source, &found).await
    }

    /// Tells what went wrong, and leaves the folder.
    pub async fn end(self, copying: &Copying, outcome: Result<(), Fault>) {
        if let Err(fault) = outcome {
            copying.tell(&fault);
        }
        Dirs::give_back(self.dirs, copying).await;
        Folder::leave(self.folder, copying).await;
    }
}

/// True for two names of one thing.
pub fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Copies one file.
pub async fn copy(copying: Rc<Copying>, item: Item) {
    let outcome = transfer(&copying, &item).await;
    item.end(&copying, outcome).await;
}

/// Both ends; dropped, they leave nothing of what is not complete.
struct Ends<'a> {
    efio: &'a Efio,
    source: Option<Fd>,
    target: Option<Fd>,
}

impl Ends<'_> {
    /// Closes what is open, and waits for it: a file that takes long to close is on its way as well.
    async fn close(mut self, copying: &Copying) {
        if let Some(target) = self.target.take() {
            copying.abort(target).await;
        }
        if let Some(source) = self.source.take() {
            // It has told its faults when it was read.
            let _ = copying.close(source).await;
        }
    }
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        // These fail only for an end that is closed already.
        let _ = self.source.map(|source| self.efio.ef_close(source));
        let _ = self.target.map(|target| self.efio.ef_abort(target));
    }
}

async fn transfer(copying: &Copying, item: &Item) -> Result<(), Fault> {
    let efio = &copying.efio;
    let reading = OpenOptions::new().read(true).cache(cache(copying)).token(copying.current.get());
    let source = match &item.named {
        Some(path) => efio.ef_open(path, &reading),
        None => efio.ef_open_at(&item.dirs.source, &item.name, &reading),
    };
    let source = source.map_err(|error| Fault::of(&item.from(), &error))?;
    let mut ends = Ends { efio, source: Some(source), target: None };
    let published = publish(copying, item, source, &mut ends).await;
    ends.close(copying).await;
    let kept = keep(copying, &published?, &item.name, &item.dirs.target).await;
    let kept = kept.map_err(|error| format!("copied, but not its mode and times: {}", reason(&error)));
    kept.map_err(|reason| Fault::new(&item.to(), reason))
}

/// Copies all bytes and gives the copy its name; what the source was like.
async fn publish(copying: &Copying, item: &Item, source: Fd, ends: &mut Ends<'_>) -> Result<Metadata, Fault> {
    let efio = &copying.efio;
    let unread = |error: Error| Fault::of(&item.from(), &error);
    copying.opened(source).await.map_err(unread)?;
    let planned = copying.until(|| efio.ef_fstat(source)).await.map_err(unread)?;
    copying.progress.announce(planned.len());
    let target = open_target(copying, item, &planned, ends).await?;
    let copied = flow(copying, item, source, target).await?;
    let now = copying.until(|| efio.ef_fstat(source)).await.map_err(unread)?;
    if (now.len(), now.modified()) != (planned.len(), planned.modified()) {
        return Err(item.fault("it changed while it was copied"));
    }
    // What the kernel makes up as it is read, as in /proc, has no length before.
    if copied != planned.len() && planned.len() > 0 {
        return Err(item.fault(format_args!("it ended after {copied} of {} bytes", planned.len())));
    }
    ends.target = None;
    copying.close(target).await.map_err(|error| Fault::of(&item.to(), &error))?;
    Ok(planned)
}

/// Opens the copy, under no name yet.
async fn open_target(
    copying: &Copying,
    item: &Item,
    planned: &Metadata,
    ends: &mut Ends<'_>,
) -> Result<Fd, Fault> {
    let Copying { efio, options, .. } = copying;
    let beneath = &item.dirs.target;
    let refused = if options.force { item.refused(copying, planned, beneath).await } else { None };
    if let Some(fault) = refused {
        return Err(fault);
    }
    let target = efio.ef_open_at(beneath, &item.name, &writing(copying, planned));
    let target = target.map_err(|error| Fault::of(&item.to(), &error))?;
    ends.target = Some(target);
    if let Err(error) = copying.opened(target).await {
        let known = match error.raw_os_error() {
            Some(libc::EEXIST) => item.refused(copying, planned, beneath).await,
            _ => None,
        };
        return Err(known.unwrap_or_else(|| Fault::of(&item.to(), &error)));
    }
    Ok(target)
}

fn cache(copying: &Copying) -> CacheMode {
    if copying.options.uncached { CacheMode::Uncached } else { CacheMode::Buffered }
}

fn writing(copying: &Copying, planned: &Metadata) -> OpenOptions {
    let options = &copying.options;
    // Readable by its owner until the very end, when the mode itself is set.
    let mode = (planned.mode() & MODE) | 0o400;
    let durability = if options.sync { Durability::OnClose } else { Durability::None };
    OpenOptions::new()
        .write(true)
        .atomic(true)
        .create(options.force)
        .create_new(!options.force)
        .mode(mode)
        .durability(durability)
        .cache(cache(copying))
        .on_full(OnFull::Fail)
        .token(copying.current.get())
}

/// Moves all bytes, and says how many.
async fn flow(copying: &Copying, item: &Item, source: Fd, target: Fd) -> Result<u64, Fault> {
    let efio = &copying.efio;
    // Read, and refused by the target for now: at most one piece.
    let mut rest = Vec::new();
    let (mut copied, mut pieces) = (0, 0);
    loop {
        let read = copying.until(|| move_piece(copying, source, target, &mut rest)).await;
        let count = read.map_err(|error| Fault::of(&item.from(), &error))?;
        if count == 0 {
            return Ok(copied);
        }
        if !rest.is_empty() {
            let wrote = copying.until(|| write(efio, target, &mut rest)).await;
            wrote.map_err(|error| Fault::of(&item.to(), &error))?;
        }
        copied += count as u64;
        copying.progress.add(count as u64);
        pieces += 1;
        if pieces % PIECES_MAX == 0 {
            copying.pause().await;
        }
    }
}

/// Reads a piece and hands it on; what the target does not take now is the rest.
fn move_piece(copying: &Copying, source: Fd, target: Fd, rest: &mut Vec<u8>) -> efio::Result<usize> {
    let mut scratch = copying.scratch.borrow_mut();
    let count = copying.efio.ef_read(source, &mut scratch)?;
    // A target that refuses for good does so once more when the rest is written.
    let taken = match count {
        0 => 0,
        _ => copying.efio.ef_write(target, &scratch[..count]).unwrap_or(0),
    };
    rest.extend_from_slice(&scratch[taken..count]);
    Ok(count)
}

/// Writes the rest.
fn write(efio: &Efio, target: Fd, rest: &mut Vec<u8>) -> efio::Result<()> {
    while !rest.is_empty() {
        let taken = efio.ef_write(target, rest)?;
        rest.drain(..taken);
    }
    Ok(())
}
