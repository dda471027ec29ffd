use super::*;

#[test]
fn numbers_stand_for_priorities_as_in_triton() {
    let schema = crate::fixture::schema();
    let read = |choice: ParameterChoice| {
        let parameter = wire::InferParameter {
            parameter_choice: Some(choice),
        };
        let parameters = HashMap::from([("priority".to_owned(), parameter)]);
        let mut problems = Problems::new(&schema, Vec::new());
        let read = priority(&parameters, &mut problems);
        problems.or(Some(read)).unwrap()
    };
    let expected = [
        None,
        Some(Priority::Critical),
        Some(Priority::Normal),
        Some(Priority::Sheddable),
        Some(Priority::Sheddable),
    ];
    for (number, expected) in (0..).zip(expected) {
        assert_eq!(read(ParameterChoice::Int64Param(number)), expected);
        let number = number.unsigned_abs();
        assert_eq!(read(ParameterChoice::Uint64Param(number)), expected);
    }
    let named = read(ParameterChoice::StringParam("critical".to_owned()));
    assert_eq!(named, Some(Priority::Critical));
}
