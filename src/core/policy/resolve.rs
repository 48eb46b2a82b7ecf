//! The names of a request, found in the model.

use jiff::Timestamp;

use super::assessment::Assessments;
use super::near_miss::{ACTION, CALLER, LEVEL, PURPOSE, RESOURCE, SUBJECT, miss};
use crate::finding::ObjectKey;
use crate::model::{FunctionRef, Model, Product};
use crate::text::is_blank;
use crate::validate::shape::nearest;
use concordat_api::{
    AccessRequest, DataAction, Identifiability, NearMiss, ObjectRef, PartnerOrgSpec, RequestContext, Subject,
    SubjectType,
};

/// A request whose names have been found.
pub(super) struct ResolvedRequest<'a> {
    pub(super) function: FunctionRef,
    /// The workload's id, where a workload asks.
    pub(super) workload: Option<&'a str>,
    pub(super) action: DataAction,
    pub(super) product: &'a Product,
    pub(super) purpose: &'a str,
    pub(super) identifiability: Identifiability,
    pub(super) context: &'a RequestContext,
    /// The organisation that it is for; to share onward, where that one is known.
    pub(super) onward: Option<&'a str>,
    /// What is wanted, where it is for one that is not known: then nothing permits, whatever is asked.
    pub(super) unknown_onward: Option<Box<NearMiss>>,
}

