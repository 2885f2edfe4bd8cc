//! Names, model: random programs of queued calls on a simulated disk against a plain tree, with faults and cuts of power.
//!
//! A program follows from its seed: `EFIO_SIM_SEED=n cargo test --features sim --test names_model` runs one again.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "model/random.rs"]
#[allow(dead_code, reason = "the other model uses the rest of it")]
mod random;

use std::collections::{BTreeMap, BTreeSet};

use efio::sim::{Entry, Sim, SimOptions, Tree};
use efio::{Answer, Dir, Efio, Error, Events, FileKind, PathCall};

use random::Random;

/// Programs of each flavour, unless `EFIO_SIM_PROGRAMS` says otherwise (for both tests and models together).
const PROGRAMS: u64 = 400;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Node {
    File(u32),
    Link(String),
    Dir(u32),
}

/// A folder, by a number that no other one ever has, and a name in it.
type Key = (u32, String);

/// What must be on the disk, and what a cut of power may leave of each name.
#[derive(Debug, Default)]
struct Expected {
    names: BTreeMap<Key, Node>,
    possible: BTreeMap<Key, Vec<Option<Node>>>,
    dirs: u32,
    /// The disk can refuse to replace by itself; else a link stands in, which no folder can have.
    renames_new: bool,
}

impl Expected {
    fn set(&mut self, key: Key, node: Option<Node>) {
        let before = self.names.get(&key).cloned();
        self.possible.entry(key.clone()).or_insert_with(|| vec![before]).push(node.clone());
        match node {
            Some(node) => self.names.insert(key, node),
            None => self.names.remove(&key),
        };
    }

    /// The folder's names are durable as they are now.
    fn synced(&mut self, dir: u32) {
        self.possible.retain(|key, _| key.0 != dir);
    }

    /// Where a path from the top leads: the name, and what has it.
    fn walk(&self, path: &str, beneath: bool, follow: bool) -> Option<(Key, Option<Node>)> {
        let mut left: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let (mut dir, mut links) = (0, 0);
        while let Some(part) = left.pop() {
            let key = (dir, part);
            let node = self.names.get(&key).cloned();
            match node {
                Some(Node::Link(says)) if !left.is_empty() || follow => {
                    links += 1;
                    if beneath || links > 40 {
                        return None;
                    }
                    let rest = says.strip_prefix("/t/");
                    dir = if rest.is_some() { 0 } else { dir };
                    left.extend(rest.unwrap_or(&says).split('/').rev().map(str::to_owned));
                }
                node if left.is_empty() => return Some((key, node)),
                Some(Node::Dir(inner)) => dir = inner,
                _ => return None,
            }
        }
        None
    }

    fn inside(&self, dir: u32) -> impl Iterator<Item = (&String, &Node)> {
        self.names.range((dir, String::new())..(dir + 1, String::new())).map(|((_, name), node)| (name, node))
    }

    fn leads_into(&self, dir: u32, from: u32) -> bool {
        dir == from
            || self
                .inside(from)
                .any(|(_, node)| matches!(node, Node::Dir(inner) if self.leads_into(dir, *inner)))
    }

    /// Does a call if it can be done; false if it must fail.
    fn apply(&mut self, call: &Call, beneath: bool) -> bool {
        let walk = |path: &str| self.walk(path, beneath, false);
        match call {
            Call::Mkdir(path) => {
                let Some((key, None)) = walk(path) else { return false };
                self.dirs += 1;
                let made = Node::Dir(self.dirs);
                self.set(key, Some(made));
            }
            Call::Symlink(says, path) => {
                let Some((key, None)) = walk(path) else { return false };
                self.set(key, Some(Node::Link(says.clone())));
            }
            Call::Rmdir(path) => match walk(path) {
                Some((key, Some(Node::Dir(dir)))) if self.inside(dir).next().is_none() => self.set(key, None),
                _ => return false,
            },
            Call::Unlink(path) => match walk(path) {
                Some((key, Some(Node::File(_) | Node::Link(_)))) => self.set(key, None),
                _ => return false,
            },
            Call::Link(from, to) => match (walk(from), walk(to)) {
                (Some((_, Some(node @ (Node::File(_) | Node::Link(_))))), Some((key, None))) => {
                    self.set(key, Some(node));
                }
                _ => return false,
            },
            Call::Rename(from, to, replace) => {
                let (Some((from, Some(moved))), Some((to, replaced))) = (walk(from), walk(to)) else {
                    return false;
                };
                return self.rename(from, moved, to, replaced, *replace);
            }
            Call::Stat(path) => return self.walk(path, beneath, true).is_some_and(|found| found.1.is_some()),
            Call::Lstat(path) => return walk(path).is_some_and(|found| found.1.is_some()),
            Call::ReadLink(path) => return matches!(walk(path), Some((_, Some(Node::Link(_))))),
        }
        true
    }

