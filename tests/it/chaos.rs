//! A cluster whose hosts fail at random, under load. How to run it for longer, or one of its runs again, is told in
//! `decant_tests::chaos`.

use decant_tests::chaos::{self, Options};

#[tokio::test(flavor = "multi_thread")]
async fn process_a_cluster_whose_hosts_fail_at_random_keeps_its_promises() {
    chaos::run(Options::from_env()).await;
}
