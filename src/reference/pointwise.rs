//! Functions of single elements and of pairs, broadcast.
//!
//! Reals are computed in f64 and rounded once. Integers are exact, and wrap around where the element is too narrow for
//! the result; what divides by 0, a remainder too, is 0.

use super::functions;
use super::half::round_to_f16;
use crate::error::{Error, Result};
use crate::graph::{BinaryOp, UnaryOp};
use crate::tensor::{Data, Element, Tensor};
use half::f16;

fn unfit<T>(op: &'static str, got: Element, expected: &'static str) -> Result<T> {
    Err(Error::Element { op, got, expected })
}

/// The elements, converted one by one.
fn each<T: Copy, U>(v: &[T], f: impl Fn(T) -> U) -> Vec<U> {
    v.iter().map(|&x| f(x)).collect()
}

/// A function of each element: of reals any but Not, of integers Abs, Neg and Sign, of truth values Not.
///
/// A function of NaN is NaN, but for the predicates. Sums and products that a formula makes of infinities and zeros are
/// what IEEE 754 says: `x sigmoid(x)` of minus infinity is NaN.
///
/// # Errors
/// [`Error::Element`] where the op has no meaning for the elements.
pub fn unary(op: UnaryOp, x: &Tensor) -> Result<Tensor> {
    fn integer(op: UnaryOp, x: i64) -> i64 {
        match op {
            UnaryOp::Abs => x.wrapping_abs(),
            UnaryOp::Neg => x.wrapping_neg(),
            _ => x.signum(),
        }
    }
    let arithmetic = matches!(op, UnaryOp::Abs | UnaryOp::Neg | UnaryOp::Sign);
    let data = match (x.data(), op) {
        (Data::Bool(v), UnaryOp::Not) => Data::Bool(each(v, |x| !x)),
        (_, UnaryOp::Not) => return unfit(op.name(), x.element(), "Bool"),
        (Data::F32(v), _) if op.is_predicate() => Data::Bool(each(v, |x| functions::predicate(op, x.into()))),
        (Data::F16(v), _) if op.is_predicate() => Data::Bool(each(v, |x| functions::predicate(op, x.into()))),
        (Data::F32(v), _) => Data::F32(each(v, |x| functions::unary(op, x.into()) as f32)),
        (Data::F16(v), _) => Data::F16(each(v, |x| round_to_f16(functions::unary(op, x.into())))),
        (Data::I8(v), _) if arithmetic => Data::I8(each(v, |x| integer(op, x.into()) as i8)),
        (Data::U8(v), _) if arithmetic => Data::U8(each(v, |x| integer(op, x.into()) as u8)),
        (Data::I32(v), _) if arithmetic => Data::I32(each(v, |x| integer(op, x.into()) as i32)),
        (Data::I64(v), _) if arithmetic => Data::I64(each(v, |x| integer(op, x))),
        _ if arithmetic => return unfit(op.name(), x.element(), "a real or an integer"),
        _ => return unfit(op.name(), x.element(), "F32 or F16"),
    };
    Tensor::new(x.shape(), data)
}

/// `a op b` of integers, which the caller narrows.
fn integers(op: BinaryOp, a: i64, b: i64) -> i64 {
    match op {
        BinaryOp::Add => a.wrapping_add(b),
        BinaryOp::Sub => a.wrapping_sub(b),
        BinaryOp::Mul => a.wrapping_mul(b),
        BinaryOp::Div if b == 0 => 0,
        BinaryOp::Div => a.wrapping_div(b),
        BinaryOp::Pow => power(a, b),
        BinaryOp::Min => a.min(b),
        BinaryOp::Max => a.max(b),
        BinaryOp::Mod { .. } if b == 0 => 0,
        BinaryOp::Mod { fmod } => {
            let r = a.wrapping_rem(b);
            if !fmod && r != 0 && (r < 0) != (b < 0) { r + b } else { r }
        }
        BinaryOp::PRelu if a < 0 => a.wrapping_mul(b),
        // The others make truth values: see `compare`.
        _ => a,
    }
}

