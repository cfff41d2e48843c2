//! The transpose of a convolution over channels-last images, in f32 and f16.

use crate::error::{Error, Result};
use crate::graph::Window;
use crate::kernel::{self, Call, Dispatch, Kernels, Shader, Slot, Variant};
use crate::ops::rows::{self, check_element, check_one_of, check_out_params, check_words};
use crate::ops::tile::{optional, to_u32};
use crate::tensor::{Element, Tensor, View};

const OP: &str = "conv_transpose";
/// lavapipe gives an invocation 65,535 iterations of its loops, then leaves them silently.
const MOST_TERMS: u64 = 60_000;

/// What is asked of a [`ConvTranspose`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvTransposeDescriptor {
    /// Element type of the image and the weights: F32 or F16, summed in f32.
    pub element: Element,
    /// Element type of the output: the same, or I8.
    pub out: Element,
    /// Geometry of the convolution that it is the transpose of. `ceil` is not looked at.
    pub window: Window,
    /// Channel groups.
    pub groups: usize,
    /// Rows and columns added at the end of the output.
    pub output_padding: [usize; 2],
}

impl ConvTransposeDescriptor {
    /// ONNX's weights `[channels, outputs / groups, kernel height, kernel width]` as [`ConvTransposeBindings::weight`]
    /// takes them: `[kernel * channels in a group, outputs]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where the weights do not fit the descriptor.
    pub fn pack(&self, weight: &Tensor) -> Result<Tensor> {
        match (weight.shape(), self.groups) {
            (&[channels, per_out, kh, kw], groups)
                if groups > 0 && channels.is_multiple_of(groups) && [kh, kw] == self.window.kernel =>
            {
                let per_in = channels / groups;
                let grouped = weight.clone().reshape([groups, per_in, per_out, kh, kw])?;
                grouped.permuted(&[3, 4, 1, 0, 2])?.reshape([kh * kw * per_in, groups * per_out])
            }
            (shape, groups) => Err(Error::Shape {
                op: OP,
                detail: format!("weights {shape:?} in {groups} groups, by {:?}", self.window.kernel),
            }),
        }
    }

    /// Height and width of the output of an image.
    ///
    /// # Errors
    /// [`Error::Shape`] where there would be less than none.
    pub fn out_size(&self, size: [usize; 2]) -> Result<[usize; 2]> {
        let w = &self.window;
        let side = |d: usize| {
            let last = size[d].checked_sub(1)?.checked_mul(w.stride[d])?;
            let span = w.kernel[d].checked_sub(1)?.checked_mul(w.dilation[d])?.checked_add(1)?;
            let reach = last.checked_add(span)?.checked_add(self.output_padding[d])?;
            reach.checked_sub(w.pad_begin[d].checked_add(w.pad_end[d])?)
        };
        match (side(0), side(1)) {
            (Some(h), Some(w)) => Ok([h, w]),
            _ => Err(Error::Shape {
                op: OP,
                detail: format!("an image of {size:?} by {w:?} with {:?} more", self.output_padding),
            }),
        }
    }
}

/// The tensors of a [`ConvTranspose`], channels last.
#[derive(Clone, Copy, Debug)]
pub struct ConvTransposeBindings<'a> {
    /// The image `[batch * height * width, channels]`.
    pub x: View<'a>,
    /// Images.
    pub batch: usize,
    /// Height and width of the image.
    pub size: [usize; 2],
    /// Of [`ConvTransposeDescriptor::pack`].
    pub weight: View<'a>,
    /// F32 `[1, outputs]`.
    pub bias: Option<View<'a>>,
    /// Where the output is I8, its parameters.
    pub out_params: Option<View<'a>>,
    /// `[batch * out height * out width, outputs]`: see [`ConvTransposeDescriptor::out_size`].
    pub out: View<'a>,
}

/// Each pixel times the weights, added up where the windows overlap. See [`crate::reference::conv_transpose`]; int8 is what
/// [`crate::ops::Quantize`] makes of that.
pub struct ConvTranspose {
    kernels: Kernels,
    descriptor: ConvTransposeDescriptor,
}

