use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::*;

/// Reads one text as a file called `a.yaml`.
fn read_text(text: impl AsRef<[u8]>) -> (Snapshot, Vec<Finding>, FilesReport) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), text).unwrap();
    let (snapshot, findings, report) = read(&[folder.path().to_owned()]);
    (snapshot, findings.into_iter().map(|finding| relative(finding, folder.path())).collect(), report)
}

fn relative(mut finding: Finding, folder: &Path) -> Finding {
    let folder = format!("{}/", folder.display());
    finding.origin.file = finding.origin.file.map(|file| file.replace(&folder, ""));
    finding.message = finding.message.replace(&folder, "");
    finding
}

/// The findings in a text: code, line, column and message.
fn found(text: impl AsRef<[u8]>) -> Vec<(&'static str, u32, u32, String)> {
    read_text(text)
        .1
        .into_iter()
        .map(|finding| {
            let Finding { code, message, origin, .. } = finding;
            (code.as_str(), origin.line.unwrap_or(0), origin.column.unwrap_or(0), message)
        })
        .collect()
}

fn codes(text: impl AsRef<[u8]>) -> Vec<&'static str> {
    found(text).into_iter().map(|(code, ..)| code).collect()
}

const PLACE: &str = "\
apiVersion: concordat.dev/v1alpha1
kind: PlaceFootprint
metadata: {name: chorley}
spec: {tier: Place, leadOrg: chorley-council}
";

#[test]
fn an_object_enters_the_snapshot_with_the_place_of_each_field() {
    let (snapshot, findings, report) = read_text(PLACE);
    assert_eq!(findings, []);
    assert_eq!((report.files, report.objects), (1, 1));
    let place = &snapshot.footprints[0];
    assert_eq!(place.object.metadata.name.as_deref(), Some("chorley"));
    assert_eq!(place.source.positions["spec.leadOrg"], (4, 21));
    assert_eq!(place.source.positions[""], (1, 1));
}

#[test]
fn columns_count_characters() {
    let (snapshot, _, _) = read_text(
        "{apiVersion: concordat.dev/v1alpha1, kind: PlaceFootprint, metadata: {name: a, annotations: {a: '🏥é'}}, spec: {tier: Place, leadOrg: b}}",
    );
    assert_eq!(snapshot.footprints[0].source.positions["spec"], (1, 105));
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_change_nothing() {
    let text = format!("\u{feff}{}", PLACE.replace('\n', "\r\n"));
    let (snapshot, findings, _) = read_text(text);
    assert_eq!(findings, []);
    assert_eq!(snapshot.footprints[0].source.positions["spec.leadOrg"], (4, 21));
}

#[test]
fn json_is_read_with_tabs_and_pairs_of_surrogates() {
    let text = "{\n\t\"apiVersion\": \"concordat.dev/v1alpha1\",\n\t\"kind\": \"PlaceFootprint\",\n\t\"metadata\": {\"name\": \"a\", \"annotations\": {\"b\": \"\\ud83c\\udfe5\"}},\n\t\"spec\": {\"tier\": \"Place\", \"leadOrg\": \"b\"}\n}\n";
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.json"), text).unwrap();
    let (snapshot, findings, _) = read(&[folder.path().to_owned()]);
    assert_eq!(findings, []);
    assert_eq!(snapshot.footprints[0].object.metadata.annotations.as_ref().unwrap()["b"], "🏥");
}

#[test]
fn nothing_to_read_is_no_error() {
    for text in ["", "\n\n", "# only a comment\n", "---\n---\n", "\u{feff}", "..."] {
        let (snapshot, findings, report) = read_text(text);
        assert_eq!((snapshot, findings, report.objects), (Snapshot::default(), vec![], 0), "{text:?}");
    }
}

#[test]
fn other_kinds_are_counted_and_left_alone_whatever_is_in_them() {
    let (snapshot, findings, report) = read_text(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, name: b}\n---\n\
         apiVersion: v1\nkind: ConfigMap\ndata: {<<: *x}\n---\n",
    );
    // the second has an alias without an anchor, which ends the reading of the file
    assert_eq!(snapshot, Snapshot::default());
    assert_eq!(findings, []);
    assert_eq!(report.skipped.get("Namespace"), Some(&1));

    let (_, findings, report) = read_text(
        "base: &x {a: no}\nother: {<<: *x}\nthird: !Ref y\n---\n- 1\n---\ntext\n---\nkind: X\napiVersion: y/v1\n",
    );
    assert_eq!(findings, []);
    assert_eq!(report.skipped, BTreeMap::from([("none".to_owned(), 3), ("X".to_owned(), 1)]));
}

