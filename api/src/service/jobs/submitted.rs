//! What a request said of locks, states and conditions, as the record of the job that it began keeps it: the job's commands say it again, so that it is decided
//! where they are applied.

use serde::{Deserialize, Serialize};
use skep_placement::ids::EntryId;
use skep_raft::wire::meta::v1::{EntryPath, Precondition, StateList, StateTest};

use crate::service::id_bytes;
use crate::stated::{Stated, shown, token_of};

/// Tokens, the fence and lists of states. Fields are only ever added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Submitted {
    /// Of locks, as they are shown.
    tokens: Vec<String>,
    /// 0: none.
    fence: u64,
    lists: Vec<Listed>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Listed {
    /// The id that the names begin at; none: nothing that the group knows.
    base: Option<String>,
    names: Vec<String>,
    tests: Vec<Tested>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Tested {
    negated: bool,
    /// As it is shown; empty: none.
    token: String,
    etag: String,
}

/// A record that may hold what was submitted.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Holder {
    submitted: Submitted,
}

impl Submitted {
    pub(crate) fn of(stated: &Stated) -> Self {
        let lists = stated.lists.iter().map(|list| Listed {
            base: list.path.as_ref().map(|path| EntryId::try_from(path.base.as_ref()).unwrap_or_default().to_string()),
            names: list.path.as_ref().map(|path| path.names.clone()).unwrap_or_default(),
            tests: list.tests.iter().map(tested).collect(),
        });
        Self { tokens: stated.tokens.iter().map(|token| shown(token)).collect(), fence: stated.fence, lists: lists.collect() }
    }

    /// Reads it out of a job's parameters, whose own reader says what is wrong with them.
    pub(crate) fn in_parameters(parameters_json: &str) -> Self {
        serde_json::from_str::<Holder>(parameters_json).unwrap_or_default().submitted
    }

    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// For the commands that change what people see.
    pub(crate) fn whole(&self) -> Stated {
        let lists = self.lists.iter().map(|list| StateList {
            path: list
                .base
                .as_ref()
                .map(|base| EntryPath { base: id_bytes(base.parse::<EntryId>().unwrap_or_default().0), names: list.names.clone() }),
            tests: list.tests.iter().map(test_of).collect(),
        });
        Stated { lists: lists.collect(), fence: self.fence, ..self.tokens_only() }
    }

    /// For the commands that prepare it, and for what is left to do after.
    pub(crate) fn tokens_only(&self) -> Stated {
        let tokens = self.tokens.iter().filter_map(|token| token_of(token)).map(id_bytes);
        Stated { tokens: tokens.collect(), ..Stated::default() }
    }
}

fn tested(test: &StateTest) -> Tested {
    let token = if test.lock_token.is_empty() { String::new() } else { shown(&test.lock_token) };
    Tested { negated: test.negated, token, etag: test.etag.clone() }
}

fn test_of(test: &Tested) -> StateTest {
    let lock_token = token_of(&test.token).map(id_bytes).unwrap_or_default();
    StateTest { negated: test.negated, lock_token, etag: test.etag.clone() }
}

/// What must hold, as a job's record keeps it. Fields are only ever added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Condition {
    must_exist: bool,
    must_not_exist: bool,
    etags_any: Vec<String>,
    etags_none: Vec<String>,
    unmodified_since: u64,
    fence: u64,
}

impl From<Precondition> for Condition {
    fn from(condition: Precondition) -> Self {
        let Precondition { must_exist, must_not_exist, etags_any, etags_none, unmodified_since, fence } = condition;
        Self { must_exist, must_not_exist, etags_any, etags_none, unmodified_since, fence }
    }
}

impl From<Condition> for Precondition {
    fn from(condition: Condition) -> Self {
        let Condition { must_exist, must_not_exist, etags_any, etags_none, unmodified_since, fence } = condition;
        Self { must_exist, must_not_exist, etags_any, etags_none, unmodified_since, fence }
    }
}

#[cfg(test)]
mod tests {
    use skep_raft::wire::meta::v1::{EntryPath, StateList, StateTest};

    use super::Submitted;
    use crate::stated::Stated;

    #[test]
    fn what_was_said_is_said_again() {
        let path = EntryPath { base: vec![3; 16].into(), names: vec!["a".to_owned(), "ü".to_owned()] };
        let tests = vec![
            StateTest { negated: true, lock_token: vec![7; 16].into(), etag: String::new() },
            StateTest { etag: "v1".to_owned(), ..StateTest::default() },
            StateTest::default(),
        ];
        let lists = vec![StateList { path: Some(path), tests: tests.clone() }, StateList { path: None, tests }];
        let stated = Stated { tokens: vec![vec![7; 16].into()], lists, fence: 9 };
        let json = format!("{{\"nodes\":[],\"submitted\":{}}}", serde_json::to_string(&Submitted::of(&stated)).expect("plain fields"));
        let back = Submitted::in_parameters(&json);
        assert_eq!(back.whole(), stated);
        assert_eq!(back.tokens_only(), Stated { tokens: stated.tokens, ..Stated::default() });
        for other in ["", "{}", "{\"nodes\":[\"a\"]}"] {
            assert!(Submitted::in_parameters(other).is_nothing(), "{other}");
        }
    }
}
