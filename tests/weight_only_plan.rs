//! Linears of floats by int8 weights in whole models: what they compute, what is refused, and files of them.
#![cfg(feature = "onnx")]

#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/wire.rs"]
mod wire;

use gpu::{Rng, gpu};
use half::f16;
use weighbridge::graph::{Activation, Dim, Model, Op, Quant, Window};
use weighbridge::optimize::{Policy, WeightOnlyOptions, weight_only};
use weighbridge::quant::QuantParams;
use weighbridge::reference::{self, Storage};
use weighbridge::tensor::{Data, Element, Tensor};
use weighbridge::{Gpu, Session};

const RELU: Activation = Activation::Relu;

/// `[.., k]` by `[n, k]`, with a bias.
struct One {
    x: Tensor,
    q: Vec<i8>,
    quant: Quant,
    bias: Vec<f32>,
}

impl One {
    fn new(outer: &[usize], [n, k]: [usize; 2], group: Option<usize>, element: Element) -> Self {
        let mut rng = Rng((n * 31 + k) as u64);
        let shape = [outer, &[k]].concat();
        let reals = rng.f32s(shape.iter().product());
        let x = match element {
            Element::F16 => Data::F16(reals.iter().map(|&x| f16::from_f32(x)).collect()),
            _ => Data::F32(reals),
        };
        let scale = |_| QuantParams::new(0.001 + 0.01 * rng.unit().abs(), 0, -128, 127).unwrap();
        let params = (0..n * group.map_or(1, |g| k / g)).map(scale).collect();
        let quant = match group {
            Some(group) => Quant::Grouped { group, params },
            None => Quant::Static { axis: Some(0), params },
        };
        Self { x: Tensor::new(shape, x).unwrap(), q: rng.i8s(n * k), quant, bias: rng.f32s(n) }
    }

    fn model(&self) -> Model {
        let (n, k) = (self.bias.len(), self.q.len() / self.bias.len());
        let mut m = Model::new("one");
        let mut shape: Vec<Dim> = self.x.shape().iter().map(|&d| Dim::Fixed(d)).collect();
        shape[0] = "batch".into();
        let x = m.add_input("x", self.x.element(), shape).unwrap();
        let weight = Tensor::new([n, k], Data::I8(self.q.clone())).unwrap();
        let w = m.add_constant_as("w", weight, Some(self.quant.clone())).unwrap();
        let bias = Tensor::f32([n], self.bias.clone()).unwrap();
        let bias = if self.x.element() == Element::F16 { as_f16(&bias) } else { bias };
        let b = m.add_constant("b", bias).unwrap();
        let y = m.add_node("linear", Op::Linear { activation: RELU }, &[x, w, b]).unwrap();
        m.set_outputs(&[y]).unwrap();
        m
    }

    /// Holds a result to the specification.
    fn check(&self, got: &Tensor) {
        let (n, x) = (self.bias.len(), self.x.to_f32());
        let k = self.q.len() / n;
        let (group, params) = match &self.quant {
            Quant::Static { params, .. } => (k, params),
            Quant::Grouped { group, params } => (*group, params),
            Quant::Dynamic { .. } => panic!("a constant"),
        };
        let scales: Vec<f32> = params.iter().map(|p| p.scale).collect();
        let (storage, bias) = match self.x.element() {
            Element::F16 => (Storage::F16, self.bias.iter().map(|&b| f16::from_f32(b).to_f32()).collect()),
            _ => (Storage::F32, self.bias.clone()),
        };
        let args = reference::GemmWeightOnly {
            m: x.len() / k,
            n,
            k,
            a: &x,
            b: &self.q,
            scales: &scales,
            group,
            bias: Some(&bias),
            activation: RELU,
        };
        let bound = reference::gemm_weight_only_bound(&args, storage).unwrap();
        let (got, want) = (got.to_f32(), reference::gemm_weight_only(&args).unwrap());
        assert_eq!(got.len(), want.len());
        for (i, want) in want.into_iter().enumerate() {
            assert!((f64::from(got[i]) - want).abs() <= bound[i], "{i}: {}, not {want}", got[i]);
        }
    }
}

fn as_f16(tensor: &Tensor) -> Tensor {
    let data = tensor.to_f32().into_iter().map(f16::from_f32).collect();
    Tensor::new(tensor.shape(), Data::F16(data)).unwrap()
}

