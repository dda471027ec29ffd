use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

/// A file is to be reviewed like code, and everybody fetches it.
#[test]
fn the_corpus_stays_small() {
    let mut sum = 0;
    for folder in files(&corpus()) {
        for file in files(&folder) {
            let bytes = fs::metadata(&file).unwrap().len();
            assert!(bytes < 4 << 10, "{} has {bytes} bytes", file.display());
            sum += bytes;
        }
    }
    assert!(sum < 200 << 10, "the corpus has {sum} bytes");
}

#[test]
fn a_run_makes_the_same_inputs_again_and_others_with_another_seed() {
    let target = Target::new("features", Format::Text);
    let inputs = |seed| {
        let mut mutator = Mutator::new(seed, Format::Text);
        let inputs = (0..50).map(|_| mutator.input(&target.seeds));
        inputs.collect::<Vec<_>>()
    };
    assert_eq!(inputs(1), inputs(1));
    assert_ne!(inputs(1), inputs(2));
}

#[test]
fn messages_are_written_as_they_were_read() {
    let mut whole = 0;
    for seed in &Target::new("infer", Format::Protobuf).seeds {
        if let Some(fields) = wire::read(&seed.bytes) {
            assert_eq!(wire::read(&wire::write(&fields)), Some(fields));
            whole += 1;
        }
    }
    assert!(whole > 40, "{whole}");
}

/// What a run is for: most of its inputs get past the first byte.
#[test]
fn inputs_stay_close_to_what_is_read() {
    let seeds = Target::new("infer", Format::Protobuf).seeds;
    let mut mutator = Mutator::new(0, Format::Protobuf);
    let inputs = (0..1_000).map(|_| mutator.input(&seeds));
    let whole = inputs.filter(|input| wire::read(input).is_some()).count();
    assert!(whole > 500, "{whole}");
}

#[test]
fn what_makes_a_target_panic_is_told_and_kept() {
    let target = Target::new("golden", Format::Text);
    let failing = |input: &[u8]| {
        assert!(!input.is_empty(), "nothing to read");
        true
    };
    let run = AssertUnwindSafe(|| target.run(0, failing));
    let told = catch_unwind(run).unwrap_err();
    let told = told.downcast::<String>().unwrap();
    assert!(told.contains("golden fails: panicked at"), "{told}");
    assert!(told.contains("nothing to read"), "{told}");
    let (_, kept) = told.rsplit_once("kept in ").unwrap();
    assert_eq!(fs::read(kept).unwrap(), b"");
    fs::remove_file(kept).unwrap();
}
