use decant_model::access::Role;
use decant_proto::trainer::v1::trainer_service_server::TrainerService as _;
use tonic::Code;

use super::*;
use crate::jobs::Folder;
use crate::jobs::testing::SPEC;

/// A request of somebody who has this role on one model.
fn by<M>(role: Role, model: &str, message: M) -> Request<M> {
    let models = vec![model.parse().unwrap()];
    let mut request = Request::new(message);
    let principal = Arc::new(Principal::new("ana", role, models));
    request.extensions_mut().insert(principal);
    request
}

fn code<T>(outcome: Result<Response<T>, Status>) -> Code {
    outcome.err().map_or(Code::Ok, |status| status.code())
}

#[tokio::test]
async fn a_job_is_there_for_those_who_see_its_model_and_changed_by_its_publishers() {
    let folder = tempfile::tempdir().unwrap();
    let (jobs, _turns) = Jobs::open(Folder::create(folder.path()).unwrap(), 4).unwrap();
    let (tasks, _failures) = Tasks::new();
    let service = Service::new(jobs, tasks);
    let submit = wire::SubmitJobRequest {
        spec_toml: SPEC.into(),
    };
    for (role, model) in [(Role::Viewer, "movies"), (Role::Publisher, "books")] {
        let refused = service.submit_job(by(role, model, submit.clone())).await;
        let status = refused.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied);
        assert!(status.message().contains("`publish` on model `movies`"));
    }
    let submitted = service.submit_job(by(Role::Publisher, "movies", submit));
    let id = submitted.await.unwrap().into_inner().job.unwrap().id;

    for (role, model, sees, changes) in [
        (Role::Admin, "books", false, false),
        (Role::Viewer, "movies", true, false),
        (Role::Publisher, "movies", true, true),
    ] {
        let expected = |allowed: bool| match allowed {
            true => Code::Ok,
            false => Code::PermissionDenied,
        };
        let listed = service.list_jobs(by(role, model, wire::ListJobsRequest {}));
        let listed = listed.await.unwrap().into_inner().jobs.len();
        assert_eq!(listed, usize::from(sees), "{role} {model}");
        let get = wire::GetJobRequest { id: id.clone() };
        let got = code(service.get_job(by(role, model, get)).await);
        assert_eq!(got, expected(sees), "{role} {model}");
        let watch = wire::WatchJobRequest { id: id.clone() };
        let watched = code(service.watch_job(by(role, model, watch)).await);
        assert_eq!(watched, expected(sees), "{role} {model}");
        let cancel = wire::CancelJobRequest { id: id.clone() };
        let cancelled = code(service.cancel_job(by(role, model, cancel)).await);
        assert_eq!(cancelled, expected(changes), "{role} {model}");
    }
}