    fn rename(&mut self, from: Key, moved: Node, to: Key, replaced: Option<Node>, replace: bool) -> bool {
        let fits = match (&moved, &replaced) {
            _ if from == to => return replace,
            (Node::Dir(_), None) if !replace && !self.renames_new => false,
            (_, Some(_)) if !replace => false,
            // Two names of one file stay as they are. A link that was linked is known by what it says alone here, and none
            // of two such links is renamed to the other: see `is_clear`.
            (Node::File(one), Some(Node::File(other))) if one == other => return true,
            (Node::Dir(_), Some(Node::Dir(other))) => self.inside(*other).next().is_none(),
            (Node::Dir(_), Some(_)) | (_, Some(Node::Dir(_))) => false,
            _ => true,
        };
        let into_itself = matches!(moved, Node::Dir(dir) if self.leads_into(to.0, dir));
        if !fits || into_itself {
            return false;
        }
        self.set(from, None);
        self.set(to, Some(moved));
        true
    }

    fn entry(node: &Node) -> Entry {
        match node {
            Node::File(number) => Entry::File(number.to_string().into_bytes()),
            Node::Link(says) => Entry::Link(says.clone().into_bytes()),
            Node::Dir(_) => Entry::Folder,
        }
    }

    fn tree(&self, dir: u32, way: &str, into: &mut Tree) {
        for (name, node) in self.inside(dir) {
            let path = format!("{way}/{name}");
            into.insert(path.clone().into_bytes(), Self::entry(node));
            if let Node::Dir(inner) = node {
                self.tree(*inner, &path, into);
            }
        }
    }

    /// Whether a cut of power may leave this folder like this.
    fn may_leave(&self, dir: u32, way: &str, cut: &Tree) -> bool {
        let start = format!("{way}/").into_bytes();
        let there = cut
            .range(start.clone()..)
            .take_while(|(path, _)| path.starts_with(&start))
            .map(|(path, _)| String::from_utf8(path[start.len()..].to_vec()).unwrap())
            .filter(|name| !name.contains('/'));
        let known = self.possible.keys().filter(|key| key.0 == dir).map(|key| key.1.clone());
        let names: BTreeSet<String> =
            there.chain(known).chain(self.inside(dir).map(|(name, _)| name.clone())).collect();
        names.into_iter().all(|name| {
            let key = (dir, name);
            let now = vec![self.names.get(&key).cloned()];
            let possible = self.possible.get(&key).unwrap_or(&now);
            let path = format!("{way}/{}", key.1);
            let left = cut.get(path.as_bytes());
            possible.iter().any(|node| match (node, left) {
                (None, None) => true,
                (Some(Node::Dir(inner)), Some(Entry::Folder)) => self.may_leave(*inner, &path, cut),
                (Some(node @ (Node::File(_) | Node::Link(_))), Some(entry)) => Self::entry(node) == *entry,
                _ => false,
            })
        })
    }
}

#[derive(Clone, Debug)]
enum Call {
    Mkdir(String),
    Rmdir(String),
    Unlink(String),
    Rename(String, String, bool),
    Link(String, String),
    Symlink(String, String),
    ReadLink(String),
    Stat(String),
    Lstat(String),
}

struct World {
    random: Random,
    sim: Sim,
    efio: Efio,
    root: Dir,
    expected: Expected,
    faults: bool,
    trace: Vec<String>,
}

impl World {
    fn new(seed: u64, faults: bool) -> Self {
        let mut random = Random::new(seed);
        let options = SimOptions {
            short_count_per_mille: random.pick(&[0, 300]),
            interrupt_per_mille: random.pick(&[0, 200]),
            rename_new: faults || random.chance(50),
            ..SimOptions::default()
        };
        let mut expected = Expected { renames_new: options.rename_new, ..Expected::default() };
        let sim = Sim::with_options(seed, options);
        sim.put_folder("/t");
        for (number, name) in (0..).zip(["a", "f"]) {
            sim.put(format!("/t/{name}"), number.to_string().as_bytes());
            expected.names.insert((0, name.into()), Node::File(number));
        }
        let efio = Efio::builder().sim(&sim).memory_limit(4 << 20).build().unwrap();
        let root = efio.dir("/t").unwrap();
        Self { random, sim, efio, root, expected, faults, trace: Vec::new() }
    }

