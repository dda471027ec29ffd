use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::error::CallError;
use crate::fixture;

const MAX_ROWS: usize = 6;

/// An input in both forms.
#[derive(Clone, Debug)]
struct Tensor {
    input: InferInputTensor,
    typed: wire::InferTensorContents,
    raw: Vec<u8>,
}

fn tensor(
    name: &str,
    datatype: Datatype,
    shape: &[i64],
    raw: Vec<u8>,
    set: impl FnOnce(&mut wire::InferTensorContents),
) -> Tensor {
    let mut typed = wire::InferTensorContents::default();
    set(&mut typed);
    Tensor {
        input: InferInputTensor {
            name: name.to_owned(),
            datatype: datatype.name().to_owned(),
            shape: shape.to_vec(),
            ..InferInputTensor::default()
        },
        typed,
        raw,
    }
}

fn little<const W: usize, T: Copy>(values: &[T], bytes: impl Fn(T) -> [u8; W]) -> Vec<u8> {
    values.iter().flat_map(|value| bytes(*value)).collect()
}

/// Integers as any type that has room for them; those below 100 fit all.
fn ints(name: &str, datatype: Datatype, shape: &[i64], values: &[i64]) -> Tensor {
    let all = values;
    macro_rules! small {
        ($type:ty, $field:ident, $wide:ty) => {{
            let values: Vec<$type> = all.iter().map(|value| *value as $type).collect();
            let raw = little(&values, <$type>::to_le_bytes);
            tensor(name, datatype, shape, raw, |contents| {
                contents.$field = values.iter().map(|value| <$wide>::from(*value)).collect();
            })
        }};
    }
    match datatype {
        Datatype::Int8 => small!(i8, int_contents, i32),
        Datatype::Int16 => small!(i16, int_contents, i32),
        Datatype::Int32 => small!(i32, int_contents, i32),
        Datatype::Int64 => small!(i64, int64_contents, i64),
        Datatype::Uint8 => small!(u8, uint_contents, u32),
        Datatype::Uint16 => small!(u16, uint_contents, u32),
        Datatype::Uint32 => small!(u32, uint_contents, u32),
        Datatype::Uint64 => small!(u64, uint64_contents, u64),
        other => panic!("{other} holds no integers"),
    }
}

fn floats(name: &str, datatype: Datatype, shape: &[i64], values: &[f32]) -> Tensor {
    match datatype {
        Datatype::Fp32 => {
            let raw = little(values, f32::to_le_bytes);
            tensor(name, datatype, shape, raw, |contents| {
                contents.fp32_contents = values.to_vec();
            })
        }
        Datatype::Fp64 => {
            let values: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
            let raw = little(&values, f64::to_le_bytes);
            tensor(name, datatype, shape, raw, |contents| {
                contents.fp64_contents = values.clone();
            })
        }
        other => panic!("{other} is not written here"),
    }
}

fn texts(name: &str, shape: &[i64], values: &[&str]) -> Tensor {
    let raw = values.iter().flat_map(|text| {
        let length = (text.len() as u32).to_le_bytes();
        length.into_iter().chain(text.bytes())
    });
    tensor(name, Datatype::Bytes, shape, raw.collect(), |contents| {
        let bytes = values.iter().map(|text| text.as_bytes().to_vec().into());
        contents.bytes_contents = bytes.collect();
    })
}

fn read_some(inputs: Vec<InferInputTensor>, buffers: Vec<Bytes>) -> Result<Columns, Vec<String>> {
    let schema = fixture::schema();
    let mut problems = Problems::new(&schema, Vec::new());
    let columns = read(inputs, buffers, &schema, MAX_ROWS, &mut problems);
    match problems.or(columns) {
        Ok(columns) => Ok(columns),
        Err(CallError::Invalid(violations)) => {
            let violations = violations.into_iter();
            let violations = violations.map(|bad| format!("{}: {}", bad.field, bad.reason));
            Err(violations.collect())
        }
        Err(other) => panic!("{other:?}"),
    }
}

