//! The image that everybody has, through testcontainers.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    time::Duration,
};

use testcontainers::{GenericImage, ImageExt, core::ContainerPort, core::WaitFor, runners::AsyncRunner};

use super::super::reaper;

/// Name and tag.
pub const IMAGE: (&str, &str) = ("postgres", "15");

/// Starts a container that ends with this process; returns its superuser's URL, or why there is none.
pub fn start() -> Result<String, String> {
    engine_answers()?;
    let name = format!("postbackd-test-{}", std::process::id());
    let socket = "curl -s -X DELETE --unix-socket /var/run/docker.sock";
    reaper::at_exit(&format!("docker rm -f -v {name} || {socket} 'http://docker/containers/{name}?force=true&v=true'"));
    // Aside, because the container outlives the runtime of whichever test came first.
    let url = super::aside(run(&name))?;
    super::wait_until_it_answers(&url, Duration::from_secs(60), || Ok(()))?;
    Ok(url)
}

async fn run(name: &str) -> Result<String, String> {
    // The port is ours to choose, because a mapped one changes when the container is started again.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).map_err(|why| why.to_string())?.port();
    // The official image says it twice, the first time on a socket that TCP does not reach: whether it answers is tried
    // afterwards, over TCP.
    let image = GenericImage::new(IMAGE.0, IMAGE.1).with_wait_for(WaitFor::message_on_stderr("database system is ready to accept connections"));
    let settings = ["max_prepared_transactions=20", "max_connections=200", "wal_level=replica"];
    let container = image
        .with_mapped_port(port, ContainerPort::Tcp(5432))
        .with_container_name(name)
        .with_env_var("POSTGRES_PASSWORD", "postbackd-test")
        .with_cmd(std::iter::once("postgres").chain(settings.iter().flat_map(|setting| ["-c", setting])))
        .with_startup_timeout(Duration::from_secs(120))
        .start()
        .await
        .map_err(|why| format!("the container did not start: {why}"))?;
    let host = container.get_host().await.map_err(|why| format!("the container has no address: {why}"))?;
    // Dropping it would remove the container.
    std::mem::forget(container);
    Ok(format!("postgres://postgres:postbackd-test@{host}:{port}/postgres"))
}

fn engine_answers() -> Result<(), String> {
    let host = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    let answer = if let Some(path) = host.strip_prefix("unix://") {
        UnixStream::connect(path).and_then(|socket| socket.set_read_timeout(Some(Duration::from_secs(2))).map(|()| socket)).and_then(ping)
    } else if let Some(address) = host.strip_prefix("tcp://").or_else(|| host.strip_prefix("http://")) {
        TcpStream::connect(address).and_then(|socket| socket.set_read_timeout(Some(Duration::from_secs(2))).map(|()| socket)).and_then(ping)
    } else {
        return Err(format!("DOCKER_HOST={host} is neither unix:// nor tcp://"));
    };
    match answer {
        Ok(answer) if answer.contains(" 200 ") => Ok(()),
        Ok(answer) => Err(format!("what listens at {host} answers {:?} to a ping", answer.lines().next().unwrap_or_default())),
        Err(why) => Err(format!("no engine at {host} ({why})")),
    }
}

fn ping(mut socket: impl Read + Write) -> std::io::Result<String> {
    socket.write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")?;
    let mut head = [0; 256];
    let read = socket.read(&mut head)?;
    Ok(String::from_utf8_lossy(&head[..read]).into_owned())
}
