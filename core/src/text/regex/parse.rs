//! Parses Python's regex syntax.

use super::PatternError;
use super::set::{Class, ClassKind, Set};
use super::syntax::{Assertion, Fold, Node, Repeat};
use super::width::{Width, width};

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
    names: Vec<(String, usize)>,
    /// The groups that conditions ask for, and where.
    conditions: Vec<(usize, usize)>,
    /// How many groups there were at the start of each lookbehind that is open.
    behind: Vec<usize>,
    depth: usize,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Flags {
    pub(super) ascii: bool,
    dot_all: bool,
    ignore_case: bool,
    multiline: bool,
    verbose: bool,
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

    fn alternatives(&mut self) -> Result<Node, PatternError> {
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

    fn sequence(&mut self) -> Result<Node, PatternError> {
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
        match self.flags.fold() {
            Fold::Exact => Node::Character(character),
            fold => {
                let code = u32::from(character);
                Node::Set(Box::new(Set::new(
                    vec![(code, code)],
                    Vec::new(),
                    false,
                    fold,
                )))
            }
        }
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

    /// Reads what follows `(`.
    fn group(&mut self) -> Result<Node, PatternError> {
        if !self.eat("?") {
            return self.capture();
        }
        let Some(character) = self.next() else {
            return Err(self.error("unexpected end of pattern"));
        };
        match character {
            'P' if self.eat("<") => {
                let name = self.name('>')?;
                if self.names.iter().any(|(other, _)| *other == name) {
                    return Err(self.error("redefinition of group name"));
                }
                self.names.push((name, self.groups.len() + 1));
                self.capture()
            }
            'P' if self.eat("=") => {
                let name = self.name(')')?;
                let group = self.named(&name)?;
                self.backreference(group)
            }
            ':' => {
                let node = self.closed()?;
                // Kept apart from what it holds: `(?:a*)*` repeats a repetition, `a**` is an error.
                Ok(Node::Sequence(vec![node]))
            }
            '>' => Ok(Node::Atomic(Box::new(self.closed()?))),
            '=' => self.look(None, false),
            '!' => self.look(None, true),
            '<' if self.eat("=") => self.look(Some(()), false),
            '<' if self.eat("!") => self.look(Some(()), true),
            '(' => self.conditional(),
            'i' | 'L' | 'm' | 's' | 'x' | 'a' | 'u' | '-' => {
                self.position -= 1;
                let outer = self.flags;
                if self.flag_letters()? != Some(':') {
                    return Err(self.error("global flags not at the start of the expression"));
                }
                let node = self.alternatives()?;
                self.close()?;
                self.flags = outer;
                Ok(Node::Sequence(vec![node]))
            }
            _ => Err(self.error("unknown extension")),
        }
    }

    fn capture(&mut self) -> Result<Node, PatternError> {
        let index = self.groups.len();
        self.groups.push(None);
        let node = self.closed()?;
        self.groups[index] = Some(width(&node, &self.groups));
        Ok(Node::Group(index + 1, Box::new(node)))
    }

    /// Reads the rest of a group; flags do not reach out of it.
    fn closed(&mut self) -> Result<Node, PatternError> {
        let flags = self.flags;
        let node = self.alternatives()?;
        self.flags = flags;
        self.close()?;
        Ok(node)
    }

    fn close(&mut self) -> Result<(), PatternError> {
        if self.eat(")") {
            Ok(())
        } else {
            Err(self.error("missing ), unterminated subpattern"))
        }
    }

    fn look(&mut self, behind: Option<()>, negative: bool) -> Result<Node, PatternError> {
        if behind.is_some() {
            self.behind.push(self.groups.len());
        }
        let node = self.closed()?;
        let behind = match behind {
            None => None,
            Some(()) => {
                self.behind.pop();
                let Width { min, max } = width(&node, &self.groups);
                if max != Some(min) {
                    return Err(self.error("look-behind requires fixed-width pattern"));
                }
                Some(min)
            }
        };
        Ok(Node::Look {
            behind,
            negative,
            node: Box::new(node),
        })
    }

    fn conditional(&mut self) -> Result<Node, PatternError> {
        let position = self.position;
        let name = self.until(')')?;
        let group = if !name.is_empty() && name.chars().all(|c| c.is_ascii_digit()) {
            let number = name.parse().ok().filter(|&number: &usize| number > 0);
            number.ok_or_else(|| self.error("bad group number"))?
        } else {
            self.named(&name)?
        };
        self.conditions.push((group, position));
        self.check_behind(group)?;
        let outer = self.flags;
        let yes = Box::new(self.sequence()?);
        let no = if self.eat("|") {
            self.sequence()?
        } else {
            Node::Sequence(Vec::new())
        };
        if self.peek() == Some('|') {
            return Err(self.error("conditional backref with more than two branches"));
        }
        self.flags = outer;
        self.close()?;
        Ok(Node::Conditional {
            group,
            yes,
            no: Box::new(no),
        })
    }

    pub(super) fn backreference(&self, group: usize) -> Result<Node, PatternError> {
        match self.groups.get(group.wrapping_sub(1)) {
            None => Err(self.error("invalid group reference")),
            Some(None) => Err(self.error("cannot refer to an open group")),
            Some(Some(_)) => {
                self.check_behind(group)?;
                Ok(Node::Backreference {
                    group,
                    fold: self.flags.fold(),
                })
            }
        }
    }

    fn check_behind(&self, group: usize) -> Result<(), PatternError> {
        match self.behind.first() {
            Some(&before) if group > before => {
                Err(self.error("cannot refer to group defined in the same lookbehind subpattern"))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn until(&mut self, end: char) -> Result<String, PatternError> {
        let mut name = String::new();
        loop {
            match self.next() {
                Some(character) if character == end => return Ok(name),
                Some(character) => name.push(character),
                None => return Err(self.error("unterminated name")),
            }
        }
    }

    fn name(&mut self, end: char) -> Result<String, PatternError> {
        let name = self.until(end)?;
        let mut characters = name.chars();
        let starts = characters
            .next()
            .is_some_and(|c| c == '_' || c.is_alphabetic());
        if starts && characters.all(|c| c == '_' || c.is_alphanumeric()) {
            Ok(name)
        } else {
            Err(self.error("bad character in group name"))
        }
    }

    fn named(&self, name: &str) -> Result<usize, PatternError> {
        let group = self
            .names
            .iter()
            .find(|(other, _)| other == name)
            .map(|&(_, group)| group);
        group.ok_or_else(|| self.error("unknown group name"))
    }

    /// Reads the letters of `(?i)` or `(?i-m:`, sets the flags, and returns what comes after them.
    fn flag_letters(&mut self) -> Result<Option<char>, PatternError> {
        let mut on = true;
        let mut kinds = 0;
        let mut count = 0;
        loop {
            let Some(letter) = self.next() else {
                return Err(self.error("missing -, : or )"));
            };
            count += 1;
            match letter {
                'i' => self.flags.ignore_case = on,
                'm' => self.flags.multiline = on,
                's' => self.flags.dot_all = on,
                'x' => self.flags.verbose = on,
                'a' | 'u' if on => {
                    kinds |= if letter == 'a' { 1 } else { 2 };
                    self.flags.ascii = letter == 'a';
                }
                '-' if on => {
                    on = false;
                    count = 0;
                }
                ')' if on => return Ok(Some(')')),
                ':' if kinds < 3 && (on || count > 1) => return Ok(Some(':')),
                'L' => return Err(self.error("cannot use 'L' flag with a str pattern")),
                _ => return Err(self.error("bad inline flags")),
            }
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
