//! What actions are called, before and after they are done.

use super::{act::What, render::number};
use crate::{
    command::{Command, Selection},
    words::printable,
};

/// Title, what it means, and the button.
pub(super) fn question(what: What, count: i64, destination: &str) -> (String, &'static str, String) {
    let them = deliveries(count);
    let told = |one: &'static str, several: &'static str| if count == 1 { one } else { several };
    let button = |verb: &str| if count == 1 { format!("{verb} it") } else { format!("{verb} all {}", number(count)) };
    match what {
        What::Retry => (
            format!("Retry {them}?"),
            told("It is judged again and sent now, with what is known today.", "They are judged again and sent now, with what is known today."),
            button("Retry"),
        ),
        What::Discard => (
            format!("Discard {them}?"),
            told(
                "It leaves the list and stays dead: the platform will not get it. This cannot be undone.",
                "They leave the list and stay dead: the platform will not get them. This cannot be undone.",
            ),
            button("Discard"),
        ),
        What::Arrived => (
            format!("Mark {them} as arrived?"),
            told(
                "You have found it at the platform. It counts as delivered, and refunds that wait for it go on.",
                "You have found them at the platform. They count as delivered, and refunds that wait for them go on.",
            ),
            button("Mark"),
        ),
        What::NotArrived => (
            format!("Send {them} again?"),
            told(
                "You have looked at the platform and it is not there. If it is, the platform counts it twice.",
                "You have looked at the platform and they are not there. If they are, the platform counts them twice.",
            ),
            button("Send"),
        ),
        What::Pause => {
            (format!("Pause {destination}?"), "Nothing is sent there until somebody resumes it. Its events wait; nothing is lost.", "Pause it".into())
        }
        What::Resume => (
            format!("Resume {destination}?"),
            "What waits is sent, in its order. After a halt, mend first what the halt was about.",
            "Resume it".into(),
        ),
    }
}

/// With their number.
pub(super) fn deliveries(count: i64) -> String {
    if count == 1 { "1 delivery".to_owned() } else { format!("{} deliveries", number(count)) }
}

/// By what a selection is narrowed, one part each.
pub(super) fn narrowed(select: &Selection) -> Vec<(&'static str, String)> {
    let Selection { destination, events, order, kind, reason, until: _ } = select;
    let mut parts = Vec::new();
    let mut add = |name, value: &Option<String>| parts.extend(value.clone().map(|value| (name, value)));
    add("Destination", destination);
    add("Order", order);
    add("Kind", kind);
    add("Reason", reason);
    if !events.is_empty() {
        parts.push(("Event", events.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")));
    }
    parts
}

/// One line.
pub(super) fn asked(what: Option<&Command>) -> String {
    let of = |verb: &str, state: &str, select: &Selection| {
        let parts: Vec<String> = narrowed(select).into_iter().map(|(name, value)| format!("{} {}", name.to_lowercase(), printable(&value))).collect();
        format!("{verb} {state} deliveries{}{}", if parts.is_empty() { "" } else { ": " }, parts.join(", "))
    };
    match what {
        None => "something that this version does not know".to_owned(),
        Some(Command::Pause { destination }) => format!("pause {destination}"),
        Some(Command::Resume { destination }) => format!("resume {destination}"),
        Some(Command::RetryDead { select }) => of("retry", "dead", select),
        Some(Command::DiscardDead { select }) => of("discard", "dead", select),
        Some(Command::ResolveUnknown { select, delivered: true }) => of("mark as arrived", "unknown", select),
        Some(Command::ResolveUnknown { select, delivered: false }) => of("send again", "unknown", select),
        Some(Command::Replay { since, destinations }) => {
            let to = if destinations.is_empty() { "all destinations".to_owned() } else { destinations.join(", ") };
            format!("replay since {} to {to}", since.strftime("%Y-%m-%d %H:%M:%S"))
        }
        // Whom, is what was to be forgotten.
        Some(Command::Forget { .. }) => "forget a person".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_named_with_what_they_are_about_and_no_person() {
        let select = Selection { destination: Some("meta".into()), order: Some("1001".into()), ..Selection::default() };
        assert_eq!(asked(Some(&Command::RetryDead { select })), "retry dead deliveries: destination meta, order 1001");
        assert_eq!(asked(Some(&Command::DiscardDead { select: Selection::default() })), "discard dead deliveries");
        let forget = Command::Forget { orders: vec!["1001".into()], events: vec![], words: vec!["ada@example.com".into()] };
        assert_eq!(asked(Some(&forget)), "forget a person");
        assert_eq!(question(What::Retry, 1_200, "").2, "Retry all 1\u{202f}200");
        assert_eq!(question(What::Retry, 1, "").0, "Retry 1 delivery?");
    }
}
