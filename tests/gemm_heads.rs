//! Products side by side in the rows of a matrix, as the heads of an attention are, against the reference one by one.

#[path = "common/gpu.rs"]
mod gpu;

use gpu::{Guarded, POISON, Rng, gpu, has_broadcast};
use half::f16;
use weighbridge::Error;
use weighbridge::graph::Activation;
use weighbridge::ops::{Blocking, Gemm, GemmBindings, GemmDescriptor, HeadColumns, Heads, Layout};
use weighbridge::reference::{self, BLayout, Storage};
use weighbridge::tensor::{Data, Element, Tensor, View};

/// Where one operand's matrices are: below each other, or side by side with so many columns before and after them.
#[derive(Clone, Copy, Debug)]
struct Place {
    beside: bool,
    before: usize,
    after: usize,
}

impl Place {
    const BELOW: Self = Self { beside: false, before: 0, after: 0 };

    fn beside(before: usize, after: usize) -> Self {
        Self { beside: true, before, after }
    }

    fn heads(self, columns: usize) -> Option<HeadColumns> {
        self.beside.then_some(HeadColumns { first: self.before, columns })
    }

    /// Rows and columns of the whole.
    fn shape(self, outer: usize, count: usize, [rows, columns]: [usize; 2]) -> [usize; 2] {
        match self.beside {
            true => [outer * rows, self.before + count * columns + self.after],
            false => [outer * count * rows, columns],
        }
    }

    /// Where an element of a matrix is in the whole.
    fn index(self, batch: usize, count: usize, [rows, columns]: [usize; 2], [r, c]: [usize; 2]) -> usize {
        let width = self.before + count * columns + self.after;
        match self.beside {
            true => (batch / count * rows + r) * width + self.before + batch % count * columns + c,
            false => (batch * rows + r) * columns + c,
        }
    }

