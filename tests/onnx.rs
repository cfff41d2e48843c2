//! Reading and writing ONNX files: the real networks, files that are wrong in every way, and there and back.
#![cfg(feature = "onnx")]

use proptest::prelude::*;
use weighbridge::Error;
use weighbridge::calibrate::Ranges;
use weighbridge::graph::{Activation, Dim, Model, Op, PoolKind, Quant};
use weighbridge::optimize::{self, DynamicOptions, StaticOptions, observed_values};
use weighbridge::quant::{Observer, QuantParams, Range};
use weighbridge::tensor::{Data, Element, Tensor};

const CNN: &[u8] = include_bytes!("../assets/fashion_mnist/cnn.onnx");
const MLP: &[u8] = include_bytes!("../assets/fashion_mnist/mlp.onnx");

#[path = "common/wire.rs"]
mod wire;

use wire::{floats, int_attribute, ints, longs, model, node, string, value};

fn import(graph: &[Vec<u8>]) -> weighbridge::Result<Model> {
    Model::from_onnx_bytes(&model(17, graph))
}

fn ops(model: &Model) -> Vec<String> {
    let op = |n: &weighbridge::graph::Node| match n.op.activation() {
        Some(a) if a != Activation::Identity => format!("{}+{}", n.op.name(), Op::Activation(a).name()),
        _ => n.op.name().to_owned(),
    };
    model.nodes().iter().map(op).collect()
}

fn names(model: &Model) -> Vec<(String, String)> {
    let name = |n: &weighbridge::graph::Node| (n.name.clone(), model.value(n.outputs[0]).name.clone());
    model.nodes().iter().map(name).collect()
}

fn made_up_ranges(model: &Model) -> Ranges {
    let mut ranges = Ranges::new(Observer::MinMax);
    for (i, id) in observed_values(model).into_iter().enumerate() {
        ranges.values.insert(model.value(id).name.clone(), Range { min: -1.0 - i as f32, max: 3.5 });
    }
    ranges
}

#[test]
fn the_real_networks() {
    let cnn = Model::from_onnx_bytes(CNN).unwrap();
    assert_eq!(
        ops(&cnn),
        ["Conv+Relu", "MaxPool", "Conv+Relu", "MaxPool", "Flatten", "Linear+Relu", "Linear"]
    );
    assert_eq!(cnn.opset, 17);
    let flat = cnn.value_by_name("flatten_7").unwrap();
    assert_eq!(cnn.value(flat).shape, [Dim::from("batch"), Dim::Fixed(3136)]);
    let shapes = cnn.infer_shapes(&[("input", vec![5, 1, 28, 28])]).unwrap();
    assert_eq!(shapes[cnn.outputs()[0].index()], [5, 10]);
    assert_eq!(shapes[cnn.value_by_name("maxpool_6").unwrap().index()], [5, 64, 7, 7]);
    assert_eq!(cnn.constants().map(|(_, t)| t.len()).sum::<usize>(), 421_642);

    let mlp = Model::from_onnx_bytes(MLP).unwrap();
    assert_eq!(ops(&mlp), ["Flatten", "Linear+Relu", "Linear+Relu", "Linear"]);
    assert_eq!(mlp.value(mlp.outputs()[0]).name, "logits");
}

#[test]
fn shapes_that_disagree_are_named_with_numbers() {
    let cnn = Model::from_onnx_bytes(CNN).unwrap();
    let fail = |inputs: &[(&str, Vec<usize>)]| cnn.infer_shapes(inputs).unwrap_err().to_string();
    let error = fail(&[("input", vec![5, 1, 28, 27])]);
    assert!(error.contains("`input`") && error.contains("27") && error.contains("28"), "{error}");
    assert!(fail(&[]).contains("`input` is missing"));
    assert!(fail(&[("image", vec![5, 1, 28, 28])]).contains("no input `image`"));
    let huge = cnn.infer_shapes(&[("input", vec![usize::MAX, 1, 28, 28])]);
    assert!(huge.is_err(), "{huge:?}");
}

#[test]
fn an_unsupported_operator_is_named() {
    let graph =
        [value(11, "x", &[-1, 4]), value(12, "y", &[-1, 4]), node("Einsum", "mix", &["x"], &["y"], &[])];
    let error = import(&graph).unwrap_err();
    assert!(
        matches!(&error, Error::Node { node, op, opset: 17, .. } if node == "mix" && op == "Einsum"),
        "{error}"
    );
    let text = error.to_string();
    assert!(text.contains("mix") && text.contains("Einsum") && text.contains("17"), "{text}");
    assert!(Model::from_onnx_bytes(&model(9, &graph)).unwrap_err().to_string().contains("operator set 9"));
}

