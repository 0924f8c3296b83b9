//! Everything that `/metrics` tells: names, types, labels, meanings. docs/metrics.md says the same to people, examples/ asks for
//! these names; tests compare all three.

/// `TYPE` of the exposition format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Type {
    Counter,
    Gauge,
    Histogram,
}

impl Type {
    /// As it stands there.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Described {
    /// As it is told, with its unit and a counter's `_total`.
    pub name: &'static str,
    /// Its type.
    pub metric: Type,
    /// Names of its labels, in this order.
    pub labels: &'static [&'static str],
    /// One sentence, without its full stop.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident: $metric:ident $name:literal $labels:tt $help:literal;)+) => {
        $(#[doc = $help] pub const $constant: Described =
            Described { name: $name, metric: Type::$metric, labels: &$labels, help: $help };)+
        /// All of them, in the order in which they are told.
        pub const ALL: &[Described] = &[$($constant),+];
    };
}

metrics! {
    BUILD: Gauge "postbackd_build_info" ["version"] "1, with the version of this program";
    READY: Gauge "postbackd_ready" [] "1 where /ready answers 200, else 0";
    OWNER: Gauge "postbackd_owner" [] "1 while this process reads the shop's commits, else 0";
    EPOCH: Gauge "postbackd_owner_epoch" [] "The epoch under which this process reads the shop's commits";
    LOOKED: Gauge "postbackd_reader_last_look_timestamp_seconds" [] "When this process last looked for commits of the shop";
    LISTEN: Gauge "postbackd_listen_up" [] "1 while the LISTEN connection is there, else 0";
    PAID_WITHOUT_EVENT: Gauge "postbackd_paid_orders_without_event" []
        "Orders that the shop's books call paid within 7 days and no event tells; counted every hour by the owner";
    READ: Counter "postbackd_events_read_total" ["kind"] "Events that this process put into the stream";

    INFO: Gauge "postbackd_destination_info" ["destination", "platform", "mode"] "1 for each destination of this process";
    DELIVERIES: Counter "postbackd_deliveries_total" ["destination", "platform", "kind", "outcome"]
        "Rows of postback.attempt that this process made durable";
    REQUESTS: Counter "postbackd_requests_total" ["destination", "purpose", "class"]
        "Requests that ended, by the class of the answer's status or by why there was none";
    DURATION: Histogram "postbackd_request_duration_seconds" ["destination"] "From the start of a request to the end of its answer";
    FIRST: Histogram "postbackd_event_to_first_attempt_seconds" ["destination"] "From an event's time to the first request that tells it";
    DELIVERED: Histogram "postbackd_event_to_delivered_seconds" ["destination"]
        "From an event's time until it is on record that the platform has it";
    IN_FLIGHT: Gauge "postbackd_requests_in_flight" ["destination"] "Requests on the wire";
    BREAKER: Gauge "postbackd_breaker_state" ["destination", "state"] "1 for the state that the breaker is in, 0 for the others";
    VERSION_ENDS: Gauge "postbackd_api_version_ends_timestamp_seconds" ["destination"]
        "When the platform is expected to end the version of its API that is used";
    TOKEN_ENDS: Gauge "postbackd_token_ends_timestamp_seconds" ["destination", "token"]
        "When the access token in use ends, and the refresh token where the platform says so";
    TOKENS_MISSED: Counter "postbackd_tokens_missed_total" ["destination", "why"] "Requests that were not sent because no access token was to be had";

    DATABASE_UP: Gauge "postbackd_database_up" [] "1 while the database answers what the metrics below ask, else 0";
    DATABASE_STANDBY: Gauge "postbackd_database_standby" [] "1 while the server is a standby in recovery, else 0";
    SEEN: Gauge "postbackd_database_seen_timestamp_seconds" [] "When the metrics below were read";
    SEEING: Gauge "postbackd_database_seeing_seconds" [] "How long reading the metrics below took";
    OWNED: Gauge "postbackd_owned" [] "1 while any process reads the shop's commits, else 0";
    DAEMONS: Gauge "postbackd_daemons" [] "Daemons that proved within 6 s that they are there, standing by included";
    STREAM: Gauge "postbackd_stream_last" [] "The last number of the stream";
    UNREAD: Gauge "postbackd_unread_events" [] "Committed events that are not in the stream yet; counting stops at 10000";
    WINDOW_LAG: Gauge "postbackd_window_lag_seconds" [] "Age of the oldest committed event that is not in the stream yet; 0 where there is none";
    TROUBLE: Gauge "postbackd_trouble_rows" [] "Open rows of postback.trouble: what the shop's triggers could not say";
    WAITING: Gauge "postbackd_waiting_events" ["destination"] "Entries of the stream that the destination has not passed, and open exceptions";
    PENDING: Gauge "postbackd_pending_events" ["destination", "state"] "Rows of postback.pending";
    OLDEST: Gauge "postbackd_oldest_undelivered_seconds" ["destination"] "Age of the oldest event that still goes somewhere by itself; 0 where there is none";
    OVERDUE: Gauge "postbackd_oldest_overdue_seconds" ["destination"]
        "The same without what waits on purpose: held until a time, or behind an event that waits for a person";
    HALTED: Gauge "postbackd_destination_halted" ["destination"] "1 while nothing is sent there until a person resumes it, else 0";
    PAUSED: Gauge "postbackd_destination_paused" ["destination"] "1 while a person keeps it paused, else 0";
    WORKED: Gauge "postbackd_destination_worked" ["destination"] "1 while a daemon works it, this one or another, else 0";

    HOOKS: Counter "postbackd_alert_hooks_total" ["hook", "outcome"] "Calls of the webhook and the program that are told of alerts";
    APPLE: Counter "postbackd_apple_postbacks_total" ["protocol", "version", "verdict", "reason"]
        "Postbacks of Apple's devices that this process got";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_their_unit_and_type_and_stand_once() {
        for (place, one) in ALL.iter().enumerate() {
            let Described { name, metric, labels, help } = one;
            assert!(name.starts_with("postbackd_") && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), *metric == Type::Counter, "{name}");
            assert!(*metric != Type::Histogram || name.ends_with("_seconds"), "{name}");
            assert!(!help.ends_with('.') && !help.is_empty(), "{name}");
            assert!(!labels.contains(&"le") && !labels.contains(&"instance") && !labels.contains(&"job"), "{name}: Prometheus uses these itself");
            assert!(ALL[..place].iter().all(|other| other.name != *name), "{name}");
        }
    }
}
