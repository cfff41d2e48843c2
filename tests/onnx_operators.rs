//! The operators that files have: each set's form of them, what is refused, and files made to harm. Without a device.
#![cfg(feature = "onnx")]

#[path = "common/wire.rs"]
mod wire;

use proptest::prelude::*;
use weighbridge::Error;
use weighbridge::graph::{Deferred, Dim, Model, Op, ReduceOp};
use weighbridge::tensor::Element;
use wire::{float, floats, int_attribute, ints, longs, model, node, string, typed, value};

fn at(opset: i64, graph: &[Vec<u8>]) -> weighbridge::Result<Model> {
    Model::from_onnx_bytes(&model(opset, graph))
}

/// A graph from `x` of this shape to `y`, and what else is in it.
fn from_x(shape: &[i64], more: &[Vec<u8>]) -> Vec<Vec<u8>> {
    [&[value(11, "x", shape), value(12, "y", &[1])], more].concat()
}

fn ops(m: &Model) -> Vec<&'static str> {
    m.nodes().iter().map(|n| n.op.name()).collect()
}

fn output(m: &Model) -> Vec<Dim> {
    m.value(m.outputs()[0]).shape.clone()
}

fn sizes(m: &Model) -> Vec<usize> {
    m.value(m.outputs()[0]).fixed_shape().unwrap_or_else(|| panic!("{:?}", output(m)))
}

fn refused(opset: i64, graph: &[Vec<u8>], expected: &str) {
    let error = at(opset, graph).map(|m| format!("{:?}", m.nodes())).unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error, Error::Node { .. }) && text.contains(expected),
        "{text}\n  should say {expected}"
    );
}

/// The same operator as older sets have it, with attributes, and as newer ones do, with inputs.
#[test]
fn attributes_became_inputs() {
    let x = [2, 1, 6];
    let both = |old: (i64, Vec<u8>), new: (i64, Vec<Vec<u8>>), shape: &[usize]| {
        let old = at(old.0, &from_x(&x, &[old.1])).unwrap();
        let new = at(new.0, &from_x(&x, &new.1)).unwrap();
        assert_eq!((sizes(&old), sizes(&new)), (shape.to_vec(), shape.to_vec()));
        assert_eq!(old.nodes()[0].op, new.nodes()[0].op);
    };
    let axes = |op: &str, axes: &[i64], since: i64| {
        let attribute = node(op, "n", &["x"], &["y"], &[ints("axes", axes)]);
        let input = vec![longs("a", axes), node(op, "n", &["x", "a"], &["y"], &[])];
        ((since - 1, attribute), (since, input))
    };
    let (old, new) = axes("Squeeze", &[-2], 13);
    both(old, new, &[2, 6]);
    let (old, new) = axes("Unsqueeze", &[-1, 0], 13);
    both(old, new, &[1, 2, 1, 6, 1]);
    for (op, since) in [("ReduceSum", 13), ("ReduceMean", 18), ("ReduceLogSumExp", 18)] {
        let (old, new) = axes(op, &[-1, 0], since);
        both(old, new, &[1, 1, 1]);
    }
    let old = node("Split", "n", &["x"], &["y", "z"], &[int_attribute("axis", -1), ints("split", &[2, 4])]);
    let new =
        vec![longs("s", &[2, 4]), node("Split", "n", &["x", "s"], &["y", "z"], &[int_attribute("axis", -1)])];
    both((12, old), (13, new), &[2, 1, 2]);

    // The other form is of another set.
    refused(13, &from_x(&x, &[node("Squeeze", "n", &["x"], &["y"], &[ints("axes", &[1])])]), "axes");
    refused(18, &from_x(&x, &[node("ReduceMax", "n", &["x"], &["y"], &[ints("axes", &[1])])]), "axes");
    // No axes are all of them, or none.
    let reduce = |more: &[Vec<u8>]| {
        let attributes = [&[int_attribute("keepdims", 0)], more].concat();
        at(18, &from_x(&x, &[node("ReduceL2", "n", &["x"], &["y"], &attributes)])).unwrap()
    };
    let all = reduce(&[]);
    assert_eq!(all.nodes()[0].op, Op::Reduce { op: ReduceOp::L2, axes: vec![0, 1, 2], keep: false });
    assert_eq!(ops(&reduce(&[int_attribute("noop_with_empty_axes", 1)])), ["Abs"]);
}

