//! What a product that ends in a function may be off by.

use weighbridge::graph::{Activation, UnaryOp};
use weighbridge::reference::{self, Storage};

pub const GELU: Activation = Activation::Function(UnaryOp::Gelu { tanh: false });
pub const HARD_SWISH: Activation = Activation::Function(UnaryOp::HardSwish);

/// What a kernel that is up to `error` off at `x` makes of it, and how far that may be off: by the error times the steepest
/// slope, and by the function's own roundings (as in tests/unary.rs).
pub fn ended(activation: Activation, x: f64, error: f64) -> (f64, f64) {
    const UNIT: f64 = f32::EPSILON as f64;
    let most = x.abs() + error;
    let (slope, own) = match activation {
        GELU => (1.13, 0.5 * most * 20.0 * UNIT),
        HARD_SWISH => (1.5, 2.0 * UNIT * (most + most * most)),
        _ => panic!("{activation:?} has no bound here"),
    };
    let y = reference::activation(x, activation);
    (y, slope * error + own + UNIT * y.abs())
}

/// The same, stored.
#[allow(dead_code)] // not every test stores floats
pub fn ended_in(storage: Storage, activation: Activation, x: f64, error: f64) -> (f64, f64) {
    let (y, bound) = ended(activation, x, error);
    match storage {
        Storage::F32 => (y, bound),
        Storage::F16 => (y, bound + (y.abs() + bound) * 2f64.powi(-10) + 2f64.powi(-14)),
    }
}
