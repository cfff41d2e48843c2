//! Elementwise functions at their awkward points.

use super::functions::{erf, erfc};
use super::half::round_to_f16;
use super::{binary, cast, select, unary};
use crate::graph::{BinaryOp, UnaryOp};
use crate::tensor::{Data, Element, Tensor};
use half::f16;

fn real(op: UnaryOp, x: f32) -> f32 {
    unary(op, &Tensor::f32([1], [x]).unwrap()).unwrap().as_f32().unwrap()[0]
}

fn reals(op: BinaryOp, a: f32, b: f32) -> f32 {
    let [a, b] = [a, b].map(|x| Tensor::f32([1], [x]).unwrap());
    binary(op, &a, &b).unwrap().as_f32().unwrap()[0]
}

fn i32s(v: &[i32]) -> Tensor {
    Tensor::new([v.len()], Data::I32(v.to_vec())).unwrap()
}

fn truths(v: &[bool]) -> Data {
    Data::Bool(v.to_vec())
}

/// All that make a real of a real.
const FUNCTIONS: [UnaryOp; 26] = [
    UnaryOp::Abs,
    UnaryOp::Neg,
    UnaryOp::Sign,
    UnaryOp::Floor,
    UnaryOp::Ceil,
    UnaryOp::Round,
    UnaryOp::Reciprocal,
    UnaryOp::Sqrt,
    UnaryOp::Exp,
    UnaryOp::Log,
    UnaryOp::Sin,
    UnaryOp::Cos,
    UnaryOp::Erf,
    UnaryOp::Tanh,
    UnaryOp::Sigmoid,
    UnaryOp::HardSigmoid { alpha: 0.2, beta: 0.5 },
    UnaryOp::HardSwish,
    UnaryOp::Swish { alpha: 1.0 },
    UnaryOp::Softplus,
    UnaryOp::Mish,
    UnaryOp::Gelu { tanh: false },
    UnaryOp::Gelu { tanh: true },
    UnaryOp::Elu { alpha: 1.0 },
    UnaryOp::Selu { alpha: 1.67, gamma: 1.05 },
    UnaryOp::Celu { alpha: 1.0 },
    UnaryOp::LeakyRelu { alpha: 0.01 },
];

#[test]
fn the_error_function_to_f64() {
    // From tables, to 16 digits.
    for (x, want) in [
        (0.0, 0.0),
        (0.1, 0.112_462_916_018_284_9),
        (0.5, 0.520_499_877_813_046_5),
        (1.0, 0.842_700_792_949_714_9),
        (2.0, 0.995_322_265_018_952_7),
        (3.0, 0.999_977_909_503_001_4),
    ] {
        assert!((erf(x) - want).abs() < 4e-16, "erf({x}) is {}, not {want}", erf(x));
        assert_eq!(erf(-x), -erf(x));
    }
    for (x, want) in [(5.0, 1.537_459_794_428_034_8e-12), (10.0, 2.088_487_583_762_545e-45)] {
        assert!((erfc(x) / want - 1.0).abs() < 1e-14, "erfc({x}) is {}, not {want}", erfc(x));
    }
    // Both ways meet where they change over.
    let (below, above) = (erfc(2.5f64.next_down()), erfc(2.5));
    assert!((below / above - 1.0).abs() < 1e-11, "{below} and {above}");
    assert!(erf(f64::NAN).is_nan() && erf(f64::INFINITY) == 1.0 && erf(f64::NEG_INFINITY) == -1.0);
}

#[test]
fn functions_at_known_points() {
    for (op, x, want) in [
        (UnaryOp::Gelu { tanh: false }, 1.0, 0.841_344_746_068_542_9),
        (UnaryOp::Gelu { tanh: false }, -10.0, -7.619_853_024_160_527e-23),
        (UnaryOp::Gelu { tanh: true }, 1.0, 0.841_191_990_608_276_8),
        (UnaryOp::Gelu { tanh: true }, -100.0, 0.0),
        (UnaryOp::Mish, 1.0, 0.865_098_388_267_310_3),
        (UnaryOp::Mish, 100.0, 100.0),
        (UnaryOp::Softplus, 1000.0, 1000.0),
        (UnaryOp::Softplus, -1000.0, 0.0),
        (UnaryOp::Softplus, 0.0, std::f64::consts::LN_2),
        (UnaryOp::Elu { alpha: 2.0 }, -1e-6, -1.999_999_000_000_333_3e-6),
        (UnaryOp::Elu { alpha: 2.0 }, -100.0, -2.0),
        (UnaryOp::Celu { alpha: 2.0 }, -2.0, -1.264_241_117_657_115_3),
        (UnaryOp::Selu { alpha: 2.0, gamma: 3.0 }, 1.0, 3.0),
        (UnaryOp::HardSigmoid { alpha: 0.25, beta: 0.5 }, 1.0, 0.75),
        (UnaryOp::HardSigmoid { alpha: 0.2, beta: 0.5 }, -9.0, 0.0),
        (UnaryOp::HardSwish, -3.0, 0.0),
        (UnaryOp::HardSwish, 1.0, 2.0 / 3.0),
        (UnaryOp::Sigmoid, -1000.0, 0.0),
        (UnaryOp::Swish { alpha: 1.0 }, -1000.0, 0.0),
        (UnaryOp::Round, 2.5, 2.0),
        (UnaryOp::Round, -3.5, -4.0),
        (UnaryOp::LeakyRelu { alpha: 0.5 }, -3.0, -1.5),
        (UnaryOp::Sign, -0.25, -1.0),
    ] {
        assert_eq!(real(op, x), want as f32, "{op:?} of {x}");
    }
    for op in FUNCTIONS {
        assert!(real(op, f32::NAN).is_nan(), "{op:?}");
    }
}

