//! Convolution as a matrix product whose rows are gathered patches, in f32, f16 and int8.
//!
//! Where the channel groups are not made of whole words and quads of columns (depthwise, above all), a kernel of
//! one thread for each four outputs does it directly.

use crate::error::{Error, Result};
use crate::graph::{Activation, Window};
use crate::kernel::{self, Blocking, Call, Choice, Chosen, Kernels, Layout, Operand, Origin, Patch, Problem};
use crate::ops::gemm::{b_matrix, bounds, last, out_vec};
use crate::ops::gemm_i8::{EpilogueBindings, check_out};
use crate::ops::pack::Packed;
use crate::ops::rows::{REALS, check_one_of, check_out_params};
use crate::ops::tile::{self, Form, Int8, Params, Source, Stage, to_u32};
use crate::tensor::{Element, Tensor, View};

/// What is asked of a [`Conv`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvDescriptor {
    /// Element type of the image and the weights: F32, F16 or I8.
    pub element: Element,
    /// Element type of the output: F32, F16 or I8; from I8 also I32.
    pub out: Element,
    /// Geometry.
    pub window: Window,
    /// Channel groups: `groups == channels` is a depthwise convolution.
    pub groups: usize,
    /// Applied to the sum with its bias.
    pub activation: Activation,
    /// Whether the output is the maximum of each 2 x 2 of that, at a stride of 2, and the rest is never written. What is
    /// left at the right and at the bottom of an odd size is dropped, and NaN is nobody's maximum, as in
    /// [`crate::ops::Pool`]; int8 of floats is made of the maximum, which of zeros may have the other sign in f16. Not of
    /// channel groups too small for a product, and not for I32 or a function in int8.
    pub max_pool: bool,
    /// I8: whether the weights may have zero points other than 0.
    pub b_zero_point: bool,
    /// How operands are multiplied; `None` for the device's default.
    pub operand: Option<Operand>,
    /// Register blocks; `None` for the default for the shape on the device.
    pub blocking: Option<Blocking>,
}

/// What goes with the weights of a [`Conv`].
#[derive(Clone, Copy, Debug)]
pub enum ConvOperands<'a> {
    /// F32 or F16.
    Float {
        /// `[1, n]` of f32.
        bias: Option<View<'a>>,
        /// Where the output is I8, its parameters.
        out_params: Option<View<'a>>,
    },
    /// I8: parameters, sums and bias. What lies outside of the image is the zero point of `a`.
    Int8(EpilogueBindings<'a>),
}

/// The tensors of a [`Conv`], channels last.
#[derive(Clone, Copy, Debug)]
pub struct ConvBindings<'a> {
    /// The image `[batch * height * width, channels]`.
    pub x: View<'a>,
    /// Images.
    pub batch: usize,
    /// Height and width of the image.
    pub size: [usize; 2],
    /// Weights `[n, kh, kw, channels / groups]`, packed by [`crate::ops::Packed`] with the same groups.
    pub weights: View<'a>,
    /// Bias, and int8's parameters.
    pub operands: ConvOperands<'a>,
    /// `[batch * out height * out width, n]`; half the height and width, rounded down, with [`ConvDescriptor::max_pool`].
    pub out: View<'a>,
}

/// Convolution. See [`crate::reference::conv2d`] for what it computes; int8 of floats is what [`crate::ops::Quantize`]
/// makes of that.
pub struct Conv {
    kernels: Kernels,
    descriptor: ConvDescriptor,
}

const OP: &str = "conv";

impl ConvDescriptor {
    /// Whether the channel groups are large enough for a matrix product each.
    fn by_groups(&self, channels: usize, n: usize) -> bool {
        let (in_group, per_group) = (channels / self.groups, n / self.groups);
        self.groups > 1
            && (!in_group.is_multiple_of(self.element.per_word())
                || !per_group.is_multiple_of(4)
                || per_group < 16)
    }

    /// Whether a kernel can do a max pool, too: see [`ConvDescriptor::max_pool`].
    pub(crate) fn can_pool(&self, channels: usize, n: usize) -> bool {
        self.pools() && !self.by_groups(channels, n)
    }

    fn pools(&self) -> bool {
        let function = matches!(self.activation, Activation::Function(_));
        self.out != Element::I32 && !(self.element == Element::I8 && function)
    }

    /// Packs weights `[n, kh, kw, channels / groups]` the way the kernel for this convolution wants them.
    ///
    /// # Errors
    /// [`Error::Shape`] where the groups do not divide `n`, [`Error::Element`] for elements no kernel takes.
    pub fn pack(&self, weights: &Tensor) -> Result<Packed> {
        let [n, _, _, c] = weights.shape()[..] else {
            return Err(Error::Shape {
                op: OP,
                detail: format!("weights are {:?}, expected 4 dimensions", weights.shape()),
            });
        };
        if self.groups == 0 || !n.is_multiple_of(self.groups) {
            return Err(Error::Shape { op: OP, detail: format!("{n} outputs in {} groups", self.groups) });
        }
        if self.by_groups(c * self.groups, n) {
            Packed::by_taps(weights)
        } else {
            Packed::new(weights, self.groups)
        }
    }
}

