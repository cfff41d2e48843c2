//! Ops that move elements: strided copies, gathers, resizes and transposed convolutions, bit for bit where they copy,
//! alone and in plans.

#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/place.rs"]
mod place;

use gpu::{Rng, gpu};
use half::f16;
use place::{Input, Output, PLACES, Place, float, run, upload_params};
use weighbridge::graph::{Coordinates, Interpolation, Nearest, PadMode, SliceAxis, Window};
use weighbridge::ops::{
    Axis, ConvTranspose, ConvTransposeBindings, ConvTransposeDescriptor, Gather, GatherBindings,
    GatherDescriptor, Outside, Resize, ResizeBindings, ResizeDescriptor, ResizeTap, Strided, StridedBindings,
    StridedDescriptor,
};
use weighbridge::quant::QuantParams;
use weighbridge::reference::{self, Storage};
use weighbridge::tensor::{Data, Element, Tensor, View};
use weighbridge::{Error, Gpu};

const ELEMENTS: [Element; 4] = [Element::F32, Element::I32, Element::F16, Element::I8];

fn random(rng: &mut Rng, element: Element, shape: &[usize]) -> Tensor {
    let n = shape.iter().product();
    let data = match element {
        Element::F32 => Data::F32(rng.f32s(n)),
        Element::I32 => Data::I32((0..n).map(|_| rng.next() as i32).collect()),
        Element::F16 => Data::F16(rng.f32s(n).into_iter().map(f16::from_f32).collect()),
        _ => Data::I8(rng.i8s(n)),
    };
    Tensor::new(shape, data).unwrap()
}

/// Rows and columns of a shape.
fn matrix(shape: &[usize]) -> [usize; 2] {
    [shape.iter().rev().skip(1).product(), shape.last().copied().unwrap_or(1)]
}

fn as_matrix(t: Tensor) -> Tensor {
    let shape = matrix(t.shape());
    t.reshape(shape).unwrap()
}

fn strided(gpu: &Gpu, x: &Tensor, axes: &[Axis], fill: u32, want: Tensor, place: Place) {
    let shape = want.shape().to_vec();
    let [rows, columns] = matrix(&shape);
    let input = Input::new(gpu, x, place);
    let out = Output::new(gpu, x.element(), rows, columns, place);
    let op = Strided::with_kernels(gpu.kernels(), &StridedDescriptor { element: x.element() }).unwrap();
    let b = StridedBindings {
        x: input.view(),
        x_shape: x.shape(),
        out: out.view(),
        out_shape: &shape,
        axes,
        fill,
    };
    run(gpu, op.bind(&b));
    assert_eq!(out.read(gpu), as_matrix(want), "{:?} {:?} {axes:?} {place:?}", x.element(), x.shape());
}

#[test]
fn slices() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(1);
    for element in ELEMENTS {
        for (i, (shape, parts)) in [
            (&[7][..], &[(0, 1, 6, 1)][..]),
            (&[9], &[(0, -1, -100, -2)]),
            (&[5, 16], &[(1, 4, 12, 1)]),
            (&[5, 64], &[(1, 16, 48, 1), (0, 1, 4, 2)]),
            (&[3, 65], &[(1, 1, 65, 1)]),
            (&[3, 6, 10], &[(1, 1, 5, 1)]),
            (&[2, 6, 3, 5], &[(1, 5, 0, -2), (3, 1, 4, 1)]),
            (&[600, 3], &[(0, 1, 600, 1)]),
            (&[2, 2, 3, 2, 2, 2, 3, 5], &[(2, 1, 3, 1), (5, 1, 2, 1), (7, 4, 0, -1)]),
            (&[4, 4], &[(0, 2, 2, 1)]),
            (&[0, 4], &[(1, 1, 3, 1)]),
        ]
        .into_iter()
        .enumerate()
        {
            let x = random(&mut rng, element, shape);
            let parts: Vec<SliceAxis> =
                parts.iter().map(|&(axis, start, end, step)| SliceAxis { axis, start, end, step }).collect();
            let mut axes: Vec<Axis> = shape.iter().map(|&n| Axis::whole(n)).collect();
            for p in &parts {
                let (start, length) = p.range(shape[p.axis]);
                axes[p.axis] =
                    Axis { start: start as i64, length, step: p.step, ..Axis::whole(shape[p.axis]) };
            }
            for place in [PLACES[i % 3], PLACES[(i + 1) % 3]] {
                strided(gpu, &x, &axes, 0, reference::slice(&x, &parts).unwrap(), place);
            }
        }
    }
}

