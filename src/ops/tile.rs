//! What the gemm family shares: where operands come from, the text of its kernels, and the dispatch made of them.

use crate::error::{Error, Result};
use crate::kernel::{
    self, Blocking, Call, Chosen, Dispatch, Kernels, Layout, Operand, Shader, Slot, Variant,
};
use crate::ops::function;
use crate::tensor::{Element, View};

/// Twin of `Params` in `shaders/common/gemm_params.wgsl`, where each field is explained.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Params {
    pub m: u32,
    pub n: u32,
    pub k: u32,
    pub k_words: u32,
    pub chunks: u32,
    pub a_pitch: u32,
    pub b_pitch: u32,
    pub out_pitch: u32,
    pub a_batch: u32,
    pub b_batch: u32,
    pub out_batch: u32,
    pub column_batch: u32,
    pub row_batch: u32,
    pub tiles_m: u32,
    pub tiles_n: u32,
    pub tiles: u32,
    pub lo: f32,
    pub hi: f32,
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
    pub kernel_x: u32,
    pub tap_words: u32,
    pub last_mask: u32,
    pub groups: u32,
    pub group_chunks: u32,
    pub heads: u32,
    pub a_head: u32,
    pub b_head: u32,
    pub out_head: u32,
    pub a_first: u32,
    pub b_first: u32,
    pub out_first: u32,
}

/// Where the rows of `a` come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// Rows of a matrix.
    Dense,
    /// Rows of matrices that lie side by side.
    Heads,
    /// Patches of an image.
    Patch,
    /// Channel groups too small for a matrix product: a thread for each four outputs.
    Grouped {
        /// One channel in, one out.
        depthwise: bool,
    },
}

/// How the zero points, bias and output of an int8 product are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Int8 {
    pub a_per_row: bool,
    pub b_per_channel: bool,
    pub b_zero: bool,
    pub bias_i32: bool,
}

/// Everything that decides the text of a kernel of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Form {
    pub operand: Operand,
    pub blocking: Blocking,
    pub source: Source,
    pub layout: Layout,
    pub out: Element,
    pub bias: bool,
    pub activate: bool,
    /// Flag of the function that it ends in.
    pub function: Option<&'static str>,
    pub a_vec: bool,
    pub out_vec: bool,
    pub fold: bool,
    pub int8: Int8,
}

impl Form {
    pub(crate) fn is_int8(&self) -> bool {
        self.operand.element() == Element::I8
    }

