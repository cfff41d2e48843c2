//! A network as nodes and values, with ONNX's meaning: channels-first (`[batch, channel, height, width]`) shapes,
//! one constant tensor for each weight. How it is laid out on a device is the plan's business. Never names wgpu.

mod fuse;
mod model;
mod op;
pub(crate) mod passes;
mod resolve;
mod shape;
mod validate;
pub(crate) mod weights;
mod window;

pub use model::Output;
pub use op::{
    BinaryOp, Coordinates, Deferred, Fit, Interpolation, Nearest, PadMode, ReduceOp, Resize, SliceAxis,
    UnaryOp,
};
#[cfg(feature = "onnx")]
pub(crate) use resolve::Known;

use crate::quant::{QuantParams, Scheme};
use crate::tensor::{Element, Tensor};
use std::collections::HashMap;
use std::sync::Arc;

/// One dimension of a value's shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// Known when the model is made.
    Fixed(usize),
    /// Known when the model is run: `batch`, say.
    Symbol(String),
}

/// Index of a [`Value`] in its [`Model`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(crate) usize);

/// How a value's real numbers are held in int8.
#[derive(Clone, Debug, PartialEq)]
pub enum Quant {
    /// Parameters known beforehand: one for the tensor (`axis` is `None`), or one for each index of `axis`.
    Static {
        /// The axis with a parameter for each index.
        axis: Option<usize>,
        /// One, or as many as the axis is long.
        params: Vec<QuantParams>,
    },
    /// Parameters known beforehand, for groups of a constant `[n, k]`: the weight of a Linear that reads floats.
    Grouped {
        /// Elements along k that share their parameters. They divide k.
        group: usize,
        /// `[n, k / group]` in row-major order, symmetric: every zero point is 0.
        params: Vec<QuantParams>,
    },
    /// Parameters measured when the value is produced.
    Dynamic {
        /// From range to parameters.
        scheme: Scheme,
        /// One range for each row (all but the innermost dimension), else one for the tensor.
        per_row: bool,
    },
}

/// A tensor that flows between nodes, an input, or a constant.
#[derive(Clone, Debug)]
pub struct Value {
    /// Unique within the model.
    pub name: String,
    /// Type of the elements as held on the device.
    pub element: Element,
    /// Shape, outermost dimension first.
    pub shape: Vec<Dim>,
    /// The elements, where they are known beforehand.
    pub constant: Option<Arc<Tensor>>,
    /// Set where `element` is `I8` and stands for reals.
    pub quant: Option<Quant>,
}

/// What is applied to an op's result before it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum Activation {
    /// Nothing.
    #[default]
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, lo), hi)`.
    Clip {
        /// Lower bound.
        lo: f32,
        /// Upper bound.
        hi: f32,
    },
    /// A function from reals to reals, which a Conv or Linear may end in. Elsewhere it is [`Op::Unary`].
    Function(UnaryOp),
}

/// Window geometry shared by convolutions and pools, `[height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Window {
    /// Size of the window.
    pub kernel: [usize; 2],
    /// Steps between windows.
    pub stride: [usize; 2],
    /// Padding at the beginning: top, left.
    pub pad_begin: [usize; 2],
    /// Padding at the end: bottom, right.
    pub pad_end: [usize; 2],
    /// Steps between taps within a window.
    pub dilation: [usize; 2],
    /// Whether a window that overhangs the end counts (pools only).
    pub ceil: bool,
}

/// Which pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PoolKind {
    /// The largest.
    Max,
    /// The mean; `include_pad` divides by the whole window even where it overhangs.
    Average {
        /// Whether padding counts in the divisor.
        include_pad: bool,
    },
}

