//! What the operator is told of a vectorizer's work: when it begins, once a minute while it goes on, and when it is
//! done. Where a few rows come now and then, that would be two lines for each of them: so from a number of times in a
//! minute on, it is one line for the minute.

use std::time::Duration;

use crate::event::Event;
use crate::time::Time;
use crate::worker::Worker;

/// Between two lines on work that goes on.
const EVERY: Duration = Duration::from_secs(60);
/// Beginnings in a minute that are told.
const BEGINNINGS_MAX: u32 = 5;

#[derive(Debug, Default)]
pub(in crate::worker) struct News {
    state: State,
    /// Rows done and failed since the last line that told of them.
    items: u64,
    failed: u64,
    /// Since when they are counted.
    since: Time,
    /// Beginnings since that moment.
    beginnings: u32,
    beginnings_since: Time,
    /// The minute before had too many of them.
    was_busy: bool,
    /// Too many: the next line comes when the minute is over.
    is_quiet: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    Finished,
    #[default]
    New,
    Running,
}

impl News {
    pub(in crate::worker) const fn is_new(&self) -> bool {
        matches!(self.state, State::New)
    }

    pub(in crate::worker) const fn count(&mut self, items: u64, failed: u64) {
        self.items += items;
        self.failed += failed;
    }

    /// There is something to do. Says whether to tell of that.
    fn begins(&mut self, now: Time) -> bool {
        if self.state == State::Running {
            return false;
        }
        self.state = State::Running;
        if now >= self.beginnings_since + EVERY {
            let is_next = now < self.beginnings_since + EVERY * 2;
            self.was_busy = is_next && self.beginnings > BEGINNINGS_MAX;
            (self.beginnings, self.beginnings_since) = (0, now);
        }
        self.beginnings += 1;
        if self.is_quiet {
            return false;
        }
        (self.items, self.failed, self.since) = (0, 0, now);
        self.is_quiet = self.was_busy || self.beginnings > BEGINNINGS_MAX;
        !self.is_quiet
    }

    /// There is nothing to do any more. Says whether to tell of that.
    fn ends(&mut self) -> bool {
        let was_running = self.state == State::Running;
        if was_running {
            self.state = State::Finished;
        }
        was_running && !self.is_quiet
    }

    /// When the next line is due that does not wait for anything else.
    fn wakes(&self) -> Option<Time> {
        let is_due = self.state == State::Running || self.is_quiet;
        is_due.then_some(self.since + EVERY)
    }

    /// What is told once a minute: rows done, rows failed, during that time, and whether it still works.
    fn minute(&mut self, now: Time) -> Option<(u64, u64, Duration, bool)> {
        if self.wakes()? > now {
            return None;
        }
        let told = (self.items, self.failed, now.since(self.since));
        (self.items, self.failed, self.since) = (0, 0, now);
        self.is_quiet = false;
        Some((told.0, told.1, told.2, self.state == State::Running))
    }
}

impl Worker {
    /// Tells that a vectorizer has something to do.
    pub(in crate::worker) fn announce(&mut self, id: i64) {
        let Some(vectorizer) = self.vectorizers.get_mut(&id) else {
            return;
        };
        if vectorizer.profile.is_some() && vectorizer.news.begins(self.now) {
            let name = vectorizer.name.clone();
            self.events.push_back(Event::Running {
                vectorizer: id,
                name,
            });
        }
    }

    /// At the start each vectorizer is shown, even if it is idle.
    pub(in crate::worker) fn announce_first(&mut self, id: i64) {
        if self
            .vectorizers
            .get(&id)
            .is_some_and(|known| known.news.is_new())
        {
            self.announce(id);
        }
    }

    /// Tells of vectorizers that have nothing to do any more, and of those that have worked for a minute.
    pub(in crate::worker) fn tell_news(&mut self) {
        let mut has_finished = false;
        for (id, vectorizer) in &mut self.vectorizers {
            let idle = vectorizer.quiet && !vectorizer.claim_out;
            let in_work = self.batches.values().any(|batch| batch.profile.id == *id);
            let (items, failed) = (vectorizer.news.items, vectorizer.news.failed);
            if idle && !in_work && vectorizer.news.state == State::Running {
                has_finished = true;
                if vectorizer.news.ends() {
                    self.events.push_back(Event::Finished {
                        vectorizer: *id,
                        items,
                        failed,
                    });
                }
            }
            let Some((items, failed, during, is_running)) = vectorizer.news.minute(self.now) else {
                continue;
            };
            self.events.push_back(if is_running {
                Event::Working {
                    vectorizer: *id,
                    name: vectorizer.name.clone(),
                    items,
                    failed,
                    during,
                }
            } else {
                Event::Finished {
                    vectorizer: *id,
                    items,
                    failed,
                }
            });
        }
        if has_finished {
            self.look_for_indexes();
        }
    }

    /// When the next line on a vectorizer's work is due.
    pub(in crate::worker) fn news_wakes(&self) -> impl Iterator<Item = Time> {
        let running = self.life.is_running();
        let known = self.vectorizers.values().filter(move |_| running);
        known.filter_map(|vectorizer| vectorizer.news.wakes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::new(Duration::from_secs(seconds))
    }

    #[test]
    fn long_work_is_told_of_once_a_minute() {
        let mut news = News::default();
        assert!(news.begins(at(10)) && !news.begins(at(11)));
        news.count(7, 1);
        assert_eq!((news.minute(at(69)), news.wakes()), (None, Some(at(70))));
        assert_eq!(news.minute(at(70)), Some((7, 1, EVERY, true)));
        assert_eq!(news.minute(at(71)), None);
        assert!(news.ends() && !news.ends());
        assert_eq!(news.wakes(), None);
    }

    #[test]
    fn many_short_works_are_one_line_a_minute() {
        let mut news = News::default();
        let mut lines = vec![];
        // A row each second, for ten minutes.
        for second in 100..700 {
            if news.begins(at(second)) {
                lines.push(0);
            }
            news.count(1, 0);
            let items = news.items;
            if news.ends() {
                lines.push(items);
            }
            lines.extend(news.minute(at(second)).map(|told| told.0));
        }
        assert!(lines.len() < 25, "{lines:?}");
        let told: u64 = lines.iter().sum();
        assert!((540..=600).contains(&told), "{told}: {lines:?}");
    }
}