impl Conv {
    /// Prepares for a device.
    ///
    /// # Errors
    /// [`Error::Element`] for elements that there are not, [`Error::Argument`] for an impossible window or groups,
    /// [`Error::Feature`] where the device lacks what was asked for.
    pub fn new(device: &wgpu::Device, descriptor: &ConvDescriptor) -> Result<Self> {
        Self::with_kernels(&Kernels::new(device), descriptor)
    }

    /// The same with kernels shared between ops.
    ///
    /// # Errors
    /// See [`Conv::new`].
    pub fn with_kernels(kernels: &Kernels, d: &ConvDescriptor) -> Result<Self> {
        let window = &d.window;
        if d.groups == 0
            || [window.kernel, window.stride, window.dilation].iter().any(|v| v.contains(&0))
            || window.ceil
        {
            let detail =
                format!("groups {}, {window:?}: sizes must be positive, and ceil is for pools", d.groups);
            return Err(Error::Argument { op: OP, detail });
        }
        match d.element {
            Element::I8 => check_out(OP, d.out, d.activation)?,
            _ => check_one_of(OP, d.out, &REALS, "F32, F16 or I8 for the output")?,
        }
        last(OP, d.activation)?;
        if d.max_pool && !d.pools() {
            let detail = format!(
                "a max pool of {:?} to {:?}, {:?}: no kernel does all of it",
                d.element, d.out, d.activation
            );
            return Err(Error::Argument { op: OP, detail });
        }
        tile::check_asked(kernels.device(), OP, d.element, d.operand, d.blocking)?;
        Ok(Self { kernels: kernels.clone(), descriptor: *d })
    }

