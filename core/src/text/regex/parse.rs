//! Parses Python's regex syntax.

use super::PatternError;
use super::set::{Class, ClassKind, Set};
use super::syntax::{Assertion, Fold, Node, Repeat};
use super::width::Width;

/// How deep groups may be nested: each level takes a level of recursion.
pub(super) const DEPTH_MAX: usize = 200;

/// A regex and how many groups it has.
pub(super) struct Parsed {
    pub(super) node: Node,
    pub(super) groups: usize,
}

/// Parses a regex; `kept` puts it into a group of its own.
pub(super) fn parse(source: &str, kept: bool) -> Result<Parsed, PatternError> {
    let mut parser = Parser {
        source: source.chars().collect(),
        position: 0,
        flags: Flags::default(),
        groups: Vec::new(),
        names: Vec::new(),
        conditions: Vec::new(),
        behind: Vec::new(),
        depth: 0,
    };
    if kept {
        parser.groups.push(None);
    }
    parser.global_flags()?;
    let mut node = parser.alternatives()?;
    if parser.position < parser.source.len() {
        return Err(parser.error("unbalanced parenthesis"));
    }
    for &(group, position) in &parser.conditions {
        if group > parser.groups.len() {
            return Err(PatternError {
                reason: "invalid group reference",
                position,
            });
        }
    }
    if kept {
        node = Node::Group(1, Box::new(node));
    }
    Ok(Parsed {
        node,
        groups: parser.groups.len(),
    })
}

pub(super) struct Parser {
    pub(super) source: Vec<char>,
    pub(super) position: usize,
    pub(super) flags: Flags,
    /// The widths of the groups; `None` while a group is open.
    pub(super) groups: Vec<Option<Width>>,
    pub(super) names: Vec<(String, usize)>,
    /// The groups that conditions ask for, and where.
    pub(super) conditions: Vec<(usize, usize)>,
    /// How many groups there were at the start of each lookbehind that is open.
    pub(super) behind: Vec<usize>,
    depth: usize,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Flags {
    pub(super) ascii: bool,
    pub(super) dot_all: bool,
    pub(super) ignore_case: bool,
    pub(super) multiline: bool,
    pub(super) verbose: bool,
}

impl Flags {
    pub(super) fn fold(self) -> Fold {
        match (self.ignore_case, self.ascii) {
            (false, _) => Fold::Exact,
            (true, false) => Fold::Unicode,
            (true, true) => Fold::Ascii,
        }
    }
}

impl Parser {
    pub(super) fn error(&self, reason: &'static str) -> PatternError {
        PatternError {
            reason,
            position: self.position,
        }
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.source.get(self.position).copied()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.position += 1;
        Some(character)
    }

    pub(super) fn eat(&mut self, text: &str) -> bool {
        let end = self.position + text.chars().count();
        let matches = self
            .source
            .get(self.position..end)
            .is_some_and(|s| s.iter().copied().eq(text.chars()));
        if matches {
            self.position = end;
        }
        matches
    }

    /// Reads `(?i)` and the like, which hold for all of the regex and stand at its start only.
    fn global_flags(&mut self) -> Result<(), PatternError> {
        loop {
            let start = self.position;
            self.skip_ignored()?;
            if !self.eat("(?") {
                return Ok(());
            }
            let flags = self.flags;
            let is_flag = self.peek().is_some_and(|c| "iLmsxau".contains(c));
            if !is_flag || self.flag_letters()? != Some(')') {
                // Not global flags after all: a group, parsed again as such.
                self.flags = flags;
                self.position = start;
                return Ok(());
            }
        }
    }

