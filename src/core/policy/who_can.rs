//! Who may do what to which product, for what, and until when: the open flows of a judgement, read the other way
//! round.
//!
//! What is listed here is what the terms open, as far as the national ceiling lets it and the place does not deny every
//! request for it. Other local rules are named beside it, as whether they apply depends on each request: a permit of the
//! place may add roles, and a forbid may still deny.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use cedar_policy::{ActionConstraint, Effect, EntityUid, PrincipalConstraint, ResourceConstraint};
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use thiserror::Error;

use super::decide::{Bar, bar};
use super::{Flow, FlowPurpose, LocalRule, PolicyInDoubt, lint, names};
use crate::evaluate::Judgement;
use crate::model::{Agreement, FunctionRef, Model};
use crate::validate::shape::nearest;
use concordat_api::{
    AccessRequest, DataAction, Identifiability, ObjectRef, RequestAction, RequestContext, RequestResource,
    Subject, SubjectType,
};

/// What is asked about; what is left out matches everything.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Filter {
    pub product: Option<ObjectRef>,
    pub org: Option<String>,
    pub function: Option<String>,
    pub purpose: Option<String>,
    pub action: Option<DataAction>,
    pub agreement: Option<ObjectRef>,
}

/// A filter names something that there is not.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("there is no {what} `{name}`")]
pub struct UnknownName {
    pub what: &'static str,
    pub name: String,
    /// The name that was probably meant.
    pub near: Option<String>,
}

/// Something that a recipient may do.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Permission {
    pub org: String,
    pub function: String,
    #[serde(serialize_with = "as_text")]
    pub product: ObjectRef,
    pub purpose: String,
    pub actions: Vec<DataAction>,
    /// Who of the recipient; none means that the terms name no roles.
    pub roles: Option<Vec<String>>,
    /// The highest level at which neither the terms nor a guardrail stand in the way.
    pub max_identifiability: Identifiability,
    #[serde(serialize_with = "as_text")]
    pub agreement: ObjectRef,
    /// When it ends by itself, if nothing ends it before.
    pub until: Timestamp,
    /// Local permits that may add roles here, under conditions of their own.
    pub may_add: Vec<LocalWord>,
    /// Local forbids that may deny a request here; never what the floor guarantees.
    pub may_forbid: Vec<LocalWord>,
}

/// A local rule that has a say.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalWord {
    /// `namespace/name#id`, or `namespace/name` of a policy that cannot be loaded.
    pub rule: String,
    pub reason: String,
    /// When a permit ends by itself: its policy's review is due then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl fmt::Display for LocalWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.reason)
    }
}

impl From<&PolicyInDoubt> for LocalWord {
    fn from(doubt: &PolicyInDoubt) -> Self {
        Self { rule: doubt.reference.to_string(), reason: doubt.to_string(), until: None }
    }
}

/// The answer: what may be done, and what local rules alone keep out of it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WhoCan {
    pub grants: Vec<Permission>,
    /// The local rules that deny every request for something that the terms open and the ceiling allows.
    pub denied_by: BTreeSet<LocalWord>,
}

fn as_text<S: Serializer>(reference: &ObjectRef, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(reference)
}

/// Everything that a filter matches, by product, recipient, purpose and agreement.
///
/// A filter that names something which no one has is an error, as an empty answer would look like a denial.
pub fn who_can(judgement: &Judgement, filter: &Filter) -> Result<WhoCan, UnknownName> {
    check(judgement, filter)?;
    let Judgement { at: _, model, findings: _, assessments, moments: _ } = judgement;
    let WhoCan { mut grants, mut denied_by } = WhoCan::default();
    for (reference, assessment) in &assessments.agreements {
        let Some(agreement) = model.agreements.get(reference) else {
            continue;
        };
        for flow in assessment.flows.iter().filter(|flow| model.is_local(&flow.product)) {
            for purpose in &flow.purposes {
                let FlowPurpose { code, actions: _, roles, max_identifiability: _, not_after } = purpose;
                if !filter.matches(reference, &flow.product, &flow.recipient, code) {
                    continue;
                }
                let local = Local { model, agreement, product: &flow.product, recipient: &flow.recipient };
                let is_asked = |action: DataAction| filter.action.is_none_or(|wanted| wanted == action);
                let asked = purpose.actions.iter().copied().filter(|action| is_asked(*action)).collect();
                let asked = FlowPurpose { actions: asked, ..purpose.clone() };
                let Reach { by_level, denied_by: words } = reach(judgement, agreement, flow, &asked);
                denied_by.extend(words);
                for (max_identifiability, actions) in by_level.into_iter().rev() {
                    let (may_add, may_forbid) = local.words(&actions);
                    grants.push(Permission {
                        org: flow.recipient.org.clone(),
                        function: flow.recipient.function.clone(),
                        product: flow.product.clone(),
                        purpose: code.clone(),
                        actions,
                        roles: roles.clone(),
                        max_identifiability,
                        agreement: reference.clone(),
                        until: *not_after,
                        may_add,
                        may_forbid,
                    });
                }
            }
        }
    }
    grants.sort_by(|a, b| order(a).cmp(&order(b)));
    Ok(WhoCan { grants, denied_by })
}

