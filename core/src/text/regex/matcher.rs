//! Executes a program on a text, with a stack of its own for what may have to be undone.

use std::ops::Range;

use super::Found;
use super::check::{holds, repeats};
use super::compile::{First, Instruction, Program};
use super::set::Set;
use super::syntax::Repeat;

/// The steps were used up, or more would have to be remembered than is allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct OutOfSteps;

/// How much may be remembered at a time.
const STACK_MAX: usize = 4_000_000;

/// Stands for no position.
const NOWHERE: usize = usize::MAX;

/// Finds the first match at `start` or behind it; with `advance`, not an empty one at `start`.
pub(super) fn find(
    program: &Program,
    text: &str,
    start: usize,
    advance: bool,
    steps: &mut u64,
) -> Result<Option<Found>, OutOfSteps> {
    let mut matcher = Matcher {
        program,
        text,
        registers: vec![NOWHERE; program.registers],
        stack: Vec::new(),
        not_before: None,
        steps,
    };
    // Registers are set anew, and what groups matched is told, for every search.
    matcher.spend(program.registers as u64 / 8)?;
    let mut at = start;
    loop {
        if let Some(first) = program.first {
            match text.as_bytes()[at..]
                .iter()
                .position(|&byte| first.admits(byte))
            {
                Some(skipped) => {
                    matcher.spend(skipped as u64 / 8)?;
                    at += skipped;
                }
                None => return Ok(None),
            }
        }
        matcher.not_before = (advance && at == start).then_some(at);
        if let Some(end) = matcher.run(0, at, 0)? {
            let bounds = matcher.registers.chunks_exact(2).take(program.groups);
            let groups = bounds.map(|bound| (bound[1] != NOWHERE).then(|| bound[0]..bound[1]));
            return Ok(Some(Found {
                at: at..end,
                groups: groups.collect(),
            }));
        }
        match text[at..].chars().next() {
            Some(character) => at += character.len_utf8(),
            None => return Ok(None),
        }
    }
}

impl First {
    /// Tells whether a match can start with this byte, if a character does.
    fn admits(self, byte: u8) -> bool {
        if byte < 128 {
            self.ascii >> byte & 1 == 1
        } else {
            // All but the bytes that go on with a character.
            self.others && byte >= 0xC0
        }
    }
}

/// Something to go back to.
#[derive(Debug)]
enum Undo {
    /// Go on here instead.
    Branch {
        address: usize,
        at: usize,
    },
    /// Let a greedy loop end one character earlier, down to `min`.
    Fewer {
        address: usize,
        min: usize,
        at: usize,
    },
    /// Let a lazy loop take one character more.
    More {
        address: usize,
        at: usize,
        left: u32,
    },
    Register {
        register: usize,
        was: usize,
    },
}

struct Matcher<'a> {
    program: &'a Program,
    text: &'a str,
    registers: Vec<usize>,
    stack: Vec<Undo>,
    /// A place where the match must not end.
    not_before: Option<usize>,
    steps: &'a mut u64,
}

