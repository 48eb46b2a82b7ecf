//! A live cluster for a command: which one, how it is reached, and what to say where it cannot be.

use std::error::Error;
use std::path::Path;

use super::output::Printer;
use concordat_core::snapshot::ClusterView;
use concordat_operator::Options;
use concordat_source::live::{self, Judged, Live, ReadError};
use kube::Client;

/// Which cluster is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection<'a> {
    /// The kubeconfig; without one, the usual place.
    pub(super) kubeconfig: Option<&'a Path>,
    /// The context within it; without one, its current one.
    pub(super) context: Option<&'a str>,
}

impl Connection<'_> {
    /// Reads everything that `check` looks at, or says why it cannot be read.
    pub(super) fn read(self, view: ClusterView, printer: &mut Printer) -> Option<Live> {
        self.ask(async |client| live::read(&client, view).await, printer)
    }

    /// Reads the objects that judging needs, or says why they cannot be read.
    pub(super) fn read_judged(self, view: ClusterView, printer: &mut Printer) -> Option<Judged> {
        self.ask(async |client| live::read_judged(&client, view).await, printer)
    }

    fn ask<T>(
        self,
        question: impl AsyncFnOnce(Client) -> Result<T, ReadError>,
        printer: &mut Printer,
    ) -> Option<T> {
        let Self { kubeconfig, context } = self;
        let options = Options {
            kubeconfig: kubeconfig.map(Path::to_path_buf),
            context: context.map(str::to_owned),
            ..Options::default()
        };
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                printer.error(format!("the cluster cannot be asked: {error}"), None);
                return None;
            }
        };
        let progress = printer.progress("reading the cluster");
        let outcome = runtime.block_on(async {
            let config = concordat_operator::config(&options).await.map_err(|error| {
                let help = match (kubeconfig, context) {
                    (None, None) => "name one with `--kubeconfig FILE`, or set KUBECONFIG",
                    _ => "see that the file is there, is a kubeconfig, and has the context",
                };
                (in_one_line(&error), help.to_owned())
            })?;
            let server = config.cluster_url.to_string();
            let client = concordat_operator::client_of(config)
                .map_err(|error| (in_one_line(&error), "see that the kubeconfig is whole".to_owned()))?;
            question(client).await.map_err(|error| {
                let help = match &error {
                    ReadError::TooMany { .. } => "check the files that they come from".to_owned(),
                    _ => format!(
                        "see that `{}` is right and can be reached from here, as `kubectl get dsa -A` would",
                        server.trim_end_matches('/')
                    ),
                };
                (in_one_line(&error), help)
            })
        });
        drop(progress);
        match outcome {
            Ok(live) => Some(live),
            Err((message, help)) => {
                printer.error(message, Some(&help));
                None
            }
        }
    }
}

/// An error with its causes, each said once.
fn in_one_line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // a name of the client library's own
        let next = next.strip_prefix("ServiceError: ").unwrap_or(&next);
        if !text.contains(next) {
            text.push_str(&format!(": {next}"));
        }
        cause = error.source();
    }
    text
}
