//! Attention in one dispatch against the reference, at sizes around its tiles.

#[path = "common/gpu.rs"]
mod gpu;

use gpu::{Guarded, POISON, Rng, gpu, has_broadcast};
use half::f16;
use weighbridge::Error;
use weighbridge::ops::{Attention, AttentionBindings, AttentionDescriptor, HeadColumns};
use weighbridge::reference;
use weighbridge::tensor::{Data, Element, Tensor, View};

#[derive(Clone, Copy, Debug)]
struct Case {
    element: Element,
    batch: usize,
    heads: usize,
    m: usize,
    n: usize,
    d: usize,
    /// Columns before the first head, and behind the last.
    around: usize,
    /// Rows of a mask, if there is one.
    mask: Option<usize>,
}

fn tensor(element: Element, shape: [usize; 2], v: &[f32]) -> Tensor {
    let data = match element {
        Element::F32 => Data::F32(v.to_vec()),
        _ => Data::F16(v.iter().map(|&x| f16::from_f32(x)).collect()),
    };
    Tensor::new(shape, data).unwrap()
}

fn check(gpu: &weighbridge::Gpu, c: Case, special: impl Fn(&mut [f32], &mut [f32])) {
    let Case { element, batch, heads, m, n, d, around, .. } = c;
    let mut rng = Rng((m * 31 + n * 7 + d) as u64);
    let round = |v: &[f32]| tensor(element, [1, v.len()], v).to_f32();
    let width = heads * d;
    let mut q = round(&rng.f32s(batch * m * width).iter().map(|x| 3.0 * x).collect::<Vec<_>>());
    let [k, v] = [0, 1].map(|_| round(&rng.f32s(batch * n * width)));
    let mut mask = c.mask.map(|rows| round(&rng.f32s(rows * n)));
    special(&mut q, mask.as_deref_mut().unwrap_or(&mut []));
    let wide = width + 2 * around;
    let spread = |v: &[f32]| {
        let rows = v.chunks(width).flat_map(|row| [&vec![7e4; around], row, &vec![7e4; around]].concat());
        let all: Vec<f32> = rows.collect();
        let rows = all.len() / wide;
        gpu.upload(&tensor(element, [rows, wide], &all)).unwrap()
    };
    let (qb, kb, vb) = (spread(&q), spread(&k), spread(&v));
    let mask_buffer = mask.as_ref().map(|v| gpu.upload(&tensor(element, [v.len() / n, n], v)).unwrap());
    let words = element.words(wide);
    let out = Guarded::new(gpu, batch * m * words);
    let at = HeadColumns { first: around, columns: d };
    let scale = 0.7;
    let op = Attention::new(gpu.device(), &AttentionDescriptor { element, out: element, scale }).unwrap();
    let view = |buffer, rows| View::new(buffer, element, rows, wide);
    let call = op
        .bind(&AttentionBindings {
            out_params: None,
            q: (view(&qb, batch * m), at),
            k: (view(&kb, batch * n), at),
            v: (view(&vb, batch * n), at),
            mask: mask_buffer.as_ref().map(|b| View::new(b, element, c.mask.unwrap(), n)),
            out: (view(&out.buffer, batch * m), at),
            heads,
            batch,
        })
        .unwrap_or_else(|e| panic!("{c:?}: {e}"));
    gpu.submit(|pass| call.record(pass));
    let got = out.words(gpu);
    let args =
        reference::Attention { batch, heads, m, n, d, q: &q, k: &k, v: &v, mask: mask.as_deref(), scale };
    let want = reference::attention(&args).unwrap();
    // |q| is at most 3, |k| and |v| 1. A score sums d products and is rounded twice more; what it is off by is a relative
    // error of its weight and of their sum. An exp is off by (3 + 2 |x|) units (WGSL), one of each weight and those that
    // scale down add up to the range of scores; n weights and n / 8 scalings round once each.
    let unit = f64::from(f32::EPSILON);
    let score = 3.0 * d as f64 * f64::from(scale) + 1.0;
    let off = (d as f64 + 4.0) * unit * score;
    let relative = 2.0 * off + unit * (16.0 + 4.0 * (2.0 * score) + 3.0 * n as f64);
    let per_word = element.per_word();
    let mut heads_words = vec![false; got.len()];
    for (i, want) in want.iter().enumerate() {
        let (row, column) = (i / width, around + i % width);
        let word = row * words + column / per_word;
        heads_words[word] = true;
        let y = match element {
            Element::F32 => f64::from(f32::from_bits(got[word])),
            _ => f16::from_bits((got[word] >> (16 * (column % 2))) as u16).to_f64(),
        };
        let stored = if element == Element::F16 { want.abs() * 2f64.powi(-10) + 2f64.powi(-24) } else { 0.0 };
        let bound = relative * (1.0 + relative) + stored;
        let equal = if want.is_nan() { y.is_nan() } else { (y - want).abs() <= bound };
        assert!(equal, "{c:?} at {i}: {y} is not {want} +- {bound}");
    }
    for (word, of_head) in got.iter().zip(heads_words) {
        assert!(of_head || *word == POISON, "{c:?}: wrote beside the heads");
    }
}

