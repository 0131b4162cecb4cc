//! Turns a parsed regex into instructions for the matcher.

use super::PatternError;
use super::parse::Parsed;
use super::set::Set;
use super::syntax::{Assertion, Fold, Node, Repeat};

/// What the matcher executes.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) code: Vec<Instruction>,
    pub(super) groups: usize,
    /// How many numbers the matcher holds: the bounds of groups, then the state of loops.
    pub(super) registers: usize,
    /// What a match can start with, unless it may be empty.
    pub(super) first: Option<First>,
}

/// Which characters a match can start with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct First {
    pub(super) ascii: u128,
    pub(super) others: bool,
}

/// Addresses are indexes into the code.
#[derive(Clone, Debug)]
pub(super) enum Instruction {
    Assert(Assertion),
    /// Matches the code up to the next `Done` without a way back, and goes on at the address.
    Atomic(usize),
    Backreference {
        group: usize,
        fold: Fold,
    },
    Done,
    /// Goes to the address if the group has not matched.
    IfNot {
        group: usize,
        otherwise: usize,
    },
    Jump(usize),
    Look {
        behind: Option<usize>,
        negative: bool,
        next: usize,
    },
    /// Counts a further pass of a loop; the body follows.
    LoopBody {
        register: usize,
    },
    LoopStart {
        register: usize,
    },
    /// Decides whether to pass once more, at the next address, or to leave.
    LoopTest {
        register: usize,
        min: u32,
        max: Option<u32>,
        lazy: bool,
        leave: usize,
    },
    Save(usize),
    Set(Box<Set>),
    /// A loop over one character.
    SetLoop {
        set: Box<Set>,
        min: u32,
        max: Option<u32>,
        kind: Repeat,
    },
    /// Tries the next instruction, then the address.
    Split(usize),
}

pub(super) fn compile(parsed: &Parsed) -> Result<Program, PatternError> {
    let mut compiler = Compiler {
        code: Vec::new(),
        registers: 2 * parsed.groups,
    };
    compiler.node(&parsed.node);
    compiler.code.push(Instruction::Done);
    let mut first = First::default();
    let is_empty = first.add(&parsed.node);
    Ok(Program {
        code: compiler.code,
        groups: parsed.groups,
        registers: compiler.registers,
        first: (!is_empty).then_some(first),
    })
}

struct Compiler {
    code: Vec<Instruction>,
    registers: usize,
}

impl Compiler {
    fn node(&mut self, node: &Node) {
        match node {
            Node::Alternatives(nodes) => self.alternatives(nodes),
            Node::Assertion(assertion) => self.code.push(Instruction::Assert(*assertion)),
            Node::Atomic(node) => self.atomic(|compiler| compiler.node(node)),
            Node::Backreference { group, fold } => {
                self.code.push(Instruction::Backreference {
                    group: *group,
                    fold: *fold,
                });
            }
            Node::Conditional { group, yes, no } => {
                let test = self.placeholder();
                self.node(yes);
                let jump = self.placeholder();
                self.code[test] = Instruction::IfNot {
                    group: *group,
                    otherwise: self.code.len(),
                };
                self.node(no);
                self.code[jump] = Instruction::Jump(self.code.len());
            }
            Node::Group(group, node) => {
                self.code.push(Instruction::Save(2 * (group - 1)));
                self.node(node);
                self.code.push(Instruction::Save(2 * (group - 1) + 1));
            }
            Node::Look {
                behind,
                negative,
                node,
            } => {
                let look = self.placeholder();
                self.node(node);
                self.code.push(Instruction::Done);
                let next = self.code.len();
                self.code[look] = Instruction::Look {
                    behind: *behind,
                    negative: *negative,
                    next,
                };
            }
            Node::Repeat {
                node,
                min,
                max,
                kind,
            } => self.repeat(node, *min, *max, *kind),
            Node::Sequence(nodes) => nodes.iter().for_each(|node| self.node(node)),
            Node::Set(set) => self.code.push(Instruction::Set(set.clone())),
        }
    }

    fn alternatives(&mut self, nodes: &[Node]) {
        let mut jumps = Vec::with_capacity(nodes.len());
        for (index, node) in nodes.iter().enumerate() {
            if index + 1 == nodes.len() {
                self.node(node);
                break;
            }
            let split = self.placeholder();
            self.node(node);
            jumps.push(self.placeholder());
            self.code[split] = Instruction::Split(self.code.len());
        }
        for jump in jumps {
            self.code[jump] = Instruction::Jump(self.code.len());
        }
    }

    fn repeat(&mut self, node: &Node, min: u32, max: Option<u32>, kind: Repeat) {
        if let Some(set) = single(node) {
            self.code.push(Instruction::SetLoop {
                set,
                min,
                max,
                kind,
            });
        } else if kind == Repeat::Possessive {
            self.atomic(|compiler| compiler.repeat_body(node, min, max, false));
        } else {
            self.repeat_body(node, min, max, kind == Repeat::Lazy);
        }
    }

    fn repeat_body(&mut self, node: &Node, min: u32, max: Option<u32>, lazy: bool) {
        let register = self.registers;
        self.registers += 2;
        self.code.push(Instruction::LoopStart { register });
        let test = self.placeholder();
        self.code.push(Instruction::LoopBody { register });
        self.node(node);
        self.code.push(Instruction::Jump(test));
        let leave = self.code.len();
        self.code[test] = Instruction::LoopTest {
            register,
            min,
            max,
            lazy,
            leave,
        };
    }

    fn atomic(&mut self, body: impl FnOnce(&mut Self)) {
        let atomic = self.placeholder();
        body(self);
        self.code.push(Instruction::Done);
        self.code[atomic] = Instruction::Atomic(self.code.len());
    }

    fn placeholder(&mut self) -> usize {
        self.code.push(Instruction::Done);
        self.code.len() - 1
    }
}

/// Returns the set that a node matches one character of, if it is that plain.
fn single(node: &Node) -> Option<Box<Set>> {
    match node {
        Node::Set(set) => Some(set.clone()),
        Node::Sequence(nodes) => match nodes.as_slice() {
            [node] => single(node),
            _ => None,
        },
        Node::Alternatives(_)
        | Node::Assertion(_)
        | Node::Atomic(_)
        | Node::Backreference { .. }
        | Node::Conditional { .. }
        | Node::Group(..)
        | Node::Look { .. }
        | Node::Repeat { .. } => None,
    }
}

impl First {
    /// Adds what a node can start with; tells whether it may match nothing.
    fn add(&mut self, node: &Node) -> bool {
        match node {
            Node::Alternatives(nodes) => {
                let mut is_empty = false;
                for node in nodes {
                    is_empty |= self.add(node);
                }
                is_empty
            }
            Node::Assertion(_) | Node::Look { .. } => true,
            Node::Atomic(node) | Node::Group(_, node) => self.add(node),
            // What the group matched is not known here, and may be nothing.
            Node::Backreference { .. } => {
                *self = Self {
                    ascii: u128::MAX,
                    others: true,
                };
                true
            }
            Node::Conditional { yes, no, .. } => {
                let (yes, no) = (self.add(yes), self.add(no));
                yes || no
            }
            Node::Repeat { node, min, max, .. } => *max == Some(0) || self.add(node) || *min == 0,
            Node::Sequence(nodes) => nodes.iter().all(|node| self.add(node)),
            Node::Set(set) => {
                self.ascii |= set.ascii();
                self.others |= set.may_hold_others();
                false
            }
        }
    }
}