fn run(gpu: &Gpu, model: &Model, x: &Tensor) -> Tensor {
    let session = Session::new(gpu, model).unwrap();
    pollster::block_on(session.run(&[("x", x)])).unwrap().remove(0)
}

#[test]
fn linears_of_floats() {
    let Some(gpu) = gpu() else { return };
    for element in [Element::F32, Element::F16] {
        for (outer, size, group) in [
            (&[3][..], [7, 40], None),
            (&[2, 5], [9, 64], Some(32)),
            (&[1], [5, 256], Some(128)),
            (&[4], [1, 33], None),
        ] {
            let one = One::new(outer, size, group, element);
            let model = one.model();
            let session = Session::new(gpu, &model).unwrap();
            one.check(&pollster::block_on(session.run(&[("x", &one.x)])).unwrap()[0]);
            let text = session.explain(&[("x", one.x.shape().to_vec())]).unwrap();
            assert!(text.contains("int8 weights beside floats"), "{text}");
        }
    }
}

/// The file says the same numbers, as `[n, k]` of a Gemm and `[k, n]` of a MatMul.
#[test]
fn there_and_back() {
    for (outer, group) in [(&[3][..], None), (&[3], Some(32)), (&[2, 3], None), (&[2, 3], Some(64))] {
        let one = One::new(outer, [6, 128], group, Element::F32);
        let bytes = one.model().to_onnx_bytes().unwrap();
        let back = Model::from_onnx_bytes(&bytes).unwrap();
        assert_eq!(back.opset, if group.is_some() { 21 } else { 17 });
        assert_eq!(back.nodes().len(), 1);
        let weight = back.value(back.nodes()[0].inputs[1].unwrap());
        assert_eq!(weight.quant.as_ref(), Some(&one.quant));
        assert_eq!(weight.constant.as_ref().unwrap().data(), &Data::I8(one.q.clone()));
        assert!(bytes.len() < 6 * 128 * 2 + 1024, "{} bytes", bytes.len());
        if let Some(gpu) = gpu() {
            one.check(&run(gpu, &back, &one.x));
        }
    }
    let half = One::new(&[3], [6, 128], None, Element::F16).model();
    let error = half.to_onnx_bytes().unwrap_err().to_string();
    assert!(error.contains("f16") && error.contains("int8"), "{error}");
}

