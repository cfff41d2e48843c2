//! Products of matrices: `a [m, k]` by `b [n, k]`.

use super::{Case, Group, Role, Work, buffer, plain, random, read};
use half::f16;
use weighbridge::Gpu;
use weighbridge::ops::{
    Blocking, Choice, EpilogueBindings, Gemm, GemmBindings, GemmDescriptor, GemmI8, GemmI8Bindings,
    GemmI8Descriptor, Layout, Operand, Packed, Problem,
};
use weighbridge::quant::QuantParams;
use weighbridge::tensor::{Data, Element, Tensor, View};

const NAIVE: &str = include_str!("../../shaders/naive/gemm.wgsl");

/// What a case asks for; the rest is chosen.
type Variant = (Option<Operand>, Option<Blocking>);

fn with(operand: Operand) -> Variant {
    (Some(operand), None)
}

/// Operands of one element type, on the host and on the device.
struct Operands {
    shape: [usize; 3],
    element: Element,
    a: Tensor,
    b: Tensor,
}

impl Operands {
    fn new([m, n, k]: [usize; 3], element: Element) -> Self {
        let tensor = |seed, rows| {
            let v = random(seed, rows * k);
            let data = match element {
                Element::F16 => Data::F16(v.iter().map(|&x| f16::from_f32(x)).collect()),
                Element::I8 => Data::I8(v.iter().map(|&x| (x * 128.0).floor() as i8).collect()),
                _ => Data::F32(v),
            };
            Tensor::new([rows, k], data).expect("a whole tensor")
        };
        Self { shape: [m, n, k], element, a: tensor(1, m), b: tensor(2, n) }
    }

    /// Compares three rows with f64: within the bound of f32 sums, equal for integers.
    fn check(&self, out: wgpu::Buffer) -> Box<dyn Fn(&Gpu)> {
        let [m, n, k] = self.shape;
        let (a, b) = (self.a.to_f32(), self.b.to_f32());
        let integer = self.element == Element::I8;
        Box::new(move |gpu| {
            let got = read(gpu, &out, m * n);
            for row in [0, m / 2, m - 1] {
                for column in 0..n {
                    let (mut want, mut size) = (0.0, 0.0);
                    for i in 0..k {
                        let term = f64::from(a[row * k + i]) * f64::from(b[column * k + i]);
                        want += term;
                        size += term.abs();
                    }
                    let word = got[row * n + column];
                    let y = if integer { f64::from(word as i32) } else { f64::from(f32::from_bits(word)) };
                    let bound = if integer { 0.0 } else { (k + 2) as f64 * f64::from(f32::EPSILON) * size };
                    assert!((y - want).abs() <= bound, "[{row}, {column}] is {y}, not {want} +- {bound}");
                }
            }
        })
    }

    fn naive(&self, gpu: &Gpu) -> Case {
        let [m, n, k] = self.shape.map(|d| d as u32);
        let (head, name) = match self.element {
            Element::F16 => (
                "alias AWord = u32; alias Sum = f32; const PER_WORD: u32 = 2u;
                fn product(a: u32, b: u32) -> f32 { return dot(unpack2x16float(a), unpack2x16float(b)); }",
                "naive f16",
            ),
            Element::I8 => (
                "alias AWord = u32; alias Sum = i32; const PER_WORD: u32 = 4u;
                fn product(a: u32, b: u32) -> i32 { return dot4I8Packed(a, b); }",
                "naive i8",
            ),
            _ => (
                "alias AWord = f32; alias Sum = f32; const PER_WORD: u32 = 1u;
                fn product(a: f32, b: f32) -> f32 { return a * b; }",
                "naive f32",
            ),
        };
        let source = format!("{head}\n{NAIVE}");
        let a = gpu.upload(&self.a).expect("within the limits");
        let b = gpu.upload(&self.b).expect("within the limits");
        let out = buffer(gpu, (m * n) as usize);
        let grid = [n.div_ceil(8), m.div_ceil(8), 1];
        let record = plain(gpu, &source, "main", &[m, n, k], &[&a, &b, &out], grid);
        let role = if self.element == Element::F32 { Role::Naive } else { Role::Ours };
        Case { name: name.into(), role, record, check: self.check(out) }
    }