#[test]
fn pads_tiles_and_expands() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(2);
    let modes = [
        (PadMode::Constant(3.0), Outside::Fill),
        (PadMode::Reflect, Outside::Reflect),
        (PadMode::Edge, Outside::Edge),
        (PadMode::Wrap, Outside::Wrap),
    ];
    for element in ELEMENTS {
        let fill = match element {
            Element::F32 => 3f32.to_bits(),
            Element::F16 => f16::from_f32(3.0).to_bits().into(),
            _ => 3,
        };
        for (i, (shape, begin, end)) in [
            (&[5][..], &[2][..], &[9][..]),
            (&[1], &[3], &[2]),
            (&[3, 4], &[1, -1], &[2, 3]),
            (&[2, 3, 5], &[0, 1, 0], &[0, 2, 0]),
            (&[2, 3, 8], &[1, 1, 0], &[0, 2, 0]),
            (&[2, 5, 5, 16], &[0, 1, 1, 0], &[0, 1, 1, 0]),
            (&[70, 9], &[0, 1], &[0, 0]),
        ]
        .into_iter()
        .enumerate()
        {
            let x = random(&mut rng, element, shape);
            for (mode, outside) in modes {
                let axes: Vec<Axis> = (0..shape.len())
                    .map(|d| Axis {
                        length: (shape[d] as i64 + begin[d] + end[d]) as usize,
                        from: (-begin[d]).max(0) as usize,
                        n: (shape[d] as i64 + begin[d].min(0) + end[d].min(0)) as usize,
                        start: -begin[d].max(0),
                        step: 1,
                        outside,
                        to: 0,
                    })
                    .collect();
                strided(gpu, &x, &axes, fill, reference::pad(&x, begin, end, mode).unwrap(), PLACES[i % 3]);
            }
            let repeats: Vec<usize> = (0..shape.len()).map(|d| d % 2 + 2).collect();
            let along =
                |(&n, &r): (&usize, &usize)| Axis { length: n * r, outside: Outside::Wrap, ..Axis::whole(n) };
            let axes: Vec<Axis> = shape.iter().zip(&repeats).map(along).collect();
            strided(gpu, &x, &axes, 0, reference::tile(&x, &repeats).unwrap(), PLACES[(i + 1) % 3]);
        }
        for (from, to) in [([1, 5], [3, 5]), ([4, 1], [4, 6]), ([1, 1], [7, 9]), ([1, 16], [65, 16])] {
            let x = random(&mut rng, element, &from);
            let along =
                |d: usize| Axis { length: to[d], step: i64::from(from[d] > 1), ..Axis::whole(from[d]) };
            strided(gpu, &x, &[along(0), along(1)], 0, reference::expand(&x, &to).unwrap(), PLACES[1]);
        }
    }
}

#[test]
fn puts_tensors_together() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(3);
    for element in ELEMENTS {
        for (i, (outer, widths)) in
            [(3, &[1, 1, 1][..]), (2, &[3, 5, 0, 2, 7]), (5, &[16, 32, 4]), (67, &[5, 11]), (1, &[4, 8, 1])]
                .into_iter()
                .enumerate()
        {
            for axis in 0..3 {
                let parts: Vec<Tensor> = widths
                    .iter()
                    .map(|&w| {
                        let mut shape = [outer, 2, 6];
                        shape[axis] = w;
                        random(&mut rng, element, &shape)
                    })
                    .collect();
                let want = reference::concat(&parts.iter().collect::<Vec<_>>(), axis).unwrap();
                let shape = want.shape().to_vec();
                let place = PLACES[i % 3];
                let out = Output::new(gpu, element, shape[0] * shape[1], shape[2], place);
                let op = Strided::with_kernels(gpu.kernels(), &StridedDescriptor { element }).unwrap();
                let mut to = 0;
                for x in &parts {
                    let mut axes: Vec<Axis> = x.shape().iter().map(|&n| Axis::whole(n)).collect();
                    axes[axis].to = to;
                    to += x.shape()[axis];
                    let input = Input::new(gpu, x, PLACES[(i + axis) % 3]);
                    let b = StridedBindings {
                        x: input.view(),
                        x_shape: x.shape(),
                        out: out.view(),
                        out_shape: &shape,
                        axes: &axes,
                        fill: 0,
                    };
                    run(gpu, op.bind(&b));
                }
                assert_eq!(out.read(gpu), as_matrix(want), "{element:?} {widths:?} along {axis}");
            }
        }
    }
}