    /// Checks shapes and limits, and makes the call.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Element`], [`Error::View`] or [`Error::Limit`], with the numbers.
    pub fn bind(&self, b: &ConvBindings<'_>) -> Result<Call> {
        let (d, device) = (&self.descriptor, self.kernels.device());
        let (n, channels) = (b.out.columns, b.x.columns);
        let fail = |detail: String| Err(Error::Shape { op: OP, detail });
        let mut sizes = d.window.out_size(b.size)?;
        if d.max_pool {
            sizes = sizes.map(|size| size / 2);
        }
        let [out_height, out_width] = sizes;
        if !channels.is_multiple_of(d.groups) || !n.is_multiple_of(d.groups) {
            return fail(format!("{channels} channels and {n} outputs in {} groups", d.groups));
        }
        if b.x.rows != b.batch * b.size[0] * b.size[1] || b.out.rows != b.batch * out_height * out_width {
            return fail(format!(
                "x has {} rows and out {}, but {} images of {:?} give [{out_height}, {out_width}]",
                b.x.rows, b.out.rows, b.batch, b.size
            ));
        }
        if b.x.element != d.element || b.out.element != d.out {
            return fail(format!(
                "x is {:?} and out {:?}, unlike the descriptor's",
                b.x.element, b.out.element
            ));
        }
        let taps = d.window.kernel[0] * d.window.kernel[1];
        let in_group = channels / d.groups;
        let small = d.by_groups(channels, n);
        let tap_words = d.element.words(in_group);
        let (n_group, batches) = if small { (n, 1) } else { (n / d.groups, d.groups) };
        let (source, k_words) = if small {
            (Source::Grouped { depthwise: in_group == 1 && n == channels }, taps * in_group)
        } else {
            (Source::Patch, taps * tap_words)
        };
        if small {
            if (b.weights.rows, b.weights.columns) != (taps * in_group, d.element.words(n)) {
                return fail(format!(
                    "weights are [{}, {}], not as `pack` makes them",
                    b.weights.rows, b.weights.columns
                ));
            }
        } else {
            let k = taps * tap_words * d.element.per_word();
            b_matrix(OP, Layout::Packed, &b.weights, d.element, n_group, k, d.groups)?;
        }
        if k_words >= 1 << 21 {
            // What the kernels' reciprocals are exact for.
            return Err(Error::Limit {
                op: OP,
                what: "words of a patch".into(),
                needed: k_words as u64,
                limit: 1 << 21,
            });
        }
        let mut int8 = Int8::default();
        let bias = match (&b.operands, d.element) {
            (ConvOperands::Int8(epilogue), Element::I8) => {
                int8 = epilogue.check(OP, 1, n, d.out, d.b_zero_point)?;
                epilogue.bias.is_some()
            }
            (ConvOperands::Float { bias, out_params }, Element::F32 | Element::F16) => {
                check_out_params(OP, &b.out, out_params.as_ref())?;
                if let Some(v) =
                    bias.as_ref().filter(|v| (v.element, v.rows, v.columns) != (Element::F32, 1, n))
                {
                    return fail(format!(
                        "bias is [{}, {}] of {:?}, expected [1, {n}] of F32",
                        v.rows, v.columns, v.element
                    ));
                }
                bias.is_some()
            }
            _ => {
                return Err(Error::Argument {
                    op: OP,
                    detail: format!("operands do not fit {:?}", d.element),
                });
            }
        };
        let a_vec = !small
            && b.x.pitch.is_multiple_of(4)
            && tap_words.is_multiple_of(4)
            && in_group.is_multiple_of(d.element.per_word());
        let m = b.out.rows * if d.max_pool { 4 } else { 1 };
        let problem = Problem {
            element: d.element,
            weight_only: false,
            layout: Layout::Packed,
            aligned: a_vec,
            m,
            n: n_group,
            k: taps * in_group,
            batch: batches,
            patch: Some(Patch { channels, size: b.size, window: d.window }),
        };
        // Small channel groups have one kernel, which reads what every operand kind but native f16 does.
        let asked = d.operand.filter(|o| !small || *o != Operand::F16Native);
        let mut chosen = kernel::choose(&self.kernels, OP, problem, asked, d.blocking)?;
        if d.max_pool && (small || !chosen.choice.blocking.finishes_fours()) {
            if small || d.operand.is_some() || d.blocking.is_some() {
                let detail =
                    format!("max pool: {:?} in {} groups has no kernel for it", chosen.choice, d.groups);
                return Err(Error::Argument { op: OP, detail });
            }
            // The table is of products that are stored whole; a default always has all rows of a window.
            let choice = Choice::default_for(device, &problem);
            choice.check(device, OP, &problem)?;
            chosen = Chosen { choice, origin: Origin::Default, ..chosen };
        }
        let ((activate, function), (lo, hi)) = (last(OP, d.activation)?, bounds(d.activation));
        let form = Form {
            operand: chosen.choice.operand,
            blocking: chosen.choice.blocking,
            source,
            layout: Layout::Packed,
            out: d.out,
            bias,
            activate,
            function,
            a_vec,
            one: !small && in_group == 1 && !chosen.choice.operand.matrix(),
            out_vec: out_vec(&b.out) && n_group.is_multiple_of(4),
            out_wide: false,
            fold: false,
            wide: false,
            paired: false,
            stage: Stage::Whole,
            max_pool: d.max_pool,
            int8,
        };
        let w = &d.window;
        let int = |what, v| to_u32(OP, what, v);
        let params = Params {
            m: int("rows of out", m)?,
            n: int("n", n_group)?,
            k: int("k", taps * in_group)?,
            k_words: int("k", k_words)?,
            a_pitch: int("pitch of x", b.x.pitch)?,
            b_pitch: int("pitch of weights", b.weights.pitch)?,
            out_pitch: int("pitch of out", b.out.pitch)?,
            a_batch: int("words of a group", tap_words)?,
            b_batch: int("words of a group", b.weights.rows / batches * b.weights.pitch)?,
            out_batch: int("words of a group", d.out.words(n_group))?,
            column_batch: int("n", n_group)?,
            lo,
            hi,
            height: int("height", b.size[0])?,
            width: int("width", b.size[1])?,
            out_height: int("height", out_height)?,
            out_width: int("width", out_width)?,
            stride_y: int("stride", w.stride[0])?,
            stride_x: int("stride", w.stride[1])?,
            pad_y: int("padding", w.pad_begin[0])?,
            pad_x: int("padding", w.pad_begin[1])?,
            dilation_y: int("dilation", w.dilation[0])?,
            dilation_x: int("dilation", w.dilation[1])?,
            kernel_x: int("kernel", w.kernel[1])?,
            tap_words: int("channels", if small { in_group } else { tap_words })?,
            last_mask: match in_group % 4 {
                0 => u32::MAX,
                bytes => (1 << (8 * bytes)) - 1,
            },
            groups: int("groups", d.groups)?,
            lowest: f32::NEG_INFINITY,
            ..Default::default()
        };
        let zeros = kernel::constant(device, &[0; 16], wgpu::BufferUsages::STORAGE);
        let x = b.x.binding(device, OP, "x")?;
        let buffers = match &b.operands {
            ConvOperands::Float { bias, out_params } => {
                let mut all = vec![
                    x,
                    b.weights.binding(device, OP, "weights")?,
                    tile::optional(device, OP, "bias", bias.as_ref(), &zeros)?,
                    b.out.binding(device, OP, "out")?,
                ];
                if let Some(params) = out_params {
                    all.push(params.binding(device, OP, "out_params")?);
                }
                all
            }
            ConvOperands::Int8(epilogue) => {
                epilogue.buffers(device, OP, x, &b.weights, &b.out, &zeros)?.to_vec()
            }
        };
        tile::call(&self.kernels, OP, (!small).then_some(chosen), form, params, batches, &buffers)
    }
}
