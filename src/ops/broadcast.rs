//! Shapes that are broadcast, for the kernels that go through an output's rows four elements at a time: aligned at the
//! innermost dimension, where 1 repeats.

use crate::error::{Error, Result};
use crate::kernel::{self, Call, Dispatch, Kernels, Shader, Slot};
use crate::ops::rows::{self, check_words};
use crate::ops::tile::to_u32;
use crate::tensor::View;

/// The largest number of dimensions.
pub(crate) const RANK: usize = 6;

/// The uniform of kernels with up to three operands, as WGSL sees it: dimensions from the inside, without the innermost.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct BroadcastParams {
    pub total: u32,
    pub quads: u32,
    pub columns: u32,
    pub out_pitch: u32,
    pub step: [u32; 4],
    pub length: [u32; 8],
    pub a_apart: [u32; 8],
    pub b_apart: [u32; 8],
    pub c_apart: [u32; 8],
}

/// One dimension of the output over the innermost: its length, and words from one index to the next in each operand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outer<const N: usize> {
    pub length: usize,
    pub apart: [usize; N],
}

/// The shape that operands are broadcast to, outermost dimension first.
///
/// # Errors
/// [`Error::Shape`] where two dimensions differ and neither is 1, or there are more than [`RANK`].
pub(crate) fn shape(op: &'static str, operands: &[&[usize]]) -> Result<Vec<usize>> {
    let rank = operands.iter().map(|s| s.len()).max().unwrap_or(0);
    let names = || operands.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>().join(" and ");
    if rank > RANK {
        return Err(Error::Shape { op, detail: format!("{}: at most {RANK} dimensions", names()) });
    }
    let mut shape = vec![1; rank];
    for (d, length) in shape.iter_mut().enumerate() {
        for operand in operands {
            match (aligned(operand, rank, d), *length) {
                (own, so_far) if own == so_far || own == 1 => {}
                (own, 1) => *length = own,
                (own, so_far) => {
                    let detail = format!("{} do not broadcast: {so_far} and {own} differ", names());
                    return Err(Error::Shape { op, detail });
                }
            }
        }
    }
    Ok(shape)
}

/// Dimension `d` of `rank`, 1 where the shape has fewer.
fn aligned(shape: &[usize], rank: usize, d: usize) -> usize {
    (d + shape.len()).checked_sub(rank).map_or(1, |d| shape[d])
}

/// Checks a view against its shape.
pub(crate) fn check_shape(op: &'static str, name: &str, view: &View<'_>, shape: &[usize]) -> Result<()> {
    let (columns, outer) = shape.split_last().map_or((1, &[][..]), |(&c, outer)| (c, outer));
    let rows = outer.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    if rows == Some(view.rows) && columns == view.columns {
        return Ok(());
    }
    Err(Error::Shape {
        op,
        detail: format!("{name} is [{}, {}], but its shape is {shape:?}", view.rows, view.columns),
    })
}

/// The output's dimensions over the innermost, from the inside, with neighbours that are evenly apart made one.
pub(crate) fn outer<const N: usize>(shape: &[usize], operands: [(&View<'_>, &[usize]); N]) -> Vec<Outer<N>> {
    let rank = shape.len();
    let mut step = operands.map(|(view, _)| view.pitch);
    let mut all: Vec<Outer<N>> = Vec::new();
    for d in (0..rank.saturating_sub(1)).rev() {
        let mut next = Outer { length: shape[d], apart: [0; N] };
        for (i, (_, own)) in operands.iter().enumerate() {
            let length = aligned(own, rank, d);
            next.apart[i] = if length == 1 { 0 } else { step[i] };
            step[i] = step[i].saturating_mul(length);
        }
        if next.length == 1 {
            continue;
        }
        match all.last_mut() {
            Some(last) if (0..N).all(|i| next.apart[i] == last.apart[i].saturating_mul(last.length)) => {
                last.length = last.length.saturating_mul(next.length);
            }
            _ => all.push(next),
        }
    }
    all
}

/// Elements from one column of the output to the next in an operand: 0 where its innermost dimension repeats.
pub(crate) fn step(view: &View<'_>, out: &View<'_>) -> u32 {
    u32::from(view.columns != 1 || out.columns == 1)
}

/// The call of a kernel with slots uniform, operands, out and its parameters, where there are any, a thread for each
/// four elements of an output row. The shader is made for the number of dimensions over the innermost. Elements are
/// checked already.
///
/// # Errors
/// [`Error::Shape`], [`Error::View`] or [`Error::Limit`], with the numbers.
pub(crate) fn call<const N: usize>(
    kernels: &Kernels,
    op: &'static str,
    operands: [(&'static str, View<'_>, &[usize]); N],
    out: View<'_>,
    out_params: Option<View<'_>>,
    shader: impl Fn(u32) -> Shader,
) -> Result<Call> {
    let device = kernels.device();
    let shape = shape(op, &operands.map(|(_, _, shape)| shape))?;
    for (name, view, shape) in operands.iter().copied().chain([("out", out, &shape[..])]) {
        check_shape(op, name, &view, shape)?;
        check_words(op, name, &view)?;
    }
    let same = operands.iter().all(|(_, _, own)| *own == shape);
    let (mut views, mut to, mut flat) = (operands.map(|(_, view, _)| view), out, false);
    if same {
        // All or none: each with the output, which tells whether all rows are as long.
        let each = views.map(|view| rows::flatten([view, out]));
        flat = each.iter().all(|[view, out]| view.rows == 1 && out.rows == 1);
        if flat {
            views = each.map(|[view, _]| view);
            to = each.first().map_or(out, |[_, out]| *out);
        }
    }
    let dims = if flat || to.rows == 1 {
        Vec::new()
    } else {
        let mut i = 0;
        let pairs = operands.map(|(_, _, own)| {
            i += 1;
            (&views[i - 1], own)
        });
        outer(&shape, pairs)
    };
    let quads = to.columns.div_ceil(4);
    let total = to.rows as u64 * quads as u64;
    let int = |what, v| to_u32(op, what, v);
    let mut uniform = BroadcastParams {
        total: int("elements / 4", total as usize)?,
        quads: int("columns", quads)?,
        columns: int("columns", to.columns)?,
        out_pitch: int("pitch of out", to.pitch)?,
        length: [1; 8],
        ..Default::default()
    };
    for (to_step, view) in uniform.step.iter_mut().zip(&views) {
        *to_step = step(view, &to);
    }
    for (d, dim) in dims.iter().enumerate() {
        uniform.length[d] = int("dimension", dim.length)?;
        let apart = [&mut uniform.a_apart, &mut uniform.b_apart, &mut uniform.c_apart];
        for (apart, words) in apart.into_iter().zip(dim.apart) {
            apart[d] = int("words of an operand", words)?;
        }
    }
    let uniform = kernel::uniform(device, &uniform);
    let mut buffers = vec![uniform.as_entire_buffer_binding()];
    for ((name, _, _), view) in operands.iter().zip(&views) {
        buffers.push(view.binding(device, op, name)?);
    }
    buffers.push(to.binding(device, op, "out")?);
    let mut slots = vec![Slot::Read; N + 2];
    (slots[0], slots[N + 1]) = (Slot::Uniform, Slot::Write);
    if let Some(params) = &out_params {
        buffers.push(params.binding(device, op, "out_params")?);
        slots.push(Slot::Read);
    }
    let mut call = Call::default();
    if total > 0 {
        let kernel = kernels.get(shader(dims.len() as u32), &slots);
        call.push(Dispatch::new(device, kernel, &buffers, kernel::grid(device, op, total.div_ceil(64))?));
    }
    Ok(call)
}
