//! One symbolic link: made anew, saying the same; with `--force` in one step instead of what has its name.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use efio::{Answer, PathCall};

use crate::copy::copying::Copying;
use crate::copy::fault::Fault;
use crate::copy::file::Item;
use crate::copy::folder::keep_times;

/// Hidden names tried before it is given up.
const HIDDEN_TRIES: u32 = 1_000;

/// Copies one link.
pub async fn copy(copying: Rc<Copying>, item: Item) {
    let outcome = transfer(&copying, &item).await;
    item.end(&copying, outcome).await;
}

async fn transfer(copying: &Copying, item: &Item) -> Result<(), Fault> {
    let (source, target) = (&item.dirs.source, &item.dirs.target);
    let unread = |error| Fault::of(&item.from(), &error);
    let metadata = copying.metadata(PathCall::lstat(&item.name).beneath(source)).await.map_err(unread)?;
    let says = match copying.ask(PathCall::read_link(&item.name).beneath(source)).await.map_err(unread)? {
        Answer::Link(says) => says,
        other => unreachable!("the reading of a link is answered {other:?}"),
    };
    if copying.options.force {
        if let Some(fault) = item.refused(copying, &metadata, target).await {
            return Err(fault);
        }
        let hidden = hidden_link(copying, item, &says).await?;
        let renamed = copying.ask(PathCall::rename(&hidden, &item.name).beneath(target)).await;
        if let Err(error) = renamed {
            // The rename's own error is the one that counts.
            let _ = copying.ask(PathCall::unlink(&hidden).beneath(target)).await;
            return Err(Fault::of(&item.to(), &error));
        }
    } else if let Err(error) = copying.ask(PathCall::symlink(&says, &item.name).beneath(target)).await {
        let known = match error.raw_os_error() {
            Some(libc::EEXIST) => item.refused(copying, &metadata, target).await,
            _ => None,
        };
        return Err(known.unwrap_or_else(|| Fault::of(&item.to(), &error)));
    }
    let kept = keep_times(copying, &metadata, &item.name, target).await;
    kept.map_err(|error| Fault::of(&item.to(), &error))
}

/// A link under a name that nobody else uses, beside its place. A copy that was killed may have left one.
async fn hidden_link(copying: &Copying, item: &Item, says: &Path) -> Result<PathBuf, Fault> {
    let mut tries = 0;
    loop {
        let hidden = PathBuf::from(format!(".efio-link-{}-{}", std::process::id(), copying.hidden_number()));
        match copying.ask(PathCall::symlink(says, &hidden).beneath(&item.dirs.target)).await {
            Ok(_) => return Ok(hidden),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) && tries < HIDDEN_TRIES => tries += 1,
            Err(error) => return Err(Fault::of(&item.to(), &error)),
        }
    }
}
