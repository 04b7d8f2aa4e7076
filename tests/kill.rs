//! An engine with a journal is killed, again and again, and nothing that was answered is lost.
//!
//! A child charges, reserves and settles in four threads, and says on a pipe what it is about to do and what came of it. It is killed at some
//! moment: a quarter of the times while it reads the directory, publishes a snapshot, or closes. The parent opens a copy of the directory and
//! compares; the next child goes on from the directory itself. Every tenth life or so ends by closing the engine: then amounts are exact.
//!
//! `ENCUMBER_KILLS` sets how many lives there are, `ENCUMBER_SEED` what happens in them. `scripts/kill-loop` goes on for long.

#[cfg(unix)]
#[path = "kill/book.rs"]
mod book;
#[cfg(unix)]
#[path = "kill/child.rs"]
mod child;
mod durable_rig;
#[cfg(unix)]
#[path = "kill/words.rs"]
mod words;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    parent::main()
}

#[cfg(not(unix))]
fn main() {
    println!("skipped: a child is killed, and writes to a pipe, in the ways of Unix");
}

#[cfg(unix)]
use child::TTL;

#[cfg(unix)]
mod parent {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::ExitStatusExt;
    use std::path::Path;
    use std::process::{Child, Command, ExitCode, Stdio};
    use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
    use std::time::{Duration, Instant};

    use encumber::{ManualClock, Timestamp};

    use crate::book::{Book, Standing};
    use crate::child;
    use crate::durable_rig::{Dir, Random, START};
    use crate::words::{MODES, Order, Said};

    const SEED: u64 = 0x5eed_0005;
    const KILLS: u64 = 60;
    const SIGKILL: i32 = 9;
    /// A child that says nothing for so long hangs.
    const SILENCE: Duration = Duration::from_secs(60);

    const ORDER: &str = "ENCUMBER_KILL_ORDER";
    const DIR: &str = "ENCUMBER_KILL_DIR";

    fn from_environment(name: &str, default: u64) -> u64 {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    }

    pub(crate) fn main() -> ExitCode {
        if let (Ok(order), Some(dir)) = (std::env::var(ORDER), std::env::var_os(DIR)) {
            child::live(Path::new(&dir), &order.parse().unwrap());
        }
        let (seed, kills) = (from_environment("ENCUMBER_SEED", SEED), from_environment("ENCUMBER_KILLS", KILLS));
        println!("ENCUMBER_SEED={seed} ENCUMBER_KILLS={kills}");
        let began = Instant::now();
        let mut lives = Lives::new(seed);
        for life in 0..kills {
            if let Err(why) = lives.live(life) {
                println!("ENCUMBER_SEED={seed}: {why}");
                return ExitCode::FAILURE;
            }
        }
        println!("{} in {:.1} s", lives.tally, began.elapsed().as_secs_f32());
        ExitCode::SUCCESS
    }

    /// When a child is killed.
    #[derive(Clone, Copy, Debug)]
    enum Kill {
        /// After so many answers.
        Answers(u64),
        /// While it opens the directory.
        Recovery,
        /// In its snapshot of this number.
        Compaction(u64),
        /// While it closes.
        Closing,
        /// Not at all: it closes.
        Never,
    }

    impl Kill {
        fn any(random: &mut Random) -> Self {
            match random.below(80) {
                0..8 => Self::Never,
                8..12 => Self::Closing,
                12..20 => Self::Recovery,
                20..28 => Self::Compaction(random.below(6)),
                _ => {
                    let most = if random.once_in(8) { 1_500 } else { 150 };
                    Self::Answers(random.below(most))
                }
            }
        }
    }

    #[derive(Default)]
    struct Tally {
        killed: u64,
        in_recovery: u64,
        in_compaction: u64,
        in_closing: u64,
        closed: u64,
        calls: u64,
        refused: u64,
        over_thousandths: u64,
        torn: u64,
    }

