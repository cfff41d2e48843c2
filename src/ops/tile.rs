//! What the gemm family shares: where operands come from, the text of its kernels, and the dispatch made of them.

use crate::error::{Error, Result};
use crate::kernel::{
    self, Blocking, Call, Chosen, Dispatch, Kernels, Layout, Operand, Shader, Slot, Variant,
};
use crate::ops::rows::loads_wide;
use crate::ops::{Packed, function};
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
    pub parts: u32,
    pub part_chunks: u32,
    pub lowest: f32,
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

/// Which part of a product a kernel computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) enum Stage {
    /// All of it.
    #[default]
    Whole,
    /// Sums over a part of k, kept as they are.
    Part,
    /// The outputs, from these.
    Sum,
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
    /// A word of a row holds one element: patches of an image of one channel.
    pub one: bool,
    /// The output is stored by four columns.
    pub out_vec: bool,
    /// And so by 64 bits: `SHADER_INT64`.
    pub out_wide: bool,
    pub fold: bool,
    /// 64-bit loads: `SHADER_INT64`.
    pub wide: bool,
    /// Of eight columns of `b` at once.
    pub paired: bool,
    pub stage: Stage,
    /// Four rows become one, the largest of each column.
    pub max_pool: bool,
    pub int8: Int8,
}

impl Form {
    pub(crate) fn is_int8(&self) -> bool {
        self.operand.element() == Element::I8
    }

