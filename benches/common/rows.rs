//! What is normalized along rows: softmax and layer normalization.

use super::elementwise::{naive, ours, upload};
use super::{Case, Group, Role, Work, buffer, random, read};
use std::rc::Rc;
use weighbridge::Gpu;
use weighbridge::ops::{
    Add, AddBindings, AddDescriptor, Call, Norm, NormBindings, NormDescriptor, NormInt8, QuantizeRows,
    QuantizeRowsBindings, QuantizeRowsDescriptor, Softmax, SoftmaxBindings, SoftmaxDescriptor, Team,
};
use weighbridge::quant::Scheme;
use weighbridge::reference;
use weighbridge::tensor::{Element, Tensor, View};

/// Rows and columns: scores of attention, short and long.
pub const SOFTMAX: [[usize; 2]; 3] = [[65_536, 16], [16_384, 128], [4096, 1024]];
pub const NORM: [[usize; 2]; 2] = [[16_384, 128], [4096, 768]];
pub const BESIDE: [[usize; 2]; 2] = [[4096, 384], [2048, 768]];

pub fn name(op: &str, [rows, columns]: [usize; 2]) -> String {
    format!("{op} {rows}x{columns}")
}

fn matrix(buffer: &wgpu::Buffer, [rows, columns]: [usize; 2]) -> View<'_> {
    View::new(buffer, Element::F32, rows, columns)
}

fn bytes(buffer: &wgpu::Buffer, [rows, columns]: [usize; 2]) -> View<'_> {
    View::new(buffer, Element::I8, rows, columns)
}

/// Which threads share a row, and whether in their registers.
type Kind = (Team, bool);
const TEAMS: [Kind; 2] = [(Team::Thread, false), (Team::Workgroup, false)];
const ALL: [Kind; 3] = [(Team::Thread, true), (Team::Thread, false), (Team::Workgroup, false)];

/// The naive kernel, then ours by each team, all within 1e-5 of the largest result.
fn group(
    gpu: &Gpu,
    (op, shape): (&str, [usize; 2]),
    from: &[&wgpu::Buffer],
    want: Vec<f32>,
    kinds: &[Kind],
    bind: impl Fn(&wgpu::Buffer, Kind) -> weighbridge::Result<Call>,
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
    for kind in kinds {
        let out = buffer(gpu, want.len());
        cases.push(ours(bind(&out, *kind).unwrap_or_else(|e| panic!("{e}")), check(out.clone())));
    }
    Group { name: name(op, shape), work: Work::Bytes(8 * (rows * columns) as u64), cases }
}

/// Softmax of each row.
pub fn softmax(gpu: &Gpu, [rows, columns]: [usize; 2]) -> Group {
    let x = Tensor::f32([rows, columns], random(31, rows * columns)).expect("as many elements");
    let want = reference::softmax(&x, 1, false).expect("floats").to_f32();
    let from = upload(gpu, &x.to_f32());
    group(gpu, ("softmax", [rows, columns]), &[&from], want, &TEAMS, |out, (team, _)| {
        let op = Softmax::with_kernels(gpu.kernels(), &SoftmaxDescriptor::default())?.with_team(team);
        op.bind(&SoftmaxBindings {
            out_params: None,
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
    group(gpu, ("norm", [rows, columns]), &[&from, &by], want, &ALL, |out, (team, registers)| {
        let scale = Some(View::new(&by, Element::F32, 1, columns));
        let op = Norm::with_kernels(gpu.kernels(), &NormDescriptor::default())?;
        let op = op.with_team(team).with_registers(registers);
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

/// What stands between two products of a transformer: a sum that is kept, its normalization, and that in int8 by rows.
/// Three kernels one after the other, and one.
pub fn beside(gpu: &Gpu, shape: [usize; 2]) -> Group {
    let [rows, columns] = shape;
    let len = rows * columns;
    let inputs = [34, 35].map(|seed| upload(gpu, &random(seed, len)));
    let weights = [36, 37].map(|seed| upload(gpu, &random(seed, columns)));
    let scheme = Scheme::int8_affine();
    let outputs = || ([buffer(gpu, len), buffer(gpu, len / 4), buffer(gpu, rows * 4)], buffer(gpu, len));
    let [a, b] = inputs.each_ref().map(|i| matrix(i, shape));
    let [scale, bias] = weights.each_ref().map(|w| Some(View::new(w, Element::F32, 1, columns)));
    let kernels = gpu.kernels();
    let separate =
        |([sum, out, params], normed): &([wgpu::Buffer; 3], wgpu::Buffer)| -> weighbridge::Result<[Call; 3]> {
            let (sum, normed, params) =
                (matrix(sum, shape), matrix(normed, shape), View::params(params, rows));
            let add = Add::with_kernels(kernels, &AddDescriptor::default())?;
            let norm = Norm::with_kernels(kernels, &NormDescriptor::default())?;
            let descriptor = QuantizeRowsDescriptor { scheme, ..Default::default() };
            let quantize = QuantizeRows::with_kernels(kernels, &descriptor)?;
            let (out, int8, addend) = (bytes(out, shape), None, None);
            Ok([
                add.bind(&AddBindings {
                    out_params: None,
                    a,
                    a_shape: &shape,
                    b,
                    b_shape: &shape,
                    params: None,
                    out: sum,
                })?,
                norm.bind(&NormBindings {
                    x: sum,
                    addend,
                    sum: None,
                    scale,
                    bias,
                    channels: 0,
                    out: Some(normed),
                    int8,
                })?,
                quantize.bind(&QuantizeRowsBindings { x: normed, out, params })?,
            ])
        };
    let made = outputs();
    let calls = separate(&made).unwrap_or_else(|e| panic!("{e}"));
    let ([_, want, _], _) = made;
    gpu.submit(|pass| calls.iter().for_each(|call| call.record(pass)));
    let want = Rc::new(read(gpu, &want, len / 4));
    let check = |out: wgpu::Buffer| -> Box<dyn Fn(&Gpu)> {
        let want = want.clone();
        // Rows that are summed in another order may round elsewhere.
        Box::new(move |gpu| {
            let got = read(gpu, &out, len / 4);
            let off = got.iter().zip(want.iter()).filter(|(a, b)| a != b).count();
            assert!(off * 100 < got.len(), "{off} of {} words differ", got.len());
        })
    };
    let record = Box::new(move |pass: &mut wgpu::ComputePass<'_>| calls.iter().for_each(|c| c.record(pass)));
    let mut cases = vec![Case {
        name: "add, norm, quantize_rows".into(),
        role: Role::F32,
        record,
        check: Box::new(|_| {}),
    }];
    for (team, registers) in ALL {
        let ([sum, out, params], _) = outputs();
        let d = NormDescriptor { measure: Some(scheme), ..Default::default() };
        let call = Norm::with_kernels(kernels, &d).and_then(|op| {
            op.with_team(team).with_registers(registers).bind(&NormBindings {
                x: a,
                addend: Some(b),
                sum: Some(matrix(&sum, shape)),
                scale,
                bias,
                channels: 0,
                out: None,
                int8: Some(NormInt8 { out: bytes(&out, shape), params: View::params(&params, rows) }),
            })
        });
        let case = ours(call.unwrap_or_else(|e| panic!("{e}")), check(out.clone()));
        cases.push(Case { role: Role::Ours, ..case });
    }
    // Two read, one and a quarter written.
    Group { name: name("sum, norm and int8", shape), work: Work::Bytes(13 * len as u64), cases }
}