#[test]
fn graphs_that_are_wrong() {
    let x = value(11, "x", &[-1, 4]);
    let y = value(12, "y", &[-1, 4]);
    let relu = |name: &str, from: &str, to: &str| node("Relu", name, &[from], &[to], &[]);
    let refused = |graph: &[Vec<u8>], expected: &str| {
        let error = import(graph).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\n  should say {expected}");
    };
    refused(&[x.clone(), y.clone(), relu("a", "b", "c"), relu("d", "c", "b")], "node `a`");
    refused(&[x.clone(), y.clone(), relu("a", "a", "a")], "node `a`");
    refused(&[x.clone(), y.clone(), relu("lost", "nowhere", "y")], "nowhere");
    refused(&[x.clone(), y.clone()], "output `y`");
    refused(&[x.clone(), y.clone(), relu("a", "x", "y"), relu("b", "x", "y")], "`y`");
    refused(&[x.clone(), y.clone(), relu("a", "x", "x")], "`x`");
    refused(&[x.clone(), y.clone(), node("Relu", "a", &[], &["y"], &[])], "node `a`");
    refused(&[x.clone(), y.clone(), node("Relu", "a", &["x"], &[], &[])], "node `a`");
    let unknown = [wire::bytes(1, "fancy")].concat();
    refused(&[x.clone(), y.clone(), node("MatMul", "a", &["x", "x"], &["y"], &[unknown])], "fancy");
    // Sizes that only a hostile file has.
    let big = 1i64 << 62;
    refused(&[x.clone(), y.clone(), floats("w", &[big, big, big], &[]), relu("a", "x", "y")], "`w`");
    refused(&[x.clone(), y.clone(), floats("w", &[-1], &[1.0]), relu("a", "x", "y")], "`w`");
    refused(&[x.clone(), y.clone(), floats("w", &[3], &[1.0]), relu("a", "x", "y")], "`w`");
    let gemm = |w: Vec<u8>| {
        let c = floats("c", &[], &[1.0]);
        let transposed = int_attribute("transB", 1);
        [x.clone(), y.clone(), w, c, node("Gemm", "g", &["x", "w", "c"], &["y"], &[transposed])]
    };
    refused(&gemm(floats("w", &[big, 0], &[])), "node `g`");
    let wide = [value(11, "x", &[big, big, 1, 1]), y.clone(), node("Flatten", "f", &["x"], &["y"], &[])];
    refused(&wide, "node `f`");
    let flat = [
        value(11, "x", &[big, big]),
        y.clone(),
        node("Flatten", "f", &["x"], &["y"], &[int_attribute("axis", 0)]),
    ];
    refused(&flat, "node `f`");
    refused(&[value(11, "x", &[1; 9]), y.clone(), relu("a", "x", "y")], "dimensions");
    let image = value(11, "x", &[1, 1, 4, 4]);
    let pool = |kernel: &[i64], strides: &[i64]| {
        let attributes = [ints("kernel_shape", kernel), ints("strides", strides)];
        [image.clone(), y.clone(), node("MaxPool", "p", &["x"], &["y"], &attributes)]
    };
    for (kernel, strides) in
        [([0, 0], [1, 1]), ([2, 2], [0, 0]), ([5, 5], [1, 1]), ([-1, 2], [1, 1]), ([i64::MAX; 2], [1, 1])]
    {
        refused(&pool(&kernel, &strides), "node `p`");
    }
    let shape = |target: &[i64]| {
        [x.clone(), y.clone(), longs("s", target), node("Reshape", "r", &["x", "s"], &["y"], &[])]
    };
    for target in [&[-1, -1][..], &[0, 0, 0], &[-2, 4], &[i64::MAX, i64::MAX]] {
        refused(&shape(target), "node `r`");
    }
}