const BASE: Case =
    Case { element: Element::F32, batch: 2, heads: 3, m: 9, n: 11, d: 8, around: 0, mask: None };

#[test]
fn around_the_tiles() {
    let Some(gpu) = gpu() else { return };
    if !has_broadcast(gpu) {
        return;
    }
    for element in [Element::F32, Element::F16] {
        let base = Case { element, ..BASE };
        // 8, 16 or 32 queries a tile, 8 keys a step.
        for (m, n) in [(1, 1), (7, 9), (8, 8), (9, 7), (16, 16), (17, 31), (32, 33), (67, 40), (0, 3)] {
            check(gpu, Case { m, n, ..base }, |_, _| ());
        }
        for d in [4, 12, 32, 64] {
            check(gpu, Case { d, around: 8, mask: Some(2), ..base }, |_, _| ());
        }
        check(gpu, Case { mask: Some(1), n: 21, ..base }, |_, _| ());
        check(gpu, Case { batch: 1, heads: 1, mask: Some(1), ..base }, |_, _| ());
    }
}

#[test]
fn what_is_not_finite() {
    let Some(gpu) = gpu() else { return };
    if !has_broadcast(gpu) {
        return;
    }
    let case = Case { mask: Some(2), ..BASE };
    // Some keys left out, all of a sequence's left out, infinite and NaN scores.
    check(gpu, case, |_, mask| mask[3..8].fill(f32::NEG_INFINITY));
    check(gpu, case, |_, mask| mask[..11].fill(f32::NEG_INFINITY));
    check(gpu, case, |_, mask| mask[12] = f32::INFINITY);
    check(gpu, case, |q, _| q[5] = f32::NAN);
    check(gpu, case, |_, mask| mask[..11].fill(-1e30));
}

#[test]
fn errors_have_the_numbers() {
    let Some(gpu) = gpu() else { return };
    if !has_broadcast(gpu) {
        return;
    }
    let buffer = gpu.upload_words(&[0; 4096]).unwrap();
    let element = Element::F32;
    let op =
        Attention::new(gpu.device(), &AttentionDescriptor { element, out: element, scale: 1.0 }).unwrap();
    let at = |first, columns| HeadColumns { first, columns };
    let x = |columns, at| (View::new(&buffer, element, 4, columns), at);
    let plain = x(16, at(0, 8));
    let good = AttentionBindings {
        out_params: None,
        q: plain,
        k: plain,
        v: plain,
        mask: None,
        out: plain,
        heads: 2,
        batch: 2,
    };
    let message = |b: AttentionBindings<'_>| op.bind(&b).err().expect("it is bound").to_string();
    assert!(op.bind(&good).is_ok());
    assert!(
        message(AttentionBindings { out_params: None, batch: 3, ..good })
            .contains("4 queries and 4 keys in 3 batches")
    );
    assert!(
        message(AttentionBindings { out_params: None, k: x(16, at(4, 8)), ..good })
            .contains("from column 4 on")
    );
    let six = x(16, at(0, 6));
    assert!(message(AttentionBindings { out_params: None, q: six, ..good }).contains("heads of 6 columns"));
    let odd = x(18, at(2, 8));
    assert!(message(AttentionBindings { out_params: None, v: odd, ..good }).contains("pitch of 18 words"));
    let mask = Some(View::new(&buffer, element, 3, 2));
    assert!(message(AttentionBindings { out_params: None, mask, ..good }).contains("[1 or 2, 2]"));
    let of = |element| {
        Attention::new(gpu.device(), &AttentionDescriptor { element, out: element, scale: 1.0 }).err()
    };
    assert!(matches!(of(Element::I8), Some(Error::Element { .. })));
}