#[test]
fn a_template_that_does_not_speak_of_our_group_is_counted_and_left_alone() {
    let (_, findings, report) = read_text("a: {{ .Values.a }}\n{{- end }}\n");
    assert_eq!((findings, report.templates), (vec![], 1));
    assert_eq!(codes("apiVersion: concordat.dev/v1alpha1\n{{- end }}\n"), ["CON002"]);
}

#[test]
fn a_template_of_ours_is_named_as_that_whether_it_happens_to_be_yaml_or_not() {
    let texts = [
        "apiVersion: concordat.dev/v1alpha1\n{{- end }}\n".to_owned(),
        "{{ if .Values.x }}\napiVersion: concordat.dev/v1alpha1\nkind: PlaceFootprint\n{{ end }}\n"
            .to_owned(),
        PLACE.replace("name: chorley", "name: {{ .Values.name }}"),
    ];
    for text in texts {
        assert!(text.contains("{{"));
        let (_, findings, _) = read_text(&text);
        let helps: Vec<_> = findings.iter().filter_map(|finding| finding.help.as_deref()).collect();
        assert!(
            !helps.is_empty() && helps.iter().all(|help| help.contains("helm template")),
            "{text}: {helps:?}"
        );
    }
}

#[test]
fn a_doubled_key_is_found_at_its_second_place_and_the_object_stays_out() {
    let (snapshot, findings, _) = read_text(PLACE.replace("tier: Place", "tier: Place, tier: System"));
    assert_eq!((snapshot.footprints.len(), snapshot.unreadable.len()), (0, 1));
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].code, Code::DuplicateKey);
    assert_eq!((findings[0].origin.line, findings[0].origin.column), (Some(4), Some(21)));
    assert_eq!(findings[0].origin.object.as_ref().unwrap().to_string(), "PlaceFootprint chorley");
}

#[test]
fn an_unquoted_word_that_kubectl_takes_for_something_else_is_found() {
    assert_eq!(
        found(PLACE.replace("leadOrg: chorley-council", "leadOrg: no")),
        [("CON006", 4, 30, "kubectl reads an unquoted `no` as `false`".to_owned())]
    );
    assert_eq!(codes(PLACE.replace("leadOrg: chorley-council", "leadOrg: 'no'")), [""; 0]);
}

#[test]
fn aliases_are_expanded_with_the_places_of_what_they_repeat() {
    let text = "\
apiVersion: concordat.dev/v1alpha1
kind: PlaceFootprint
metadata: {name: chorley, labels: &labels {a: b}, annotations: *labels}
spec: {tier: Place, leadOrg: chorley-council}
";
    let (snapshot, findings, _) = read_text(text);
    assert_eq!(findings, []);
    assert_eq!(snapshot.footprints[0].object.metadata.annotations.as_ref().unwrap()["a"], "b");
    assert_eq!(snapshot.footprints[0].source.positions["metadata.annotations.a"], (3, 44));
}

#[test]
fn tags_and_merge_keys_are_refused_in_objects_of_ours() {
    assert_eq!(codes(PLACE.replace("tier: Place", "tier: !Tier Place")), ["CON002"]);
    assert_eq!(codes(PLACE.replace("tier: Place", "tier: !!str Place")), [""; 0]);
    assert_eq!(
        codes(PLACE.replace("{name: chorley}", "{name: chorley, labels: {<<: {a: b}}}")),
        ["CON002", "CON006"]
    );
}

