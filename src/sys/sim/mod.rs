//! A simulated disk: files in memory, a virtual clock, seeded delays, faults and power cuts.
//!
//! A program that keeps its files with efio can be tested on a disk that does its worst, and does the same again from
//! the same seed. A [`Sim`] is given to the module when it is built; everything the module then does with files
//! happens on the simulated disk, at times told by the simulated clock.
//!
//! ```text
//!   accepted ──job──► live ──sync──► durable
//!                      │               │
//!            what a killed process     what a power cut leaves, and some of what was
//!            leaves: Sim::live         on its way: Sim::power_cut
//! ```
//!
//! - **Delays.** Each job takes a time drawn from [`SimOptions::delay_ns`]; nothing comes back before
//!   [`Sim::advance`] has moved the clock there. With [`SimOptions::reorder`] later jobs overtake earlier ones.
//! - **Faults.** [`Sim::fail`], [`Sim::fail_randomly`], [`Sim::set_space`], [`Sim::hang`]. After a failed sync the
//!   bytes are as on Linux: readable, marked clean, and never durable, whatever a later sync says.
//! - **Crashes.** [`Sim::crash_at`] lets the disk die after any step; [`Sim::power_cut`] tells what it may hold then;
//!   [`Sim::from_image`] is the next life.
//!
//! What a cut leaves of a file is its durable contents and the first few of the changes since, the next one torn at
//! any byte. What it leaves of names is the durable ones and any of the changes since that do not depend on a
//! missing one.
//!
//! ```
//! use efio::sim::Sim;
//! use std::time::Duration;
//!
//! let sim = Sim::new(42);
//! sim.put("/spool/a", b"one");
//! assert_eq!(sim.read("/spool/a").as_deref(), Some(&b"one"[..]));
//!
//! let image = sim.power_cut(1);
//! let next_life = Sim::from_image(43, &image);
//! assert_eq!(next_life.read("/spool/a").as_deref(), Some(&b"one"[..]));
//!
//! let before = sim.now();
//! sim.advance(Duration::from_millis(5));
//! assert_eq!(sim.now() - before, Duration::from_millis(5));
//! ```

mod cache;
mod calendar;
mod disk;
mod fault;
mod folders;
mod handles;
mod memory;
mod names;
mod node;
mod random;
mod state;
#[cfg(test)]
#[cfg(all(target_os = "linux", not(efio_loom)))]
mod tests;
mod tree;
mod walk;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

pub use fault::FaultRule;
pub use tree::{Entry, Tree};

use crate::sync::{Arc, Mutex, MutexGuard, lock};
use names::{normal, paths};
use random::Random;
use state::State;

/// The files of a disk: whole paths, beginning with `/`, and contents. Folders are there by the files in them; a [`Tree`]
/// has them too, and symbolic links.
pub type Image = BTreeMap<Vec<u8>, Vec<u8>>;

/// How a simulated disk behaves. Chances are in 1000.
///
/// ```
/// use efio::sim::{Sim, SimOptions};
///
/// let slow_and_poor = SimOptions { delay_ns: 0..50_000_000, unnamed: false, ..SimOptions::default() };
/// let sim = Sim::with_options(7, slow_and_poor);
/// assert_eq!(sim.in_flight(), 0);
/// ```
#[derive(Clone, Debug)]
pub struct SimOptions {
    /// How long a job takes, in nanoseconds. Default: 1,000 to 100,000.
    pub delay_ns: Range<u64>,
    /// The chance that a read or write does only a part of what it was asked. Default: 100.
    pub short_count_per_mille: u32,
    /// The chance that a call is interrupted (`EINTR`) before it did anything; at most 900. Default: 20.
    pub interrupt_per_mille: u32,
    /// The chance that bytes are in memory already, so that a read finds them without a job. Default: 500.
    pub nowait_per_mille: u32,
    /// Jobs come back in any order, as their delays will have it; otherwise as they were submitted. Default: true.
    pub reorder: bool,
    /// The longest file, in bytes; beyond it `EFBIG`. Default: 1 GiB. A hole takes up memory here.
    pub file_size_max: u64,
    /// Files without a name (O_TMPFILE) can be made. Default: true.
    pub unnamed: bool,
    /// Reads and writes can be asked to leave nothing in the page cache (RWF_DONTCACHE). Default: true.
    pub dont_cache: bool,
    /// A rename can refuse to replace (RENAME_NOREPLACE). Default: true.
    pub rename_new: bool,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self {
            delay_ns: 1_000..100_000,
            short_count_per_mille: 100,
            interrupt_per_mille: 20,
            nowait_per_mille: 500,
            reorder: true,
            file_size_max: 1 << 30,
            unnamed: true,
            dont_cache: true,
            rename_new: true,
        }
    }
}

