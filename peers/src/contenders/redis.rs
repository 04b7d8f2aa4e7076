//! Redis over loopback: a script that adds if it fits, one call for each round trip or a hundred in one.
//!
//! The server is started here, on a free port, without persistence, and ended with the last handle. What is spoken is small enough to be
//! written out.

use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::sqlite::Folder;
use crate::contender::{Contender, Group, Plan, Seats, Skipped, Spec, amount};

/// What it is called where versions stand; it is no package of the lock file.
pub(crate) const PACKAGE: &str = "redis-server";

pub(super) fn specs() -> Vec<Spec> {
    vec![
        Spec::new("Redis, Lua script, a round trip each", PACKAGE, &[Group::Stores], |plan| seats(plan, 1)),
        Spec::new("Redis, Lua script, pipelined ×100", PACKAGE, &[Group::Stores], |plan| seats(plan, 100)),
    ]
}

const SCRIPT: &str = "local used = tonumber(redis.call('GET', KEYS[1]) or '0')
if used + tonumber(ARGV[1]) > tonumber(ARGV[2]) then return 0 end
redis.call('INCRBY', KEYS[1], ARGV[1])
return 1";

/// The server's version, where there is one.
pub(crate) fn server_version() -> Option<&'static str> {
    static VERSION: OnceLock<Option<String>> = OnceLock::new();
    let version = VERSION.get_or_init(|| {
        let output = Command::new(PACKAGE).arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        text.split_whitespace().find_map(|word| word.strip_prefix("v=")).map(str::to_owned)
    });
    version.as_deref()
}

fn seats(plan: &Plan, pipelined: u64) -> Result<Seats> {
    if server_version().is_none() {
        return Err(Skipped("redis-server is not installed").into());
    }
    let server = Arc::new(Server::start()?);
    plan.each(|_| Connection::new(Arc::clone(&server), plan.max, pipelined))
}

struct Server {
    process: Child,
    port: u16,
    _folder: Folder,
}

impl Server {
    fn start() -> Result<Self> {
        let folder = Folder::new("redis")?;
        // Freed again at once, and taken by the server a moment later.
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let process = Command::new(PACKAGE)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("redis-server")?;
        let server = Self { process, port, _folder: folder };
        let patience = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(Instant::now() < patience, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Connection {
    stream: BufReader<TcpStream>,
    script: String,
    max: String,
    pipelined: u64,
    request: Vec<u8>,
    _server: Arc<Server>,
}

impl Connection {
    fn new(server: Arc<Server>, max: u64, pipelined: u64) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", server.port))?;
        stream.set_nodelay(true)?;
        let mut connection = Self {
            stream: BufReader::new(stream),
            script: String::new(),
            max: max.to_string(),
            pipelined,
            request: Vec::new(),
            _server: server,
        };
        connection.say(&["SCRIPT", "LOAD", SCRIPT]);
        connection.send()?;
        ensure!(connection.line()?.starts_with('$'), "the script's digest");
        connection.script = connection.line()?;
        Ok(connection)
    }

    /// Adds a command to the request.
    fn say(&mut self, words: &[&str]) {
        let _ = write!(self.request, "*{}\r\n", words.len());
        for word in words {
            let _ = write!(self.request, "${}\r\n{word}\r\n", word.len());
        }
    }

    fn say_charge(&mut self, key: &str, amount: u64) {
        let (script, max) = (std::mem::take(&mut self.script), std::mem::take(&mut self.max));
        self.say(&["EVALSHA", &script, "1", key, &amount.to_string(), &max]);
        (self.script, self.max) = (script, max);
    }

    fn send(&mut self) -> Result<()> {
        self.stream.get_mut().write_all(&self.request)?;
        self.request.clear();
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.stream.read_line(&mut line)? > 0, "redis-server has gone");
        Ok(line.trim_end().to_owned())
    }

    fn answer(&mut self) -> Result<bool> {
        match self.line()?.as_str() {
            ":1" => Ok(true),
            ":0" => Ok(false),
            other => bail!("redis-server says {other}"),
        }
    }
}

impl Contender for Connection {
    fn ask(&mut self, key: &str, amount: u64) -> bool {
        self.say_charge(key, amount);
        self.send().and_then(|()| self.answer()).unwrap_or(false)
    }

    fn one_key(&mut self, key: &str, calls: u64) -> u64 {
        let mut admitted = 0;
        let mut turn = 0;
        while turn < calls {
            let batch = self.pipelined.min(calls - turn);
            for turn in turn..turn + batch {
                self.say_charge(key, amount(turn));
            }
            if self.send().is_err() {
                break;
            }
            admitted += (0..batch).map(|_| u64::from(self.answer().unwrap_or(false))).sum::<u64>();
            turn += batch;
        }
        black_box(admitted)
    }
}