#[test]
fn a_kind_or_version_that_there_is_not_is_never_skipped() {
    for (from, to, message) in [
        ("PlaceFootprint", "PlaceFootprnt", "`concordat.dev/v1alpha1` has no kind `PlaceFootprnt`"),
        ("v1alpha1", "v1", "`concordat.dev` has no version `v1`"),
        ("/v1alpha1", "", "`apiVersion: concordat.dev` names no version"),
        ("concordat.dev", "concordat.de", "no group is called `concordat.de`"),
        (
            "apiVersion: concordat.dev/v1alpha1\n",
            "",
            "the `PlaceFootprint` does not name a group in its `apiVersion`",
        ),
        ("kind: PlaceFootprint\n", "", "the object does not say its `kind`"),
    ] {
        let findings = found(PLACE.replace(from, to));
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!((findings[0].0, findings[0].3.as_str()), ("CON009", message));
    }
}

#[test]
fn a_list_is_looked_into() {
    let text = "\
apiVersion: v1
kind: List
items:
- apiVersion: concordat.dev/v1alpha1
  kind: PlaceFootprint
  metadata: {name: chorley}
  spec: {tier: Place, leadOrg: chorley-council}
- {apiVersion: v1, kind: Namespace}
";
    let (snapshot, findings, report) = read_text(text);
    assert_eq!(findings, []);
    assert_eq!(snapshot.footprints[0].source.positions["spec"], (7, 3));
    assert_eq!(report.skipped, BTreeMap::from([("Namespace".to_owned(), 1)]));
}

#[test]
fn metadata_has_to_name_the_object_and_its_namespace() {
    let product = "apiVersion: concordat.dev/v1alpha1\nkind: AgreementSignature\nmetadata: {name: A_b}\nspec: {agreement: {namespace: a, name: b}, party: c, termsHash: 'sha256:0000000000000000000000000000000000000000000000000000000000000000'}\n";
    assert_eq!(
        found(product),
        [
            ("CON008", 3, 1, "the `AgreementSignature` does not name its namespace".to_owned()),
            ("CON006", 3, 12, "`A_b` is no name of an object".to_owned()),
        ]
    );
    assert_eq!(
        found(PLACE.replace("{name: chorley}", "{name: chorley, namespace: x}")),
        [("CON006", 3, 27, "a `PlaceFootprint` has no namespace".to_owned())]
    );
    assert_eq!(found(PLACE.replace("{name: chorley}", "{}"))[0].3, "the object has no `metadata.name`");
}

#[test]
fn what_the_api_server_writes_is_not_believed_in_a_file() {
    let (snapshot, findings, _) = read_text(
        PLACE.replace("{name: chorley}", "{name: chorley, uid: x, creationTimestamp: 2020-01-01T00:00:00Z}")
            + "status: {nonsense: true}\n",
    );
    assert_eq!(findings, []);
    assert_eq!(snapshot.footprints[0].object.metadata.uid, None);
    assert_eq!(snapshot.footprints[0].object.metadata.creation_timestamp, None);
}

#[test]
fn documents_before_a_broken_one_stand() {
    let (snapshot, findings, _) = read_text(format!("{PLACE}---\na: [\n"));
    assert_eq!(snapshot.footprints.len(), 1);
    assert_eq!(findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), [Code::InvalidYaml]);
}

#[test]
fn bytes_that_are_not_text_are_found_with_their_place() {
    assert_eq!(
        found(b"a: 1\nb: \xff\n# concordat.dev\n"),
        [("CON002", 2, 4, "not valid YAML: the text is not UTF-8 from here on".to_owned())]
    );
}

#[test]
fn hidden_folders_are_read_but_not_gits_and_no_link_to_a_folder_is_followed_and_no_file_read_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::create_dir_all(path.join(".git")).unwrap();
    fs::create_dir_all(path.join("a")).unwrap();
    fs::create_dir_all(path.join(".b")).unwrap();
    fs::write(path.join(".b/z.yaml"), PLACE.replace("name: ", "name: b-")).unwrap();
    fs::write(path.join(".git/x.yaml"), "a: [").unwrap();
    fs::write(path.join("a/y.yml"), PLACE).unwrap();
    fs::write(path.join("notes.md"), "a: [").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("/", path.join("out")).unwrap();
    // a file behind a link is read, and once
    #[cfg(unix)]
    std::os::unix::fs::symlink(path.join("a/y.yml"), path.join("linked.yaml")).unwrap();
    let (snapshot, findings, report) = read(&[path.to_owned(), path.join("a"), path.join("a/y.yml")]);
    assert_eq!(findings, []);
    assert_eq!((snapshot.footprints.len(), report.files), (2, 2));
    #[cfg(unix)]
    assert_eq!(report.links, 1);
}