/// `a^b`, wrapping; where b is negative the whole part, and 0 of a 0.
fn power(a: i64, b: i64) -> i64 {
    if b < 0 {
        return match a {
            1 => 1,
            -1 if b % 2 != 0 => -1,
            -1 => 1,
            _ => 0,
        };
    }
    let (mut result, mut square, mut rest) = (1i64, a, b);
    while rest > 0 {
        if rest & 1 == 1 {
            result = result.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        rest >>= 1;
    }
    result
}

fn compare<T: PartialOrd>(op: BinaryOp, a: T, b: T) -> bool {
    match op {
        BinaryOp::Greater => a > b,
        BinaryOp::GreaterOrEqual => a >= b,
        BinaryOp::Less => a < b,
        BinaryOp::LessOrEqual => a <= b,
        _ => a == b,
    }
}

/// For each element of the shape that operands are broadcast to, which of theirs it reads: aligned at the innermost
/// dimension, where 1 repeats.
pub(super) struct Broadcast {
    pub shape: Vec<usize>,
}

impl Broadcast {
    /// # Errors
    /// [`Error::Shape`] where two dimensions differ and neither is 1.
    pub fn new(op: &'static str, operands: &[&[usize]]) -> Result<Self> {
        let rank = operands.iter().map(|s| s.len()).max().unwrap_or(0);
        let mut shape = vec![1; rank];
        for (d, length) in shape.iter_mut().enumerate() {
            for operand in operands {
                match (dimension(operand, rank, d), *length) {
                    (own, so_far) if own == so_far || own == 1 => {}
                    (own, 1) => *length = own,
                    (own, so_far) => {
                        let shapes: Vec<String> = operands.iter().map(|s| format!("{s:?}")).collect();
                        let shapes = shapes.join(" and ");
                        let detail = format!("{shapes} do not broadcast: {so_far} and {own} differ");
                        return Err(Error::Shape { op, detail });
                    }
                }
            }
        }
        Ok(Self { shape })
    }

    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn index(&self, operand: &[usize], mut i: usize) -> usize {
        let (rank, mut at, mut step) = (self.shape.len(), 0, 1);
        for d in (0..rank).rev() {
            let (length, own) = (self.shape[d], dimension(operand, rank, d));
            at += if own == 1 { 0 } else { i % length * step };
            (i, step) = (i / length, step * own);
        }
        at
    }

    /// A function of each pair.
    fn pairs<T: Copy, U>(
        &self,
        (a, a_shape): (&[T], &[usize]),
        (b, b_shape): (&[T], &[usize]),
        f: impl Fn(T, T) -> U,
    ) -> Vec<U> {
        let pair = |i| (a[self.index(a_shape, i)], b[self.index(b_shape, i)]);
        (0..self.len()).map(pair).map(|(a, b)| f(a, b)).collect()
    }
}

/// Dimension `d` of `rank`, 1 where the shape has fewer.
fn dimension(shape: &[usize], rank: usize, d: usize) -> usize {
    (d + shape.len()).checked_sub(rank).map_or(1, |d| shape[d])
}

/// A function of each pair, both of one element: of numbers any but And, Or and Xor; of truth values those and Equal.
///
/// The smaller or larger of NaN and anything is NaN, and no comparison with NaN is true.
///
/// # Errors
/// [`Error::Element`] where the elements differ or the op has no meaning for them, [`Error::Shape`] where the shapes do
/// not broadcast.
pub fn binary(op: BinaryOp, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let name = op.name();
    let to = Broadcast::new(name, &[a.shape(), b.shape()])?;
    let logic = matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::Xor);
    let (sa, sb) = (a.shape(), b.shape());
    macro_rules! numbers {
        ($variant:ident, $a:ident, $b:ident, $f:expr) => {
            if logic {
                return unfit(name, a.element(), "Bool");
            } else if op.is_comparison() {
                Data::Bool(to.pairs(($a, sa), ($b, sb), |x, y| compare(op, x, y)))
            } else {
                Data::$variant(to.pairs(($a, sa), ($b, sb), $f))
            }
        };
    }
    let data = match (a.data(), b.data()) {
        (Data::F32(x), Data::F32(y)) => {
            numbers!(F32, x, y, |x, y| functions::binary(op, x.into(), y.into()) as f32)
        }
        (Data::F16(x), Data::F16(y)) => {
            numbers!(F16, x, y, |x, y| round_to_f16(functions::binary(op, x.into(), y.into())))
        }
        (Data::I8(x), Data::I8(y)) => {
            numbers!(I8, x, y, |x, y| integers(op, x.into(), y.into()) as i8)
        }
        (Data::U8(x), Data::U8(y)) => {
            numbers!(U8, x, y, |x, y| integers(op, x.into(), y.into()) as u8)
        }
        (Data::I32(x), Data::I32(y)) => {
            numbers!(I32, x, y, |x, y| integers(op, x.into(), y.into()) as i32)
        }
        (Data::I64(x), Data::I64(y)) => numbers!(I64, x, y, |x, y| integers(op, x, y)),
        (Data::Bool(x), Data::Bool(y)) => {
            let f: fn(bool, bool) -> bool = match op {
                BinaryOp::And => |a, b| a && b,
                BinaryOp::Or => |a, b| a || b,
                BinaryOp::Xor => |a, b| a != b,
                BinaryOp::Equal => |a, b| a == b,
                _ => return unfit(name, Element::Bool, "numbers"),
            };
            Data::Bool(to.pairs((x, sa), (y, sb), f))
        }
        _ => return unfit(name, b.element(), "both operands of one element"),
    };
    Tensor::new(to.shape, data)
}

