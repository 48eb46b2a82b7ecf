//! The real operator, in a process of its own, with the rights that its chart gives it and no others.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::proxy::{Proxy, runtime};
use crate::support::world::connect;
use crate::support::{self, Process, helm};

/// The name that the chart gives everything.
const NAME: &str = "concordat-operator";

/// The operator's account.
pub struct Account {
    pub namespace: String,
    token: String,
}

/// Made once: the rights of the chart, bound to an account of a new namespace.
pub fn account() -> &'static Account {
    static ACCOUNT: OnceLock<Account> = OnceLock::new();
    ACCOUNT.get_or_init(|| {
        let namespace = support::unique("concordat-system");
        let image = ["--set", "image.repository=registry.example.org/concordat"];
        let chart = helm::template(&helm::operator_chart(), &namespace, &image).unwrap();
        runtime().block_on(async {
            let client = connect().await;
            apply(
                &client,
                &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
            )
            .await;
            let mut kinds = BTreeSet::new();
            for object in chart.iter().filter(|object| is_right(object)) {
                kinds.insert(object["kind"].as_str().unwrap());
                apply(&client, object).await;
            }
            let rights = ["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount"];
            assert!(rights.iter().all(|kind| kinds.contains(kind)), "the chart gives {kinds:?}");
            let accounts: Api<ServiceAccount> = Api::namespaced(client, &namespace);
            let spec = TokenRequestSpec { expiration_seconds: Some(7200), ..TokenRequestSpec::default() };
            let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
            let token = accounts.create_token_request(NAME, &PostParams::default(), &request).await.unwrap();
            Account { namespace, token: token.status.unwrap().token.unwrap() }
        })
    })
}

/// What says what the operator may do. What keeps others off its objects is left out: here, others meddle.
fn is_right(object: &Value) -> bool {
    let name = object["metadata"]["name"].as_str().unwrap();
    match object["kind"].as_str().unwrap() {
        "ServiceAccount" | "Role" | "RoleBinding" => true,
        "ClusterRole" | "ClusterRoleBinding" => name == NAME,
        "ValidatingAdmissionPolicy" | "ValidatingAdmissionPolicyBinding" => {
            name.starts_with("concordat-operator-")
        }
        _ => false,
    }
}

async fn apply(client: &Client, object: &Value) {
    let object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    let kind = GroupVersionKind::try_from(object.types.as_ref().unwrap()).unwrap();
    let (resource, _) = kube::discovery::pinned_kind(client, &kind).await.unwrap();
    let api: Api<DynamicObject> = match object.namespace() {
        Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let params = PatchParams::apply("stress").force();
    api.patch(&object.name_any(), &params, &Patch::Apply(&object)).await.unwrap();
}

/// One running operator.
pub struct Replica {
    process: Process,
    pub health: SocketAddr,
    _kubeconfig: tempfile::NamedTempFile,
}

impl Replica {
    /// Starts one behind a proxy.
    pub fn start(proxy: &Proxy) -> Self {
        Self::start_with(proxy, &[])
    }

    /// Starts one that stands for election, for the one lease that the chart's rights are about.
    pub fn start_electing(proxy: &Proxy) -> Self {
        Self::start_with(proxy, &["--leader-elect", &format!("--lease-namespace={}", account().namespace)])
    }

    pub fn start_with(proxy: &Proxy, more: &[&str]) -> Self {
        let account = account();
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "operator",
            "contexts": [{"name": "operator", "context": {
                "cluster": "proxy", "user": "operator", "namespace": account.namespace,
            }}],
            "clusters": [{"name": "proxy", "cluster": {"server": format!("http://{}", proxy.addr)}}],
            "users": [{"name": "operator", "user": {"token": account.token}}],
        });
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), kubeconfig.to_string()).unwrap();
        let health = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut arguments = vec![
            "run".to_owned(),
            format!("--health-addr={health}"),
            "--log-format=json".to_owned(),
            format!("--kubeconfig={}", file.path().display()),
        ];
        arguments.extend(more.iter().map(|&it| it.to_owned()));
        let binary = Path::new(env!("CARGO_BIN_EXE_concordat"));
        let process = Process::start_guarded("the operator", binary, &arguments).unwrap();
        Self { process, health, _kubeconfig: file }
    }

    /// Ends it without a word, as `kill -9` does.
    pub fn kill(mut self) {
        self.process.abandon(Duration::from_secs(10)).unwrap();
    }

    /// Asks it to end, and waits until it has.
    pub fn terminate(mut self) {
        self.signal("TERM");
        let ended = self.process.wait_for("its end", Duration::from_secs(20), || Ok(None::<()>)).unwrap_err();
        assert!(ended.contains("exit status: 0"), "{ended}");
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.process.pid().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Whether the process is there no more, though no one has ended it.
    pub fn has_ended(&self) -> bool {
        !Path::new(&format!("/proc/{}/exe", self.process.pid())).exists()
    }

    pub fn log(&self) -> String {
        self.process.tail()
    }

    /// A page of the health checks' port.
    pub fn page(&self, path: &str) -> String {
        self.answer(path).unwrap()
    }

    /// The status code of a health check; nothing while no one listens.
    pub fn asked(&self, path: &str) -> Option<u16> {
        self.answer(path)?.split(' ').nth(1)?.parse().ok()
    }

    fn answer(&self, path: &str) -> Option<String> {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(self.health).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    pub fn until_ready(&self) {
        support::until("the operator to be ready", Duration::from_secs(60), || {
            Ok((self.asked("/readyz") == Some(200)).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
    }
}
