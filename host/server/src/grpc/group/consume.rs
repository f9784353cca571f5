//! A member over one call.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use uuid::Uuid;
use wasmill_core::code::{Code, Problem};
use wasmill_core::group::{Answer, GroupError, Handing, Membership, Settled};
use wasmill_core::limits::group as limits;
use wasmill_core::store::PageLimit;

use super::super::status::{refuse, status};
use super::{VIA, convert};
use crate::app::App;
use crate::deliveries::until;
use crate::proto::consume_request::Kind as Asked;
use crate::proto::consume_response::Kind as Said;
use crate::proto::{ConsumeDeliveries, ConsumeOpen, ConsumeOpened, ConsumeRequest, ConsumeResponse, ConsumeSettled};

/// Answers that wait for a slow client; beyond, nothing more is handed out to it.
const ANSWERS_MAX: usize = 16;
/// Settlements that may be on their way; beyond, no more are read from the client.
const SETTLING_MAX: usize = 256;
/// The call is the member's sign of life: the host gives it so often.
const ALIVE_EVERY: Duration = Duration::from_millis(limits::TIMEOUT_MS_MIN / 2);
const CREDIT_MAX: u32 = 10_000;

type Said_ = Result<ConsumeResponse, Status>;
type Settlement = BoxFuture<'static, Result<ConsumeSettled, GroupError>>;
type Pull = BoxFuture<'static, Result<Vec<Handing>, GroupError>>;

/// The client has gone away.
struct Gone;

pub(super) fn start(app: Arc<App>, mut requests: Streaming<ConsumeRequest>) -> impl Stream<Item = Said_> + Send {
    let (answers, stream) = mpsc::channel(ANSWERS_MAX);
    tokio::spawn(async move {
        let opened = open(&app, &mut requests).await;
        match opened {
            Err(status) => drop(answers.send(Err(status)).await),
            Ok((member, credit, alive_every)) => {
                let consumer = Consumer { app, requests, answers, member, credit, alive_every };
                consumer.run().await;
            }
        }
    });
    ReceiverStream::new(stream)
}

async fn open(app: &App, requests: &mut Streaming<ConsumeRequest>) -> Result<(Membership, u32, Duration), Status> {
    let first = requests.message().await?.and_then(|request| request.kind);
    let Some(Asked::Open(ConsumeOpen { group, member, credit })) = first else {
        let text = "the first message of the call opens it: say which group";
        return Err(status(&Problem::new(Code::InvalidArgument, text).with("open", text)));
    };
    check_credit(credit).map_err(|problem| status(&problem))?;
    let name = if member.is_empty() { Uuid::now_v7().to_string() } else { member };
    let record = app.host.groups.record(&group).await.map_err(refuse)?;
    let session = u64::try_from(record.config.session_timeout_us()).unwrap_or_default();
    let member = app.host.groups.join(&group, &name).await.map_err(refuse)?;
    Ok((member, credit, Duration::from_micros(session / 3).max(ALIVE_EVERY)))
}

fn check_credit(credit: u32) -> Result<(), Problem> {
    if (1..=CREDIT_MAX).contains(&credit) {
        return Ok(());
    }
    let text = format!("{credit} is not 1 to {CREDIT_MAX}");
    Err(Problem::new(Code::InvalidArgument, format!("credit: {text}")).with("credit", text))
}

struct Consumer {
    app: Arc<App>,
    requests: Streaming<ConsumeRequest>,
    answers: mpsc::Sender<Said_>,
    member: Membership,
    /// Deliveries that the client still has room for.
    credit: u32,
    alive_every: Duration,
}

/// How a call ends.
enum End {
    /// The client has said all, or the host stops: what it has goes back uncounted.
    Peace(Option<Status>),
    Gone,
}

impl Consumer {
    async fn run(mut self) {
        let end = match self.serve().await {
            Ok(end) => end,
            Err(Gone) => End::Gone,
        };
        // The group may be gone by now, and then there is nothing to give back.
        match end {
            End::Peace(said) => {
                let _ = self.member.leave().await;
                if let Some(said) = said {
                    let _ = self.answers.send(Err(said)).await;
                }
            }
            End::Gone => drop(self.member.lost().await),
        }
    }

