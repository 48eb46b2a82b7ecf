//! The agreement gate of the framework `england`, rule by rule, and what a refusal closes.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Span, Timestamp, tz::TimeZone};

use super::model::{Model, has_role};
use super::signing::{Kind, Standing};
use super::world::{Agreement, Org, Product, Purpose, Row, is_blank, rank};

/// The flags of some products together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flags {
    pub personal: bool,
    pub special: bool,
    pub patient: bool,
}

impl Flags {
    fn of<'a>(products: impl Iterator<Item = &'a Product>) -> Self {
        products.fold(Self::default(), |flags, it| Self {
            personal: flags.personal || it.personal_data,
            special: flags.special || it.special_category,
            patient: flags.patient || it.confidential_patient_info,
        })
    }
}

/// What the gate refuses.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    /// Rules that refuse the agreement.
    pub whole: BTreeSet<&'static str>,
    /// With accession: organisations that are in.
    pub members: BTreeSet<String>,
    /// With accession: rows that a controller's flows do not reach, each with the rules that refuse it.
    pub rows: BTreeMap<(String, usize), Vec<&'static str>>,
    /// With accession: purposes that a controller's flows do not serve, likewise.
    pub purposes: BTreeMap<(String, String), Vec<&'static str>>,
}

/// The standing of every party.
pub type Standings = BTreeMap<String, Standing>;

/// One round of questions.
struct Questions<'a> {
    model: &'a Model<'a>,
    agreement: &'a Agreement,
    standings: &'a Standings,
    at: Timestamp,
}

impl Model<'_> {
    /// Asks the gate.
    pub fn gate(&self, agreement: &Agreement, standings: &Standings, at: Timestamp) -> Refusals {
        let questions = Questions { model: self, agreement, standings, at };
        if agreement.accession { questions.apart() } else { questions.together() }
    }

    /// Whether an exception lifts a rule for an agreement and those whom the rule is about.
    pub fn is_lifted(&self, rule: &str, agreement: &Agreement, about: &[&str], at: Timestamp) -> bool {
        !about.is_empty()
            && self.framework.exceptable.iter().any(|it| it == rule)
            && self.world.exceptions.iter().any(|it| {
                let exception = &it.spec;
                !it.deleted
                    && exception.rule == rule
                    && exception.from <= at
                    && at < exception.until
                    && self.footprints.contains_key(exception.footprint.as_str())
                    && self.lies_in(&agreement.footprint, &exception.footprint)
                    && about.iter().all(|org| self.org_lies_in(org, &exception.footprint))
            })
    }
}

impl<'a> Questions<'a> {
    fn together(&self) -> Refusals {
        let mut refusals = Refusals::default();
        let every = |_: &Product| true;
        let data = self.flags(None, None, &every);
        refusals.whole.extend(self.agreement_rules(data));
        for (index, row) in self.agreement.parties.iter().enumerate() {
            if self.is_asked(&row.org) {
                refusals.whole.extend(self.row_rules(row, self.row_flags(index, &every)));
                refusals.whole.extend(self.party_rules(&row.org, self.party_flags(&row.org, &every)));
            }
        }
        for purpose in &self.agreement.purposes {
            refusals.whole.extend(self.purpose_rules(purpose, self.flags(Some(purpose), None, &every)));
        }
        refusals
    }

