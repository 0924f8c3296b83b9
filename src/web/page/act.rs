//! What a person may do: a question with a count, then a command under their name, then what became of it.

use std::time::{Duration, Instant};

use axum::{
    Extension, Form,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Page,
    address::{InPath, InQuery},
    guard::Visitor,
    render::{self, Fault, values},
    words,
};
use crate::{
    command::{Command, Selection},
    outbox::{DbError, command, inspect},
};

/// Its answer is waited for that long; later it is looked up.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// For a connection out of the pool.
const CONNECTION: Duration = Duration::from_secs(3);

/// What may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum What {
    Retry,
    Discard,
    Arrived,
    NotArrived,
    Pause,
    Resume,
}

impl What {
    /// The state that it is about; `None`: a destination.
    pub(super) fn state(self) -> Option<&'static str> {
        match self {
            Self::Retry | Self::Discard => Some("dead"),
            Self::Arrived | Self::NotArrived => Some("unknown"),
            Self::Pause | Self::Resume => None,
        }
    }
}

/// What is asked for: the same in a link's query and in a form.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Given {
    #[serde(rename = "do")]
    what: What,
    #[serde(default)]
    destination: String,
    #[serde(default)]
    order: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    event: Option<i64>,
    #[serde(default)]
    until: Option<Timestamp>,
    /// Where to go back to.
    #[serde(default)]
    to: String,
    /// Of the session, in forms.
    #[serde(default)]
    word: String,
}

impl Given {
    fn selection(&self) -> Selection {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Selection {
            destination: text(&self.destination),
            events: self.event.into_iter().collect(),
            order: text(&self.order),
            kind: text(&self.kind),
            reason: text(&self.reason),
            until: self.until,
        }
    }

    fn command(&self) -> Command {
        let (select, destination) = (self.selection(), self.destination.clone());
        match self.what {
            What::Retry => Command::RetryDead { select },
            What::Discard => Command::DiscardDead { select },
            What::Arrived => Command::ResolveUnknown { select, delivered: true },
            What::NotArrived => Command::ResolveUnknown { select, delivered: false },
            What::Pause => Command::Pause { destination },
            What::Resume => Command::Resume { destination },
        }
    }
}

/// `GET /confirm`: what would be done, and to how many.
pub(super) async fn confirm(
    State(page): State<Page>,
    Extension(visitor): Extension<Visitor>,
    InQuery(given): InQuery<Given>,
) -> Result<Response, Fault> {
    if !visitor.is_known() {
        return Err(Fault::Forbidden(
            "Without a token one can only look here. Set [web] token in the configuration, restart the daemon, and log in.",
        ));
    }
    let (count, sample, until) = match given.what.state() {
        Some(state) => {
            let select = Selection { until: None, ..given.selection() };
            page.look(move |db| async move {
                let now = inspect::now(&db).await?;
                let select = Selection { until: Some(now), ..select };
                let (count, sample) = tokio::try_join!(inspect::count(&db, state, &select), inspect::newest(&db, state, &select, None, 5))?;
                let sample: Vec<_> = sample.into_iter().map(|(exception, _)| exception).collect();
                Ok((count, sample, Some(now)))
            })
            .await?
        }
        None => {
            let name = given.destination.clone();
            let known = page.look(move |db| async move { inspect::is_known(&db, &name).await }).await?;
            (i64::from(known), Vec::new(), None)
        }
    };
    if count == 0 {
        let text = match given.what.state() {
            Some(state) => format!("Nothing {state} matches any more: it was dealt with meanwhile."),
            None => format!("There is no destination {:?}.", given.destination),
        };
        return Err(Fault::Missing(text));
    }
    let (title, text, button) = words::question(given.what, count, &given.destination);
    let to = render::local(&given.to);
    let given = Given { until, to, word: String::new(), ..given };
    let narrowed = words::narrowed(&given.selection());
    Ok(render::page(&visitor, StatusCode::OK, "confirm.html", values! { title, text, button, count, sample, narrowed, given }))
}

/// `POST /act`: only with the session's word, or by a script with the token.
pub(super) async fn act(State(page): State<Page>, Extension(visitor): Extension<Visitor>, Form(given): Form<Given>) -> Result<Response, Fault> {
    match &visitor.session {
        _ if visitor.bearer.is_some() => {}
        Some(session) if session.has(&given.word) => {}
        Some(_) => return Err(Fault::Forbidden("This form is not of this session: go back, reload the page and try again.")),
        None => return Err(Fault::Forbidden("This needs the token: log in first.")),
    }
    let db = tokio::time::timeout(CONNECTION, page.web.pool.get()).await.map_err(|_| DbError::Silent(CONNECTION))?.map_err(DbError::from)?;
    let id = command::put(&db, &given.command(), Some(&format!("{} (page)", visitor.name().unwrap_or("somebody")))).await?;
    drop(db);
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let there = page.look(move |db| async move { inspect::asked_for(&db, id).await }).await?;
        if there.is_some_and(|asked| asked.answer.is_some()) {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let to = render::local(&given.to);
    Ok(Redirect::to(&format!("/actions/{id}?to={}", render::query_text(&to))).into_response())
}

#[derive(Deserialize)]
pub(super) struct Back {
    #[serde(default)]
    to: String,
}

/// `GET /actions/{id}`: what became of it.
pub(super) async fn action(
    State(page): State<Page>,
    Extension(visitor): Extension<Visitor>,
    InPath(id): InPath<i64>,
    InQuery(Back { to }): InQuery<Back>,
) -> Result<Response, Fault> {
    let asked = page.look(move |db| async move { inspect::asked_for(&db, id).await }).await?;
    let asked = asked.ok_or_else(|| Fault::Missing("There is no such action.".into()))?;
    let title = match &asked.answer {
        None => "Waiting for the daemon",
        Some(answer) if answer.ok => "Done",
        Some(_) => "Nothing was done",
    };
    let what = words::asked(asked.what.as_ref());
    Ok(render::page(&visitor, StatusCode::OK, "action.html", values! { title, asked, what, to => render::local(&to) }))
}

/// `GET /actions`: the last of them.
pub(super) async fn actions(State(page): State<Page>, Extension(visitor): Extension<Visitor>) -> Result<Response, Fault> {
    let all = page.look(|db| async move { inspect::last_asked(&db, 100).await }).await?;
    let all: Vec<_> = all.into_iter().map(|asked| values! { what => words::asked(asked.what.as_ref()), asked }).collect();
    Ok(render::page(&visitor, StatusCode::OK, "actions.html", values! { title => "Actions", all }))
}