fn read_typed(tensors: &[Tensor]) -> Result<Columns, Vec<String>> {
    let inputs = tensors.iter().map(|tensor| InferInputTensor {
        contents: Some(tensor.typed.clone()),
        ..tensor.input.clone()
    });
    read_some(inputs.collect(), Vec::new())
}

fn read_raw(tensors: &[Tensor]) -> Result<Columns, Vec<String>> {
    let inputs = tensors.iter().map(|tensor| tensor.input.clone());
    let buffers = tensors.iter().map(|tensor| tensor.raw.clone().into());
    read_some(inputs.collect(), buffers.collect())
}

/// What is wrong with one input, typed and then raw. It is sent with others that are right, and with one that nobody reads,
/// without which the names and types would be left to the encoder.
fn wrong(tensor: Tensor) -> Vec<String> {
    let rows = 2;
    let mut tensors = vec![
        ints("user", Datatype::Int64, &[rows], &[1, 2]),
        floats("age", Datatype::Fp32, &[rows], &[30.0, 40.0]),
        ints("film", Datatype::Int64, &[rows], &[100, 101]),
        texts("genres", &[rows, 1], &["drama", "comedy"]),
    ];
    tensors.retain(|other| other.input.name != tensor.input.name);
    tensors.extend([tensor, ints("unread", Datatype::Int64, &[rows], &[1, 2])]);
    let both = [read_typed(&tensors), read_raw(&tensors)];
    let mut found: Vec<String> = both.into_iter().flat_map(Result::unwrap_err).collect();
    found.retain(|violation| !violation.starts_with("inputs[unread]"));
    found
}

#[test]
fn every_violation_is_listed_the_schemas_included() {
    let mut shared = ints("film", Datatype::Int64, &[2], &[1, 2]);
    let parameter = wire::InferParameter::default();
    shared.input.parameters = HashMap::from([("shared_memory_region".to_owned(), parameter)]);
    let mut boolean = ints("age", Datatype::Int8, &[-1], &[]);
    boolean.input.datatype = "BOOL".into();
    let wrong = read_typed(&[
        texts("user", &[2], &["1"]),
        boolean,
        shared,
        ints("usr", Datatype::Int64, &[2], &[1, 2]),
        ints("film", Datatype::Int64, &[2], &[1, 2]),
        ints("", Datatype::Int64, &[2], &[1, 2]),
    ]);
    let expected = [
        "inputs[user]: has 1 values, but its shape has 2",
        "inputs[age]: datatype `BOOL` is not read; INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64, FP16, \
         FP32, FP64, BYTES are",
        "inputs[age]: shape [-1] has a negative size",
        "inputs[film].parameters[shared_memory_region]: is not supported",
        "inputs[usr]: no feature of the model reads it",
        "inputs[film]: given twice",
        "inputs[5]: an input needs a name",
        "inputs[genres]: missing; feature `genres` reads it",
    ];
    assert_eq!(wrong.unwrap_err(), expected);
    let nothing = read_some(Vec::new(), Vec::new()).unwrap_err();
    assert_eq!(nothing[0], "inputs: no row; at least 1 is expected");
    assert_eq!(nothing.len(), 5, "{nothing:?}");
}

