use super::*;

fn assert_near(value: f64, expected: f64) {
    assert!((value - expected).abs() < 1e-9, "{value} {expected}");
}

fn moments(values: &[f64]) -> Moments {
    let mut moments = Moments::default();
    for value in values {
        moments.add(*value);
    }
    moments
}

/// The numbers are from the formulas, computed elsewhere.
#[test]
fn bounds_of_a_proportion() {
    let (low, high) = proportion(5, 100, 0.05);
    assert_near(low, 0.007_149_478_932_597);
    assert_near(high, 0.155_794_443_540_606);
    // No hit at all: the upper bound is where (1 - p)^1000 has become small enough.
    let (low, high) = proportion(0, 1_000, 0.05);
    assert_eq!(low, 0.0);
    assert_near(high, 0.006_997_502_521_426);
    let (low, high) = proportion(1_000, 1_000, 0.05);
    assert_near(low, 1.0 - 0.006_997_502_521_426);
    assert_eq!(high, 1.0);
}

#[test]
fn of_nothing_anything_can_be_the_proportion() {
    assert_eq!(proportion(0, 0, 0.05), (0.0, 1.0));
    // Nonsense is nothing.
    assert_eq!(proportion(2, 1, 0.05), (0.0, 1.0));
    assert_eq!(places(0, 0.5, 0.05, 100), (0, 1));
    assert_eq!(distribution(0, 0.05), 1.0);
    assert_eq!(mean(&Moments::default(), 1.0, 0.05, 100), None);
}

#[test]
fn bounds_hold_what_was_seen_and_close_in_on_it() {
    for (hits, of) in [
        (0, 1),
        (1, 1),
        (1, 2),
        (3, 10),
        (999, 1_000),
        (7, 1_000_000),
    ] {
        let seen = hits as f64 / of as f64;
        let (low, high) = proportion(hits, of, 0.01);
        assert!(0.0 <= low && low <= seen && seen <= high && high <= 1.0);
        let (closer_low, closer_high) = proportion(100 * hits, 100 * of, 0.01);
        assert!(closer_high - closer_low < high - low, "{hits} of {of}");
        // To be surer takes wider bounds.
        let (surer_low, surer_high) = proportion(hits, of, 0.001);
        assert!(surer_low <= low && high <= surer_high);
    }
}

#[test]
fn places_of_a_quantile() {
    assert_eq!(places(100, 0.5, 0.05, 100), (35, 66));
    assert_eq!(places(5_000, 0.99, 0.005, 100), (4_917, 4_977));
    // As long as the greatest value may be below the quantile, nothing bounds it from above.
    assert_eq!(places(500, 0.99, 0.005, 100), (484, 501));
    assert_eq!(places(600, 0.99, 0.005, 100), (582, 600));
}

#[test]
fn bounds_of_a_mean() {
    let mut values = vec![0.0; 50];
    values.extend([1.0; 50]);
    let (low, high) = mean(&moments(&values), 1.0, 0.05, 100).unwrap();
    assert_near(low, 0.5 - 0.151_760_449_518_813);
    assert_near(high, 0.5 + 0.151_760_449_518_813);
}

/// A hundred equal values do not prove that there are no others.
#[test]
fn equal_values_leave_room_for_others() {
    let (low, high) = mean(&moments(&[1.0; 100]), 1.0, 0.01, 100).unwrap();
    assert_near(low, 1.0 - 0.017_769_523_253_423);
    assert_near(high, 1.0 + 0.017_769_523_253_423);
}

#[test]
fn a_mean_of_what_is_no_number_is_none() {
    for value in [f64::NAN, f64::INFINITY, f64::MAX] {
        assert_eq!(
            mean(&moments(&[0.5, value]), 1.0, 0.05, 100),
            None,
            "{value}"
        );
    }
}

#[test]
fn distance_of_a_distribution() {
    assert_near(distribution(1_000, 0.05), 0.086_569_128_376_671);
    assert_near(distribution(10_000, 0.005), 0.030_016_242_455_229);
    assert_eq!(distribution(1, 0.05), 1.0);
}