#[test]
fn refuses_regions_that_leave_their_tensors() {
    let Some(gpu) = gpu() else { return };
    let x = Input::new(gpu, &Tensor::f32([2, 3], [0.0; 6]).unwrap(), PLACES[0]);
    let out = Output::new(gpu, Element::F32, 2, 3, PLACES[0]);
    let op = Strided::new(gpu.device(), &Default::default()).unwrap();
    let whole = Axis::whole(3);
    for bad in [
        Axis { to: 1, ..whole },
        Axis { start: 1, ..whole },
        Axis { start: 1, step: -1, ..whole },
        Axis { from: 1, ..whole },
        Axis { length: 4, ..whole },
        Axis { n: 0, outside: Outside::Edge, ..whole },
        Axis { step: i64::MAX, outside: Outside::Fill, ..whole },
    ] {
        let b = StridedBindings {
            x: x.view(),
            x_shape: &[2, 3],
            out: out.view(),
            out_shape: &[2, 3],
            axes: &[Axis::whole(2), bad],
            fill: 0,
        };
        assert!(matches!(op.bind(&b), Err(Error::Shape { .. })), "{bad:?}");
    }
}

fn gather(gpu: &Gpu, x: &Tensor, indices: &[i32], index_shape: &[usize], axis: usize, place: Place) {
    let indices = Tensor::new(index_shape, Data::I32(indices.to_vec())).unwrap();
    let want = reference::gather(x, &indices, axis).unwrap();
    let element = x.element();
    let place = if axis + 1 == x.shape().len() && element.per_word() == 1 { PLACES[0] } else { place };
    let input = Input::new(gpu, x, place);
    let index = Input::new(gpu, &indices, Place { gap: 0, ..place });
    let [rows, columns] = matrix(want.shape());
    let out = Output::new(gpu, element, rows, columns, place);
    let op = Gather::with_kernels(gpu.kernels(), &GatherDescriptor { element, out: element }).unwrap();
    let b = GatherBindings {
        x: input.view(),
        shape: x.shape(),
        axis,
        indices: index.view(),
        params: None,
        out: out.view(),
    };
    run(gpu, op.bind(&b));
    assert_eq!(out.read(gpu), as_matrix(want), "{element:?} {:?} at {index_shape:?} along {axis}", x.shape());
}

#[test]
fn gathers() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(4);
    for element in ELEMENTS {
        for (i, (shape, axis)) in [
            (&[7][..], 0),
            (&[7, 5], 0),
            (&[7, 5], 1),
            (&[7, 16], 0),
            (&[3, 7, 2, 9], 1),
            (&[3, 7, 64], 1),
            (&[3, 5, 7], 2),
            (&[600, 3], 0),
        ]
        .into_iter()
        .enumerate()
        {
            let x = random(&mut rng, element, shape);
            let n = shape[axis] as i32;
            for index_shape in [&[][..], &[1], &[5], &[3, 2], &[130], &[0]] {
                let m = index_shape.iter().product();
                let indices: Vec<i32> =
                    (0..m).map(|_| rng.next() as i32 % n - rng.next() as i32 % 2 * n).collect();
                gather(gpu, &x, &indices, index_shape, axis, PLACES[(i + m) % 3]);
            }
        }
    }
}