    fn ours(&self, gpu: &Gpu, name: &str, (operand, blocking): Variant, layout: Layout) -> Option<Case> {
        let [m, n, k] = self.shape;
        let a = gpu.upload(&self.a).expect("within the limits");
        let packed = Packed::new(&self.b, 1).expect("a matrix");
        let (b, b_element, b_shape) = match layout {
            Layout::Packed => (gpu.upload_words(&packed.words), Element::I32, [packed.rows, packed.pitch]),
            _ => (gpu.upload(&self.b), self.element, [n, k]),
        };
        let b = b.expect("within the limits");
        let out = buffer(gpu, m * n);
        let a_view = View::new(&a, self.element, m, k);
        let b_view = View::new(&b, b_element, b_shape[0], b_shape[1]);
        let call = if self.element == Element::I8 {
            let one = QuantParams::new(1.0, 0, -128, 127).expect("valid");
            let params = gpu.upload_words(bytemuck::cast_slice(&[one])).expect("within the limits");
            let sums = Tensor::new([n], Data::I32(packed.sums)).expect("one for each column");
            let sums = gpu.upload(&sums).expect("within the limits");
            let descriptor =
                GemmI8Descriptor { out: Element::I32, layout, operand, blocking, ..Default::default() };
            let bindings = GemmI8Bindings {
                a: a_view,
                b: b_view,
                epilogue: EpilogueBindings {
                    a_params: View::params(&params, 1),
                    b_params: View::params(&params, 1),
                    b_sums: View::new(&sums, Element::I32, 1, n),
                    bias: None,
                    out_params: None,
                },
                out: View::new(&out, Element::I32, m, n),
                batch: 1,
            };
            GemmI8::with_kernels(gpu.kernels(), &descriptor).and_then(|op| op.bind(&bindings))
        } else {
            let descriptor =
                GemmDescriptor { element: self.element, layout, operand, blocking, ..Default::default() };
            let bindings = GemmBindings {
                out_params: None,
                a: a_view,
                b: b_view,
                bias: None,
                out: View::new(&out, Element::F32, m, n),
                batch: 1,
            };
            Gemm::with_kernels(gpu.kernels(), &descriptor).and_then(|op| op.bind(&bindings))
        };
        let call = match call {
            Ok(call) => call,
            Err(e) => {
                eprintln!("left out: {e}");
                return None;
            }
        };
        let kernel = call.dispatches().next().map(|(label, _)| label.to_owned()).unwrap_or_default();
        let kernel = kernel.split_once('/').map_or("", |(_, variant)| variant).to_owned();
        let role =
            if operand == Some(Operand::F32) && layout == Layout::Packed { Role::F32 } else { Role::Ours };
        Some(Case {
            name: if name.is_empty() { kernel } else { format!("{name} ({kernel})") },
            role,
            record: Box::new(move |pass| call.record(pass)),
            check: self.check(out),
        })
    }
}

/// The group's name.
pub fn name([m, n, k]: [usize; 3]) -> String {
    format!("gemm {m}x{n}x{k}")
}

/// Naive kernels and ours in f32, f16 and int8.
pub fn group(gpu: &Gpu, shape: [usize; 3]) -> Group {
    let [m, n, k] = shape;
    let mut cases = Vec::new();
    let f32s = Operands::new(shape, Element::F32);
    cases.push(f32s.naive(gpu));
    cases.extend(f32s.ours(gpu, "f32", with(Operand::F32), Layout::Packed));
    cases.extend(f32s.ours(gpu, "f32, b as [n, k]", with(Operand::F32), Layout::Nk));
    let halves = Operands::new(shape, Element::F16);
    cases.push(halves.naive(gpu));
    cases.extend(halves.ours(gpu, "f16", with(Operand::F16), Layout::Packed));
    cases.extend(halves.ours(gpu, "f16", with(Operand::F16Native), Layout::Packed));
    let bytes = Operands::new(shape, Element::I8);
    cases.push(bytes.naive(gpu));
    cases.extend(bytes.ours(gpu, "int8", with(Operand::I8Dot), Layout::Packed));
    cases.extend(bytes.ours(gpu, "int8", with(Operand::I8Wide), Layout::Packed));
    Group { name: name(shape), work: Work::Operations(2 * (m * n * k) as u64), cases }
}

/// Ours with what it chooses for the device.
pub fn chosen(gpu: &Gpu, shape: [usize; 3], element: Element) -> Option<Case> {
    Operands::new(shape, element).ours(gpu, "", (None, None), Layout::Packed)
}

/// Ours in every variant that the device can run, the default first.
pub fn candidates(gpu: &Gpu, [m, n, k]: [usize; 3], element: Element) -> Vec<Case> {
    let aligned = (k * element.size()).is_multiple_of(16);
    let problem = Problem {
        element,
        weight_only: false,
        layout: Layout::Packed,
        aligned,
        m,
        n,
        k,
        batch: 1,
        patch: None,
    };
    let operands = Operands::new([m, n, k], element);
    let all = Choice::candidates(gpu.device(), &problem).into_iter();
    all.filter_map(|c| operands.ours(gpu, "", (Some(c.operand), Some(c.blocking)), Layout::Packed)).collect()
}
