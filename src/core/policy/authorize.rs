//! One question to Cedar, and what its answer means. An error anywhere is an error of the whole answer.

use std::sync::LazyLock;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityUid, EvalResult, Expression, PolicySet, Request,
    eval_expression,
};
use thiserror::Error;

use super::entities::Value;
use super::local::PolicyInDoubt;
use super::{names, rule_order, schema::schema};

static AUTHORIZER: LazyLock<Authorizer> = LazyLock::new(Authorizer::new);

/// What Cedar said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// These permits allow, and no forbid fired. In natural order.
    Allowed(Vec<String>),
    /// These forbids fired. In natural order.
    Forbidden(Vec<String>),
    /// No rule said anything.
    Silent,
    /// A rule could not be evaluated, so that nothing follows from the others.
    Error(NoAnswer),
}

/// Why rules give no answer. Whoever asks is denied.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum NoAnswer {
    #[error("the agreement's terms cannot be written for Cedar")]
    Terms,
    #[error("the purpose lists no action")]
    NoAction,
    #[error("a question cannot be asked of another type")]
    OtherType,
    /// Cedar does not take the question, the entities or the rules together, and says why.
    #[error("{0}")]
    Refused(String),
    /// Rules that could not be evaluated, each with what Cedar says.
    #[error("{}", .0.join("; "))]
    Rules(Vec<String>),
    /// A local policy that cannot be loaded may forbid it.
    #[error("{0}")]
    Doubt(PolicyInDoubt),
}

impl NoAnswer {
    /// What Cedar refused.
    pub(super) fn refused(error: impl ToString) -> Self {
        Self::Refused(error.to_string())
    }
}

/// A question whose names and types have been checked against the schema.
#[derive(Debug)]
pub(super) struct Question(Request);

impl Question {
    /// Puts a question together, strictly against the schema.
    pub(super) fn new(
        principal: EntityUid,
        action: EntityUid,
        resource: EntityUid,
        context: Vec<(&'static str, Value)>,
    ) -> Result<Self, NoAnswer> {
        let pairs = context.into_iter().map(|(name, value)| (name.to_owned(), value));
        let context = Context::from_pairs(pairs).map_err(NoAnswer::refused)?;
        Request::new(principal, action, resource, context, Some(schema()))
            .map(Self)
            .map_err(NoAnswer::refused)
    }

    /// The same question of others of the same types, so that what the schema says of it holds.
    pub(super) fn alike(&self, principal: EntityUid, resource: EntityUid) -> Result<Self, NoAnswer> {
        let Self(request) = self;
        let same = |uid: Option<&EntityUid>, other: &EntityUid| {
            uid.is_some_and(|uid| uid.type_name() == other.type_name())
        };
        let asked = same(request.principal(), &principal) && same(request.resource(), &resource);
        let (Some(action), Some(context)) = (request.action().filter(|_| asked), request.context()) else {
            return Err(NoAnswer::OtherType);
        };
        Request::new(principal, action.clone(), resource, context.clone(), None)
            .map(Self)
            .map_err(NoAnswer::refused)
    }

    /// Asks it of a policy set.
    pub(super) fn ask(&self, policies: &PolicySet, entities: &Entities) -> Outcome {
        let response = AUTHORIZER.is_authorized(&self.0, policies, entities);
        let mut errors: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
        if !errors.is_empty() {
            errors.sort();
            return Outcome::Error(NoAnswer::Rules(errors));
        }
        let mut rules: Vec<String> = response.diagnostics().reason().map(names::id_text).collect();
        rules.sort_by(|a, b| rule_order(a, b));
        match response.decision() {
            Decision::Allow => Outcome::Allowed(rules),
            Decision::Deny if rules.is_empty() => Outcome::Silent,
            Decision::Deny => Outcome::Forbidden(rules),
        }
    }

    /// What an expression is worth here; none where it cannot be evaluated.
    pub(super) fn value(&self, expression: &Expression, entities: &Entities) -> Option<EvalResult> {
        eval_expression(&self.0, entities, expression).ok()
    }
}
