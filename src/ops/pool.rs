//! Max and average pools over channels-last images, in f32, f16 and int8.

use crate::error::{Error, Result};
use crate::graph::{PoolKind, Window};
use crate::kernel::{self, Call, Dispatch, Kernels, Shader, Slot, Variant};
use crate::ops::rows::{self, check_element, check_one_of, check_params, check_words};
use crate::ops::tile::{optional, to_u32};
use crate::tensor::{Element, View};

/// What is asked of a [`Pool`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolDescriptor {
    /// Element type of the image and of the output: F32, F16 or I8.
    pub element: Element,
    /// Max or average.
    pub kind: PoolKind,
    /// Geometry. A window as large as the image makes a global pool.
    pub window: Window,
}

/// The tensors of a [`Pool`], channels last.
#[derive(Clone, Copy, Debug)]
pub struct PoolBindings<'a> {
    /// The image `[batch * height * width, channels]`.
    pub x: View<'a>,
    /// Images.
    pub batch: usize,
    /// Height and width of the image.
    pub size: [usize; 2],
    /// I8 average: the parameters of the image, which are those of the output too.
    pub params: Option<View<'a>>,
    /// `[batch * out height * out width, channels]`: see [`Window::out_size`].
    pub out: View<'a>,
}

/// The largest or the mean of each window.
///
/// Padding is never the largest. A mean's divisor is the number of taps in the image, or with `include_pad` in the image
/// and its padding; taps beyond the padding, in ceil mode, never count. In int8 the result has the parameters of the
/// image: a maximum is that of the integers, a mean `zero_point + rne(sum(q - zero_point) / count)`, exactly (padding is
/// real zero). f16 is summed in f32. See [`crate::reference::max_pool`] and [`crate::reference::average_pool`].
pub struct Pool {
    kernels: Kernels,
    descriptor: PoolDescriptor,
}

/// The uniform of [`Pool`]'s kernel, as WGSL sees it.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct PoolParams {
    pub total: u32,
    pub units: u32,
    pub channels: u32,
    pub taps: u32,
    pub kernel_x: u32,
    pub x_pitch: u32,
    pub out_pitch: u32,
    pub height: u32,
    pub width: u32,
    pub out_height: u32,
    pub out_width: u32,
    pub stride_y: u32,
    pub stride_x: u32,
    pub pad_y: u32,
    pub pad_x: u32,
    pub dilation_y: u32,
    pub dilation_x: u32,
    pub padded_height: u32,
    pub padded_width: u32,
    pub lowest: f32,
}

const OP: &str = "pool";
const ELEMENTS: [Element; 3] = [Element::F32, Element::F16, Element::I8];
/// lavapipe gives an invocation 65,535 iterations of its loops, then leaves them silently: a window has fewer taps.
const MOST_TAPS: u64 = 65_000;

/// `vectors`: of four words, that a thread takes of a pixel; 0 where pixels are not made of these, 2 by 64-bit loads.
fn shader(element: Element, kind: PoolKind, vectors: u32) -> Shader {
    let vec = vectors > 0;
    let flag = u32::from;
    let (f16, max) = (element == Element::F16, kind == PoolKind::Max);
    let consts = [
        ("VEC", flag(vec)),
        ("WIDE", flag(vectors == 2)),
        ("VECTORS", vectors.max(1)),
        ("PARTS", if vec { element.per_word() as u32 } else { 1 }),
        // The largest f16 is one that was there: its bits need no rounding.
        ("KEEP_BITS", flag(vec && f16 && max)),
        ("NARROW", flag(vec && f16 && !max)),
        ("F32", flag(element == Element::F32)),
        ("F16", flag(element == Element::F16)),
        ("I8", flag(element == Element::I8)),
        ("AVERAGE", flag(kind != PoolKind::Max)),
        ("INCLUDE_PAD", flag(kind == PoolKind::Average { include_pad: true })),
    ];
    let files = [
        include_str!("../../shaders/common/quant_params.wgsl"),
        include_str!("../../shaders/common/quotient.wgsl"),
        if element == Element::F16 { include_str!("../../shaders/common/f16.wgsl") } else { "" },
        if vectors == 2 {
            concat!(
                include_str!("../../shaders/common/split_words.wgsl"),
                include_str!("../../shaders/common/join_words.wgsl")
            )
        } else {
            ""
        },
        include_str!("../../shaders/pool.wgsl"),
    ];
    let label = format!("pool/{element:?} {kind:?}{}", [" by fours", "", " by 64 bits"][vectors as usize]);
    Variant { label, enable: &[], consts: &consts, files: &files }.render()
}

/// Every variant.
pub(crate) fn shaders() -> Vec<Shader> {
    let kinds =
        [PoolKind::Max, PoolKind::Average { include_pad: false }, PoolKind::Average { include_pad: true }];
    let each = |element| {
        kinds.into_iter().flat_map(move |kind| [0, 1, 2].map(|vectors| shader(element, kind, vectors)))
    };
    ELEMENTS.into_iter().flat_map(each).collect()
}

