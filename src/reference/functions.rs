//! Functions of one and of two reals, in f64.

use crate::graph::{BinaryOp, UnaryOp};
use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// A function of one real; predicates have [`predicate`].
pub(super) fn unary(op: UnaryOp, x: f64) -> f64 {
    // Unlike `f64::max`, which drops NaN, a clamp keeps it.
    let unit = |x: f64| x.clamp(0.0, 1.0);
    let below = |alpha: f32, x: f64| if x < 0.0 { f64::from(alpha) * x.exp_m1() } else { x };
    match op {
        UnaryOp::Abs => x.abs(),
        UnaryOp::Neg => -x,
        UnaryOp::Sign if x > 0.0 => 1.0,
        UnaryOp::Sign if x < 0.0 => -1.0,
        UnaryOp::Sign => x,
        UnaryOp::Floor => x.floor(),
        UnaryOp::Ceil => x.ceil(),
        UnaryOp::Round => x.round_ties_even(),
        UnaryOp::Reciprocal => 1.0 / x,
        UnaryOp::Sqrt => x.sqrt(),
        UnaryOp::Exp => x.exp(),
        UnaryOp::Log => x.ln(),
        UnaryOp::Sin => x.sin(),
        UnaryOp::Cos => x.cos(),
        UnaryOp::Erf => erf(x),
        UnaryOp::Tanh => x.tanh(),
        UnaryOp::Sigmoid => sigmoid(x),
        UnaryOp::HardSigmoid { alpha, beta } => unit(f64::from(alpha) * x + f64::from(beta)),
        UnaryOp::HardSwish => x * unit(x / 6.0 + 0.5),
        UnaryOp::Swish { alpha } => x * sigmoid(f64::from(alpha) * x),
        UnaryOp::Softplus => softplus(x),
        UnaryOp::Mish => x * softplus(x).tanh(),
        UnaryOp::Gelu { tanh: true } => {
            // (1 + tanh u) / 2 is 1 / (1 + e^-2u), which loses nothing far below 0.
            x * sigmoid(2.0 * (2.0 / PI).sqrt() * (x + 0.044715 * x * x * x))
        }
        UnaryOp::Gelu { tanh: false } => 0.5 * x * erfc(-x * FRAC_1_SQRT_2),
        UnaryOp::Elu { alpha } => below(alpha, x),
        UnaryOp::Selu { alpha, gamma } => f64::from(gamma) * below(alpha, x),
        UnaryOp::Celu { alpha } => {
            let alpha = f64::from(alpha);
            if x.is_nan() { x } else { x.max(0.0) + (alpha * (x / alpha).exp_m1()).min(0.0) }
        }
        UnaryOp::LeakyRelu { alpha } => {
            if x < 0.0 {
                f64::from(alpha) * x
            } else {
                x
            }
        }
        UnaryOp::Not | UnaryOp::IsNan | UnaryOp::IsInf { .. } => f64::from(u8::from(predicate(op, x))),
    }
}

/// What a function says of one real.
pub(super) fn predicate(op: UnaryOp, x: f64) -> bool {
    match op {
        UnaryOp::IsNan => x.is_nan(),
        UnaryOp::IsInf { negative, positive } => x.is_infinite() && if x > 0.0 { positive } else { negative },
        _ => x == 0.0,
    }
}

/// A function of two reals that is not a truth value.
pub(super) fn binary(op: BinaryOp, a: f64, b: f64) -> f64 {
    // Either NaN is the sum's.
    let nan = a.is_nan() || b.is_nan();
    match op {
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Pow => a.powf(b),
        BinaryOp::Min if !nan => a.min(b),
        BinaryOp::Max if !nan => a.max(b),
        BinaryOp::Mod { fmod: true } => a % b,
        BinaryOp::Mod { fmod: false } => {
            let r = a % b;
            if r == 0.0 {
                0f64.copysign(b)
            } else if (r < 0.0) != (b < 0.0) {
                r + b
            } else {
                r
            }
        }
        BinaryOp::PRelu => {
            if a < 0.0 {
                a * b
            } else {
                a
            }
        }
        _ => a + b,
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `ln(1 + e^x)`, where e^x may be too large.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// From here on, the continued fraction of erfc is short.
const TAIL: f64 = 2.5;

/// The error function, to a few units of f64.
pub(super) fn erf(x: f64) -> f64 {
    if x.abs() < TAIL { series(x) } else { x.signum() * (1.0 - tail(x.abs())) }
}

/// `1 - erf(x)`, without the loss of that difference where x is large.
pub(super) fn erfc(x: f64) -> f64 {
    match x {
        x if x >= TAIL => tail(x),
        x if x <= -TAIL => 2.0 - tail(-x),
        x => 1.0 - series(x),
    }
}

/// erf as `2/sqrt(pi) e^(-x^2) sum_n 2^n x^(2n+1) / (1 3 5 .. (2n+1))`, all of one sign.
fn series(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
        if term.abs() <= sum.abs() * 1e-18 {
            break;
        }
    }
    // Not a number in, not a number out: the sum is NaN then.
    2.0 / PI.sqrt() * (-x * x).exp() * sum
}

/// erfc of a large x as `e^(-x^2) / sqrt(pi) / (x + 1/2 / (x + 1 / (x + 3/2 / (x + ..))))`.
fn tail(x: f64) -> f64 {
    if x > 30.0 {
        return 0.0;
    }
    let below = (1..=120).rev().fold(x, |f, n| x + f64::from(n) / 2.0 / f);
    (-x * x).exp() / PI.sqrt() / below
}
