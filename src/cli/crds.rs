//! `concordat crds`: the CustomResourceDefinitions, printed, written, or held against those in a folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Exit;
use super::output::{Printer, count};
use concordat_api::{crd_file_name, custom_resource_definitions};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Fail if a folder does not hold just these definitions.
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "crds", conflicts_with = "write")]
    check: Option<PathBuf>,

    /// Write one file for each definition into a folder.
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "crds")]
    write: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, printer: &mut Printer) -> Exit {
    let Arguments { check, write } = arguments;
    let definitions = match files() {
        Ok(definitions) => definitions,
        Err(error) => {
            printer.error(format!("the definitions cannot be written as YAML: {error}"), None);
            return Exit::Unknown;
        }
    };
    match (check, write) {
        (Some(folder), _) => hold_against(&definitions, folder, printer),
        (None, Some(folder)) => write_into(&definitions, folder, printer),
        (None, None) => {
            let texts: Vec<&str> = definitions.iter().map(|(_, text)| text.trim_end()).collect();
            printer.stdout(texts.join("\n---\n"));
            Exit::Yes
        }
    }
}

/// A definition as `crds/` holds it: one YAML document.
pub fn crd_yaml(definition: &CustomResourceDefinition) -> Result<String, serde_saphyr::SerializeError> {
    let mut value = serde_json::to_value(definition)
        .map_err(<serde_saphyr::SerializeError as serde::ser::Error>::custom)?;
    whole_numbers(&mut value);
    let yaml = serde_saphyr::to_string(&value)?;
    Ok(format!(
        "# Written by `concordat crds`; change the types under src/api instead.\n{}\n",
        yaml.trim_end()
    ))
}

/// Writes `65535.0` as `65535`, as the API server gives it back.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(whole) = number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 1e15)
            {
                *value = Value::from(whole as i64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// Each definition's file name and text.
fn files() -> Result<Vec<(String, String)>, serde_saphyr::SerializeError> {
    custom_resource_definitions()
        .iter()
        .map(|definition| Ok((crd_file_name(definition), crd_yaml(definition)?)))
        .collect()
}

fn hold_against(definitions: &[(String, String)], folder: &Path, printer: &mut Printer) -> Exit {
    let mut differences = Vec::new();
    for (name, text) in definitions {
        match fs::read_to_string(folder.join(name)) {
            Ok(found) if found == *text => {}
            Ok(_) => differences.push(format!("`{name}` is out of date")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                differences.push(format!("`{name}` is missing"))
            }
            Err(error) => return failed(&folder.join(name), &error, printer),
        }
    }
    match fs::read_dir(folder) {
        Ok(entries) => {
            let mut others: Vec<String> = entries
                .filter_map(Result::ok)
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .filter(|name| name.ends_with(".yaml") && !definitions.iter().any(|(known, _)| known == name))
                .map(|name| format!("`{name}` defines no kind that there is"))
                .collect();
            others.sort();
            differences.extend(others);
        }
        Err(error) => return failed(folder, &error, printer),
    }
    if differences.is_empty() {
        printer.stderr(format!(
            "{} in `{}` are up to date",
            count(definitions.len(), "definition"),
            folder.display()
        ));
        return Exit::Yes;
    }
    for difference in &differences {
        printer.stdout(difference);
    }
    let help = format!("`concordat crds --write {}` brings them up to date", folder.display());
    printer
        .error(format!("the definitions in `{}` are not those of this build", folder.display()), Some(&help));
    Exit::No
}

fn write_into(definitions: &[(String, String)], folder: &Path, printer: &mut Printer) -> Exit {
    if let Err(error) = fs::create_dir_all(folder) {
        return failed(folder, &error, printer);
    }
    for (name, text) in definitions {
        let path = folder.join(name);
        if let Err(error) = fs::write(&path, text) {
            return failed(&path, &error, printer);
        }
        printer.stdout(path.display());
    }
    Exit::Yes
}

fn failed(path: &Path, error: &io::Error, printer: &mut Printer) -> Exit {
    let help = if error.kind() == io::ErrorKind::NotFound {
        "check its spelling; `concordat crds --write DIR` makes a folder and writes the definitions into it"
    } else {
        "name a folder that can be read, and with `--write` be written"
    };
    printer.error(format!("`{}`: {error}", path.display()), Some(help));
    Exit::Unknown
}
