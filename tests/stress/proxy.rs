//! What stands between an operator and the API server: it writes down each write, ends the operator after a given
//! one, and plays an API server that refuses connections or says nothing.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::Method;
use axum::response::Response;
use futures::{Stream, StreamExt as _};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// One write as it went to the API server.
#[derive(Clone, Debug)]
pub struct Write {
    pub replica: &'static str,
    pub at: Instant,
    /// Method and path, without the query.
    pub what: String,
    /// What the API server said where it refused.
    pub refused: Option<String>,
}

impl Write {
    pub fn is_lease(&self) -> bool {
        self.what.contains("/leases")
    }
}

/// Every write of every replica, in the order in which the API server was asked.
#[derive(Clone, Debug, Default)]
pub struct Audit(Arc<Mutex<Vec<Write>>>);

impl Audit {
    pub fn all(&self) -> Vec<Write> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All but those of the lease.
    pub fn writes(&self) -> Vec<Write> {
        self.all().into_iter().filter(|write| !write.is_lease()).collect()
    }
}

/// How connections fare.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Line {
    Open,
    /// No one listens, and what was open is cut.
    Refuse,
    /// Connections stay, and nothing comes through any more; those that were caught in it never recover.
    Silence,
}

pub struct Proxy {
    pub addr: SocketAddr,
    line: watch::Sender<Line>,
    shared: Arc<Shared>,
}

struct Shared {
    replica: &'static str,
    upstream: Client,
    audit: Audit,
    /// The writes that may yet be answered; the one after them is carried out, and not answered.
    left: AtomicUsize,
    /// One write at a time, so that they can be counted.
    one: tokio::sync::Mutex<()>,
    tripped: watch::Sender<bool>,
    /// Whether writes of the lease are swallowed.
    lease_lost: watch::Sender<bool>,
    /// How long each write takes at least.
    slow: Mutex<Duration>,
    /// Watches whose path ends like this are told nothing.
    deaf: watch::Sender<Option<&'static str>>,
    /// Writes of network policies in a namespace that begins like this are answered with an error of the server's own.
    failing: Mutex<Option<String>>,
    /// Paths that end like this may not be read.
    unreadable: Mutex<Option<&'static str>>,
}

pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap())
}

impl Proxy {
    pub fn start(replica: &'static str, audit: &Audit) -> Self {
        runtime().block_on(async {
            let kubeconfig = Kubeconfig::read_from(crate::support::kubeconfig().unwrap()).unwrap();
            let options = KubeConfigOptions::default();
            let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
            // who asks is said by the token of the one who asks, and by nothing else
            config.auth_info = AuthInfo::default();
            config.default_retry = false;
            config.read_timeout = None;
            let shared = Arc::new(Shared {
                replica,
                upstream: Client::try_from(config).unwrap(),
                audit: audit.clone(),
                left: AtomicUsize::new(usize::MAX),
                one: tokio::sync::Mutex::new(()),
                tripped: watch::Sender::new(false),
                lease_lost: watch::Sender::new(false),
                slow: Mutex::new(Duration::ZERO),
                deaf: watch::Sender::new(None),
                failing: Mutex::new(None),
                unreadable: Mutex::new(None),
            });
            let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let target = inner.local_addr().unwrap();
            let app = Router::new().fallback(forward).with_state(Arc::clone(&shared));
            tokio::spawn(async { axum::serve(inner, app).await });
            let outer = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = outer.local_addr().unwrap();
            let line = watch::Sender::new(Line::Open);
            tokio::spawn(gate(outer, target, line.subscribe()));
            Self { addr, line, shared }
        })
    }

    /// From now on, answers so many writes; the next is carried out and never answered, and then nothing is.
    pub fn trip_after(&self, writes: usize) {
        self.shared.left.store(writes, Ordering::SeqCst);
        self.shared.tripped.send_replace(false);
    }

    /// Waits for the write that is not answered.
    pub fn has_tripped(&self) -> bool {
        *self.shared.tripped.borrow()
    }

    /// Whether the writes of the lease come through.
    pub fn lose_lease(&self, lost: bool) {
        self.shared.lease_lost.send_replace(lost);
    }

    /// Makes each write take so long at least.
    pub fn slow(&self, by: Duration) {
        *self.shared.slow.lock().unwrap_or_else(PoisonError::into_inner) = by;
    }

    /// Watches of one resource are behind from now on: they go on, end and begin, and tell nothing. What is listed is
    /// as it is.
    pub fn deafen(&self, resource: Option<&'static str>) {
        self.shared.deaf.send_replace(resource);
    }

    /// From now on, the server has an error of its own for each write of a network policy in a namespace that begins like
    /// this, as with a webhook that is down.
    pub fn fail(&self, namespaces: Option<&str>) {
        *self.shared.failing.lock().unwrap_or_else(PoisonError::into_inner) = namespaces.map(str::to_owned);
    }

    /// From now on, one resource may not be read, as where an account has lost a role.
    pub fn forbid_reading(&self, resource: Option<&'static str>) {
        *self.shared.unreadable.lock().unwrap_or_else(PoisonError::into_inner) = resource;
    }

    pub fn line(&self, line: Line) {
        self.line.send_replace(line);
    }
}

