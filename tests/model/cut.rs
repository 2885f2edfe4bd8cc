//! Cut: what every process sees now, and what a loss of power may leave.

use efio::Durability;

use crate::ensure;
use crate::world::{Check, Phase, World};

impl World {
    /// Every file holds exactly the bytes that are counted as written.
    pub fn check_live(&mut self) -> Check {
        if self.crashed {
            return Ok(());
        }
        for at in 0..self.hands.len() {
            self.call_progress(at)?;
        }
        for at in 0..self.targets.len() {
            let Some(stream) = self.targets[at].now else { continue };
            let Some(live) = self.sim.read(&self.targets[at].path) else {
                let busy = self.targets[at].busy;
                ensure!(busy, "{} is gone", self.targets[at].path);
                continue;
            };
            let hand = self.hands.iter().find(|hand| hand.stream == stream);
            if hand.is_some_and(|hand| hand.panicked) || hand.is_none() && self.targets[at].busy {
                continue;
            }
            let written = match hand {
                Some(hand) => {
                    let progress = self.efio.ef_progress(hand.fd).map(|progress| progress.written);
                    hand.start + progress.map_err(|error| error.to_string())?
                }
                None => self.streams[stream].bytes,
            };
            let path = &self.targets[at].path;
            ensure!(
                self.streams[stream].is_live(&live, written),
                "{path} is not what is written ({written})"
            );
        }
        Ok(())
    }

    /// What a loss of power leaves now has all that is durable, and nothing that was never written.
    pub fn check_cut(&mut self) -> Check {
        for hand in &self.hands {
            if hand.stream != usize::MAX
                && let Ok(progress) = self.efio.ef_progress(hand.fd)
                && progress.durable > 0
                && !hand.atomic
            {
                let stream = &mut self.streams[hand.stream];
                stream.durable = stream.durable.max(hand.start + progress.durable);
                if hand.creates {
                    self.targets[hand.target].absent = false;
                }
            }
        }
        let seed = self.random.next();
        let image = self.sim.power_cut(seed);
        for at in 0..self.targets.len() {
            let target = &self.targets[at];
            if self.queued.iter().any(|queued| queued.first == at || queued.second == at) {
                continue;
            }
            let hand = self.hands.iter().find(|hand| hand.target == at);
            let unseen = hand.is_some_and(|hand| hand.stream == usize::MAX);
            let Some(bytes) = image.get(target.path.as_bytes()) else {
                ensure!(
                    target.absent || unseen && target.now.is_none(),
                    "cut {seed}: {} is gone",
                    target.path
                );
                continue;
            };
            let publishing = hand.filter(|hand| matches!(hand.phase, Phase::Closing { publish: true, .. }));
            let new = publishing.filter(|hand| hand.atomic && hand.stream != usize::MAX);
            let whole = |hand: &crate::world::Hand| {
                let stream = &self.streams[hand.stream];
                let safe = hand.durability != Durability::None;
                stream.content == *bytes || !safe && stream.find(bytes, 0, stream.bytes).is_some()
            };
            let fits = |stream: &usize| {
                let stream = &self.streams[*stream];
                stream.tainted || stream.find(bytes, stream.durable, stream.bytes).is_some()
            };
            let known = target.now.iter().chain(&target.older).any(fits) || new.is_some_and(whole);
            // An open that nobody has looked at may have made or cut the file.
            let fresh = unseen && bytes.is_empty();
            // So may one by the name that the file has now, when the cut takes its renaming back.
            let cut_by_new_name = bytes.is_empty()
                && self.hands.iter().any(|hand| {
                    let now = self.targets[hand.target].now;
                    hand.truncate
                        && hand.stream == usize::MAX
                        && now.is_some_and(|now| target.older.contains(&now))
                });
            let durable = target.now.map_or(0, |now| self.streams[now].durable);
            ensure!(
                known || fresh || cut_by_new_name,
                "cut {seed}: {} holds {} bytes that it never held, or lacks some of the {durable} durable ones",
                target.path,
                bytes.len()
            );
        }
        Ok(())
    }
}