#[test]
fn a_path_that_is_not_there_is_a_finding() {
    let (_, findings, _) = read(&[PathBuf::from("no/such/folder")]);
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].code, Code::UnreadableFile);
    assert_eq!(findings[0].message, "there is no file or folder `no/such/folder`");
}

/// Text made to hurt whoever reads it, and the code that it gets.
fn nasty() -> Vec<(&'static str, String, &'static str)> {
    let laughs = |width: usize, height: usize| {
        let mut text = String::from("a0: &a0 [x]\n");
        for level in 1..height {
            let below = vec![format!("*a{}", level - 1); width].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        text
    };
    vec![
        ("brackets", "[".repeat(100_000), "CON004"),
        ("braces", "{a: ".repeat(100_000), "CON004"),
        ("dashes", "- ".repeat(100_000), "CON004"),
        ("questions", "? ".repeat(100_000), "CON004"),
        ("steps", (0..2_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect(), "CON004"),
        ("laughs", laughs(10, 30), "CON004"),
        ("few but deep laughs", laughs(2, 60), "CON004"),
        ("long laughs", format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), "*a, ".repeat(1_000)), "CON004"),
        ("a loop", "a: &a [*a]\n".to_owned(), "CON002"),
        ("no anchor", "a: *b\n".to_owned(), "CON002"),
        ("unterminated text", "a: \"b\n".to_owned(), "CON002"),
        ("unterminated list", "a: [b, c\n".to_owned(), "CON002"),
        ("tabs", "a:\n\tb: c\n".to_owned(), "CON002"),
        ("too large", format!("a: {}\n", "x".repeat(5 << 20)), "CON004"),
        ("many values", format!("[{}]", "0,".repeat(600_000)), "CON004"),
        ("a bad escape", "a: \"\\q\"\n".to_owned(), "CON002"),
        ("a bad directive", "%YAML 9.9.9\n---\na: b\n".to_owned(), "CON002"),
        ("two colons", "a: b: c\n".to_owned(), "CON002"),
    ]
}

#[test]
fn text_made_to_hurt_is_refused_and_soon() {
    for (name, text, code) in nasty() {
        let start = Instant::now();
        // what does not speak of our group is no one's business
        assert_eq!(codes(&text), [""; 0], "{name}");
        assert_eq!(codes(format!("{text}\n# concordat.dev\n")), [code], "{name}");
        assert!(start.elapsed() < Duration::from_secs(20), "{name} took {:?}", start.elapsed());
    }
}

#[test]
fn a_character_that_shows_nothing_is_not_called_a_tab() {
    for (text, helps) in [("a: \0\n", "take the character out"), ("a:\n\tb: c\n", "indent with spaces")] {
        let (_, findings, _) = read_text(format!("{text}# concordat.dev\n"));
        let help = findings[0].help.clone().unwrap();
        assert!(help.starts_with(helps), "{help}");
    }
}

#[test]
fn of_a_grant_it_is_said_that_it_goes_and_no_more() {
    let grant = "apiVersion: concordat.dev/v1alpha1\nkind: DataAccessGrant\nmetadata: {name: a, namespace: b}\nspec: {}\n";
    assert_eq!(codes(grant), ["CON013"]);
}

#[test]
fn a_bound_is_told_as_a_whole_number() {
    let place = PLACE.replace(
        "tier: Place",
        "tier: Place, population: {value: -1, asOf: 2026-01-01T00:00:00Z, source: none}",
    );
    let (_, findings, _) = read_text(place);
    assert_eq!(findings[0].help.as_deref(), Some("write 0 or more"));
}