#[test]
fn gathers_rows_of_int8_as_floats() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(5);
    for (n, columns, by_row) in [(9, 5, true), (3, 384, false), (600, 8, true), (600, 3, true)] {
        let q = rng.i8s(n * columns);
        let count = if by_row { n } else { 1 };
        let params: Vec<QuantParams> = (0..count)
            .map(|i| QuantParams::new(0.01 + i as f32 * 0.003, i as i32 % 7 - 3, -128, 127).unwrap())
            .collect();
        let table = Tensor::new([n, columns], Data::I8(q.clone())).unwrap();
        let indices: Vec<i32> = (0..70).map(|_| rng.next() as i32 % n as i32).collect();
        let values: Vec<f32> = indices
            .iter()
            .flat_map(|&i| {
                let p = params[if by_row { i as usize } else { 0 }];
                let row = &q[i as usize * columns..][..columns];
                row.iter().map(move |&q| (i32::from(q) - p.zero_point) as f32 * p.scale).collect::<Vec<_>>()
            })
            .collect();
        for out in [Element::F32, Element::F16] {
            for place in PLACES {
                let input = Input::new(gpu, &table, place);
                let index =
                    Input::new(gpu, &Tensor::new([70], Data::I32(indices.clone())).unwrap(), PLACES[0]);
                let buffer = upload_params(gpu, &params);
                let output = Output::new(gpu, out, 70, columns, place);
                let d = GatherDescriptor { element: Element::I8, out };
                let op = Gather::with_kernels(gpu.kernels(), &d).unwrap();
                let b = GatherBindings {
                    x: input.view(),
                    shape: &[n, columns],
                    axis: 0,
                    indices: index.view(),
                    params: Some(View::params(&buffer, count)),
                    out: output.view(),
                };
                run(gpu, op.bind(&b));
                // One product of two f32: rounded once, in a direction that WGSL leaves open.
                for (got, &want) in output.read(gpu).to_f32().iter().zip(&values) {
                    let eps = if out == Element::F32 { f32::EPSILON } else { f16::EPSILON.to_f32() };
                    let bound =
                        want.abs() * eps + f16::MIN_POSITIVE.to_f32() * f32::from(out == Element::F16);
                    assert!((got - want).abs() <= bound, "{got} is not {want} ({out:?})");
                }
            }
        }
    }
}

/// Along the two axes of `[outer, h, w, inner]`.
fn resize(gpu: &Gpu, x: &Tensor, out_size: [usize; 2], interpolation: Interpolation, place: Place) {
    let &[outer, h, w, inner] = x.shape() else { panic!("{:?}", x.shape()) };
    let linear = interpolation == Interpolation::Linear;
    let geometry = weighbridge::graph::Resize {
        sizes: vec![outer, out_size[0], out_size[1], inner],
        scales: vec![1.0, out_size[0] as f32 / h as f32, out_size[1] as f32 / w as f32, 1.0],
        coordinates: Coordinates::HalfPixel,
        interpolation,
    };
    let taps: Vec<ResizeTap> = [(h, 1), (w, 2)]
        .into_iter()
        .flat_map(|(n, d)| {
            let (size, scale) = (geometry.sizes[d], geometry.scales[d]);
            reference::resize_taps(n, size, scale, geometry.coordinates, interpolation)
        })
        .map(|t| ResizeTap {
            low: t.low as u32,
            high: t.high as u32,
            a: (1.0 - t.weight) as f32,
            b: t.weight as f32,
        })
        .collect();
    let element = x.element();
    let input = Input::new(gpu, x, place);
    let out = Output::new(gpu, element, outer * out_size[0] * out_size[1], inner, place);
    let buffer = gpu.upload_words(bytemuck::cast_slice(&taps)).unwrap();
    let op =
        Resize::with_kernels(gpu.kernels(), &ResizeDescriptor { element, out: element, linear }).unwrap();
    run(
        gpu,
        op.bind(&ResizeBindings {
            x: input.view(),
            outer,
            size: [h, w],
            taps: View::new(&buffer, Element::I32, taps.len(), 4),
            out_size,
            out_params: None,
            out: out.view(),
        }),
    );
    let want = as_matrix(reference::resize(x, &geometry).unwrap());
    let got = out.read(gpu);
    if !linear {
        assert_eq!(got, want, "{element:?} {:?} to {out_size:?}", x.shape());
        return;
    }
    let magnitudes: Vec<f32> = x.to_f32().iter().map(|v| v.abs()).collect();
    let magnitudes = reference::resize(&Tensor::f32(x.shape(), magnitudes).unwrap(), &geometry).unwrap();
    for ((got, want), m) in got.to_f32().iter().zip(want.to_f32()).zip(magnitudes.to_f32()) {
        // Along each of two axes a weight, a product and a sum are rounded; and the reference once.
        let mut bound = 8.0 * f32::EPSILON * m + f32::MIN_POSITIVE;
        if element == Element::F16 {
            // Both sides are then rounded to f16.
            bound += 2.0 * m * f16::EPSILON.to_f32() + f16::MIN_POSITIVE.to_f32();
        }
        assert!((got - want).abs() <= bound, "{got} is not {want}: {element:?} {:?}", x.shape());
    }
}

