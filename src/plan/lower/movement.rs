//! Copies of elements to other places, and what is made of places in between.

use super::beside::Target;
use super::{Lowering, Order, Slot};
use crate::error::Result;
use crate::graph::{Interpolation, Node, Op, PadMode, Quant, Resize, SliceAxis, ValueId, Window};
use crate::kernel::Call;
use crate::ops::{
    Axis, ConvTransposeBindings, ConvTransposeDescriptor, GatherBindings, GatherDescriptor, Outside,
    ResizeBindings, ResizeDescriptor, ResizeTap, Strided, StridedBindings, StridedDescriptor,
};
use crate::plan::Matrix;
use crate::reference::resize_taps;
use crate::tensor::{Data, Element};
use half::f16;

/// Where each dimension in memory is among the model's.
fn dimensions(order: Order, rank: usize) -> Vec<usize> {
    if order == Order::ChannelsLast { vec![0, 2, 3, 1] } else { (0..rank).collect() }
}

fn matrix_of(shape: &[usize]) -> (usize, usize) {
    (shape.iter().rev().skip(1).product(), shape.last().copied().unwrap_or(1))
}

impl<'m> Lowering<'m> {
    /// The order in which an op makes its output that can keep the order of an image: channels last where that is
    /// wanted, or where it comes so.
    fn image_order(&mut self, node: &Node) -> Result<Order> {
        let rank_4 = |id: ValueId| self.shapes[id.index()].len() == 4;
        if !rank_4(node.outputs[0]) || !node.inputs.first().copied().flatten().is_some_and(rank_4) {
            return Ok(Order::Natural);
        }
        let comes = self.made(self.input(node, 0)?)?.order == Order::ChannelsLast;
        let last = self.wants_channels_last[node.outputs[0].index()] || comes;
        Ok(if last { Order::ChannelsLast } else { Order::Natural })
    }

    /// The shape of a value as it lies in memory.
    fn laid(&self, id: ValueId, order: Order) -> Vec<usize> {
        let shape = &self.shapes[id.index()];
        dimensions(order, shape.len()).into_iter().map(|d| shape[d]).collect()
    }

    pub(super) fn strided(
        &mut self,
        node: &str,
        (x, x_shape): (Matrix, Vec<usize>),
        (out, out_shape): (Matrix, Vec<usize>),
        axes: Vec<Axis>,
        fill: u32,
    ) {
        let shapes = format!("{x_shape:?} -> {out_shape:?}");
        self.step(node, "strided", shapes, "elements move, bit for bit", &[x, out], move |s| {
            Strided::with_kernels(s.kernels, &StridedDescriptor { element: x.element })?.bind(
                &StridedBindings {
                    x: s.view(&x),
                    x_shape: &x_shape,
                    out: s.view(&out),
                    out_shape: &out_shape,
                    axes: &axes,
                    fill,
                },
            )
        });
    }

    /// An op of one input whose output is copied from it dimension by dimension: `axes` are in the model's order.
    fn moved(&mut self, node: &'m Node, order: Order, axes: &[Axis], fill: u32) -> Result<()> {
        let (x_id, y) = (self.input(node, 0)?, node.outputs[0]);
        let x = self.get(x_id, order, &node.name)?;
        let rank = axes.len();
        let missing = rank - self.shapes[x_id.index()].len();
        let x_shape = [vec![1; missing], self.laid(x_id, order)].concat();
        let out_shape = self.laid(y, order);
        let (rows, columns) = matrix_of(&out_shape);
        let out = self.result(y, order, rows, columns);
        let axes = dimensions(order, rank).into_iter().map(|d| axes[d]).collect();
        self.strided(&node.name, (x.matrix, x_shape), (out, out_shape), axes, fill);
        self.done(node, Slot { matrix: out, order, params: x.params });
        Ok(())
    }

