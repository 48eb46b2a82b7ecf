//! Databases of products: within one, a role acts for one function, and a relation belongs to one product.
//!
//! An agent reads the products of its own namespace, so that is how far a database reaches: no product elsewhere can
//! say anything about it.

use std::collections::{BTreeMap, BTreeSet};

use super::check::Check;
use super::{Checked, listed, reference};
use crate::finding::Code;
use crate::snapshot::Snapshot;
use concordat_api::{DataProduct, ObjectRef, PostgresqlStore};

/// The most bytes of a name in PostgreSQL, which cuts longer ones without a word.
const MOST_BYTES: usize = 63;

/// Namespace and name of a database.
type Database<'a> = (&'a str, &'a str);

/// For whom a role acts: an organisation, and one function of it or all.
type Actor<'a> = (&'a str, Option<&'a str>);

/// What the products of a snapshot say about databases.
#[derive(Debug, Default)]
pub(super) struct Stores<'a> {
    roles: BTreeMap<(Database<'a>, &'a str), BTreeSet<(Actor<'a>, ObjectRef)>>,
    relations: BTreeMap<(Database<'a>, &'a str, &'a str), BTreeSet<ObjectRef>>,
}

impl<'a> Stores<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        let mut stores = Self::default();
        for product in &snapshot.products {
            let own = reference(&*product.object);
            let Some(store) = &product.object.spec.store else { continue };
            let PostgresqlStore { database, relations, logins, take_over: _ } = &store.postgresql;
            let namespace = product.object.metadata.namespace.as_deref().unwrap_or_default();
            let database = (namespace, database.as_str());
            for login in logins {
                let actor = (login.org.as_str(), login.function.as_deref());
                stores.roles.entry((database, &login.role)).or_default().insert((actor, own.clone()));
            }
            for relation in relations {
                let key = (database, relation.schema.as_str(), relation.name.as_str());
                stores.relations.entry(key).or_default().insert(own.clone());
            }
        }
        stores
    }

    /// Looks at the store of one product.
    pub(super) fn check(&self, check: &mut Check<'_, DataProduct>, checked: &Checked<'_>) {
        let object = check.object();
        let own = reference(object);
        let Some(store) = &object.spec.store else { return };
        let PostgresqlStore { database, relations, logins, take_over: _ } = &store.postgresql;
        let within = (own.namespace.as_str(), database.as_str());
        const FIELD: &str = "spec.store.postgresql";
        short(check, &format!("{FIELD}.database"), database);
        for (index, relation) in relations.iter().enumerate() {
            let field = format!("{FIELD}.relations[{index}]");
            short(check, &format!("{field}.schema"), &relation.schema);
            short(check, &format!("{field}.name"), &relation.name);
            let named = self.relations.get(&(within, relation.schema.as_str(), relation.name.as_str()));
            let others: Vec<String> =
                named.into_iter().flatten().filter(|other| **other != own).map(ToString::to_string).collect();
            if !others.is_empty() {
                let message = format!(
                    "relation `{}.{}` of database `{database}` belongs to {} too",
                    relation.schema,
                    relation.name,
                    listed(others.iter().map(String::as_str))
                );
                check.finding(Code::RelationShared, &field, message).help(
                    "a relation belongs to one product: make a view for each, with what that product holds",
                );
            }
        }
        for (index, login) in logins.iter().enumerate() {
            let field = format!("{FIELD}.logins[{index}]");
            short(check, &format!("{field}.role"), &login.role);
            let actor = (login.org.as_str(), login.function.as_deref());
            let acting = self.roles.get(&(within, login.role.as_str()));
            let others: Vec<String> = acting
                .into_iter()
                .flatten()
                .filter(|(other, _)| *other != actor)
                .map(|((org, function), product)| match function {
                    Some(function) => format!("{org}/{function} in {product}"),
                    None => format!("{org} in {product}"),
                })
                .collect();
            if !others.is_empty() {
                let message = format!(
                    "role `{}` of database `{database}` acts for {} too",
                    login.role,
                    listed(others.iter().map(String::as_str))
                );
                check
                    .finding(Code::RoleShared, &format!("{field}.role"), message)
                    .help("a role acts for one function of one organisation: give each a role of its own");
            }
            match (checked.model.orgs.get(&login.org), &login.function) {
                (None, _) => {
                    check
                        .finding(
                            Code::OrgNotFound,
                            &format!("{field}.org"),
                            format!("there is no organisation `{}` that can be used", login.org),
                        )
                        .missing("PartnerOrg", login.org.as_str())
                        .near(
                            &login.org,
                            checked.model.orgs.keys().map(String::as_str),
                            "add a PartnerOrg of that name, or take the login out; until then it is granted nothing",
                        )
                        .warning();
                }
                (Some(org), Some(function)) if org.function(function).is_none() => {
                    check
                        .finding(
                            Code::FunctionNotFound,
                            &format!("{field}.function"),
                            format!("`{}` has no function `{function}`", login.org),
                        )
                        .near(
                            function,
                            org.spec.functions.iter().map(|function| function.name.as_str()),
                            "name a function that the organisation has; until then the login is granted nothing",
                        )
                        .warning();
                }
                (Some(_), _) => {}
            }
        }
    }
}

/// Whether PostgreSQL takes a name as it is written.
fn short(check: &mut Check<'_, DataProduct>, field: &str, name: &str) {
    if name.len() > MOST_BYTES {
        check
            .finding(
                Code::DatabaseName,
                field,
                format!("`{name}` has {} bytes, and PostgreSQL cuts a name after {MOST_BYTES}", name.len()),
            )
            .help("write the name as the database has it, cut as it was when it was made");
    } else if name.contains('\0') {
        check
            .finding(Code::DatabaseName, field, "PostgreSQL has no name with a zero byte in it")
            .help("write the name as the database has it");
    }
}
