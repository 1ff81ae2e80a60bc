//! Sets of members, as sorted sets: the score of a member is when it goes, in milliseconds.
//!
//! Time is Redis's own. A page begins behind the member that was last on the page before it, if that is still where it was,
//! and otherwise with the first that goes no sooner: so what stays is on one of the pages, also if it is given more time
//! meanwhile, which only moves it back.

use std::time::Duration;

use mcp_oauth_core::store::{ListPosition, Member, MemberPage};
use redis::Value;

use super::failure::Failure;
use super::listing::{array, integer, text};

/// The score and the member in a position: `<milliseconds> <member>`.
pub(super) fn read(position: Option<&ListPosition>) -> Option<(&str, &str)> {
    let (score, member) = position?.0.split_once(' ')?;
    let fits = (1..=16).contains(&score.len()) && score.bytes().all(|byte| byte.is_ascii_digit());
    fits.then_some((score, member))
}

/// Puts a page together from `[now, how many there are, how many come before the page, [member, score, …]]`.
pub(super) fn page(answer: Value) -> Result<MemberPage, Failure> {
    let mut parts = array(answer)?.into_iter();
    let (now, total, before) = (integer(parts.next())?, integer(parts.next())?, integer(parts.next())?);
    let mut values = array(parts.next().ok_or(Failure::UnexpectedAnswer)?)?.into_iter();
    let (mut members, mut last) = (Vec::new(), None);
    while let Some(name) = values.next() {
        let (name, score) = (text(Some(name))?, text(values.next())?);
        let until: i64 = score.parse().map_err(|_| Failure::UnexpectedAnswer)?;
        let left = u64::try_from(until.saturating_sub(now)).unwrap_or_default();
        last = Some(ListPosition(format!("{until} {name}")));
        members.push(Member::new(name, Duration::from_millis(left)));
    }
    let total = usize::try_from(total).map_err(|_| Failure::UnexpectedAnswer)?;
    let read = usize::try_from(before).map_err(|_| Failure::UnexpectedAnswer)? + members.len();
    Ok(MemberPage::new(members, total, last.filter(|_| read < total)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(total: i64, before: i64, members: &[(&str, &str)]) -> Value {
        let bulk = |text: &&str| Value::BulkString((*text).into());
        let members = members
            .iter()
            .flat_map(|(name, score)| [bulk(name), bulk(score)])
            .collect();
        Value::Array(vec![
            Value::Int(1000),
            Value::Int(total),
            Value::Int(before),
            Value::Array(members),
        ])
    }

    #[test]
    fn a_page_knows_how_long_its_members_stay_and_whether_there_are_more() {
        let first = page(answer(3, 0, &[("a", "1500"), ("b c", "2000")])).unwrap();
        assert_eq!(first.members[0], Member::new("a", Duration::from_millis(500)));
        assert_eq!(read(first.next.as_ref()), Some(("2000", "b c")));
        let last = page(answer(3, 2, &[("d", "3000")])).unwrap();
        assert_eq!((last.next, last.total), (None, 3));
        assert_eq!(page(answer(0, 0, &[])).unwrap(), MemberPage::default());
    }

    #[test]
    fn an_answer_of_another_form_is_an_error() {
        for answer in [
            Value::Nil,
            Value::Array(Vec::new()),
            answer(1, 0, &[("a", "b")]),
            answer(-1, 0, &[]),
        ] {
            assert_eq!(page(answer).unwrap_err(), Failure::UnexpectedAnswer);
        }
    }

    proptest! {
        #[test]
        fn of_a_position_only_digits_count_as_score(text in "[0-9a-z. +-]{0,20}") {
            let position = ListPosition(text);
            if let Some((score, _)) = read(Some(&position)) {
                prop_assert!(score.parse::<u64>().is_ok());
            }
        }
    }
}
