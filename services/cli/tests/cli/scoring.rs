//! `decant score`, `rank`, `recommend`, and `scorer list`.

use std::collections::HashMap;

use decant_proto::rollout::v1::Arm;
use decant_proto::scorer::v1::column::Values;
use decant_proto::scorer::v1::rank_request::Candidates;
use decant_proto::scorer::v1::{
    Int64Values, LoadTimes, ModelRef, ScoredItems, Servable, ServableState, ServedBy,
};
use serde_json::json;

use crate::fakes::{Fake, served_by};
use crate::running::{Server, text};

fn items() -> ScoredItems {
    let mut items = ScoredItems::default();
    let mut push = |id, position, score, title: &str| {
        let attributes = HashMap::from([
            ("title".to_owned(), title.to_owned()),
            ("year".to_owned(), "1996".to_owned()),
        ]);
        items.push(id, position, score, attributes);
    };
    push("302", 1, 0.91, "L.A. Confidential");
    push("242", 0, 0.7, "Kolya\u{1b}[31m");
    items
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_scored() {
    let server = Server::start(Fake {
        scores: vec![0.7, 0.25],
        ..Fake::default()
    })
    .await;
    let arguments = [
        "score",
        "movies",
        "--row",
        "user_id=196,genres=[Drama,War]",
        "--row",
        "user_id=,genres=[]",
    ];
    let expected = "\
ROW     SCORE
  1  0.700000
  2  0.250000

answered by movies/main v1 (STABLE, generation 3, abababababab)
";
    assert_eq!(server.table(&arguments).await, expected);
    let request = server.fake.asked.lock().unwrap().score.take().unwrap();
    assert_eq!(
        request.model,
        Some(ModelRef {
            model: "movies".into(),
            slot: "main".into()
        })
    );
    let [user, genres] = request.columns.as_slice() else {
        panic!("{:?}", request.columns)
    };
    assert_eq!(
        (user.name.as_str(), &user.present),
        ("user_id", &vec![true, false])
    );
    assert_eq!(
        user.values,
        Some(Values::Int64Values(Int64Values {
            values: vec![196, 0]
        }))
    );
    assert_eq!(
        (genres.name.as_str(), &genres.offsets),
        ("genres", &vec![0, 2, 2])
    );
    let words = ["Drama", "War"].iter().collect();
    assert_eq!(genres.values, Some(Values::StringValues(words)));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_read_from_json_and_scores_written_to_it() {
    let server = Server::start(Fake {
        scores: vec![0.7, 0.25],
        ..Fake::default()
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.json");
    std::fs::write(
        &file,
        r#"[{"user_id": 196, "genres": ["Drama"]}, {"user_id": 7, "genres": null}]"#,
    )
    .unwrap();
    let answer = server
        .json(&["score", "movies", "--slot", "test", "--json", text(&file)])
        .await;
    let digest = format!("sha256:{}", "ab".repeat(32));
    let by = json!({
        "model": "movies", "slot": "main", "version": 1, "digest": digest, "arm": "STABLE", "generation": 3,
    });
    assert_eq!(answer, json!({ "served_by": by, "scores": [0.7, 0.25] }));
    let asked = server.fake.asked.lock().unwrap();
    let request = asked.score.as_ref().unwrap();
    assert_eq!(request.model.as_ref().unwrap().slot, "test");
    assert_eq!(request.columns.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_make_no_sense_are_refused_before_anybody_is_asked() {
    let server = Server::start(Fake::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.json");
    std::fs::write(&file, r#"{"user_id": true}"#).unwrap();
    let in_file = format!(
        "error: {}: row 1, column `user_id`: a boolean is no feature value; numbers, strings, and arrays of them are\n",
        file.display()
    );
    for (arguments, error) in [
        (
            vec!["--row", "user_id=1 age=2"],
            "error: --row 'user_id=1 age=2': at character 14: a comma is expected before the next column, or quotes around a value with `=`\n",
        ),
        (
            vec!["--row", "a=1", "--row", "a=x"],
            "error: column `a`: row 1 holds an integer, but row 2 a string\n",
        ),
        (vec!["--json", text(&file)], in_file.as_str()),
    ] {
        let ran = server
            .run(&[&["score", "movies"], arguments.as_slice()].concat())
            .await;
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(2), error));
    }
    let missing = server
        .run(&["score", "movies", "--json", "/nowhere/rows.json"])
        .await;
    assert_eq!(missing.code, Some(1));
    assert_eq!(
        missing.stderr,
        "error: cannot read /nowhere/rows.json: No such file or directory (os error 2)\n"
    );
    assert!(server.fake.asked.lock().unwrap().score.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn candidates_are_ranked() {
    let server = Server::start(Fake {
        items: items(),
        ..Fake::default()
    })
    .await;
    let arguments = [
        "rank",
        "movies",
        "--query",
        "user_id=196",
        "--items",
        "242,302",
        "--top",
        "2",
    ];
    let expected = "\
RANK  ITEM     SCORE
   1  302   0.910000
   2  242   0.700000

answered by movies/main v1 (STABLE, generation 3, abababababab)
";
    assert_eq!(server.table(&arguments).await, expected);
    let request = server.fake.asked.lock().unwrap().rank.take().unwrap();
    let ids = ["242", "302"].into_iter().collect();
    assert_eq!(request.candidates, Some(Candidates::ItemIds(ids)));
    assert_eq!(request.top_k, 2);
    let json = server.json(&arguments).await;
    let attributes = json!({ "title": "L.A. Confidential", "year": "1996" });
    assert_eq!(
        json["items"][0],
        json!({ "id": "302", "position": 1, "score": 0.91, "attributes": attributes })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn items_are_recommended_with_their_titles() {
    let server = Server::start(Fake {
        items: items(),
        ..Fake::default()
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seen");
    std::fs::write(&file, "1\n2, 3\n\n").unwrap();
    let arguments = [
        "recommend",
        "movies",
        "--query",
        "user_id=196",
        "--top",
        "2",
        "--exclude",
        "8,9",
        "--exclude-file",
        text(&file),
    ];
    let expected = "\
RANK  ITEM     SCORE  TITLE              YEAR  GENRE
   1  302   0.910000  L.A. Confidential  1996  -
   2  242   0.700000  Kolya [31m         1996  -

answered by movies/main v1 (STABLE, generation 3, abababababab)
";
    let shown = [arguments.as_slice(), &["--show", "title,year,genre"]].concat();
    assert_eq!(server.table(&shown).await, expected);
    let request = server.fake.asked.lock().unwrap().recommend.take().unwrap();
    assert_eq!(request.exclude_item_ids, ["8", "9", "1", "2", "3"]);
    assert_eq!(request.return_columns, ["title", "year", "genre"]);
    assert_eq!(request.top_k, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn servables_are_listed_with_their_errors_and_load_times() {
    let available = Servable {
        served_by: Some(served_by()),
        state: ServableState::Available.into(),
        answered: 1234,
        load_times: Some(LoadTimes {
            fetch_micros: 850,
            open_micros: 12_340,
            replay_micros: 2_100,
            warm_up_micros: 1_500_000,
        }),
        ..Servable::default()
    };
    let failed = Servable {
        served_by: Some(ServedBy {
            version: 2,
            generation: 4,
            arm: Arm::Canary.into(),
            ..served_by()
        }),
        state: ServableState::End.into(),
        error: "golden vector 3 differs by 0.2".into(),
        ..Servable::default()
    };
    let server = Server::start(Fake {
        servables: vec![vec![available, failed]],
        ..Fake::default()
    })
    .await;
    let expected = "\
MODEL   SLOT  VERSION  DIGEST        ARM     GEN  STATE      ANSWERED   FETCH     OPEN  REPLAY  WARM-UP  ERROR
movies  main  v1       abababababab  STABLE    3  AVAILABLE      1234  850 µs  12.3 ms  2.1 ms   1.50 s  -
movies  main  v2       abababababab  CANARY    4  END               0       -        -       -        -  golden vector 3 differs by 0.2
";
    assert_eq!(server.table(&["scorer", "servables"]).await, expected);
    let json = server.json(&["scorer", "servables"]).await;
    assert_eq!(json[0]["load_times"]["open_micros"], 12_340);
    assert_eq!(
        (&json[1]["state"], &json[1]["load_times"]),
        (&json!("END"), &json!(null))
    );
}
