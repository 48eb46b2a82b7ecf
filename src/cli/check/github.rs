//! Findings as workflow commands, which GitHub shows beside the line.

use super::repository::Repository;
use concordat_core::finding::{Finding, Origin, Severity};
use concordat_core::text::visible;
use concordat_source::files::STDIN;

/// A line for each finding.
pub(super) fn lines(findings: &[Finding], repository: &Repository) -> Vec<String> {
    findings.iter().map(|finding| line(finding, repository)).collect()
}

fn line(finding: &Finding, repository: &Repository) -> String {
    let Finding { code, severity, message, help, origin, missing: _ } = finding;
    let Origin { file, line, column, object, field } = origin;
    let level = match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut properties = Vec::new();
    if let Some(file) = file.as_ref().filter(|file| *file != STDIN) {
        let path = repository.relative(file).map_or_else(|| file.clone(), |parts| parts.join("/"));
        properties.push(format!("file={}", property(&path)));
        properties.extend(line.map(|line| format!("line={line}")));
        properties.extend(column.map(|column| format!("col={column}")));
    }
    properties.push(format!("title={}", property(code.as_str())));
    let mut text = message.clone();
    let about: Vec<String> = object.iter().map(ToString::to_string).chain(field.iter().cloned()).collect();
    if !about.is_empty() {
        text.push_str(&format!("\nat {}", about.join(" ")));
    }
    text.extend(help.iter().map(|help| format!("\nhelp: {help}")));
    format!("::{level} {}::{}", properties.join(","), data(&text))
}

/// A message: what would end the line is written as what GitHub turns back.
fn data(text: &str) -> String {
    visible(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property, in which commas and colons would end it too.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use concordat_core::finding::Code;

    #[test]
    fn nothing_in_a_finding_ends_its_command_early() {
        let origin = Origin {
            file: Some("./a,b:c%.yaml".to_owned()),
            line: Some(3),
            column: Some(5),
            ..Origin::default()
        };
        let finding = Finding::new(Code::InvalidYaml, origin, "50% of\r\nit::error").help("fix it");
        assert_eq!(
            lines(&[finding], &Repository::at("/repository")),
            [
                "::error file=a%2Cb%3Ac%25.yaml,line=3,col=5,title=CON002::50%25 of\\u{d}\\u{a}it::error%0Ahelp: fix it"
            ]
        );
    }
}