    pub(super) fn gather(&mut self, node: &'m Node, axis: usize) -> Result<()> {
        let (x_id, i_id, y) = (self.input(node, 0)?, self.input(node, 1)?, node.outputs[0]);
        let shape = self.shapes[x_id.index()].clone();
        let n = shape.get(axis).copied().unwrap_or(0) as i64;
        let known: Vec<i64> = match self.model.constant(i_id).map(|t| t.data()) {
            Some(Data::I64(v)) => v.clone(),
            Some(Data::I32(v)) => v.iter().map(|&i| i.into()).collect(),
            _ => Vec::new(),
        };
        if let Some(i) = known.iter().find(|i| !(-n..n).contains(*i)) {
            return Err(self.fail(node, format!("index {i} of an axis of {n}")));
        }
        let indices = self.get(i_id, Order::Natural, &node.name)?.matrix;
        let x = self.get(x_id, Order::Natural, &node.name)?;
        let Matrix { rows, columns, element, .. } = self.natural(x.matrix.home, y);
        let dequantize = element != x.matrix.element;
        let params = match &self.model.value(x_id).quant {
            Some(Quant::Static { axis: of @ (None | Some(0)), params }) if dequantize => {
                let fits = params.len() == 1 || (*of == Some(0) && axis == 0);
                if !fits {
                    let detail =
                        format!("the table has parameters along axis 0, but is gathered along {axis}");
                    return Err(self.fail(node, detail));
                }
                let params = params.clone();
                Some(self.constant_params(&params))
            }
            other if dequantize => {
                let detail = format!("its table is quantized as {other:?}, but its output is {element:?}");
                return Err(self.fail(node, detail));
            }
            _ => None,
        };
        let out = self.result(y, Order::Natural, rows, columns);
        let matrix = x.matrix;
        let mut touched = vec![matrix, indices, out];
        touched.extend(params);
        let d = GatherDescriptor { element: matrix.element, out: element };
        let why = if dequantize { "rows of int8 become floats on the way" } else { "bit for bit" };
        let shapes = format!("{shape:?} at {} along {axis}", indices.rows * indices.columns);
        self.step(&node.name, "gather", shapes, why, &touched, move |s| {
            crate::ops::Gather::with_kernels(s.kernels, &d)?.bind(&GatherBindings {
                x: s.view(&matrix),
                shape: &shape,
                axis,
                indices: s.view(&indices),
                params: params.as_ref().map(|m| s.view(m)),
                out: s.view(&out),
            })
        });
        let params = if dequantize { None } else { x.params };
        self.done(node, Slot { matrix: out, order: Order::Natural, params });
        Ok(())
    }

    pub(super) fn concat(&mut self, node: &'m Node, axis: usize) -> Result<()> {
        let y = node.outputs[0];
        let order = self.image_order(node)?;
        let dims = dimensions(order, self.shapes[y.index()].len());
        let out_shape = self.laid(y, order);
        let (rows, columns) = matrix_of(&out_shape);
        let out = self.result(y, order, rows, columns);
        let (mut params, mut to) = (None, 0);
        let (mut parts, mut touched) = (Vec::new(), vec![out]);
        for i in 0..node.inputs.len() {
            let id = self.input(node, i)?;
            if self.model.value(id).quant != self.model.value(y).quant {
                return Err(self.fail(node, "its inputs and its output are quantized differently"));
            }
            let x = self.get(id, order, &node.name)?;
            let shape = self.laid(id, order);
            let along = |(&d, &n): (&usize, &usize)| {
                let to = if d == axis { to } else { 0 };
                Axis { to, ..Axis::whole(n) }
            };
            let axes: Vec<Axis> = dims.iter().zip(&shape).map(along).collect();
            to += self.shapes[id.index()][axis];
            touched.push(x.matrix);
            parts.push((x.matrix, shape, axes));
            params = params.or(x.params);
        }
        // One step: what is written must lie apart from all that is read. In order: where parts share a word, each
        // keeps what those before it wrote.
        let shapes = format!("{} along {axis} -> {out_shape:?}", parts.len());
        let why = "each into its region";
        self.step(&node.name, "strided", shapes, why, &touched, move |s| {
            let op = Strided::with_kernels(s.kernels, &StridedDescriptor { element: out.element })?;
            let mut call = Call::default();
            for (x, x_shape, axes) in &parts {
                call.extend(op.bind(&StridedBindings {
                    x: s.view(x),
                    x_shape,
                    out: s.view(&out),
                    out_shape: &out_shape,
                    axes,
                    fill: 0,
                })?);
            }
            Ok(call)
        });
        self.done(node, Slot { matrix: out, order, params });
        Ok(())
    }

