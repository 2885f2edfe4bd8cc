//! Stream: what was done to one file, in order, and what the file may hold at each point of that order.

use crate::random::POOL;

/// Something done to a file.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Write {
        at: usize,
        source: usize,
        len: usize,
    },
    /// The file is cut, or extended, to this size.
    Size(usize),
    /// The file is this long at least.
    Extend(usize),
}

/// One file's contents over time. A place in it is a count of written bytes; acts without bytes lie between.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    base: Vec<u8>,
    /// Bytes written before the base.
    base_bytes: u64,
    acts: Vec<(Act, bool)>,
    /// Bytes of all writes.
    pub bytes: u64,
    /// Everything applied: what its own reader must see.
    pub content: Vec<u8>,
    /// Bytes below this survive a cut of power.
    pub durable: u64,
    /// A sync failed: what survives is not known.
    pub tainted: bool,
    view: View,
}

/// The contents after some of the acts.
#[derive(Clone, Debug, Default)]
struct View {
    content: Vec<u8>,
    next: usize,
    within: usize,
    bytes: u64,
}

fn put(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    if content.len() < at + bytes.len() {
        content.resize(at + bytes.len(), 0);
    }
    content[at..at + bytes.len()].copy_from_slice(bytes);
}

fn set_size(content: &mut Vec<u8>, act: Act) {
    match act {
        Act::Size(size) => content.resize(size, 0),
        Act::Extend(size) if content.len() < size => content.resize(size, 0),
        _ => {}
    }
}

impl View {
    /// Goes on to `bytes`; of the acts without bytes that lie there, only those known to be done.
    fn advance(&mut self, acts: &[(Act, bool)], bytes: u64) {
        while let Some((act, done)) = acts.get(self.next) {
            match *act {
                Act::Write { at, source, len } => {
                    let step = (len - self.within).min((bytes - self.bytes) as usize);
                    put(&mut self.content, at + self.within, &POOL[source + self.within..][..step]);
                    self.bytes += step as u64;
                    self.within += step;
                    if self.within < len {
                        return;
                    }
                    self.within = 0;
                }
                _ if *done || self.bytes < bytes => set_size(&mut self.content, *act),
                _ => return,
            }
            self.next += 1;
        }
    }
}

impl Stream {
    pub fn new(base: Vec<u8>) -> Self {
        Self {
            content: base.clone(),
            view: View { content: base.clone(), ..View::default() },
            base,
            ..Self::default()
        }
    }

    pub fn write(&mut self, at: usize, source: usize, len: usize) {
        put(&mut self.content, at, &POOL[source..source + len]);
        self.acts.push((Act::Write { at, source, len }, true));
        self.bytes += len as u64;
    }

    /// A change of size that is asked for, or done.
    pub fn resize(&mut self, act: Act, done: bool) {
        set_size(&mut self.content, act);
        self.acts.push((act, done));
    }

    /// What was asked for last is done now.
    pub fn confirm(&mut self) {
        for (_, done) in &mut self.acts {
            *done = true;
        }
    }

    /// The change of size that was asked for last was not made.
    pub fn revoke(&mut self) {
        let Some(last) = self.acts.iter().rposition(|(_, done)| !done) else { return };
        if last >= self.view.next {
            self.acts.remove(last);
            let mut content = self.base.clone();
            let mut all =
                View { content: std::mem::take(&mut content), bytes: self.base_bytes, ..View::default() };
            let mut acts = self.acts.clone();
            acts.iter_mut().for_each(|act| act.1 = true);
            all.advance(&acts, self.bytes);
            self.content = all.content;
        }
    }

    /// Whether `live` is what the file holds once `bytes` are written.
    pub fn is_live(&mut self, live: &[u8], bytes: u64) -> bool {
        if bytes < self.view.bytes {
            return false;
        }
        self.view.advance(&self.acts, bytes);
        if self.view.content == live {
            return true;
        }
        // A change of size that was asked for may be made already.
        let open =
            self.acts.get(self.view.next).filter(|(act, done)| !done && !matches!(act, Act::Write { .. }));
        if open.is_none() || self.view.within > 0 {
            return false;
        }
        self.acts[self.view.next].1 = true;
        self.view.advance(&self.acts, bytes);
        self.view.content == live
    }

    /// The place between `from` and `to` bytes at which the file holds `image`.
    pub fn find(&self, image: &[u8], from: u64, to: u64) -> Option<u64> {
        let mut view = View { content: self.base.clone(), bytes: self.base_bytes, ..View::default() };
        // Acts without bytes at `from` itself may not be made yet.
        let mut acts = self.acts.clone();
        acts.iter_mut().for_each(|act| act.1 = false);
        view.advance(&acts, from);
        let wrong = |content: &[u8], i: usize| usize::from(content.get(i) != image.get(i));
        let count = |content: &[u8]| {
            let differ = content.iter().zip(image).filter(|(is, should)| is != should).count();
            if content == image { 0 } else { differ + content.len().abs_diff(image.len()) }
        };
        let mut wrongs = count(&view.content);
        while wrongs > 0 {
            let (act, _) = acts.get(view.next)?;
            if let Act::Write { at, source, len } = *act {
                if view.bytes >= to {
                    return None;
                }
                let place = at + view.within;
                if place > view.content.len() {
                    put(&mut view.content, place, &POOL[source + view.within..][..1]);
                    wrongs = count(&view.content);
                } else {
                    wrongs -= if place < view.content.len().max(image.len()) {
                        wrong(&view.content, place)
                    } else {
                        0
                    };
                    put(&mut view.content, place, &POOL[source + view.within..][..1]);
                    wrongs += wrong(&view.content, place);
                }
                view.bytes += 1;
                view.within += 1;
                if view.within < len {
                    continue;
                }
                view.within = 0;
            } else {
                set_size(&mut view.content, *act);
                wrongs = count(&view.content);
            }
            view.next += 1;
        }
        Some(view.bytes)
    }

    /// Everything done so far survives a cut of power.
    pub fn settle(&mut self) {
        if !self.tainted {
            (self.base, self.base_bytes, self.durable) = (self.content.clone(), self.bytes, self.bytes);
            self.acts.clear();
            self.view = View { content: self.content.clone(), bytes: self.bytes, ..View::default() };
        }
    }

    /// What comes behind `bytes` was lost: the file is what it is now.
    pub fn cut(&mut self, bytes: u64, live: Vec<u8>) {
        let mut seen = self.base_bytes;
        let mut kept = Vec::new();
        for (act, done) in &self.acts {
            match *act {
                Act::Write { at, source, len } => {
                    let step = len.min((bytes - seen) as usize);
                    seen += step as u64;
                    if step > 0 {
                        kept.push((Act::Write { at, source, len: step }, true));
                    }
                }
                act if *done || seen < bytes => kept.push((act, true)),
                _ => {}
            }
        }
        self.acts = kept;
        self.bytes = bytes;
        self.view = View { content: live.clone(), next: self.acts.len(), within: 0, bytes };
        self.content = live;
    }
}
