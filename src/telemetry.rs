//! What goes to stderr: one line per thing that matters. Never bodies, queries, headers or personal data; whoever logs
//! passes ids, counts, names and durations as fields.

use std::{fmt::Write as _, io::IsTerminal as _};

use tracing::{Event, Level, Subscriber, field::Field};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    field::Visit,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use crate::config::{Format, Log};

/// Parses `[log] level`; the error says what is wrong.
pub fn filter(level: &str) -> Result<EnvFilter, String> {
    if level.contains(['=', ',', ':']) {
        return EnvFilter::try_new(level).map_err(|error| error.to_string());
    }
    // A single word that is no level would be taken for a module's name, which silences everything.
    if !["off", "error", "warn", "info", "debug", "trace"].contains(&level) {
        return Err(format!("{level:?} is no level"));
    }
    Ok(EnvFilter::new(level))
}

/// Starts logging for the process. POSTBACKD_LOG overrides the level. A second call changes nothing.
pub fn start(log: &Log) {
    let level = std::env::var("POSTBACKD_LOG").unwrap_or_else(|_| log.level.clone());
    let filter = filter(&level).unwrap_or_else(|_| EnvFilter::new("info"));
    let under_systemd = std::env::var_os("JOURNAL_STREAM").is_some();
    let format = log.format.unwrap_or(if under_systemd { Format::Journal } else { Format::Text });
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = match format {
        Format::Text => layer.with_ansi(std::io::stderr().is_terminal()).with_target(false).boxed(),
        Format::Json => layer.json().flatten_event(true).with_current_span(false).boxed(),
        Format::Journal => layer.with_ansi(false).event_format(Journal).boxed(),
    };
    // Only a second start in one process fails, and then logging works already.
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
}

/// `<4>destination halted destination=meta why=".."`: journald takes the priority from the prefix and adds the time itself.
struct Journal;

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> std::fmt::Result {
        let mut line = Line::default();
        event.record(&mut line);
        write!(to, "<{}>{}{}", priority(*event.metadata().level()), line.message, line.fields)?;
        for span in context.event_scope().into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<tracing_subscriber::fmt::FormattedFields<N>>().filter(|fields| !fields.is_empty()) {
                write!(to, " {}", one_line(fields))?;
            }
        }
        writeln!(to)
    }
}

/// syslog's numbers.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = one_line(value),
            name if value.contains([' ', '"', '=', '\n']) => _ = write!(self.fields, " {name}={value:?}"),
            name => _ = write!(self.fields, " {name}={value}"),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// A line break would make two entries of one, the second without its priority.
fn one_line(text: &str) -> String {
    text.replace('\n', "\\n").replace('\r', "\\r")
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("a lock").write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn journal_lines_carry_a_priority_and_are_one_line() {
        let memory = Memory::default();
        let writer = memory.clone();
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone()).event_format(Journal);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::error!(destination = "meta", why = "token\nrefused", waiting = 12, "destination halted");
            tracing::info!("two\nlines");
        });
        let text = String::from_utf8(memory.0.lock().expect("a lock").clone()).expect("text");
        assert_eq!(text, "<3>destination halted destination=meta why=\"token\\nrefused\" waiting=12\n<6>two\\nlines\n");
    }

    #[test]
    fn a_misspelt_level_is_an_error() {
        for good in ["info", "debug", "info,postbackd::http=debug", "off"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["inof", "postbackd=loud", ""] {
            assert!(filter(bad).is_err(), "{bad}");
        }
    }
}