impl Matcher<'_> {
    fn spend(&mut self, steps: u64) -> Result<(), OutOfSteps> {
        let Some(left) = self.steps.checked_sub(steps) else {
            *self.steps = 0;
            return Err(OutOfSteps);
        };
        *self.steps = left;
        if self.stack.len() > STACK_MAX {
            Err(OutOfSteps)
        } else {
            Ok(())
        }
    }

    /// Runs from an address to `Done`; returns where the match ends. What groups matched stays,
    /// and can be undone by what is left on the stack. Recurses once per lookaround or atomic
    /// group around the other (`depth`), which the parser bounds.
    fn run(
        &mut self,
        mut address: usize,
        mut at: usize,
        depth: usize,
    ) -> Result<Option<usize>, OutOfSteps> {
        let base = self.stack.len();
        loop {
            self.spend(1)?;
            let instruction = &self.program.code[address];
            if matches!(instruction, Instruction::Done)
                && (depth > 0 || self.not_before != Some(at))
            {
                self.forget_branches(base);
                return Ok(Some(at));
            }
            let next = self.step(instruction, address, at, depth)?;
            match next.or_else(|| self.undo(base)) {
                Some((to, position)) => (address, at) = (to, position),
                None => return Ok(None),
            }
        }
    }

    /// Executes one instruction; returns where to go on, if it matched.
    fn step(
        &mut self,
        instruction: &Instruction,
        address: usize,
        at: usize,
        depth: usize,
    ) -> Result<Option<(usize, usize)>, OutOfSteps> {
        Ok(match instruction {
            Instruction::Assert(assertion) => {
                holds(self.text, *assertion, at).then_some((address + 1, at))
            }
            Instruction::Atomic(after) => self
                .run(address + 1, at, depth + 1)?
                .map(|end| (*after, end)),
            Instruction::Backreference { group, fold } => match self.group(*group) {
                Some(bounds) => {
                    self.spend(bounds.len() as u64 / 8)?;
                    repeats(self.text, bounds, *fold, at).map(|end| (address + 1, end))
                }
                None => None,
            },
            // The end of a match where it must not end.
            Instruction::Done => None,
            Instruction::IfNot { group, otherwise } => {
                let has_matched = self.group(*group).is_some();
                Some((if has_matched { address + 1 } else { *otherwise }, at))
            }
            Instruction::Jump(to) => Some((*to, at)),
            Instruction::Look {
                behind,
                negative,
                next,
            } => {
                let found = self.look(address + 1, at, *behind, depth)?;
                (found != *negative).then_some((*next, at))
            }
            Instruction::LoopBody { register } => {
                self.write(*register, self.registers[*register] + 1);
                Some((address + 1, at))
            }
            Instruction::LoopStart { register } => {
                self.write(*register, 0);
                self.write(*register + 1, NOWHERE);
                Some((address + 1, at))
            }
            Instruction::LoopTest {
                register,
                min,
                max,
                lazy,
                leave,
            } => Some((
                self.loop_test(*register, (*min, *max), *lazy, address + 1, *leave, at),
                at,
            )),
            Instruction::Save(register) => {
                self.write(*register, at);
                Some((address + 1, at))
            }
            Instruction::Set(set) => {
                let character = self.text[at..].chars().next();
                let member = character.filter(|&character| set.contains(character));
                member.map(|character| (address + 1, at + character.len_utf8()))
            }
            Instruction::SetLoop {
                set,
                min,
                max,
                kind,
            } => self.set_loop(set, (*min, *max), *kind, address + 1, at)?,
            Instruction::Split(other) => {
                self.stack.push(Undo::Branch {
                    address: *other,
                    at,
                });
                Some((address + 1, at))
            }
        })
    }

    /// Returns what a group has matched so far.
    fn group(&self, number: usize) -> Option<Range<usize>> {
        let bounds = &self.registers[2 * (number - 1)..2 * number];
        (bounds[1] != NOWHERE).then(|| bounds[0]..bounds[1])
    }

    fn write(&mut self, register: usize, value: usize) {
        let was = std::mem::replace(&mut self.registers[register], value);
        self.stack.push(Undo::Register { register, was });
    }

    /// Undoes what came after the last choice above `base`, and takes the other way there.
    fn undo(&mut self, base: usize) -> Option<(usize, usize)> {
        while self.stack.len() > base {
            match self.stack.pop()? {
                Undo::Branch { address, at } => return Some((address, at)),
                Undo::Fewer { address, min, at } => {
                    let last = self.text[..at].chars().next_back()?;
                    let at = at - last.len_utf8();
                    if at > min {
                        self.stack.push(Undo::Fewer { address, min, at });
                    }
                    return Some((address, at));
                }
                Undo::More { address, at, left } => {
                    let Instruction::SetLoop { set, .. } = &self.program.code[address - 1] else {
                        continue;
                    };
                    let next = self.text[at..].chars().next();
                    let Some(next) = next.filter(|&next| set.contains(next)) else {
                        continue;
                    };
                    let at = at + next.len_utf8();
                    if left > 1 {
                        self.stack.push(Undo::More {
                            address,
                            at,
                            left: left - 1,
                        });
                    }
                    return Some((address, at));
                }
                Undo::Register { register, was } => self.registers[register] = was,
            }
        }
        None
    }

    /// Keeps only what restores registers, so that what matched is not reconsidered.
    fn forget_branches(&mut self, base: usize) {
        let mut kept = base;
        for index in base..self.stack.len() {
            if matches!(self.stack[index], Undo::Register { .. }) {
                self.stack.swap(kept, index);
                kept += 1;
            }
        }
        self.stack.truncate(kept);
    }

    fn look(
        &mut self,
        address: usize,
        at: usize,
        behind: Option<usize>,
        depth: usize,
    ) -> Result<bool, OutOfSteps> {
        let start = match behind {
            None | Some(0) => Some(at),
            Some(width) => {
                // It goes back no further than to the start.
                self.spend(width.min(at) as u64 / 8)?;
                self.text[..at]
                    .char_indices()
                    .nth_back(width - 1)
                    .map(|(at, _)| at)
            }
        };
        match start {
            Some(start) => Ok(self.run(address, start, depth + 1)?.is_some()),
            None => Ok(false),
        }
    }

    /// Returns where to go on: at the body of the loop, or after it. A pass that matched nothing
    /// is the last one.
    fn loop_test(
        &mut self,
        register: usize,
        (min, max): (u32, Option<u32>),
        lazy: bool,
        body: usize,
        leave: usize,
        at: usize,
    ) -> usize {
        let (count, last) = (self.registers[register], self.registers[register + 1]);
        if count < min as usize {
            return body;
        }
        if max.is_some_and(|max| count >= max as usize) || last == at {
            return leave;
        }
        let (first, second) = if lazy { (leave, body) } else { (body, leave) };
        self.write(register + 1, at);
        self.stack.push(Undo::Branch {
            address: second,
            at,
        });
        first
    }

    fn set_loop(
        &mut self,
        set: &Set,
        (min, max): (u32, Option<u32>),
        kind: Repeat,
        address: usize,
        at: usize,
    ) -> Result<Option<(usize, usize)>, OutOfSteps> {
        let greedy_max = if kind == Repeat::Lazy {
            min
        } else {
            max.unwrap_or(u32::MAX)
        };
        let (mut count, mut end, mut least) = (0, at, at);
        for character in self.text[at..].chars() {
            if count == greedy_max || !set.contains(character) {
                break;
            }
            count += 1;
            end += character.len_utf8();
            if count == min {
                least = end;
            }
        }
        self.spend(u64::from(count) / 8)?;
        if count < min {
            return Ok(None);
        }
        match kind {
            Repeat::Greedy if end > least => {
                self.stack.push(Undo::Fewer {
                    address,
                    min: least,
                    at: end,
                });
            }
            Repeat::Lazy if max != Some(min) => {
                let left = max.map_or(u32::MAX, |max| max - min);
                self.stack.push(Undo::More {
                    address,
                    at: end,
                    left,
                });
            }
            Repeat::Greedy | Repeat::Lazy | Repeat::Possessive => {}
        }
        Ok(Some((address, end)))
    }
}
