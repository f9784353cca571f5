//! One random run.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::faulty::{Fault, Faulty};
use super::reference::{Known, Reference, State, Who};
use super::setup::{config, host_over, make};
use crate::clock::{ManualClock, Timestamp};
use crate::event::{NewEvent, Position};
use crate::group::config::{GroupConfig, Start};
use crate::group::message::{DELAY_MS, PRIORITY, PRIORITY_DEFAULT, TIME_TO_LIVE_MS};
use crate::group::{DeadLetter, GroupError, Membership, Nack, Settled, Token, Which};
use crate::host::Host;
use crate::log::publish::Append;
use crate::random::Random;
use crate::store::{PageLimit, Store};

pub(super) const GROUP: &str = "g";
const NAMES: [&str; 4] = ["ann", "bob", "cy", "di"];
const KEYS: [&str; 4] = ["k1", "k2", "k3", "k4"];
pub(super) const STREAMS: [&str; 2] = ["order-1", "order-2"];

/// Runs `steps` random calls; `open` opens the store, anew after each death of the host. Panics with what was
/// broken; the seed repeats it.
pub async fn run(seed: u64, steps: usize, open: impl AsyncFn() -> Arc<dyn Store>) {
    let mut random = Random::new(seed);
    let config = config(&mut random);
    let clock = ManualClock::at(Timestamp(1_700_000_000_000_000));
    let store = Arc::new(Faulty::new(open().await));
    let host = host_over(Arc::clone(&store), &clock).await;
    let queue = random.percent(30);
    let config = if queue { GroupConfig { streams: vec![STREAMS[0].into()], ..config } } else { config };
    make(&host, &config, queue).await;
    let history = History(vec![format!("queue: {queue}, {config:?}")]);
    let reference = Reference {
        config,
        events: BTreeMap::new(),
        members: Vec::new(),
        paused: false,
        now: clock_us(&clock),
        resets: 0,
    };
    let mut run = Run {
        random,
        reference,
        clock,
        store,
        host,
        open,
        connected: BTreeMap::new(),
        tokens: Vec::new(),
        queue,
        history,
    };
    for _ in 0..steps {
        run.step().await;
        run.settle_down().await;
    }
    run.finish().await;
}

fn clock_us(clock: &ManualClock) -> i64 {
    use crate::clock::Clock;
    clock.now().0
}

/// What was called and answered, told when a run fails.
#[derive(Default)]
struct History(Vec<String>);

impl Drop for History {
    #[expect(clippy::print_stderr, reason = "whoever reads the failure wants to know what led to it")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0.join("\n"));
        }
    }
}

struct Run<F> {
    random: Random,
    reference: Reference,
    clock: ManualClock,
    store: Arc<Faulty>,
    host: Arc<Host>,
    open: F,
    /// Members that still know that they are.
    connected: BTreeMap<Who, Membership>,
    /// Every delivery ever, so that late words on old ones are tried too.
    tokens: Vec<(Who, Token)>,
    queue: bool,
    history: History,
}

impl<F: AsyncFn() -> Arc<dyn Store>> Run<F> {
    async fn step(&mut self) {
        match self.random.below(100) {
            0..16 => self.publish().await,
            16..24 => self.join().await,
            24..26 => self.leave().await,
            26..28 => self.vanish(),
            28..52 => self.pull().await,
            52..68 => self.ack().await,
            68..76 => self.nack().await,
            76..78 => self.extend().await,
            78..80 => self.heartbeat().await,
            80..87 => self.advance(),
            87..89 => self.pause().await,
            89..90 => self.reset().await,
            90..91 => self.skip().await,
            91..94 => self.dead_letters().await,
            94..95 => self.commit().await,
            95..97 => self.ack_with_a_fault().await,
            _ => self.restart().await,
        }
    }

    /// Whatever is under way is durable, and time's work done.
    async fn settle_down(&mut self) {
        self.reference.tick();
        self.host.groups.skip(GROUP, Position(u64::MAX)).await.expect("the group answers");
        let letters = self.letters().await;
        self.reference.check_letters(&letters);
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        self.history.0.push(what());
    }

    /// Of deliveries that are in someone's hands.
    fn positions(&self, tokens: &[Token]) -> Vec<Option<u64>> {
        let held = |known: &Known, token: Token| match known.state {
            State::Out { token: held, .. } | State::Noted { token: held, .. } => held == token,
            _ => false,
        };
        let position = |token: &Token| {
            let mut events = self.reference.events.iter();
            events.find(|(_, known)| held(known, *token)).map(|(position, _)| *position)
        };
        tokens.iter().map(position).collect()
    }