    pub(crate) fn slots(&self) -> &'static [Slot] {
        use Slot::{Read, Uniform, Write};
        if self.is_int8() {
            &[Uniform, Read, Read, Read, Read, Read, Read, Read, Write]
        } else if self.operand.weight_only() {
            &[Uniform, Read, Read, Read, Write, Read]
        } else {
            &[Uniform, Read, Read, Read, Write]
        }
    }

    /// The WGSL of the kernel, called `name`.
    pub(crate) fn shader(&self, name: &str) -> Shader {
        let [mut lanes, mut groups, mut rows, mut quads] = [64, 1, 8, 2];
        let main = match (self.source, self.blocking) {
            (Source::Grouped { .. }, _) => include_str!("../../shaders/conv_grouped.wgsl"),
            (_, Blocking::Broadcast { lanes: l, groups: g, quads: q }) => {
                [lanes, groups, quads] = [l, g, q];
                include_str!("../../shaders/gemm_broadcast.wgsl")
            }
            (_, Blocking::Direct { lanes: l, rows: r, quads: q }) => {
                [lanes, rows, quads] = [l, r, q];
                include_str!("../../shaders/gemm_direct.wgsl")
            }
            (_, Blocking::Tiled) => include_str!("../../shaders/gemm_tiled.wgsl"),
        };
        let depthwise = self.source == Source::Grouped { depthwise: true };
        let native = self.operand == Operand::F16Native;
        let per_word = self.operand.element().per_word() as u32;
        let int = self.is_int8();
        let float_out = matches!(self.out, Element::F32 | Element::F16);
        let flag = u32::from;
        let mut consts = vec![
            ("LANES", lanes),
            ("GROUPS", groups),
            ("ROWS", rows),
            ("Q", quads),
            ("FOLD", flag(self.fold)),
            ("INT", flag(int)),
            ("PER_WORD", per_word),
            ("KN_32", flag(per_word == 1)),
            ("KN_16", flag(per_word == 2)),
            ("KN_8", flag(per_word == 4)),
            ("A_VEC", flag(self.a_vec)),
            ("A_F16", flag(native)),
            ("B_I8", flag(self.operand.weight_only())),
            ("BIAS", flag(self.bias)),
            ("BIAS_F32", flag(self.bias && !self.int8.bias_i32)),
            ("BIAS_I32", flag(self.bias && self.int8.bias_i32)),
            ("ACTIVATE", flag(self.activate)),
            ("FUNCTION", flag(self.function.is_some())),
            ("OUT_VEC", flag(self.out_vec)),
            ("OUT_F32", flag(self.out == Element::F32)),
            ("OUT_F16", flag(self.out == Element::F16)),
            ("OUT_FLOAT", flag(float_out)),
            ("OUT_I32", flag(self.out == Element::I32)),
            ("OUT_I8", flag(self.out == Element::I8)),
            ("A_PER_ROW", flag(self.int8.a_per_row)),
            ("B_PER_CHANNEL", flag(self.int8.b_per_channel)),
            ("B_ZERO", flag(self.int8.b_zero)),
            ("DEPTHWISE", flag(depthwise)),
            ("HEADS", flag(self.source == Source::Heads)),
        ];
        consts.extend(self.function.map(function::consts).into_iter().flatten());
        let operands = match self.source {
            Source::Dense | Source::Heads => include_str!("../../shaders/common/a_dense.wgsl"),
            Source::Patch => include_str!("../../shaders/common/a_patch.wgsl"),
            Source::Grouped { .. } => "",
        };
        let layout = match (self.source, self.layout) {
            (Source::Grouped { .. }, _) => "",
            (_, Layout::Nk) => include_str!("../../shaders/common/b_nk.wgsl"),
            (_, Layout::Kn) => include_str!("../../shaders/common/b_kn.wgsl"),
            (_, Layout::Packed) => include_str!("../../shaders/common/b_packed.wgsl"),
        };
        let files = [
            include_str!("../../shaders/common/gemm_params.wgsl"),
            if operands.is_empty() { "" } else { self.operand.file() },
            if operands.is_empty() { "" } else { include_str!("../../shaders/common/a_words.wgsl") },
            operands,
            layout,
            if operands.is_empty() { "" } else { include_str!("../../shaders/common/fold.wgsl") },
            if int {
                include_str!("../../shaders/common/epilogue_i8.wgsl")
            } else {
                include_str!("../../shaders/common/epilogue_float.wgsl")
            },
            if self.function.is_some() { function::TEXT } else { "" },
            if float_out { include_str!("../../shaders/common/store.wgsl") } else { "" },
            if self.out == Element::F16 { include_str!("../../shaders/common/f16.wgsl") } else { "" },
            main,
        ];
        let label = format!(
            "{name}/{} {}{}{}{}{}",
            self.operand.name(),
            match self.source {
                Source::Grouped { depthwise: true } => "depthwise".into(),
                Source::Grouped { depthwise: false } => "grouped".into(),
                _ => self.blocking.name(),
            },
            match self.layout {
                Layout::Nk => " b[n,k]",
                Layout::Kn => " b[k,n]",
                Layout::Packed => "",
            },
            if self.a_vec || operands.is_empty() { "" } else { " by words" },
            if self.source == Source::Heads { " heads" } else { "" },
            self.function.map_or(String::new(), |f| format!(" {}", f.to_lowercase())),
        );
        Variant { label, enable: if native { &["f16"] } else { &[] }, consts: &consts, files: &files }
            .render()
    }
}

