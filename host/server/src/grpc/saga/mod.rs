//! `wasmill.v1.SagaService`.

pub(crate) mod convert;

use std::sync::Arc;

use tonic::{Request, Response, Status};
use wasmill_core::code::{Code, Problem};
use wasmill_core::limits::saga as limits;
use wasmill_core::principal::Principal;
use wasmill_core::saga::{Command, SagaEvent, StartSaga};

use super::convert::list_limit;
use super::status::{refuse, status};
use crate::app::{App, Caller};
use crate::proto::saga_service_server::SagaService;
use crate::{proto, sagas};
use convert::saga;

pub(super) struct SagaApi(pub(super) Arc<App>);

impl SagaApi {
    async fn order(
        &self,
        (principal, id, note): (Principal, String, String),
        command: Command,
    ) -> Result<Option<proto::Saga>, Status> {
        let ordered = async { sagas::order(&self.0, sagas::id(&id)?, command, (&principal, note)).await };
        ordered.await.map(|status| Some(saga(status))).map_err(|problem| status(&problem))
    }
}

/// Who asks, which every request carries.
fn principal<T>(request: &Request<T>) -> Principal {
    request.extensions().get::<Caller>().map_or(Principal::Anonymous, |caller| caller.principal.clone())
}

#[tonic::async_trait]
impl SagaService for SagaApi {
    async fn start_saga(
        &self,
        request: Request<proto::StartSagaRequest>,
    ) -> Result<Response<proto::StartSagaResponse>, Status> {
        let proto::StartSagaRequest { r#type: saga_type, correlation_id, input, wait_ms } = request.into_inner();
        let started = async {
            let wait = sagas::wait_time(wait_ms.into(), "wait_ms")?;
            sagas::start(&self.0, StartSaga { saga_type, correlation_id, input }, wait).await
        };
        let (started, known) = started.await.map_err(|problem| status(&problem))?;
        Ok(Response::new(proto::StartSagaResponse {
            id: started.id.to_string(),
            correlation_id: started.correlation_id,
            created: started.new,
            saga: known.map(saga),
        }))
    }

    async fn get_saga(
        &self,
        request: Request<proto::GetSagaRequest>,
    ) -> Result<Response<proto::GetSagaResponse>, Status> {
        let proto::GetSagaRequest { id, r#type, correlation_id, wait_ms } = request.into_inner();
        let known = async {
            let wait = sagas::wait_time(wait_ms.into(), "wait_ms")?;
            match (id.is_empty(), r#type.is_empty(), correlation_id.is_empty()) {
                (false, true, true) => sagas::status(&self.0, sagas::id(&id)?, wait).await,
                (true, false, false) => {
                    let found = sagas::find(&self.0, &r#type, &correlation_id).await?;
                    if wait.is_none() { Ok(found) } else { sagas::status(&self.0, found.id, wait).await }
                }
                _ => {
                    let what = "name it by its id, or by its type and correlation id";
                    Err(Problem::new(Code::InvalidArgument, what).with("id", what))
                }
            }
        };
        let known = known.await.map_err(|problem| status(&problem))?;
        Ok(Response::new(proto::GetSagaResponse { saga: Some(saga(known)) }))
    }

    async fn list_sagas(
        &self,
        request: Request<proto::ListSagasRequest>,
    ) -> Result<Response<proto::ListSagasResponse>, Status> {
        let query = convert::query(request.into_inner()).map_err(|problem| status(&problem))?;
        Ok(Response::new(convert::page(self.0.host.sagas.list(&query).await.map_err(refuse)?)))
    }

    async fn get_saga_timeline(
        &self,
        request: Request<proto::GetSagaTimelineRequest>,
    ) -> Result<Response<proto::GetSagaTimelineResponse>, Status> {
        let proto::GetSagaTimelineRequest { id, from, limit } = request.into_inner();
        let id = sagas::id(&id).map_err(|problem| status(&problem))?;
        let limit = list_limit(limit, limits::PAGE).map_err(|problem| status(&problem))?;
        let timeline = self.0.host.sagas.timeline(id, from, limit).await.map_err(refuse)?;
        Ok(Response::new(convert::timeline(timeline)))
    }

    async fn pause_saga(
        &self,
        request: Request<proto::PauseSagaRequest>,
    ) -> Result<Response<proto::PauseSagaResponse>, Status> {
        let principal = principal(&request);
        let proto::PauseSagaRequest { id, note } = request.into_inner();
        let saga = self.order((principal, id, note), Command::Pause).await?;
        Ok(Response::new(proto::PauseSagaResponse { saga }))
    }

    async fn resume_saga(
        &self,
        request: Request<proto::ResumeSagaRequest>,
    ) -> Result<Response<proto::ResumeSagaResponse>, Status> {
        let principal = principal(&request);
        let proto::ResumeSagaRequest { id, note, revision } = request.into_inner();
        let saga = self.order((principal, id, note), Command::Resume { revision }).await?;
        Ok(Response::new(proto::ResumeSagaResponse { saga }))
    }

    async fn cancel_saga(
        &self,
        request: Request<proto::CancelSagaRequest>,
    ) -> Result<Response<proto::CancelSagaResponse>, Status> {
        let principal = principal(&request);
        let proto::CancelSagaRequest { id, note } = request.into_inner();
        let saga = self.order((principal, id, note), Command::Cancel).await?;
        Ok(Response::new(proto::CancelSagaResponse { saga }))
    }

    async fn kill_saga(
        &self,
        request: Request<proto::KillSagaRequest>,
    ) -> Result<Response<proto::KillSagaResponse>, Status> {
        let principal = principal(&request);
        let proto::KillSagaRequest { id, note } = request.into_inner();
        let saga = self.order((principal, id, note), Command::Kill).await?;
        Ok(Response::new(proto::KillSagaResponse { saga }))
    }

    async fn retry_saga(
        &self,
        request: Request<proto::RetrySagaRequest>,
    ) -> Result<Response<proto::RetrySagaResponse>, Status> {
        let principal = principal(&request);
        let proto::RetrySagaRequest { id, note, step, revision } = request.into_inner();
        let saga = self.order((principal, id, note), Command::Retry { step, revision }).await?;
        Ok(Response::new(proto::RetrySagaResponse { saga }))
    }

    async fn skip_saga_step(
        &self,
        request: Request<proto::SkipSagaStepRequest>,
    ) -> Result<Response<proto::SkipSagaStepResponse>, Status> {
        let principal = principal(&request);
        let proto::SkipSagaStepRequest { id, note } = request.into_inner();
        let saga = self.order((principal, id, note), Command::Skip).await?;
        Ok(Response::new(proto::SkipSagaStepResponse { saga }))
    }

    async fn mark_saga_step_done(
        &self,
        request: Request<proto::MarkSagaStepDoneRequest>,
    ) -> Result<Response<proto::MarkSagaStepDoneResponse>, Status> {
        let principal = principal(&request);
        let proto::MarkSagaStepDoneRequest { id, note, output } = request.into_inner();
        let saga = self.order((principal, id, note), Command::MarkDone { output }).await?;
        Ok(Response::new(proto::MarkSagaStepDoneResponse { saga }))
    }

    async fn send_saga_event(
        &self,
        request: Request<proto::SendSagaEventRequest>,
    ) -> Result<Response<proto::SendSagaEventResponse>, Status> {
        let proto::SendSagaEventRequest { id, r#type: event_type, key, stream, data } = request.into_inner();
        let sent = async {
            let event = SagaEvent { stream, event_type, key, data };
            sagas::send(&self.0, sagas::id(&id)?, event).await
        };
        let appended = sent.await.map_err(|problem| status(&problem))?;
        Ok(Response::new(proto::SendSagaEventResponse {
            stream: appended.stream.to_string(),
            offset: appended.first_offset.0,
            position: appended.first_position.0,
        }))
    }

    async fn forget_saga(
        &self,
        request: Request<proto::ForgetSagaRequest>,
    ) -> Result<Response<proto::ForgetSagaResponse>, Status> {
        let id = sagas::id(&request.into_inner().id).map_err(|problem| status(&problem))?;
        self.0.host.sagas.forget(id).await.map_err(refuse)?;
        Ok(Response::new(proto::ForgetSagaResponse {}))
    }
}
