//! Scopes that include others.
//!
//! Whoever may write may read: a token with `notes:write` alone does for an operation that needs `notes:read`, if the
//! resource says that the one implies the other. What is implied by what is implied is implied as well.
//!
//! ```
//! use mcp_oauth_core::scope::hierarchy::ScopeHierarchy;
//!
//! let mut scopes = ScopeHierarchy::default();
//! scopes.imply(&"admin".parse()?, &"write".parse()?);
//! scopes.imply(&"write".parse()?, &"read".parse()?);
//! assert!(scopes.suffice(&"admin".parse()?, &"read write".parse()?));
//! assert!(!scopes.suffice(&"read".parse()?, &"write".parse()?));
//! # Ok::<_, mcp_oauth_core::scope::InvalidScope>(())
//! ```

use super::{Scope, ScopeSet};

/// Which scopes include which others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeHierarchy(Vec<(Scope, ScopeSet)>);

impl ScopeHierarchy {
    /// From now on, `scope` includes `implied` and all that this one includes.
    pub fn imply(&mut self, scope: &Scope, implied: &Scope) {
        let mut added = self.below(implied);
        added.insert(implied.clone());
        if !self.0.iter().any(|(known, _)| known == scope) {
            self.0.push((scope.clone(), ScopeSet::default()));
        }
        // Whoever includes `scope` includes what it includes.
        for (known, below) in &mut self.0 {
            if known == scope || below.contains(scope.as_str()) {
                for scope in added.iter() {
                    below.insert(scope.clone());
                }
            }
        }
    }

    fn below(&self, scope: &Scope) -> ScopeSet {
        let entry = self.0.iter().find(|(known, _)| known == scope);
        entry.map(|(_, below)| below.clone()).unwrap_or_default()
    }

    /// Whether everything that is `needed` is granted, by itself or by way of another scope.
    #[must_use]
    pub fn suffice(&self, granted: &ScopeSet, needed: &ScopeSet) -> bool {
        needed.iter().all(|scope| {
            granted.contains(scope.as_str())
                || self
                    .0
                    .iter()
                    .any(|(known, below)| below.contains(scope.as_str()) && granted.contains(known.as_str()))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scope(number: usize) -> Scope {
        format!("s{number}").parse().unwrap()
    }

    fn set(numbers: &[usize]) -> ScopeSet {
        numbers.iter().map(|number| scope(*number)).collect()
    }

    /// Row 184.
    #[test]
    fn what_a_scope_implies_need_not_be_granted_by_itself() {
        let mut scopes = ScopeHierarchy::default();
        scopes.imply(&scope(1), &scope(0));
        assert!(scopes.suffice(&set(&[1]), &set(&[0])));
        assert!(scopes.suffice(&set(&[1]), &set(&[0, 1])));
        assert!(!scopes.suffice(&set(&[0]), &set(&[1])));
        assert!(!scopes.suffice(&set(&[]), &set(&[0])));
        assert!(scopes.suffice(&set(&[]), &set(&[])));
    }

    proptest! {
        /// In whatever order it is told, what can be reached is included and nothing else is.
        #[test]
        fn the_order_in_which_it_is_told_makes_no_difference(told in prop::collection::vec((0..6_usize, 0..6_usize), 0..12)) {
            let mut scopes = ScopeHierarchy::default();
            for (from, to) in &told {
                scopes.imply(&scope(*from), &scope(*to));
            }
            // What can be reached from each, step by step.
            for from in 0..6 {
                let mut reached = vec![from];
                while let Some((_, next)) = told.iter().find(|(at, to)| reached.contains(at) && !reached.contains(to)) {
                    reached.push(*next);
                }
                for to in 0..6 {
                    let suffices = scopes.suffice(&set(&[from]), &set(&[to]));
                    prop_assert_eq!(suffices, reached.contains(&to), "{} {}", from, to);
                }
            }
        }
    }
}