    fn apart(&self) -> Refusals {
        let mut refusals = Refusals::default();
        let rows = || self.agreement.parties.iter().enumerate();
        let stands = |org: &str| {
            self.standings.get(org).is_some_and(|it| it.kind == Kind::Signed)
                && self.model.is_active(org, self.at)
        };
        let mut controllers: BTreeSet<&str> = BTreeSet::new();
        for (_, row) in rows().filter(|(_, row)| row.role == "Controller" && stands(&row.org)) {
            let own = |product: &Product| product.controller == row.org;
            let fails = rows()
                .filter(|(_, it)| it.org == row.org && it.role == "Controller")
                .any(|(index, it)| !self.row_rules(it, self.row_flags(index, &own)).is_empty());
            if !fails && self.party_rules(&row.org, self.flags(None, None, &own)).is_empty() {
                controllers.insert(&row.org);
            }
        }
        refusals.members.extend(controllers.iter().map(|it| (*it).to_owned()));
        let within = |product: &Product| controllers.contains(product.controller.as_str());
        let data = self.flags(None, None, &within);
        refusals.whole.extend(self.agreement_rules(data));
        for controller in &controllers {
            let own = |product: &Product| product.controller == *controller;
            for purpose in &self.agreement.purposes {
                let rules = self.purpose_rules(purpose, self.flags(Some(purpose), None, &own));
                if !rules.is_empty() {
                    refusals.purposes.insert(((*controller).to_owned(), purpose.code.clone()), rules);
                }
            }
        }
        // who fails as a Controller is out altogether
        let is_out = |org: &str| has_role(self.agreement, org, "Controller") && !controllers.contains(org);
        let signed = |product: &Product| {
            let controller = &product.controller;
            stands(controller) && has_role(self.agreement, controller, "Controller")
        };
        for (index, row) in rows().filter(|(_, row)| row.role != "Controller" && stands(&row.org)) {
            if is_out(&row.org) {
                continue;
            }
            let rules = |wanted: &dyn Fn(&Product) -> bool| {
                let flags = self.row_flags(index, wanted);
                let mut rules = self.row_rules(row, flags);
                rules.extend(self.party_rules(&row.org, flags));
                rules
            };
            let mut gets_something = false;
            for controller in &controllers {
                let refused = rules(&|product| product.controller == *controller);
                let given = self.gets(row, controller);
                gets_something |= given;
                if refused.is_empty() && given {
                    refusals.members.insert(row.org.clone());
                }
                if !refused.is_empty() {
                    refusals.rows.insert(((*controller).to_owned(), index), refused);
                }
            }
            if !gets_something && rules(&signed).is_empty() {
                refusals.members.insert(row.org.clone());
            }
        }
        // where every purpose is refused, nothing of the agreement is left
        let mut asked = self.agreement.purposes.iter().flat_map(|purpose| {
            let products = purpose.products.iter().filter_map(|it| self.model.products.get(it));
            let owners = products.map(|it| it.spec.controller.as_str()).filter(|it| controllers.contains(it));
            owners.map(|owner| (owner.to_owned(), purpose.code.clone())).collect::<BTreeSet<_>>()
        });
        if !refusals.purposes.is_empty() && asked.all(|it| refusals.purposes.contains_key(&it)) {
            refusals.whole.insert("every purpose");
        }
        refusals
    }

    /// The rows of an organisation that is not Active, or has withdrawn or declined, are asked of no one.
    fn is_asked(&self, org: &str) -> bool {
        self.model.is_active(org, self.at) && self.standings.get(org).is_some_and(|it| !it.is_out())
    }

    fn flags(
        &self,
        purpose: Option<&Purpose>,
        row: Option<&Row>,
        wanted: &dyn Fn(&Product) -> bool,
    ) -> Flags {
        let purposes =
            self.agreement.purposes.iter().filter(|it| purpose.is_none_or(|only| only.code == it.code));
        let purposes = purposes.filter(|it| row.is_none_or(|row| self.receives(row, it)));
        let products = purposes.flat_map(|it| &it.products).filter_map(|it| self.model.products.get(it));
        Flags::of(products.map(|it| &it.spec).filter(|it| wanted(it)))
    }

    fn receives(&self, row: &Row, purpose: &Purpose) -> bool {
        purpose.recipients.as_ref().is_none_or(|listed| {
            listed.iter().any(|it| {
                it.org == row.org
                    && (it.function.is_none() || row.function.is_none() || it.function == row.function)
            })
        })
    }

    /// Whether a row gets anything from a controller.
    fn gets(&self, row: &Row, controller: &str) -> bool {
        let purposes = self.agreement.purposes.iter();
        let purposes = purposes.filter(|it| row.role != "Recipient" || self.receives(row, it));
        let mut products = purposes.flat_map(|it| &it.products).filter_map(|it| self.model.products.get(it));
        products.any(|it| it.spec.controller == controller)
    }

    /// The products that a row controls or receives; a Processor's: all.
    fn row_flags(&self, index: usize, wanted: &dyn Fn(&Product) -> bool) -> Flags {
        let row = &self.agreement.parties[index];
        match row.role.as_str() {
            "Controller" => self.flags(None, None, &|it| it.controller == row.org && wanted(it)),
            "Recipient" => self.flags(None, Some(row), wanted),
            _ => self.flags(None, None, wanted),
        }
    }

    fn party_flags(&self, org: &str, wanted: &dyn Fn(&Product) -> bool) -> Flags {
        let rows = self.agreement.parties.iter().enumerate().filter(|(_, row)| row.org == org);
        rows.map(|(index, _)| self.row_flags(index, wanted)).fold(Flags::default(), |all, it| Flags {
            personal: all.personal || it.personal,
            special: all.special || it.special,
            patient: all.patient || it.patient,
        })
    }