#[test]
fn softmax_over_all_that_follows() {
    let softmax = |opset: i64, attributes: &[Vec<u8>]| {
        at(opset, &from_x(&[-1, 3, 4], &[node("Softmax", "s", &["x"], &["y"], attributes)])).unwrap()
    };
    let new = softmax(13, &[]);
    assert!(matches!(new.nodes(), [n] if n.op == Op::Softmax { axis: 2, log: false }));
    let old = softmax(11, &[]);
    assert_eq!(ops(&old), ["Flatten", "Softmax", "Reshape"]);
    assert_eq!(output(&old), [Dim::from("batch"), Dim::Fixed(3), Dim::Fixed(4)]);
    assert_eq!(ops(&softmax(12, &[int_attribute("axis", 2)])), ["Softmax"]);
}

/// What exporters write to flatten all but the batch: arithmetic on shapes, none of which is left.
#[test]
fn shapes_that_the_graph_computes() {
    let graph = from_x(
        &[-1, 3, 4],
        &[
            node("Shape", "shape", &["x"], &["s"], &[]),
            longs("zero", &[0]),
            longs("rest", &[-1]),
            node("Gather", "batch", &["s", "zero"], &["b"], &[]),
            node("Concat", "target", &["b", "rest"], &["t"], &[int_attribute("axis", 0)]),
            node("Reshape", "flat", &["x", "t"], &["y"], &[]),
        ],
    );
    let m = at(17, &graph).unwrap();
    assert_eq!(m.infer_shapes(&[("x", vec![5, 3, 4])]).unwrap()[m.outputs()[0].index()], [5, 12]);

    let constants = [
        longs("three", &[2, 3]),
        node("ConstantOfShape", "zeros", &["three"], &["z"], &[]),
        node("Add", "sum", &["x", "z"], &["y"], &[]),
    ];
    let m = at(17, &from_x(&[2, 3], &constants)).unwrap();
    assert_eq!(ops(&m), ["Add"]);
}

#[test]
fn parts_and_edges() {
    let one = |shape: &[i64], more: &[Vec<u8>]| at(18, &from_x(shape, more)).unwrap();
    let slice = [
        longs("starts", &[-2, 10]),
        longs("ends", &[i64::MAX, i64::MIN]),
        longs("axes", &[1, -2]),
        longs("steps", &[1, -2]),
        node("Slice", "n", &["x", "starts", "ends", "axes", "steps"], &["y"], &[]),
    ];
    assert!(at(18, &from_x(&[5, 4], &slice)).is_ok_and(|m| sizes(&m) == [3, 2]));
    let without_axes = [
        longs("starts", &[1, 0]),
        longs("ends", &[5, 4]),
        longs("steps", &[2, 3]),
        node("Slice", "n", &["x", "starts", "ends", "", "steps"], &["y"], &[]),
    ];
    assert_eq!(sizes(&one(&[5, 4], &without_axes)), [2, 2]);
    let pad = [
        longs("pads", &[1, 2]),
        longs("axes", &[-1]),
        node("Pad", "n", &["x", "pads", "", "axes"], &["y"], &[string("mode", "constant")]),
    ];
    assert_eq!(sizes(&one(&[5, 4], &pad)), [5, 7]);
    let uneven = node("Split", "n", &["x"], &["a", "b", "y"], &[int_attribute("num_outputs", 3)]);
    assert_eq!(sizes(&one(&[7, 4], std::slice::from_ref(&uneven))), [1, 4]);
    refused(17, &from_x(&[7, 4], &[node("Split", "n", &["x"], &["a", "b", "y"], &[])]), "equal parts");
    let open = one(&[-1, 4], &[uneven]);
    assert!(matches!(open.nodes()[0].op, Op::Deferred(Deferred::Part { parts: 3, index: 2, axis: 0 })));
    let resize = [
        floats("scales", &[4], &[1.0, 1.0, 2.0, 1.5]),
        node("Resize", "n", &["x", "", "scales"], &["y"], &[string("mode", "linear")]),
    ];
    assert_eq!(sizes(&one(&[1, 2, 3, 4], &resize)), [1, 2, 6, 6]);
    let to_sizes = [
        longs("sizes", &[7, 8]),
        node("Resize", "n", &["x", "", "", "sizes"], &["y"], &[ints("axes", &[2, 3])]),
    ];
    assert_eq!(sizes(&one(&[1, 2, 3, 4], &to_sizes)), [1, 2, 7, 8]);
    for (attribute, text) in [
        (string("mode", "cubic"), "cubic"),
        (string("coordinate_transformation_mode", "tf_crop_and_resize"), "tf_crop"),
        (int_attribute("antialias", 1), "antialias"),
    ] {
        let graph = [
            floats("scales", &[4], &[1.0, 1.0, 2.0, 1.5]),
            node("Resize", "n", &["x", "", "scales"], &["y"], &[attribute]),
        ];
        refused(18, &from_x(&[1, 2, 3, 4], &graph), text);
    }
}

