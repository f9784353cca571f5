//! What documents a query wants: tests of single values, joined by `all` and `any`.

use std::cmp::Ordering;

use crate::projection::field::{Field, Scalar, scalars};

/// A test, or several. Values of different kinds never compare, so that no test of theirs holds.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    pub(super) fields: Vec<Field>,
    /// All have to hold.
    pub(super) nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    /// Of the value in one of the condition's fields.
    Test(usize, Test),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    Equal(Scalar),
    /// There is a value of the same kind, and it is another.
    NotEqual(Scalar),
    Less(Scalar),
    LessOrEqual(Scalar),
    Greater(Scalar),
    GreaterOrEqual(Scalar),
    /// It is a text that begins with this.
    Prefix(String),
    OneOf(Vec<Scalar>),
    /// Whether there is a single value: null is one, an array or an object is none.
    Exists(bool),
}

impl Test {
    pub(super) fn holds(&self, value: Option<&Scalar>) -> bool {
        let compared = |with: &Scalar| value.and_then(|value| value.compare(with));
        match self {
            Test::Equal(with) => compared(with) == Some(Ordering::Equal),
            Test::NotEqual(with) => compared(with).is_some_and(Ordering::is_ne),
            Test::Less(with) => compared(with) == Some(Ordering::Less),
            Test::LessOrEqual(with) => compared(with).is_some_and(Ordering::is_le),
            Test::Greater(with) => compared(with) == Some(Ordering::Greater),
            Test::GreaterOrEqual(with) => compared(with).is_some_and(Ordering::is_ge),
            Test::Prefix(prefix) => matches!(value, Some(Scalar::Text(text)) if text.starts_with(prefix.as_str())),
            Test::OneOf(list) => list.iter().any(|with| compared(with) == Some(Ordering::Equal)),
            Test::Exists(wanted) => value.is_some() == *wanted,
        }
    }
}

impl Condition {
    pub fn is_none(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Adds a test that has to hold beside the others.
    #[must_use]
    pub fn and(mut self, field: Field, test: Test) -> Self {
        let slot = self.slot(field);
        self.nodes.push(Node::Test(slot, test));
        self
    }

    pub(super) fn slot(&mut self, field: Field) -> usize {
        let known = self.fields.iter().position(|known| *known == field);
        known.unwrap_or_else(|| {
            self.fields.push(field);
            self.fields.len() - 1
        })
    }

    /// The tests that every document has to pass, with their fields.
    pub(super) fn required(&self) -> impl Iterator<Item = (&Field, &Test)> {
        let mut open: Vec<&Node> = self.nodes.iter().rev().collect();
        std::iter::from_fn(move || {
            while let Some(node) = open.pop() {
                match node {
                    Node::Test(slot, test) => return Some((&self.fields[*slot], test)),
                    Node::All(nodes) => open.extend(nodes.iter().rev()),
                    Node::Any(_) => {}
                }
            }
            None
        })
    }

    /// Whether the tests of [`Self::required`] are all that there is.
    pub(super) fn is_flat(&self) -> bool {
        fn flat(node: &Node) -> bool {
            match node {
                Node::Test(..) => true,
                Node::All(nodes) => nodes.iter().all(flat),
                Node::Any(_) => false,
            }
        }
        self.nodes.iter().all(flat)
    }

    pub fn matches(&self, document: &[u8]) -> bool {
        fn holds(node: &Node, values: &[Option<Scalar>]) -> bool {
            match node {
                Node::All(nodes) => nodes.iter().all(|node| holds(node, values)),
                Node::Any(nodes) => nodes.iter().any(|node| holds(node, values)),
                Node::Test(slot, test) => test.holds(values[*slot].as_ref()),
            }
        }
        if self.is_none() {
            return true;
        }
        let values = scalars(document, &self.fields);
        self.nodes.iter().all(|node| holds(node, &values))
    }
}