#[test]
fn batch_normalization_and_one_dimension() {
    let bn = [
        floats("scale", &[2], &[2.0, 3.0]),
        floats("beta", &[2], &[1.0, -1.0]),
        floats("mean", &[2], &[0.5, 0.0]),
        floats("var", &[2], &[1.0, 4.0]),
    ]
    .concat();
    let normalize = |from: &str, to: &str| {
        let epsilon = [wire::bytes(1, "epsilon"), [0x15, 0, 0, 0, 0].to_vec(), wire::int(20, 1)].concat();
        node("BatchNormalization", "bn", &[from, "scale", "beta", "mean", "var"], &[to], &[epsilon])
    };
    let conv1d = [
        value(11, "x", &[-1, 1, 8]),
        value(12, "y", &[-1, 2, 6]),
        floats("w", &[2, 1, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        floats("b", &[2], &[0.25, 1.0]),
        bn.clone(),
        node("Conv", "c", &["x", "w", "b"], &["h"], &[]),
        normalize("h", "n"),
        node("Relu", "r", &["n"], &["y"], &[]),
    ];
    let m = import(&conv1d).unwrap();
    assert_eq!(ops(&m), ["Reshape", "Conv+Relu", "Reshape"]);
    let conv = &m.nodes()[1];
    let constant = |i: usize| m.constant(conv.inputs[i].unwrap()).unwrap();
    assert_eq!(constant(1).shape(), [2, 1, 1, 3]);
    assert_eq!(constant(1).as_f32().unwrap(), [2.0, 4.0, 6.0, 6.0, 7.5, 9.0]);
    assert_eq!(constant(2).as_f32().unwrap(), [0.5, 0.5]);
    assert_eq!(m.infer_shapes(&[("x", vec![3, 1, 8])]).unwrap()[m.outputs()[0].index()], [3, 2, 6]);

    let gemm = [
        value(11, "x", &[-1, 1]),
        value(12, "y", &[-1, 2]),
        floats("w", &[1, 2], &[1.0, 2.0]),
        floats("b", &[2], &[0.25, 1.0]),
        bn.clone(),
        node("MatMul", "m", &["x", "w"], &["p"], &[]),
        node("Add", "a", &["b", "p"], &["h"], &[]),
        normalize("h", "y"),
    ];
    let m = import(&gemm).unwrap();
    assert_eq!(ops(&m), ["Linear"]);
    assert_eq!(m.constant(m.nodes()[0].inputs[1].unwrap()).unwrap().as_f32().unwrap(), [2.0, 3.0]);
    assert_eq!(m.constant(m.nodes()[0].inputs[2].unwrap()).unwrap().as_f32().unwrap(), [0.5, 0.5]);

    let alone = [value(11, "x", &[-1, 2, 4, 4]), value(12, "y", &[-1, 2, 4, 4]), bn, normalize("x", "y")];
    let m = import(&alone).unwrap();
    assert!(matches!(m.nodes()[0].op, Op::Conv { groups: 2, .. }), "{:?}", m.nodes());
}

#[test]
fn padding_and_overhang() {
    let pool = |n: i64, attributes: &[Vec<u8>]| {
        let m = import(&[
            value(11, "x", &[1, 1, n, n]),
            value(12, "y", &[1, 1, 1, 1]),
            node("MaxPool", "p", &["x"], &["y"], attributes),
        ])
        .unwrap();
        let Op::Pool { kind: PoolKind::Max, window } = m.nodes()[0].op else { panic!("{:?}", m.nodes()) };
        (m.value(m.outputs()[0]).fixed_shape().unwrap()[3], window)
    };
    let with = |k, s, more: Vec<u8>| [ints("kernel_shape", &[k, k]), ints("strides", &[s, s]), more];
    assert_eq!(pool(5, &with(2, 2, int_attribute("ceil_mode", 0))).0, 2);
    assert_eq!(pool(5, &with(2, 2, int_attribute("ceil_mode", 1))).0, 3);
    // The fourth window would start in the padding: ONNX drops it.
    let padded = [&with(1, 2, int_attribute("ceil_mode", 1))[..], &[ints("pads", &[0, 0, 1, 1])]].concat();
    assert_eq!(pool(5, &padded).0, 3);
    let (n, window) = pool(6, &with(3, 2, string("auto_pad", "SAME_UPPER")));
    assert_eq!((n, window.pad_begin, window.pad_end), (3, [0, 0], [1, 1]));
    let (n, window) = pool(6, &with(3, 2, string("auto_pad", "SAME_LOWER")));
    assert_eq!((n, window.pad_begin, window.pad_end), (3, [1, 1], [0, 0]));
}

#[test]
fn transposes() {
    let graph = |perm: &[Vec<u8>]| {
        [
            value(11, "x", &[-1, 2, 3]),
            value(12, "y", &[1, 1, 1]),
            node("Transpose", "t", &["x"], &["y"], perm),
        ]
    };
    let shape = |m: &Model| m.value(m.outputs()[0]).shape.clone();
    let m = import(&graph(&[])).unwrap();
    assert_eq!(shape(&m), [Dim::Fixed(3), Dim::Fixed(2), Dim::from("batch")]);
    let m = import(&graph(&[ints("perm", &[1, 0, 2])])).unwrap();
    assert_eq!(shape(&m), [Dim::Fixed(2), Dim::from("batch"), Dim::Fixed(3)]);
    let back = Model::from_onnx_bytes(&m.to_onnx_bytes().unwrap()).unwrap();
    assert_eq!((ops(&back), names(&back)), (ops(&m), names(&m)));
    assert_eq!(back.nodes()[0].op, Op::Transpose { order: vec![1, 0, 2] });
    for perm in [&[0, 1][..], &[0, 1, 1], &[0, 1, 3], &[-1, 0, 1], &[0, 1, 2, 3], &[i64::MAX, 0, 1]] {
        let error = import(&graph(&[ints("perm", perm)])).unwrap_err();
        assert!(matches!(&error, Error::Node { node, .. } if node == "t"), "{perm:?}: {error}");
    }
    let deep =
        [value(11, "x", &[1; 7]), value(12, "y", &[1; 7]), node("Transpose", "t", &["x"], &["y"], &[])];
    assert!(import(&deep).unwrap_err().to_string().contains("node `t`"));

    // Parameters along an axis stay with that axis: such a value is not turned.
    let mut along = Model::new("along");
    let params = vec![QuantParams::new(0.5, 0, -128, 127).unwrap(); 2];
    let tensor = Tensor::new([2, 2], Data::I8(vec![1, 2, 3, 4])).unwrap();
    let q = along.add_constant_as("q", tensor, Some(Quant::Static { axis: Some(0), params })).unwrap();
    let error = along.add_node("t", Op::Transpose { order: vec![1, 0] }, &[q]).unwrap_err();
    assert!(error.to_string().contains("quantized"), "{error}");

    // What changes nothing goes, and a constant is turned at once.
    let folded = [
        value(11, "x", &[-1, 2]),
        value(12, "y", &[-1, 3]),
        floats("w", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        node("Transpose", "same", &["x"], &["h"], &[ints("perm", &[0, 1])]),
        node("Transpose", "t", &["w"], &["wt"], &[]),
        node("MatMul", "m", &["h", "wt"], &["y"], &[]),
    ];
    let m = import(&folded).unwrap();
    assert_eq!(ops(&m), ["Linear"]);
    let weight = m.constant(m.nodes()[0].inputs[1].unwrap()).unwrap();
    assert_eq!((weight.shape(), weight.to_f32()), (&[3, 2][..], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));

    let gemm = [
        value(11, "a", &[2, -1]),
        value(11, "b", &[3, 2]),
        value(12, "y", &[-1, 3]),
        node("Gemm", "g", &["a", "b"], &["y"], &[int_attribute("transA", 1), int_attribute("transB", 1)]),
    ];
    let m = import(&gemm).unwrap();
    assert_eq!(ops(&m), ["Transpose", "Transpose", "MatMul"]);
    assert_eq!(shape(&m), [Dim::from("batch"), Dim::Fixed(3)]);
}

#[test]
fn pools_over_volumes() {
    let pool = |shape: &[i64], attributes: &[Vec<u8>]| {
        let (x, y) = (value(11, "x", shape), value(12, "y", &[-1, 2, 1, 1, 1]));
        import(&[x, y, node("AveragePool", "p", &["x"], &["y"], attributes)])
    };
    let with =
        |more: &[Vec<u8>]| [&[ints("kernel_shape", &[2, 3, 4]), ints("strides", &[1, 2, 3])], more].concat();
    let m = pool(&[-1, 2, 4, 7, 10], &with(&[])).unwrap();
    assert_eq!(ops(&m), ["Reshape", "AveragePool", "Reshape", "AveragePool", "Reshape"]);
    let dims =
        |m: &Model| m.infer_shapes(&[("x", vec![5, 2, 4, 7, 10])]).unwrap()[m.outputs()[0].index()].clone();
    assert_eq!(dims(&m), [5, 2, 3, 3, 3]);
    assert_eq!(m.value(m.outputs()[0]).shape[0], Dim::from("batch"));
    assert_eq!(
        dims(&pool(&[-1, 2, 4, 7, 10], &with(&[string("auto_pad", "SAME_UPPER")])).unwrap()),
        [5, 2, 4, 4, 4]
    );
    let big = 1i64 << 40;
    for (shape, attributes) in [
        (&[-1, 2, -1, 7, 10][..], with(&[])),
        (&[-1, 2, 0, 7, 10], with(&[])),
        (&[1, big, big, 7, 10], with(&[])),
        (&[1, 2, 1, 7, 10], with(&[])),
        (&[1, 2, 4, 7, 10], vec![ints("kernel_shape", &[2, 3])]),
        (&[1, 2, 4, 7, 10], vec![ints("kernel_shape", &[0, 1, 1])]),
        (&[1, 2, 4, 7, 10], with(&[ints("pads", &[0; 5])])),
        (&[1, 2, 4, 7, 10], with(&[ints("pads", &[i64::MAX; 6])])),
    ] {
        let error = pool(shape, &attributes).unwrap_err();
        assert!(error.to_string().contains("node `p`"), "{shape:?}: {error}");
    }
}

#[test]
fn shared_weights_stay_shared_and_what_does_not_fold_stays() {
    let one = || node("MatMul", "a", &["x", "w"], &["h"], &[]);
    let graph = [
        value(11, "x", &[-1, 2]),
        value(12, "y", &[-1, 2]),
        floats("w", &[2, 2], &[1.0, 2.0, 3.0, 4.0]),
        floats("s", &[], &[0.5]),
        one(),
        node("MatMul", "b", &["h", "w"], &["g"], &[]),
        node("QuantizeLinear", "q", &["g", "s"], &["gq"], &[]),
        node("DequantizeLinear", "d", &["gq", "s"], &["y"], &[]),
    ];
    // Without a zero point the integers are unsigned, 0..=255: held with a zero point of -128.
    let zero_point = |m: &Model| match &m.value(m.value_by_name("gq").unwrap()).quant {
        Some(Quant::Static { params, .. }) => params[0].zero_point,
        other => panic!("{other:?}"),
    };
    assert_eq!(zero_point(&import(&graph).unwrap()), -128);
    let mut graph = graph.to_vec();
    let zero = wire::bytes(5, [wire::int(2, 2), wire::bytes(8, "z"), wire::bytes(9, [3])].concat());
    graph.insert(3, zero);
    for (at, name, from, to, op) in
        [(7, "q", "g", "gq", "QuantizeLinear"), (8, "d", "gq", "y", "DequantizeLinear")]
    {
        graph[at] = node(op, name, &[from, "s", "z"], &[to], &[]);
    }
    let m = import(&graph).unwrap();
    assert_eq!(ops(&m), ["Linear", "Linear", "Quantize", "Dequantize"]);
    assert_eq!(m.constants().count(), 1);
    assert_eq!(zero_point(&m), -125);
}

#[test]
fn outputs_keep_their_names() {
    let graph = [
        value(11, "x", &[-1, 4]),
        value(12, "y", &[-1, 4]),
        value(12, "z", &[-1, 4]),
        node("Relu", "r", &["x"], &["h"], &[]),
        node("Dropout", "d", &["h"], &["y"], &[]),
        node("Identity", "i", &["x"], &["z"], &[]),
    ];
    let m = import(&graph).unwrap();
    assert_eq!(ops(&m), ["Relu", "Identity"]);
    let outputs: Vec<&str> = m.outputs().iter().map(|&o| m.value(o).name.as_str()).collect();
    assert_eq!(outputs, ["y", "z"]);
}

#[test]
fn there_and_back() {
    for bytes in [CNN, MLP] {
        let fp32 = Model::from_onnx_bytes(bytes).unwrap();
        let half = optimize::half(&fp32).unwrap();
        assert_eq!(half.saturated, 0);
        let int8 = optimize::static_int8(&fp32, &made_up_ranges(&fp32), &StaticOptions::default()).unwrap();
        let dynamic = optimize::dynamic_int8(&fp32, &DynamicOptions::default()).unwrap();
        for (bound, model) in [(100.5, &fp32), (51.0, &half.model), (27.0, &int8), (27.0, &dynamic)] {
            let file = model.to_onnx_bytes().unwrap();
            let percent = file.len() as f64 * 100.0 / bytes.len() as f64;
            assert!(percent < bound, "{percent} % of the f32 file");
            let back = Model::from_onnx_bytes(&file).unwrap();
            assert_eq!(ops(&back), ops(model));
            assert_eq!(names(&back), names(model));
            for value in model.values() {
                let again =
                    back.value(back.value_by_name(&value.name).unwrap_or_else(|| panic!("{}", value.name)));
                assert_eq!((again.element, &again.shape), (value.element, &value.shape), "{}", value.name);
                if !matches!(value.quant, Some(Quant::Dynamic { .. })) {
                    assert_eq!(again.quant, value.quant, "{}", value.name);
                }
                // Biases of static models went through int32.
                if value.constant.as_deref().is_some_and(|t| t.shape().len() > 1) {
                    assert_eq!(again.constant, value.constant, "{}", value.name);
                }
                if let Some(bias) = value.constant.as_deref().filter(|t| t.shape().len() == 1) {
                    let again = again.constant.as_deref().unwrap().to_f32();
                    let close = bias.to_f32().iter().zip(&again).all(|(a, b)| (a - b).abs() <= 1e-3);
                    assert!(close, "{}", value.name);
                }
            }
        }
        assert!(half.model.inputs().iter().all(|&i| half.model.value(i).element == Element::F32));
    }
}

#[test]
fn a_truncated_file_is_an_error() {
    for length in (0..MLP.len()).step_by(997).chain(0..600).chain(MLP.len() - 300..MLP.len()) {
        assert!(Model::from_onnx_bytes(&MLP[..length]).is_err(), "{length} bytes");
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Model::from_onnx_bytes(&bytes);
    }

    /// Files that are right but for a few bytes: these get far into the importer.
    #[test]
    fn damaged_files_never_panic(damage in proptest::collection::vec((0usize..700, any::<u8>()), 1..6)) {
        let mut graph = vec![
            value(11, "x", &[-1, 1, 4, 4]), value(12, "y", &[-1, 2]),
            floats("w", &[2, 1, 3, 3], &[0.5; 18]), floats("b", &[2], &[0.5; 2]), longs("s", &[0, -1]),
            floats("f", &[2, 2], &[1.0, 2.0, 3.0, 4.0]),
        ];
        graph.extend([
            node("Conv", "c", &["x", "w", "b"], &["h1"], &[ints("pads", &[1; 4]), ints("strides", &[1, 1])]),
            node("BatchNormalization", "n", &["h1", "b", "b", "b", "b"], &["h2"], &[]),
            node("MaxPool", "p", &["h2"], &["h3"], &[ints("kernel_shape", &[2, 2]), int_attribute("ceil_mode", 1)]),
            node("GlobalAveragePool", "g", &["h3"], &["h4"], &[]),
            node("Reshape", "r", &["h4", "s"], &["h5"], &[]),
            node("Gemm", "m", &["h5", "f", "b"], &["y"], &[int_attribute("transB", 1)]),
        ]);
        let mut bytes = model(17, &graph);
        prop_assert!(Model::from_onnx_bytes(&bytes).is_ok());
        for (at, byte) in damage {
            let n = bytes.len();
            bytes[at % n] = byte;
        }
        if let Ok(model) = Model::from_onnx_bytes(&bytes) {
            let _ = model.to_onnx_bytes();
        }
    }
}

/// A file's uint8 is shifted by 128 here, and its Clip has bounds in steps: neither may pass for something else.
#[test]
fn bytes_are_not_taken_for_reals() {
    let quantize = node("QuantizeLinear", "quantize", &["x", "s"], &["q"], &[]);
    let graph = |rest: &[Vec<u8>], output: &str| {
        let ends = [value(11, "x", &[-1, 4]), value(12, output, &[-1, 4]), floats("s", &[], &[0.5])];
        import(&[&ends[..], std::slice::from_ref(&quantize), rest].concat())
    };
    // The caller gets uint8, not the shifted bytes.
    for made in [
        graph(&[], "q"),
        graph(&[longs("two", &[-1, 2]), node("Reshape", "", &["q", "two"], &["y"], &[])], "y"),
    ] {
        let m = made.unwrap();
        let output = m.value(m.outputs()[0]);
        assert_eq!((output.element, &output.quant), (Element::U8, &None), "{}", output.name);
    }
    let clip = node("Clip", "clip", &["q", "s"], &["c"], &[]);
    let error = graph(&[clip, node("DequantizeLinear", "", &["c", "s"], &["y"], &[])], "y").unwrap_err();
    assert!(matches!(&error, Error::Node { node, .. } if node == "clip"), "{error}");
}