#[test]
fn groups_that_do_not_fit() {
    let quantized = |shape: &[usize], group: usize, sets: usize, zero_point: i32| {
        let mut m = Model::new("m");
        let x = m.add_input("x", Element::F32, [Dim::Fixed(1), Dim::Fixed(64)]).unwrap();
        let params = vec![QuantParams::new(0.5, zero_point, -128, 127).unwrap(); sets];
        let q = Tensor::new(shape, Data::I8(vec![1; shape.iter().product()])).unwrap();
        let w = m.add_constant_as("w", q, Some(Quant::Grouped { group, params })).unwrap();
        let y = m.add_node("y", Op::Linear { activation: RELU }, &[x, w])?;
        m.set_outputs(&[y]).unwrap();
        m.validate()
    };
    quantized(&[2, 64], 32, 4, 0).unwrap();
    for (shape, group, sets, zero_point, says) in [
        (&[2, 64][..], 32, 3, 0, "3 quantization parameters, but 4"),
        (&[2, 64], 48, 4, 0, "groups of 48 along a k of 64"),
        (&[2, 64], 0, 4, 0, "groups of 0"),
        (&[2, 64], 32, 4, 3, "a zero point is 3"),
        (&[2, 8, 8], 8, 16, 0, "is not [n, k]"),
    ] {
        let error = quantized(shape, group, sets, zero_point).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let mut m = Model::new("m");
    let ids = m.add_input("ids", Element::I64, [Dim::Fixed(1)]).unwrap();
    let params = vec![QuantParams::new(0.5, 0, -128, 127).unwrap(); 2];
    let q = Tensor::new([2, 32], Data::I8(vec![1; 64])).unwrap();
    let table = m.add_constant_as("w", q, Some(Quant::Grouped { group: 32, params })).unwrap();
    let error = m.add_node("rows", Op::Gather { axis: 0 }, &[table, ids]).unwrap_err().to_string();
    assert!(error.contains("in groups"), "{error}");
}

/// An image that becomes a row: [batch, 5, 4, 4] -> Conv -> Flatten -> Linear in groups -> Linear left float.
#[test]
fn an_image_as_a_row() {
    let mut rng = Rng(3);
    let mut m = Model::new("net");
    let shape = ["batch".into(), 5.into(), 4.into(), 4.into()];
    let x = m.add_input("x", Element::F32, shape).unwrap();
    let w = m.add_constant("w1", Tensor::f32([6, 5, 1, 1], rng.f32s(30)).unwrap()).unwrap();
    let conv = Op::Conv { window: Window::new([1, 1], [1, 1]), groups: 1, activation: RELU };
    let h = m.add_node("conv", conv, &[x, w]).unwrap();
    let h = m.add_node("flat", Op::Flatten { axis: 1 }, &[h]).unwrap();
    let w = m.add_constant("w2", Tensor::f32([7, 96], rng.f32s(672)).unwrap()).unwrap();
    let identity = Activation::Identity;
    let h = m.add_node("fc", Op::Linear { activation: identity }, &[h, w]).unwrap();
    let w = m.add_constant("w3", Tensor::f32([3, 7], rng.f32s(21)).unwrap()).unwrap();
    let y = m.add_node("out", Op::Linear { activation: identity }, &[h, w]).unwrap();
    m.set_outputs(&[h, y]).unwrap();
    let options = WeightOnlyOptions { group: Some(32), policy: Policy::skip(["out"]), ..Default::default() };
    let small = weight_only(&m, &options).unwrap();
    let elements: Vec<Element> =
        ["w1", "w2", "w3"].map(|w| small.value(small.value_by_name(w).unwrap()).element).into();
    assert_eq!(elements, [Element::F32, Element::I8, Element::F32]);
    let Some(gpu) = gpu() else { return };
    // The same with the weights' reals: k products of either kind are within k steps of eps of the sum of magnitudes,
    // of which there are 96 here, of an activation and a weight.
    let value = small.value(small.value_by_name("w2").unwrap());
    let (Some(Quant::Grouped { params, .. }), Data::I8(q)) =
        (&value.quant, value.constant.as_ref().unwrap().data())
    else {
        panic!("{:?}", value.quant)
    };
    let reals: Vec<f32> =
        q.iter().zip(params.iter().flat_map(|p| [p; 32])).map(|(&q, p)| f32::from(q) * p.scale).collect();
    let given = Tensor::f32([2, 5, 4, 4], rng.f32s(160)).unwrap();
    let got = run(gpu, &small, &given);
    // The image by the float kernel, turned to rows.
    let mut head = Model::new("head");
    let x = head.add_input("x", Element::F32, m.value(m.inputs()[0]).shape.clone()).unwrap();
    let w1 = m.constant(m.value_by_name("w1").unwrap()).unwrap().clone();
    let w = head.add_constant("w1", w1).unwrap();
    let h = head.add_node("conv", m.nodes()[0].op.clone(), &[x, w]).unwrap();
    head.set_outputs(&[h]).unwrap();
    let image = run(gpu, &head, &given).to_f32();
    for (i, got) in got.to_f32().into_iter().enumerate() {
        let (row, weights) = (&image[i / 7 * 96..][..96], &reals[i % 7 * 96..][..96]);
        let terms = || row.iter().zip(weights).map(|(&x, &w)| f64::from(x) * f64::from(w));
        let (want, magnitude): (f64, f64) = (terms().sum(), terms().map(f64::abs).sum());
        // 96 terms, a product and an addition for each of 3 groups, and a rounding of each real weight.
        let bound = (96.0 + 6.0 + 3.0) * f64::from(f32::EPSILON) * magnitude;
        assert!((f64::from(got) - want).abs() <= bound, "{i}: {got}, not {want} by {bound}");
    }
}

/// A tensor of bytes: data type 2 is u8, 3 is i8.
fn byte_tensor(name: &str, data_type: i64, dims: &[i64], data: &[u8]) -> Vec<u8> {
    let dims: Vec<Vec<u8>> = dims.iter().map(|&d| wire::int(1, d)).collect();
    wire::bytes(
        5,
        [dims.concat(), wire::int(2, data_type), wire::bytes(8, name), wire::bytes(9, data)].concat(),
    )
}

/// Weights that no kernel reads beside floats become floats.
#[test]
fn other_weights_of_files() {
    use wire::{floats, int_attribute, ints, model, node, value};
    let bytes: Vec<u8> = (0..32).map(|i| i * 7).collect();
    let dequantize =
        |inputs: &[&str], attributes: &[Vec<u8>]| node("DequantizeLinear", "d", inputs, &["w"], attributes);
    let unsigned = |i: usize| (f32::from(bytes[i]) - 100.0) * 0.5;
    // u8 with a zero point, as [k, n] = [8, 4].
    let matrix = [
        value(11, "x", &[-1, 8]),
        value(12, "y", &[-1, 4]),
        byte_tensor("q", 2, &[8, 4], &bytes),
        floats("s", &[], &[0.5]),
        byte_tensor("z", 2, &[], &[100]),
        dequantize(&["q", "s", "z"], &[]),
        node("MatMul", "m", &["x", "w"], &["y"], &[]),
    ];
    // A Conv's, per output channel.
    let conv = [
        value(11, "x", &[-1, 8, 1, 1]),
        value(12, "y", &[-1, 4, 1, 1]),
        byte_tensor("q", 3, &[4, 8, 1, 1], &bytes),
        floats("s", &[4], &[1.0, 2.0, 3.0, 4.0]),
        dequantize(&["q", "s"], &[int_attribute("axis", 0)]),
        node("Conv", "c", &["x", "w"], &["y"], &[ints("kernel_shape", &[1, 1])]),
    ];
    // In blocks along k with zero points, in groups of 4, and along n.
    let blocks = |scales: &[i64], axis: i64, zero: &[u8]| {
        let s: Vec<f32> = (0..scales.iter().product::<i64>()).map(|i| i as f32 + 1.0).collect();
        let z: Vec<u8> = s.iter().enumerate().map(|(i, _)| zero[i % zero.len()]).collect();
        [
            value(11, "x", &[-1, 8]),
            value(12, "y", &[-1, 4]),
            byte_tensor("q", 3, &[8, 4], &bytes),
            floats("s", scales, &s),
            byte_tensor("z", 3, scales, &z),
            dequantize(&["q", "s", "z"], &[int_attribute("axis", axis), int_attribute("block_size", 4)]),
            node("MatMul", "m", &["x", "w"], &["y"], &[]),
        ]
    };
    let signed = |i: usize| f32::from(bytes[i] as i8);
    /// A real weight, from where it is along n and k.
    type Real<'a> = Box<dyn Fn(usize, usize) -> f32 + 'a>;
    let cases: [(&[Vec<u8>], Real<'_>); 5] = [
        (&matrix, Box::new(|n, k| unsigned(k * 4 + n))),
        (&conv, Box::new(|n, k| signed(n * 8 + k) * (n + 1) as f32)),
        (
            &blocks(&[2, 4], 0, &[1, 2]),
            Box::new(|n, k| (signed(k * 4 + n) - (1 + n % 2) as f32) * (k / 4 * 4 + n + 1) as f32),
        ),
        (&blocks(&[2, 4], 0, &[0]), Box::new(|n, k| signed(k * 4 + n) * (k / 4 * 4 + n + 1) as f32)),
        (&blocks(&[8, 1], 1, &[0]), Box::new(|n, k| signed(k * 4 + n) * (k + 1) as f32)),
    ];
    for (i, (graph, weight)) in cases.iter().enumerate() {
        let m = Model::from_onnx_bytes(&model(21, graph)).unwrap_or_else(|e| panic!("{i}: {e}"));
        assert_eq!(m.nodes().len(), 1, "{i}: {:?}", m.nodes());
        let w = m.value(m.nodes()[0].inputs[1].unwrap());
        assert_eq!((w.element, &w.quant), (Element::F32, &None), "{i}");
        let want: Vec<f32> = (0..32).map(|j| weight(j / 8, j % 8)).collect();
        assert_eq!(w.constant.as_ref().unwrap().to_f32(), want, "{i}");
    }
    // Groups of activations stay refused.
    let activation = [
        value(11, "x", &[2, 8]),
        value(12, "y", &[2, 8]),
        floats("s", &[2, 2], &[1.0; 4]),
        node("QuantizeLinear", "q", &["x", "s"], &["y"], &[int_attribute("block_size", 4)]),
    ];
    let error = Model::from_onnx_bytes(&model(21, &activation)).unwrap_err().to_string();
    assert!(error.contains("node `q`") && error.contains("blocks"), "{error}");
}