/// The uniform of [`ConvTranspose`]'s kernel, as WGSL sees it.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct ConvTransposeParams {
    pub total: u32,
    pub quads: u32,
    pub outputs: u32,
    pub per_in: u32,
    pub per_out: u32,
    pub x_pitch: u32,
    pub b_pitch: u32,
    pub out_pitch: u32,
    pub height: u32,
    pub width: u32,
    pub out_height: u32,
    pub out_width: u32,
    pub taps: u32,
    pub kernel_x: u32,
    pub stride_y: u32,
    pub stride_x: u32,
    pub pad_y: u32,
    pub pad_x: u32,
    pub dilation_y: u32,
    pub dilation_x: u32,
}

fn shader(element: Element, int8: bool, shared: bool, bias: bool) -> Shader {
    let flag = u32::from;
    let f16 = element == Element::F16;
    let consts = [
        ("F16", flag(f16)),
        ("HALF", flag(f16)),
        ("OUT_I8", flag(int8)),
        ("SHARED", flag(shared)),
        ("BIAS", flag(bias)),
    ];
    let mut files = if int8 { rows::TO_INT8.to_vec() } else { Vec::new() };
    files.extend([
        if f16 { include_str!("../../shaders/common/f16.wgsl") } else { "" },
        include_str!("../../shaders/conv_transpose.wgsl"),
    ]);
    let label = format!(
        "{OP}/{element:?}{}{}{}",
        if int8 { " to int8" } else { "" },
        if shared { "" } else { " small groups" },
        if bias { " bias" } else { "" }
    );
    Variant { label, enable: &[], consts: &consts, files: &files }.render()
}

/// Every variant.
pub(crate) fn shaders() -> Vec<Shader> {
    let each = |element| (0..8).map(move |i| shader(element, i & 4 != 0, i & 2 != 0, i & 1 != 0));
    [Element::F32, Element::F16].into_iter().flat_map(each).collect()
}

impl ConvTranspose {
    /// Prepares for a device.
    ///
    /// # Errors
    /// [`Error::Element`] for other elements, [`Error::Argument`] for an impossible window.
    pub fn new(device: &wgpu::Device, descriptor: &ConvTransposeDescriptor) -> Result<Self> {
        Self::with_kernels(&Kernels::new(device), descriptor)
    }

    /// The same with kernels shared between ops.
    ///
    /// # Errors
    /// See [`ConvTranspose::new`].
    pub fn with_kernels(kernels: &Kernels, d: &ConvTransposeDescriptor) -> Result<Self> {
        check_one_of(OP, d.element, &[Element::F32, Element::F16], "F32 or F16")?;
        check_one_of(OP, d.out, &[d.element, Element::I8], "the image's, or I8")?;
        let w = &d.window;
        if d.groups == 0 || [w.kernel, w.stride, w.dilation].iter().any(|v| v.contains(&0)) {
            return Err(Error::Argument {
                op: OP,
                detail: format!("{w:?} in {} groups: sizes must be positive", d.groups),
            });
        }
        Ok(Self { kernels: kernels.clone(), descriptor: *d })
    }

