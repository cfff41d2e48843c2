//! `C = act(A Bᵀ + bias)` in f32 and f16, with sums in f32.

use crate::error::{Error, Result};
use crate::graph::Activation;
use crate::kernel::{self, Blocking, Call, Kernels, Layout, Operand, Problem};
use crate::ops::function;
use crate::ops::rows::{REALS, check_one_of, check_out_params};
use crate::ops::tile::{self, Form, Int8, Params, Source, Stage, to_u32};
use crate::tensor::{Element, View};

/// What is asked of a [`Gemm`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GemmDescriptor {
    /// Element type of `a` and `b`: F32 or F16.
    pub element: Element,
    /// Element type of the output: F32, F16 or I8.
    pub out: Element,
    /// How `b` lies in memory.
    pub layout: Layout,
    /// Applied to the sum with its bias.
    pub activation: Activation,
    /// How operands are multiplied; `None` for the device's default.
    pub operand: Option<Operand>,
    /// Register blocks; `None` for the default for the shape on the device.
    pub blocking: Option<Blocking>,
}

impl Default for GemmDescriptor {
    /// f32 throughout, `b` as `[n, k]`, no activation.
    fn default() -> Self {
        Self {
            element: Element::F32,
            out: Element::F32,
            layout: Layout::Nk,
            activation: Activation::Identity,
            operand: None,
            blocking: None,
        }
    }
}

/// The tensors of a [`Gemm`].
#[derive(Clone, Copy, Debug)]
pub struct GemmBindings<'a> {
    /// `[batch * m, k]`.
    pub a: View<'a>,
    /// `[batch * n, k]`, `[batch * k, n]` or packed, by the layout. With `n` (or `k`) rows alone, the same for every batch.
    pub b: View<'a>,
    /// `[1, n]` of f32, the same for every batch.
    pub bias: Option<View<'a>>,
    /// `[batch * m, n]`.
    pub out: View<'a>,
    /// Where that is I8, its parameters.
    pub out_params: Option<View<'a>>,
    /// Number of products.
    pub batch: usize,
}

/// Which matrices of a batch of products lie side by side in the rows of their view, as the heads of an attention do,
/// and not one below the other: `[outer * rows, .. count heads of columns ..]`. Product `i` is head `i % count` of outer
/// `i / count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Heads; they divide the batch.
    pub count: usize,
    /// Where those of `a` are, each `[m, k]`.
    pub a: Option<HeadColumns>,
    /// Where those of `b` are, each `[n, k]` or `[k, n]`. Not packed.
    pub b: Option<HeadColumns>,
    /// Where those of the output are, each `[m, n]`.
    pub out: Option<HeadColumns>,
}

/// Which columns of a view are heads: both whole `u32` words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadColumns {
    /// The first column of the first head.
    pub first: usize,
    /// Columns of each head; the next one follows at once.
    pub columns: usize,
}

/// Matrix multiplication in f32 or f16. See [`crate::reference::gemm`] for what it computes; int8 is what
/// [`crate::ops::Quantize`] makes of that.
pub struct Gemm {
    kernels: Kernels,
    descriptor: GemmDescriptor,
}

const OP: &str = "gemm";

impl Gemm {
    /// Prepares for a device.
    ///
    /// # Errors
    /// [`Error::Element`] for other than float elements, [`Error::Feature`] where the device lacks what was asked for.
    pub fn new(device: &wgpu::Device, descriptor: &GemmDescriptor) -> Result<Self> {
        Self::with_kernels(&Kernels::new(device), descriptor)
    }

    /// The same with kernels shared between ops.
    ///
    /// # Errors
    /// See [`Gemm::new`].
    pub fn with_kernels(kernels: &Kernels, descriptor: &GemmDescriptor) -> Result<Self> {
        let d = descriptor;
        check_one_of(OP, d.element, &[Element::F32, Element::F16], "F32 or F16")?;
        check_one_of(OP, d.out, &REALS, "F32, F16 or I8 for the output")?;
        last(OP, d.activation)?;
        tile::check_asked(kernels.device(), OP, d.element, d.operand, d.blocking)?;
        Ok(Self { kernels: kernels.clone(), descriptor: *descriptor })
    }