    /// The whole, with 7e4 (infinity in f16) where no matrix is.
    fn spread(self, outer: usize, count: usize, shape: [usize; 2], v: &[f32]) -> Vec<f32> {
        let [rows, columns] = shape;
        let mut all = vec![7e4; self.shape(outer, count, shape).iter().product()];
        for (i, &x) in v.iter().enumerate() {
            let (batch, at) = (i / (rows * columns), i % (rows * columns));
            all[self.index(batch, count, shape, [at / columns, at % columns])] = x;
        }
        all
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    element: Element,
    out: Element,
    layout: Layout,
    blocking: Blocking,
    outer: usize,
    count: usize,
    m: usize,
    n: usize,
    k: usize,
    places: [Place; 3],
}

fn tensor(element: Element, shape: [usize; 2], v: &[f32]) -> Tensor {
    let data = match element {
        Element::F32 => Data::F32(v.to_vec()),
        _ => Data::F16(v.iter().map(|&x| f16::from_f32(x)).collect()),
    };
    Tensor::new(shape, data).unwrap()
}

fn check(gpu: &weighbridge::Gpu, c: Case) {
    let mut rng = Rng((c.m * 31 + c.n * 7 + c.k) as u64);
    let batch = c.outer * c.count;
    let b_shape = if c.layout == Layout::Nk { [c.n, c.k] } else { [c.k, c.n] };
    let round = |v: Vec<f32>| tensor(c.element, [1, v.len()], &v).to_f32();
    let (a, b) = (round(rng.f32s(batch * c.m * c.k)), round(rng.f32s(batch * c.n * c.k)));
    let upload = |place: Place, shape, v: &[f32]| {
        let whole = place.shape(c.outer, c.count, shape);
        let buffer =
            gpu.upload(&tensor(c.element, whole, &place.spread(c.outer, c.count, shape, v))).unwrap();
        (buffer, whole)
    };
    let (a_buffer, a_whole) = upload(c.places[0], [c.m, c.k], &a);
    let (b_buffer, b_whole) = upload(c.places[1], b_shape, &b);
    let [out_rows, out_columns] = c.places[2].shape(c.outer, c.count, [c.m, c.n]);
    let out_words = c.out.words(out_columns);
    let out = Guarded::new(gpu, out_rows * out_words);
    let d = GemmDescriptor {
        element: c.element,
        out: c.out,
        layout: c.layout,
        blocking: Some(c.blocking),
        ..Default::default()
    };
    let heads = Heads {
        count: c.count,
        a: c.places[0].heads(c.k),
        b: c.places[1].heads(b_shape[1]),
        out: c.places[2].heads(c.n),
    };
    let bindings = GemmBindings {
        out_params: None,
        a: View::new(&a_buffer, c.element, a_whole[0], a_whole[1]),
        b: View::new(&b_buffer, c.element, b_whole[0], b_whole[1]),
        bias: None,
        out: View::new(&out.buffer, c.out, out_rows, out_columns),
        batch,
    };
    let gemm = Gemm::new(gpu.device(), &d).unwrap();
    let call = gemm.bind_heads(&bindings, &heads).unwrap_or_else(|e| panic!("{c:?}: {e}"));
    gpu.submit(|pass| call.record(pass));
    let words = out.words(gpu);

    let args = reference::Gemm {
        batch,
        m: c.m,
        n: c.n,
        k: c.k,
        a: &a,
        b: &b,
        layout: if c.layout == Layout::Nk { BLayout::Nk } else { BLayout::Kn },
        bias: None,
        activation: Activation::Identity,
    };
    let storage = if c.out == Element::F16 { Storage::F16 } else { Storage::F32 };
    let want = reference::gemm(&args).unwrap();
    let bound = reference::gemm_bound(&args, storage).unwrap();
    let per_word = c.out.per_word();
    let mut written = vec![false; words.len()];
    for (i, (want, bound)) in want.iter().zip(&bound).enumerate() {
        let (product, at) = (i / (c.m * c.n), i % (c.m * c.n));
        let place = c.places[2].index(product, c.count, [c.m, c.n], [at / c.n, at % c.n]);
        let (row, column) = (place / out_columns, place % out_columns);
        let word = row * out_words + column / per_word;
        written[word] = true;
        let y = match c.out {
            Element::F32 => f64::from(f32::from_bits(words[word])),
            _ => f16::from_bits((words[word] >> (16 * (column % 2))) as u16).to_f64(),
        };
        assert!((y - want).abs() <= *bound, "{c:?} at {i}: {y} is not {want} +- {bound}");
    }
    for (word, written) in words.iter().zip(written) {
        assert!(written || *word == POISON, "{c:?}: wrote beside the heads");
    }
}

fn all_places(blocking: Blocking) {
    let Some(gpu) = gpu() else { return };
    if matches!(blocking, Blocking::Broadcast { .. }) && !has_broadcast(gpu) {
        return;
    }
    let [tile_m, tile_n] = blocking.tile().map(|t| t as usize);
    for (element, out) in [(Element::F32, Element::F32), (Element::F16, Element::F16)] {
        for layout in [Layout::Nk, Layout::Kn] {
            let base = Case {
                element,
                out,
                layout,
                blocking,
                outer: 2,
                count: 3,
                m: 5,
                n: 8,
                k: 16,
                places: [Place::beside(0, 0); 3],
            };
            // Each operand alone, all, none; whole vectors and not; columns of others before and after.
            for which in [0b111, 0b001, 0b010, 0b100, 0b000] {
                let place = |i: usize, before, after| match which >> i & 1 {
                    1 => Place::beside(before, after),
                    _ => Place::BELOW,
                };
                for (n, k, before, after) in [(8, 16, 0, 0), (8, 16, 48, 16), (6, 10, 2, 4)] {
                    let places = std::array::from_fn(|i| place(i, before, after));
                    check(gpu, Case { n, k, places, ..base });
                }
            }
            // Around the tile, as attention's scores and values are.
            for (m, n, k) in
                [(tile_m + 1, tile_n + 2, 8), (tile_m - 1, 4, tile_n), (1, tile_n, 20), (0, 4, 4)]
            {
                let beside = Place::beside(2 * k, 0);
                check(gpu, Case { m, n, k, places: [beside, beside, Place::BELOW], ..base });
                check(
                    gpu,
                    Case { m, n, k, places: [Place::BELOW, beside, Place::beside(0, 0)], outer: 1, ..base },
                );
            }
        }
    }
}

#[test]
fn broadcast() {
    all_places(Blocking::Broadcast { lanes: 8, groups: 2, quads: 1 });
}

#[test]
fn direct() {
    all_places(Blocking::Direct { lanes: 8, rows: 4, quads: 1 });
}

#[test]
fn tiled() {
    all_places(Blocking::TILED);
}

#[test]
fn errors_have_the_numbers() {
    let Some(gpu) = gpu() else { return };
    let buffer = gpu.upload_words(&[0; 4096]).unwrap();
    let fails = |layout, element, columns: [usize; 3], heads: Heads, batch| {
        let d = GemmDescriptor { element, out: element, layout, ..Default::default() };
        let view = |columns| View::new(&buffer, element, 8, columns);
        let [a, b, out] = columns.map(view);
        let bindings = GemmBindings { out_params: None, a, b, bias: None, out, batch };
        match Gemm::new(gpu.device(), &d).unwrap().bind_heads(&bindings, &heads) {
            Err(error) => error,
            Ok(_) => panic!("{heads:?} is bound"),
        }
    };
    let at = |first, columns| Some(HeadColumns { first, columns });
    let heads = Heads { count: 2, a: at(0, 4), b: at(0, 4), out: at(0, 8) };
    let (nk, f32) = (Layout::Nk, Element::F32);
    let message = |e: Error| e.to_string();
    assert!(matches!(fails(Layout::Packed, f32, [8, 8, 16], heads, 2), Error::Argument { .. }));
    let e = fails(nk, f32, [8, 8, 16], Heads { count: 3, ..heads }, 2);
    assert!(message(e).contains("2 products in heads of 3"));
    let e = fails(nk, f32, [8, 8, 16], Heads { a: at(1, 4), ..heads }, 2);
    assert!(message(e).contains("2 heads of 4 columns from column 1 on are not within the 8 of a"));
    let e = fails(nk, f32, [8, 8, 16], Heads { b: at(0, 3), ..heads }, 2);
    assert!(message(e).contains("expected [8, 4]"));
    let odd = Heads { a: at(1, 3), b: at(0, 3), ..heads };
    assert!(message(fails(nk, Element::F16, [8, 8, 16], odd, 2)).contains("whole words of 2"));
    let many = Heads { count: 70_000, ..heads };
    assert!(matches!(fails(nk, f32, [8, 8, 16], many, 70_000), Error::Limit { needed: 70_000, .. }));
}
