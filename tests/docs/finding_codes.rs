//! The finding codes: every code, what it means, and what comes of it.

use std::fmt::Write as _;

use concordat::core::finding::{Code, Severity};

/// The hundreds, and what each is about.
const CHAPTERS: [(&str, &str); 10] = [
    ("CON0", "Texts and shapes"),
    ("CON1", "Names that lead nowhere"),
    ("CON2", "Organisations and clusters"),
    ("CON3", "Data products"),
    ("CON4", "Agreements"),
    ("CON5", "Signatures"),
    ("CON6", "Frameworks and exceptions"),
    ("CON7", "Local policies"),
    ("CON8", "Places and tests"),
    ("CON9", "A live cluster"),
];

/// The page, as Markdown.
pub fn page() -> String {
    let mut page = String::from(
        "# Finding codes\n\n\
         <!-- Generated from src/core/finding.rs: UPDATE=1 cargo test --test docs -->\n\n\
         What `concordat check` finds has a code. A code never changes its meaning, and is never used again for another.\n\
         An *error* keeps the object, or the part of it that is wrong, from being used: nothing is opened by it.\n\
         A *warning* is worth knowing; the object is used. With `--strict` a warning fails `check` too.\n\
         The name is the `reason` of the object's condition in a cluster, where the error keeps it from being used.\n\
         Each finding also says where it is, what is wrong there, and what would help.\n",
    );
    for (prefix, title) in CHAPTERS {
        writeln!(page, "\n## {title}\n\n| Code | Name | | What it means |\n|---|---|---|---|")
            .expect("a text can be written to");
        for code in Code::ALL.iter().filter(|code| code.as_str().starts_with(prefix)) {
            let severity = match code.severity() {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            writeln!(page, "| `{code}` | `{}` | {severity} | {} |", code.reason(), code.title())
                .expect("likewise");
        }
    }
    let told = CHAPTERS
        .iter()
        .map(|(prefix, _)| Code::ALL.iter().filter(|code| code.as_str().starts_with(prefix)).count());
    assert_eq!(told.sum::<usize>(), Code::ALL.len(), "a code has no chapter");
    page
}
