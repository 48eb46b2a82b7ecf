//! The access gate: what is answered to a request, by the rules of `england` written out here and by local rules.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use super::force::{self, Assessment, FlowKey};
use super::gate::months_after;
use super::local::{Reach, Rule, Rules, reach};
use super::model::{Model, Recipient};
use super::signing::Kind;
use super::world::{Agreement, Object, Policy, Product, Purpose, Ref, is_blank, rank, text};

/// A request whose subject and product there are, with safe values for what it leaves out.
pub struct Asked<'a> {
    pub at: Timestamp,
    pub recipient: Recipient,
    pub care: bool,
    pub product_key: Ref,
    pub product: &'a Product,
    pub action: String,
    pub purpose: String,
    pub level: i64,
    pub roles: BTreeSet<String>,
    pub relationship: bool,
    pub consent: bool,
    pub opt_outs: bool,
    pub break_glass: bool,
    pub cell: i64,
    pub case: String,
    pub region: String,
    pub onward_to: Option<String>,
}

/// An answer, as far as the design page fixes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    pub decision: bool,
    pub tier: Tier,
    pub rule: Option<String>,
    pub rules: Vec<String>,
    /// `namespace/name`; none where nothing permits.
    pub agreement: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Tier {
    Floor,
    Agreement,
    Error,
    Local,
    None,
    Ceiling,
}

impl Answer {
    pub fn nothing() -> Self {
        Self { decision: false, tier: Tier::None, rule: None, rules: Vec::new(), agreement: None }
    }
}

/// The world at one moment, with every agreement judged.
pub struct Judged<'a> {
    pub model: &'a Model<'a>,
    pub rules: &'a Rules,
    pub at: Timestamp,
    pub assessments: BTreeMap<&'a Ref, Assessment<'a>>,
    /// The only policy there is: a policy's own tests know no other.
    alone: Option<&'a Ref>,
    /// The only agreements that count: what a policy's own tests may take as signed.
    grounds: Option<BTreeSet<&'a Ref>>,
    /// Local policies whose permits count.
    permitting: BTreeSet<&'a Ref>,
    /// Local policies with a test about a path that no agreement lists, or one that has a successor: whether such a test
    /// shows anything is not said (question 37).
    pub untold: BTreeSet<String>,
}

impl<'a> Judged<'a> {
    pub fn new(model: &'a Model<'a>, rules: &'a Rules, at: Timestamp) -> Self {
        let assessments = model.world.agreements.iter().map(|it| (&it.key, model.assess(it, at))).collect();
        let mut judged = Self {
            model,
            rules,
            at,
            assessments,
            alone: None,
            grounds: None,
            permitting: BTreeSet::new(),
            untold: BTreeSet::new(),
        };
        for policy in &model.world.policies {
            if !model.as_signed && judged.is_untold(policy) {
                judged.untold.insert(policy.key.to_string());
            }
            if judged.may_permit(policy) {
                judged.permitting.insert(&policy.key);
            }
        }
        judged
    }

    /// Everything that is open.
    pub fn open(&self) -> BTreeSet<(Ref, FlowKey)> {
        let flows = self.assessments.iter();
        flows.flat_map(|(key, it)| it.flows.iter().map(|flow| ((*key).clone(), flow.clone()))).collect()
    }

    /// The review of a policy lies ahead, within the limit, and its tests pass.
    fn may_permit(&self, policy: &Object<Policy>) -> bool {
        let limit = months_after(self.at, self.model.framework.limits.local_policy_review_months);
        let review = policy.spec.review_by;
        if self.model.as_signed {
            return true;
        }
        !policy.deleted
            && self.lists_policy(&policy.spec.footprint, &policy.key)
            && self.at < review
            && review <= limit
            && policy.spec.tests.iter().all(|test| {
                let signed = Model { as_signed: true, ..Model::new(self.model.world, &self.model.framework) };
                let at = test.at.unwrap_or(self.at);
                let there = Judged { alone: Some(&policy.key), ..Judged::new(&signed, self.rules, at) };
                let Some(asked) = there.resolve(&test.request) else { return false };
                let controller = asked.product.controller.as_str();
                let agreements = self.model.world.agreements.iter();
                let grounds = agreements.filter(|it| self.is_grounds(policy, it, controller));
                let there = Judged { grounds: Some(grounds.map(|it| &it.key).collect()), ..there };
                if there.is_about_nothing(&asked) || there.is_over(&asked) {
                    return false;
                }
                let answer = there.decide(&test.request);
                test.expect["decision"].as_bool().is_none_or(|it| it == answer.decision)
            })
    }