    async fn letters(&self) -> Vec<DeadLetter> {
        let mut letters: Vec<DeadLetter> = Vec::new();
        loop {
            let from = letters.last().map_or(Position(0), |last| Position(last.position().0 + 1));
            let page = self.host.groups.dead_letters(GROUP, from, 1_000).await.expect("they are read");
            letters.extend(page.letters);
            if !page.more {
                return letters;
            }
        }
    }

    async fn publish(&mut self) {
        let stream = if self.queue { STREAMS[0] } else { *self.random.pick(&STREAMS) };
        let now = self.reference.now;
        let mut events = Vec::new();
        let mut said = Vec::new();
        for _ in 0..=self.random.below(4) {
            let key = self.random.percent(80).then(|| *self.random.pick(&KEYS));
            let delayed = self.queue && self.random.percent(20);
            let expires = self.queue && self.random.percent(20);
            let (delay, time_to_live) = (self.random.below(4_000) as i64, self.random.below(6_000) as i64);
            let not_before = if delayed { now + delay * 1_000 } else { 0 };
            let expires_at = if expires { now + time_to_live * 1_000 } else { i64::MAX };
            let urgent = self.queue && self.random.percent(40);
            let priority = if urgent { self.random.below(10) as u8 } else { PRIORITY_DEFAULT };
            let mut headers = Vec::new();
            headers.extend(urgent.then(|| (PRIORITY.to_owned(), priority.to_string())));
            headers.extend(delayed.then(|| (DELAY_MS.to_owned(), delay.to_string())));
            headers.extend(expires.then(|| (TIME_TO_LIVE_MS.to_owned(), time_to_live.to_string())));
            events.push(NewEvent {
                id: Uuid::now_v7(),
                event_type: "t".into(),
                key: key.map(str::to_owned),
                data: Bytes::from_static(b"{}"),
                headers,
                ..NewEvent::default()
            });
            said.push((key, (not_before, expires_at), priority));
        }
        let append = Append { stream: stream.into(), events, ..Append::default() };
        let appended = self.host.publisher.append(append).await.expect("it is appended");
        self.tell(|| format!("published {said:?} to {stream} at {}", appended.first_position));
        for ((key, times, priority), position) in said.into_iter().zip(appended.first_position.0..) {
            let lone = if self.queue { format!("#{position}") } else { stream.to_owned() };
            let key = key.map_or(lone, str::to_owned);
            self.reference.published(position, key, times, priority);
        }
    }

    fn someone(&mut self) -> Option<(Who, Membership)> {
        let all: Vec<(Who, Membership)> = self.connected.iter().map(|(who, member)| (*who, member.clone())).collect();
        (!all.is_empty()).then(|| self.random.pick(&all).clone())
    }

    async fn join(&mut self) {
        let name = *self.random.pick(&NAMES);
        let member = self.host.groups.join(GROUP, name).await.expect("there is room");
        self.reference.tick();
        let who = self.reference.joined(name);
        self.connected.insert(who, member);
        self.tell(|| format!("{who} joined as {name}"));
    }

    async fn leave(&mut self) {
        let Some((who, member)) = self.someone() else { return };
        self.tell(|| format!("{who} leaves"));
        member.leave().await.expect("it may always leave");
        if !self.reference.members[who].gone {
            self.reference.removed(who, false);
        }
        self.connected.remove(&who);
    }

    fn vanish(&mut self) {
        if let Some((who, _)) = self.someone() {
            self.tell(|| format!("{who} vanishes"));
            self.connected.remove(&who);
        }
    }

    /// What a call of a member answers, `None` if its session has ended, as it should.
    fn alive<T>(&mut self, who: Who, answer: Result<T, GroupError>) -> Option<T> {
        self.reference.tick();
        match answer {
            Ok(answer) => {
                assert!(!self.reference.members[who].gone, "a member that is gone is told so");
                self.reference.heard_of(who);
                Some(answer)
            }
            Err(GroupError::SessionEnded) => {
                assert!(self.reference.members[who].gone, "a member that was heard of in time is one");
                self.connected.remove(&who);
                None
            }
            Err(error) => panic!("a call failed: {error:?}"),
        }
    }

    async fn pull(&mut self) {
        let Some((who, member)) = self.someone() else { return };
        self.pull_for(who, &member).await;
    }

    async fn pull_for(&mut self, who: Who, member: &Membership) -> usize {
        let room = 1 + self.random.below(5) as usize;
        let limit = PageLimit { events: room, bytes: 1 << 20 };
        let handed = member.pull(limit, Timestamp(clock_us(&self.clock))).await;
        let Some(handed) = self.alive(who, handed) else { return 0 };
        let positions: Vec<u64> = handed.iter().map(|one| one.event.position().0).collect();
        self.tell(|| format!("{who} got {positions:?}"));
        // Reading may have found events that follow a dead letter of their key.
        let letters = self.letters().await;
        self.reference.handed(who, &handed, room);
        self.reference.check_letters(&letters);
        self.tokens.extend(handed.iter().map(|one| (who, one.token)));
        handed.len()
    }