    impl std::fmt::Display for Tally {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            let Self { killed, in_recovery, in_compaction, in_closing, closed, calls, refused, over_thousandths, torn } =
                self;
            let over = *over_thousandths as f32 / 1_000.0;
            write!(
                f,
                "{killed} killed, {in_recovery} of them in recovery, {in_compaction} in compaction, {in_closing} while closing, {torn} in the middle of a write; \
                 {closed} closed; {calls} calls, {refused} refused; nothing under-counted, over-counted by {over:.2} steps at most"
            )
        }
    }

    struct Lives {
        seed: u64,
        dir: Dir,
        /// How the directory is read at the instant of the next life.
        base: Standing,
        at: Timestamp,
        tally: Tally,
        /// How long it takes to open, to publish a snapshot, and to close: where in it a child is killed is up to chance.
        took: [Duration; 3],
    }

    impl Lives {
        fn new(seed: u64) -> Self {
            let (dir, at) = (Dir::new(), START.parse().unwrap());
            let fresh = Dir::new();
            let base = Standing::of(&child::open(fresh.path(), "os", &ManualClock::at(at)).unwrap());
            Self { seed, dir, base, at, tally: Tally::default(), took: [Duration::from_millis(3); 3] }
        }

        fn live(&mut self, life: u64) -> Result<(), String> {
            let mut random = Random(self.seed ^ life.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let kill = Kill::any(&mut random);
            let order = Order {
                seed: random.next(),
                life,
                mode: MODES[random.below(3) as usize],
                at: self.at.as_micros(),
                close_after: matches!(kill, Kill::Never | Kill::Closing).then(|| 1 + random.below(60)),
                snapshots: matches!(kill, Kill::Compaction(_)) || random.once_in(3),
            };
            let fraction = random.below(1_000) as u32;
            let said = self.child(&order, kill, fraction).map_err(|why| format!("life {life}, {kill:?}: {why}"))?;

            let copy = self.dir.killed();
            let clock = ManualClock::at(self.at);
            let mut book = Book::of(&self.base, &said);
            let engine = child::open(copy.path(), "os", &clock);
            let found = engine.map_err(|error| error.to_string()).and_then(|engine| Ok((book.check(&engine)?, engine)));
            match found {
                Ok((found, engine)) => {
                    self.tally.calls += book.calls;
                    self.tally.refused += book.refused;
                    self.tally.torn += u64::from(found.is_torn);
                    self.tally.over_thousandths = self.tally.over_thousandths.max(found.over_thousandths);
                    let pause = Duration::from_secs(random.below(20 * 60));
                    clock.advance(pause);
                    self.at = self.at.saturating_add(pause);
                    self.base = Standing::of(&engine);
                    Ok(())
                }
                Err(why) => {
                    let last: String = said[said.len().saturating_sub(20)..].iter().map(Said::line).collect();
                    let dir = self.dir.killed().keep();
                    let all: String = said.iter().map(Said::line).collect();
                    std::fs::write(dir.join("said"), format!("{:#?}\n{all}", self.base)).unwrap();
                    Err(format!(
                        "life {life}, {kill:?}, {order:?}\n{why}its last words of {}:\n{last}its directory, and all that it said: {}",
                        said.len(),
                        dir.display()
                    ))
                }
            }
        }

        /// All that a child said until it was killed, or ended.
        fn child(&mut self, order: &Order, kill: Kill, fraction: u32) -> Result<Vec<Said>, String> {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .env(ORDER, order.to_string())
                .env(DIR, self.dir.path())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let heard = hear(&mut child);
            let mut said = Vec::new();
            let outcome = self.wait(&heard, kill, fraction, &mut said);
            let killed = child.kill();
            let status = child.wait().unwrap();
            outcome?;
            killed.map_err(|error| error.to_string())?;
            for (words, _) in heard {
                said.push(words?);
            }
            let is_closed = said.last() == Some(&Said::Closed);
            if status.signal() != Some(SIGKILL) && !(is_closed && status.success()) {
                return Err(format!("the child ended by itself: {status}; last it said {:?}", said.last()));
            }
            self.count(&said);
            Ok(said)
        }

        /// Waits until it is time to kill.
        fn wait(
            &mut self,
            heard: &Receiver<Heard>,
            kill: Kill,
            fraction: u32,
            said: &mut Vec<Said>,
        ) -> Result<(), String> {
            let (mut answers, mut snapshots) = (0, 0);
            let mut since = [None; 3];
            loop {
                let (words, at) = match heard.recv_timeout(SILENCE) {
                    Ok((words, at)) => (words?, at),
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                    Err(RecvTimeoutError::Timeout) => return Err(format!("it hangs; last it said {:?}", said.last())),
                };
                said.push(words);
                match said.last() {
                    Some(Said::Begin) => since[0] = Some(at),
                    Some(Said::Snap) => since[1] = Some(at),
                    Some(Said::Closing) => since[2] = Some(at),
                    Some(Said::Ready) => self.took[0] = took(since[0], at),
                    Some(Said::Snapped) => self.took[1] = took(since[1], at),
                    Some(Said::Closed) => self.took[2] = took(since[2], at),
                    _ => {}
                }
                // Anywhere in what it is at, or for an answer in what comes next.
                let within = match (kill, said.last()) {
                    (Kill::Recovery, Some(Said::Begin)) => self.took[0],
                    (Kill::Closing, Some(Said::Closing)) => self.took[2],
                    (Kill::Compaction(number), Some(Said::Snap)) => {
                        snapshots += 1;
                        if snapshots <= number {
                            continue;
                        }
                        self.took[1]
                    }
                    (Kill::Answers(number), Some(Said::Ready | Said::Did(_))) => {
                        answers += 1;
                        if answers <= number {
                            continue;
                        }
                        Duration::from_micros(100)
                    }
                    _ => continue,
                };
                let moment = at + within * fraction / 1_000;
                while Instant::now() < moment {
                    std::thread::yield_now();
                }
                return Ok(());
            }
        }

        fn count(&mut self, said: &[Said]) {
            let number = |of: &Said| said.iter().filter(|said| *said == of).count();
            let tally = &mut self.tally;
            if said.last() == Some(&Said::Closed) {
                tally.closed += 1;
                return;
            }
            tally.killed += 1;
            tally.in_recovery += u64::from(number(&Said::Ready) == 0);
            tally.in_compaction += u64::from(number(&Said::Snap) > number(&Said::Snapped));
            tally.in_closing += u64::from(number(&Said::Closing) > 0);
        }
    }

    /// How long something took, but no longer than it is ever worth waiting.
    fn took(since: Option<Instant>, at: Instant) -> Duration {
        since.map_or(Duration::ZERO, |since| at - since).min(Duration::from_millis(50))
    }

    /// What the child said, and when it was heard.
    type Heard = (Result<Said, String>, Instant);

    fn hear(child: &mut Child) -> Receiver<Heard> {
        let pipe = child.stdout.take().unwrap();
        let (send, receive) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines() {
                let words = line.map_err(|error| error.to_string()).and_then(|line| line.parse());
                if send.send((words, Instant::now())).is_err() {
                    return;
                }
            }
        });
        receive
    }
}
