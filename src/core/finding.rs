//! Findings: everything wrong with what users wrote, each with a stable code and a place.

use std::fmt;

use serde::Serialize;

use super::text::{in_one_line, masked};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Severity {
    /// The object, or a part of it, is not used until this is fixed.
    Error,
    /// Worth knowing; the object is used.
    Warning,
}

macro_rules! codes {
    ($($name:ident $code:literal $severity:ident $title:literal;)*) => {
        /// What is wrong, as a stable code. The text of the code never changes its meaning.
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Hash)]
        pub enum Code { $(#[doc = $title] $name,)* }

        impl Code {
            /// Every code, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as users see it, such as `CON101`.
            pub fn as_str(self) -> &'static str { match self { $(Self::$name => $code,)* } }

            /// How bad it is.
            pub fn severity(self) -> Severity { match self { $(Self::$name => Severity::$severity,)* } }

            /// One line on what it means.
            pub fn title(self) -> &'static str { match self { $(Self::$name => $title,)* } }

            /// The name as one word, the `reason` of a condition.
            pub fn reason(self) -> &'static str { match self { $(Self::$name => stringify!($name),)* } }
        }
    };
}

codes! {
    UnreadableFile "CON001" Error "a file or folder cannot be read";
    InvalidYaml "CON002" Error "the text is not YAML that can be read";
    DuplicateKey "CON003" Error "duplicate key";
    TooLarge "CON004" Error "the text is larger or deeper than what is read";
    UnknownField "CON005" Error "the kind has no such field";
    InvalidField "CON006" Error "a field's value does not fit its schema";
    ShapeRule "CON007" Error "the object breaks a rule of its kind";
    MissingNamespace "CON008" Error "a namespaced object in a file does not name its namespace";
    UnknownKind "CON009" Error "`concordat.dev/v1alpha1` has no such kind";
    NhsNumber "CON010" Error "a text holds a valid NHS number";
    UnsafeText "CON011" Error "a text holds a control or bidirectional character";
    DuplicateObject "CON012" Error "two objects have the same kind, namespace and name";
    OperatorOwned "CON013" Error "only the operator writes this kind";
    OtherMeaning "CON014" Error "kubectl reads this text differently, or not at all";
    WrappedObject "CON015" Error "an object of ours is inside another one, from which it is not read";
    Encrypted "CON016" Error "a file of ours is encrypted";
    IgnoredManifest "CON017" Warning "`.concordatignore` names a file in which our group occurs, and which is read all the same";
    IgnorePattern "CON018" Warning "a line of `.concordatignore` cannot be used";
    BeingDeleted "CON019" Warning "a file holds an object that is being deleted, and gives no access by it";

    OrgNotFound "CON101" Error "no such organisation";
    FunctionNotFound "CON102" Error "the organisation has no such function";
    ProductNotFound "CON103" Error "no such data product";
    FootprintNotFound "CON104" Error "no such footprint";
    FrameworkNotFound "CON105" Error "no such framework";
    AgreementNotFound "CON106" Warning "no such agreement; an error where a no is about one of nearly that name";
    FootprintCycle "CON107" Error "a footprint is its own ancestor";

    HomeNamespaceShared "CON201" Error "two organisations have the same home namespace";
    NamespaceClaimedTwice "CON202" Error "a namespace belongs to two functions";
    ServiceAccountsNotSelected "CON203" Warning "a network policy cannot see service accounts";
    ClusterNamed "CON204" Error "an object names a cluster, and the operator runs without `--cluster`";
    ClusterMissing "CON205" Error "an object names no cluster, and the operator runs with `--cluster`";
    InvalidCidr "CON206" Error "not a block of IP addresses";
    NoGateway "CON207" Warning "an organisation has no gateway for a cluster that it is reached from";
    SuccessorCycle "CON208" Warning "an organisation is its own successor";

    InvalidSelector "CON209" Error "the API server refuses a label selector, or no pod can satisfy it";
    BroadSelector "CON210" Warning "a selector asks for no label, and selects nearly every pod";
    GatewaysOverlap "CON211" Warning "the addresses of two gateways overlap";
    WorkloadTwice "CON212" Error "a function lists the same pods twice";
    DelegatedTwice "CON213" Error "a purpose is delegated to one organisation twice";
    AssuranceAhead "CON214" Warning "an assurance is dated in the future";
    EndAhead "CON215" Warning "an organisation has ended, and its end is said to lie ahead";
    ExemptLapses "CON216" Warning "an exempt organisation has a registration that lapses";

    ProductNamespace "CON301" Error "a product is in a namespace that is not its controller's";
    UnlistedCategory "CON302" Warning "the framework does not list this category";
    DerivedFlags "CON303" Error "a derived product has fewer flags than what it is made from";
    DerivedCycle "CON304" Error "a product is made from itself";
    EndpointsOverlap "CON305" Warning "two products may select the same pods";
    RoleShared "CON306" Error "a database role acts for two functions";
    RelationShared "CON307" Error "a relation of a database belongs to two products";
    DatabaseName "CON308" Error "PostgreSQL does not take a name as it is written";

    ProductControllerNotParty "CON401" Error "a product's controller is not a Controller party";
    RecipientNotParty "CON402" Error "a purpose names a recipient that is not a Recipient party";
    DuplicateParty "CON403" Error "an organisation is listed twice with the same role and function";
    UnknownPurpose "CON404" Error "the framework does not list this purpose";
    ProhibitedPurpose "CON405" Warning "the framework never allows this purpose";
    UnlistedRole "CON406" Warning "the framework does not list this role";
    DuplicateReference "CON407" Error "two agreements have the same reference";
    SupersedesCycle "CON408" Error "agreements supersede each other in a circle";
    FrameworkNotEffective "CON409" Error "the framework is not in effect at this moment";
    RuleBroken "CON410" Error "the agreement breaks a national rule, and is refused";
    SuccessorUnreadable "CON411" Error "an agreement that cannot be read may have taken this one's place";
    RecordAhead "CON412" Warning "something that has been is dated in the future";
    FinerThanSigned "CON413" Warning "a date is finer than the milliseconds that parties sign";
    ListedTwice "CON414" Error "an agreement lists one thing twice";
    SupersedesItself "CON415" Error "an agreement names itself as the one that it replaces";
    NotSaidReplaced "CON416" Warning "an agreement has been replaced, and does not say by which";
    SuccessorNotInForce "CON417" Warning "an agreement says that it has been replaced, by one that is not there or not in force";
    PathClosed "CON418" Warning "a national rule closes paths of an agreement that no rule refuses";
    EmergencySupersedes "CON440" Error "an emergency agreement says that it replaces another one";
    EndsSoon "CON441" Warning "an agreement, a path of it, or what a local policy permits ends soon by itself";

    SignatureNamespace "CON501" Error "a signature is outside the party's home namespace";
    SecondSignature "CON502" Error "a party has two signatures on one agreement, and neither counts";
    OtherTerms "CON503" Warning "a signature is on other terms than the current ones";
    NotAParty "CON504" Error "who signed is not a party of the agreement";
    PurposeNotInAgreement "CON505" Error "a signature names a purpose that the agreement does not have";
    PurposeNotDelegated "CON506" Warning "a delegate signs for a purpose that is not delegated to it";

    FrameworkPolicies "CON602" Error "a framework's policies cannot be loaded";
    FrameworkText "CON603" Error "a framework has the name and version of the built-in one, but another text";
    ExceptionRefused "CON604" Error "the framework does not let this rule be lifted";
    ExceptionOver "CON605" Warning "a rule closes paths of an agreement for which it was lifted, or will be";

    PolicyNamespace "CON701" Error "a local policy is outside its footprint's policy namespaces";
    PolicyText "CON702" Error "a local policy's text cannot be parsed or is not valid";
    PolicyAnnotation "CON703" Error "a local rule lacks an annotation, or has no `@id` that tells it apart";
    PolicyTestFailed "CON704" Error "a local policy fails one of its own tests, or has one that tests nothing";
    PolicyWaiting "CON705" Warning "a local policy refers to something that is not there yet";
    PolicyReview "CON706" Warning "a local policy is past its review date";
    PolicyNationalId "CON707" Error "a local rule has the id of a national one";
    PolicyAgreement "CON708" Error "a local permit does not name its agreement";
    PolicyParity "CON709" Error "a local rule treats a sector by its name, or the voluntary sector worse than the NHS";
    PolicyNoEffect "CON710" Warning "a local permit can never take effect";
    PolicyWord "CON711" Warning "a local rule compares with a word that the vocabulary does not have";
    PolicyCanFail "CON712" Error "a rule can fail when it is evaluated";
    PolicyOneFunction "CON714" Error "a local rule asks for one function, which no workload is";
    PolicyUntested "CON713" Warning "no test of a local policy makes one of its rules fire";

    PopulationBand "CON801" Warning "a place's population lies outside the usual band";
    TestWithoutMoment "CON802" Error "a policy test does not say when the question is asked";
    GeographyTwice "CON803" Error "a footprint lists one area twice at the same time";
    ExceptionLong "CON804" Warning "an exception has no end in sight";
    ExceptionsOverlap "CON805" Warning "two exceptions lift one rule for one place at the same time";

    ClusterUnreadable "CON901" Error "a kind cannot be read from the cluster";
    Undecodable "CON902" Error "an object in the cluster cannot be decoded";
    IsolationMissing "CON903" Error "a product or a managed function is not isolated as planned";
    NotAsPlanned "CON904" Error "an object of the operator is missing or has been edited";
    Orphan "CON905" Error "an object of the operator is not in the plan";
    PolicyWidens "CON906" Error "another network policy lets through more than the agreements open";
    StatusBehind "CON907" Warning "a status says something else than the judgement";
    NoEnforcer "CON908" Warning "no network plugin is known to enforce network policies here";
    NoGuard "CON909" Warning "no admission policy keeps others off the operator's objects";
    NamespaceNotFound "CON910" Warning "an object names a namespace that the cluster does not have";
    ClusterLeftOut "CON911" Warning "an object names no cluster, and others do";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Which object a finding is about.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Hash)]
