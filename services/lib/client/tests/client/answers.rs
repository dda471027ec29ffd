//! What is sent, and what is made of the answers.

use std::time::Duration;

use decant_client::{
    Arm, Columns, Error, Priority, Rank, RankedItem, Recommend, Row, ServedBy, Times, Tried,
};

use crate::rank;
use crate::running::{Running, builder, page};

fn served_by() -> ServedBy {
    ServedBy {
        model: "movielens".into(),
        slot: "main".into(),
        version: 1,
        digest: format!("sha256:{}", "ab".repeat(32)),
        arm: Arm::Canary,
        generation: 3,
    }
}

#[tokio::test]
async fn each_call_has_its_answer() {
    let server = Running::start(1).await;
    let scorers = builder([&server]).build().unwrap();
    let rows = Columns::new().ints("age", [47, 11]);
    let scores = scorers.score(&rows).await.unwrap();
    assert_eq!(scores.served_by, served_by());
    assert_eq!(scores.scores, [0.5, 0.25]);
    let times = Times {
        queue: Duration::from_micros(120),
        compute: Duration::from_micros(340),
    };
    assert_eq!(scores.times, times);

    let ranked = scorers.rank(&page().top(2)).await.unwrap();
    assert_eq!(ranked.served_by, served_by());
    let item = |id: &str, position, score| RankedItem {
        id: id.into(),
        position,
        score,
    };
    assert_eq!(ranked.items, [item("50", 0, 1.0), item("181", 1, 0.5)]);

    let candidates = Columns::new().ints("year", [1977, 1983]);
    let by_columns = Rank::columns(Row::new().text("user_id", "13"), candidates);
    let ranked = scorers.rank(&by_columns).await.unwrap();
    assert_eq!(ranked.items, [item("", 0, 1.0), item("", 1, 0.5)]);

    let recommend = Recommend::new(Row::new().text("user_id", "13"), 2)
        .exclude(["50", "181"])
        .with_columns(["title"]);
    let recommended = scorers.recommend(&recommend).await.unwrap();
    assert_eq!(recommended.served_by, served_by());
    let titles: Vec<&str> = recommended
        .items
        .iter()
        .map(|item| item.columns["title"].as_str())
        .collect();
    assert_eq!(titles, ["title of 0", "title of 1"]);

    let asked = server.asked();
    assert_eq!(asked[0].columns[0].name, "age");
    assert_eq!(asked[1].columns[0].name, "user_id");
    assert_eq!(asked[1].items, 3);
    assert_eq!(asked[3].items, 2);
}

#[tokio::test]
async fn scorers_are_told_who_asks_and_how_much_it_matters() {
    let server = Running::start(1).await;
    let scorers = builder([&server]).client("feed").build().unwrap();
    scorers.rank(&page()).await.unwrap();
    let hurried = scorers
        .with_priority(Priority::Critical)
        .with_deadline(Duration::from_secs(5));
    hurried.rank(&page()).await.unwrap();
    let later = scorers.with_priority(Priority::Sheddable);
    later.rank(&page()).await.unwrap();
    let asked = server.asked();
    let priorities = asked.iter().map(|asked| &asked.headers["decant-priority"]);
    assert!(priorities.eq(["normal", "critical", "sheddable"]));
    assert!(
        asked
            .iter()
            .all(|asked| asked.headers["decant-client"] == "feed")
    );
    let micros = |place: usize| -> u64 {
        let timeout = &asked[place].headers["grpc-timeout"];
        timeout.strip_suffix('u').unwrap().parse().unwrap()
    };
    assert!(
        (25_000_000..=30_000_000).contains(&micros(0)),
        "{}",
        micros(0)
    );
    assert!(
        (1_000_000..=5_000_000).contains(&micros(1)),
        "{}",
        micros(1)
    );
}

#[tokio::test]
async fn a_routing_key_goes_with_its_requests_and_no_others() {
    let server = Running::start(1).await;
    let scorers = builder([&server]).build().unwrap();
    let of_user = scorers.with_routing_key("user 13, \u{1f3ac}");
    of_user.rank(&page()).await.unwrap();
    let hurried = of_user.with_priority(Priority::Critical);
    let rows = Columns::new().ints("age", [47, 11]);
    hurried.score(&rows).await.unwrap();
    let of_bytes = of_user.with_routing_key([0_u8, 255]);
    of_bytes.rank(&page()).await.unwrap();
    scorers.rank(&page()).await.unwrap();
    let asked = server.asked().into_iter();
    let keys: Vec<Option<Vec<u8>>> = asked.map(|asked| asked.routing_key).collect();
    let of_user = Some("user 13, \u{1f3ac}".as_bytes().to_vec());
    assert_eq!(keys, [of_user.clone(), of_user, Some(vec![0, 255]), None]);
}

#[tokio::test]
async fn what_is_wrong_whoever_is_asked_is_not_sent() {
    let server = Running::start(1).await;
    let scorers = builder([&server]).build().unwrap();
    let columns = Columns::new()
        .ints("age", [47, 11])
        .texts("user_id", ["13"]);
    let error = scorers.score(&columns).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the request is wrong: columns[user_id]: 1 rows, but `age` has 2 (no scorer was asked)"
    );
    let nobody = Rank::items(Row::new().int("age", 47), Vec::<String>::new());
    let error = scorers.rank(&nobody).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }));
    let nothing = Recommend::new(Row::new().float("age", f32::NAN), 0);
    let error = scorers.recommend(&nothing).await.unwrap_err();
    let Error::Invalid { violations, tried } = error else {
        panic!("{error}")
    };
    let fields = violations.iter().map(|violation| violation.field.as_str());
    assert!(fields.eq(["query[age]", "top_k"]));
    assert_eq!(tried, Tried::default());
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_none() {
    let server = Running::start(1).await;
    let scorers = builder([&server]).build().unwrap();
    let three = Columns::new().ints("age", [47, 11, 30]);
    let error = scorers.score(&three).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "Internal: the answer makes no sense: 2 scores for 3 rows (1 attempt, at {})",
            server.url()
        )
    );
}

#[tokio::test]
async fn the_example_prints_a_page() {
    let mut server = Running::start(7).await;
    let scorers = rank::connect(&[server.url()]).unwrap();
    let mut printed = Vec::new();
    rank::print_page(&scorers, &mut printed).await.unwrap();
    let expected = "\
movielens/main, version 7, canary
    50  1.000
   181  0.500
   258  0.333
";
    assert_eq!(String::from_utf8(printed).unwrap(), expected);

    server.kill();
    let mut printed = Vec::new();
    rank::print_page(&scorers, &mut printed).await.unwrap();
    let printed = String::from_utf8(printed).unwrap();
    assert!(
        printed.starts_with("unranked: no scorer is ready: "),
        "{printed}"
    );

    let error = rank::connect(&[]).err().unwrap();
    assert!(error.to_string().starts_with("usage: "), "{error}");
}
