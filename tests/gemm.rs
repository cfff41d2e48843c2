//! `gemm` against the reference, every operand, blocking and layout, at sizes around its tiles.

#[path = "common/ending.rs"]
mod ending;
#[path = "common/gpu.rs"]
mod gpu;

use ending::{GELU, HARD_SWISH, ended_in};
use gpu::{Guarded, Rng, gpu, has_broadcast, upload_pitched};
use half::f16;
use weighbridge::graph::Activation;
use weighbridge::ops::{Blocking, Gemm, GemmBindings, GemmDescriptor, Layout, Operand, Packed};
use weighbridge::reference::{self, BLayout, Storage};
use weighbridge::tensor::{Data, Element, Tensor, View};

#[derive(Clone, Copy, Debug)]
struct Case {
    m: usize,
    n: usize,
    k: usize,
    batch: usize,
    bias: bool,
    activation: Activation,
    out: Element,
    layout: Layout,
    operand: Operand,
    blocking: Blocking,
    /// Extra words between rows.
    gap: usize,
}

fn float(element: Element, shape: [usize; 2], v: &[f32]) -> Tensor {
    let data = match element {
        Element::F32 => Data::F32(v.to_vec()),
        _ => Data::F16(v.iter().map(|&x| f16::from_f32(x)).collect()),
    };
    Tensor::new(shape, data).unwrap()
}

fn check(gpu: &weighbridge::Gpu, c: Case) {
    let mut rng = Rng((c.m * 31 + c.n * 7 + c.k) as u64);
    let element = c.operand.element();
    let a = float(element, [c.batch * c.m, c.k], &rng.f32s(c.batch * c.m * c.k));
    let bs: Vec<Tensor> = (0..c.batch).map(|_| float(element, [c.n, c.k], &rng.f32s(c.n * c.k))).collect();
    let bias = rng.f32s(c.n);
    let a_pitch = element.words(c.k) + c.gap;
    let out_pitch = c.out.words(c.n) + c.gap;
    let a_buffer = upload_pitched(gpu, &a, a_pitch);
    let (mut b_words, mut b_view) = (Vec::new(), (0, 0, 0, element));
    for b in &bs {
        match c.layout {
            Layout::Nk => {
                b_words.extend(b.to_device_words().unwrap());
                b_view = (c.n, c.k, element.words(c.k), element);
            }
            Layout::Kn => {
                let v = b.to_f32();
                let t: Vec<f32> = (0..c.n * c.k).map(|i| v[i % c.n * c.k + i / c.n]).collect();
                b_words.extend(float(element, [c.k, c.n], &t).to_device_words().unwrap());
                b_view = (c.k, c.n, element.words(c.n), element);
            }
            Layout::Packed => {
                let p = Packed::new(b, 1).unwrap();
                b_view = (p.rows, p.pitch, p.pitch, Element::I32);
                b_words.extend(p.words);
            }
        }
    }
    let b_buffer = gpu.upload_words(&b_words).unwrap();
    let bias_buffer = gpu.upload(&Tensor::f32([c.n], bias.clone()).unwrap()).unwrap();
    let out = Guarded::new(gpu, c.batch * c.m * out_pitch);
    let gemm = Gemm::new(
        gpu.device(),
        &GemmDescriptor {
            element,
            out: c.out,
            layout: c.layout,
            activation: c.activation,
            operand: Some(c.operand),
            blocking: Some(c.blocking),
        },
    )
    .unwrap();
    let bindings = GemmBindings {
        out_params: None,
        a: View::new(&a_buffer, element, c.batch * c.m, c.k).with_pitch(a_pitch),
        b: View::new(&b_buffer, b_view.3, c.batch * b_view.0, b_view.1).with_pitch(b_view.2),
        bias: c.bias.then(|| View::new(&bias_buffer, Element::F32, 1, c.n)),
        out: View::new(&out.buffer, c.out, c.batch * c.m, c.n).with_pitch(out_pitch),
        batch: c.batch,
    };
    let call = gemm.bind(&bindings).unwrap_or_else(|e| panic!("{c:?}: {e}"));
    if let Blocking::Tiled { split: 2.., .. } = c.blocking {
        assert_eq!(call.dispatches().len(), 2, "{c:?}");
    }
    gpu.submit(|pass| call.record(pass));
    let got = out.matrix(gpu, c.out, c.batch * c.m, c.n, out_pitch).to_f32();
    let bv: Vec<f32> = bs.iter().flat_map(|b| b.to_f32()).collect();
    let function = matches!(c.activation, Activation::Function(_));
    let args = reference::Gemm {
        batch: c.batch,
        m: c.m,
        n: c.n,
        k: c.k,
        a: &a.to_f32(),
        b: &bv,
        layout: BLayout::Nk,
        bias: c.bias.then_some(&bias),
        activation: if function { Activation::Identity } else { c.activation },
    };
    let storage = if c.out == Element::F16 { Storage::F16 } else { Storage::F32 };
    let mut want = reference::gemm(&args).unwrap();
    let inner = if function { Storage::F32 } else { storage };
    let mut bound = reference::gemm_bound(&args, inner).unwrap();
    if function {
        for (y, bound) in want.iter_mut().zip(&mut bound) {
            (*y, *bound) = ended_in(storage, c.activation, *y, *bound);
        }
        assert_eq!(want, reference::gemm(&reference::Gemm { activation: c.activation, ..args }).unwrap());
    }
    for (i, &y) in got.iter().enumerate() {
        let y = f64::from(y);
        assert!((y - want[i]).abs() <= bound[i], "{c:?} at {i}: {y} is not {} +- {}", want[i], bound[i]);
    }
}