    pub(super) fn slice(&mut self, node: &'m Node, parts: &[SliceAxis]) -> Result<()> {
        let order = self.image_order(node)?;
        let x = self.input(node, 0)?;
        let mut axes: Vec<Axis> = self.shapes[x.index()].iter().map(|&n| Axis::whole(n)).collect();
        for part in parts {
            let n = axes[part.axis].n;
            let (start, length) = part.range(n);
            // Of one place, a step means nothing: it may be larger than what a kernel counts.
            let step = if length > 1 { part.step } else { 1 };
            axes[part.axis] = Axis { length, start: start as i64, step, ..Axis::whole(n) };
        }
        self.moved(node, order, &axes, 0)
    }

    pub(super) fn pad(&mut self, node: &'m Node, begin: &[i64], end: &[i64], mode: PadMode) -> Result<()> {
        let order = self.image_order(node)?;
        let x = self.input(node, 0)?;
        let (outside, fill) = match mode {
            PadMode::Constant(value) => {
                let fill = match self.model.value(x).element {
                    Element::F32 => value.to_bits(),
                    Element::F16 => f16::from_f32(value).to_bits().into(),
                    Element::I8 => u32::from(value as i8 as u8),
                    Element::U8 => u32::from(value as u8 ^ 0x80),
                    Element::I32 | Element::I64 => value as i32 as u32,
                    Element::Bool => u32::from(value != 0.0),
                };
                (Outside::Fill, fill)
            }
            PadMode::Reflect => (Outside::Reflect, 0),
            PadMode::Edge => (Outside::Edge, 0),
            PadMode::Wrap => (Outside::Wrap, 0),
        };
        let shape = self.shapes[x.index()].clone();
        let mut axes = Vec::with_capacity(shape.len());
        for ((&n, &b), &e) in shape.iter().zip(begin).zip(end) {
            // What is cut off is cut off first: the modes see what is left.
            let kept = n as i64 + b.min(0) + e.min(0);
            let length = usize::try_from(kept + b.max(0) + e.max(0)).ok();
            let (Ok(kept), Some(length)) = (usize::try_from(kept), length) else {
                return Err(self.fail(node, format!("{begin:?} and {end:?} around {shape:?}")));
            };
            let outside = if b > 0 || e > 0 { outside } else { Outside::Never };
            let from = (-b).max(0) as usize;
            axes.push(Axis { length, from, n: kept, start: -b.max(0), step: 1, outside, to: 0 });
        }
        self.moved(node, order, &axes, fill)
    }

    pub(super) fn expand(&mut self, node: &'m Node) -> Result<()> {
        let x = &self.shapes[self.input(node, 0)?.index()];
        let out = &self.shapes[node.outputs[0].index()];
        let missing = out.len() - x.len();
        let each = |(d, &length): (usize, &usize)| {
            let n = if d < missing { 1 } else { x[d - missing] };
            if n == length { Axis::whole(n) } else { Axis { length, n, ..Axis::default() } }
        };
        let axes: Vec<Axis> = out.iter().enumerate().map(each).collect();
        self.moved(node, Order::Natural, &axes, 0)
    }

    pub(super) fn tile(&mut self, node: &'m Node, repeats: &[usize]) -> Result<()> {
        let x = &self.shapes[self.input(node, 0)?.index()];
        let each = |(&n, &r): (&usize, &usize)| match (n, r) {
            (n, 1) => Axis::whole(n),
            (0, _) => Axis::default(),
            (n, r) => Axis { length: n * r, outside: Outside::Wrap, ..Axis::whole(n) },
        };
        let axes: Vec<Axis> = x.iter().zip(repeats).map(each).collect();
        self.moved(node, Order::Natural, &axes, 0)
    }