    /// Checks shapes and limits, and makes the call.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Element`], [`Error::View`] or [`Error::Limit`], with the numbers.
    pub fn bind(&self, b: &GemmBindings<'_>) -> Result<Call> {
        let d = &self.descriptor;
        let params = product(OP, [&b.a, &b.b, &b.out], [d.element, d.out], d.layout, b.batch)?;
        self.call(b, params, Source::Dense)
    }

    /// The same of products that lie side by side.
    ///
    /// # Errors
    /// See [`Gemm::bind`]; [`Error::Argument`] for packed `b` and for heads that are not whole words.
    pub fn bind_heads(&self, b: &GemmBindings<'_>, heads: &Heads) -> Result<Call> {
        let d = &self.descriptor;
        if d.layout == Layout::Packed {
            return Err(Error::Argument { op: OP, detail: "packed b does not lie side by side".into() });
        }
        let params = side_by_side(OP, b, [d.element, d.out], d.layout, heads)?;
        self.call(b, params, Source::Heads)
    }

    fn call(&self, b: &GemmBindings<'_>, params: Params, source: Source) -> Result<Call> {
        let (d, device) = (&self.descriptor, self.kernels.device());
        let (n, k) = (params.n as usize, params.k as usize);
        check_out_params(OP, &b.out, b.out_params.as_ref())?;
        if let Some(bias) = &b.bias {
            if (bias.element, bias.rows, bias.columns) != (Element::F32, 1, n) {
                let (got, rows, columns) = (bias.element, bias.rows, bias.columns);
                let detail = format!("bias is [{rows}, {columns}] of {got:?}, expected [1, {n}] of F32");
                return Err(Error::Shape { op: OP, detail });
            }
        }
        let fours = |words: [u32; 3]| words.iter().all(|w| w.is_multiple_of(4));
        let aligned = k.is_multiple_of(4 * d.element.per_word())
            && fours([params.a_pitch, params.a_first, params.a_head]);
        let problem = Problem {
            element: d.element,
            weight_only: false,
            layout: d.layout,
            aligned,
            m: params.m as usize,
            n,
            k,
            batch: b.batch,
            patch: None,
        };
        let chosen = kernel::choose(&self.kernels, OP, problem, d.operand, d.blocking)?;
        let ((activate, function), (lo, hi)) = (last(OP, d.activation)?, bounds(d.activation));
        let form = Form {
            operand: chosen.choice.operand,
            blocking: chosen.choice.blocking,
            source,
            layout: d.layout,
            out: d.out,
            bias: b.bias.is_some(),
            activate,
            function,
            a_vec: aligned,
            one: false,
            out_vec: out_vec(&b.out) && fours([params.n, params.out_first, params.out_head]),
            out_wide: false,
            fold: false,
            wide: false,
            paired: false,
            stage: Stage::Whole,
            max_pool: false,
            int8: Int8::default(),
        };
        let params = Params { lo, hi, ..params };
        let zeros = kernel::constant(device, &[0; 16], wgpu::BufferUsages::STORAGE);
        let mut buffers = vec![
            b.a.binding(device, OP, "a")?,
            b.b.binding(device, OP, "b")?,
            tile::optional(device, OP, "bias", b.bias.as_ref(), &zeros)?,
            b.out.binding(device, OP, "out")?,
        ];
        if let Some(params) = &b.out_params {
            buffers.push(params.binding(device, OP, "out_params")?);
        }
        tile::call(&self.kernels, OP, Some(chosen), form, params, b.batch, &buffers)
    }
}

/// Whether an epilogue clamps, and the flag of the function that it ends in.
pub(crate) fn last(op: &'static str, activation: Activation) -> Result<(bool, Option<&'static str>)> {
    match activation {
        Activation::Identity => Ok((false, None)),
        Activation::Relu | Activation::Clip { .. } => Ok((true, None)),
        Activation::Function(f) => match function::flag(f) {
            Some(flag) => Ok((false, Some(flag))),
            None => {
                let detail = format!("{f:?} does not make reals of reals: no epilogue takes it");
                Err(Error::Argument { op, detail })
            }
        },
    }
}

/// Refuses a function where the kernel only clamps.
pub(crate) fn only_clamps(op: &'static str, activation: Activation) -> Result<()> {
    match activation {
        Activation::Function(f) => {
            let detail =
                format!("{f:?} cannot be its activation: products end in functions, else it is a Unary");
            Err(Error::Argument { op, detail })
        }
        _ => Ok(()),
    }
}