#[test]
fn resizes() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(6);
    let nearest = Interpolation::Nearest(Nearest::RoundPreferFloor);
    for (i, (shape, out_size)) in [
        ([1, 1, 1, 1], [3, 2]),
        ([2, 3, 5, 7], [6, 10]),
        ([2, 3, 5, 16], [6, 10]),
        ([1, 8, 6, 3], [3, 4]),
        ([1, 4, 4, 65], [4, 9]),
        ([3, 2, 2, 4], [0, 4]),
        ([0, 2, 2, 4], [4, 4]),
    ]
    .into_iter()
    .enumerate()
    {
        for element in ELEMENTS {
            let x = random(&mut rng, element, &shape);
            resize(gpu, &x, out_size, nearest, PLACES[i % 3]);
            if matches!(element, Element::F32 | Element::F16) {
                resize(gpu, &x, out_size, Interpolation::Linear, PLACES[i % 3]);
            }
        }
    }
}

#[test]
fn convolutions_transposed() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(7);
    let base = Window::new([3, 3], [2, 2]);
    for (i, (batch, image, channels, outputs, groups, window, more)) in [
        (1, [1, 1], 1, 1, 1, Window::new([1, 1], [1, 1]), [0, 0]),
        (2, [3, 4], 5, 7, 1, base.padded([1, 1]), [1, 1]),
        (1, [4, 4], 8, 4, 1, Window::new([2, 2], [2, 2]), [0, 0]),
        (1, [5, 3], 6, 9, 3, Window { dilation: [2, 1], ..base }, [0, 1]),
        (1, [3, 3], 8, 8, 2, Window { pad_begin: [2, 0], ..base }, [0, 0]),
        (1, [1, 9], 4, 6, 2, Window::new([1, 4], [1, 3]), [0, 0]),
        (3, [5, 5], 3, 65, 1, Window::new([3, 3], [1, 1]).padded([1, 1]), [0, 0]),
        (0, [5, 5], 3, 4, 1, base, [0, 0]),
    ]
    .into_iter()
    .enumerate()
    {
        let per_out = outputs / groups;
        for (element, storage) in [(Element::F32, Storage::F32), (Element::F16, Storage::F16)] {
            let x = random(&mut rng, element, &[batch * image[0] * image[1], channels]);
            let weight = random(&mut rng, element, &[channels, per_out, window.kernel[0], window.kernel[1]]);
            let bias = (i % 2 == 1).then(|| rng.f32s(outputs));
            let d = ConvTransposeDescriptor { element, out: element, window, groups, output_padding: more };
            let last = weight.permuted(&[0, 2, 3, 1]).unwrap().to_f32();
            let args = reference::ConvTranspose {
                batch,
                image,
                channels,
                outputs,
                groups,
                window,
                output_padding: more,
                x: &x.to_f32(),
                weight: &last,
                bias: bias.as_deref(),
            };
            let [h, w] = args.size().unwrap();
            let (want, bound) = (
                reference::conv_transpose(&args).unwrap(),
                reference::conv_transpose_bound(&args, storage).unwrap(),
            );
            let place = PLACES[i % 3];
            let input = Input::new(gpu, &x, place);
            let weight = Input::new(gpu, &d.pack(&weight).unwrap(), place);
            let bias_input =
                bias.as_ref().map(|b| Input::new(gpu, &float(Element::F32, [1, outputs], b), PLACES[0]));
            let out = Output::new(gpu, element, batch * h * w, outputs, place);
            let op = ConvTranspose::with_kernels(gpu.kernels(), &d).unwrap();
            let b = ConvTransposeBindings {
                x: input.view(),
                batch,
                size: image,
                weight: weight.view(),
                bias: bias_input.as_ref().map(Input::view),
                out_params: None,
                out: out.view(),
            };
            run(gpu, op.bind(&b));
            let got = out.read(gpu).to_f32();
            assert_eq!(got.len(), want.len());
            for ((&got, want), bound) in got.iter().zip(want).zip(bound) {
                assert!((f64::from(got) - want).abs() <= bound, "{got} is not {want} +- {bound}: {args:?}");
            }
        }
    }
}