impl Pool {
    /// Prepares for a device.
    ///
    /// # Errors
    /// [`Error::Element`] for other elements, [`Error::Argument`] for an impossible window, [`Error::Limit`] for one of
    /// more than 65,000 taps.
    pub fn new(device: &wgpu::Device, descriptor: &PoolDescriptor) -> Result<Self> {
        Self::with_kernels(&Kernels::new(device), descriptor)
    }

    /// The same with kernels shared between ops.
    ///
    /// # Errors
    /// See [`Pool::new`].
    pub fn with_kernels(kernels: &Kernels, d: &PoolDescriptor) -> Result<Self> {
        check_one_of(OP, d.element, &ELEMENTS, "F32, F16 or I8")?;
        let w = &d.window;
        if [w.kernel, w.stride, w.dilation].iter().any(|v| v.contains(&0)) {
            return Err(Error::Argument { op: OP, detail: format!("{w:?}: sizes must be positive") });
        }
        let taps = w.kernel[0] as u64 * w.kernel[1] as u64;
        if taps > MOST_TAPS {
            return Err(Error::Limit {
                op: OP,
                what: "taps of the window".into(),
                needed: taps,
                limit: MOST_TAPS,
            });
        }
        Ok(Self { kernels: kernels.clone(), descriptor: *d })
    }

    /// Checks shapes and limits, and makes the call.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Argument`], [`Error::View`] or [`Error::Limit`], with the numbers.
    pub fn bind(&self, b: &PoolBindings<'_>) -> Result<Call> {
        let (d, device) = (&self.descriptor, self.kernels.device());
        let w = &d.window;
        for (name, view) in [("x", &b.x), ("out", &b.out)] {
            check_element(OP, name, view, d.element)?;
            check_words(OP, name, view)?;
        }
        let [height, width] = b.size;
        let [out_height, out_width] = w.out_size(b.size)?;
        let rows = |h: usize, w: usize| b.batch.checked_mul(h).and_then(|n| n.checked_mul(w));
        let channels = b.x.columns;
        if rows(height, width) != Some(b.x.rows)
            || rows(out_height, out_width) != Some(b.out.rows)
            || b.out.columns != channels
        {
            return Err(Error::Shape {
                op: OP,
                detail: format!(
                    "x is [{}, {channels}] and out [{}, {}], but {} images of {height}x{width} give as many of {out_height}x{out_width}",
                    b.x.rows, b.out.rows, b.out.columns, b.batch
                ),
            });
        }
        if d.element == Element::I8 && d.kind != PoolKind::Max {
            match &b.params {
                Some(params) if params.rows == 1 => check_params(OP, "params", params)?,
                _ => {
                    let detail = format!("an I8 average needs one element of params, found {:?}", b.params);
                    return Err(Error::Argument { op: OP, detail });
                }
            }
        }
        let vec_channels = 4 * d.element.per_word();
        let vec =
            channels.is_multiple_of(vec_channels) && [&b.x, &b.out].iter().all(|v| v.pitch.is_multiple_of(4));
        let wide = vec
            && channels.is_multiple_of(2 * vec_channels)
            && [&b.x, &b.out].iter().all(|v| rows::reads_wide(self.kernels.device(), v));
        let vectors = u32::from(vec) + u32::from(wide);
        let units = channels.div_ceil((vectors as usize * vec_channels).max(4));
        let total = b.out.rows as u64 * units as u64;
        let int = |what, v| to_u32(OP, what, v);
        let params = PoolParams {
            total: int("outputs / 4", total as usize)?,
            units: int("channels", units)?,
            channels: int("channels", channels)?,
            taps: int("taps", w.kernel[0] * w.kernel[1])?,
            kernel_x: int("kernel", w.kernel[1])?,
            x_pitch: int("pitch of x", b.x.pitch)?,
            out_pitch: int("pitch of out", b.out.pitch)?,
            height: int("height", height)?,
            width: int("width", width)?,
            out_height: int("height", out_height)?,
            out_width: int("width", out_width)?,
            stride_y: int("stride", w.stride[0])?,
            stride_x: int("stride", w.stride[1])?,
            pad_y: int("padding", w.pad_begin[0])?,
            pad_x: int("padding", w.pad_begin[1])?,
            dilation_y: int("dilation", w.dilation[0])?,
            dilation_x: int("dilation", w.dilation[1])?,
            padded_height: int("height", height + w.pad_begin[0] + w.pad_end[0])?,
            padded_width: int("width", width + w.pad_begin[1] + w.pad_end[1])?,
            lowest: f32::NEG_INFINITY,
        };
        let uniform = kernel::uniform(device, &params);
        let zeros = kernel::constant(device, &[0; 16], wgpu::BufferUsages::STORAGE);
        let buffers = [
            uniform.as_entire_buffer_binding(),
            b.x.binding(device, OP, "x")?,
            optional(device, OP, "params", b.params.as_ref(), &zeros)?,
            b.out.binding(device, OP, "out")?,
        ];
        let mut call = Call::default();
        if total > 0 {
            let slots = [Slot::Uniform, Slot::Read, Slot::Read, Slot::Write];
            let kernel = self.kernels.get(shader(d.element, d.kind, vectors), &slots);
            let grid = kernel::grid(device, OP, total.div_ceil(64))?;
            call.push(Dispatch::new(device, kernel, &buffers, grid));
        }
        Ok(call)
    }
}