/// The bounds that an activation clamps to; a function's alpha and beta, which are in the same place.
pub(crate) fn bounds(activation: Activation) -> (f32, f32) {
    match activation {
        Activation::Identity => (f32::NEG_INFINITY, f32::INFINITY),
        Activation::Relu => (0.0, f32::INFINITY),
        Activation::Clip { lo, hi } => (lo, hi),
        Activation::Function(f) => function::parameters(f).into(),
    }
}

/// Whether four columns of f32, f16 or i32 can be stored as one vector.
pub(crate) fn out_vec(out: &View<'_>) -> bool {
    let words = match out.element {
        Element::F32 | Element::I32 => 4,
        Element::F16 => 2,
        _ => return false,
    };
    out.pitch.is_multiple_of(words) && out.columns.is_multiple_of(4)
}

/// Checks the matrices `[a, b, out]` of a product against each other and the descriptor's elements of `[a, out]`, and
/// fills in what follows from them.
pub(crate) fn product(
    op: &'static str,
    [a, b, out]: [&View<'_>; 3],
    elements: [Element; 2],
    layout: Layout,
    batch: usize,
) -> Result<Params> {
    if batch == 0 || !a.rows.is_multiple_of(batch) || out.rows != a.rows {
        let detail = format!(
            "a has {} rows and out {}, in {batch} batches: they must be equal and divide evenly",
            a.rows, out.rows
        );
        return Err(Error::Shape { op, detail });
    }
    if [a.element, out.element] != elements {
        let detail =
            format!("a and out are {:?}, but the descriptor says {elements:?}", [a.element, out.element]);
        return Err(Error::Shape { op, detail });
    }
    let (m, n, k) = (a.rows / batch, out.columns, a.columns);
    let b_batches = b_matrix(op, layout, b, elements[0], n, k, batch)?;
    Ok(Params {
        m: to_u32(op, "m", m)?,
        n: to_u32(op, "n", n)?,
        k: to_u32(op, "k", k)?,
        k_words: to_u32(op, "k", elements[0].words(k))?,
        a_pitch: to_u32(op, "pitch of a", a.pitch)?,
        b_pitch: to_u32(op, "pitch of b", b.pitch)?,
        out_pitch: to_u32(op, "pitch of out", out.pitch)?,
        a_batch: to_u32(op, "batch of a", m * a.pitch)?,
        b_batch: if b_batches == 1 { 0 } else { to_u32(op, "batch of b", b.rows / batch * b.pitch)? },
        out_batch: to_u32(op, "batch of out", m * out.pitch)?,
        row_batch: to_u32(op, "m", m)?,
        ..Default::default()
    })
}

/// Checks `b` against its layout, and tells how many batches of it there are: one for all, or one for each.
pub(crate) fn b_matrix(
    op: &'static str,
    layout: Layout,
    b: &View<'_>,
    element: Element,
    n: usize,
    k: usize,
    batch: usize,
) -> Result<usize> {
    // Packed words are bound as what they are.
    let (rows, columns, held) = match layout {
        Layout::Nk => (n, k, element),
        Layout::Kn => (k, n, element),
        Layout::Packed => (element.words(k).next_multiple_of(4), n.next_multiple_of(4), Element::I32),
    };
    if b.element != held {
        return Err(Error::Element {
            op,
            got: b.element,
            expected: if held == Element::I32 {
                "I32 (packed words) for b"
            } else {
                "the descriptor's for b"
            },
        });
    }
    if layout == Layout::Packed && b.pitch != columns {
        let detail = format!("packed b has {columns} words, {} apart: it must be dense", b.pitch);
        return Err(Error::Shape { op, detail });
    }
    if b.columns != columns || (b.rows != rows && b.rows != rows * batch) {
        return Err(Error::Shape {
            op,
            detail: format!(
                "b is [{}, {}] ({layout:?}), but n is {n}, k is {k} and there are {batch} batches: expected [{rows}, {columns}] or [{}, {columns}]",
                b.rows,
                b.columns,
                rows * batch
            ),
        });
    }
    Ok(if b.rows == rows { 1 } else { batch })
}

/// One operand of products, some side by side: the shape of each, and words between them.
struct Placed {
    rows: usize,
    columns: usize,
    outer: usize,
    head: usize,
    first: usize,
}

impl Placed {
    /// `batch` matrices below each other, or `count` of them side by side.
    fn new(
        op: &'static str,
        name: &str,
        view: &View<'_>,
        heads: Option<HeadColumns>,
        [batch, count]: [usize; 2],
    ) -> Result<Self> {
        let per_word = view.element.per_word();
        let below = if heads.is_some() { batch / count } else { batch };
        if !view.rows.is_multiple_of(below) {
            let detail = format!("{name} has {} rows for {below} matrices", view.rows);
            return Err(Error::Shape { op, detail });
        }
        let rows = view.rows / below;
        let Some(HeadColumns { first, columns }) = heads else {
            let head = rows * view.pitch;
            return Ok(Self { rows, columns: view.columns, outer: count * head, head, first: 0 });
        };
        let (words, end) = (view.element.words(columns), columns.checked_mul(count));
        if end.and_then(|end| end.checked_add(first)).is_none_or(|end| end > view.columns) {
            let detail = format!(
                "{count} heads of {columns} columns from column {first} on are not within the {} of {name}",
                view.columns
            );
            return Err(Error::Shape { op, detail });
        }
        if !first.is_multiple_of(per_word) || !columns.is_multiple_of(per_word) {
            let detail = format!(
                "heads of {name} begin at column {first} and are {columns} wide: both must be whole words of {per_word}"
            );
            return Err(Error::Argument { op, detail });
        }
        Ok(Self { rows, columns, outer: rows * view.pitch, head: words, first: view.element.words(first) })
    }
}

/// [`product`] of matrices that lie side by side.
fn side_by_side(
    op: &'static str,
    b: &GemmBindings<'_>,
    elements: [Element; 2],
    layout: Layout,
    heads: &Heads,
) -> Result<Params> {
    let (batch, count) = (b.batch, heads.count);
    if count == 0 || batch == 0 || !batch.is_multiple_of(count) {
        let detail = format!("{batch} products in heads of {count}: they must divide evenly");
        return Err(Error::Shape { op, detail });
    }
    // Both are halves of one number in the kernel.
    for (what, needed) in [("number of heads", count), ("number of products without heads", batch / count)] {
        if needed > 0xffff {
            return Err(Error::Limit { op, what: what.into(), needed: needed as u64, limit: 0xffff });
        }
    }
    if [b.a.element, b.b.element, b.out.element] != [elements[0], elements[0], elements[1]] {
        let got = [b.a.element, b.b.element, b.out.element];
        let detail = format!("a, b and out are {got:?}, but the descriptor says {elements:?}");
        return Err(Error::Shape { op, detail });
    }
    let place = |name, view, columns| Placed::new(op, name, view, columns, [batch, count]);
    let (a, out) = (place("a", &b.a, heads.a)?, place("out", &b.out, heads.out)?);
    let of_b = place("b", &b.b, heads.b)?;
    let (m, n, k) = (a.rows, out.columns, a.columns);
    let want = if layout == Layout::Nk { [n, k] } else { [k, n] };
    if out.rows != m || [of_b.rows, of_b.columns] != want {
        let detail = format!(
            "each a is [{m}, {k}], each out [{}, {n}] and each b [{}, {}] ({layout:?}): expected {want:?}",
            out.rows, of_b.rows, of_b.columns
        );
        return Err(Error::Shape { op, detail });
    }
    let int = |what, value| to_u32(op, what, value);
    Ok(Params {
        m: int("m", m)?,
        n: int("n", n)?,
        k: int("k", k)?,
        k_words: int("k", elements[0].words(k))?,
        a_pitch: int("pitch of a", b.a.pitch)?,
        b_pitch: int("pitch of b", b.b.pitch)?,
        out_pitch: int("pitch of out", b.out.pitch)?,
        a_batch: int("batch of a", a.outer)?,
        b_batch: int("batch of b", of_b.outer)?,
        out_batch: int("batch of out", out.outer)?,
        heads: int("heads", count)?,
        a_head: int("head of a", a.head)?,
        b_head: int("head of b", of_b.head)?,
        out_head: int("head of out", out.head)?,
        a_first: int("first column of a", a.first)?,
        b_first: int("first column of b", of_b.first)?,
        out_first: int("first column of out", out.first)?,
        ..Default::default()
    })
}