    /// Some of a member's deliveries, and now and then old ones.
    fn some_tokens(&mut self, who: Who) -> Vec<Token> {
        let mut tokens: Vec<Token> =
            self.tokens.iter().filter(|(holder, _)| *holder == who).map(|(_, token)| *token).collect();
        if self.random.percent(80) {
            let in_hand = |token: &Token| self.positions(&[*token]) != [None];
            tokens.retain(in_hand);
        }
        let percent = *self.random.pick(&[30, 70, 100]);
        tokens.retain(|_| self.random.percent(percent));
        tokens
    }

    async fn ack(&mut self) {
        let Some((who, member)) = self.someone() else { return };
        let tokens = self.some_tokens(who);
        let answers = member.ack(tokens.clone()).await;
        let Some(answers) = self.alive(who, answers) else { return };
        let positions = self.positions(&tokens);
        self.tell(|| format!("{who} acknowledged {positions:?}: {answers:?}"));
        assert_eq!(answers, self.reference.acked(who, &tokens), "acknowledgements");
    }

    /// The commit of an acknowledgement fails before or after it is stored.
    async fn ack_with_a_fault(&mut self) {
        let Some((who, member)) = self.someone() else { return };
        let tokens = self.some_tokens(who);
        let fault = *self.random.pick(&[Fault::Before, Fault::After]);
        self.store.set(fault);
        let answers = member.ack(tokens.clone()).await;
        // What was only noted is answered before the commit that it may have brought about.
        let _ = self.host.groups.skip(GROUP, Position(u64::MAX)).await;
        let failed = self.store.fault() == Fault::None;
        self.store.set(Fault::None);
        let positions = self.positions(&tokens);
        self.tell(|| format!("{who} acknowledged {positions:?} with a fault {fault:?}, met: {failed}: {answers:?}"));
        if failed {
            if !matches!(answers, Err(GroupError::SessionEnded)) {
                self.reference.heard_of(who);
            }
            if fault == Fault::After {
                self.reference.acked(who, &tokens);
            }
            assert!(!answers.is_ok_and(|answers| answers.contains(&Settled::Durable)), "what failed is not durable");
            self.reference.begun_anew();
            return;
        }
        let Some(answers) = self.alive(who, answers) else { return };
        assert_eq!(answers, self.reference.acked(who, &tokens), "acknowledgements");
        assert!(!answers.contains(&Settled::Durable), "what is not stored is not called durable");
    }

    async fn nack(&mut self) {
        let Some((who, member)) = self.someone() else { return };
        let tokens = self.some_tokens(who);
        let nack = match self.random.below(8) {
            0..4 => Nack::Retry { error: "no".into(), after_ms: None },
            4 | 5 => Nack::Delay { ms: self.random.below(3_000) },
            6 => Nack::Park { error: "never".into() },
            _ => Nack::Skip,
        };
        let answers = member.nack(tokens.clone(), nack.clone()).await;
        let Some(answers) = self.alive(who, answers) else { return };
        let positions = self.positions(&tokens);
        self.tell(|| format!("{who} refused {positions:?} with {nack:?}: {answers:?}"));
        for (token, answer) in tokens.into_iter().zip(answers) {
            assert_eq!(answer, self.reference.nacked(who, token, &nack), "{nack:?} of {token}");
            // Followers may have become dead letters with it.
            let letters = self.letters().await;
            self.reference.follow(&letters);
        }
    }

    async fn extend(&mut self) {
        let Some((who, member)) = self.someone() else { return };
        let tokens = self.some_tokens(who);
        let ms = 500 + self.random.below(10_000);
        let answers = member.extend(tokens.clone(), ms).await;
        let Some(answers) = self.alive(who, answers) else { return };
        for (token, answer) in tokens.into_iter().zip(answers) {
            assert_eq!(answer, self.reference.extended(who, token, ms), "extension of {token}");
        }
    }

    async fn heartbeat(&mut self) {
        let Some((who, member)) = self.someone() else { return };
        let answer = member.heartbeat().await;
        self.alive(who, answer);
    }

    fn advance(&mut self) {
        let ms = *self.random.pick(&[1, 100, 250, 1_000, 2_000, 6_000, 11_000]);
        self.clock.advance_us(ms * 1_000);
        self.reference.now = clock_us(&self.clock);
        self.tell(|| format!("{ms} ms later"));
    }

    async fn pause(&mut self) {
        self.reference.paused = !self.reference.paused && self.random.percent(40);
        let groups = &self.host.groups;
        let done = if self.reference.paused { groups.pause(GROUP).await } else { groups.resume(GROUP).await };
        done.expect("it is paused or resumed");
    }

