//! Retaining: written pages that are kept until a sync has made them durable, so that they can be written once more.
//!
//! ```text
//!   durable ──── retained ──── written ──── sealed, open ──── accepted
//! ```
//!
//! They count in what the file holds. Once they are half of its limit, or half of the module's pages are in use, or a write was
//! refused while some are kept, or the file has gone idle, a sync is begun that nobody asked for: so a file that is never
//! synced goes on, at the pace of those syncs, and an idle one holds no page.

use std::collections::VecDeque;

use crate::job::Slice;
use crate::job::handles::Pieces;
use crate::sync::Ordering;

use super::Slot;
use super::commons::Commons;
use super::control::Control;
use super::flush::give_back;
use super::gather::{Quiet, quiet_part};
use super::note::{GRANULE, Sealed};
use super::state::Phase;
use super::write::page_start;

/// Of a file that retains.
#[derive(Debug, Default)]
pub(super) struct Retained {
    /// Written pages, in order, the last byte of each not durable.
    pages: VecDeque<Sealed>,
    /// Granules in them.
    granules: u32,
    /// Of an append file: where it ends if nobody else has written to it.
    append_end: u64,
}

fn granules(page: &Sealed) -> u32 {
    (crate::page::Page::capacity_of(page.page) / GRANULE) as u32
}

fn end_of(page: &Sealed) -> u64 {
    page.placement.start + u64::from(page.len)
}

impl Control {
    /// Keeps a page that is wholly in the file, or gives it back. The caller makes known that there is room.
    pub(super) fn page_written(&mut self, page: Sealed, slot: &Slot, commons: &Commons) {
        let Some(retained) = self.retained.as_mut().filter(|_| end_of(&page) > slot.durable()) else {
            give_back(slot, commons, page.page);
            return;
        };
        retained.granules += granules(&page);
        retained.pages.push_back(page);
        // ORDER: Relaxed: set before the handle existed.
        let limit = slot.write.held_limit.load(Ordering::Relaxed);
        if retained.granules.saturating_mul(2) >= limit || commons.is_tight() {
            self.sync.want(0);
        }
    }

    /// A write was refused while pages are kept, or the file is idle: a sync frees them.
    pub(super) fn squeeze(&mut self, slot: &Slot) {
        if self.retained.is_some() && slot.write.accepted() > slot.durable() {
            self.sync.want(slot.write.accepted());
            self.flush.target = self.flush.target.max(slot.write.accepted());
        }
    }

    /// Gives back what is durable by now.
    pub(super) fn release_retained(&mut self, slot: &Slot, commons: &Commons) {
        let Some(retained) = &mut self.retained else { return };
        let durable = slot.durable();
        let before = retained.pages.len();
        while let Some(page) = retained.pages.front().copied().filter(|page| end_of(page) <= durable) {
            retained.pages.pop_front();
            retained.granules -= granules(&page);
            give_back(slot, commons, page.page);
        }
        if retained.pages.len() < before {
            commons.room_made(slot);
            commons.serve_waiters();
        }
    }

    /// The file ends: nothing is kept any more.
    pub(super) fn drop_retained(&mut self, slot: &Slot, commons: &Commons) {
        if let Some(retained) = self.retained.take() {
            for page in retained.pages {
                give_back(slot, commons, page.page);
            }
            commons.serve_waiters();
        }
    }

    /// What moves the end of a file that retains comes behind a sync: what is kept never lies beyond it.
    pub(super) fn keeps_back(&mut self, slot: &Slot) -> bool {
        // A file that is being closed is not recovered any more.
        let open = slot.state.load().phase() == Phase::Open;
        let behind = open && self.retained.is_some() && slot.durable() < slot.written();
        if behind {
            self.sync.want_now();
        }
        behind
    }

    /// Of an append file that retains: where it ends if nobody else has written to it.
    pub(super) fn append_end(&self) -> Option<u64> {
        self.retained.as_ref().filter(|_| self.setup.append).map(|retained| retained.append_end)
    }

    pub(super) fn set_append_end(&mut self, end: u64) {
        if let Some(retained) = &mut self.retained {
            retained.append_end = end;
        }
    }

    /// What was written since the last sync, with its places in the file; `None`: not all of it is kept.
    pub(super) fn retained_pieces(&mut self, slot: &Slot, commons: &Commons) -> Option<Pieces> {
        self.collect(slot, commons);
        let (durable, written) = (slot.durable(), slot.written());
        let mut pieces = Pieces::default();
        let mut place = durable;
        let kept = self.retained.iter().flat_map(|retained| retained.pages.iter().copied());
        // The last one may be written in part.
        for page in kept.chain(self.page_in_part(slot)) {
            let (begin, end) = (page.placement.start, end_of(&page).min(written));
            if begin > place {
                return None;
            }
            if end <= place {
                continue;
            }
            let skip = place - begin;
            let offset = match self.append_end() {
                Some(last) => last.checked_sub(written - place)?,
                // Where its bytes went only the kernel knows.
                None if self.setup.append => return None,
                None => page.placement.base + skip,
            };
            let start = page_start(page.page).wrapping_add(skip as usize);
            pieces.0.push((offset, Slice { start, len: (end - place) as usize }));
            place = end;
        }
        (place >= written).then_some(pieces)
    }

    /// The first page that is not wholly written, if a part of it is.
    fn page_in_part(&self, slot: &Slot) -> Option<Sealed> {
        let (number, used, front) = self.flush.in_part()?;
        let listed = front.filter(|page| page.placement.sequence == number);
        listed
            .or_else(|| match quiet_part(&slot.write, number) {
                Quiet::Part(part) => Some(part),
                Quiet::Busy | Quiet::None => None,
            })
            .map(|page| Sealed { len: used, ..page })
    }
}
