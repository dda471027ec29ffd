//! What generic tools find out about a running Decant: health and reflection.

use decant_tests::{Cluster, datasets};
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

async fn connect(address: std::net::SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap()
}

async fn health(channel: Channel, service: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = HealthClient::new(channel).check(request).await;
    answer
        .map(|answer| answer.into_inner().status())
        .map_err(|status| status.code())
}

async fn services(channel: Channel) -> Vec<String> {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let requests = tokio_stream::iter([request]);
    let mut answers = ServerReflectionClient::new(channel)
        .server_reflection_info(requests)
        .await
        .unwrap()
        .into_inner();
    let answer = answers
        .message()
        .await
        .unwrap()
        .unwrap()
        .message_response
        .unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else {
        panic!("{answer:?}")
    };
    list.service
        .into_iter()
        .map(|service| service.name)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_answer_on_every_listener() {
    let cluster = Cluster::start(&datasets()).await;
    let listeners = [
        (
            cluster.addresses.trainer,
            "decant.trainer.v1.TrainerService",
        ),
        (
            cluster.addresses.registry,
            "decant.rollout.v1.RolloutService",
        ),
        (cluster.addresses.scorer, "decant.scorer.v1.ScorerService"),
        (cluster.addresses.scorer, "inference.GRPCInferenceService"),
    ];
    for (address, service) in listeners {
        let channel = connect(address).await;
        assert_eq!(
            health(channel.clone(), "").await,
            Ok(ServingStatus::Serving),
            "{service}"
        );
        assert_eq!(
            health(channel.clone(), "no.such.Service").await,
            Err(Code::NotFound)
        );
        let found = services(channel).await;
        assert!(
            found.iter().any(|name| name == service),
            "{service}: {found:?}"
        );
    }
    cluster.stop().await;
}