async fn forward(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let is_write = matches!(parts.method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE);
    let is_lease = parts.uri.path().contains("/leases");
    if is_lease && *shared.lease_lost.borrow() {
        return std::future::pending().await;
    }
    let what = format!("{} {}", parts.method, parts.uri.path());
    let body = to_bytes(body, 1 << 24).await.unwrap();
    let mut forwarded = axum::http::Request::builder().method(parts.method).uri(parts.uri.clone());
    for (name, value) in &parts.headers {
        if !["host", "connection", "content-length", "transfer-encoding"].contains(&name.as_str()) {
            forwarded = forwarded.header(name, value);
        }
    }
    let forwarded = forwarded.body(kube::client::Body::from(body.to_vec())).unwrap();
    let unreadable = *shared.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
    if !is_write && unreadable.is_some_and(|it| parts.uri.path().ends_with(it)) {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403,
            "message": "User \"operator\" cannot list resource",
        });
        return Response::builder().status(403).body(Body::from(status.to_string())).unwrap();
    }
    if !is_write || is_lease {
        let at = Instant::now();
        let (answer, refused) = answer(shared.upstream.send(forwarded).await).await;
        if is_write {
            note(&shared, at, what, refused);
        }
        if !parts.uri.query().is_some_and(|it| it.contains("watch=")) {
            return answer;
        }
        let path = parts.uri.path().to_owned();
        return answer.map(|body| Body::from_stream(held_back(body, path, shared.deaf.subscribe())));
    }
    let failing = shared.failing.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let fails =
        |it: String| what.contains(&format!("/namespaces/{it}")) && what.contains("/networkpolicies/");
    if failing.is_some_and(fails) {
        note(&shared, Instant::now(), what, None);
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "InternalError", "code": 500,
            "message": "failed calling webhook \"down.example.org\": connection refused",
        });
        return Response::builder().status(500).body(Body::from(status.to_string())).unwrap();
    }
    let one = shared.one.lock().await;
    if *shared.tripped.borrow() {
        drop(one);
        return std::future::pending().await;
    }
    let slow = *shared.slow.lock().unwrap_or_else(PoisonError::into_inner);
    tokio::time::sleep(slow).await;
    let at = Instant::now();
    // a caller that gives up does not undo what has been sent: the write goes on without it
    let sent = Arc::clone(&shared);
    let sent = tokio::spawn(async move { answer(sent.upstream.send(forwarded).await).await });
    let (answer, refused) = sent.await.unwrap();
    note(&shared, at, what, refused);
    let left = shared.left.load(Ordering::SeqCst);
    if left == 0 {
        shared.tripped.send_replace(true);
        drop(one);
        return std::future::pending().await;
    }
    shared.left.store(left.saturating_sub(1), Ordering::SeqCst);
    answer
}

/// What is told on a path, once whoever asks is not deaf to it.
fn held_back(
    body: Body,
    path: String,
    deaf: watch::Receiver<Option<&'static str>>,
) -> impl Stream<Item = Result<Bytes, axum::Error>> {
    // a list comes whole; a watch comes line by line, for as long as it lasts
    body.into_data_stream().then(move |told| {
        let (mut deaf, path) = (deaf.clone(), path.clone());
        async move {
            while deaf.borrow_and_update().is_some_and(|it| path.ends_with(it))
                && deaf.changed().await.is_ok()
            {}
            told
        }
    })
}

fn note(shared: &Shared, at: Instant, what: String, refused: Option<String>) {
    let write = Write { replica: shared.replica, at, what, refused };
    shared.audit.0.lock().unwrap_or_else(PoisonError::into_inner).push(write);
}

async fn answer(
    answer: kube::Result<axum::http::Response<kube::client::Body>>,
) -> (Response, Option<String>) {
    let Ok(answer) = answer else {
        return (Response::builder().status(502).body(Body::empty()).unwrap(), None);
    };
    let (parts, body) = answer.into_parts();
    let mut response = Response::builder().status(parts.status);
    for (name, value) in &parts.headers {
        if !["connection", "transfer-encoding"].contains(&name.as_str()) {
            response = response.header(name, value);
        }
    }
    if parts.status.as_u16() < 400 {
        return (response.body(Body::new(body)).unwrap(), None);
    }
    let text = to_bytes(Body::new(body), 1 << 20).await.unwrap();
    let said = String::from_utf8_lossy(&text).into_owned();
    (response.body(Body::from(text)).unwrap(), Some(said))
}

/// Accepts connections as the line allows.
async fn gate(first: TcpListener, target: SocketAddr, mut line: watch::Receiver<Line>) {
    let addr = first.local_addr().unwrap();
    let mut listener = Some(first);
    loop {
        let now = *line.borrow_and_update();
        if now == Line::Refuse {
            listener = None;
            if line.changed().await.is_err() {
                return;
            }
            continue;
        }
        let accepting = match &listener {
            Some(listener) => listener,
            None => {
                // the port was ours a moment ago; connections of before may still be closing
                match TcpListener::bind(addr).await {
                    Ok(fresh) => listener.insert(fresh),
                    Err(_) => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        continue;
                    }
                }
            }
        };
        tokio::select! {
            accepted = accepting.accept() => {
                if let Ok((stream, _)) = accepted {
                    tokio::spawn(carry(stream, target, line.clone()));
                }
            }
            changed = line.changed() => if changed.is_err() { return },
        }
    }
}

async fn carry(mut stream: TcpStream, target: SocketAddr, mut line: watch::Receiver<Line>) {
    let silent = *line.borrow() == Line::Silence;
    let copy = async move {
        // who connects while nothing comes through waits, too
        if silent {
            std::future::pending::<()>().await;
        }
        if let Ok(mut server) = TcpStream::connect(target).await {
            let _ended = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
        }
    };
    let cut = async {
        loop {
            let now = *line.borrow_and_update();
            if now != Line::Open || line.changed().await.is_err() {
                return now;
            }
        }
    };
    let caught = tokio::select! {
        () = copy => return,
        caught = cut => caught,
    };
    if caught == Line::Silence {
        // open to the eye, and dead: until the other side gives up
        tokio::time::sleep(Duration::from_secs(600)).await;
    }
}
