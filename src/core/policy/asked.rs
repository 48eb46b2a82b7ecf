//! The names of a request, found in the model.

use super::near_miss::{CALLER, miss};
use crate::api::{
    AccessRequest, DataAction, Identifiability, NearMiss, ObjectRef, RequestContext, Subject, SubjectType,
};
use crate::core::model::{FunctionRef, Model, Product};
use crate::core::text::is_blank;

/// A request whose names have been found.
pub(super) struct Asked<'a> {
    pub(super) function: FunctionRef,
    /// The workload's id, where a workload asks.
    pub(super) workload: Option<&'a str>,
    pub(super) action: DataAction,
    pub(super) product: &'a Product,
    pub(super) purpose: &'a str,
    pub(super) identifiability: Identifiability,
    pub(super) context: &'a RequestContext,
}

impl<'a> Asked<'a> {
    pub(super) fn resolve(model: &'a Model, request: &'a AccessRequest) -> Result<Self, Box<NearMiss>> {
        let AccessRequest { subject, action, resource, context } = request;
        let function = function_of(model, subject).ok_or_else(|| {
            let wants = match subject.type_ {
                SubjectType::Workload => {
                    "`cluster/namespace/serviceAccount` of a workload that one function has"
                }
                SubjectType::OrgFunction => "`org/function` of an organisation",
            };
            miss(
                "the subject",
                format!("`{}`, which nobody has", subject.id),
                wants,
                "the registry of the system",
            )
        })?;
        let known = DataAction::ALL.into_iter().find(|known| known.as_str() == action.name);
        let action = known.ok_or_else(|| {
            let names: Vec<String> = DataAction::ALL.iter().map(|action| format!("`{action}`")).collect();
            miss("the action", format!("`{}`", action.name), format!("one of {}", names.join(", ")), CALLER)
        })?;
        let product = (resource.type_ == "DataProduct")
            .then(|| resource.id.split_once('/'))
            .flatten()
            .and_then(|(namespace, name)| {
                model.products.get(&ObjectRef { namespace: namespace.to_owned(), name: name.to_owned() })
            })
            .ok_or_else(|| {
                let saw = format!("`{}` `{}`, which does not exist", resource.type_, resource.id);
                miss("the resource", saw, "`DataProduct` and `namespace/name` of a product", CALLER)
            })?;
        let purpose = context
            .purpose
            .as_deref()
            .filter(|code| !is_blank(code))
            .filter(|code| model.frameworks.values().any(|framework| framework.purpose(code).is_some()))
            .ok_or_else(|| {
                let saw = context.purpose.as_deref().filter(|code| !is_blank(code)).map_or_else(
                    || "left out".to_owned(),
                    |code| format!("`{code}`, which no framework lists"),
                );
                miss("the purpose", saw, "a purpose of the framework's vocabulary", CALLER)
            })?;
        let identifiability = context.identifiability.unwrap_or(Identifiability::Identifiable);
        let about_persons = matches!(action, DataAction::ReadRecord | DataAction::Reidentify);
        if about_persons && identifiability < Identifiability::Pseudonymised {
            let saw = format!("`{identifiability:?}` with `{action}`");
            return Err(miss(
                "the level",
                saw,
                "`Pseudonymised` or `Identifiable`, as a record is about a person",
                CALLER,
            ));
        }
        let onward = context.onward_to.as_deref().filter(|org| !is_blank(org));
        if let Some(onward) = onward.filter(|org| !model.orgs.contains_key(*org)) {
            let saw = format!("`{onward}`, which is no organisation that can be used");
            return Err(miss(
                "the body that it is for",
                saw,
                "an Active organisation of the registry",
                CALLER,
            ));
        }
        let workload = (subject.type_ == SubjectType::Workload).then_some(subject.id.as_str());
        Ok(Self { function, workload, action, product, purpose, identifiability, context })
    }
}

/// The function that a subject is or speaks for.
pub(super) fn function_of(model: &Model, subject: &Subject) -> Option<FunctionRef> {
    let reference = match subject.type_ {
        SubjectType::Workload => model.workloads.function(&subject.id).cloned()?,
        SubjectType::OrgFunction => {
            let (org, function) = subject.id.split_once('/')?;
            FunctionRef { org: org.to_owned(), function: function.to_owned() }
        }
    };
    model.orgs.get(&reference.org)?.function(&reference.function)?;
    Some(reference)
}

/// The product and the function that a request is about, where the model has both.
pub(super) fn asked_flow(model: &Model, request: &AccessRequest) -> Option<(ObjectRef, FunctionRef)> {
    let Asked { product, function, .. } = Asked::resolve(model, request).ok()?;
    Some((product.reference.clone(), function))
}
