//! A change in words: what was seen, what it has to be, and who can change it.

use std::collections::BTreeMap;
use std::fmt;

use super::change::{Change, Fact, GIVEN, met};
use super::near_miss::{ACTION, CALLER, RESOURCE, SUBJECT};
use super::remedy::World;
use super::signing::{PartyState, Signing, party_state};
use concordat_api::{DsptStatus, Identifiability, Standing};

/// What was seen, what it has to be, and who can change it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Step {
    pub(super) clause: String,
    pub(super) saw: String,
    pub(super) wants: String,
    pub(super) who: String,
}

impl Change {
    /// The change in words, before it is made; none where there is nothing to change.
    pub(super) fn step(&self, world: &World) -> Option<Step> {
        let World { model, request, at } = world;
        let context = &request.context;
        let caller = |clause: &str, saw: String, wants: String| Step {
            clause: clause.to_owned(),
            saw,
            wants,
            who: CALLER.to_owned(),
        };
        let now = |value: bool| value.to_string();
        let or_none = |text: &Option<String>| text.as_ref().map_or("left out".to_owned(), ticked);
        let terms = |clause: String, saw: String, wants: String| Step {
            clause,
            saw,
            wants,
            who: "the parties, in the terms, which all of them sign again".to_owned(),
        };
        let step = match self {
            Self::Subject(id) => caller(SUBJECT, ticked(&request.subject.id), ticked(id)),
            Self::Resource(id) => caller(RESOURCE, ticked(&request.resource.id), ticked(id)),
            Self::Action(action) => caller(ACTION, ticked(&request.action.name), ticked(action)),
            Self::Purpose(code) => caller("context.purpose", or_none(&context.purpose), ticked(code)),
            Self::Level(level) => {
                let saw = context.identifiability.unwrap_or(Identifiability::Identifiable);
                caller("context.identifiability", format!("`{saw:?}`"), format!("`{level:?}`"))
            }
            Self::Role(role) => {
                caller("context.roles", listed(&context.roles), format!("a list with `{role}`"))
            }
            Self::Fact(fact, value) => {
                let saw = match fact {
                    Fact::LegitimateRelationship => context.legitimate_relationship,
                    Fact::ExplicitConsent => context.explicit_consent,
                    Fact::OptOutsApplied => context.opt_outs_applied,
                    Fact::BreakGlass => context.break_glass,
                };
                if saw == *value {
                    return None;
                }
                caller(&format!("context.{}", fact.name()), now(saw), now(*value))
            }
            Self::Count(count) => {
                let saw = context.min_cell_count.map_or("left out".to_owned(), |count| count.to_string());
                caller("context.minCellCount", saw, format!("at least {count}"))
            }
            Self::Case(case) => {
                let saw = context.case_reference.clone().filter(|case| !case.trim().is_empty());
                let wants = if case == GIVEN { "given".to_owned() } else { ticked(case) };
                caller("context.caseReference", or_none(&saw), wants)
            }
            Self::Region(region) => caller("context.region", or_none(&context.region), ticked(region)),
            Self::OnwardTo(org) => caller("context.onwardTo", or_none(&context.onward_to), ticked(org)),
            Self::Wait(moment) => Step {
                clause: "the moment".to_owned(),
                saw: ticked(at),
                wants: format!("`{moment}` or later"),
                who: "no one: it starts by itself".to_owned(),
            },
            Self::Dspt(org) => {
                let assurance = model.orgs.get(org)?.spec.assurance.as_ref();
                let dspt = assurance.and_then(|it| it.dspt.as_ref());
                let saw = dspt.map_or("none".to_owned(), |dspt| {
                    let until = dspt.valid_until.map_or("without a date".to_owned(), |until| {
                        if until <= *at {
                            format!("which ended on `{until}`")
                        } else {
                            format!("until `{until}`")
                        }
                    });
                    format!("`{:?}`, {until}", dspt.status)
                });
                let status = assurance.map_or(DsptStatus::StandardsMet, met);
                Step {
                    clause: format!("assurance.dspt of `{org}`"),
                    saw,
                    wants: format!("`{status:?}` with a `validUntil` after `{at}`"),
                    who: format!("the organisation `{org}`, which publishes its DSPT (in its PartnerOrg)"),
                }
            }
            Self::Equivalent(org, scheme) => {
                let assurance = model.orgs.get(org)?.spec.assurance.as_ref();
                let own = assurance.and_then(|it| it.equivalent.as_ref());
                let saw = own
                    .map_or("none".to_owned(), |own| format!("`{}` until `{}`", own.scheme, own.valid_until));
                Step {
                    clause: format!("assurance.equivalent of `{org}`"),
                    saw,
                    wants: format!("`{scheme}` with a `validUntil` after `{at}`"),
                    who: format!("the organisation `{org}`, in its PartnerOrg"),
                }
            }
            Self::Ico(org) => {
                let ico = model.orgs.get(org)?.spec.ico.as_ref();
                let saw = ico.map_or("none".to_owned(), |ico| match ico.valid_until {
                    Some(until) => format!("`{:?}` until `{until}`", ico.status),
                    None => format!("`{:?}`", ico.status),
                });
                Step {
                    clause: format!("ico of `{org}`"),
                    saw,
                    wants: format!("`Registered` with a `validUntil` after `{at}`"),
                    who: format!(
                        "the organisation `{org}`, which renews its registration (in its PartnerOrg)"
                    ),
                }
            }
            Self::People(org) => {
                let _ = model.orgs.get(org)?;
                Step {
                    clause: format!("people of `{org}`"),
                    saw: "not complete".to_owned(),
                    wants: "a SIRO, a Caldicott Guardian, a DPO and an IG lead".to_owned(),
                    who: format!("the organisation `{org}`, in its PartnerOrg"),
                }
            }
            Self::Reinstate(org) => Step {
                clause: format!("state of `{org}`"),
                saw: ticked(&model.orgs.get(org)?.spec.state.as_str()),
                wants: "`Active`".to_owned(),
                who: "the registry of the system".to_owned(),
            },
            Self::Sign { agreement, orgs, purpose } => {
                let found = model.agreements.get(agreement)?;
                let standings: Vec<(&String, PartyState)> =
                    orgs.iter().map(|org| (org, party_state(found, org, Signing::AsSigned, *at))).collect();
                // another signature beside these would void them all
                let has_several = standings.iter().any(|(_, party)| party.twice);
                let is_broken = standings.iter().any(|(_, party)| party.in_doubt);
                let is_out = standings.iter().any(|(_, party)| party.standing.is_out());
                let how = if has_several {
                    "by deleting the signatures that void each other, and signing once (`concordat sign`)"
                } else if is_broken {
                    "by fixing the signature that cannot be used, which may be a withdrawal; or, to sign, by deleting it \
                     and signing again (`concordat sign`)"
                } else if is_out {
                    "by signing (`concordat sign`), if it wants to take part after all"
                } else {
                    "by signing (`concordat sign`)"
                };
                Step {
                    clause: format!("`{agreement}`"),
                    saw: unsigned(&standings, purpose.as_deref()),
                    wants: if orgs.len() == 1 { "signed by it" } else { "signed by each of them" }.to_owned(),
                    who: format!("{}, {how}", listed(orgs)),
                }
            }
            Self::Resume(agreement) => Step {
                clause: format!("`spec.suspend` of `{agreement}`"),
                saw: "true".to_owned(),
                wants: "false".to_owned(),
                who: "the lead, who writes the agreement".to_owned(),
            },
            Self::ListRecipient { agreement, purpose, function } => terms(
                format!("the recipients of `{purpose}` in `{agreement}`"),
                format!("without `{function}`"),
                format!("a list with `{function}`"),
            ),
            Self::ListProduct { agreement, purpose, product } => terms(
                format!("the products of `{purpose}` in `{agreement}`"),
                format!("without `{product}`"),
                format!("a list with `{product}`"),
            ),
            Self::ListAction { agreement, purpose, action } => terms(
                format!("the actions of `{purpose}` in `{agreement}`"),
                format!("without `{action}`"),
                format!("a list with `{action}`"),
            ),
            Self::ListRole { agreement, purpose, role } => terms(
                format!("the roles of `{purpose}` in `{agreement}`"),
                format!("without `{role}`"),
                format!("a list with `{role}`"),
            ),
            Self::ListPurpose { agreement, purpose } => terms(
                format!("the purposes of `{agreement}`"),
                format!("without `{purpose}`"),
                format!("a list with `{purpose}`, for this product, recipient, action and level"),
            ),
            Self::RaiseLevel { agreement, purpose, level } => {
                let spec = &model.agreements.get(agreement)?.spec;
                let own = spec.purposes.iter().find(|it| it.code == *purpose)?;
                terms(
                    format!("`maxIdentifiability` of `{purpose}` in `{agreement}`"),
                    format!("`{:?}`", own.max_identifiability),
                    format!("`{level:?}`"),
                )
            }
            Self::Basis(agreement, basis) => {
                let present = &model.agreements.get(agreement)?.spec.confidentiality;
                // an approval is known by its reference, and the change is tried with one
                let approves = basis.name() == "Section251" && present.reference.is_none();
                let with = if approves { ", with a `reference`" } else { "" };
                terms(
                    format!("`confidentiality.basis` of `{agreement}`"),
                    format!("`{:?}`", present.basis),
                    format!("`{}`{with}", basis.name()),
                )
            }
            Self::AllowOnward(agreement, org) => terms(
                format!("`onwardSharing` of `{agreement}`"),
                format!("without `{org}`"),
                format!("allowed to `{org}`"),
            ),
            Self::ReviewDpia(agreement) => Step {
                clause: format!("`dpia` of `{agreement}`"),
                saw: format!(
                    "to be reviewed by `{}`",
                    model.agreements.get(agreement)?.spec.dpia.as_ref()?.review_by
                ),
                wants: format!("approved, with a `reviewBy` after `{at}`"),
                who: "the parties, in the terms, which all of them sign again".to_owned(),
            },
            Self::Review(agreement) => Step {
                clause: format!("`term.reviewBy` of `{agreement}`"),
                saw: ticked(&model.agreements.get(agreement)?.spec.term.review_by),
                wants: format!("after `{at}`, and at most as far ahead as the framework allows"),
                who: "the parties, in the terms, which all of them sign again".to_owned(),
            },
            Self::WithoutLocalRule(id) => {
                let policy = id.split_once('#').map_or(id.as_str(), |(policy, _)| policy);
                Step {
                    clause: format!("local rule `{id}`"),
                    saw: "a forbid that applies".to_owned(),
                    wants: "one that does not apply here".to_owned(),
                    who: format!("the place, in local policy `{policy}`"),
                }
            }
            Self::LocalPermit { agreement, .. } => Step {
                clause: "a local permit".to_owned(),
                saw: "none that applies".to_owned(),
                wants: format!("one for this action and purpose under `{agreement}`"),
                who: "the place, with a local permit".to_owned(),
            },
        };
        Some(step)
    }
}

/// What those have said that have to sign: `not signed by `x`, withdrawn from by `y``.
fn unsigned(standings: &[(&String, PartyState)], purpose: Option<&str>) -> String {
    let mut by_word: BTreeMap<String, Vec<&String>> = BTreeMap::new();
    for (org, party) in standings {
        let word = match (party.standing, purpose) {
            (Standing::Withdrawn, _) => "withdrawn from".to_owned(),
            (Standing::Declined, _) => "declined".to_owned(),
            (Standing::OtherTerms, _) => "signed on other terms".to_owned(),
            (Standing::Signed | Standing::NotSigned, Some(purpose)) => format!("not signed for `{purpose}`"),
            (Standing::Signed | Standing::NotSigned, None) => "not signed".to_owned(),
        };
        by_word.entry(word).or_default().push(org);
    }
    let said = by_word.into_iter().map(|(word, orgs)| format!("{word} by {}", listed(orgs)));
    said.collect::<Vec<_>>().join(", ")
}

fn ticked(text: &impl fmt::Display) -> String {
    format!("`{text}`")
}

fn listed<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let all: Vec<String> = items.into_iter().map(|item| ticked(&item)).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}