#[test]
fn pairs_of_reals() {
    let nan = f32::NAN;
    for (op, a, b, want) in [
        (BinaryOp::Pow, -2.0, 3.0, -8.0),
        (BinaryOp::Pow, 0.0, 0.0, 1.0),
        (BinaryOp::Pow, nan, 0.0, 1.0),
        (BinaryOp::Pow, 0.0, -1.0, f32::INFINITY),
        (BinaryOp::Mod { fmod: false }, -7.5, 2.0, 0.5),
        (BinaryOp::Mod { fmod: true }, -7.5, 2.0, -1.5),
        (BinaryOp::Mod { fmod: false }, 7.5, -2.0, -0.5),
        (BinaryOp::PRelu, -3.0, 0.25, -0.75),
        (BinaryOp::PRelu, 3.0, 0.25, 3.0),
        (BinaryOp::Add, 0.1, 0.2, 0.1 + 0.2),
    ] {
        assert_eq!(reals(op, a, b), want, "{op:?} of {a} and {b}");
    }
    for (a, b) in [(nan, 1.0), (1.0, nan)] {
        assert!(reals(BinaryOp::Min, a, b).is_nan() && reals(BinaryOp::Max, a, b).is_nan());
    }
    assert!(reals(BinaryOp::Pow, -2.0, 0.5).is_nan());
    let [a, b] = [[nan, 1.0, 2.0], [nan, 1.0, 1.0]].map(|v| Tensor::f32([3], v).unwrap());
    for (op, want) in [
        (BinaryOp::Equal, [false, true, false]),
        (BinaryOp::Greater, [false, false, true]),
        (BinaryOp::GreaterOrEqual, [false, true, true]),
        (BinaryOp::Less, [false, false, false]),
        (BinaryOp::LessOrEqual, [false, true, false]),
    ] {
        assert_eq!(*binary(op, &a, &b).unwrap().data(), truths(&want), "{op:?}");
    }
}

#[test]
fn pairs_of_integers() {
    let a = i32s(&[7, -7, 7, -7, i32::MIN, 5]);
    let b = i32s(&[2, 2, -2, -2, -1, 0]);
    for (op, want) in [
        (BinaryOp::Div, [3, -3, -3, 3, i32::MIN, 0]),
        (BinaryOp::Mod { fmod: false }, [1, 1, -1, -1, 0, 0]),
        (BinaryOp::Mod { fmod: true }, [1, -1, 1, -1, 0, 0]),
        (BinaryOp::Pow, [49, 49, 0, 0, 0, 1]),
        (BinaryOp::Mul, [14, -14, -14, 14, i32::MIN, 0]),
        (BinaryOp::Sub, [5, -9, 9, -5, i32::MIN + 1, 5]),
        (BinaryOp::PRelu, [7, -14, 7, 14, i32::MIN, 5]),
    ] {
        assert_eq!(*binary(op, &a, &b).unwrap().data(), *i32s(&want).data(), "{op:?}");
    }
    let a = i32s(&[1, -1, -1, 0, 3]);
    let b = i32s(&[-5, -5, -4, -1, 40]);
    let want = i32s(&[1, -1, 1, 0, 3i32.wrapping_pow(40)]);
    assert_eq!(binary(BinaryOp::Pow, &a, &b).unwrap(), want);
    let bytes = |v: [u8; 2]| Tensor::new([2], Data::U8(v.to_vec())).unwrap();
    let got = binary(BinaryOp::Sub, &bytes([3, 200]), &bytes([5, 100])).unwrap();
    assert_eq!(got, bytes([254, 100]));
    let least = Tensor::new([1], Data::I8(vec![-128])).unwrap();
    assert_eq!(unary(UnaryOp::Neg, &least).unwrap(), least);
    assert_eq!(unary(UnaryOp::Abs, &least).unwrap(), least);
}

