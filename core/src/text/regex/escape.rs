//! Parses what follows a backslash, and sets of characters.

use super::PatternError;
use super::parse::{Parser, class};
use super::set::{Class, Set};
use super::syntax::{Assertion, Node};

/// A member of a set.
enum Member {
    Class(Class),
    Code(u32),
}

impl Parser {
    /// Reads what follows a backslash outside of sets.
    pub(super) fn escape(&mut self) -> Result<Node, PatternError> {
        let Some(letter) = self.next() else {
            return Err(self.error("bad escape (end of pattern)"));
        };
        let ascii = self.flags.ascii;
        if let Some(class) = class(letter, ascii) {
            return Ok(Node::Set(Box::new(Set::class(class))));
        }
        Ok(match letter {
            'A' => Node::Assertion(Assertion::Start),
            'b' => Node::Assertion(Assertion::Boundary {
                ascii,
                negative: false,
            }),
            'B' => Node::Assertion(Assertion::Boundary {
                ascii,
                negative: true,
            }),
            'Z' => Node::Assertion(Assertion::End),
            '0' => {
                let code = self.octal(0, 2);
                self.code(code)
            }
            '1'..='9' => return self.number(letter),
            _ => {
                let code = self.escaped(letter)?;
                self.code(code)
            }
        })
    }

    fn code(&self, code: u32) -> Node {
        match char::from_u32(code) {
            Some(character) => self.literal(character),
            // A surrogate: no text has one.
            None => super::parse::set(Vec::new(), false),
        }
    }

    /// Reads a reference to a group, or three octal digits.
    fn number(&mut self, first: char) -> Result<Node, PatternError> {
        let mut group = first.to_digit(10).unwrap_or(0);
        if let Some(second) = self.peek().and_then(|c| c.to_digit(10)) {
            let third = self
                .source
                .get(self.position + 1)
                .and_then(|c| c.to_digit(8));
            if let (Some(a), true, Some(c)) = (first.to_digit(8), second < 8, third) {
                self.position += 2;
                let code = a * 64 + second * 8 + c;
                if code > 0o377 {
                    return Err(self.error("octal escape value outside of range 0-0o377"));
                }
                return Ok(self.code(code));
            }
            self.position += 1;
            group = group * 10 + second;
        }
        self.backreference(group as usize)
    }

    fn octal(&mut self, start: u32, count: usize) -> u32 {
        let mut code = start;
        for _ in 0..count {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else {
                break;
            };
            self.position += 1;
            code = code * 8 + digit;
        }
        code
    }

    /// Returns the character that an escape names, in a set and outside.
    fn escaped(&mut self, letter: char) -> Result<u32, PatternError> {
        let code = match letter {
            'a' => 7,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'v' => 11,
            'x' => return self.hexadecimal(2),
            'u' => return self.hexadecimal(4),
            'U' => return self.hexadecimal(8),
            'N' => return Err(self.error("\\N{…} is not supported")),
            _ if letter.is_ascii_alphanumeric() => return Err(self.error("bad escape")),
            _ => u32::from(letter),
        };
        Ok(code)
    }

    fn hexadecimal(&mut self, count: usize) -> Result<u32, PatternError> {
        let mut code: u32 = 0;
        for _ in 0..count {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(16)) else {
                return Err(self.error("incomplete escape"));
            };
            self.position += 1;
            code = code << 4 | digit;
        }
        if code > u32::from(char::MAX) {
            Err(self.error("bad escape"))
        } else {
            Ok(code)
        }
    }

    /// Reads what follows `[`.
    pub(super) fn set(&mut self) -> Result<Node, PatternError> {
        let negative = self.eat("^");
        let (mut ranges, mut classes) = (Vec::new(), Vec::new());
        loop {
            let is_empty = ranges.is_empty() && classes.is_empty();
            if !is_empty && self.eat("]") {
                break;
            }
            let first = self.member()?;
            if !self.eat("-") {
                match first {
                    Member::Class(class) => classes.push(class),
                    Member::Code(code) => ranges.push((code, code)),
                }
                continue;
            }
            if self.eat("]") {
                ranges.push((0x2D, 0x2D));
                match first {
                    Member::Class(class) => classes.push(class),
                    Member::Code(code) => ranges.push((code, code)),
                }
                break;
            }
            match (first, self.member()?) {
                (Member::Code(low), Member::Code(high)) if low <= high => ranges.push((low, high)),
                _ => return Err(self.error("bad character range")),
            }
        }
        let set = Set::new(ranges, classes, negative, self.flags.fold());
        Ok(Node::Set(Box::new(set)))
    }

    fn member(&mut self) -> Result<Member, PatternError> {
        let Some(character) = self.next() else {
            return Err(self.error("unterminated character set"));
        };
        if character != '\\' {
            return Ok(Member::Code(u32::from(character)));
        }
        let Some(letter) = self.next() else {
            return Err(self.error("unterminated character set"));
        };
        if let Some(class) = class(letter, self.flags.ascii) {
            return Ok(Member::Class(class));
        }
        let code = match letter {
            'b' => 8,
            '0'..='7' => {
                let code = self.octal(letter.to_digit(8).unwrap_or(0), 2);
                if code > 0o377 {
                    return Err(self.error("octal escape value outside of range 0-0o377"));
                }
                code
            }
            _ => self.escaped(letter)?,
        };
        Ok(Member::Code(code))
    }
}