/// `a` where the condition is true, else `b`, all three broadcast: ONNX's Where.
///
/// # Errors
/// [`Error::Element`] where the condition is not Bool or `a` and `b` differ, [`Error::Shape`] where the shapes do not
/// broadcast.
pub fn select(condition: &Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let Data::Bool(c) = condition.data() else {
        return unfit("where", condition.element(), "a condition of Bool");
    };
    let (sc, sa, sb) = (condition.shape(), a.shape(), b.shape());
    let to = Broadcast::new("where", &[sc, sa, sb])?;
    fn chosen<T: Copy>(
        to: &Broadcast,
        (c, sc): (&[bool], &[usize]),
        (a, sa): (&[T], &[usize]),
        (b, sb): (&[T], &[usize]),
    ) -> Vec<T> {
        let one = |i| if c[to.index(sc, i)] { a[to.index(sa, i)] } else { b[to.index(sb, i)] };
        (0..to.len()).map(one).collect()
    }
    macro_rules! of {
        ($($variant:ident),*) => {
            match (a.data(), b.data()) {
                $((Data::$variant(x), Data::$variant(y)) => {
                    Data::$variant(chosen(&to, (c, sc), (x, sa), (y, sb)))
                })*
                _ => return unfit("where", b.element(), "both values of one element"),
            }
        };
    }
    let data = of!(F32, F16, I8, U8, I32, I64, Bool);
    Tensor::new(to.shape, data)
}

/// The elements as another type: ONNX's Cast.
///
/// Reals become integers towards zero; what is beyond the type's ends becomes the end, and NaN 0. Integers become
/// narrower by wrapping around. Whatever is not 0 is true, NaN too. To a real: the nearest, ties to even.
///
/// # Errors
/// None today.
pub fn cast(x: &Tensor, element: Element) -> Result<Tensor> {
    fn of_real(shape: &[usize], v: &[f64], element: Element) -> Result<Tensor> {
        let data = match element {
            Element::F32 => Data::F32(each(v, |x| x as f32)),
            Element::F16 => Data::F16(each(v, round_to_f16)),
            Element::I8 => Data::I8(each(v, |x| x as i8)),
            Element::U8 => Data::U8(each(v, |x| x as u8)),
            Element::I32 => Data::I32(each(v, |x| x as i32)),
            Element::I64 => Data::I64(each(v, |x| x as i64)),
            Element::Bool => Data::Bool(each(v, |x| x != 0.0)),
        };
        Tensor::new(shape, data)
    }
    fn of_integer(shape: &[usize], v: &[i64], element: Element) -> Result<Tensor> {
        let data = match element {
            Element::F32 => Data::F32(each(v, |x| x as f32)),
            // Where f64 has to round, f16 has no number left.
            Element::F16 => Data::F16(each(v, |x| round_to_f16(x as f64))),
            Element::I8 => Data::I8(each(v, |x| x as i8)),
            Element::U8 => Data::U8(each(v, |x| x as u8)),
            Element::I32 => Data::I32(each(v, |x| x as i32)),
            Element::I64 => Data::I64(v.to_vec()),
            Element::Bool => Data::Bool(each(v, |x| x != 0)),
        };
        Tensor::new(shape, data)
    }
    let shape = x.shape();
    match x.data() {
        Data::F32(v) => of_real(shape, &each(v, f64::from), element),
        Data::F16(v) => of_real(shape, &each(v, f16::to_f64), element),
        Data::I8(v) => of_integer(shape, &each(v, i64::from), element),
        Data::U8(v) => of_integer(shape, &each(v, i64::from), element),
        Data::I32(v) => of_integer(shape, &each(v, i64::from), element),
        Data::I64(v) => of_integer(shape, v, element),
        Data::Bool(v) => of_integer(shape, &each(v, i64::from), element),
    }
}