#[test]
fn transposed_convolutions() {
    let convolve = |shape: &[i64], kernel: &[i64], attributes: &[Vec<u8>]| {
        let dims = [&[2, 3], kernel].concat();
        let w = floats("w", &dims, &vec![0.5; dims.iter().product::<i64>() as usize]);
        at(22, &from_x(shape, &[w, node("ConvTranspose", "c", &["x", "w"], &["y"], attributes)]))
    };
    let shape = |attributes: &[Vec<u8>]| sizes(&convolve(&[1, 2, 3, 3], &[3, 3], attributes).unwrap());
    let strides = ints("strides", &[3, 2]);
    assert_eq!(shape(&[]), [1, 3, 5, 5]);
    assert_eq!(shape(&[strides.clone(), ints("output_shape", &[10, 8])]), [1, 3, 10, 8]);
    assert_eq!(shape(&[strides.clone(), ints("output_padding", &[1, 1])]), [1, 3, 10, 8]);
    assert_eq!(shape(&[strides.clone(), ints("pads", &[1, 2, 1, 2])]), [1, 3, 7, 3]);
    assert_eq!(shape(&[strides, string("auto_pad", "SAME_UPPER")]), [1, 3, 9, 6]);
    let line = convolve(&[1, 2, 3], &[3], &[ints("strides", &[2]), ints("output_padding", &[1])]).unwrap();
    assert_eq!(sizes(&line), [1, 3, 8]);
    assert!(convolve(&[1, 2, 3, 3, 3], &[3, 3, 3], &[]).is_err());
    for attribute in [
        ints("strides", &[0, 1]),
        ints("pads", &[9, 9, 9, 9]),
        int_attribute("group", 3),
        ints("output_shape", &[-1, 2]),
        ints("output_shape", &[i64::MAX, i64::MAX]),
        ints("dilations", &[i64::MAX, 1]),
    ] {
        assert!(convolve(&[1, 2, 3, 3], &[3, 3], &[attribute]).is_err());
    }
}

/// Elements that predicates, indices and powers make.
#[test]
fn element_types() {
    let made = |opset: i64, inputs: &[(&str, i64)], node: Vec<u8>| {
        let inputs: Vec<Vec<u8>> = inputs.iter().map(|(n, t)| typed(11, n, *t, &[2, 3])).collect();
        let graph = [inputs.concat(), value(12, "y", &[1]), node];
        at(opset, &graph).map(|m| (m.value(m.outputs()[0]).element, ops(&m)))
    };
    let two = |op: &str| node(op, "n", &["a", "b"], &["y"], &[]);
    let one = |op: &str| node(op, "n", &["a"], &["y"], &[]);
    assert_eq!(made(17, &[("a", 1), ("b", 1)], two("Greater")).unwrap().0, Element::Bool);
    assert_eq!(made(17, &[("a", 7), ("b", 7)], two("Add")).unwrap(), (Element::I64, vec!["Add"]));
    assert_eq!(made(17, &[("a", 1)], one("ArgMax")).unwrap().0, Element::I64);
    assert_eq!(made(17, &[("a", 10)], one("IsNaN")).unwrap().0, Element::Bool);
    assert_eq!(made(17, &[("a", 6)], one("Relu")).unwrap(), (Element::I32, vec!["Max"]));
    assert_eq!(made(17, &[("a", 1), ("b", 7)], two("Pow")).unwrap(), (Element::F32, vec!["Cast", "Pow"]));
    let (element, names) = made(17, &[("a", 6), ("b", 1)], two("Pow")).unwrap();
    assert_eq!((element, names), (Element::I32, vec!["Cast", "Pow", "Cast"]));
    assert_eq!(made(17, &[("a", 1), ("b", 9)], two("CastLike")).unwrap().0, Element::Bool);
    let mean = node("Mean", "n", &["a", "b", "a"], &["y"], &[]);
    assert_eq!(made(17, &[("a", 1), ("b", 1)], mean).unwrap().1, ["Add", "Add", "Div"]);
    for (inputs, op) in
        [([("a", 1), ("b", 7)], "Add"), ([("a", 9), ("b", 9)], "Sub"), ([("a", 1), ("b", 1)], "And")]
    {
        let error = made(17, &inputs, two(op)).unwrap_err().to_string();
        assert!(error.contains("node `n`"), "{op}: {error}");
    }
    // Types that there are no tensors of: the node is named.
    for data_type in [4, 5, 8, 12, 13, 14, 16, 17, 21, 99, -1] {
        let error = made(17, &[("a", data_type)], one("Abs")).unwrap_err().to_string();
        assert!(error.contains("node `n`"), "{data_type}: {error}");
        let cast = node("Cast", "n", &["a"], &["y"], &[int_attribute("to", data_type)]);
        assert!(made(17, &[("a", 1)], cast).unwrap_err().to_string().contains("node `n`"));
    }
    for op in ["If", "Loop", "Scan", "NonMaxSuppression"] {
        assert!(made(17, &[("a", 1)], one(op)).unwrap_err().to_string().contains("node `n`"));
    }
}