#[test]
fn what_does_not_fit_its_shape_is_refused() {
    let (int64, fp32) = (Datatype::Int64, Datatype::Fp32);
    let cases = [
        (
            ints("user", int64, &[2], &[1, 2, 3]),
            "has 3 values, but its shape has 2",
        ),
        (
            ints("user", int64, &[2], &[1]),
            "has 8 bytes, but its shape has 2 values of INT64, 8 bytes each",
        ),
        (
            texts("user", &[2], &["1"]),
            "ends after 1 values, but its shape has 2",
        ),
        (
            texts("user", &[2], &["1", "2", "3"]),
            "goes on for 5 bytes after the 2 values",
        ),
        (ints("user", int64, &[], &[1]), "shape [] has 0 sizes"),
        (
            ints("user", int64, &[2, 1, 1], &[1, 2]),
            "shape [2, 1, 1] has 3 sizes",
        ),
        (
            ints("user", int64, &[2, -1], &[]),
            "shape [2, -1] has a negative size",
        ),
        (ints("user", int64, &[i64::MAX, 4], &[]), "is too large"),
        (
            ints("user", int64, &[3], &[1, 2, 3]),
            "3 rows, but column `age` has 2",
        ),
        (
            ints("user", int64, &[2, 2], &[1, 2, 3, 4]),
            "holds lists, but one value a row is expected",
        ),
        (
            ints("user", int64, &[2, 0], &[]),
            "holds lists, but one value a row is expected",
        ),
        (
            texts("genres", &[i64::MAX, 0], &[]),
            "inputs: 9223372036854775807 rows, but at most 6 are allowed",
        ),
        (
            texts("genres", &[0, 2], &[]),
            "0 rows, but column `user` has 2",
        ),
        (
            floats("user", fp32, &[2, 1], &[1.0, 2.0]),
            "has type float, but string or int64 is expected",
        ),
        (
            texts("age", &[2], &["1", "2"]),
            "has type string, but int64 or float is expected",
        ),
        (
            floats("age", fp32, &[2], &[1.0, f32::NAN]),
            "value 1 is NaN; values must be finite",
        ),
        (
            floats("age", Datatype::Fp64, &[2], &[1.0, f32::INFINITY]),
            "value 1 is inf; values must be finite",
        ),
    ];
    for (tensor, reason) in cases {
        let found = wrong(tensor);
        assert!(
            found.iter().any(|violation| violation.contains(reason)),
            "{reason}: {found:?}"
        );
    }
}

#[test]
fn values_that_no_column_holds_are_refused() {
    let mut huge = ints("user", Datatype::Uint64, &[2], &[1, -1]);
    let too_large = wrong(huge.clone());
    for violation in &too_large {
        let reason =
            "inputs[user]: value 1 is 18446744073709551615, which is no 64-bit signed integer";
        assert_eq!(violation, reason);
    }
    assert_eq!(too_large.len(), 2);
    huge.input.datatype = "UINT8".into();
    huge.typed = wire::InferTensorContents {
        uint_contents: vec![1, 256],
        ..wire::InferTensorContents::default()
    };
    huge.raw = vec![1];
    let expected = [
        "inputs[user]: value 1 is 256, which is no UINT8",
        "inputs[user]: has 1 bytes, but its shape has 2 values of UINT8, 1 bytes each",
    ];
    assert_eq!(wrong(huge), expected);

    let mut latin = texts("user", &[2], &["1", "2"]);
    latin.typed.bytes_contents[1] = Bytes::from_static(b"\xe9");
    latin.raw[9] = 0xe9;
    assert_eq!(wrong(latin), ["inputs[user]: value 1 is not UTF-8"; 2]);

    let mut astray = floats("age", Datatype::Fp32, &[2], &[1.0, 2.0]);
    astray.typed.fp64_contents = vec![1.0];
    astray.raw.pop();
    let expected = [
        "inputs[age]: has fp64_contents, but FP32 is read from fp32_contents",
        "inputs[age]: has 7 bytes, but its shape has 2 values of FP32, 4 bytes each",
    ];
    assert_eq!(wrong(astray), expected);
}

#[test]
fn elements_come_in_one_form_and_buffers_pair_up() {
    let user = ints("user", Datatype::Int64, &[1], &[1]);
    let with_contents = InferInputTensor {
        contents: Some(user.typed.clone()),
        ..user.input.clone()
    };
    let mixed = read_some(vec![with_contents], vec![user.raw.clone().into()]).unwrap_err();
    assert!(
        mixed[0].starts_with("inputs[user]: has contents"),
        "{mixed:?}"
    );
    let buffers = vec![user.raw.clone().into(), user.raw.into()];
    let astray = read_some(vec![user.input], buffers).unwrap_err();
    assert_eq!(astray[0], "raw_input_contents: 2 buffers for 1 inputs");
    assert!(!astray.iter().any(|bad| bad.contains("user")), "{astray:?}");
}