pub struct ObjectKey {
    pub kind: String,
    /// None for cluster-scoped kinds.
    pub namespace: Option<String>,
    pub name: String,
}

impl ObjectKey {
    /// The key of an object.
    pub fn new(kind: &str, namespace: Option<&str>, name: &str) -> Self {
        Self { kind: kind.to_owned(), namespace: namespace.map(str::to_owned), name: name.to_owned() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// Where a finding is: a place in a file, an object and a field, as far as they are known.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Origin {
    pub file: Option<String>,
    /// From 1.
    pub line: Option<u32>,
    /// From 1, in characters.
    pub column: Option<u32>,
    pub object: Option<ObjectKey>,
    /// Such as `spec.parties[1].org`.
    pub field: Option<String>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if let Some(file) = &self.file {
            f.write_str(file)?;
            if let (Some(line), Some(column)) = (self.line, self.column) {
                write!(f, ":{line}:{column}")?;
            }
            separator = " ";
        }
        if let Some(object) = &self.object {
            write!(f, "{separator}{object}")?;
            separator = " ";
        }
        if let Some(field) = &self.field {
            write!(f, "{separator}{field}")?;
        }
        Ok(())
    }
}

/// One thing that is wrong, or worth knowing.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    pub code: Code,
    pub severity: Severity,
    /// What is wrong: lowercase, no full stop, what the user wrote in backticks.
    pub message: String,
    /// What would work.
    pub help: Option<String>,
    pub origin: Origin,
    /// The object that was referred to and cannot be found, for whoever knows that it is there and broken.
    #[serde(skip)]
    pub missing: Option<ObjectKey>,
}

impl Finding {
    /// A finding with its code's own severity. What it quotes is shown without NHS numbers, in one line, and with what
    /// no one would see spelt out.
    pub fn new(code: Code, origin: Origin, message: impl Into<String>) -> Self {
        let message = in_one_line(&masked(&message.into())).into_owned();
        Self { code, severity: code.severity(), message, help: None, origin, missing: None }
    }

    /// Adds what would help.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(in_one_line(&masked(&help.into())).into_owned());
        self
    }

    /// Whether this is an error, to `check` and to pipelines.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Whether this keeps the object from being used. An error that somebody else can cause by an object of their own does
    /// not: no one closes what is not theirs.
    pub fn refuses(&self) -> bool {
        self.is_error() && !matches!(self.code, Code::DuplicateReference | Code::SupersedesCycle)
    }
}

/// Puts findings into the order of reading: by file, line, object, field and code; each once.
pub fn sort(findings: &mut Vec<Finding>) {
    findings.sort_by(|a, b| (&a.origin, a.code, &a.message).cmp(&(&b.origin, b.code, &b.message)));
    findings.dedup();
}