    pub(super) fn alternatives(&mut self) -> Result<Node, PatternError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error("groups are nested too deeply"));
        }
        let mut nodes = vec![self.sequence()?];
        while self.eat("|") {
            nodes.push(self.sequence()?);
        }
        self.depth -= 1;
        Ok(if nodes.len() == 1 {
            nodes.remove(0)
        } else {
            Node::Alternatives(nodes)
        })
    }

    pub(super) fn sequence(&mut self) -> Result<Node, PatternError> {
        let mut nodes: Vec<Node> = Vec::new();
        loop {
            self.skip_ignored()?;
            let Some(character) = self.peek() else { break };
            if matches!(character, '|' | ')') {
                break;
            }
            if let Some((min, max)) = self.quantifier()? {
                let node = nodes.pop();
                let kind = self.repeat_kind();
                nodes.push(self.repeat(node, min, max, kind)?);
                continue;
            }
            self.position += 1;
            let node = match character {
                '\\' => self.escape()?,
                '[' => self.set()?,
                '(' => self.group()?,
                '.' if self.flags.dot_all => set(Vec::new(), true),
                '.' => set(vec![(0x0A, 0x0A)], true),
                '^' if self.flags.multiline => Node::Assertion(Assertion::LineStart),
                '^' => Node::Assertion(Assertion::Start),
                '$' if self.flags.multiline => Node::Assertion(Assertion::LineEnd),
                '$' => Node::Assertion(Assertion::EndOrLastNewline),
                _ => self.literal(character),
            };
            nodes.push(node);
        }
        Ok(Node::Sequence(nodes))
    }

    /// Skips comments, and what verbose mode ignores.
    fn skip_ignored(&mut self) -> Result<(), PatternError> {
        loop {
            if self.eat("(?#") {
                loop {
                    match self.next() {
                        Some(')') => break,
                        Some('\\') => self.position += 1,
                        Some(_) => {}
                        None => return Err(self.error("missing ), unterminated comment")),
                    }
                }
            } else if self.flags.verbose
                && self.peek().is_some_and(|c| matches!(c, ' ' | '\t'..='\r'))
            {
                self.position += 1;
            } else if self.flags.verbose && self.eat("#") {
                while !matches!(self.next(), None | Some('\n')) {}
            } else {
                return Ok(());
            }
        }
    }

    pub(super) fn literal(&self, character: char) -> Node {
        let code = u32::from(character);
        let fold = self.flags.fold();
        Node::Set(Box::new(Set::new(
            vec![(code, code)],
            Vec::new(),
            false,
            fold,
        )))
    }

    /// Reads `*`, `+`, `?` or `{m,n}`; a brace that does not read so is an ordinary character.
    fn quantifier(&mut self) -> Result<Option<(u32, Option<u32>)>, PatternError> {
        for (sign, min, max) in [("*", 0, None), ("+", 1, None), ("?", 0, Some(1))] {
            if self.eat(sign) {
                return Ok(Some((min, max)));
            }
        }
        let start = self.position;
        if !self.eat("{") || self.peek() == Some('}') {
            self.position = start;
            return Ok(None);
        }
        let low = self.count()?;
        let high = if self.eat(",") { self.count()? } else { low };
        if !self.eat("}") {
            self.position = start;
            return Ok(None);
        }
        let min = low.unwrap_or(0);
        if high.is_some_and(|max| max < min) {
            return Err(self.error("min repeat greater than max repeat"));
        }
        Ok(Some((min, high)))
    }

    fn count(&mut self) -> Result<Option<u32>, PatternError> {
        let start = self.position;
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.position += 1;
        }
        let digits: String = self.source[start..self.position].iter().collect();
        if digits.is_empty() {
            return Ok(None);
        }
        let count = digits.parse::<u32>().ok().filter(|&count| count < u32::MAX);
        count
            .map(Some)
            .ok_or_else(|| self.error("the repetition number is too large"))
    }

    fn repeat_kind(&mut self) -> Repeat {
        if self.eat("?") {
            Repeat::Lazy
        } else if self.eat("+") {
            Repeat::Possessive
        } else {
            Repeat::Greedy
        }
    }

    fn repeat(
        &self,
        node: Option<Node>,
        min: u32,
        max: Option<u32>,
        kind: Repeat,
    ) -> Result<Node, PatternError> {
        match node {
            None | Some(Node::Assertion(_)) => Err(self.error("nothing to repeat")),
            Some(Node::Repeat { .. }) => Err(self.error("multiple repeat")),
            Some(node) => Ok(Node::Repeat {
                node: Box::new(node),
                min,
                max,
                kind,
            }),
        }
    }
}

pub(super) fn set(ranges: Vec<(u32, u32)>, negative: bool) -> Node {
    Node::Set(Box::new(Set::new(
        ranges,
        Vec::new(),
        negative,
        Fold::Exact,
    )))
}

pub(super) fn class(letter: char, ascii: bool) -> Option<Class> {
    let kind = match letter.to_ascii_lowercase() {
        'd' => ClassKind::Digit,
        's' => ClassKind::Space,
        'w' => ClassKind::Word,
        _ => return None,
    };
    Some(Class {
        kind,
        ascii,
        negative: letter.is_ascii_uppercase(),
    })
}