    fn path(&mut self) -> String {
        let depth = self.random.pick(&[1, 1, 2, 2, 3]);
        let parts: Vec<&str> = (0..depth).map(|_| self.random.pick(&["a", "b", "c", "f"])).collect();
        parts.join("/")
    }

    fn call(&mut self) -> Call {
        let (one, two) = (self.path(), self.path());
        match self.random.below(20) {
            0..=4 => Call::Mkdir(one),
            5..=6 => Call::Rmdir(one),
            7 => Call::Unlink(one),
            8..=10 => Call::Rename(one, two, true),
            11..=12 => Call::Rename(one, two, false),
            13..=14 => Call::Link(one, two),
            15..=16 => Call::Symlink(self.random.pick(&["a", "b/c", "/t/c", "none", "f"]).into(), one),
            17 => Call::ReadLink(one),
            18 => Call::Stat(one),
            _ => Call::Lstat(one),
        }
    }

    /// Two names of one link are renamed to each other: this model does not know links that well.
    fn is_clear(&self, call: &Call, beneath: bool) -> bool {
        let Call::Rename(from, to, _) = call else { return true };
        let node = |path: &str| self.expected.walk(path, beneath, false).and_then(|found| found.1);
        !matches!((node(from), node(to)), (Some(Node::Link(_)), Some(Node::Link(_))))
    }

    fn ask(&mut self, call: &PathCall) -> Result<Answer, Error> {
        let token = self.random.next();
        let op = self.efio.ef_queue(&call.clone().token(token)).unwrap();
        let mut events = Events::with_capacity(4);
        let early = self.random.chance(30);
        let mut seen = 0;
        while self.efio.step() || self.efio.events(&mut events).unwrap() > 0 {
            seen += events.iter().filter(|event| event.fd() == op.fd() && event.token() == token).count();
            assert_eq!(events.iter().filter(|event| event.fd() != op.fd()).count(), 0);
            match early.then(|| self.efio.take(op)) {
                Some(Err(error)) if error.is_would_block() => {}
                Some(answer) => return answer,
                None => {}
            }
        }
        assert!(early || seen == 1, "{seen} events for one call");
        self.efio.take(op)
    }

    fn queue(call: &Call) -> PathCall {
        let at = |path: &str| format!("/t/{path}");
        Self::with(call, &at)
    }

    fn with(call: &Call, at: &dyn Fn(&str) -> String) -> PathCall {
        match call {
            Call::Mkdir(path) => PathCall::mkdir(at(path), 0o755),
            Call::Rmdir(path) => PathCall::rmdir(at(path)),
            Call::Unlink(path) => PathCall::unlink(at(path)),
            Call::Rename(from, to, true) => PathCall::rename(at(from), at(to)),
            Call::Rename(from, to, false) => PathCall::rename_new(at(from), at(to)),
            Call::Link(from, to) => PathCall::link(at(from), at(to)),
            Call::Symlink(says, path) => PathCall::symlink(says, at(path)),
            Call::ReadLink(path) => PathCall::read_link(at(path)),
            Call::Stat(path) => PathCall::stat(at(path)),
            Call::Lstat(path) => PathCall::lstat(at(path)),
        }
    }

    fn one_call(&mut self) {
        let call = self.call();
        let beneath = self.random.chance(60);
        if !self.is_clear(&call, beneath) {
            return;
        }
        let queued = match beneath {
            true => Self::with(&call, &|path| path.to_owned()).beneath(&self.root),
            false => Self::queue(&call),
        };
        let answer = self.ask(&queued);
        self.trace.push(format!("{call:?}, beneath {beneath} -> {answer:?}"));
        let sound = answer.is_ok() || !self.faults;
        // A call that met a fault has changed nothing; what cannot be done fails anyhow.
        if sound {
            assert_eq!(answer.is_ok(), self.expected.apply(&call, beneath), "{call:?} -> {answer:?}");
        }
        self.check_live();
    }

    fn check_live(&self) {
        let mut tree = Tree::from([(b"/t".to_vec(), Entry::Folder)]);
        self.expected.tree(0, "/t", &mut tree);
        assert_eq!(self.sim.live_tree(), tree);
    }

    fn check_cut(&mut self) {
        let seed = self.random.next();
        let cut = self.sim.power_cut_tree(seed);
        assert!(self.expected.may_leave(0, "/t", &cut), "cut {seed} leaves {cut:?}, of {:?}", self.expected);
    }

