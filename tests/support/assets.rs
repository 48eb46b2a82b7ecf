//! A control plane from programs that are there already: `KUBEBUILDER_ASSETS`, as `setup-envtest` fills it.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;

use super::process::Process;

const START_LIMIT: Duration = Duration::from_secs(120);

/// It guards a server on loopback that lives as long as a test run.
const TOKEN: &str = "concordat-test-administrator";

/// Starts etcd and kube-apiserver and waits until they answer. The processes are in the order to stop them.
pub fn start(programs: &Path, folder: &Path) -> Result<(PathBuf, Vec<Process>), String> {
    for name in ["etcd", "kube-apiserver", "kubectl"] {
        if !programs.join(name).is_file() {
            return Err(format!("KUBEBUILDER_ASSETS is `{}`, which has no `{name}`", programs.display()));
        }
    }
    write_keys(folder).map_err(|error| format!("the keys of kube-apiserver: {error}"))?;
    let [etcd_port, peer_port, server_port] = free_ports()?;

    let etcd_url = format!("http://127.0.0.1:{etcd_port}");
    let peer_url = format!("http://127.0.0.1:{peer_port}");
    let mut etcd = Process::start_guarded(
        "etcd",
        &programs.join("etcd"),
        &[
            format!("--data-dir={}", folder.join("etcd").display()),
            format!("--listen-client-urls={etcd_url}"),
            format!("--advertise-client-urls={etcd_url}"),
            format!("--listen-peer-urls={peer_url}"),
            format!("--initial-advertise-peer-urls={peer_url}"),
            format!("--initial-cluster=default={peer_url}"),
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ],
    )?;
    etcd.wait_for("its port to open", START_LIMIT, || {
        Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, etcd_port)).ok().map(drop))
    })?;

    let file = |name: &str| folder.join(name).display().to_string();
    let mut server = Process::start_guarded(
        "kube-apiserver",
        &programs.join("kube-apiserver"),
        &[
            format!("--etcd-servers={etcd_url}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            format!("--secure-port={server_port}"),
            format!("--cert-dir={}", folder.display()),
            format!("--tls-cert-file={}", file("server.crt")),
            format!("--tls-private-key-file={}", file("server.key")),
            format!("--token-auth-file={}", file("tokens.csv")),
            format!("--service-account-key-file={}", file("accounts.pub")),
            format!("--service-account-signing-key-file={}", file("accounts.key")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            "--allow-privileged=true".to_owned(),
            // Without the controller that makes default service accounts, no pod could be created.
            "--disable-admission-plugins=ServiceAccount".to_owned(),
        ],
    )?;

    let kubeconfig = folder.join("kubeconfig");
    let url = format!("https://127.0.0.1:{server_port}");
    fs::write(&kubeconfig, kubeconfig_text(&url, &folder.join("ca.crt")))
        .map_err(|error| format!("{}: {error}", kubeconfig.display()))?;
    server.wait_for("its readiness", START_LIMIT, || {
        Command::new(programs.join("kubectl"))
            .arg("--kubeconfig")
            .arg(&kubeconfig)
            .args(["--request-timeout=2s", "get", "--raw=/readyz"])
            .stdin(Stdio::null())
            .output()
            .map(|output| output.status.success().then_some(()))
            .map_err(|error| format!("kubectl: {error}"))
    })?;
    Ok((kubeconfig, vec![server, etcd]))
}

/// JSON, which is YAML too.
fn kubeconfig_text(server: &str, authority: &Path) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "admin" } }],
        "clusters": [{ "name": "test", "cluster": { "server": server, "certificate-authority": authority } }],
        "users": [{ "name": "admin", "user": { "token": TOKEN } }],
    })
    .to_string()
}

fn write_keys(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "concordat test authority");
    let authority_key = KeyPair::generate()?;
    fs::write(folder.join("ca.crt"), authority.self_signed(&authority_key)?.pem())?;
    let issuer = Issuer::new(authority, authority_key);

    let server_key = KeyPair::generate()?;
    let server = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
    fs::write(folder.join("server.crt"), server.signed_by(&server_key, &issuer)?.pem())?;
    fs::write(folder.join("server.key"), server_key.serialize_pem())?;

    let accounts = KeyPair::generate()?;
    fs::write(folder.join("accounts.key"), accounts.serialize_pem())?;
    fs::write(folder.join("accounts.pub"), accounts.public_key_pem())?;

    fs::write(folder.join("tokens.csv"), format!("{TOKEN},admin,admin,\"system:masters\"\n"))?;
    Ok(())
}

/// Ports no one has now. These programs cannot be given a listener, so another process may yet be faster: they
/// then fail to start, and say so.
fn free_ports<const N: usize>() -> Result<[u16; N], String> {
    let mut held = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| format!("a free port: {error}"))?;
        *port = listener.local_addr().map_err(|error| format!("a free port: {error}"))?.port();
        held.push(listener);
    }
    Ok(ports)
}