#[test]
fn a_value_that_is_none_of_a_fields_is_told_once_and_a_date_past_the_clock_by_its_field() {
    assert_eq!(codes(PLACE.replace("tier: Place", "tier: 3")), ["CON006"]);
    let place = PLACE.replace(
        "tier: Place",
        "tier: Place, population: {value: 1, asOf: 9999-12-31T23:59:59Z, source: none}",
    );
    let (_, findings, _) = read_text(place);
    let reported: Vec<_> =
        findings.iter().map(|it| (it.origin.field.as_deref(), it.message.as_str())).collect();
    assert_eq!(reported, [(Some("spec.population.asOf"), "`9999-12-31T23:59:59Z` is not a moment")]);
}

#[test]
fn mutilated_manifests_never_bring_the_reader_down() {
    // a fixed generator, so that a failure can be had again
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ": ",
        "- ",
        "? ",
        "&a ",
        "*a",
        "!",
        "!!",
        "|",
        ">",
        "|+2\n",
        "\"",
        "'",
        "#",
        " #",
        "\n",
        "\t",
        "%",
        "---\n",
        "...\n",
        "\r",
        "\u{85}",
        "\u{2028}",
        "\0",
        "é",
        "🏥",
        "<<: ",
        ",",
        "@",
        "`",
        "\\",
        "\\u",
        "~",
        "\u{feff}",
        "   ",
        "%TAG ! x\n",
        "!<a>",
        "? [a\n",
        "- - -",
    ];
    let seed =
        format!("{PLACE}---\nitems: &x\n- a: |\n    text\n  b: >-\n    folded\n- {{c: *x, \"d\": 'e'}}\n");
    for _ in 0..4_000 {
        let mut text: Vec<char> = seed.chars().collect();
        for _ in 0..=next(6) {
            let at = next(text.len());
            let until = (at + next(12)).min(text.len());
            let piece = pieces[next(pieces.len())].chars();
            let _ = text.splice(at..until, piece).count();
        }
        let text: String = text.into_iter().collect();
        for root in documents::parse(&text, false).iter().filter_map(|document| document.root.as_ref()) {
            let _ = (root.value(), root.certain(), root.positions());
        }
    }
}

#[test]
fn a_list_of_what_to_ignore_leaves_files_out_but_never_one_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("ours.yaml", PLACE);
    write("other.yaml", "kind: [\n");
    write(".concordatignore", "*.yaml\n");
    let (snapshot, findings, _) = read(&[folder.path().to_owned()]);
    assert_eq!(snapshot.footprints.len(), 1);
    assert_eq!(findings.iter().map(|it| it.code).collect::<Vec<_>>(), [Code::IgnoredManifest]);
    write(".concordatignore", "[z-a]\n");
    let (snapshot, findings, _) = read(&[folder.path().to_owned()]);
    assert_eq!(snapshot.footprints.len(), 1);
    assert_eq!(findings.iter().map(|it| it.code).collect::<Vec<_>>(), [Code::IgnorePattern]);
}

#[test]
fn a_copy_of_a_cluster_scoped_object_with_a_namespace_is_a_copy_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let copy = PLACE.replace("metadata: {", "metadata: {namespace: somewhere, ");
    assert_ne!(copy, PLACE, "the place has a metadata in braces");
    fs::write(folder.path().join("a.yaml"), PLACE).unwrap();
    fs::write(folder.path().join("b.yaml"), copy).unwrap();
    let (snapshot, findings, _) = read(&[folder.path().to_owned()]);
    assert!(findings.iter().any(|finding| finding.is_error()), "{findings:?}");
    assert_eq!(snapshot.unreadable.len(), 1);
    assert_eq!(snapshot.unreadable[0].key(), snapshot.footprints[0].key());
}

#[test]
fn kinds_of_ours_that_say_nothing_of_access_close_nothing() {
    for (kind, unknown) in [("EnforcementPoint", 0), ("GatewayMapping", 0), ("Concordat", 1)] {
        let folder = tempfile::tempdir().unwrap();
        let text =
            format!("apiVersion: concordat.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {{}}\n");
        fs::write(folder.path().join("a.yaml"), text).unwrap();
        let (snapshot, findings, _) = read(&[folder.path().to_owned()]);
        assert_eq!(snapshot.unknown_texts.len(), unknown, "{kind}");
        assert!(!findings.is_empty(), "{kind} is reported");
    }
}