    /// Whether a test names a purpose or an organisation that there is not.
    fn is_about_nothing(&self, asked: &Asked<'_>) -> bool {
        let purposes = &self.model.framework.vocabulary.purposes;
        let unknown = !asked.purpose.is_empty() && purposes.iter().all(|it| it.code != asked.purpose);
        let onward_to = asked.onward_to.as_deref().filter(|it| !it.trim().is_empty());
        unknown || onward_to.is_some_and(|it| !self.model.orgs.contains_key(it))
    }

    /// Whether what a test is about is over at its moment: one of the two bodies, or every agreement that lists the path.
    fn is_over(&self, asked: &Asked<'_>) -> bool {
        if !self.candidates(asked).is_empty() {
            return false;
        }
        let bodies = [asked.product.controller.as_str(), asked.recipient.org.as_str()];
        let is_gone = |org: &str| self.model.orgs.get(org).is_none_or(|it| force::is_over(&it.spec, self.at));
        let counts = |it: &&Assessment<'a>| {
            self.grounds.as_ref().is_none_or(|grounds| grounds.contains(&it.agreement.key))
                && lists(self.model, &it.agreement.spec, asked)
        };
        let mut listing = self.assessments.values().filter(counts);
        bodies.into_iter().any(is_gone)
            || listing.all(|it| ["Superseded", "Expired", "Terminating"].contains(&it.phase))
    }

    /// Whether a policy's own tests may take an agreement as signed: where it is drafted by the controller of the data or by
    /// somebody of the policy's place, where that controller has signed it, or where the policy names it.
    fn is_grounds(&self, policy: &Object<Policy>, agreement: &Object<Agreement>, controller: &str) -> bool {
        let of_place = |org: &str| org == controller || self.model.org_lies_in(org, &policy.spec.footprint);
        let mut orgs = self.model.orgs.iter();
        let named = |rules: &Vec<Rule>| rules.iter().any(|it| it.permits.as_ref() == Some(&agreement.key));
        orgs.any(|(name, org)| org.spec.home_namespace == agreement.key.namespace && of_place(name))
            || matches!(
                self.model.standing(agreement, controller, self.at).kind,
                Kind::Signed | Kind::OtherTerms
            )
            || self.rules.get(&policy.spec.cedar).is_some_and(named)
    }

    fn is_untold(&self, policy: &Object<Policy>) -> bool {
        let model = self.model;
        let superseded: BTreeSet<&Ref> =
            model.world.agreements.iter().filter_map(|it| it.spec.supersedes.as_ref()).collect();
        policy.spec.tests.iter().any(|test| {
            let Some(asked) = self.resolve(&test.request) else { return true };
            let mut listing =
                model.world.agreements.iter().filter(|it| lists(model, &it.spec, &asked)).peekable();
            listing.peek().is_none() || listing.any(|it| superseded.contains(&it.key))
        })
    }

    pub fn decide(&self, request: &Value) -> Answer {
        let Some(asked) = self.resolve(request) else { return Answer::nothing() };
        let known = self.model.framework.vocabulary.purposes.iter().any(|it| it.code == asked.purpose);
        let too_coarse = matches!(asked.action.as_str(), "readRecord" | "reidentify") && asked.level < 2;
        if !known || too_coarse {
            return Answer::nothing();
        }
        let candidates = self.candidates(&asked);
        let answers = candidates.into_iter().map(|it| self.ask(it, &asked));
        // what allows before what denies, then by tier, then by name
        let best = answers.min_by(|a, b| {
            let order = |it: &Answer| (!it.decision, it.tier, it.agreement.clone());
            order(a).cmp(&order(b))
        });
        best.unwrap_or_else(Answer::nothing)
    }

    /// Who asks what of which product. None where there is no such subject, product or action.
    fn resolve(&self, request: &Value) -> Option<Asked<'a>> {
        let model = self.model;
        let id = request["subject"]["id"].as_str()?;
        let recipient = match request["subject"]["type"].as_str()? {
            "OrgFunction" => {
                let (org, function) = id.split_once('/')?;
                Recipient { org: org.to_owned(), function: function.to_owned() }
            }
            _ => {
                let mut parts = id.split('/');
                let (cluster, namespace, account) = (parts.next()?, parts.next()?, parts.next()?);
                model.orgs.values().find_map(|org| {
                    let function = org.spec.functions.iter().find(|it| {
                        it.workloads.iter().any(|it| {
                            it.namespace == namespace
                                && it.cluster.as_ref().is_none_or(|it| it == cluster)
                                && it
                                    .service_accounts
                                    .as_ref()
                                    .is_none_or(|it| it.iter().any(|it| it == account))
                        })
                    })?;
                    Some(Recipient { org: org.key.name.clone(), function: function.name.clone() })
                })?
            }
        };
        let org = model.orgs.get(recipient.org.as_str())?;
        let function = org.spec.functions.iter().find(|it| it.name == recipient.function)?;
        let (namespace, name) = request["resource"]["id"].as_str()?.split_once('/')?;
        let product_key = Ref { namespace: namespace.to_owned(), name: name.to_owned() };
        let product: &'a Product = &model.products.get(&product_key)?.spec;
        let action = request["action"]["name"].as_str()?;
        const ACTIONS: [&str; 5] = ["readRecord", "queryAggregate", "extract", "reidentify", "shareOnward"];
        if !ACTIONS.contains(&action) {
            return None;
        }
        let context = &request["context"];
        let flag = |name: &str| context[name].as_bool().unwrap_or(false);
        let said = |name: &str| context[name].as_str().map_or("", str::trim).to_owned();
        let level = context["identifiability"].as_str().map_or(3, rank);
        let counts =
            action == "queryAggregate" || (["extract", "shareOnward"].contains(&action) && level == 0);
        let region = said("region");
        Some(Asked {
            at: self.at,
            care: function.provides_care,
            recipient,
            product_key,
            product,
            action: action.to_owned(),
            purpose: said("purpose"),
            level,
            roles: context["roles"].as_array().into_iter().flatten().map(text).collect(),
            relationship: flag("legitimateRelationship"),
            consent: flag("explicitConsent"),
            opt_outs: flag("optOutsApplied"),
            break_glass: flag("breakGlass"),
            cell: context["minCellCount"].as_i64().unwrap_or(i64::from(counts)),
            case: said("caseReference"),
            region: if region.is_empty() { "ZZ".to_owned() } else { region },
            onward_to: context["onwardTo"].as_str().map(str::to_owned),
        })
    }

    /// The agreements in force that list product and recipient.
    fn candidates(&self, asked: &Asked<'_>) -> Vec<&Assessment<'a>> {
        let in_force = |it: &&Assessment<'a>| {
            it.phase == "Active"
                && self.grounds.as_ref().is_none_or(|grounds| grounds.contains(&it.agreement.key))
                && !it.is_over(asked.product, &asked.recipient)
                && lists(self.model, &it.agreement.spec, asked)
        };
        self.assessments.values().filter(in_force).collect()
    }

    fn ask(&self, candidate: &Assessment<'a>, asked: &Asked<'_>) -> Answer {
        let agreement = candidate.agreement;
        let name = Some(agreement.key.to_string());
        let answer = |decision: bool, tier: Tier, rules: Vec<String>| Answer {
            decision,
            tier,
            rule: rules.first().cloned(),
            rules,
            agreement: name.clone(),
        };
        let listed = agreement.spec.purposes.iter().find(|it| it.code == asked.purpose);
        let mut fired = self.guardrails(candidate, asked, listed);
        if let Some(purpose) = listed.filter(|_| fired.is_empty()) {
            fired = candidate.refused(asked.product, &asked.recipient, purpose);
        }
        fired.sort_by_key(|rule| natural(rule));
        if !fired.is_empty() {
            return answer(false, Tier::Ceiling, fired.into_iter().map(str::to_owned).collect());
        }
        let permitted = listed.is_some_and(|it| {
            it.roles.as_ref().is_none_or(|roles| roles.iter().any(|it| asked.roles.contains(it)))
        });
        if permitted
            && asked.purpose == "DirectCare"
            && asked.action == "readRecord"
            && asked.care
            && asked.relationship
        {
            return answer(true, Tier::Floor, vec!["floor-direct-care".to_owned()]);
        }
        let (mut permits, mut forbids, mut errors) = (Vec::new(), Vec::new(), false);
        for policy in &self.model.world.policies {
            let reach = self.reach(&policy.key, Some(&policy.spec.footprint), asked, &agreement.spec);
            if self.alone.is_some_and(|it| *it != policy.key) {
                continue;
            }
            let Some(rules) = self.rules.get(&policy.spec.cedar) else {
                errors |= reach != Reach::Nothing;
                continue;
            };
            for rule in rules.iter().filter(|it| it.when.holds(self.model, asked, agreement)) {
                let id = format!("{}#{}", policy.key, rule.id);
                match &rule.permits {
                    None if reach != Reach::Nothing => forbids.push(id),
                    Some(of)
                        if reach == Reach::Data
                            && *of == agreement.key
                            && self.permitting.contains(&policy.key) =>
                    {
                        permits.push(id);
                    }
                    _ => {}
                }
            }
        }
        errors |= self.alone.is_none() && self.has_broken_policy(asked, &agreement.spec);
        forbids.sort();
        permits.sort();
        if errors {
            return Answer { rule: None, ..answer(false, Tier::Error, Vec::new()) };
        }
        if !forbids.is_empty() {
            return answer(false, Tier::Local, forbids);
        }
        if permitted {
            return answer(true, Tier::Agreement, vec!["agreement-permit".to_owned()]);
        }
        if !permits.is_empty() {
            return answer(true, Tier::Local, permits);
        }
        answer(false, Tier::None, Vec::new())
    }

    /// Whether a place lists the namespace of a policy.
    fn lists_policy(&self, footprint: &str, policy: &Ref) -> bool {
        let place = self.model.footprints.get(footprint);
        place.is_some_and(|it| it.spec.policy_namespaces.contains(&policy.namespace))
    }

    /// A policy counts for the place that it names, where that lists its namespace, and else for each that does.
    fn reach(&self, policy: &Ref, named: Option<&str>, asked: &Asked<'_>, agreement: &Agreement) -> Reach {
        let named = named.filter(|it| self.lists_policy(it, policy));
        let places = self.model.footprints.keys().filter(|it| named.is_none_or(|named| named == **it));
        let places = places.filter(|it| self.lists_policy(it, policy));
        let reached: Vec<Reach> = places.map(|it| reach(self.model, it, asked, agreement)).collect();
        let most = [Reach::Data, Reach::Hands].into_iter().find(|it| reached.contains(it));
        most.unwrap_or(Reach::Nothing)
    }

    /// Whether a policy that cannot be read may bind here.
    fn has_broken_policy(&self, asked: &Asked<'_>, agreement: &Agreement) -> bool {
        let policies = self.model.world.broken.iter().filter(|it| it.kind == "LocalPolicy");
        policies.into_iter().any(|broken| {
            let named = broken.spec["footprint"].as_str();
            self.reach(&broken.key, named, asked, agreement) != Reach::Nothing
        })
    }

    fn guardrails(
        &self,
        candidate: &Assessment<'a>,
        asked: &Asked<'_>,
        listed: Option<&Purpose>,
    ) -> Vec<&'static str> {
        let model = self.model;
        let agreement = &candidate.agreement.spec;
        let product = asked.product;
        let (controller, recipient) = (product.controller.as_str(), asked.recipient.org.as_str());
        let basis = agreement.confidentiality.basis.as_str();
        let purpose = asked.purpose.as_str();
        let definition = model.framework.vocabulary.purposes.iter().find(|it| it.code == asked.purpose);
        let individual = definition.is_some_and(|it| it.individual_care);
        let together = listed.is_some_and(|it| {
            it.products.contains(&asked.product_key)
                && model.recipients(agreement, it).contains(&asked.recipient)
                && it.actions.contains(&asked.action)
        });
        let both = |holds: &dyn Fn(&str) -> bool| holds(controller) && holds(recipient);
        let police = model.orgs.get(recipient).is_some_and(|it| it.spec.sector == "Police");
        let assured = model.orgs.get(recipient).is_some_and(|it| model.assured_until(&it.spec) > asked.at);
        let patient = product.confidential_patient_info;
        let strong = ["ExplicitConsent", "Section251", "Statutory"].contains(&basis);
        let secondary = ["PopulationHealth", "Planning", "ServiceEvaluation", "Research"].contains(&purpose);
        let cell = model.framework.limits.min_cell.max(product.suppression.min_cell.unwrap_or(0));
        let onward = asked
            .onward_to
            .as_ref()
            .is_some_and(|to| agreement.onward_sharing.to.contains(to) && model.is_active(to, asked.at));
        let rules = [
            ("NF-12", !together),
            ("NF-12b", !both(&|it| model.is_active(it, asked.at)) || !both(&|it| candidate.is_party(it))),
            ("NF-12c", listed.is_some() && !both(&|it| candidate.is_signed(it, purpose))),
            ("NF-13", patient && asked.level >= 2 && !assured),
            ("NF-14a", listed.is_some_and(|it| asked.level > rank(&it.max_identifiability))),
            (
                "NF-14b",
                product.personal_data
                    && ((purpose == "PublicTransparency" && asked.level > 0)
                        || (asked.level > 2
                            && (secondary || (purpose == "ProactiveCare" && patient))
                            && !strong
                            && asked.action != "reidentify")),
            ),
            (
                "NF-14c",
                asked.action == "reidentify"
                    && !(asked.care
                        && asked.relationship
                        && ["DirectCare", "ProactiveCare"].contains(&purpose)),
            ),
            (
                "NF-15",
                patient
                    && asked.level >= 3
                    && !individual
                    && !asked.opt_outs
                    && !asked.consent
                    && !agreement.confidentiality.opt_out_exempt
                    && !["Statutory", "PublicInterest"].contains(&basis),
            ),
            ("NF-16", asked.level == 0 && asked.cell > 0 && asked.cell < cell),
            (
                "NF-17",
                asked.action == "shareOnward"
                    && !(agreement.onward_sharing.allowed && onward && asked.level <= 2),
            ),
            (
                "NF-18",
                patient
                    && asked.level >= 3
                    && !asked.care
                    && !asked.consent
                    && !["Section251", "Statutory"].contains(&basis),
            ),
            ("NF-19a", definition.is_some_and(|it| it.prohibited)),
            (
                "NF-19b",
                police
                    && patient
                    && (purpose != "Safeguarding"
                        || is_blank(Some(&asked.case))
                        || ["extract", "reidentify"].contains(&asked.action.as_str())),
            ),
            ("NF-19c", product.legally_restricted && purpose != "DirectCare"),
            (
                "NF-20",
                asked.break_glass
                    && (!asked.care
                        || purpose != "DirectCare"
                        || is_blank(Some(&asked.case))
                        || asked.action != "readRecord"),
            ),
            ("NF-21", product.personal_data && asked.region != "GB"),
            (
                "NF-22",
                patient
                    && asked.level >= 3
                    && individual
                    && !asked.relationship
                    && !asked.consent
                    && !asked.break_glass,
            ),
        ];
        let about = [controller, recipient];
        let fired = rules
            .iter()
            .filter(|(rule, fires)| *fires && !model.is_lifted(rule, agreement, &about, asked.at));
        fired.map(|(rule, _)| *rule).collect()
    }
}

/// Whether an agreement lists product and recipient together.
fn lists(model: &Model<'_>, agreement: &Agreement, asked: &Asked<'_>) -> bool {
    agreement.purposes.iter().any(|purpose| {
        purpose.products.contains(&asked.product_key)
            && model.recipients(agreement, purpose).contains(&asked.recipient)
    })
}

/// `NF-9` before `NF-12`, and `NF-12` before `NF-12b`.
fn natural(rule: &str) -> (i64, String) {
    let after = rule.trim_start_matches("NF-");
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    (digits.parse().unwrap_or(0), after[digits.len()..].to_owned())
}