    pub(super) fn resize(&mut self, node: &'m Node, geometry: &Resize) -> Result<()> {
        let (x_id, y) = (self.input(node, 0)?, node.outputs[0]);
        let linear = geometry.interpolation == Interpolation::Linear;
        let shape = self.shapes[x_id.index()].clone();
        let changes = |d: &usize| shape[*d] != geometry.sizes[*d] || geometry.scales[*d] != 1.0;
        let changed: Vec<usize> = (0..shape.len()).filter(changes).collect();
        if changed.is_empty() {
            let x = self.made(x_id)?;
            self.done(node, x);
            return Ok(());
        }
        let packed = self.element(x_id).per_word() > 1;
        let mut order = self.image_order(node)?;
        // Packed elements stay together along the innermost dimension.
        if order == Order::Natural && packed && shape.len() == 4 && changed.contains(&3) {
            order = Order::ChannelsLast;
        }
        let dims = dimensions(order, shape.len());
        let innermost = dims.last().is_some_and(|d| changed.contains(d));
        let element = self.element(x_id);
        let integer = !matches!(element, Element::F32 | Element::F16);
        // A kernel that does not know the elements sees them as F32, which holds all bytes; wider integers are not
        // exact past 2^24.
        let wide = (linear && integer) || (packed && innermost);
        let mut x = if wide {
            self.get(x_id, Order::Natural, &node.name)?
        } else {
            self.get(x_id, order, &node.name)?
        };
        let mut x_matrix = x.matrix;
        if wide {
            order = Order::Natural;
            x_matrix = self.need(Element::F32, x.matrix.rows, x.matrix.columns);
            let from = self.model.value(x_id).element;
            self.cast_step(&node.name, (x.matrix, from), (x_matrix, Element::F32), "resized as floats");
        }
        let dims = dimensions(order, shape.len());
        let mut laid: Vec<usize> = dims.iter().map(|&d| shape[d]).collect();
        // Two neighbours in memory at a time, from the outermost.
        let mut passes: Vec<(usize, usize)> = Vec::new();
        for (at, d) in dims.iter().enumerate() {
            if !changed.contains(d) {
                continue;
            }
            match passes.last_mut() {
                Some((first, last)) if first == last && *last + 1 == at => *last = at,
                _ => passes.push((at, at)),
            }
        }
        if geometry.sizes.contains(&0) {
            passes.clear();
        }
        let count = passes.len();
        let mut int8 = None;
        for (i, (first, last)) in passes.into_iter().enumerate() {
            let taps_of = |d: usize| {
                let d = dims[d];
                let (n, size, scale) = (shape[d], geometry.sizes[d], geometry.scales[d]);
                resize_taps(n, size, scale, geometry.coordinates, geometry.interpolation)
            };
            let as_taps = |taps: Vec<crate::reference::Tap>| {
                let each = |t: crate::reference::Tap| ResizeTap {
                    low: t.low as u32,
                    high: t.high as u32,
                    a: (1.0 - t.weight) as f32,
                    b: t.weight as f32,
                };
                taps.into_iter().map(each).collect::<Vec<_>>()
            };
            // One axis alone is the second of two, of which the first has a length of 1.
            let one = ResizeTap { a: 1.0, ..Default::default() };
            let alone = first == last;
            let mut taps = if alone { vec![one] } else { as_taps(taps_of(first)) };
            taps.extend(as_taps(taps_of(last)));
            let outer: usize = laid[..first].iter().product();
            let size = [if alone { 1 } else { laid[first] }, laid[last]];
            for d in first..=last {
                laid[d] = geometry.sizes[dims[d]];
            }
            let out_size = [if alone { 1 } else { laid[first] }, laid[last]];
            let (rows, columns) = matrix_of(&laid);
            // Int8 is made of whole vectors, whose rows have no padding.
            let vectors = !innermost && columns.is_multiple_of(4 * element.per_word());
            let target = if i + 1 < count || wide {
                let matrix = self.need(x_matrix.element, rows, columns);
                Target { matrix, params: None, value: y }
            } else if linear && vectors {
                self.target(y, element, order, [rows, columns])
            } else {
                Target { matrix: self.result(y, order, rows, columns), params: None, value: y }
            };
            let Target { matrix: out, params: out_params, .. } = target;
            int8 = out_params.map(|_| target);
            let taps = self.constant(bytemuck::cast_slice(&taps), Element::I32, taps.len(), 4);
            let d = ResizeDescriptor { element: x_matrix.element, out: out.element, linear };
            let why = if linear { "between neighbours" } else { "the nearest" };
            let from = x_matrix;
            let shapes = format!("[{outer}, {size:?}, ..] -> {out_size:?}");
            self.step(&node.name, "resize", shapes, why, &[from, out], move |s| {
                crate::ops::Resize::with_kernels(s.kernels, &d)?.bind(&ResizeBindings {
                    x: s.view(&from),
                    outer,
                    size,
                    taps: s.view(&taps),
                    out_size,
                    out_params: out_params.as_ref().map(|m| s.view(m)),
                    out: s.view(&out),
                })
            });
            x_matrix = out;
        }
        if let Some(target) = int8 {
            self.reached(target, order);
            return Ok(());
        }
        if count == 0 {
            let (rows, columns) = matrix_of(&self.laid(y, order));
            x_matrix = self.result(y, order, rows, columns);
        } else if wide {
            let out = self.result(y, order, x_matrix.rows, x_matrix.columns);
            let to = self.model.value(y).element;
            self.cast_step(&node.name, (x_matrix, Element::F32), (out, to), "resized as floats");
            x_matrix = out;
        }
        x.matrix = x_matrix;
        self.done(node, Slot { matrix: x_matrix, order, params: x.params });
        Ok(())
    }