fn order(permission: &Permission) -> (&ObjectRef, &str, &str, &str, &ObjectRef) {
    let Permission { org, function, product, purpose, agreement, .. } = permission;
    (product, org, function, purpose, agreement)
}

impl Filter {
    /// Whether a listed path is one of those that are asked about, whatever its actions.
    pub fn matches(
        &self,
        agreement: &ObjectRef,
        product: &ObjectRef,
        recipient: &FunctionRef,
        purpose: &str,
    ) -> bool {
        let Self { product: of, org, function, purpose: code, action: _, agreement: by } = self;
        of.as_ref().is_none_or(|wanted| wanted == product)
            && org.as_ref().is_none_or(|wanted| *wanted == recipient.org)
            && function.as_ref().is_none_or(|wanted| *wanted == recipient.function)
            && code.as_ref().is_none_or(|wanted| wanted == purpose)
            && by.as_ref().is_none_or(|wanted| wanted == agreement)
    }
}

/// What a purpose of an open path really allows.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reach {
    /// Its actions by the highest level at which nothing stands in the way of a request that brings all that rules ask
    /// for. That may be lower than in the terms, and differ from one action to the next; an action that is allowed at no
    /// level is left out.
    pub by_level: BTreeMap<Identifiability, Vec<DataAction>>,
    /// The local rules that deny every request for an action at a level that the ceiling allows.
    pub denied_by: BTreeSet<LocalWord>,
}

/// What a purpose of an open path really allows.
pub fn reach(judgement: &Judgement, agreement: &Agreement, flow: &Flow, purpose: &FlowPurpose) -> Reach {
    use Identifiability::{AggregateSmallNumbers, AggregateSuppressed, Identifiable, Pseudonymised};
    let Reach { mut by_level, mut denied_by } = Reach::default();
    for action in &purpose.actions {
        let levels = [Identifiable, Pseudonymised, AggregateSmallNumbers, AggregateSuppressed];
        for level in levels.into_iter().filter(|level| *level <= purpose.max_identifiability) {
            match bar_at(judgement, agreement, flow, purpose, *action, level) {
                Some(Bar::Ceiling) => continue,
                Some(Bar::Place(word)) => {
                    denied_by.insert(word);
                    continue;
                }
                None => {
                    by_level.entry(level).or_default().push(*action);
                    break;
                }
            }
        }
    }
    Reach { by_level, denied_by }
}

/// What stands in the way of a request that brings all that rules ask for.
fn bar_at(
    judgement: &Judgement,
    agreement: &Agreement,
    flow: &Flow,
    purpose: &FlowPurpose,
    action: DataAction,
    level: Identifiability,
) -> Option<Bar> {
    let Judgement { at, model, assessments, findings: _, moments: _ } = judgement;
    let onward = &agreement.spec.onward_sharing.to;
    let receivers: Vec<Option<&String>> = match action {
        DataAction::ShareOnward if !onward.is_empty() => onward.iter().map(Some).collect(),
        _ => vec![None],
    };
    let bars = receivers.into_iter().map(|onward_to| {
        let request = AccessRequest {
            subject: Subject { type_: SubjectType::OrgFunction, id: flow.recipient.to_string() },
            action: RequestAction { name: action.as_str().to_owned() },
            resource: RequestResource { type_: "DataProduct".to_owned(), id: flow.product.to_string() },
            context: RequestContext {
                purpose: Some(purpose.code.clone()),
                identifiability: Some(level),
                roles: purpose.roles.clone().unwrap_or_default(),
                legitimate_relationship: true,
                explicit_consent: true,
                opt_outs_applied: true,
                min_cell_count: Some(i64::from(u32::MAX)),
                case_reference: Some("any".to_owned()),
                break_glass: false,
                region: Some("GB".to_owned()),
                onward_to: onward_to.cloned(),
            },
        };
        bar(model, assessments, agreement, &request, *at)
    });
    // to whom it may be passed on, it may; else the place's word says more than the ceiling's
    bars.min_by_key(|bar| match bar {
        None => 0,
        Some(Bar::Place(_)) => 1,
        Some(Bar::Ceiling) => 2,
    })
    .unwrap_or(Some(Bar::Ceiling))
}

/// Refuses a filter that names something which no one has.
fn check(judgement: &Judgement, filter: &Filter) -> Result<(), UnknownName> {
    let Filter { product, org, function, purpose, action: _, agreement } = filter;
    let model = &judgement.model;
    let objects = |kind: &'static str| {
        let all = model.objects.keys().chain(&model.unreadable);
        all.filter(move |key| key.kind == kind).map(|key| match &key.namespace {
            Some(namespace) => format!("{namespace}/{}", key.name),
            None => key.name.clone(),
        })
    };
    known("data product", product.as_ref().map(ToString::to_string), objects("DataProduct").collect())?;
    known("organisation", org.clone(), objects("PartnerOrg").collect())?;
    let orgs = model.isolated.orgs.iter().filter(|(name, _)| org.as_ref().is_none_or(|it| it == *name));
    let functions = orgs.flat_map(|(_, spec)| &spec.functions).map(|function| function.name.clone());
    known("function", function.clone(), functions.collect())?;
    let vocabulary = model.frameworks.values().flat_map(|framework| &framework.spec.vocabulary.purposes);
    let listed = model.agreements.values().flat_map(|agreement| &agreement.spec.purposes);
    let purposes =
        vocabulary.map(|purpose| purpose.code.clone()).chain(listed.map(|purpose| purpose.code.clone()));
    known("purpose", purpose.clone(), purposes.collect())?;
    let agreements = objects("DataSharingAgreement").collect();
    known("agreement", agreement.as_ref().map(ToString::to_string), agreements)
}

