//! Sagas by the command line and over gRPC: started, shown, sent an approval, ordered about and forgotten.

use serde_json::{Value, json};
use tonic::Code;
use wasmill_server::proto::saga_service_client::SagaServiceClient;
use wasmill_server::proto::{
    CancelSagaRequest, ForgetSagaRequest, GetSagaRequest, GetSagaTimelineRequest, ListSagasRequest, SagaActivity,
    SagaState, SendSagaEventRequest, StartSagaRequest,
};

use crate::cli::run_json;
use crate::support::{TestHost, flights};

/// Its second step waits for an approval.
const WAITS: &str = r#"{"two":[{"wait":{"type":"approved"}}]}"#;

async fn host() -> TestHost {
    let host = TestHost::start().await;
    let component = std::fs::read(flights::guest("test-saga")).expect("the guest is built");
    let (status, deployed) = host.post("/api/plugins?grantAll=true", "application/wasm", component).await;
    assert_eq!(status, 201, "{deployed}");
    host
}

/// Waits until it waits for its approval.
async fn waits(sagas: &mut SagaServiceClient<tonic::transport::Channel>, id: &str) {
    loop {
        let request = GetSagaRequest { id: id.into(), ..GetSagaRequest::default() };
        let saga = sagas.get_saga(request).await.expect("it is there").into_inner().saga.expect("a saga");
        if saga.summary.expect("a summary").activity() == SagaActivity::Waiting {
            return;
        }
    }
}

#[tokio::test]
async fn by_the_command_line() {
    let host = host().await;
    let line = |command: String| {
        let host = &host;
        async move { run_json(host, &command).await.json() }
    };
    let started = line(format!("saga start test-saga --correlation-id c-1 --input {WAITS}")).await;
    assert_eq!((&started["correlationId"], &started["created"]), (&json!("c-1"), &json!(true)), "{started}");
    let id = started["sagaId"].as_str().expect("an id");
    let again = line("saga start test-saga --correlation-id c-1".into()).await;
    assert_eq!((&again["sagaId"], &again["created"]), (&json!(id), &json!(false)));
    let mut sagas = SagaServiceClient::new(host.channel().await);
    waits(&mut sagas, id).await;
    let listed = line("saga list --activity waiting --step two".into()).await;
    assert_eq!(listed["sagas"].as_array().map(Vec::len), Some(1), "{listed}");
    line(format!("saga send {id} --type approved")).await;
    let ended = line(format!("saga status {id} --wait 30s")).await;
    assert_eq!((&ended["state"], &ended["progress"]), (&json!("completed"), &json!("3/3")), "{ended}");
    let timeline = line(format!("saga timeline {id}")).await.to_string();
    assert!(timeline.contains("approved") && timeline.contains("completed"), "{timeline}");
    let refused = run_json(&host, &format!("saga cancel {id}")).await;
    assert!(refused.code == Some(1) && refused.err.contains("saga_state"), "{}", refused.err);
    assert_eq!(line(format!("saga forget {id}")).await["forgotten"], json!(id));
    let gone = run_json(&host, &format!("saga status {id}")).await;
    assert!(gone.code == Some(1) && gone.err.contains("saga_not_found"), "{}", gone.err);
}

#[tokio::test]
async fn over_grpc() {
    let host = host().await;
    let mut sagas = SagaServiceClient::new(host.channel().await);
    let request = StartSagaRequest {
        r#type: "test-saga".into(),
        correlation_id: Some("c-1".into()),
        input: WAITS.into(),
        wait_ms: 0,
    };
    let first = sagas.start_saga(request.clone()).await.expect("it is started").into_inner();
    let again = sagas.start_saga(request.clone()).await.expect("it is there").into_inner();
    assert_eq!((first.created, again.created, &again.id), (true, false, &first.id));
    waits(&mut sagas, &first.id).await;
    let sent = SendSagaEventRequest { id: first.id.clone(), r#type: "approved".into(), ..Default::default() };
    sagas.send_saga_event(SendSagaEventRequest { data: "{}".into(), ..sent }).await.expect("it is sent");
    let by_type = GetSagaRequest { r#type: "test-saga".into(), correlation_id: "c-1".into(), ..Default::default() };
    let by_type = GetSagaRequest { wait_ms: 30_000, ..by_type };
    let saga = sagas.get_saga(by_type).await.expect("it is there").into_inner().saga.expect("a saga");
    let summary = saga.summary.expect("a summary");
    assert_eq!((summary.state(), summary.progress, summary.total_steps), (SagaState::Completed, 3, 3));
    let output: Value = serde_json::from_slice(&saga.steps[1].output.clone().expect("an output")).expect("JSON");
    assert_eq!(output["wokenBy"]["type"], "approved");

    let other = StartSagaRequest { correlation_id: None, ..request };
    let other = sagas.start_saga(other).await.expect("it is started").into_inner();
    waits(&mut sagas, &other.id).await;
    let cancel = CancelSagaRequest { id: other.id.clone(), note: "not wanted".into() };
    sagas.cancel_saga(cancel.clone()).await.expect("it is cancelled");
    let ended = GetSagaRequest { id: other.id.clone(), wait_ms: 30_000, ..Default::default() };
    let ended = sagas.get_saga(ended).await.expect("it is there").into_inner().saga.expect("a saga");
    assert_eq!(ended.summary.expect("a summary").state(), SagaState::Compensated);
    assert_eq!(sagas.cancel_saga(cancel).await.unwrap_err().code(), Code::FailedPrecondition);
    let facts = GetSagaTimelineRequest { id: other.id.clone(), ..Default::default() };
    let facts = sagas.get_saga_timeline(facts).await.expect("it has one").into_inner().facts;
    assert!(format!("{facts:?}").contains("not wanted"), "{facts:?}");

    let compensated = ListSagasRequest { state: SagaState::Compensated.into(), ..Default::default() };
    let listed = sagas.list_sagas(compensated).await.expect("a list").into_inner().sagas;
    assert_eq!(listed.iter().map(|saga| saga.id.as_str()).collect::<Vec<_>>(), [&other.id]);
    sagas.forget_saga(ForgetSagaRequest { id: other.id.clone() }).await.expect("it is forgotten");
    let gone = GetSagaRequest { id: other.id, ..Default::default() };
    assert_eq!(sagas.get_saga(gone).await.unwrap_err().code(), Code::NotFound);
    let unknown = StartSagaRequest { r#type: "nothing".into(), ..Default::default() };
    assert_eq!(sagas.start_saga(unknown).await.unwrap_err().code(), Code::NotFound);
}