#[test]
fn normalizations() {
    let graph = |op: &str, outputs: &[&str], groups: i64| {
        let n = if op == "LayerNormalization" { 4 } else { groups };
        let vector = vec![1.5; n as usize];
        let attributes = match op {
            "GroupNormalization" => vec![int_attribute("num_groups", 2), float("epsilon", 0.25)],
            _ => vec![float("epsilon", 0.25)],
        };
        let inputs = ["x", "s", "b"];
        from_x(
            &[-1, 6, 4],
            &[
                floats("s", &[n], &vector),
                floats("b", &[n], &vector),
                node(op, "n", &inputs, outputs, &attributes),
            ],
        )
    };
    let layer = at(17, &graph("LayerNormalization", &["y", "mean", "inverse"], 0)).unwrap();
    assert_eq!(ops(&layer), ["LayerNormalization"]);
    let mut read = graph("LayerNormalization", &["y", "mean", "inverse"], 0);
    read.push(value(12, "inverse", &[1]));
    let m = at(17, &read).unwrap();
    assert_eq!(m.value(m.outputs()[1]).shape, [Dim::from("batch"), Dim::Fixed(6), Dim::Fixed(1)]);
    let instance = at(17, &graph("InstanceNormalization", &["y"], 6)).unwrap();
    assert_eq!(instance.nodes()[0].op, Op::GroupNorm { groups: 6, epsilon: 0.25 });
    // One scale for each group, and one for each channel.
    for (opset, n) in [(18, 2), (21, 6)] {
        let m = at(opset, &graph("GroupNormalization", &["y"], n)).unwrap();
        assert_eq!(m.nodes()[0].op, Op::GroupNorm { groups: 2, epsilon: 0.25 });
        assert_eq!(m.constant(m.nodes()[0].inputs[1].unwrap()).unwrap().shape(), [6]);
    }
    refused(21, &graph("GroupNormalization", &["y"], 2), "channels");
}

#[test]
fn quantized_products() {
    let byte = |name: &str, q: u8| {
        wire::bytes(5, [wire::int(2, 2), wire::bytes(8, name), wire::bytes(9, [q])].concat())
    };
    let weight = {
        let fields = [wire::int(1, 2), wire::int(1, 2), wire::int(2, 2), wire::bytes(8, "w")];
        wire::bytes(5, [fields.concat(), wire::bytes(9, [1, 2, 3, 200])].concat())
    };
    let graph = [
        value(11, "x", &[-1, 2]),
        value(12, "y", &[-1, 2]),
        floats("s", &[], &[0.5]),
        byte("z", 3),
        weight,
        node("QuantizeLinear", "quantize", &["x", "s", "z"], &["q"], &[]),
        node("QLinearMatMul", "m", &["q", "s", "z", "w", "s", "z", "s", "z"], &["p"], &[]),
        node("DequantizeLinear", "back", &["p", "s", "z"], &["y"], &[]),
    ];
    let m = at(17, &graph).unwrap();
    assert_eq!(ops(&m), ["Quantize", "Linear", "Dequantize"]);
    assert_eq!(m.value(m.nodes()[1].outputs[0]).element, Element::I8);
    // Bytes that the caller gives, and gets.
    let mut given = graph.to_vec();
    given[0] = typed(11, "q", 2, &[-1, 2]);
    given.remove(5);
    given.pop();
    given[1] = typed(12, "p", 2, &[-1, 2]);
    let m = at(17, &given).unwrap();
    let output = m.value(m.outputs()[0]);
    assert_eq!((output.name.as_str(), output.element), ("p", Element::U8));
}

