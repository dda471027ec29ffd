//! Steps of a rollout as people type them: `shadow,analysis 10m,1%,pause 5m,50%`.

use decant_model::rollout::Step;

/// What is done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Steps(pub(crate) Vec<Step>);

/// Reads steps that are separated by commas; an empty text is no steps, which is all of the traffic at once.
pub(crate) fn parse(text: &str) -> Result<Steps, String> {
    if text.trim().is_empty() {
        return Ok(Steps(Vec::new()));
    }
    let steps: Result<Vec<Step>, String> =
        text.split(',').map(|step| step.trim().parse()).collect();
    steps.map(Steps)
}

#[cfg(test)]
mod tests {
    use decant_model::rollout::{Share, Span};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn steps_are_separated_by_commas() {
        let share = |points| Step::Weight(Share::from_basis_points(points).unwrap());
        let span = |millis| Span::from_millis(millis).unwrap();
        assert_eq!(
            parse("shadow, analysis 10m,1%,pause,12.5% , pause 90s").unwrap(),
            Steps(vec![
                Step::Shadow,
                Step::Analysis(span(600_000)),
                share(100),
                Step::Pause(None),
                share(1250),
                Step::Pause(Some(span(90_000))),
            ])
        );
        assert_eq!(parse(" "), Ok(Steps(Vec::new())));
    }

    #[test]
    fn the_step_that_is_wrong_is_named() {
        for (text, named) in [
            ("1%,,10%", "``"),
            ("1%,half", "`half`"),
            ("analysis", "analysis 30m"),
            ("101%", "`101%`"),
            ("pause 5m now", "`now`"),
        ] {
            let reason = parse(text).unwrap_err();
            assert!(reason.contains(named), "{text}: {reason}");
        }
    }

    fn step() -> impl Strategy<Value = Step> {
        let share = (0..=10_000_u32).prop_map(|points| Share::from_basis_points(points).unwrap());
        let span = || (1..=86_400_000_u64).prop_map(|millis| Span::from_millis(millis).unwrap());
        prop_oneof![
            Just(Step::Shadow),
            share.prop_map(Step::Weight),
            prop::option::of(span()).prop_map(Step::Pause),
            span().prop_map(Step::Analysis),
        ]
    }

    proptest! {
        #[test]
        fn what_is_displayed_is_parsed_back(steps in prop::collection::vec(step(), 0..8)) {
            let text: Vec<String> = steps.iter().map(ToString::to_string).collect();
            prop_assert_eq!(parse(&text.join(",")).unwrap(), Steps(steps));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = parse(&text);
        }
    }
}
