//! The functions, reductions and geometries that ops are described by, with ONNX's meaning.

use crate::tensor::Tensor;
use std::sync::Arc;

/// A function of one element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum UnaryOp {
    /// `|x|`.
    Abs,
    /// `-x`.
    Neg,
    /// -1, 0 or 1.
    Sign,
    /// The largest integer that is not above x.
    Floor,
    /// The smallest integer that is not below x.
    Ceil,
    /// The nearest integer, ties to even.
    Round,
    /// `1 / x`.
    Reciprocal,
    /// The square root.
    Sqrt,
    /// `e^x`.
    Exp,
    /// The natural logarithm.
    Log,
    /// The sine.
    Sin,
    /// The cosine.
    Cos,
    /// The error function.
    Erf,
    /// The hyperbolic tangent.
    Tanh,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// `max(0, min(1, alpha x + beta))`.
    HardSigmoid {
        /// Slope.
        alpha: f32,
        /// Offset.
        beta: f32,
    },
    /// `x max(0, min(1, x / 6 + 1/2))`.
    HardSwish,
    /// `x / (1 + e^(-alpha x))`.
    Swish {
        /// Steepness.
        alpha: f32,
    },
    /// `ln(1 + e^x)`.
    Softplus,
    /// `x tanh(ln(1 + e^x))`.
    Mish,
    /// `x/2 (1 + erf(x / sqrt 2))`, or its approximation by tanh.
    Gelu {
        /// `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))` instead.
        tanh: bool,
    },
    /// x, or `alpha (e^x - 1)` below 0.
    Elu {
        /// Scale of the negative side.
        alpha: f32,
    },
    /// `gamma` times x, or `gamma alpha (e^x - 1)` below 0.
    Selu {
        /// Scale of the negative side.
        alpha: f32,
        /// Scale of all.
        gamma: f32,
    },
    /// `max(0, x) + min(0, alpha (e^(x / alpha) - 1))`.
    Celu {
        /// Scale of the negative side.
        alpha: f32,
    },
    /// x, or `alpha x` below 0.
    LeakyRelu {
        /// Slope of the negative side.
        alpha: f32,
    },
    /// Of a truth value.
    Not,
    /// Whether x is NaN.
    IsNan,
    /// Whether x is infinite.
    IsInf {
        /// Whether minus infinity counts.
        negative: bool,
        /// Whether plus infinity counts.
        positive: bool,
    },
}

/// A function of two elements, which are broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `a + b` of integers, which wrap around; the sum of reals is [`super::Op::Add`].
    Add,
    /// `a - b`.
    Sub,
    /// `a b`.
    Mul,
    /// `a / b`; of integers, towards zero.
    Div,
    /// `a^b`.
    Pow,
    /// The smaller.
    Min,
    /// The larger.
    Max,
    /// The remainder: of b's sign, or of a's where `fmod`.
    Mod {
        /// C's rule.
        fmod: bool,
    },
    /// a, or `a b` below 0.
    PRelu,
    /// `a == b`.
    Equal,
    /// `a > b`.
    Greater,
    /// `a >= b`.
    GreaterOrEqual,
    /// `a < b`.
    Less,
    /// `a <= b`.
    LessOrEqual,
    /// Both.
    And,
    /// One or both.
    Or,
    /// One of them.
    Xor,
}

impl UnaryOp {
    /// ONNX's name.
    pub fn name(self) -> &'static str {
        match self {
            UnaryOp::Abs => "Abs",
            UnaryOp::Neg => "Neg",
            UnaryOp::Sign => "Sign",
            UnaryOp::Floor => "Floor",
            UnaryOp::Ceil => "Ceil",
            UnaryOp::Round => "Round",
            UnaryOp::Reciprocal => "Reciprocal",
            UnaryOp::Sqrt => "Sqrt",
            UnaryOp::Exp => "Exp",
            UnaryOp::Log => "Log",
            UnaryOp::Sin => "Sin",
            UnaryOp::Cos => "Cos",
            UnaryOp::Erf => "Erf",
            UnaryOp::Tanh => "Tanh",
            UnaryOp::Sigmoid => "Sigmoid",
            UnaryOp::HardSigmoid { .. } => "HardSigmoid",
            UnaryOp::HardSwish => "HardSwish",
            UnaryOp::Swish { .. } => "Swish",
            UnaryOp::Softplus => "Softplus",
            UnaryOp::Mish => "Mish",
            UnaryOp::Gelu { .. } => "Gelu",
            UnaryOp::Elu { .. } => "Elu",
            UnaryOp::Selu { .. } => "Selu",
            UnaryOp::Celu { .. } => "Celu",
            UnaryOp::LeakyRelu { .. } => "LeakyRelu",
            UnaryOp::Not => "Not",
            UnaryOp::IsNan => "IsNaN",
            UnaryOp::IsInf { .. } => "IsInf",
        }
    }

    /// Whether the result is a truth value.
    pub fn is_predicate(self) -> bool {
        matches!(self, UnaryOp::Not | UnaryOp::IsNan | UnaryOp::IsInf { .. })
    }
}