    fn org(&self, name: &str) -> Option<&'a Org> {
        self.model.orgs.get(name).map(|it| &it.spec)
    }

    /// Those whom a rule of the agreement or a purpose is about.
    fn signed(&self) -> Vec<&str> {
        let signed = self.standings.iter().filter(|(org, standing)| {
            standing.kind == Kind::Signed
                && (has_role(self.agreement, org, "Controller") || has_role(self.agreement, org, "Recipient"))
                && self.org(org).is_some_and(|it| it.sector != "National")
        });
        signed.map(|(org, _)| org.as_str()).collect()
    }

    /// The rules that fire and that no exception lifts.
    fn fired(&self, rules: &[(&'static str, bool)], about: &[&str]) -> Vec<&'static str> {
        let fired = rules
            .iter()
            .filter(|(rule, fires)| *fires && !self.model.is_lifted(rule, self.agreement, about, self.at));
        fired.map(|(rule, _)| *rule).collect()
    }

    fn agreement_rules(&self, data: Flags) -> Vec<&'static str> {
        let it = self.agreement;
        let (term, limits, now) = (&it.term, &self.model.framework.limits, self.at);
        let emergency_fits = it.emergency.as_ref().is_none_or(|emergency| {
            emergency.expires <= term.start + SignedDuration::from_hours(24 * limits.emergency_days)
        });
        let term_fits = term.end <= months_after(term.start, limits.term_months) && emergency_fits;
        let review_fits = term.review_by <= months_after(now.max(term.start), limits.review_months);
        let rules = [
            ("NF-02", term.end <= term.start || !term_fits || term.review_by <= now || !review_fits),
            (
                "NF-05",
                data.personal
                    && it.dpia.as_ref().is_none_or(|it| it.approved_on > now || it.review_by <= now),
            ),
            ("NF-07", data.personal && it.territories.iter().flatten().any(|it| it != "GB")),
            ("NF-08", it.retention.days < 0 || (it.retention.days > 0 && it.retention.method.is_none())),
            ("NF-10", it.outcome_measures.is_empty()),
        ];
        self.fired(&rules, &self.signed())
    }

    fn row_rules(&self, row: &Row, data: Flags) -> Vec<&'static str> {
        let closed_to_authorities = ["6(1)(f)", "6(1)(ea)"].map(Some).contains(&row.article6.as_deref());
        let rules = [
            ("NF-03a", (data.personal && row.article6.is_none()) || (data.special && row.article9.is_none())),
            ("NF-03b", closed_to_authorities && self.org(&row.org).is_some_and(|it| it.public_authority)),
        ];
        self.fired(&rules, &[row.org.as_str()])
    }

    fn party_rules(&self, name: &str, data: Flags) -> Vec<&'static str> {
        let Some(org) = self.org(name) else { return vec!["NF-06"] };
        let fee = org.ico.as_ref().is_some_and(|it| {
            it.status == "Exempt"
                || (it.status == "Registered" && it.valid_until.is_some_and(|it| it > self.at))
        });
        let people = &org.people;
        let named = !is_blank(people.siro.as_deref())
            && (!org.public_authority || !is_blank(people.dpo.as_deref()))
            && (!org.public_authority || !data.patient || !is_blank(people.caldicott_guardian.as_deref()));
        let held = (has_role(self.agreement, name, "Controller")
            || has_role(self.agreement, name, "Recipient"))
            && org.sector != "National";
        let crossed = self.agreement.cross_boundary.iter().flat_map(|it| &it.footprints);
        let within = std::iter::once(&self.agreement.footprint)
            .chain(crossed)
            .any(|place| self.model.org_lies_in(name, place));
        self.fired(&[("NF-06", !fee || !named), ("NF-11", held && !within)], &[name])
    }

    fn purpose_rules(&self, purpose: &Purpose, data: Flags) -> Vec<&'static str> {
        let it = self.agreement;
        let basis = &it.confidentiality;
        let known = self.model.framework.vocabulary.purposes.iter().find(|it| it.code == purpose.code);
        let individual = known.is_some_and(|it| it.individual_care);
        let closest = rank(&purpose.max_identifiability) >= 3;
        let notice = it.register.publish && !is_blank(it.privacy_notice.as_deref());
        let involved = individual || purpose.code == "Safeguarding" || !it.public_involvement.is_empty();
        let rules = [
            ("NF-04a", data.patient && basis.basis == "ImpliedConsent" && !individual),
            (
                "NF-04b",
                data.patient
                    && ((closest && basis.basis == "NotConfidential")
                        || (basis.basis == "Section251"
                            && (is_blank(basis.reference.as_deref()) || basis.valid_until <= self.at))),
            ),
            ("NF-09", data.personal && (!notice || !involved)),
        ];
        self.fired(&rules, &self.signed())
    }
}

/// Calendar months later, in UTC.
pub fn months_after(moment: Timestamp, months: i64) -> Timestamp {
    let later = moment.to_zoned(TimeZone::UTC).checked_add(Span::new().months(months));
    later.map_or(Timestamp::MAX, |it| it.timestamp())
}
