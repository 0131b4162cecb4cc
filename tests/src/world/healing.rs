//! The second phase of a world: nothing fails any more, and it must come to rest, and true.

use std::time::Duration;

use super::World;
use super::database::{Edit, Isolation};
use super::library::REFRESH;
use super::node::Faults;
use super::provider::Mood;
use super::rules::{self, Rule, Violation};

/// In the second phase the world must come to rest within this time of its own.
const CONVERGE_WITHIN: Duration = Duration::from_secs(4 * 3600);

/// Failed rows come back sooner, also where the database's clock was set back: after the longest
/// backoff, and the longest pause of their vectorizer, and some more.
const PUT_OFF_AT_MOST: Duration = Duration::from_secs(1_800);

/// The database's clock is set back by no more than this.
const CLOCKS_DIFFER: Duration = Duration::from_secs(2 * 3600);

/// A row that the application holds, and another one.
const HELD: i64 = 1;
const OTHER: i64 = 2;

/// While the application holds one row, another is embedded within this time.
const OTHERS_WITHIN: Duration = Duration::from_secs(5);

/// A worker has no more messages on their way.
const MESSAGES_MAX: u64 = 16;

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
        self.release_all();
        if self.swarm.past_triggers {
            self.request_resync();
        }
        // A text that makes the provider fail goes on to do so: it must be found, and given up.
        let stumble = Mood {
            stumble: self.swarm.stumble,
            ..Mood::default()
        };
        self.rest(deadline, stumble)?;
        // A row whose workers were cut off too often is given up, and says so. An operator's
        // `retry` brings it back.
        let tables = self.database.tables();
        rules::rows_are_given_up_for_a_reason_only(tables, &self.swarm)?;
        if let Some(beside) = tables.beside() {
            rules::rows_are_given_up_for_a_reason_only(&beside, &self.swarm)?;
        }
        self.database.retry_failed(self.now);
        self.rest(deadline, Mood::default())?;
        // Both generations are what they should be, whichever serves.
        if self.database.tables().change().is_some() {
            self.true_stores()?;
            self.switch_by_hand();
            if self.seeds.is_multiple_of(2) && !self.is_in_use() {
                self.finish_change();
            }
        }
        self.hold_one_row()?;
        self.release_all();
        self.rest(self.now + CONVERGE_WITHIN, Mood::default())?;
        self.check_documents()?;
        let tables = self.database.tables();
        self.coverage.columns += tables.vectors.len() as u64;
        let mut verdict = if self.swarm.column {
            rules::every_row_has_its_vector(tables)
        } else {
            self.true_stores()
        };
        if let Err(violation) = &mut verdict
            && self.swarm.past_triggers
        {
            violation.rule = Rule::AResyncFindsEverything;
        }
        verdict
    }

    /// Time passes until every document has been checked once more. (Where the database's clock was set back, that takes
    /// as long.)
    fn check_documents(&mut self) -> Result<(), Violation> {
        if !self.swarm.documents {
            return Ok(());
        }
        for pause in [CLOCKS_DIFFER, REFRESH * 2] {
            self.now += pause;
            self.rest(self.now + CONVERGE_WITHIN, Mood::default())?;
        }
        Ok(())
    }

    /// Every store has what it should have.
    fn true_stores(&self) -> Result<(), Violation> {
        let tables = self.database.tables();
        let content = |text: &str| self.library.content(text);
        rules::every_row_stands_true(tables, content)?;
        let beside = tables.beside();
        beside.map_or(Ok(()), |beside| {
            rules::every_row_stands_true(&beside, content)
        })
    }

    /// The application writes to a row that the only worker has claimed, and does not commit: another
    /// row is embedded all the same, soon.
    fn hold_one_row(&mut self) -> Result<(), Violation> {
        self.nodes.truncate(1);
        let put = |key: i64, text: &str| Edit::Put {
            key,
            text: format!("{text} {text}"),
        };
        for edit in [put(HELD, "ant"), put(HELD, "bee")] {
            let isolation = Isolation::ReadCommitted;
            self.database.apply(&edit, &isolation, self.now);
        }
        self.notify(false);
        let until = self.now + CONVERGE_WITHIN;
        let is_claimed = |world: &Self| world.database.leased_keys(world.now).contains(&HELD);
        if !self.go_on_until(until, is_claimed)? {
            let reason = format!("row {HELD} is not claimed");
            return Err(Violation::new(Rule::ComesToRest, reason));
        }
        self.note(|| format!("application: row {HELD} is held"));
        self.database.hold(HELD, "cow".to_owned());
        self.database
            .apply(&put(OTHER, "dog"), &Isolation::ReadCommitted, self.now);
        self.notify(false);
        let until = self.now + OTHERS_WITHIN;
        let is_done = |world: &Self| !world.database.tables().is_queued(OTHER);
        if !self.go_on_until(until, is_done)? {
            let reason = format!("row {OTHER} waits while the application holds row {HELD}");
            return Err(Violation::new(Rule::AHeldRowHoldsNobodyElse, reason));
        }
        Ok(())
    }

    /// Lets the workers work, message by message, until `done`, which may not be before `until`.
    fn go_on_until(
        &mut self,
        until: Duration,
        done: impl Fn(&Self) -> bool,
    ) -> Result<bool, Violation> {
        for _ in 0..ROUNDS_MAX {
            for at in 0..self.nodes.len() {
                self.poll(at)?;
            }
            self.check()?;
            if done(self) {
                return Ok(true);
            }
            let nodes = 0..self.nodes.len();
            if nodes
                .filter(|at| self.send_any(*at, Mood::default()))
                .count()
                > 0
            {
                continue;
            }
            let wake = self.nodes.iter().filter_map(|node| node.wakes_at()).min();
            match wake {
                Some(at) if at <= until => self.now = self.now.max(at),
                _ => return Ok(false),
            }
        }
        Ok(false)
    }

    /// Brings some message of a worker a stage further.
    fn send_any(&mut self, at: usize, mood: Mood) -> bool {
        let faults = Faults {
            mood,
            ..Faults::default()
        };
        (0..MESSAGES_MAX).any(|pick| self.send(at, pick, faults))
    }

    /// Lets the workers work until nothing is queued.
    fn rest(&mut self, deadline: Duration, mood: Mood) -> Result<(), Violation> {
        let began = self.now;
        self.notify(false);
        for _ in 0..ROUNDS_MAX {
            let mut moved = false;
            for at in 0..self.nodes.len() {
                self.poll(at)?;
                while self.send_any(at, mood) {
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
            // (Where texts go on failing, rows are put off again and again.)
            let is_late = mood.stumble.is_none() && self.now > began + PUT_OFF_AT_MOST;
            if is_late && !put_off.is_empty() {
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