/// Checks what a descriptor asks for by itself; the rest is for [`kernel::choose`], which knows the problem.
pub(crate) fn check_asked(
    device: &wgpu::Device,
    op: &'static str,
    element: Element,
    operand: Option<Operand>,
    blocking: Option<Blocking>,
) -> Result<()> {
    if !matches!(element, Element::F32 | Element::F16 | Element::I8) {
        return Err(Error::Element { op, got: element, expected: "F32, F16 or I8" });
    }
    if let Some(operand) = operand {
        operand.check(device, op, element, false)?;
    }
    blocking.map_or(Ok(()), |b| b.check(device, op))
}

/// Completes `params`, checks the limits and makes the call. `buffers` are all slots but the uniform; `chosen` is what
/// the form was made of, where there was a choice.
pub(crate) fn call(
    kernels: &Kernels,
    op: &'static str,
    chosen: Option<Chosen>,
    mut form: Form,
    mut params: Params,
    batches: usize,
    buffers: &[wgpu::BufferBinding<'_>],
) -> Result<Call> {
    let mut call = Call::default();
    if params.m == 0 || params.n == 0 || batches == 0 {
        return Ok(call);
    }
    let device = kernels.device();
    params.chunks = params.k_words.div_ceil(4);
    // A chunk of 1024 / 64 products of int8: see the shaders.
    let groups = form.operand.weight_only() && params.group_chunks < params.chunks;
    form.fold = groups || (form.operand == Operand::I8Wide && params.chunks > 64);
    if device.adapter_info().device_type == wgpu::DeviceType::Cpu {
        // lavapipe gives an invocation 65,535 iterations over all its loops, then leaves them silently.
        let limit = match (form.source, form.blocking) {
            (Source::Grouped { .. }, _) => 8_000,
            (_, Blocking::Tiled) => 14_000,
            _ => 64_000,
        };
        if params.chunks > limit {
            let per_chunk = 4 * form.operand.element().per_word() as u64;
            return Err(Error::Limit {
                op,
                what: "length of the sum (k, on a CPU adapter)".into(),
                needed: u64::from(params.k),
                limit: u64::from(limit) * per_chunk,
            });
        }
    }
    // -128 * -128 * k must stay within i32: NUMERICS section 3.
    if form.is_int8() && params.k > 131_071 {
        return Err(Error::Limit {
            op,
            what: "length of the sum (k, for i32 accumulation)".into(),
            needed: u64::from(params.k),
            limit: 131_071,
        });
    }
    // A thread for each four outputs, else a workgroup for each tile.
    let grouped = matches!(form.source, Source::Grouped { .. });
    let [tile_m, tile_n] = if grouped { [1, 4] } else { form.blocking.tile() };
    params.tiles_m = params.m.div_ceil(tile_m);
    params.tiles_n = params.n.div_ceil(tile_n);
    let tiles = u64::from(params.tiles_m) * u64::from(params.tiles_n) * batches as u64;
    let grid = kernel::grid(device, op, if grouped { tiles.div_ceil(64) } else { tiles })?;
    params.tiles = u32::try_from(tiles).map_err(|_| Error::Limit {
        op,
        what: "number of tiles".into(),
        needed: tiles,
        limit: u32::MAX.into(),
    })?;
    let kernel = kernels.get(form.shader(op), form.slots());
    let uniform = kernel::uniform(device, &params);
    let mut all = vec![uniform.as_entire_buffer_binding()];
    all.extend_from_slice(buffers);
    call.push(Dispatch::new(device, kernel, &all, grid).chosen(chosen));
    Ok(call)
}

/// A dimension or pitch as the kernels take it.
pub(crate) fn to_u32(op: &'static str, what: &'static str, value: usize) -> Result<u32> {
    u32::try_from(value).map_err(|_| Error::Limit {
        op,
        what: what.into(),
        needed: value as u64,
        limit: u32::MAX.into(),
    })
}

/// The binding of an optional view; without one, a few zeros that the kernel does not read.
pub(crate) fn optional<'a>(
    device: &wgpu::Device,
    op: &'static str,
    name: &'static str,
    view: Option<&View<'a>>,
    zeros: &'a wgpu::Buffer,
) -> Result<wgpu::BufferBinding<'a>> {
    view.map_or_else(|| Ok(zeros.as_entire_buffer_binding()), |v| v.binding(device, op, name))
}