    async fn serve(&mut self) -> Result<End, Gone> {
        let session = self.member.session().to_string();
        self.say(Said::Opened(ConsumeOpened { session })).await?;
        let mut settling: FuturesOrdered<Settlement> = FuturesOrdered::new();
        let mut pulling: VecDeque<Pull> = VecDeque::with_capacity(1);
        loop {
            if pulling.is_empty() && self.credit > 0 {
                pulling.push_back(self.pull());
            }
            let drain = self.app.drain.clone();
            tokio::select! {
                biased;
                Some(settled) = settling.next() => match settled {
                    Ok(settled) => self.say(Said::Settled(settled)).await?,
                    Err(error) => return Ok(End::Peace(Some(refuse(error)))),
                },
                () = self.answers.closed() => return Err(Gone),
                () = drain.cancelled() => return Ok(End::Peace(Some(status(&App::draining())))),
                handed = front(&mut pulling) => {
                    pulling.clear();
                    match handed {
                        Ok(handed) if handed.is_empty() => {}
                        Ok(handed) => self.hand_out(&handed).await?,
                        Err(error) => return Ok(End::Peace(Some(refuse(error)))),
                    }
                }
                request = self.requests.message(), if settling.len() < SETTLING_MAX => match request {
                    Ok(Some(request)) => {
                        if let Err(said) = self.asked(request, &mut settling).await {
                            return Ok(End::Peace(Some(said)));
                        }
                    }
                    Ok(None) => {
                        while let Some(Ok(settled)) = settling.next().await {
                            self.say(Said::Settled(settled)).await?;
                        }
                        return Ok(End::Peace(None));
                    }
                    Err(_) => return Err(Gone),
                },
                () = tokio::time::sleep(self.alive_every), if pulling.is_empty() => {
                    if let Err(error) = self.member.heartbeat().await {
                        return Ok(End::Peace(Some(refuse(error))));
                    }
                }
            }
        }
    }

    /// Every pull tells that the member is alive, so none is longer than that may wait.
    fn pull(&self) -> Pull {
        let (member, until) = (self.member.clone(), until(&self.app, self.alive_every));
        let events = (self.credit as usize).min(limits::PULL_EVENTS_MAX);
        let room = PageLimit { events, bytes: limits::PULL_BYTES_MAX };
        Box::pin(async move { member.pull(room, until).await })
    }

    async fn hand_out(&mut self, handed: &[Handing]) -> Result<(), Gone> {
        self.credit = self.credit.saturating_sub(u32::try_from(handed.len()).unwrap_or(u32::MAX));
        self.app.host.metrics.events_delivered.with_label_values(&[VIA]).inc_by(handed.len() as u64);
        let deliveries = handed.iter().map(convert::delivery).collect();
        self.say(Said::Deliveries(ConsumeDeliveries { deliveries })).await
    }

    async fn asked(
        &mut self,
        request: ConsumeRequest,
        settling: &mut FuturesOrdered<Settlement>,
    ) -> Result<(), Status> {
        let check = |tokens: &[u64]| convert::check_tokens(tokens).map_err(|problem| status(&problem));
        match request.kind {
            Some(Asked::Credit(credit)) => {
                let credit = self.credit.saturating_add(credit);
                check_credit(credit).map_err(|problem| status(&problem))?;
                self.credit = credit;
            }
            Some(Asked::Ack(ack)) => {
                check(&ack.tokens)?;
                settling.push_back(settled(self.member.submit_ack(ack.tokens).await.map_err(refuse)?));
            }
            Some(Asked::Nack(nack)) => {
                check(&nack.tokens)?;
                let refusal = convert::nack(nack.refusal).map_err(|problem| status(&problem))?;
                settling.push_back(settled(self.member.submit_nack(nack.tokens, refusal).await.map_err(refuse)?));
            }
            Some(Asked::Extend(extend)) => {
                check(&extend.tokens)?;
                settling.push_back(settled(self.member.submit_extend(extend.tokens, extend.ms).await.map_err(refuse)?));
            }
            Some(Asked::Commit(_)) => {
                let answer = self.member.submit_commit().await.map_err(refuse)?;
                let outcome = async { answer.outcome().await.map(|count| count as u64) };
                settling.push_back(Box::pin(async {
                    Ok(ConsumeSettled { committed: outcome.await?, ..ConsumeSettled::default() })
                }));
            }
            Some(Asked::Heartbeat(_)) => self.member.heartbeat().await.map_err(refuse)?,
            Some(Asked::Open(_)) | None => {
                let text = "a message says one thing, and only the first one opens";
                return Err(status(&Problem::new(Code::InvalidArgument, text)));
            }
        }
        Ok(())
    }

    async fn say(&self, said: Said) -> Result<(), Gone> {
        self.answers.send(Ok(ConsumeResponse { kind: Some(said) })).await.map_err(|_| Gone)
    }
}

fn settled(answer: Answer<Vec<Settled>>) -> Settlement {
    Box::pin(async {
        let outcomes = convert::outcomes(&answer.outcome().await?);
        Ok(ConsumeSettled { outcomes, ..ConsumeSettled::default() })
    })
}

/// The pull that runs; never if none does.
async fn front(pulling: &mut VecDeque<Pull>) -> Result<Vec<Handing>, GroupError> {
    match pulling.front_mut() {
        Some(pull) => pull.await,
        None => std::future::pending().await,
    }
}