    /// Checks shapes and limits, and makes the call.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::View`] or [`Error::Limit`], with the numbers.
    pub fn bind(&self, b: &ConvTransposeBindings<'_>) -> Result<Call> {
        let (d, device) = (&self.descriptor, self.kernels.device());
        let w = &d.window;
        let views = [("x", &b.x, d.element), ("weight", &b.weight, d.element), ("out", &b.out, d.out)];
        for (name, view, element) in views {
            check_element(OP, name, view, element)?;
            check_words(OP, name, view)?;
        }
        check_out_params(OP, &b.out, b.out_params.as_ref())?;
        let [height, width] = b.size;
        let [out_height, out_width] = if b.batch == 0 { [0, 0] } else { d.out_size(b.size)? };
        let rows = |h: usize, w: usize| b.batch.checked_mul(h).and_then(|n| n.checked_mul(w));
        let (channels, outputs) = (b.x.columns, b.out.columns);
        let divides = channels.is_multiple_of(d.groups) && outputs.is_multiple_of(d.groups);
        let taps = w.kernel[0].saturating_mul(w.kernel[1]);
        let (per_in, per_out) = (channels / d.groups, outputs / d.groups);
        if !divides
            || rows(height, width) != Some(b.x.rows)
            || rows(out_height, out_width) != Some(b.out.rows)
            || taps.checked_mul(per_in) != Some(b.weight.rows)
            || b.weight.columns != outputs
        {
            return Err(Error::Shape {
                op: OP,
                detail: format!(
                    "x is [{}, {channels}], weight [{}, {}] and out [{}, {outputs}], but {} images of {height}x{width} in {} groups by {:?} give as many of {out_height}x{out_width}",
                    b.x.rows, b.weight.rows, b.weight.columns, b.out.rows, b.batch, d.groups, w.kernel
                ),
            });
        }
        if let Some(bias) = &b.bias {
            check_element(OP, "bias", bias, Element::F32)?;
            if (bias.rows, bias.columns) != (1, outputs) {
                return Err(Error::Shape {
                    op: OP,
                    detail: format!("bias is [{}, {}], expected [1, {outputs}]", bias.rows, bias.columns),
                });
            }
        }
        let terms = taps as u64 * (per_in as u64 + 1);
        if terms > MOST_TERMS && device.adapter_info().device_type == wgpu::DeviceType::Cpu {
            return Err(Error::Limit {
                op: OP,
                what: "terms of a sum (on a CPU adapter)".into(),
                needed: terms,
                limit: MOST_TERMS,
            });
        }
        let quads = outputs.div_ceil(4);
        let total = b.out.rows.saturating_mul(quads);
        let int = |what, v| to_u32(OP, what, v);
        let params = ConvTransposeParams {
            total: int("outputs / 4", total)?,
            quads: int("outputs / 4", quads)?,
            outputs: int("outputs", outputs)?,
            per_in: int("channels", per_in)?,
            per_out: int("outputs", per_out)?,
            x_pitch: int("pitch of x", b.x.pitch)?,
            b_pitch: int("pitch of weight", b.weight.pitch)?,
            out_pitch: int("pitch of out", b.out.pitch)?,
            height: int("height", height)?,
            width: int("width", width)?,
            out_height: int("height", out_height)?,
            out_width: int("width", out_width)?,
            taps: int("taps", taps)?,
            kernel_x: int("kernel", w.kernel[1])?,
            stride_y: int("stride", w.stride[0])?,
            stride_x: int("stride", w.stride[1])?,
            pad_y: int("padding", w.pad_begin[0])?,
            pad_x: int("padding", w.pad_begin[1])?,
            dilation_y: int("dilation", w.dilation[0])?,
            dilation_x: int("dilation", w.dilation[1])?,
        };
        let uniform = kernel::uniform(device, &params);
        let zeros = kernel::constant(device, &[0; 16], wgpu::BufferUsages::STORAGE);
        let mut buffers = vec![
            uniform.as_entire_buffer_binding(),
            b.x.binding(device, OP, "x")?,
            b.weight.binding(device, OP, "weight")?,
            optional(device, OP, "bias", b.bias.as_ref(), &zeros)?,
            b.out.binding(device, OP, "out")?,
        ];
        let int8 = b.out_params.is_some();
        if let Some(params) = &b.out_params {
            buffers.push(params.binding(device, OP, "out_params")?);
        }
        let mut call = Call::default();
        if total > 0 {
            let shared = d.groups == 1 || per_out.is_multiple_of(4);
            let slots = [Slot::Uniform, Slot::Read, Slot::Read, Slot::Read, Slot::Write, Slot::Read];
            let shader = shader(d.element, int8, shared, b.bias.is_some());
            let kernel = self.kernels.get(shader, &slots[..buffers.len()]);
            let grid = kernel::grid(device, OP, (total as u64).div_ceil(64))?;
            call.push(Dispatch::new(device, kernel, &buffers, grid));
        }
        Ok(call)
    }
}