#[test]
fn what_does_not_rightly_say_what_it_is_may_be_what_its_namespace_can_hold_and_nothing_else() {
    let held = |version: &str, kind: &str, namespace: &str| {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "apiVersion: {version}\nkind: {kind}\nmetadata: {{{namespace}name: x}}\nspec: {{a: 1}}\n"
        );
        fs::write(folder.path().join("a.yaml"), text).unwrap();
        let (snapshot, findings, _) = read(&[folder.path().to_owned()]);
        assert!(findings.iter().any(|finding| finding.is_error()), "{version} {kind}");
        let kinds: Vec<String> = snapshot.unreadable.iter().map(|it| it.kind.clone()).collect();
        (kinds.join(" "), snapshot.unknown_texts.len())
    };
    let (ours, here) = ("concordat.dev/v1alpha1", "namespace: stranger, ");
    let any = "DataProduct DataSharingAgreement AgreementSignature LocalPolicy";
    assert_eq!(held("concordat.dev/v1", "AgreementSignature", here), ("AgreementSignature".to_owned(), 0));
    assert_eq!(held("concordat.dev/v1", "PartnerOrg", ""), ("PartnerOrg".to_owned(), 0));
    for kind in ["Agreementsignature", "AgreementSignatures", "Foo"] {
        assert_eq!(held(ours, kind, here), (any.to_owned(), 0), "{kind}");
    }
    assert_eq!(held(ours, "Foo", ""), (String::new(), 1), "it may be anybody's");
    assert_eq!(held(ours, "AgreementSignatures", ""), ("AgreementSignature".to_owned(), 0), "a slip");
    assert_eq!(held(ours, "Partnerorg", here), (String::new(), 1), "an organisation has no namespace");
    assert_eq!(held("concordat.dev/v1", "AgreementSignature", "").1, 0, "it says itself whose word it is");
    let nameless = "concordat.dev/v1alpha1\nkind: DataSharingAgreement\nmetadata: {}\nspec: {}\n#";
    assert_eq!(held(nameless, "x", "").1, 1, "which agreement it is is not known");
}

#[test]
fn what_the_api_server_writes_has_to_be_of_its_own_types() {
    for (field, is_right) in [
        ("creationTimestamp: null", true),
        ("creationTimestamp: 2026-01-01T00:00:00Z", true),
        ("creationTimestamp: x", false),
        ("uid: 5", false),
        ("generation: x", false),
        ("selfLink: 5", false),
        ("deletionGracePeriodSeconds: x", false),
    ] {
        let (_, findings, _) =
            read_text(PLACE.replace("{name: chorley}", &format!("{{name: chorley, {field}}}")));
        assert_eq!(findings.is_empty(), is_right, "{field}: {findings:?}");
    }
}

#[test]
fn an_ignored_file_is_read_however_it_spells_our_group() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(".concordatignore"), "x.yaml\n").unwrap();
    let ignored = |text: String| {
        fs::write(folder.path().join("x.yaml"), text).unwrap();
        read(&[folder.path().to_owned()]).2.objects == 0
    };
    assert!(!ignored(PLACE.to_owned()));
    assert!(!ignored(PLACE.replace("concordat.dev/v1alpha1", "\"concordat\\u002edev/v1alpha1\"")));
    assert!(ignored("kind: ConfigMap\ndata: {a: \"b\\n\"}\n".to_owned()));
}

#[test]
fn an_ending_in_capitals_is_refused_as_kubectl_passes_over_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("place.YAML");
    fs::write(&file, PLACE).unwrap();
    let (snapshot, findings, _) = read(&[folder.path().to_owned()]);
    assert_eq!(findings.iter().map(|it| it.code).collect::<Vec<_>>(), [Code::OtherMeaning]);
    assert_eq!((snapshot.footprints.len(), snapshot.unknown_texts.len()), (0, 1));
    // kubectl reads a file that is named, whatever its ending
    assert_eq!(read(&[file]).0.footprints.len(), 1);
}