impl BinaryOp {
    /// ONNX's name.
    pub fn name(self) -> &'static str {
        match self {
            BinaryOp::Add => "Add",
            BinaryOp::Sub => "Sub",
            BinaryOp::Mul => "Mul",
            BinaryOp::Div => "Div",
            BinaryOp::Pow => "Pow",
            BinaryOp::Min => "Min",
            BinaryOp::Max => "Max",
            BinaryOp::Mod { .. } => "Mod",
            BinaryOp::PRelu => "PRelu",
            BinaryOp::Equal => "Equal",
            BinaryOp::Greater => "Greater",
            BinaryOp::GreaterOrEqual => "GreaterOrEqual",
            BinaryOp::Less => "Less",
            BinaryOp::LessOrEqual => "LessOrEqual",
            BinaryOp::And => "And",
            BinaryOp::Or => "Or",
            BinaryOp::Xor => "Xor",
        }
    }

    /// Whether the result is a truth value.
    pub fn is_predicate(self) -> bool {
        self.is_comparison() || matches!(self, BinaryOp::And | BinaryOp::Or | BinaryOp::Xor)
    }

    /// Whether it compares numbers.
    pub fn is_comparison(self) -> bool {
        matches!(
            self,
            BinaryOp::Equal
                | BinaryOp::Greater
                | BinaryOp::GreaterOrEqual
                | BinaryOp::Less
                | BinaryOp::LessOrEqual
        )
    }
}

/// What a reduction makes of many elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceOp {
    /// The mean.
    Mean,
    /// The sum.
    Sum,
    /// The largest; of none, the least number.
    Max,
    /// The smallest; of none, the largest number.
    Min,
    /// The product.
    Prod,
    /// The sum of magnitudes.
    L1,
    /// The root of the sum of squares.
    L2,
    /// The sum of squares.
    SumSquare,
    /// The logarithm of the sum.
    LogSum,
    /// The logarithm of the sum of exponentials.
    LogSumExp,
}

impl ReduceOp {
    /// ONNX's name.
    pub fn name(self) -> &'static str {
        match self {
            ReduceOp::Mean => "ReduceMean",
            ReduceOp::Sum => "ReduceSum",
            ReduceOp::Max => "ReduceMax",
            ReduceOp::Min => "ReduceMin",
            ReduceOp::Prod => "ReduceProd",
            ReduceOp::L1 => "ReduceL1",
            ReduceOp::L2 => "ReduceL2",
            ReduceOp::SumSquare => "ReduceSumSquare",
            ReduceOp::LogSum => "ReduceLogSum",
            ReduceOp::LogSumExp => "ReduceLogSumExp",
        }
    }
}

/// A part of one axis. Negative positions count from the end, and all are clamped to the axis, as in ONNX.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SliceAxis {
    /// Which.
    pub axis: usize,
    /// The first index.
    pub start: i64,
    /// The index after the last.
    pub end: i64,
    /// From one index to the next; not 0, and backwards where it is negative.
    pub step: i64,
}

impl SliceAxis {
    /// The first index and the number of indices, of an axis of `n`.
    pub fn range(&self, n: usize) -> (usize, usize) {
        let n = i64::try_from(n).unwrap_or(i64::MAX);
        let from_end = |i: i64| if i < 0 { i.saturating_add(n) } else { i };
        let (start, end) = (from_end(self.start), from_end(self.end));
        let (start, span) = if self.step > 0 {
            let start = start.clamp(0, n);
            (start, end.clamp(0, n) - start)
        } else {
            let start = start.clamp(-1, n - 1);
            (start, start - end.clamp(-1, n - 1))
        };
        let step = self.step.unsigned_abs().max(1);
        let count = if span > 0 { (span as u64).div_ceil(step) } else { 0 };
        (usize::try_from(start).unwrap_or(0), usize::try_from(count).unwrap_or(0))
    }
}

/// What lies outside of what is padded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadMode {
    /// A value, converted to the element.
    Constant(f32),
    /// The inside mirrored, without the edge itself.
    Reflect,
    /// The nearest element.
    Edge,
    /// The inside again.
    Wrap,
}

