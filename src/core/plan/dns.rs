//! Where a cluster's pods resolve names: what a Managed function may reach beside what agreements open.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

/// The servers that Managed functions may ask, at least one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dns {
    servers: Vec<DnsServer>,
}

impl Dns {
    /// Some servers; where there are none, the usual ones: a function that resolves nothing reaches nothing.
    pub fn new(servers: Vec<DnsServer>) -> Self {
        if servers.is_empty() { Self::default() } else { Self { servers } }
    }

    /// The servers by port, each in the order given.
    pub(super) fn by_port(&self) -> BTreeMap<u16, Vec<&DnsPeer>> {
        let mut ports: BTreeMap<u16, Vec<&DnsPeer>> = BTreeMap::new();
        for DnsServer { peer, port } in &self.servers {
            let peers = ports.entry(*port).or_default();
            // a list that is a set has no doubles
            if !peers.contains(&peer) {
                peers.push(peer);
            }
        }
        ports
    }
}

impl Default for Dns {
    /// CoreDNS or kube-dns in `kube-system`, or the link-local address at which NodeLocal DNSCache listens.
    fn default() -> Self {
        let kube_system = DnsPeer::Pods { namespace: "kube-system".to_owned(), labels: BTreeMap::new() };
        let node_local = DnsPeer::Address(IpAddr::from([169, 254, 20, 10]));
        Self { servers: [kube_system, node_local].map(|peer| DnsServer { peer, port: 53 }).to_vec() }
    }
}

/// A server, and the port at which its pods themselves listen: a network policy sees no Service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DnsServer {
    pub(super) peer: DnsPeer,
    pub(super) port: u16,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum DnsPeer {
    /// The pods of a namespace that carry all of some labels.
    Pods {
        namespace: String,
        labels: BTreeMap<String, String>,
    },
    Address(IpAddr),
}

/// A text that names no server.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum NoServer {
    #[error(
        "write `NAMESPACE:PORT`, `NAMESPACE:PORT,LABEL=VALUE` or `ADDRESS:PORT`, such as `kube-system:53`"
    )]
    Form,
    #[error("`{0}` is not a port between 1 and 65535")]
    Port(String),
    #[error("`{0}` is neither the name of a namespace nor an IP address")]
    Place(String),
    #[error("`{0}` is not a label of a pod, such as `k8s-app=kube-dns`")]
    Label(String),
}

impl FromStr for DnsServer {
    type Err = NoServer;

    fn from_str(text: &str) -> Result<Self, NoServer> {
        let mut parts = text.split(',');
        let (place, port) = parts.next().and_then(|first| first.rsplit_once(':')).ok_or(NoServer::Form)?;
        let number = port.parse().ok().filter(|port: &u16| *port > 0);
        let port = number.ok_or_else(|| NoServer::Port(port.to_owned()))?;
        let labels: BTreeMap<String, String> = parts
            .map(|label| {
                let is_good = |(key, value): &(&str, &str)| is_label_key(key) && is_label_value(value);
                let (key, value) =
                    label.split_once('=').filter(is_good).ok_or_else(|| NoServer::Label(label.to_owned()))?;
                Ok((key.to_owned(), value.to_owned()))
            })
            .collect::<Result<_, NoServer>>()?;
        let address = place.strip_prefix('[').and_then(|place| place.strip_suffix(']')).unwrap_or(place);
        let peer = match address.parse() {
            Ok(address) if labels.is_empty() => DnsPeer::Address(address),
            Ok(_) => return Err(NoServer::Form),
            Err(_) if is_name(place, 63, |c| c.is_ascii_lowercase()) && !place.contains(['.', '_']) => {
                DnsPeer::Pods { namespace: place.to_owned(), labels }
            }
            Err(_) => return Err(NoServer::Place(place.to_owned())),
        };
        Ok(Self { peer, port })
    }
}

impl fmt::Display for DnsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, port } = self;
        match peer {
            DnsPeer::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{port}"),
            DnsPeer::Address(address) => write!(f, "{address}:{port}"),
            DnsPeer::Pods { namespace, labels } => {
                write!(f, "{namespace}:{port}")?;
                labels.iter().try_for_each(|(key, value)| write!(f, ",{key}={value}"))
            }
        }
    }
}

/// Whether a text is letters, digits and marks that starts and ends with no mark, of a length that is taken.
fn is_name(text: &str, longest: usize, is_letter: impl Fn(char) -> bool) -> bool {
    let is_end = |c: char| is_letter(c) || c.is_ascii_digit();
    text.len() <= longest
        && text.starts_with(is_end)
        && text.ends_with(is_end)
        && text.chars().all(|c| is_end(c) || matches!(c, '-' | '_' | '.'))
}

fn is_label_key(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let is_part = |part: &str| is_name(part, 63, |c| c.is_ascii_lowercase()) && !part.contains('_');
    prefix.is_none_or(|prefix| prefix.len() <= 253 && prefix.split('.').all(is_part))
        && is_name(name, 63, |c| c.is_ascii_alphabetic())
}

fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_name(value, 63, |c| c.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_written_as_it_is_read() {
        for text in [
            "kube-system:53",
            "openshift-dns:5353,dns.operator.openshift.io/daemonset-dns=default",
            "kube-system:53,k8s-app=kube-dns,tier=",
            "169.254.20.10:53",
            "[fd00::a]:53",
        ] {
            assert_eq!(text.parse::<DnsServer>().map(|server| server.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for text in [
            "",
            "kube-system",
            "kube-system:",
            "kube-system:0",
            "kube-system:70000",
            ":53",
            "Kube:53",
            "a.b:53",
            "kube-system:53,",
            "kube-system:53,k8s app=x",
            "kube-system:53,a/b/c=x",
            "kube-system:53,a=é",
            "10.0.0.0/8:53",
            "169.254.20.10:53,a=b",
        ] {
            assert!(text.parse::<DnsServer>().is_err(), "{text}");
        }
    }
}