/// What a node does. Inputs and outputs are in ONNX's order.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// `x [n, c, h, w]`, `weight [o, c / groups, kh, kw]` constant, `bias [o]`? -> `[n, o, oh, ow]`.
    Conv {
        /// Geometry.
        window: Window,
        /// Channel groups.
        groups: usize,
        /// Applied last.
        activation: Activation,
    },
    /// `x [.., k]`, `weight [n, k]` constant, `bias [n]`? -> `[.., n]`: ONNX's Gemm and MatMul with constant weights.
    Linear {
        /// Applied last.
        activation: Activation,
    },
    /// `a [.., m, k]`, `b [.., k, n]` -> `[.., m, n]`, broadcast over the outer dimensions.
    MatMul,
    /// Elementwise activation.
    Activation(Activation),
    /// `a + b`, broadcast.
    Add {
        /// Applied last.
        activation: Activation,
    },
    /// Max or average over windows.
    Pool {
        /// Which.
        kind: PoolKind,
        /// Geometry.
        window: Window,
    },
    /// Mean over all of height and width, which become 1.
    GlobalAveragePool,
    /// To the shape of the output value; a row-major copy in ONNX's order of dimensions.
    Reshape {
        /// The target: -1 at most once (inferred), 0 copies the input's dimension.
        target: Vec<i64>,
    },
    /// To `[product of the first `axis` dimensions, the rest]`.
    Flatten {
        /// How many dimensions stay outside.
        axis: usize,
    },
    /// The dimensions in another order.
    Transpose {
        /// Which dimension of the input each dimension of the output is: a permutation of at most 6.
        order: Vec<usize>,
    },
    /// Real to int8, with the output value's `quant`.
    Quantize,
    /// Int8 to real, with the input value's `quant`.
    Dequantize,
    /// To the output value's element: floats to integers towards zero, anything to truth by whether it is not 0.
    Cast,
    /// A function of each element.
    Unary(UnaryOp),
    /// `a`, `b`, broadcast: a function of each pair, both of one element type.
    Binary(BinaryOp),
    /// `condition` (truth values), `a`, `b`, broadcast: a where it is true, else b.
    Where,
    /// Over axes, sorted.
    Reduce {
        /// What becomes of the elements.
        op: ReduceOp,
        /// Over which.
        axes: Vec<usize>,
        /// Whether reduced axes stay, as 1.
        keep: bool,
    },
    /// The index of the largest or smallest along an axis, as I64.
    ArgReduce {
        /// The largest, else the smallest.
        max: bool,
        /// Along which.
        axis: usize,
        /// Whether the axis stays, as 1.
        keep: bool,
        /// Of equals the last, else the first.
        last: bool,
    },
    /// Sums up to each element.
    CumSum {
        /// Along which.
        axis: usize,
        /// Without the element itself.
        exclusive: bool,
        /// From the end.
        reverse: bool,
    },
    /// `e^x / sum e^x` along an axis, or its logarithm.
    Softmax {
        /// Along which.
        axis: usize,
        /// The logarithm.
        log: bool,
    },
    /// `x`, `scale`?, `bias`? (of the shape of the normalized axes, or broadcast to it): `(x - mean) / sqrt(variance +
    /// epsilon) * scale + bias` over `axis` and all after it.
    LayerNorm {
        /// The first normalized axis.
        axis: usize,
        /// Added to the variance.
        epsilon: f32,
        /// Divides by the root of the mean square instead, and subtracts nothing.
        rms: bool,
    },
    /// `x [n, c, ..]`, `scale [c]`, `bias [c]`: normalized over groups of channels and all of space. With as many groups
    /// as channels it is an InstanceNormalization.
    GroupNorm {
        /// Groups of channels.
        groups: usize,
        /// Added to the variance.
        epsilon: f32,
    },
    /// `x`, `indices` (integers, negative from the end): the dimension becomes the indices' shape. An int8 table that is
    /// quantized may give floats.
    Gather {
        /// Along which.
        axis: usize,
    },
    /// One after the other along an axis.
    Concat {
        /// Along which.
        axis: usize,
    },
    /// A part of some axes.
    Slice {
        /// Each axis once.
        axes: Vec<SliceAxis>,
    },
    /// More, or less where it is negative, around each dimension.
    Pad {
        /// Before each dimension.
        begin: Vec<i64>,
        /// After each dimension.
        end: Vec<i64>,
        /// With what.
        mode: PadMode,
    },
    /// Broadcast to the shape that both make.
    Expand {
        /// Aligned at the end.
        shape: Vec<usize>,
    },
    /// Repeated along each dimension.
    Tile {
        /// One number for each dimension.
        repeats: Vec<usize>,
    },
    /// Other sizes.
    Resize(Resize),
    /// Without axes that are 1.
    Squeeze {
        /// Of the input, sorted.
        axes: Vec<usize>,
    },
    /// With more axes that are 1.
    Unsqueeze {
        /// Of the output, sorted.
        axes: Vec<usize>,
    },
    /// `x [n, c, h, w]`, `weight [c, o / groups, kh, kw]` constant, `bias [o]`? -> `[n, o, oh, ow]`: the transpose of a
    /// convolution.
    ConvTranspose {
        /// Geometry of the convolution that it is the transpose of.
        window: Window,
        /// Channel groups.
        groups: usize,
        /// Rows and columns added at the end of the output.
        output_padding: [usize; 2],
    },
    /// `q [.., m, d]`, `k [.., d, n]`, `v [.., n, e]`, `mask`? (broadcast to `[.., m, n]`) ->
    /// `softmax(scale q k + mask) v`, `[.., m, e]`.
    Attention {
        /// Of the scores.
        scale: f32,
    },
    /// Waits for values: see [`Deferred`].
    Deferred(Deferred),
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Node {
    /// Name for messages.
    pub name: String,
    /// What it does.
    pub op: Op,
    /// Inputs; `None` where an optional one is left out.
    pub inputs: Vec<Option<ValueId>>,
    /// Outputs.
    pub outputs: Vec<ValueId>,
    /// Names of other nodes that it stands for, once some were fused into it.
    pub fused: Vec<String>,
}

/// A network.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// Name for messages.
    pub name: String,
    /// ONNX operator set it came from, 0 where it was built in code.
    pub opset: i64,
    pub(crate) values: Vec<Value>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) outputs: Vec<ValueId>,
    /// Where each value is, by name.
    pub(crate) names: HashMap<String, ValueId>,
}