fn base(operand: Operand, blocking: Blocking) -> Case {
    Case {
        m: 1,
        n: 1,
        k: 1,
        batch: 1,
        bias: true,
        activation: Activation::Identity,
        out: Element::F32,
        layout: Layout::Packed,
        operand,
        blocking,
        gap: 0,
    }
}

fn around_the_tile(blocking: Blocking) {
    let Some(gpu) = gpu() else { return };
    if matches!(blocking, Blocking::Broadcast { .. }) && !has_broadcast(gpu) {
        return;
    }
    let [tile_m, tile_n] = blocking.tile().map(|t| t as usize);
    for operand in [Operand::F32, Operand::F16, Operand::F16Native] {
        if operand == Operand::F16Native && !gpu.device().features().contains(wgpu::Features::SHADER_F16) {
            eprintln!("left out: no SHADER_F16");
            continue;
        }
        let base = base(operand, blocking);
        for (m, n, k) in [
            (0, 3, 8),
            (1, 1, 32),
            (tile_m - 1, tile_n - 1, 40),
            (tile_m, tile_n, 64),
            (tile_m + 1, tile_n + 1, 8),
            (2 * tile_m + 3, 2 * tile_n + 3, 24),
        ] {
            check(gpu, Case { m, n, k, ..base });
        }
        check(gpu, Case { m: 9, n: 12, k: 48, out: Element::F16, activation: Activation::Relu, ..base });
        let scaled = Case { bias: true, ..base };
        check(gpu, Case { m: tile_m + 1, n: 2 * tile_n - 1, k: 40, activation: GELU, ..scaled });
        check(gpu, Case { m: 11, n: 18, k: 32, activation: HARD_SWISH, out: Element::F16, ..scaled });
        if operand == Operand::F16Native {
            continue;
        }
        // Ragged k, rows apart, other layouts, batches.
        let clip = Activation::Clip { lo: -0.5, hi: 0.25 };
        for layout in [Layout::Nk, Layout::Kn, Layout::Packed] {
            check(
                gpu,
                Case { m: tile_m + 2, n: tile_n + 5, k: 37, layout, gap: 3, activation: clip, ..base },
            );
        }
        check(gpu, Case { m: 5, n: 7, k: 0, ..base });
        check(gpu, Case { m: 5, n: 7, k: 1, layout: Layout::Kn, ..base });
        check(gpu, Case { m: 3, n: 6, k: 19, layout: Layout::Nk, batch: 3, bias: false, ..base });
        check(gpu, Case { m: 513, n: 5, k: 8, ..base });
    }
}

#[test]
fn broadcast_small() {
    around_the_tile(Blocking::Broadcast { lanes: 8, groups: 1, quads: 1 });
}

#[test]
fn broadcast_large() {
    around_the_tile(Blocking::Broadcast { lanes: 8, groups: 4, quads: 2 });
}

#[test]
fn direct() {
    around_the_tile(Blocking::Direct { lanes: 8, rows: 8, quads: 1 });
}

