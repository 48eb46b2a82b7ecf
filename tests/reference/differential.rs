//! The reference against the library: phases, standings, open flows, their ends and answers to requests, in generated
//! worlds. `CONCORDAT_REFERENCE_WORLDS` judges more of them, from `CONCORDAT_REFERENCE_SEED` on, each with
//! `CONCORDAT_REFERENCE_REQUESTS`; `CONCORDAT_REFERENCE_MISMATCHES` goes on after the first difference.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use concordat_core::evaluate::Judgement;
use jiff::Timestamp;
use serde_json::Value;

use super::access::{Answer, Judged, Tier};
use super::door;
use super::force::{self, FlowKey};
use super::generate::{Generated, National, generate};
use super::generate_local::request;
use super::model::{Model, has_role};
use super::random::Random;
use super::signing::Kind;
use super::world::Ref;

const WORLDS: u64 = 1000;
const REQUESTS: u64 = 12;

/// What was judged.
#[derive(Debug, Default)]
struct Counts {
    worlds: usize,
    flows: usize,
    decisions: usize,
    allowed: usize,
    phases: BTreeMap<String, usize>,
    tiers: BTreeMap<String, usize>,
}

impl Counts {
    fn add(&mut self, other: Self) {
        let Self { worlds, flows, decisions, allowed, phases, tiers } = other;
        self.worlds += worlds;
        self.flows += flows;
        self.decisions += decisions;
        self.allowed += allowed;
        for (own, others) in [(&mut self.phases, phases), (&mut self.tiers, tiers)] {
            others.into_iter().for_each(|(name, count)| *own.entry(name).or_default() += count);
        }
    }
}

#[test]
fn the_library_judges_generated_worlds_as_the_reference_does() {
    let number = |name: &str| std::env::var(name).ok().map(|it| it.parse::<u64>().expect("a number"));
    let first = number("CONCORDAT_REFERENCE_SEED").unwrap_or(0);
    let worlds = number("CONCORDAT_REFERENCE_WORLDS").unwrap_or(WORLDS);
    let asked = number("CONCORDAT_REFERENCE_REQUESTS").unwrap_or(REQUESTS);
    let most = number("CONCORDAT_REFERENCE_MISMATCHES").unwrap_or(1);
    let national = National::read();
    let next = AtomicU64::new(first);
    let (counts, mismatches) = (Mutex::new(Counts::default()), Mutex::new(BTreeMap::new()));
    let judge = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + worlds || mismatches.lock().unwrap().len() as u64 >= most {
                break;
            }
            let generated = generate(seed, &national);
            let mut own = Counts::default();
            let mismatch = compare(&generated, &requests(&generated, asked), &national, &mut own);
            counts.lock().unwrap().add(own);
            if let Some(mismatch) = mismatch {
                mismatches.lock().unwrap().insert(seed, mismatch);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(judge);
        }
    });
    let (counts, mismatches) = (counts.into_inner().unwrap(), mismatches.into_inner().unwrap());
    eprintln!("{counts:#?}");
    for (seed, mismatch) in &mismatches {
        eprintln!("seed {seed}: {mismatch}");
    }
    if let Some((seed, mismatch)) = mismatches.first_key_value().filter(|_| most == 1) {
        let generated = generate(*seed, &national);
        let requests = requests(&generated, asked);
        eprintln!("{}", smallest(generated, &requests, &national, mismatch));
    }
    assert!(mismatches.is_empty(), "{} worlds are judged differently", mismatches.len());
    assert!(counts.worlds > 0 && counts.worlds as u64 == worlds);
}

fn requests(generated: &Generated, count: u64) -> Vec<Value> {
    let mut random = Random::new(generated.seed ^ 0xdead_beef);
    let agreements: Vec<Value> =
        generated.manifests.iter().filter(|it| it["kind"] == "DataSharingAgreement").cloned().collect();
    (0..count).map(|_| request(&mut random, &agreements)).collect()
}

