//! The schema is installed once per version of it into a template database; each test gets a copy, which takes
//! milliseconds. Processes that share a server take turns by an advisory lock.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
};

use super::{Server, connect};

/// Name of the template database, made if it is not there.
pub async fn installed(server: &Server) -> String {
    let mut hasher = DefaultHasher::new();
    postbackd::outbox::schema::sql().hash(&mut hasher);
    let name = format!("pbt_template_{:016x}", hasher.finish());
    let client = server.connect().await;
    client.batch_execute("select pg_advisory_lock(77, 1)").await.expect("waiting for the template");
    let there = client.query_one("select exists (select from pg_database where datname = $1 and datistemplate)", &[&name]).await;
    if !there.expect("looking for the template").get::<_, bool>(0) {
        client.batch_execute(&format!("drop database if exists {name} with (force)")).await.expect("dropping half a template");
        client.batch_execute(&format!("create database {name} template template0")).await.expect("creating the template");
        install(server, &name).await;
        client.batch_execute(&format!("alter database {name} is_template true")).await.expect("marking the template");
    }
    // Sessions of the template keep it from being copied; ours is in another database and ends here, with its lock.
    drop(client);
    name
}

async fn install(server: &Server, name: &str) {
    let mut client = connect(&server.url_of(name)).await;
    postbackd::outbox::schema::install(&mut client, None).await.expect("installing the schema");
    // Its session must be gone before the template is copied.
    client.batch_execute("checkpoint").await.expect("checkpoint");
    drop(client);
    let maintenance = server.connect().await;
    let ended = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = $1";
    maintenance.query(ended, &[&name]).await.expect("ending sessions of the template");
}