    pub(crate) fn slots(&self) -> &'static [Slot] {
        use Slot::{Read, Uniform, Write};
        if self.is_int8() {
            return &[Uniform, Read, Read, Read, Read, Read, Read, Read, Write];
        }
        // Then the scales of weights, and the parameters of an int8 output.
        match usize::from(self.operand.weight_only()) + usize::from(self.out == Element::I8) {
            0 => &[Uniform, Read, Read, Read, Write],
            1 => &[Uniform, Read, Read, Read, Write, Read],
            _ => &[Uniform, Read, Read, Read, Write, Read, Read],
        }
    }

    /// Whether a step is one word, which is one pixel of one channel.
    fn by_pixels(&self) -> bool {
        self.one
            && !self.a_vec
            && matches!(self.blocking, Blocking::Broadcast { .. } | Blocking::Direct { .. })
    }

    /// Words of k that a step of the kernel takes: as many as a thread loads of `a` at once.
    fn step(&self) -> u32 {
        if self.by_pixels() {
            return 1;
        }
        let broadcast = matches!(self.blocking, Blocking::Broadcast { .. });
        if broadcast && self.a_vec && self.operand != Operand::F16Native { 2 } else { 4 }
    }

    /// The kernel's main file, and the constants of its register blocks.
    fn main(&self) -> (&'static str, Vec<(&'static str, u32)>) {
        if self.stage == Stage::Sum {
            return (include_str!("../../shaders/gemm_fold.wgsl"), Vec::new());
        }
        if let Source::Grouped { .. } = self.source {
            return (include_str!("../../shaders/conv_grouped.wgsl"), Vec::new());
        }
        let direct = |lanes, parts, rows, quads| {
            let consts =
                vec![("LANES", lanes), ("PARTS", parts), ("PARTED", u32::from(parts > 1)), ("ROWS", rows)];
            let pair = 1 + u32::from(self.paired);
            let columns = vec![("Q", quads), ("PAIR", pair), ("PAIRS", quads / pair)];
            (include_str!("../../shaders/gemm_direct.wgsl"), [consts, columns].concat())
        };
        match self.blocking {
            Blocking::Broadcast { lanes, groups, quads } => (
                include_str!("../../shaders/gemm_broadcast.wgsl"),
                vec![("LANES", lanes), ("GROUPS", groups), ("Q", quads)],
            ),
            Blocking::Direct { lanes, rows, quads } => direct(lanes, 1, rows, quads),
            Blocking::Parted { lanes, parts, rows, quads } => direct(lanes, parts, rows, quads),
            Blocking::Matrix { side, threads } => {
                let consts = vec![
                    ("SIZE", side),
                    ("SIZE_16", u32::from(side == 16)),
                    ("THREADS", threads),
                    ("ROWS", 32 / side),
                    ("STEPS", 16 / side),
                    ("VECTORS", 32 * side / threads),
                ];
                (include_str!("../../shaders/gemm_matrix.wgsl"), consts)
            }
            Blocking::Tiled { rows, columns, words, thread_rows, thread_quads, .. } => {
                let threads = self.blocking.threads();
                // Rows of a that a thread brings in of each chunk, and chunks that all threads bring in at once.
                let (a_rows, a_step) = ((rows / threads).max(1), (threads / rows).max(1));
                let consts = vec![
                    ("TILE_M", rows),
                    ("TILE_N", columns),
                    ("TILE_WORDS", words),
                    ("TILE_CHUNKS", words / 4),
                    ("ROWS", thread_rows),
                    ("Q", thread_quads),
                    ("THREADS", threads),
                    ("COLUMN_THREADS", columns / (4 * thread_quads)),
                    ("A_ROWS", a_rows),
                    ("A_STEP", a_step),
                    ("A_LOADS", words / 4 / a_step),
                    ("B_LOADS", columns / 4 * words / threads),
                ];
                (include_str!("../../shaders/gemm_tiled.wgsl"), consts)
            }
        }
    }

    /// The WGSL of the kernel, called `name`.
    pub(crate) fn shader(&self, name: &str) -> Shader {
        let (main, blocks) = self.main();
        let depthwise = self.source == Source::Grouped { depthwise: true };
        let native = self.operand == Operand::F16Native;
        let per_word = self.operand.element().per_word() as u32;
        let int = self.is_int8();
        // What the operand adds to each element of a.
        let by_integers = self.operand == Operand::I8Int && !grouped(self);
        let float_out = matches!(self.out, Element::F32 | Element::F16);
        // Floats that leave as int8: as f16 would, where f16 it would have been.
        let to_int8 = !int && self.out == Element::I8;
        let half = per_word == 2 && to_int8;
        let flag = u32::from;
        let mut consts = vec![
            ("STEP", self.step()),
            ("SPLIT", flag(self.stage == Stage::Part)),
            ("WIDE", flag(self.wide)),
            ("PAIRED", flag(self.paired)),
            ("FOLD", flag(self.fold)),
            ("INT", flag(int)),
            ("PER_WORD", per_word),
            ("PANEL", Packed::PANEL as u32),
            ("KN_32", flag(per_word == 1)),
            ("KN_16", flag(per_word == 2)),
            ("KN_8", flag(per_word == 4)),
            ("A_VEC", flag(self.a_vec)),
            ("A_F16", flag(native)),
            ("A_ONE", flag(self.by_pixels())),
            ("A_WORDS", flag(!self.a_vec && !self.by_pixels())),
            ("A_TAPS", flag(self.a_vec || self.by_pixels())),
            ("A_CHUNKS_2", flag(self.a_vec && self.step() == 2)),
            ("A_CHUNKS_4", flag(self.a_vec && !native && self.step() == 4)),
            ("B_I8", flag(self.operand.weight_only())),
            ("BIAS", flag(self.bias)),
            ("BIAS_F32", flag(self.bias && !self.int8.bias_i32)),
            ("BIAS_I32", flag(self.bias && self.int8.bias_i32)),
            ("ACTIVATE", flag(self.activate)),
            ("FUNCTION", flag(self.function.is_some())),
            ("OUT_VEC", flag(self.out_vec)),
            ("OUT_WIDE", flag(self.out_wide)),
            ("OUT_F32", flag(self.out == Element::F32)),
            ("OUT_F16", flag(self.out == Element::F16)),
            ("OUT_FLOAT", flag(float_out)),
            ("OUT_I32", flag(self.out == Element::I32)),
            ("OUT_I8", flag(self.out == Element::I8)),
            ("HALF", flag(half)),
            ("A_PER_ROW", flag(self.int8.a_per_row)),
            ("OFFSET", if by_integers { 128 } else { 0 }),
            ("B_PER_CHANNEL", flag(self.int8.b_per_channel)),
            ("B_ZERO", flag(self.int8.b_zero)),
            ("POOL", flag(self.max_pool)),
            ("DEPTHWISE", flag(depthwise)),
            ("HEADS", flag(self.source == Source::Heads)),
        ];
        consts.extend(blocks);
        consts.extend(self.function.map(function::consts).into_iter().flatten());
        let operands = match self.source {
            _ if self.stage == Stage::Sum => "",
            Source::Dense | Source::Heads => include_str!("../../shaders/common/a_dense.wgsl"),
            Source::Patch => include_str!("../../shaders/common/a_patch.wgsl"),
            Source::Grouped { .. } => "",
        };
        let layout = match (self.source, self.layout) {
            _ if operands.is_empty() => "",
            (_, Layout::Nk) => include_str!("../../shaders/common/b_nk.wgsl"),
            (_, Layout::Kn) => include_str!("../../shaders/common/b_kn.wgsl"),
            (_, Layout::Packed) => include_str!("../../shaders/common/b_packed.wgsl"),
        };
        // What is stored at once.
        let out = match (self.out, self.out_vec, self.out_wide) {
            (Element::F32 | Element::I32, true, false) => "alias Out = vec4<u32>;",
            (Element::F32, true, true) => "alias Out = vec2<u64>;",
            (Element::F16, true, false) => "alias Out = vec2<u32>;",
            (Element::F16, true, true) => "alias Out = u64;",
            _ => "alias Out = u32;",
        };
        let files = [
            out,
            if self.out_wide { include_str!("../../shaders/common/join_words.wgsl") } else { "" },
            include_str!("../../shaders/common/gemm_params.wgsl"),
            if operands.is_empty() { "" } else { self.operand.file(self.one) },
            if self.wide { include_str!("../../shaders/common/split_words.wgsl") } else { "" },
            if operands.is_empty() { "" } else { include_str!("../../shaders/common/a_words.wgsl") },
            operands,
            layout,
            if operands.is_empty() { "" } else { include_str!("../../shaders/common/fold.wgsl") },
            if self.max_pool { include_str!("../../shaders/common/largest.wgsl") } else { "" },
            match (self.stage, int) {
                (Stage::Part, _) => include_str!("../../shaders/common/epilogue_partial.wgsl"),
                (_, true) => include_str!("../../shaders/common/epilogue_i8.wgsl"),
                (_, false) => include_str!("../../shaders/common/epilogue_float.wgsl"),
            },
            // How integers become bytes.
            if self.out == Element::I8 { include_str!("../../shaders/common/quantize.wgsl") } else { "" },
            if to_int8 { include_str!("../../shaders/common/stored.wgsl") } else { "" },
            if self.function.is_some() { function::TEXT } else { "" },
            if float_out && self.stage != Stage::Part {
                include_str!("../../shaders/common/store.wgsl")
            } else {
                ""
            },
            if half || self.out == Element::F16 { include_str!("../../shaders/common/f16.wgsl") } else { "" },
            main,
        ];
        let label = format!(
            "{name}/{} {}{}{}{}{}{}",
            self.operand.name(),
            match self.source {
                Source::Grouped { depthwise: true } => "depthwise".into(),
                Source::Grouped { depthwise: false } => "grouped".into(),
                _ if self.stage == Stage::Sum => "parts added".into(),
                _ => self.blocking.name(),
            },
            match self.layout {
                _ if operands.is_empty() => "",
                Layout::Nk => " b[n,k]",
                Layout::Kn => " b[k,n]",
                Layout::Packed => "",
            },
            match (self.a_vec, self.one) {
                _ if operands.is_empty() => "",
                (true, _) => "",
                (false, false) => " by words",
                (false, true) => " of one channel",
            },
            match (self.source, self.stage) {
                (Source::Heads, Stage::Whole | Stage::Part) => " heads",
                _ => "",
            },
            self.function.map_or(String::new(), |f| format!(" {}", f.to_lowercase())),
            if self.max_pool { " pooled" } else { "" },
        );
        let enable: &[_] = match (native, self.stage) {
            (_, Stage::Sum) => &[],
            (true, _) => &["f16"],
            _ if self.operand.matrix() => &["f16", "wgpu_cooperative_matrix"],
            _ => &[],
        };
        Variant { label, enable, consts: &consts, files: &files }.render()
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
    let cpu = device.adapter_info().device_type == wgpu::DeviceType::Cpu;
    form.wide = form.a_vec
        && form.layout == Layout::Packed
        && form.operand != Operand::F16Native
        && !form.operand.matrix()
        && loads_wide(device);
    form.out_wide = form.out_vec && matches!(form.out, Element::F32 | Element::F16) && loads_wide(device);
    // Where each row of the last panel begins on eight columns, too.
    form.paired = form.wide
        && !form.operand.weight_only()
        && [params.b_pitch, params.b_batch].iter().all(|words| words.is_multiple_of(8))
        && matches!(form.blocking, Blocking::Direct { quads, .. } | Blocking::Parted { quads, .. } if quads % 2 == 0);
    let step = form.step();
    params.chunks = params.k_words.div_ceil(step);
    params.group_chunks = params.group_chunks.saturating_mul(4 / step);
    // Sums of 1024 products of int8: see the shaders.
    let groups = form.operand.weight_only() && params.group_chunks < params.chunks;
    let in_f32 = matches!(form.operand, Operand::I8Wide | Operand::I8Matrix)
        || (form.one && form.operand == Operand::I8Dot);
    form.fold = groups || (form.is_int8() && in_f32 && params.k_words > 256);
    let asked = form.blocking.split().min(params.chunks).max(1);
    // Whole groups, whole folds or whole tiles of k in each part.
    let unit = match (groups, form.fold) {
        (true, _) => params.group_chunks,
        (false, true) => 256 / step,
        (false, false) => 4,
    };
    params.part_chunks = params.chunks.div_ceil(asked).max(1).next_multiple_of(unit);
    params.parts = params.chunks.div_ceil(params.part_chunks).max(1);
    if cpu {
        // lavapipe gives an invocation 65,535 iterations over all its loops, then leaves them silently.
        let limit = match (form.source, form.blocking) {
            (Source::Grouped { .. }, _) => 8_000,
            (_, Blocking::Tiled { words, .. }) => 64_000 * (words / 4) / (1 + words),
            _ => 64_000,
        };
        let longest = params.chunks.min(params.part_chunks);
        if longest > limit {
            let per_chunk = u64::from(step) * form.operand.element().per_word() as u64;
            return Err(Error::Limit {
                op,
                what: "length of the sum (k, on a CPU adapter)".into(),
                needed: u64::from(params.k),
                limit: u64::from(limit) * u64::from(params.parts) * per_chunk,
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
    let mut all = buffers.to_vec();
    if params.parts == 1 || grouped(&form) {
        call.push(dispatch(kernels, op, form, params, batches as u64, &all)?.chosen(chosen));
        return Ok(call);
    }
    let (b, out) = (1, if form.is_int8() { 7 } else { 3 });
    let rows = u64::from(params.parts) * batches as u64 * u64::from(params.m);
    let needed = rows * (u64::from(params.n.div_ceil(4)) + 1) * 16;
    let limits = device.limits();
    let limit = limits.max_buffer_size.min(limits.max_storage_buffer_binding_size);
    if needed > limit {
        return Err(Error::Limit { op, what: "bytes of sums in parts".into(), needed, limit });
    }
    let partial = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("weighbridge sums in parts"),
        size: needed,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    // What the sums become is no business of the first.
    let part = Form {
        stage: Stage::Part,
        out: Element::F32,
        bias: false,
        activate: false,
        function: None,
        out_vec: false,
        out_wide: false,
        int8: Int8 { b_zero: form.int8.b_zero, ..Int8::default() },
        ..form
    };
    let whole = std::mem::replace(&mut all[out], partial.as_entire_buffer_binding());
    let parts = batches as u64 * u64::from(params.parts);
    let without_params = &all[..part.slots().len() - 1];
    call.push(dispatch(kernels, op, part, params, parts, without_params)?.chosen(chosen));
    all[out] = whole;
    all[b] = partial.as_entire_buffer_binding();
    let sum = Form { stage: Stage::Sum, ..form };
    call.push(dispatch(kernels, op, sum, params, batches as u64, &all)?);
    Ok(call)
}

fn grouped(form: &Form) -> bool {
    matches!(form.source, Source::Grouped { .. })
}

/// One kernel of the family over so many matrices.
fn dispatch(
    kernels: &Kernels,
    op: &'static str,
    form: Form,
    mut params: Params,
    matrices: u64,
    buffers: &[wgpu::BufferBinding<'_>],
) -> Result<Dispatch> {
    let device = kernels.device();
    // A thread for each four outputs, else a workgroup for each tile.
    let quads = grouped(&form) || form.stage == Stage::Sum;
    let [tile_m, tile_n] = if quads { [1, 4] } else { form.blocking.tile() };
    params.tiles_m = params.m.div_ceil(tile_m);
    params.tiles_n = params.n.div_ceil(tile_n);
    let tiles = u64::from(params.tiles_m) * u64::from(params.tiles_n) * matrices;
    let grid = kernel::grid(device, op, if quads { tiles.div_ceil(64) } else { tiles })?;
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
    Ok(Dispatch::new(device, kernel, &all, grid))
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
