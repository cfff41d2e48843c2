//! What is normalized along rows: softmax and layer normalization.

use super::elementwise::{naive, ours, upload};
use super::{Group, Work, buffer, random, read};
use std::rc::Rc;
use weighbridge::Gpu;
use weighbridge::ops::{
    Call, Norm, NormBindings, NormDescriptor, Softmax, SoftmaxBindings, SoftmaxDescriptor, Team,
};
use weighbridge::reference;
use weighbridge::tensor::{Element, Tensor, View};

/// Rows and columns: scores of attention, short and long.
pub const SOFTMAX: [[usize; 2]; 3] = [[65_536, 16], [16_384, 128], [4096, 1024]];
pub const NORM: [[usize; 2]; 2] = [[16_384, 128], [4096, 768]];

pub fn name(op: &str, [rows, columns]: [usize; 2]) -> String {
    format!("{op} {rows}x{columns}")
}

fn matrix(buffer: &wgpu::Buffer, [rows, columns]: [usize; 2]) -> View<'_> {
    View::new(buffer, Element::F32, rows, columns)
}

/// The naive kernel, then ours by each team, all within 1e-5 of the largest result.
fn group(
    gpu: &Gpu,
    (op, shape): (&str, [usize; 2]),
    from: &[&wgpu::Buffer],
    want: Vec<f32>,
    bind: impl Fn(&wgpu::Buffer, Team) -> weighbridge::Result<Call>,
) -> Group {
    let [rows, columns] = shape;
    let want = Rc::new(want);
    let largest = want.iter().fold(0f32, |a, b| a.max(b.abs()));
    let check = |out: wgpu::Buffer| -> Box<dyn Fn(&Gpu)> {
        let want = want.clone();
        Box::new(move |gpu| {
            for (i, (&got, &want)) in read(gpu, &out, want.len()).iter().zip(want.iter()).enumerate() {
                let got = f32::from_bits(got);
                assert!((got - want).abs() <= 1e-5 * largest, "at {i}: {got} is not {want}");
            }
        })
    };
    let out = buffer(gpu, want.len());
    let buffers: Vec<&wgpu::Buffer> = from.iter().copied().chain([&out]).collect();
    let mut cases = vec![naive(gpu, op, [rows, columns, 0], &buffers, rows, check(out.clone()))];
    for team in [Team::Thread, Team::Workgroup] {
        let out = buffer(gpu, want.len());
        cases.push(ours(bind(&out, team).unwrap_or_else(|e| panic!("{e}")), check(out.clone())));
    }
    Group { name: name(op, shape), work: Work::Bytes(8 * (rows * columns) as u64), cases }
}

/// Softmax of each row.
pub fn softmax(gpu: &Gpu, [rows, columns]: [usize; 2]) -> Group {
    let x = Tensor::f32([rows, columns], random(31, rows * columns)).expect("as many elements");
    let want = reference::softmax(&x, 1, false).expect("floats").to_f32();
    let from = upload(gpu, &x.to_f32());
    group(gpu, ("softmax", [rows, columns]), &[&from], want, |out, team| {
        let op = Softmax::with_kernels(gpu.kernels(), &SoftmaxDescriptor::default())?.with_team(team);
        op.bind(&SoftmaxBindings {
            x: matrix(&from, [rows, columns]),
            mask: None,
            out: matrix(out, [rows, columns]),
        })
    })
}

/// Layer normalization with a scale for each column.
pub fn norm(gpu: &Gpu, [rows, columns]: [usize; 2]) -> Group {
    let x = Tensor::f32([rows, columns], random(32, rows * columns)).expect("as many elements");
    let scale = Tensor::f32([columns], random(33, columns)).expect("as many elements");
    let want = reference::layer_norm(&x, Some(&scale), None, 1, 1e-5, false).expect("floats").to_f32();
    let (from, by) = (upload(gpu, &x.to_f32()), upload(gpu, &scale.to_f32()));
    group(gpu, ("norm", [rows, columns]), &[&from, &by], want, |out, team| {
        let scale = Some(View::new(&by, Element::F32, 1, columns));
        let op = Norm::with_kernels(gpu.kernels(), &NormDescriptor::default())?.with_team(team);
        op.bind(&NormBindings {
            x: matrix(&from, [rows, columns]),
            addend: None,
            sum: None,
            scale,
            bias: None,
            channels: 0,
            out: Some(matrix(out, [rows, columns])),
            int8: None,
        })
    })
}
