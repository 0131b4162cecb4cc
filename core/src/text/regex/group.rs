//! Parses what stands in parentheses.

use super::PatternError;
use super::parse::Parser;
use super::syntax::Node;
use super::width::{Width, width};

impl Parser {
    /// Reads what follows `(`.
    pub(super) fn group(&mut self) -> Result<Node, PatternError> {
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
    pub(super) fn flag_letters(&mut self) -> Result<Option<char>, PatternError> {
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
