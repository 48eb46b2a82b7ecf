//! Policy: the Cedar schema, frameworks and local policies, and the two questions that are asked of Cedar.
//!
//! Values from objects never enter policy text: they become entities and context. Any evaluation error is a deny.

mod annotations;
mod asked;
mod assess;
mod authorize;
mod change;
mod clauses;
mod clock;
mod compliance;
mod constant;
mod context;
mod decide;
mod effect;
mod entities;
mod exceptions;
mod flows;
mod framework;
mod gate;
mod lint;
mod load;
mod local;
mod moments;
mod names;
mod near_miss;
mod own_tests;
mod parity;
mod reads;
mod remedy;
mod schema;
mod signing;
mod since;
#[cfg(test)]
mod slices;
mod step;
mod succession;
mod test;
#[cfg(test)]
mod test_world;
mod validator;
mod who_can;
mod words;

pub use annotations::{Asked, RuleText, Tier};
pub use asked::path_ends;
pub use assess::{Assessment, Assessments, assess, reassess};
pub use compliance::{BrokenRule, Lapse};
pub use decide::{CandidateVerdict, Verdict, decide};
pub use entities::EntityStore;
pub use flows::{ClosedFlow, Flow, FlowPurpose};
pub use framework::{Framework, built_in, built_in_spec, load_framework};
pub use load::PolicyProblem;
pub use local::{LocalPolicy, LocalRule, PolicyInDoubt, load_local_policies};
pub(crate) use moments::written_dates;
pub use names::{rule_order, rule_sort_key};
pub(crate) use near_miss::exception_over;
pub use remedy::explain_request;
pub use schema::{SCHEMA_TEXT, schema};
pub use signing::{PartyState, Signing};
pub use succession::{Ended, Succession};
pub use test::{TestOutcome, run_own_test, run_test};
pub use who_can::{Filter, LocalWord, Permission, UnknownName, levels, who_can};