/// The first thing that the two see differently.
fn compare(
    generated: &Generated,
    requests: &[Value],
    national: &National,
    counts: &mut Counts,
) -> Option<String> {
    let Generated { at, manifests, rules, .. } = generated;
    let world = door::world(manifests);
    let model = Model::new(&world, &national.built_in);
    let ours = Judged::new(&model, rules, *at);
    let snapshot = door::snapshot(&door::translated(manifests, &model, *at));
    let theirs = Judgement::new(&snapshot, *at);
    counts.worlds += 1;

    let phases = door::phases(&theirs);
    for (key, assessment) in &ours.assessments {
        let phase = phases.get(key).map_or("Invalid", String::as_str);
        *counts.phases.entry(assessment.phase.to_owned()).or_default() += 1;
        // one that is going, and cannot be used besides, is no part of the library's judgement
        if phase != assessment.phase && !(phase == "Invalid" && assessment.phase == "Terminating") {
            let refusals = &assessment.refusals;
            let errors: Vec<&String> = theirs.findings.iter().map(|it| &it.message).take(4).collect();
            return Some(format!(
                "phase of {key}: reference {}, library {phase} {{{refusals:?} {errors:?}}}",
                assessment.phase
            ));
        }
    }
    let standings = door::standings(&theirs);
    for (key, assessment) in &ours.assessments {
        if matches!(assessment.phase, "Invalid" | "Terminating" | "Expired" | "Superseded") {
            continue;
        }
        let spec = &assessment.agreement.spec;
        for (org, standing) in &assessment.standings {
            // a status says of a recipient in an emergency what it has signed, and not what it counts as
            if spec.emergency.is_some() && !has_role(spec, org, "Controller") {
                continue;
            }
            let Some((kind, purposes)) = standings.get(&((*key).clone(), org.clone())) else { continue };
            // which of the two it is that a signature which does not count is called opens and closes nothing
            let called = |it: &str| if it == "OtherTerms" { "NotSigned".to_owned() } else { it.to_owned() };
            let ours = called(&format!("{:?}", standing.kind));
            if called(kind) != ours || (standing.kind == Kind::Signed && *purposes != standing.purposes) {
                return Some(format!(
                    "standing of {org} in {key}: reference {ours} {:?}, library {kind} {purposes:?}",
                    standing.purposes
                ));
            }
        }
    }
    let (ours_open, theirs_open) = (ours.open(), door::open(&theirs));
    counts.flows += ours_open.len();
    let theirs_keys: BTreeSet<_> = theirs_open.keys().cloned().collect();
    if ours_open != theirs_keys {
        return Some(format!(
            "open by the reference alone: {:?}\nopen by the library alone: {:?}",
            ours_open.difference(&theirs_keys).collect::<Vec<_>>(),
            theirs_keys.difference(&ours_open).collect::<Vec<_>>()
        ));
    }
    for (flow, end) in ends(&ours) {
        let until = theirs_open[&flow];
        if until != end {
            return Some(format!("end of {flow:?}: reference {end}, library {until}"));
        }
    }
    for request in requests {
        let (reference, library) = (ours.decide(request), door::decide(&theirs, request));
        counts.decisions += 1;
        counts.allowed += usize::from(reference.decision);
        *counts.tiers.entry(format!("{:?}", reference.tier)).or_default() += 1;
        if !agree(&reference, &library) && !turns_on_untold(&ours, &reference, &library) {
            return Some(format!("request {request}\nreference {reference:?}\nlibrary   {library:?}"));
        }
    }
    None
}

/// When each open flow ends: the first moment at which it is not open any more, everything else staying as it is.
fn ends(judged: &Judged<'_>) -> BTreeMap<(Ref, FlowKey), Timestamp> {
    let mut ends = BTreeMap::new();
    for (key, assessment) in &judged.assessments {
        let end = force::ends(&assessment.agreement.spec);
        ends.extend(assessment.flows.iter().map(|flow| (((*key).clone(), flow.clone()), end)));
    }
    let Some(last) = ends.values().max().copied() else { return ends };
    let world = judged.model.world;
    let mut dates = world.dates.clone();
    dates.extend(world.agreements.iter().flat_map(|it| judged.model.may_open(&it.spec)));
    for date in dates.into_iter().filter(|it| judged.at < *it && *it < last) {
        let open = Judged::new(judged.model, judged.rules, date).open();
        for (flow, end) in &mut ends {
            if !open.contains(flow) {
                *end = (*end).min(date);
            }
        }
    }
    ends
}

/// Whether two answers say the same, as far as the design page fixes an answer.
fn agree(reference: &Answer, library: &Answer) -> bool {
    let same = reference.decision == library.decision && reference.tier == library.tier;
    match reference.tier {
        Tier::None | Tier::Error => same,
        _ => same && reference.rule == library.rule && reference.agreement == library.agreement,
    }
}

/// Whether one of two answers is a permit of a policy of which it is not said whether its tests pass, and the other says
/// that nothing permits.
fn turns_on_untold(judged: &Judged<'_>, one: &Answer, other: &Answer) -> bool {
    let is_untold = |it: &Answer| {
        let mut policies = it.rules.iter().filter_map(|rule| rule.split_once('#')).map(|(policy, _)| policy);
        it.decision && it.tier == Tier::Local && policies.any(|policy| judged.untold.contains(policy))
    };
    let (permit, deny) = if one.decision { (one, other) } else { (other, one) };
    is_untold(permit) && !deny.decision && matches!(deny.tier, Tier::None | Tier::Ceiling)
}

/// The world without all that the mismatch does not need, as YAML.
fn smallest(generated: Generated, requests: &[Value], national: &National, mismatch: &str) -> String {
    // the same mismatch: without what the two go on to say about it
    let what = |said: &str| {
        let first = said.lines().next().unwrap_or_default();
        first.split(['{', '[']).next().unwrap_or_default().to_owned()
    };
    let wanted = what(mismatch);
    let still = |generated: &Generated, requests: &[Value]| {
        let found =
            std::panic::catch_unwind(|| compare(generated, requests, national, &mut Counts::default()));
        found.ok().flatten().filter(|said| what(said) == wanted)
    };
    let (mut world, mut requests) = (generated, requests.to_vec());
    let mut said = mismatch.to_owned();
    if !wanted.starts_with("request") {
        requests.clear();
    }
    for index in (0..requests.len()).rev() {
        let mut fewer = requests.clone();
        fewer.remove(index);
        if still(&world, &fewer).is_some() {
            requests = fewer;
        }
    }
    for index in (0..world.manifests.len()).rev() {
        let mut fewer = world.clone();
        fewer.manifests.remove(index);
        if let Some(now) = still(&fewer, &requests) {
            (world, said) = (fewer, now);
        }
    }
    let documents: Vec<String> =
        world.manifests.iter().map(|it| serde_json::to_string(it).unwrap()).collect();
    format!("seed {} at {}\n{said}\n{}\n", world.seed, world.at, documents.join("\n---\n"))
}