fn known(what: &'static str, wanted: Option<String>, names: Vec<String>) -> Result<(), UnknownName> {
    let Some(name) = wanted.filter(|wanted| !names.contains(wanted)) else {
        return Ok(());
    };
    let near = nearest(&name, names.iter().map(String::as_str)).map(str::to_owned);
    Err(UnknownName { what, name, near })
}

/// What local rules have to say about one path.
struct Local<'a> {
    model: &'a Model,
    agreement: &'a Agreement,
    product: &'a ObjectRef,
    recipient: &'a FunctionRef,
}

impl Local<'_> {
    /// The permits that may add, and the forbids that may deny.
    fn words(&self, actions: &[DataAction]) -> (Vec<LocalWord>, Vec<LocalWord>) {
        let Self { model, agreement, product, recipient } = self;
        let (mut may_add, mut may_forbid) = (Vec::new(), Vec::new());
        let Some(product) = model.products.get(product) else {
            return (may_add, may_forbid);
        };
        let rules = model.policies.values().flat_map(|policy| {
            let binding = policy.binding_rules(model, agreement, &product.spec.controller, &recipient.org);
            binding.map(move |rule| (policy, rule))
        });
        for (policy, rule) in rules.filter(|(_, rule)| self.concerns(rule, actions)) {
            let word = LocalWord { rule: rule.id.clone(), reason: rule.reason.clone(), until: None };
            match rule.policy.effect() {
                Effect::Permit => may_add.push(LocalWord { until: policy.permits_until, ..word }),
                Effect::Forbid => may_forbid.push(word),
            }
        }
        let (controller, recipient) = (&product.spec.controller, &recipient.org);
        let in_doubt = model.policies_in_doubt.iter();
        may_forbid.extend(
            in_doubt.filter(|it| it.binds(model, agreement, controller, recipient)).map(LocalWord::from),
        );
        may_add.sort();
        may_forbid.sort();
        (may_add, may_forbid)
    }

    /// Whether a rule can be about this path. It is left out only where its own scope, or an agreement that it
    /// demands, says that it is not.
    fn concerns(&self, LocalRule { policy, json, .. }: &LocalRule, actions: &[DataAction]) -> bool {
        let is_one = |uid: &EntityUid| {
            let leaf = DataAction::ALL.into_iter().find(|action| names::action(*action) == *uid);
            // what is no single action is a group of them
            leaf.is_none_or(|action| actions.contains(&action))
        };
        let action = match policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::In(uids) => uids.iter().any(is_one),
            ActionConstraint::Eq(uid) => is_one(&uid),
        };
        let resource = match policy.resource_constraint() {
            ResourceConstraint::Eq(uid) => uid == names::product(self.product),
            _ => true,
        };
        let function = names::function(self.recipient);
        let principal = match policy.principal_constraint() {
            // a workload may be one of the recipient's
            PrincipalConstraint::Eq(uid) => uid.type_name() != function.type_name() || uid == function,
            _ => true,
        };
        let own = self.agreement.reference.to_string();
        let demanded = lint::agreements(json);
        let agreement = demanded.iter().all(|demanded| *demanded == own);
        action && resource && principal && agreement
    }
}

#[cfg(test)]
mod tests {
    use cedar_policy::Policy;

    use super::*;

    fn demanded(condition: &str) -> Option<String> {
        let text = format!("permit (principal, action, resource) {condition};");
        lint::agreements(&Policy::parse(None, text).unwrap().to_json().unwrap()).pop_first()
    }

    #[test]
    fn only_a_top_level_equation_demands_an_agreement() {
        let equation = r#"context.agreement == Concordat::Agreement::"a/b""#;
        for condition in [
            format!("when {{ {equation} }}"),
            format!("when {{ principal.providesCare && {equation} && context.breakGlass }}"),
            format!("when {{ context.breakGlass }} when {{ {equation} }}"),
            r#"when { Concordat::Agreement::"a/b" == context.agreement }"#.to_owned(),
        ] {
            assert_eq!(demanded(&condition).as_deref(), Some("a/b"), "{condition}");
        }
        for condition in [
            String::new(),
            format!("unless {{ {equation} }}"),
            format!("when {{ {equation} || context.breakGlass }}"),
            format!("when {{ !({equation}) }}"),
            r#"when { context.agreement != Concordat::Agreement::"a/b" }"#.to_owned(),
        ] {
            assert_eq!(demanded(&condition), None, "{condition}");
        }
    }
}