/// Little files that would make much, and numbers out of range.
#[test]
fn hostile_numbers() {
    let of_shape = |dims: &[i64]| {
        from_x(
            &[2, 3],
            &[
                longs("s", dims),
                node("ConstantOfShape", "n", &["s"], &["z"], &[]),
                node("Add", "a", &["x", "z"], &["y"], &[]),
            ],
        )
    };
    for dims in [&[1 << 40][..], &[1 << 30, 1 << 30, 1 << 30], &[i64::MAX, 2], &[-1], &[1; 9]] {
        assert!(at(17, &of_shape(dims)).is_err(), "{dims:?}");
    }
    let pair = |op: &str, numbers: &[i64]| {
        from_x(&[2, 3], &[longs("s", numbers), node(op, "n", &["x", "s"], &["y"], &[])])
    };
    for (op, numbers) in [
        ("Tile", &[1 << 62, 1 << 62][..]),
        ("Tile", &[-1, 1]),
        ("Tile", &[1]),
        ("Expand", &[i64::MAX, 2, 3]),
        ("Expand", &[4, 3]),
        ("Expand", &[1; 9]),
        ("Pad", &[1 << 62, 0, 1 << 61, 0]),
        ("Pad", &[-3, 0, 0, 0]),
        ("Pad", &[1]),
        ("Unsqueeze", &[0, 0]),
        ("Unsqueeze", &[4]),
        ("Unsqueeze", &[i64::MIN]),
        ("Unsqueeze", &[0, 1, 2, 3, 4, 5, 6, 7]),
        ("Squeeze", &[0]),
        ("Squeeze", &[i64::MIN]),
        ("ReduceSum", &[0, 0]),
        ("ReduceSum", &[2]),
        ("CumSum", &[-3]),
        ("Reshape", &[7, 1]),
        ("Reshape", &[i64::MIN]),
        ("Split", &[1, 2]),
        ("Split", &[i64::MAX, i64::MAX]),
    ] {
        let error = at(17, &pair(op, numbers)).unwrap_err().to_string();
        assert!(error.contains("node `n`"), "{op} {numbers:?}: {error}");
    }
    for (op, axis) in [("Concat", 2), ("Concat", -3), ("Softmax", 2), ("ArgMax", i64::MIN), ("Gather", 9)] {
        let graph = [longs("i", &[0]), node(op, "n", &["x", "x"], &["y"], &[int_attribute("axis", axis)])];
        assert!(at(17, &from_x(&[2, 3], &graph)).is_err(), "{op} {axis}");
    }
    let range = |start: i64, limit: i64, delta: i64| {
        let number = |name: &str, n: i64| {
            let fields = [wire::int(2, 7), wire::bytes(8, name), wire::bytes(9, n.to_le_bytes())];
            wire::bytes(5, fields.concat())
        };
        let ends = [number("a", start), number("b", limit), number("c", delta)];
        let node = node("Range", "n", &["a", "b", "c"], &["y"], &[]);
        at(17, &[&ends[..], &[value(11, "x", &[1]), value(12, "y", &[1]), node]].concat())
    };
    for (start, limit, delta) in
        [(0, 1, 0), (0, i64::MAX, 1), (i64::MIN, i64::MAX, 1), (i64::MAX, i64::MIN, -1)]
    {
        assert!(range(start, limit, delta).is_err(), "{start} {limit} {delta}");
    }
    assert_eq!(sizes(&range(0, 7, 3).unwrap()), [3]);
    // Many that are each below the bound.
    let mut many = from_x(&[2, 3], &[longs("s", &[1 << 26])]);
    for i in 0..8 {
        many.push(node("ConstantOfShape", "n", &["s"], &[&format!("z{i}")], &[]));
    }
    assert!(at(17, &many).unwrap_err().to_string().contains("elements"));
}