#[test]
fn a_request_beside_an_object_is_no_part_that_was_cut_off() {
    let request = "subject: {type: OrgFunction, id: a/b}\naction: {name: read}\nresource: {type: DataProduct, id: a/b}\n";
    assert_eq!(read_text(format!("{PLACE}\n---\n{request}")).1, []);
    let (_, findings, _) = read_text(format!("{PLACE}\n---\nspec: {{tier: Place}}\n"));
    assert_eq!(findings.iter().map(|it| it.code).collect::<Vec<_>>(), [Code::OtherMeaning]);
}

#[test]
fn a_manifest_that_is_passed_over_for_its_ending_is_held_and_what_only_shows_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap();
        let (snapshot, findings, _) = read(&[folder.path().to_owned()]);
        fs::remove_file(folder.path().join(name)).unwrap();
        (findings.iter().map(|it| it.code).collect::<Vec<_>>(), snapshot.unknown_texts.len())
    };
    let json = r#"{ "apiVersion": "concordat.dev/v1alpha1", "kind": "AgreementSignature" }"#;
    for (name, text) in [
        ("a.txt", PLACE),
        ("a.yaml.bak", PLACE),
        ("a", PLACE),
        ("a.yaml.j2", PLACE),
        ("a.tpl", PLACE),
        ("a.gotmpl", PLACE),
        ("a.kyaml", json),
        ("a.jsonc", json),
    ] {
        assert_eq!(file(name, text), (vec![Code::OtherMeaning], 1), "{name}");
    }
    for name in ["README.md", "a.rs", "a.py"] {
        assert_eq!(file(name, PLACE), (vec![], 0), "{name}");
    }
    let patch = "resources: [a.yaml]\npatches: [{target: {kind: DataSharingAgreement}, patch: \"spec: {suspend: true}\"}]\n";
    assert_eq!(file("kustomization.yaml", patch), (vec![Code::OtherMeaning], 1));
    assert_eq!(file("kustomization.yaml", "resources: [a.yaml]\nnamePrefix: a-\n"), (vec![], 0));
}

#[test]
fn what_is_not_there_to_be_read_may_hold_anything() {
    let (snapshot, findings, _) = read(&[std::path::PathBuf::from("nowhere")]);
    assert_eq!(findings.iter().map(|it| it.code).collect::<Vec<_>>(), [Code::UnreadableFile]);
    assert_eq!(snapshot.unknown_texts.len(), 1);
}

#[test]
fn an_object_that_is_being_deleted_is_told_of() {
    let deleted =
        PLACE.replace("{name: chorley}", "{name: chorley, deletionTimestamp: \"2026-01-01T00:00:00Z\"}");
    let (snapshot, findings, _) = read_text(deleted);
    assert_eq!(findings.iter().map(|it| it.code).collect::<Vec<_>>(), [Code::BeingDeleted]);
    assert_eq!(snapshot.footprints.len(), 1);
}

#[test]
fn a_broken_agreement_that_may_have_said_what_it_replaces_says_that_it_may_replace_any() {
    let agreement = |spec: &str| {
        let meta = "metadata: {namespace: board, name: care}";
        let (snapshot, _, _) = read_text(format!(
            "apiVersion: concordat.dev/v1alpha1\nkind: DataSharingAgreement\n{meta}\n{spec}\n"
        ));
        let [unreadable] = snapshot.unreadable.as_slice() else {
            panic!("{spec}: {:?}", snapshot.unreadable)
        };
        unreadable.spec.get("supersedes").cloned()
    };
    let other = "{namespace: board, name: old}";
    for spec in [
        format!("spec: {{title: x, replaces: {other}}}"),
        format!("spec: {{title: x, outcomeMeasures: [{{supersedes: {other}}}]}}"),
        format!("spec: {{title: x, supersedes: {other}, supersedes: {other}}}"),
        format!("spec: {{title: x}}\nsupersedes: {other}"),
        format!("x: &m {{supersedes: {other}}}\nspec: {{title: x, <<: *m}}"),
    ] {
        assert_eq!(agreement(&spec), Some(serde_json::Value::Null), "{spec}");
    }
    let named = agreement(&format!("spec: {{title: 7, supersedes: {other}}}"));
    assert_eq!(named, Some(serde_json::json!({ "namespace": "board", "name": "old" })));
}
