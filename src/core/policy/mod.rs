//! Policy: the Cedar schema, frameworks and local policies, and the two questions that are asked of Cedar.
//!
//! Values from objects never enter policy text: they become entities and context. Any evaluation error is a deny.

mod annotations;
mod assess;
mod assessment;
mod authorize;
mod broken_rule;
mod change;
mod clauses;
mod compliance;
mod constant;
mod context;
mod context_free;
mod dates;
mod decide;
mod effect;
mod entities;
mod exceptions;
mod flows;
mod framework;
mod gate;
mod incremental;
mod large_stack;
mod lint;
mod load;
mod local;
mod names;
mod near_miss;
mod own_tests;
mod parity;
mod problem;
mod reads;
mod remedy;
mod resolve;
mod schema;
mod signing;
#[cfg(test)]
mod slices;
mod step;
mod succession;
mod test;
#[cfg(test)]
mod test_world;
mod time_dependence;
mod validator;
mod who_can;
mod words;

pub use annotations::{Asked, RuleText, Tier};
pub use assess::{assess, reassess};
pub use assessment::{Assessment, Assessments, ClosedFlow, Flow, FlowPurpose};
pub use broken_rule::{BrokenRule, Lapse};
pub use context_free::ContextFree;
pub(crate) use dates::written_dates;
pub use decide::{CandidateVerdict, Verdict, decide};
pub use entities::EntityStore;
pub use framework::{Framework, built_in, built_in_spec, load_framework};
pub use local::{LocalPolicy, LocalRule, LocalRules, PolicyInDoubt, load_local_policies};
pub use names::{rule_order, rule_sort_key};
pub(crate) use near_miss::exception_over;
pub use problem::PolicyProblem;
pub use remedy::explain_request;
pub use resolve::path_ends;
pub use schema::{SCHEMA_TEXT, schema};
pub use signing::{PartyState, Signing};
pub use succession::{Ended, Succession};
pub use test::{TestOutcome, run_own_test, run_test};
pub use who_can::{Filter, LocalWord, Permission, Reach, UnknownName, WhoCan, reach, who_can};
