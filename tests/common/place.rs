//! Tensors placed in buffers in awkward ways: at an offset, with gaps between rows, between poison.
#![allow(dead_code)]

use crate::gpu::{Guarded, POISON};
use half::f16;
use weighbridge::Gpu;
use weighbridge::quant::QuantParams;
use weighbridge::tensor::{Data, Element, Tensor, View};

/// Where in a buffer a matrix lies.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// Whether it begins 256 bytes into the buffer.
    pub offset: bool,
    /// Extra words between rows.
    pub gap: usize,
}

pub const PLACES: [Place; 3] =
    [Place { offset: false, gap: 0 }, Place { offset: true, gap: 3 }, Place { offset: true, gap: 4 }];

impl Place {
    fn words(self) -> usize {
        if self.offset { 64 } else { 0 }
    }
}

/// An input matrix in its buffer.
pub struct Input {
    pub buffer: wgpu::Buffer,
    element: Element,
    rows: usize,
    columns: usize,
    place: Place,
}

impl Input {
    pub fn new(gpu: &Gpu, tensor: &Tensor, place: Place) -> Self {
        let columns = tensor.shape().last().copied().unwrap_or(1);
        let rows = tensor.shape().iter().rev().skip(1).product();
        let element = tensor.element();
        let row = element.words(columns);
        let words = tensor.to_device_words().unwrap();
        let mut all = vec![POISON; place.words()];
        for r in 0..rows {
            all.extend_from_slice(&words[r * row..(r + 1) * row]);
            all.resize(all.len() + place.gap, POISON);
        }
        if words.is_empty() {
            all.push(POISON); // an empty binding has a word
        }
        Self { buffer: gpu.upload_words(&all).unwrap(), element, rows, columns, place }
    }

    pub fn view(&self) -> View<'_> {
        let pitch = self.element.words(self.columns) + self.place.gap;
        let view = View::new(&self.buffer, self.element, self.rows, self.columns);
        view.with_pitch(pitch).at(self.place.words() as u64 * 4)
    }
}

/// An output matrix in a guarded buffer of poison.
pub struct Output {
    guarded: Guarded,
    element: Element,
    rows: usize,
    columns: usize,
    place: Place,
}

impl Output {
    pub fn new(gpu: &Gpu, element: Element, rows: usize, columns: usize, place: Place) -> Self {
        let pitch = element.words(columns) + place.gap;
        let guarded = Guarded::new(gpu, place.words() + rows * pitch);
        Self { guarded, element, rows, columns, place }
    }

    fn pitch(&self) -> usize {
        self.element.words(self.columns) + self.place.gap
    }

    pub fn view(&self) -> View<'_> {
        let view = View::new(&self.guarded.buffer, self.element, self.rows, self.columns);
        view.with_pitch(self.pitch()).at(self.place.words() as u64 * 4)
    }

    /// The matrix, once everything around it has been found intact and the padding in its words zero.
    pub fn read(&self, gpu: &Gpu) -> Tensor {
        let words = self.guarded.words(gpu);
        let (before, words) = words.split_at(self.place.words());
        assert!(before.iter().all(|&w| w == POISON), "wrote before the offset");
        let row = self.element.words(self.columns);
        let used = self.columns % self.element.per_word();
        let mut dense = Vec::new();
        for r in words.chunks(self.pitch().max(1)).take(self.rows) {
            assert!(r[row..].iter().all(|&w| w == POISON), "wrote between rows");
            if used != 0 {
                assert_eq!(r[row - 1] >> (32 / self.element.per_word() * used), 0, "padding is not zero");
            }
            dense.extend_from_slice(&r[..row]);
        }
        Tensor::from_device_words(&[self.rows, self.columns], self.element, &dense).unwrap()
    }
}

/// A tensor of f32 or, rounded, of f16.
pub fn float(element: Element, shape: impl Into<Vec<usize>>, v: &[f32]) -> Tensor {
    let data = match element {
        Element::F32 => Data::F32(v.to_vec()),
        _ => Data::F16(v.iter().map(|&x| f16::from_f32(x)).collect()),
    };
    Tensor::new(shape, data).unwrap()
}

pub fn bytes(tensor: &Tensor) -> Vec<i8> {
    match tensor.data() {
        Data::I8(v) => v.clone(),
        other => panic!("not I8: {other:?}"),
    }
}

pub fn upload_params(gpu: &Gpu, params: &[QuantParams]) -> wgpu::Buffer {
    gpu.upload_words(bytemuck::cast_slice(params)).unwrap()
}

/// Runs a call and leaves it to whoever reads to wait.
pub fn run(gpu: &Gpu, call: weighbridge::Result<weighbridge::ops::Call>) {
    let call = call.unwrap_or_else(|e| panic!("{e}"));
    gpu.submit(|pass| call.record(pass));
}
