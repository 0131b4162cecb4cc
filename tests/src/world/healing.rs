//! The second phase of a world: nothing fails any more, and it must come to rest, and true.

use std::time::Duration;

use super::World;
use super::node::Faults;
use super::rules::{self, Rule, Violation};

/// In the second phase the world must come to rest within this time of its own.
const CONVERGE_WITHIN: Duration = Duration::from_secs(4 * 3600);

/// Failed rows come back sooner, also where the database's clock was set back: after the longest
/// backoff, and the longest pause of their vectorizer, and some more.
const PUT_OFF_AT_MOST: Duration = Duration::from_secs(1_800);

/// And within so many rounds: a protocol that goes in circles takes no time.
const ROUNDS_MAX: usize = 20_000;

impl World {
    /// The second phase: nothing fails any more, and the world must come to rest, and true.
    pub(super) fn converge(&mut self) -> Result<(), Violation> {
        self.note(|| "everything heals".to_owned());
        let deadline = self.now + CONVERGE_WITHIN;
        while let Some(mut zombie) = self.zombies.pop() {
            zombie.advance(&mut self.around());
        }
        self.manage_last();
        self.rest(deadline)?;
        // A row whose workers were cut off too often is given up, and says so. An operator's
        // `retry` brings it back.
        rules::rows_are_given_up_for_a_reason_only(self.database.tables(), &self.swarm.faults)?;
        self.database.retry_failed(self.now);
        self.rest(deadline)?;
        let tables = self.database.tables();
        self.coverage.columns += tables.vectors.len() as u64;
        if self.swarm.column {
            rules::every_row_has_its_vector(tables)
        } else {
            rules::every_row_stands_true(tables)
        }
    }

    /// Lets the workers work until nothing is queued.
    fn rest(&mut self, deadline: Duration) -> Result<(), Violation> {
        let began = self.now;
        self.notify(false);
        for _ in 0..ROUNDS_MAX {
            let mut moved = false;
            for at in 0..self.nodes.len() {
                self.poll(at)?;
                while self.send(at, 0, Faults::default()) {
                    moved = true;
                }
            }
            self.check()?;
            if moved {
                continue;
            }
            if self.database.tables().is_at_rest() {
                return Ok(());
            }
            let put_off = self.database.put_off_keys(self.now);
            if self.now > began + PUT_OFF_AT_MOST && !put_off.is_empty() {
                let reason = format!("rows {put_off:?} wait for longer than any backoff");
                return Err(Violation::new(Rule::ComesToRest, reason));
            }
            let wake = self.nodes.iter().filter_map(|node| node.wakes_at()).min();
            match wake {
                Some(at) if at <= deadline => self.now = self.now.max(at),
                _ => break,
            }
        }
        let reason = format!(
            "the world does not come to rest: {:?}",
            self.database.tables()
        );
        Err(Violation::new(Rule::ComesToRest, reason))
    }
}