#[test]
fn halves_are_read_exactly() {
    let cases = [
        (0x0000, 0.0),
        (0x8000, -0.0),
        (0x3c00, 1.0),
        (0xc000, -2.0),
        (0x7bff, 65504.0),
        (0x0400, 6.103_515_6e-5),
        (0x0001, 5.960_464_5e-8),
        (0x3555, 0.333_251_95),
    ];
    for (bits, value) in cases {
        let bytes = u16::to_le_bytes(bits);
        assert_eq!(
            tensor::raw(Datatype::Fp16, &bytes, 1),
            Ok(Values::Float(vec![value])),
            "{bits:#06x}"
        );
    }
    for bits in [0x7c00_u16, 0xfc00, 0x7e00] {
        assert!(tensor::raw(Datatype::Fp16, &bits.to_le_bytes(), 1).is_err());
    }
    let typed = tensor::typed(Datatype::Fp16, wire::InferTensorContents::default(), 0);
    assert!(typed.unwrap_err().contains("raw_input_contents"));
}

#[test]
fn a_list_ends_before_its_padding() {
    let tensors = [
        ints("user", Datatype::Int8, &[3, 1], &[1, 2, 3]),
        ints("age", Datatype::Int8, &[3], &[30, 31, 32]),
        texts("film", &[3], &["100", "", "101"]),
        texts(
            "genres",
            &[3, 2],
            &["drama", "comedy", "", "western", "", ""],
        ),
    ];
    for read in [read_typed(&tensors), read_raw(&tensors)] {
        let columns = read.unwrap();
        let genres = ["drama", "comedy", "", "western"].map(str::to_owned);
        let genres = Column::ragged("genres", Values::Text(genres.into()), vec![0, 2, 4, 4]);
        assert_eq!(columns.get("genres"), Some(&genres));
        // One value a row is a value, whatever it is.
        let films = ["100", "", "101"].map(str::to_owned);
        assert_eq!(
            columns.get("film"),
            Some(&Column::new("film", Values::Text(films.into())))
        );
    }
    // One value a row is a list of one.
    let mut one_each = tensors;
    one_each[3] = texts("genres", &[3], &["drama", "", "western"]);
    let genres = ["drama", "western"].map(str::to_owned);
    let genres = Column::ragged("genres", Values::Text(genres.into()), vec![0, 1, 1, 2]);
    assert_eq!(read_raw(&one_each).unwrap().get("genres"), Some(&genres));
}

const INTEGERS: [Datatype; 8] = [
    Datatype::Int8,
    Datatype::Int16,
    Datatype::Int32,
    Datatype::Int64,
    Datatype::Uint8,
    Datatype::Uint16,
    Datatype::Uint32,
    Datatype::Uint64,
];

fn integers() -> impl Strategy<Value = (Datatype, Vec<i64>)> {
    let datatype = prop::sample::select(INTEGERS.to_vec());
    datatype.prop_flat_map(|datatype| {
        let (least, most) = match datatype {
            Datatype::Int8 => (i8::MIN.into(), i8::MAX.into()),
            Datatype::Int16 => (i16::MIN.into(), i16::MAX.into()),
            Datatype::Int32 => (i32::MIN.into(), i32::MAX.into()),
            Datatype::Uint8 => (0, u8::MAX.into()),
            Datatype::Uint16 => (0, u16::MAX.into()),
            Datatype::Uint32 => (0, u32::MAX.into()),
            Datatype::Uint64 => (0, i64::MAX),
            _ => (i64::MIN, i64::MAX),
        };
        (
            Just(datatype),
            prop::collection::vec(least..=most, MAX_ROWS),
        )
    })
}

fn reals() -> impl Strategy<Value = (Datatype, Vec<f32>)> {
    let datatype = prop::sample::select(vec![Datatype::Fp32, Datatype::Fp64]);
    let finite = prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::ZERO;
    (datatype, prop::collection::vec(finite, MAX_ROWS))
}