#[test]
fn direct_one_row() {
    around_the_tile(Blocking::Direct { lanes: 32, rows: 1, quads: 1 });
}

#[test]
fn tiled() {
    around_the_tile(Blocking::TILED);
}

/// The sizes around a tile, in f32 and packed f16, and what is ragged.
fn sizes_around(gpu: &weighbridge::Gpu, blocking: Blocking) {
    let [tile_m, tile_n] = blocking.tile().map(|t| t as usize);
    for operand in [Operand::F32, Operand::F16] {
        let base = base(operand, blocking);
        for (m, n, k) in [
            (1, 1, 32),
            (tile_m - 1, tile_n - 1, 40),
            (tile_m, tile_n, 64),
            (tile_m + 1, tile_n + 1, 8),
            (2 * tile_m + 3, 2 * tile_n + 3, 136),
        ] {
            check(gpu, Case { m, n, k, ..base });
        }
        check(gpu, Case { m: tile_m + 2, n: tile_n + 5, k: 37, gap: 3, ..base });
        check(gpu, Case { m: 3, n: 6, k: 19, layout: Layout::Nk, batch: 3, bias: false, ..base });
        check(gpu, Case { m: 5, n: 7, k: 0, ..base });
    }
}

#[test]
fn tiled_small() {
    let Some(gpu) = gpu() else { return };
    sizes_around(gpu, Blocking::tiled(32, 32));
    // Deeper, and more rows than threads.
    let deep =
        Blocking::Tiled { rows: 64, columns: 16, words: 16, thread_rows: 8, thread_quads: 1, split: 1 };
    check(gpu, Case { m: 70, n: 35, k: 96, ..base(Operand::F32, deep) });
}

#[test]
fn tiled_large() {
    let Some(gpu) = gpu() else { return };
    let blocking = Blocking::tiled(128, 128);
    for (m, n, k) in [(127, 129, 40), (259, 130, 24)] {
        check(gpu, Case { m, n, k, ..base(Operand::F32, blocking) });
        check(gpu, Case { m, n, k, ..base(Operand::F16, Blocking::tiled(128, 64)) });
    }
}

#[test]
fn parted() {
    let Some(gpu) = gpu() else { return };
    sizes_around(gpu, Blocking::Parted { lanes: 8, parts: 4, rows: 2, quads: 1 });
    let two = Blocking::Parted { lanes: 8, parts: 8, rows: 1, quads: 2 };
    check(gpu, Case { m: 1, n: 130, k: 264, activation: GELU, ..base(Operand::F32, two) });
}

/// The tile of [`Blocking::TILED`], its sums in parts.
const fn split(split: u32) -> Blocking {
    Blocking::Tiled { rows: 64, columns: 64, words: 8, thread_rows: 8, thread_quads: 2, split }
}

#[test]
fn sums_in_parts() {
    let Some(gpu) = gpu() else { return };
    for operand in [Operand::F32, Operand::F16] {
        let tiled = base(operand, split(3));
        check(gpu, Case { m: 65, n: 67, k: 160, ..tiled });
        check(gpu, Case { m: 3, n: 10, k: 203, gap: 1, batch: 2, out: Element::F16, ..tiled });
        let many = base(operand, split(64));
        check(gpu, Case { m: 9, n: 33, k: 1000, layout: Layout::Kn, activation: GELU, ..many });
    }
}

/// Devices differ in how wide loads may be: the same with words of 32 bits.
#[test]
fn without_64_bit_integers() {
    let Some(whole) = gpu() else { return };
    let (features, limits) = (whole.device().features(), whole.device().limits());
    let small = gpu::device(whole, features - wgpu::Features::SHADER_INT64, limits);
    let direct = Blocking::Direct { lanes: 8, rows: 1, quads: 4 };
    let broadcast = Blocking::Broadcast { lanes: 8, groups: 2, quads: 2 };
    for blocking in [direct, broadcast] {
        if matches!(blocking, Blocking::Broadcast { .. }) && !has_broadcast(&small) {
            continue;
        }
        for operand in [Operand::F32, Operand::F16] {
            for gpu in [whole, &small] {
                check(gpu, Case { m: 17, n: 66, k: 72, ..base(operand, blocking) });
            }
        }
    }
}