/// A simulated disk and its clock. Clones are the same disk.
///
/// See [the module](self) for what it simulates.
#[derive(Clone)]
pub struct Sim(Arc<Mutex<State>>);

impl Sim {
    /// An empty disk that behaves as by [`SimOptions::default`].
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_options(seed, SimOptions::default())
    }

    /// An empty disk.
    #[must_use]
    pub fn with_options(seed: u64, options: SimOptions) -> Self {
        Self(Arc::new(Mutex::new(State::new(seed, options))))
    }

    /// A disk that holds the files of an image, all of them durable.
    #[must_use]
    pub fn from_image(seed: u64, image: &Image) -> Self {
        let sim = Self::new(seed);
        sim.load(image);
        sim
    }

    /// Puts all files of an image on the disk, durable at once.
    pub fn load(&self, image: &Image) {
        let mut state = self.lock();
        for (path, bytes) in image {
            state.put(path, bytes);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }

    // --- The clock ---

    /// The time on the virtual clock, since some point in the past.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.now_ns())
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.lock().now_ns
    }

    /// Moves the clock on. Jobs that are due by then come back when the module next turns.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        let mut state = self.lock();
        state.now_ns = state.now_ns.saturating_add(by);
    }

    pub(crate) fn advance_to_ns(&self, time: u64) {
        let mut state = self.lock();
        state.now_ns = state.now_ns.max(time);
    }

    /// The time, in nanoseconds of the virtual clock, at which the next job comes back; jobs that hang never do.
    #[must_use]
    pub fn next_due(&self) -> Option<u64> {
        self.lock().next_due()
    }

    /// How many jobs are in flight, those that hang included.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.lock().calendar.in_flight()
    }

    // --- Faults ---

    /// Adds a rule by which calls fail. Several rules may be in force; the first that strikes decides.
    pub fn fail(&self, rule: FaultRule) {
        self.lock().faults.add(rule);
    }

    /// From now on every call fails with this chance in 1000, with an errno that suits it; 0 ends it.
    pub fn fail_randomly(&self, per_mille: u32) {
        self.lock().faults.random_per_mille = per_mille;
    }

    /// Ends all faults: rules, chance, the limit of room. What hangs goes on hanging.
    pub fn heal(&self) {
        let mut state = self.lock();
        state.faults.clear();
        state.room = None;
    }

    /// Leaves room for so many more bytes. The write that meets the end is short, the next one gets `ENOSPC`;
    /// removing and truncating give room back, [`Sim::heal`] all of it.
    pub fn set_space(&self, bytes: u64) {
        self.lock().room = Some(bytes);
    }

    /// Jobs on this file do not come back until [`Sim::release`].
    ///
    /// ```
    /// # let sim = efio::sim::Sim::new(1);
    /// sim.hang("/mnt/slow/file");
    /// assert_eq!(sim.in_flight(), 0);
    /// sim.release("/mnt/slow/file");
    /// ```
    pub fn hang(&self, path: impl AsRef<Path>) {
        self.lock().hung.insert(bytes_of(path.as_ref()));
    }

    /// Ends [`Sim::hang`].
    pub fn release(&self, path: impl AsRef<Path>) {
        self.lock().hung.remove(&bytes_of(path.as_ref()));
    }

    /// Memory forgets all that it need not keep, as under memory pressure: after a failed sync the bytes that were
    /// lost to the disk are now lost to readers too.
    pub fn drop_cache(&self) {
        self.lock().nodes.values_mut().for_each(node::Node::drop_cache);
    }

    // --- Crashes ---

    /// How many steps were taken: calls that can change what is on the disk.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.lock().steps
    }

    /// Lets the disk die after so many steps, counted from its first: every later call fails with `EIO` and changes
    /// nothing. 0: before the first one.
    pub fn crash_at(&self, steps: u64) {
        self.lock().crash_at = Some(steps);
    }

    /// Lets the disk die now.
    pub fn freeze(&self) {
        self.lock().dead = true;
    }

    /// What the disk may hold after a power cut now. The seed chooses among all that is possible; the disk itself is
    /// not changed.
    ///
    /// ```
    /// # let sim = efio::sim::Sim::new(1);
    /// sim.put("/kept", b"durable");
    /// for seed in 0..100 {
    ///     assert_eq!(sim.power_cut(seed), sim.live());
    /// }
    /// ```
    #[must_use]
    pub fn power_cut(&self, seed: u64) -> Image {
        let mut random = Random::new(seed);
        let state = self.lock();
        let names = state.names.cut(&mut random);
        let contents: BTreeMap<_, _> =
            state.nodes.iter().map(|(id, node)| (*id, node.cut(&mut random))).collect();
        let files = paths(&names).into_iter().filter(|(_, id)| state.is_file(*id));
        files.map(|(path, id)| (path, contents.get(&id).cloned().unwrap_or_default())).collect()
    }

    /// What every process sees on the disk, and what is there after the death of this one.
    #[must_use]
    pub fn live(&self) -> Image {
        let state = self.lock();
        let files = paths(state.names.live()).into_iter().filter(|(_, id)| state.is_file(*id));
        files.map(|(path, id)| (path, state.live_bytes(id))).collect()
    }

    // --- Files ---

    /// Puts a file on the disk, and the folders it needs, durable at once; replaces the contents of one that is there,
    /// as another process would, under the feet of those who have it open.
    pub fn put(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        self.lock().put(path.as_ref().as_os_str().as_encoded_bytes(), bytes);
    }

    /// Puts a folder on the disk, and those above it, durable at once.
    pub fn put_folder(&self, path: impl AsRef<Path>) {
        self.lock().put_folder(path.as_ref().as_os_str().as_encoded_bytes());
    }

    /// What every process can read in this file now; `None` if there is no such file.
    #[must_use]
    pub fn read(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let state = self.lock();
        let node = state.find(names::ROOT, path.as_ref().as_os_str().as_encoded_bytes()).ok()?;
        (!state.is_folder(node)).then(|| state.live_bytes(node))
    }

    /// How many files and folders are open: 0 once a module has ended, or something leaks.
    #[must_use]
    pub fn open_handles(&self) -> usize {
        self.lock().open_handles()
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Sim")
            .field("now_ns", &state.now_ns)
            .field("steps", &state.steps)
            .field("in_flight", &state.calendar.in_flight())
            .field("open_handles", &state.open_handles())
            .finish_non_exhaustive()
    }
}

fn bytes_of(path: &Path) -> Vec<u8> {
    normal(path.as_os_str().as_encoded_bytes())
}

impl State {
    pub(super) fn is_folder(&self, id: node::NodeId) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.folder)
    }

    fn is_file(&self, id: node::NodeId) -> bool {
        self.nodes.get(&id).is_some_and(|node| !node.folder && node.target.is_none())
    }

    fn live_bytes(&self, id: node::NodeId) -> Vec<u8> {
        self.nodes.get(&id).map(|node| node.live().to_vec()).unwrap_or_default()
    }

    fn put(&mut self, path: &[u8], bytes: &[u8]) {
        let whole = normal(path);
        let Some(slash) = whole.iter().rposition(|&byte| byte == b'/') else { return };
        let folder = self.put_folder(&whole[..slash]);
        let key = (folder, whole[slash + 1..].to_vec());
        let id = match self.names.get(&key) {
            Some(id) => id,
            None => {
                let id = self.make_node(false, whole, 0o644);
                self.put_name(key, id);
                id
            }
        };
        if let Some(node) = self.nodes.get_mut(&id) {
            node.put(bytes);
            node.taken = bytes.len() as u64;
        }
    }
}