impl<'a> ResolvedRequest<'a> {
    pub(super) fn resolve(model: &'a Model, request: &'a AccessRequest) -> Result<Self, Box<NearMiss>> {
        let AccessRequest { subject, action, resource, context } = request;
        let function = function_of(model, subject).ok_or_else(|| {
            let (shape, near) = match subject.type_ {
                SubjectType::Workload => (
                    "`cluster/namespace/serviceAccount` of a workload that one function has",
                    near_workload(model, &subject.id),
                ),
                SubjectType::OrgFunction => {
                    ("`org/function` of an organisation", near_function(model, &subject.id))
                }
            };
            // what is there is not misspelt
            let (saw, wants) = match unusable_subject(model, subject) {
                Some(saw) => (saw, "a subject whose organisation can be used".to_owned()),
                None => (format!("the unknown subject `{}`", subject.id), did_you_mean(shape, near)),
            };
            miss(SUBJECT, saw, wants, "the registry of the system")
        })?;
        let known = DataAction::ALL.into_iter().find(|known| known.as_str() == action.name);
        let action = known.ok_or_else(|| {
            let names = || DataAction::ALL.iter().map(|action| action.as_str());
            let listed: Vec<String> = names().map(|name| format!("`{name}`")).collect();
            let near = nearest(&action.name, names()).map(str::to_owned);
            let wants = did_you_mean(&format!("one of {}", listed.join(", ")), near);
            miss(ACTION, format!("`{}`", action.name), wants, CALLER)
        })?;
        let product = (resource.type_ == "DataProduct")
            .then(|| resource.id.split_once('/'))
            .flatten()
            .and_then(|(namespace, name)| {
                model.products.get(&ObjectRef { namespace: namespace.to_owned(), name: name.to_owned() })
            })
            .ok_or_else(|| {
                let (kind, id) = (&resource.type_, &resource.id);
                let named = |product: &&Product| product.reference.to_string() == *id;
                let is_there = unusable_product(model, request);
                let near = if is_there {
                    None
                } else if kind != "DataProduct" {
                    nearest(kind, ["DataProduct"].into_iter()).map(str::to_owned)
                } else {
                    nearest(id, model.products.keys().map(ToString::to_string))
                };
                let saw = match resource.id.split_once('/') {
                    _ if is_there => format!("`{id}`, which exists, but cannot be used"),
                    _ if model.products.values().any(|product| named(&product)) => {
                        format!("of the unknown type `{kind}`")
                    }
                    _ => format!("`{kind}` `{id}`, which does not exist"),
                };
                let wants = did_you_mean("`DataProduct` and `namespace/name` of a product", near);
                miss(RESOURCE, saw, wants, CALLER)
            })?;
        let codes = || model.frameworks.values().flat_map(|framework| framework.purposes());
        let purpose = context
            .purpose
            .as_deref()
            .filter(|code| !is_blank(code))
            .filter(|code| codes().any(|purpose| purpose.code == *code))
            .ok_or_else(|| {
                let named = context.purpose.as_deref().filter(|code| !is_blank(code));
                let saw = named.map_or_else(
                    || "left out".to_owned(),
                    |code| format!("`{code}`, which no framework lists that can be used"),
                );
                let near = named.and_then(|code| nearest(code, codes().map(|purpose| purpose.code.clone())));
                let wants = did_you_mean("a purpose of the framework's vocabulary", near);
                miss(PURPOSE, saw, wants, CALLER)
            })?;
        let identifiability = context.identifiability.unwrap_or(Identifiability::Identifiable);
        let about_persons = matches!(action, DataAction::ReadRecord | DataAction::Reidentify);
        if about_persons && identifiability < Identifiability::Pseudonymised {
            let saw = format!("`{identifiability:?}` with `{action}`");
            return Err(miss(
                LEVEL,
                saw,
                "`Pseudonymised` or `Identifiable`, as a record is about a person",
                CALLER,
            ));
        }
        let named = context.onward_to.as_deref().filter(|org| !is_blank(org));
        let is_known = |org: &&str| model.orgs.contains_key(*org);
        let is_onward = action == DataAction::ShareOnward;
        // for another action it is only what rules may read
        let onward = named.filter(|org| !is_onward || is_known(org));
        let unknown_onward = named.filter(|org| is_onward && !is_known(org)).map(|org| {
            let saw = format!("`{org}`, which is no organisation that can be used");
            miss("the body that it is for", saw, "an Active organisation of the registry", CALLER)
        });
        let workload = (subject.type_ == SubjectType::Workload).then_some(subject.id.as_str());
        Ok(Self {
            function,
            workload,
            action,
            product,
            purpose,
            identifiability,
            context,
            onward,
            unknown_onward,
        })
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

/// What is wanted, with the name that was probably meant.
fn did_you_mean(wants: &str, near: Option<String>) -> String {
    near.map_or_else(|| wants.to_owned(), |near| format!("{wants}; did you mean `{near}`?"))
}

/// Whether a request is about a product that is there and cannot be used.
pub(super) fn unusable_product(model: &Model, request: &AccessRequest) -> bool {
    let resource = &request.resource;
    let named = resource.id.split_once('/').filter(|_| resource.type_ == "DataProduct");
    named.is_some_and(|(namespace, name)| {
        let reference = ObjectRef { namespace: namespace.to_owned(), name: name.to_owned() };
        !model.products.contains_key(&reference)
            && model.exists(&ObjectKey::new("DataProduct", Some(namespace), name))
    })
}

/// A subject that is there and cannot be used, with the reason.
pub(super) fn unusable_subject(model: &Model, subject: &Subject) -> Option<String> {
    let id = &subject.id;
    let is_unusable =
        |org: &str| !model.orgs.contains_key(org) && model.exists(&ObjectKey::new("PartnerOrg", None, org));
    if subject.type_ == SubjectType::OrgFunction {
        let org = id.split('/').next()?;
        return is_unusable(org).then(|| format!("`{id}`, whose organisation exists, but cannot be used"));
    }
    let namespace = id.split('/').nth(1)?;
    let claims = |spec: &PartnerOrgSpec| {
        spec.functions.iter().flat_map(|it| &it.workloads).any(|it| it.namespace == namespace)
    };
    let known = model.isolated.orgs.iter().find(|(org, spec)| is_unusable(org) && claims(spec));
    let org = known.map(|(org, _)| org).or_else(|| model.claimed.get(namespace))?;
    Some(format!("`{id}`, in a namespace of `{org}`, which exists, but cannot be used"))
}

/// The function that a mistyped one was probably meant to be.
pub(super) fn near_function(model: &Model, id: &str) -> Option<String> {
    let names = model.orgs.iter().flat_map(|(org, found)| {
        found.spec.functions.iter().map(move |function| format!("{org}/{}", function.name))
    });
    nearest(id, names)
}

/// The workload that a mistyped one was probably meant to be, as far as its organisation names it whole.
pub(super) fn near_workload(model: &Model, id: &str) -> Option<String> {
    let mut parts = id.split('/');
    let (cluster, _, account) = (parts.next()?, parts.next()?, parts.next()?);
    let mut names = Vec::new();
    for function in model.orgs.values().flat_map(|org| &org.spec.functions) {
        for workload in &function.workloads {
            let cluster = workload.cluster.as_deref().unwrap_or(cluster);
            let accounts = workload.service_accounts.iter().flatten().map(String::as_str);
            let accounts: Vec<&str> = accounts.collect();
            let accounts = if accounts.is_empty() { vec![account] } else { accounts };
            names
                .extend(accounts.iter().map(|account| format!("{cluster}/{}/{account}", workload.namespace)));
        }
    }
    // one that two functions have is no answer
    names.retain(|name| model.workloads.function(name).is_some());
    nearest(id, names.into_iter())
}

/// The product and the function that a request is about, where the model has both.
pub(super) fn asked_flow(model: &Model, request: &AccessRequest) -> Option<(ObjectRef, FunctionRef)> {
    let ResolvedRequest { product, function, .. } = ResolvedRequest::resolve(model, request).ok()?;
    Some((product.reference.clone(), function))
}

/// When the path that a request is about ends by itself under an agreement; nothing where it is not open.
pub fn path_ends(
    model: &Model,
    assessments: &Assessments,
    request: &AccessRequest,
    agreement: &ObjectRef,
) -> Option<Timestamp> {
    let (product, function) = asked_flow(model, request)?;
    let mut flows = assessments.agreements.get(agreement)?.flows.iter();
    let flow = flows.find(|flow| flow.product == product && flow.recipient == function)?;
    let code = request.context.purpose.as_deref()?;
    flow.purposes.iter().find(|purpose| purpose.code == code).map(|purpose| purpose.not_after)
}
