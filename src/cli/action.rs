//! Asking the owner for something: a row in `postback.command`, and its answer. Without an owner this process becomes it for
//! the moment that it takes.

use std::time::{Duration, Instant};

use tokio_postgres::{Client, types::Type};

use super::{Common, Exit, Failure};
use crate::{
    command::{Answer, Command, Selection},
    outbox::{
        command, connect,
        ingest::Reader,
        owner::{self, Keeper, Reading},
        pooler,
    },
};

/// How an action is asked for.
#[derive(Debug, clap::Args)]
pub(super) struct Asking {
    /// How long to wait for the daemon's answer
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    wait: Duration,
}

/// Which exceptions are meant.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Event ids, as the list shows them
    #[arg(value_name = "EVENT")]
    events: Vec<i64>,
    /// Only at this destination
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Only of this order
    #[arg(long, value_name = "REF")]
    order: Option<String>,
    /// All of them
    #[arg(long)]
    all: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Which {
    pub(super) fn selection(&self) -> Selection {
        Selection { destination: self.destination.clone(), events: self.events.clone(), order: self.order.clone(), ..Selection::default() }
    }

    /// Counts what is meant and asks when it is more than one; `None`: the person said no.
    pub(super) async fn confirmed(&self, db: &Client, state: &str, verb: &str) -> Result<Option<Selection>, Failure> {
        let select = self.selection();
        if select == Selection::default() && !self.all {
            return Err(Failure::new(Exit::Usage, format!("name what to {verb}: event ids, --destination, --order, or --all")));
        }
        let count = crate::outbox::inspect::count(db, state, &select).await?;
        if count == 0 {
            return Err(Failure::new(Exit::Failed, format!("nothing {state} matches; \"postbackd {state} list\" shows what there is")));
        }
        let sure = count == 1 || super::confirmed(&format!("This would {verb} {count} {state} deliveries."), self.yes)?;
        Ok(sure.then_some(select))
    }
}

/// How often the answer is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often it is asked whether there is an owner at all.
const OWNER_EVERY: Duration = Duration::from_millis(500);

/// Puts the command into the queue, waits for the answer and prints it.
pub(super) async fn ask(common: &Common, db: &Client, asking: &Asking, what: &Command) -> Result<Exit, Failure> {
    let id = command::put(db, what, None).await?;
    let until = Instant::now() + asking.wait;
    let (mut owner_at, mut why_not) = (Instant::now(), None);
    loop {
        if let Some(answer) = answer(db, id).await? {
            common.print(&answer, || answer.text.clone())?;
            return Ok(if answer.ok { Exit::Done } else { Exit::Failed });
        }
        if Instant::now() >= owner_at {
            owner_at = Instant::now() + OWNER_EVERY;
            match alone(common).await {
                Ok(true) => continue,
                Ok(false) => {}
                // A daemon may be there all the same.
                Err(error) => why_not = Some(error),
            }
        }
        if Instant::now() >= until {
            let why = format!("the daemon has not answered within {}; command {id} stays in the queue", crate::words::duration(asking.wait));
            let alone = why_not.map(|error| format!("\nwithout a daemon: {error}")).unwrap_or_default();
            return Err(Failure::new(Exit::NoAnswer, format!("{why}: see its log, and postbackd status{alone}")));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn answer(db: &Client, id: i64) -> Result<Option<Answer>, Failure> {
    let sql = "select answer::text from postback.command where id = $1 and answer is not null";
    let rows = db.query_typed(sql, &[(&id, Type::INT8)]).await?;
    rows.first().map(|row| serde_json::from_str(row.get(0)).map_err(|error| Failure::new(Exit::Failed, error))).transpose()
}

/// Carries out what is in the queue when no daemon holds the lock; false: one does. The lock and a new epoch make this
/// process the owner meanwhile: a daemon that starts now waits, and one that came back late is fenced.
async fn alone(common: &Common) -> Result<bool, Failure> {
    let database = common.database()?;
    let mut db = connect::connect(&database, "command").await?.0;
    if !owner::is_free(&db).await? {
        return Ok(false);
    }
    // It sends nothing: nobody has to wait for it.
    let keeper = Keeper::introduce(pooler::session(&database, "owner").await?.0, "postbackd command", Duration::ZERO).await?;
    let Some(Reading { epoch, .. }) = keeper.take_reading().await? else { return Ok(false) };
    let mut reader = Reader::load(&db, epoch).await?;
    for (id, what) in command::waiting(&db).await? {
        command::execute(&mut db, &mut reader, id, &what).await?;
    }
    keeper.release().await?;
    Ok(true)
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    crate::words::parse_duration(text).ok_or_else(|| "a duration with a unit is needed, like 10s or 2m".to_owned())
}
