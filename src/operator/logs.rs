//! Log lines, on stderr: for people on a terminal, or as JSON for machines.

use std::io::{self, IsTerminal as _, Stderr, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use super::LogFormat;
use concordat_core::text::{visible, visible_json};

/// Sets up logging for the process. `RUST_LOG` chooses what is shown. A second call changes nothing.
pub(super) fn init(format: LogFormat) {
    // the client's own lines say once more what the watches and the executor say with its meaning
    let usual = || EnvFilter::new("warn,concordat=info,kube_client=off");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| usual());
    let colours = format == LogFormat::Human && io::stderr().is_terminal();
    let writer = move || Visible { format, colours, inner: io::stderr() };
    let lines = fmt().with_env_filter(filter).with_writer(writer);
    let _set_before = match format {
        LogFormat::Human => lines.with_target(false).with_ansi(colours).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}

/// Writes lines on, in which no text of an object does anything but be seen.
struct Visible<W = Stderr> {
    format: LogFormat,
    /// The lines hold colours. What else begins with an escape character the formatter has spelt out itself.
    colours: bool,
    inner: W,
}

impl<W: Write> Write for Visible<W> {
    /// A line comes whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let seen = match (self.format, self.colours) {
            (LogFormat::Json, _) => visible_json(&text).into_owned(),
            (LogFormat::Human, false) => visible(&text).into_owned(),
            (LogFormat::Human, true) => text.split('\u{1b}').map(visible).collect::<Vec<_>>().join("\u{1b}"),
        };
        self.inner.write_all(seen.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_what_would_act_in_a_terminal() {
        let line = "at \u{1b}[31mred\u{1b}[0m\u{202e}\n";
        for (format, colours, written) in [
            (LogFormat::Human, false, "at \\u{1b}[31mred\\u{1b}[0m\\u{202e}\n"),
            (LogFormat::Human, true, "at \u{1b}[31mred\u{1b}[0m\\u{202e}\n"),
            (LogFormat::Json, false, "at \\u001b[31mred\\u001b[0m\\u202e\n"),
        ] {
            let mut out = Visible { format, colours, inner: Vec::new() };
            out.write_all(line.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(out.inner).unwrap(), written);
        }
    }
}
