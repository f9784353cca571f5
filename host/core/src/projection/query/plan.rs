//! How a query is answered: through which index, and between which of its entries.

use super::condition::{Condition, Test};
use crate::projection::field::Field;
use crate::projection::index::{Index, Span, is_whole, is_whole_prefix};

/// The order that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// The order in which they are found soonest.
    #[default]
    Any,
    /// By their keys.
    Key { descending: bool },
    /// By an indexed field, then by their keys; only documents that have it.
    Field { field: Field, descending: bool },
}

impl Sort {
    /// `FIELD`, `-FIELD`, `$key` or `-$key`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (descending, name) = text.strip_prefix('-').map_or((false, text), |name| (true, name));
        match name {
            KEY => Ok(Sort::Key { descending }),
            name => Field::new(name).map(|field| Sort::Field { field, descending }).map_err(|error| error.to_string()),
        }
    }

    fn is_descending(&self) -> bool {
        matches!(self, Sort::Key { descending: true } | Sort::Field { descending: true, .. })
    }
}

/// What stands for a document's key in a sort.
pub const KEY: &str = "$key";

pub(super) struct Plan {
    /// `None`: through the documents, by their keys.
    pub(super) index: Option<Index>,
    /// Disjoint, in the order of reading.
    pub(super) spans: Vec<Span>,
    pub(super) descending: bool,
    /// Whether what the spans hold is just what the condition wants.
    pub(super) exact: bool,
}

/// The sort names a field that has no index.
pub(super) struct NotIndexed(pub(super) Field);

impl Plan {
    pub(super) fn new(condition: &Condition, prefix: &str, sort: &Sort, indexes: &[Index]) -> Result<Self, NotIndexed> {
        let descending = sort.is_descending();
        let index = match sort {
            Sort::Field { field, .. } => {
                let found = indexes.iter().find(|index| index.field == *field);
                Some(found.ok_or_else(|| NotIndexed(field.clone()))?)
            }
            Sort::Any => Self::best(condition, indexes, |_| true),
            // What is equal stands by its key.
            Sort::Key { .. } => Self::best(condition, indexes, |test| matches!(test, Test::Equal(_))),
        };
        let Some(index) = index else {
            let exact = condition.is_none();
            return Ok(Self { index: None, spans: vec![Span::everything()], descending, exact });
        };
        let mut exact = condition.is_flat() && prefix.is_empty();
        let mut spans = vec![Span::everything()];
        for (field, test) in condition.required() {
            match spans_of(test).filter(|_| *field == index.field) {
                Some((holds, whole)) => {
                    exact &= whole;
                    let both = spans.iter().flat_map(|a| holds.iter().filter_map(|b| a.and(b)));
                    spans = both.collect();
                }
                None => exact = false,
            }
        }
        if descending {
            spans.reverse();
        }
        Ok(Self { index: Some(index.clone()), spans, descending, exact })
    }

    /// The index of the test that leaves the fewest documents, as far as one can tell from its kind.
    fn best<'a>(condition: &Condition, indexes: &'a [Index], fits: fn(&Test) -> bool) -> Option<&'a Index> {
        let tests = condition.required().filter(|(_, test)| fits(test) && spans_of(test).is_some());
        let with_index = tests.filter_map(|(field, test)| {
            let index = indexes.iter().find(|index| index.field == *field)?;
            let rank = match test {
                Test::Equal(_) => 0,
                Test::OneOf(_) => 1,
                Test::Prefix(_) => 2,
                Test::Less(_) | Test::LessOrEqual(_) | Test::Greater(_) | Test::GreaterOrEqual(_) => 3,
                Test::Exists(_) => 4,
                // Most documents pass it.
                Test::NotEqual(_) => return None,
            };
            Some((rank, index))
        });
        with_index.min_by_key(|(rank, _)| *rank).map(|(_, index)| index)
    }
}

/// Where the entries stand that a test wants, in order, and whether it wants all that stands there; `None`
/// if an index does not help.
fn spans_of(test: &Test) -> Option<(Vec<Span>, bool)> {
    let one = |span, whole| Some((vec![span], whole));
    match test {
        Test::Equal(value) => one(Span::equal_to(value), is_whole(value)),
        Test::NotEqual(value) => one(Span::of_kind(value), false),
        Test::Less(value) => one(Span::less(value, false), is_whole(value)),
        Test::LessOrEqual(value) => one(Span::less(value, true), is_whole(value)),
        Test::Greater(value) => one(Span::greater(value, false), is_whole(value)),
        Test::GreaterOrEqual(value) => one(Span::greater(value, true), is_whole(value)),
        Test::Prefix(prefix) => one(Span::with_prefix(prefix), is_whole_prefix(prefix)),
        Test::OneOf(values) => {
            let mut spans: Vec<Span> = values.iter().map(Span::equal_to).collect();
            spans.sort_by(|a, b| a.above.cmp(&b.above));
            spans.dedup();
            Some((spans, values.iter().all(is_whole)))
        }
        Test::Exists(true) => one(Span::everything(), true),
        Test::Exists(false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::descriptor::{Collection, Index as Declared};
    use crate::projection::field::Scalar;
    use crate::projection::index::indexes_of;

    fn plan(tests: Vec<(&str, Test)>, sort: &str) -> Result<Plan, NotIndexed> {
        let indexes = ["carrier", "delay"].map(|field| Declared { field: field.into() }).into();
        let collection = Collection { name: "c".into(), description: String::new(), indexes };
        let condition = tests
            .into_iter()
            .fold(Condition::default(), |condition, (field, test)| condition.and(Field::new(field).unwrap(), test));
        let sort = if sort.is_empty() { Sort::Any } else { Sort::parse(sort).unwrap() };
        Plan::new(&condition, "", &sort, &indexes_of(&collection))
    }

    fn text(text: &str) -> Scalar {
        Scalar::Text(text.into())
    }

    fn number(number: i64) -> Scalar {
        Scalar::Number(number.into())
    }

    #[test]
    fn the_narrowest_index_is_taken() {
        let by = |tests: Vec<(&str, Test)>, sort: &str| {
            let plan = plan(tests, sort).ok().unwrap();
            (plan.index.map(|index| index.field.as_str().to_owned()), plan.spans.len(), plan.exact)
        };
        let name = |name: &str| Some(name.to_owned());
        let late = || ("delay", Test::Greater(number(15)));
        let united = || ("carrier", Test::Equal(text("UA")));
        assert_eq!(by(vec![], ""), (None, 1, true));
        assert_eq!(by(vec![late()], ""), (name("delay"), 1, true));
        assert_eq!(by(vec![late(), ("delay", Test::Less(number(60)))], ""), (name("delay"), 1, true));
        assert_eq!(by(vec![late(), ("delay", Test::Less(number(2)))], ""), (name("delay"), 0, true));
        assert_eq!(by(vec![late(), united()], ""), (name("carrier"), 1, false));
        assert_eq!(by(vec![late(), united()], "-delay"), (name("delay"), 1, false));
        assert_eq!(by(vec![late(), united()], "$key"), (name("carrier"), 1, false));
        assert_eq!(by(vec![late()], "-$key"), (None, 1, false));
        assert_eq!(by(vec![("origin", Test::Equal(text("EWR")))], ""), (None, 1, false));
        let list = vec![text("UA"), text("AA"), text("UA")];
        assert_eq!(by(vec![("carrier", Test::OneOf(list))], ""), (name("carrier"), 2, true));
        assert_eq!(by(vec![("delay", Test::Exists(false))], ""), (None, 1, false));
        assert!(plan(vec![], "origin").is_err());
    }
}