#[test]
fn truth_values_and_choices() {
    let t = |v: &[bool]| Tensor::new([v.len()], truths(v)).unwrap();
    let (a, b) = (t(&[false, false, true, true]), t(&[false, true, false, true]));
    for (op, want) in [
        (BinaryOp::And, [false, false, false, true]),
        (BinaryOp::Or, [false, true, true, true]),
        (BinaryOp::Xor, [false, true, true, false]),
        (BinaryOp::Equal, [true, false, false, true]),
    ] {
        assert_eq!(binary(op, &a, &b).unwrap(), t(&want), "{op:?}");
    }
    assert_eq!(unary(UnaryOp::Not, &t(&[true, false])).unwrap(), t(&[false, true]));
    let x = Tensor::f32([3], [f32::NAN, f32::INFINITY, f32::NEG_INFINITY]).unwrap();
    assert_eq!(unary(UnaryOp::IsNan, &x).unwrap(), t(&[true, false, false]));
    let negative = UnaryOp::IsInf { negative: true, positive: false };
    assert_eq!(unary(negative, &x).unwrap(), t(&[false, false, true]));
    let condition = t(&[true, false]).reshape([2, 1]).unwrap();
    let row = i32s(&[1, 2, 3]);
    let got = select(&condition, &row, &i32s(&[9])).unwrap();
    assert_eq!(got, i32s(&[1, 2, 3, 9, 9, 9]).reshape([2, 3]).unwrap());
}

#[test]
fn casts() {
    let x = Tensor::f32([6], [-1.9, 1.9, 300.0, -1e20, f32::NAN, f32::INFINITY]).unwrap();
    for (element, want) in [
        (Element::I8, Data::I8(vec![-1, 1, 127, -128, 0, 127])),
        (Element::U8, Data::U8(vec![0, 1, 255, 0, 0, 255])),
        (Element::I32, Data::I32(vec![-1, 1, 300, i32::MIN, 0, i32::MAX])),
        (Element::I64, Data::I64(vec![-1, 1, 300, i64::MIN, 0, i64::MAX])),
        (Element::Bool, truths(&[true; 6])),
    ] {
        assert_eq!(*cast(&x, element).unwrap().data(), want, "{element:?}");
    }
    let x = Tensor::new([4], Data::I64(vec![-1, 300, 1 << 32, 16_777_217])).unwrap();
    for (element, want) in [
        (Element::I8, Data::I8(vec![-1, 44, 0, 1])),
        (Element::U8, Data::U8(vec![255, 44, 0, 1])),
        (Element::I32, Data::I32(vec![-1, 300, 0, 16_777_217])),
        (Element::F32, Data::F32(vec![-1.0, 300.0, 4_294_967_296.0, 16_777_216.0])),
        (Element::F16, Data::F16([-1.0, 300.0, f32::INFINITY, f32::INFINITY].map(f16::from_f32).to_vec())),
        (Element::Bool, truths(&[true; 4])),
    ] {
        assert_eq!(*cast(&x, element).unwrap().data(), want, "{element:?}");
    }
    // A hair above the tie between 1 and the next f16: rounded to f32 first, it would be the tie.
    let tie = 1.0 + 2f64.powi(-11);
    assert_eq!(round_to_f16(tie), f16::ONE);
    assert_eq!(round_to_f16(tie + 1e-15), f16::from_bits(f16::ONE.to_bits() + 1));
    assert_eq!(round_to_f16(-tie - 1e-15), -f16::from_bits(f16::ONE.to_bits() + 1));
    assert_eq!(round_to_f16(1e300), f16::INFINITY);
    assert_eq!(round_to_f16(-1e-300).to_bits(), 0x8000);
    assert!(round_to_f16(f64::NAN).is_nan());
}

#[test]
fn refusals() {
    let (f, i) = (Tensor::f32([2], [0.0; 2]).unwrap(), i32s(&[0; 3]));
    let error = |r: crate::Result<Tensor>| r.unwrap_err().to_string();
    let detail = error(binary(BinaryOp::Mul, &f, &Tensor::f32([3], [0.0; 3]).unwrap()));
    assert_eq!(detail, "Mul: [2] and [3] do not broadcast: 2 and 3 differ");
    for refused in [
        unary(UnaryOp::Exp, &i),
        unary(UnaryOp::Not, &i),
        unary(UnaryOp::IsNan, &i),
        binary(BinaryOp::And, &f, &f),
        binary(BinaryOp::Add, &Tensor::f32([3], [0.0; 3]).unwrap(), &i),
        select(&f, &f, &f),
    ] {
        assert!(error(refused).contains("element type"));
    }
}