    /// Opens a folder that is there; its number.
    fn open_dir(&mut self) -> Option<(Dir, u32)> {
        if self.random.chance(40) {
            return Some((self.root.clone(), 0));
        }
        let path = self.path();
        let there = match self.expected.walk(&path, true, false) {
            Some((_, Some(Node::Dir(dir)))) => Some(dir),
            _ => None,
        };
        let root = self.root.clone();
        match self.ask(&PathCall::open_dir(&path).beneath(&root)) {
            Ok(Answer::Dir(dir)) => Some((dir, there.expect("a folder that is not there is opened"))),
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                assert!(there.is_none() || self.faults, "{path} is not opened: {error}");
                None
            }
        }
    }

    fn sync(&mut self) {
        let Some((dir, number)) = self.open_dir() else { return };
        let answer = self.ask(&PathCall::sync_dir(&dir));
        self.trace.push(format!("sync {number} -> {answer:?}"));
        match answer {
            Ok(_) => self.expected.synced(number),
            Err(error) => assert!(self.faults, "{error}"),
        }
        self.give_back(dir);
    }

    /// Closes a folder, which never fails; until then it tells what it is.
    fn give_back(&mut self, dir: Dir) {
        match self.ask(&PathCall::stat_dir(&dir)) {
            Ok(Answer::Metadata(metadata)) => assert!(metadata.is_dir()),
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert!(self.faults, "{error}"),
        }
        let answer = self.ask(&PathCall::close_dir(dir));
        assert!(matches!(answer, Ok(Answer::Done)), "{answer:?}");
    }

    /// Lists a folder while its names change: what stays is there once.
    fn list(&mut self) {
        let Some((dir, number)) = self.open_dir() else { return };
        let all = |expected: &Expected| -> BTreeMap<String, FileKind> {
            let kind = |node: &Node| match node {
                Node::File(_) => FileKind::File,
                Node::Link(_) => FileKind::Symlink,
                Node::Dir(_) => FileKind::Dir,
            };
            expected.inside(number).map(|(name, node)| (name.clone(), kind(node))).collect()
        };
        let mut stays = all(&self.expected);
        let mut seen = BTreeMap::new();
        let mut call = PathCall::read_dir(&dir);
        loop {
            let entries = match self.ask(&call) {
                Ok(Answer::Entries(entries)) => entries,
                Ok(other) => panic!("{other:?}"),
                Err(error) => {
                    assert!(self.faults, "{error}");
                    return;
                }
            };
            for entry in &entries {
                let name = entry.name().to_str().unwrap().to_owned();
                assert!(seen.insert(name, entry.kind()).is_none(), "a name comes twice");
            }
            let Some(next) = entries.next_batch().filter(|_| !self.random.chance(10)) else {
                if entries.next_batch().is_some() {
                    return;
                }
                break;
            };
            call = next;
            if self.random.chance(50) {
                self.one_call();
                let now = all(&self.expected);
                stays.retain(|name, kind| now.get(name) == Some(kind));
            }
        }
        self.trace.push(format!("list {number} -> {seen:?}"));
        self.give_back(dir);
        for (name, kind) in stays {
            assert_eq!(seen.get(&name), Some(&kind), "{name} stays and is not listed as it is");
        }
    }

    fn run(&mut self) {
        if self.faults {
            self.sim.fail_randomly(60);
        }
        for _ in 0..30 {
            match self.random.below(12) {
                0..=7 => self.one_call(),
                8 => self.sync(),
                9 => self.list(),
                _ => self.check_cut(),
            }
        }
        self.sim.heal();
        self.check_cut();
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn all_hold(faults: bool) {
    let seeds = match number("EFIO_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("EFIO_SIM_PROGRAMS").map_or(PROGRAMS, |programs| programs / 10),
    };
    for seed in seeds {
        let mut world = World::new(seed, faults);
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run()));
        if let Err(panic) = ran {
            println!("{}\nEFIO_SIM_SEED={seed}, faults {faults}", world.trace.join("\n"));
            std::panic::resume_unwind(panic);
        }
        let World { sim, efio, root, .. } = world;
        drop((efio, root));
        assert_eq!(sim.open_handles(), 0, "EFIO_SIM_SEED={seed}: a handle is left");
    }
}

#[test]
fn every_call_does_what_it_says_and_only_that() {
    all_hold(false);
}

#[test]
fn a_call_that_fails_has_changed_nothing() {
    all_hold(true);
}