/// How a place in the output of a Resize becomes one in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coordinates {
    /// `(i + 0.5) / scale - 0.5`.
    HalfPixel,
    /// The same around the centre, where the size was rounded.
    HalfPixelSymmetric,
    /// The same, 0 where the output is 1 long.
    PytorchHalfPixel,
    /// `i (n_in - 1) / (n_out - 1)`.
    AlignCorners,
    /// `i / scale`.
    Asymmetric,
}

/// Which neighbour is the nearest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nearest {
    /// Ties down.
    RoundPreferFloor,
    /// Ties up.
    RoundPreferCeil,
    /// The one below.
    Floor,
    /// The one above.
    Ceil,
}

/// What a Resize makes of neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interpolation {
    /// The nearest one.
    Nearest(Nearest),
    /// Linear between two along each axis.
    Linear,
}

/// Geometry of a Resize, one number for each dimension.
#[derive(Clone, Debug, PartialEq)]
pub struct Resize {
    /// The output's shape.
    pub sizes: Vec<usize>,
    /// Output over input; as given, where it was, else the quotient of the sizes.
    pub scales: Vec<f32>,
    /// From places to places.
    pub coordinates: Coordinates,
    /// Between neighbours.
    pub interpolation: Interpolation,
}

/// An op whose shape or geometry depends on the *values* of inputs after the first, or on its input's shape. Once those
/// are known, at the latest when the model is run, it becomes a plain op or a constant: see `Model::specialize`.
#[derive(Clone, Debug, PartialEq)]
pub enum Deferred {
    /// `x` -> its shape as `[rank]` of I64, from `start` to before `end`.
    Shape {
        /// The first axis.
        start: i64,
        /// The axis after the last; all where it is `None`.
        end: Option<i64>,
    },
    /// `x` -> the number of its elements.
    Size,
    /// `x`, shape.
    Reshape {
        /// Whether a 0 is a size, instead of a copy of the input's.
        allow_zero: bool,
    },
    /// `x`, shape: broadcast.
    Expand,
    /// `x`, repeats.
    Tile,
    /// `x`, starts, ends, axes?, steps?.
    Slice,
    /// `x`, pads, value?, axes?.
    Pad {
        /// The value is the third input's, where there is one.
        mode: PadMode,
    },
    /// `x`, scales?, sizes? (one of them).
    Resize {
        /// From places to places.
        coordinates: Coordinates,
        /// Between neighbours.
        interpolation: Interpolation,
        /// The dimensions that scales or sizes are of, all where it is empty.
        axes: Vec<usize>,
        /// How sizes are fitted.
        fit: Fit,
    },
    /// shape -> that many of one element.
    ConstantOfShape {
        /// One element.
        value: Arc<Tensor>,
    },
    /// start, limit, delta.
    Range,
    /// `x`, axes?: all that are 1 where they are left out.
    Squeeze,
    /// `x`, axes.
    Unsqueeze,
    /// `x`, axes?.
    Reduce {
        /// Which.
        op: ReduceOp,
        /// Whether reduced axes stay, as 1.
        keep: bool,
        /// Whether no axes means none, instead of all.
        none_without_axes: bool,
    },
    /// `x`, sizes: part `index` of a Split.
    Split {
        /// Which.
        axis: usize,
        /// Which part.
        index: usize,
    },
    /// `x`: part `index` of `parts` of one size, but for the last.
    Part {
        /// Which.
        axis: usize,
        /// How many.
        parts: usize,
        /// Which part.
        index: usize,
    },
    /// `x`, axis.
    CumSum {
        /// Without the element itself.
        exclusive: bool,
        /// From the end.
        reverse: bool,
    },
}

impl Deferred {
    /// The least and the largest number of inputs.
    pub(super) fn arity(&self) -> (usize, usize) {
        match self {
            Deferred::Shape { .. }
            | Deferred::Size
            | Deferred::ConstantOfShape { .. }
            | Deferred::Part { .. } => (1, 1),
            Deferred::Reshape { .. } | Deferred::Expand | Deferred::Tile | Deferred::Unsqueeze => (2, 2),
            Deferred::Split { .. } | Deferred::CumSum { .. } => (2, 2),
            Deferred::Squeeze | Deferred::Reduce { .. } => (1, 2),
            Deferred::Slice => (3, 5),
            Deferred::Pad { .. } => (2, 4),
            Deferred::Resize { .. } => (2, 3),
            Deferred::Range => (3, 3),
        }
    }
}

/// How a Resize takes given sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fit {
    /// As they are.
    Stretch,
    /// One scale for all axes, so that none is larger.
    NotLarger,
    /// One scale for all axes, so that none is smaller.
    NotSmaller,
}
