//! MovieLens-100k, and a job on it that is small enough for a test.

use std::path::PathBuf;

/// The folder with `ml-100k`.
pub fn datasets() -> PathBuf {
    let variable = std::env::var_os("DECANT_DATASETS");
    variable.map(PathBuf::from).expect(
        "DECANT_DATASETS is not set; run `make test`, or eval \"$(deploy/bootstrap.sh env)\"",
    )
}

/// Job files made from the example's: the same data and features, and a recipe that takes seconds.
pub struct Job;

impl Job {
    /// The example's own job file.
    pub fn example() -> String {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../deploy/examples/movielens/job.toml"
        );
        std::fs::read_to_string(path).unwrap()
    }

    /// The example's data and features with this recipe instead of its own.
    pub fn with_recipe(recipe: &str) -> String {
        let example = Self::example();
        let recipe_begins = example
            .find("[[teachers]]")
            .expect("the example's recipe begins with its teachers");
        format!("{}{recipe}", &example[..recipe_begins])
    }

    /// Two small teachers and two students, two epochs each, and a gate that lets them through.
    pub fn quick() -> String {
        Self::with_recipe(include_str!("quick-recipe.toml")).replace("min = 0.78", "min = 0.7")
    }
}