    pub(super) fn conv_transpose(&mut self, node: &'m Node, window: Window, groups: usize) -> Result<()> {
        let (x_id, y) = (self.input(node, 0)?, node.outputs[0]);
        let Op::ConvTranspose { output_padding, .. } = node.op else {
            return Err(self.fail(node, "it is no ConvTranspose"));
        };
        let [batch, channels, height, width] = self.image(x_id)?;
        let [_, outputs, out_height, out_width] = self.image(y)?;
        let x = self.get(x_id, Order::ChannelsLast, &node.name)?.matrix;
        let mut d =
            ConvTransposeDescriptor { element: x.element, out: x.element, window, groups, output_padding };
        let packed = d.pack(self.weight(node, 1)?)?;
        if packed.element() != x.element || self.element(y) != x.element {
            let detail = format!(
                "its input is {:?}, its weights {:?} and its output {:?}",
                x.element,
                packed.element(),
                self.element(y)
            );
            return Err(self.fail(node, detail));
        }
        let (rows, columns) = matrix_of(packed.shape());
        let weight = self.constant(&packed.to_device_words()?, packed.element(), rows, columns);
        let bias = match node.inputs.get(2).copied().flatten() {
            Some(_) => {
                let words: Vec<u32> = self.weight(node, 2)?.to_f32().iter().map(|x| x.to_bits()).collect();
                Some(self.constant(&words, Element::F32, 1, words.len()))
            }
            None => None,
        };
        let rows = batch * out_height * out_width;
        let target = self.target(y, x.element, Order::ChannelsLast, [rows, outputs]);
        let (out, out_params) = (target.matrix, target.params);
        d.out = out.element;
        let shapes = format!(
            "[{batch}, {height}, {width}, {channels}] -> [{out_height}, {out_width}, {outputs}] by {:?}",
            window.kernel
        );
        let why = "each pixel gathers the windows that reach it";
        self.step(&node.name, "conv_transpose", shapes, why, &[x, weight, out], move |s| {
            crate::ops::ConvTranspose::with_kernels(s.kernels, &d)?.bind(&ConvTransposeBindings {
                x: s.view(&x),
                batch,
                size: [height, width],
                weight: s.view(&weight),
                bias: bias.as_ref().map(|m| s.view(m)),
                out_params: out_params.as_ref().map(|m| s.view(m)),
                out: s.view(&out),
            })
        });
        // Each element of x by each of its weights, but for what falls outside.
        self.products(
            batch * height * width * channels * (outputs / groups) * window.kernel.iter().product::<usize>(),
        );
        self.reached(target, Order::ChannelsLast);
        Ok(())
    }
}