fn any_input() -> impl Strategy<Value = InferInputTensor> {
    let names = vec!["user", "age", "film", "genres", "title", ""];
    let datatypes = Datatype::ALL.map(Datatype::name).into_iter();
    let datatypes: Vec<&str> = datatypes.chain(["BOOL", "BF16", ""]).collect();
    let size = prop_oneof![0_i64..4, any::<i64>()];
    let contents = (
        prop::collection::vec(any::<i32>(), 0..5),
        prop::collection::vec(any::<u64>(), 0..5),
        prop::collection::vec(any::<f64>(), 0..5),
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 0..5),
    );
    let contents =
        contents.prop_map(
            |(ints, unsigned, doubles, bytes)| wire::InferTensorContents {
                int_contents: ints,
                uint64_contents: unsigned,
                fp64_contents: doubles,
                bytes_contents: bytes.into_iter().map(Bytes::from).collect(),
                ..wire::InferTensorContents::default()
            },
        );
    (
        prop::sample::select(names),
        prop::sample::select(datatypes),
        prop::collection::vec(size, 0..4),
        prop::option::of(contents),
    )
        .prop_map(|(name, datatype, shape, contents)| InferInputTensor {
            name: name.to_owned(),
            datatype: datatype.to_owned(),
            shape,
            contents,
            ..InferInputTensor::default()
        })
}

proptest! {
    #[test]
    fn both_forms_give_the_same_columns(
        rows in 1..=MAX_ROWS,
        width in 0..4_usize,
        is_flat in any::<bool>(),
        user in integers(),
        age in reals(),
        words in prop::collection::vec("[a-zé]{0,3}", 4 * MAX_ROWS),
    ) {
        let one: &[i64] = if is_flat { &[rows as i64] } else { &[rows as i64, 1] };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let lists = &words[..rows * width];
        let tensors = [
            ints("user", user.0, one, &user.1[..rows]),
            floats("age", age.0, one, &age.1[..rows]),
            texts("film", one, &words[..rows]),
            texts("genres", &[rows as i64, width as i64], lists),
        ];
        let columns = read_raw(&tensors);
        prop_assert_eq!(&read_typed(&tensors), &columns);
        let columns = columns.unwrap();
        prop_assert_eq!(columns.rows(), rows);
        prop_assert_eq!(&columns.get("user").unwrap().values, &Values::Int(user.1[..rows].to_vec()));
        prop_assert_eq!(&columns.get("age").unwrap().values, &Values::Float(age.1[..rows].to_vec()));
        prop_assert_eq!(&columns.get("film").unwrap().values, &Values::Text(words[..rows].iter().collect()));
        let genres = columns.get("genres").unwrap();
        for row in 0..rows {
            let mut sent = &lists[row * width..(row + 1) * width];
            while let [rest @ .., ""] = sent {
                sent = rest;
            }
            let Values::Text(read) = &genres.values else { panic!("{genres:?}") };
            let read = genres.range(row).map(|position| &read[position]);
            prop_assert!(read.eq(sent.iter().copied()));
        }
    }

    #[test]
    fn no_tensors_make_the_reader_or_the_encoder_panic(
        inputs in prop::collection::vec(any_input(), 0..6),
        buffers in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
    ) {
        let buffers = buffers.into_iter().map(Bytes::from).collect();
        if let Ok(columns) = read_some(inputs, buffers) {
            prop_assert!(columns.rows() <= MAX_ROWS);
            let schema = fixture::schema();
            for side in SIDES {
                if let Ok(encoded) = schema.encode(*side, &columns) {
                    prop_assert_eq!(encoded.rows, columns.rows());
                }
            }
        }
    }

    #[test]
    fn no_bytes_of_any_length_make_an_element_that_is_not_there(
        datatype in prop::sample::select(Datatype::ALL.to_vec()),
        bytes in prop::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..64),
        count in prop_oneof![0..20_usize, any::<usize>()],
    ) {
        if let Ok(values) = tensor::raw(datatype, &bytes, count) {
            prop_assert_eq!(values.len(), count);
        }
    }
}