    async fn reset(&mut self) {
        if self.queue {
            return;
        }
        let tail = self.host.reader.tail().next().0;
        let to = self.random.below(tail + 1);
        let answer = self.host.groups.reset(GROUP, Start::Position(to)).await.expect("it is reset");
        assert_eq!(answer, Position(to));
        self.tell(|| format!("reset to {to}"));
        self.reference.tick();
        self.reference.reset(to);
    }

    async fn skip(&mut self) {
        let tail = self.host.reader.tail().next().0;
        let position = self.random.below(tail + 1);
        let skipped = self.host.groups.skip(GROUP, Position(position)).await.expect("the group answers");
        self.reference.tick();
        if skipped {
            self.tell(|| format!("skipped {position}"));
            self.reference.skipped(position);
        }
    }

    async fn commit(&mut self) {
        let Some((who, member)) = self.someone() else { return };
        let answer = member.commit().await;
        let Some(count) = self.alive(who, answer) else { return };
        self.tell(|| format!("{who} commits {count}"));
        assert_eq!(count, self.reference.settle_noted(who), "what was acknowledged is committed");
    }

    async fn dead_letters(&mut self) {
        let letters = self.letters().await;
        let which = match self.random.below(4) {
            0 => Which::All,
            1 => Which::Key((*self.random.pick(&KEYS)).to_owned()),
            _ if letters.is_empty() => Which::Positions(vec![Position(0)]),
            _ => Which::Positions(vec![self.random.pick(&letters).position()]),
        };
        let meant: Vec<&DeadLetter> = letters
            .iter()
            .filter(|letter| match &which {
                Which::All => true,
                Which::Key(key) => letter.event.key() == Some(key),
                Which::Positions(positions) => positions.contains(&letter.position()),
            })
            .collect();
        let positions: Vec<u64> = meant.iter().map(|letter| letter.position().0).collect();
        if self.random.percent(70) {
            match self.host.groups.replay(GROUP, &which).await {
                Ok(count) => {
                    self.tell(|| format!("replayed {positions:?}"));
                    assert_eq!(count, positions.len(), "all of them are handed in");
                    self.reference.tick();
                    self.reference.replayed(&positions);
                }
                Err(_) => assert!(matches!(which, Which::Positions(_)), "only single ones are refused"),
            }
        } else if self.host.groups.purge(GROUP, &which).await.is_ok() {
            self.tell(|| format!("purged {positions:?}"));
            self.reference.tick();
            self.reference.purged(&positions);
        }
    }

    /// The host dies, or is stopped, and another one goes on.
    async fn restart(&mut self) {
        let dies = self.random.percent(60);
        self.restarted(dies).await;
    }

    async fn restarted(&mut self, dies: bool) {
        self.tell(|| format!("the host {}", if dies { "dies" } else { "stops" }));
        if dies {
            self.store.set(Fault::Dead);
        }
        self.host.stop().await;
        self.reference.all_gone(!dies);
        self.connected.clear();
        self.store = Arc::new(Faulty::new((self.open)().await));
        self.host = host_over(Arc::clone(&self.store), &self.clock).await;
    }

    /// Everything is settled by someone, or is a dead letter.
    async fn finish(&mut self) {
        self.reference.paused = false;
        self.host.groups.resume(GROUP).await.expect("it is resumed");
        // Those who have vanished are gone by then, and what they had has rested.
        for _ in 0..2 {
            self.clock.advance_us(3_600_000_000);
            self.reference.now = clock_us(&self.clock);
            self.settle_down().await;
        }
        self.connected.clear();
        let name = "last";
        let member = self.host.groups.join(GROUP, name).await.expect("there is room");
        let who = self.reference.joined(name);
        loop {
            let before = self.tokens.len();
            if self.pull_for(who, &member).await == 0 {
                // What is handed out by itself, or rests, comes later.
                break;
            }
            let tokens: Vec<Token> = self.tokens[before..].iter().map(|(_, token)| *token).collect();
            let answers = member.ack(tokens.clone()).await;
            let Some(answers) = self.alive(who, answers) else { break };
            assert_eq!(answers, self.reference.acked(who, &tokens), "acknowledgements");
            let count = member.commit().await.expect("it is committed");
            assert_eq!(count, self.reference.settle_noted(who));
            self.settle_down().await;
        }
        let now = self.reference.now;
        let is_over = |known: &Known| matches!(known.state, State::Done | State::Parked) || known.has_expired(now);
        let open = self.reference.events.iter().find(|(_, known)| !is_over(known));
        assert!(open.is_none(), "an event is lost: {open:?}");
        self.host.stop().await;
    }
}