/// A little of everything: each line is a node's operator, its inputs and its attributes.
fn menagerie() -> Vec<u8> {
    let mut graph = from_x(
        &[2, 4, 6],
        &[
            longs("axes", &[1]),
            longs("two", &[2, 2, 1]),
            longs("starts", &[1]),
            longs("ends", &[3]),
            longs("pads", &[0, 0, 1, 0, 0, 1]),
            longs("target", &[2, -1]),
            longs("wide", &[2, 4, 6]),
            floats("scales", &[3], &[1.0, 1.0, 2.0]),
            floats("w", &[4, 2, 3], &[0.25; 24]),
            floats("v", &[6], &[1.0; 6]),
        ],
    );
    let axis = int_attribute("axis", -1);
    type Node<'a> = (&'a str, &'a [&'a str], &'a [Vec<u8>]);
    let nodes: [Node; 19] = [
        ("ReduceMean", &["x", "axes"], &[int_attribute("keepdims", 1)]),
        ("Slice", &["x", "starts", "ends", "axes"], &[]),
        ("Pad", &["x", "pads"], &[string("mode", "reflect")]),
        ("Tile", &["x", "two"], &[]),
        ("Expand", &["x", "wide"], &[]),
        ("Resize", &["x", "", "scales"], &[string("mode", "linear")]),
        ("ConvTranspose", &["x", "w"], &[ints("strides", &[2])]),
        ("LayerNormalization", &["x", "v", "v"], &[float("epsilon", 0.1)]),
        ("Softmax", &["x"], std::slice::from_ref(&axis)),
        ("ArgMax", &["x"], std::slice::from_ref(&axis)),
        ("Concat", &["x", "x"], std::slice::from_ref(&axis)),
        ("Gather", &["x", "axes"], std::slice::from_ref(&axis)),
        ("Unsqueeze", &["x", "axes"], &[]),
        ("Shape", &["x"], &[int_attribute("start", 1)]),
        ("ConstantOfShape", &["wide"], &[]),
        ("CumSum", &["x", "axes"], &[]),
        ("Greater", &["x", "v"], &[]),
        ("Gelu", &["x"], &[string("approximate", "tanh")]),
        ("Reshape", &["x", "target"], &[]),
    ];
    for (i, (op, inputs, attributes)) in nodes.iter().enumerate() {
        let name = format!("n{i}");
        graph.push(node(op, &name, inputs, &[&name], attributes));
        graph.push(value(12, &name, &[1]));
    }
    graph.push(node("Split", "split", &["x"], &["y", "z"], &[int_attribute("num_outputs", 2), axis]));
    model(20, &graph)
}

#[test]
fn the_menagerie_is_sound() {
    let m = Model::from_onnx_bytes(&menagerie()).unwrap();
    assert_eq!(m.outputs().len(), 20);
    m.infer_shapes(&[("x", vec![2, 4, 6])]).unwrap();
}

proptest! {
    #[test]
    fn damaged_files_never_panic(
        damage in proptest::collection::vec((0usize..1 << 16, any::<u8>()), 0..5),
        flips in proptest::collection::vec((0usize..1 << 16, 0u32..8), 0..5),
        cut in proptest::option::weighted(0.2, 0usize..1 << 16),
    ) {
        let mut bytes = menagerie();
        let n = bytes.len();
        damage.into_iter().for_each(|(at, byte)| bytes[at % n] = byte);
        flips.into_iter().for_each(|(at, bit)| bytes[at % n] ^= 1 << bit);
        bytes.truncate(cut.map_or(n, |c| c % n));
        if let Ok(model) = Model::from_onnx_bytes(&bytes) {
            let _ = model.infer_shapes(&[("x", vec![2, 4, 6])]);
            let _ = model.to_onnx_bytes();
        }
    }

    /// Honest bytes around any numbers.
    #[test]
    fn any_numbers_never_panic(
        op in proptest::sample::select(vec![
            "Squeeze", "Unsqueeze", "Tile", "Expand", "Pad", "ReduceSum", "ReduceMax", "CumSum", "Reshape", "Split",
            "Gather", "ConstantOfShape", "Slice", "Resize", "Range",
        ]),
        shape in proptest::collection::vec(prop_oneof![-1i64..5, Just(1 << 40), Just(i64::MAX)], 0..9),
        numbers in proptest::collection::vec(prop_oneof![-3i64..9, any::<i64>()], 0..9),
        axis in prop_oneof![-9i64..9, any::<i64>()],
        opset in 11i64..24,
    ) {
        let inputs: &[&str] = match op {
            "Slice" => &["x", "s", "s", "s", "s"],
            "Resize" => &["x", "", "", "s"],
            "Range" => &["s", "s", "s"],
            "ConstantOfShape" => &["s"],
            _ => &["x", "s"],
        };
        for attributes in [vec![], vec![int_attribute("axis", axis)], vec![ints("axes", &numbers)]] {
            let nodes = [longs("s", &numbers), node(op, "n", inputs, &["y"], &attributes)];
            if let Ok(model) = at(opset, &from_x(&shape, &nodes)) {
                let _ = model.to_onnx_bytes();
            }
        }
    }
}
