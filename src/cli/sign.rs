//! `concordat sign`: a party's signature on an agreement, ready to be applied.

use std::error::Error as _;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::Value;

use super::Exit;
use super::arguments::{Input, Moment, moment, reference};
use super::load;
use super::output::{Printer, report};
use concordat_api::{ActingRole, ObjectRef};
use concordat_core::finding::Finding;
use concordat_core::sign::{SignatureRequest, in_vain, once_each, remarks, signature};
use concordat_core::snapshot::ClusterView;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) input: Input,

    /// The agreement.
    #[arg(long, value_name = "NS/NAME", value_parser = reference)]
    agreement: ObjectRef,

    /// The organisation that signs.
    #[arg(long, value_name = "ORG")]
    party: String,

    /// Sign for these purposes only [default: all].
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    purposes: Option<Vec<String>>,

    /// Withdraw from the agreement instead of signing it.
    #[arg(long, conflicts_with = "decline")]
    withdraw: bool,

    /// Say no to an agreement that was never signed.
    #[arg(long)]
    decline: bool,

    /// Withdraw from this moment on, from `--purposes` or from all [default: at once].
    #[arg(long, value_name = "DATE", value_parser = moment)]
    on: Option<Timestamp>,

    /// The role in which somebody signs.
    #[arg(
        long,
        value_name = "ROLE",
        ignore_case = true,
        value_parser = PossibleValuesParser::new(ROLES).try_map(role),
    )]
    acting_role: Option<ActingRole>,

    /// When it is signed, for the record [default: the moment to judge at].
    #[arg(long, value_name = "TIME", value_parser = moment)]
    signed_on: Option<Timestamp>,

    #[command(flatten)]
    at: Moment,
}

const ROLES: [&str; 5] = ["Siro", "CaldicottGuardian", "Dpo", "ControllerLead", "Lay"];

pub(super) fn run(arguments: &Arguments, printer: &mut Printer) -> Exit {
    let Arguments { input, agreement, party, purposes, withdraw, decline, on, acting_role, signed_on, at } =
        arguments;
    let Some(mut loaded) = load::load(input, ClusterView::Any, printer) else {
        return Exit::Unknown;
    };
    let at = at.timestamp();
    let request = SignatureRequest {
        agreement: agreement.clone(),
        party: party.clone(),
        purposes: purposes.clone(),
        withdraw: *withdraw,
        decline: *decline,
        on: *on,
        acting_role: *acting_role,
        signed_on: Some(signed_on.unwrap_or(at)),
    };
    let mut signature = match signature(&loaded.snapshot, &request) {
        Ok(signature) => signature,
        Err(error) => {
            // an object of bad shape is not read, which may be why something is missing
            let broken: Vec<&Finding> = loaded.findings.iter().filter(|finding| finding.is_error()).collect();
            let text = report::render(&broken, &mut loaded.texts, printer.stderr_paint(), printer.width());
            if !text.is_empty() {
                printer.say(text.trim_end());
                printer.say("");
            }
            let mut message = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                message.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            let unread = "an object above could not be read: fix it, and try again".to_owned();
            let help = error
                .help()
                .map(|help| with_what_was_read(&help, input))
                .or_else(|| (!broken.is_empty()).then_some(unread));
            printer.error(message, help.as_deref());
            return Exit::Unknown;
        }
    };
    // a signature that is to end keeps its own, unless somebody says otherwise
    signature.spec.signed_on = signed_on.or(signature.spec.signed_on);
    let whole = match serde_json::to_value(&signature).map(whole) {
        Ok(whole) => whole,
        Err(error) => {
            printer.error(format!("the signature cannot be written out: {error}"), None);
            return Exit::Unknown;
        }
    };
    if let Err(error) = printer.stdout_yaml(&whole) {
        printer.error(format!("the signature cannot be written out: {error}"), None);
        return Exit::Unknown;
    }
    let namespace = signature.namespace().unwrap_or_default();
    let of = purposes.as_ref().filter(|_| on.is_some());
    let of = of.map_or_else(String::new, |purposes| format!(" for {}", once_each(purposes).join(", ")));
    let past = if on.is_some_and(|on| on <= at) { ", which is past: it counts at once" } else { "" };
    let what = match (withdraw, decline, on) {
        (true, _, Some(on)) if signature.spec.ends.iter().any(|end| end.on == *on) => {
            format!("this withdraws `{party}` from `{agreement}`{of} on {on}{past}")
        }
        (true, _, Some(on)) => {
            format!("`{party}` leaves `{agreement}`{of} before {on} already: no end is put off")
        }
        (true, _, None) => format!("this withdraws `{party}` from `{agreement}`"),
        (false, true, _) => format!("this declines `{agreement}` for `{party}`"),
        (false, false, _) => format!("this signs `{agreement}` for `{party}`"),
    };
    printer.note(format!(
        "{what}; apply it with an account of namespace `{namespace}`: `concordat sign … | kubectl apply -f -` \
         (over a signature that another tool applied: `kubectl apply --server-side --force-conflicts -f -`)"
    ));
    let sooner = on.as_ref().and_then(|on| signature.spec.ends.iter().find(|end| end.on < *on));
    if let Some(end) = sooner {
        let what = end.purpose.as_ref().map_or_else(String::new, |purpose| format!(" for `{purpose}`"));
        printer.note(format!("it ends{what} on {} already, and still does", end.on));
    }
    let in_vain = in_vain(&loaded.snapshot, &signature, at);
    for remark in remarks(&loaded.snapshot, &signature).into_iter().chain(in_vain) {
        let remark = with_what_was_read(&remark, input);
        // what it widens is said to whoever wants quiet, too
        printer.say(format!("{} {remark}", printer.stderr_paint().yellow("note:")));
    }
    Exit::Yes
}

/// A text whose commands read what this one did, typed as they are.
fn with_what_was_read(text: &str, input: &Input) -> String {
    text.replace("`concordat sign --", &format!("`concordat sign{} --", input.as_typed()))
}

/// A signature with its empty list of ends written out, so that no list of another field manager stays there.
fn whole(mut signature: Value) -> Value {
    let spec = signature.get_mut("spec").and_then(Value::as_object_mut);
    if let Some(spec) = spec
        && spec.get("state").and_then(Value::as_str) == Some("Signed")
    {
        spec.entry("ends").or_insert_with(|| Value::Array(Vec::new()));
    }
    signature
}

fn role(text: String) -> Result<ActingRole, serde_json::Error> {
    let known = ROLES.iter().find(|role| role.eq_ignore_ascii_case(&text)).map_or(text.as_str(), |role| role);
    serde_json::from_value(Value::from(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_of_the_kind_can_be_named() {
        for name in ROLES {
            assert_eq!(serde_json::to_value(role(name.to_lowercase()).unwrap()).unwrap(), *name);
        }
    }
}
