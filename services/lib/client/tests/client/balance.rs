//! What scorers say of their load shifts the calls.

use crate::running::{Running, answering, builder};

#[tokio::test]
async fn a_loaded_scorer_is_asked_less_often() {
    let (loaded, idle) = (Running::start(1).await, Running::start(2).await);
    loaded.says_load(2.0);
    let scorers = builder([&loaded, &idle]).build().unwrap();
    for _ in 0..300 {
        answering(&scorers).await;
    }
    let [loaded, idle] = [loaded, idle].map(|server| server.asked().len());
    assert!(loaded > 0);
    assert!(2 * loaded < idle, "{loaded} {idle}");
}
