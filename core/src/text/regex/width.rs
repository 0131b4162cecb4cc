//! How many code points a part of a regex can match.

use super::syntax::Node;

/// The fewest and the most code points; no most where there is no bound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Width {
    pub(super) min: usize,
    pub(super) max: Option<usize>,
}

impl Width {
    const ZERO: Self = Self {
        min: 0,
        max: Some(0),
    };

    fn of(width: usize) -> Self {
        Self {
            min: width,
            max: Some(width),
        }
    }

    fn or(self, other: Self) -> Self {
        let max = self.max.zip(other.max).map(|(a, b)| a.max(b));
        Self {
            min: self.min.min(other.min),
            max,
        }
    }

    fn then(self, other: Self) -> Self {
        let max = self.max.zip(other.max).and_then(|(a, b)| a.checked_add(b));
        Self {
            min: self.min.saturating_add(other.min),
            max,
        }
    }

    fn times(self, min: u32, max: Option<u32>) -> Self {
        let most = match (self.max, max) {
            (Some(0), _) => Some(0),
            (Some(a), Some(b)) => a.checked_mul(b as usize),
            (_, None) | (None, _) => None,
        };
        Self {
            min: self.min.saturating_mul(min as usize),
            max: most,
        }
    }
}

/// `groups` has the widths of the groups that may be referred to.
pub(super) fn width(node: &Node, groups: &[Option<Width>]) -> Width {
    match node {
        Node::Alternatives(nodes) => {
            let widths = nodes.iter().map(|node| width(node, groups));
            widths.reduce(Width::or).unwrap_or(Width::ZERO)
        }
        Node::Assertion(_) | Node::Look { .. } => Width::ZERO,
        Node::Atomic(node) | Node::Group(_, node) => width(node, groups),
        Node::Backreference { group, .. } => groups
            .get(group - 1)
            .copied()
            .flatten()
            .unwrap_or(Width { min: 0, max: None }),
        Node::Set(_) => Width::of(1),
        Node::Conditional { yes, no, .. } => width(yes, groups).or(width(no, groups)),
        Node::Repeat { node, min, max, .. } => width(node, groups).times(*min, *max),
        Node::Sequence(nodes) => nodes
            .iter()
            .fold(Width::ZERO, |sum, node| sum.then(width(node, groups))),
    }
}
