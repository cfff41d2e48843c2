//! What lies beside an ONNX file: tensors' data in other files, and weights in safetensors files. Without a device.
#![cfg(feature = "onnx")]

#[path = "common/wire.rs"]
mod wire;

use weighbridge::Error;
use weighbridge::graph::Model;
use weighbridge::tensor::{Data, Tensor};
use wire::{external, model, node, value};

/// A graph from `x` of this shape to `y`, and what else is in it.
fn from_x(shape: &[i64], more: &[Vec<u8>]) -> Vec<Vec<u8>> {
    [&[value(11, "x", shape), value(12, "y", &[1])], more].concat()
}

#[test]
fn data_in_other_files() {
    let directory = std::env::temp_dir().join(format!("weighbridge-external-{}", std::process::id()));
    std::fs::create_dir_all(directory.join("model/data")).unwrap();
    let inner = directory.join("model");
    let data: Vec<u8> = (0..8).flat_map(|i| (i as f32).to_le_bytes()).collect();
    std::fs::write(inner.join("data/weights.bin"), &data).unwrap();
    std::fs::write(directory.join("outside.bin"), &data).unwrap();
    let graph = |entries: &[(&str, &str)], dims: &[i64]| {
        model(
            17,
            &from_x(&[1, 4], &[external("w", dims, entries), node("Add", "a", &["x", "w"], &["y"], &[])]),
        )
    };
    let read =
        |entries: &[(&str, &str)], dims: &[i64]| Model::from_onnx_bytes_in(&graph(entries, dims), &inner);
    let here = ("location", "data/weights.bin");
    let m = read(&[here, ("offset", "8"), ("length", "16")], &[4]).unwrap();
    let w = m.value_by_name("w").and_then(|id| m.constant(id)).unwrap();
    assert_eq!(w.as_f32().unwrap(), [2.0, 3.0, 4.0, 5.0]);
    assert!(read(&[here], &[2, 4]).is_ok());
    std::fs::write(inner.join("m.onnx"), graph(&[here], &[8, 1])).unwrap();
    assert!(Model::from_onnx_file(inner.join("m.onnx")).is_ok());
    #[cfg(unix)]
    let _ = std::os::unix::fs::symlink(directory.join("outside.bin"), inner.join("link.bin"));
    for (entries, dims) in [
        (&[("location", "../outside.bin")][..], &[8][..]),
        (&[("location", "data/../../outside.bin")], &[8]),
        (&[("location", "link.bin")], &[8]),
        (&[("location", "/etc/hostname")], &[8]),
        (&[("location", "nowhere.bin")], &[8]),
        (&[("location", "data")], &[8]),
        (&[("location", "")], &[8]),
        (&[], &[8]),
        (&[here, ("offset", "33")], &[0]),
        (&[here, ("offset", "18446744073709551615"), ("length", "4")], &[1]),
        (&[here, ("offset", "-1")], &[8]),
        (&[here, ("offset", "4"), ("length", "32")], &[8]),
        (&[here, ("length", "99999999999")], &[8]),
        (&[here], &[7]),
        (&[here], &[1 << 62, 1 << 62]),
        (&[here], &[-8]),
    ] {
        let error = read(entries, dims).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Io { .. }) || text.contains("`w`"), "{entries:?} {dims:?}: {text}");
    }
    let error = Model::from_onnx_bytes(&graph(&[here], &[8])).unwrap_err().to_string();
    assert!(error.contains("`w`") && error.contains("directory"), "{error}");
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn weights_by_name() {
    let cnn = Model::from_onnx_bytes(include_bytes!("../assets/fashion_mnist/cnn.onnx")).unwrap();
    let bytes = cnn.to_safetensors_bytes().unwrap();
    let mut other = cnn.clone();
    let same = |a: &Model, b: &Model| a.constants().zip(b.constants()).all(|(a, b)| a.1 == b.1);
    assert_eq!(other.load_safetensors_bytes(&bytes).unwrap(), cnn.constants().count());
    assert!(same(&cnn, &other));
    // Every type, and a tensor that the model has not.
    let mut all = Model::new("all");
    let data = [
        ("f32", Data::F32(vec![1.5, -2.0])),
        ("i8", Data::I8(vec![-1, 2])),
        ("u8", Data::U8(vec![255, 2])),
        ("i32", Data::I32(vec![-70000, 2])),
        ("i64", Data::I64(vec![i64::MIN, 2])),
        ("bool", Data::Bool(vec![true, false])),
    ];
    for (name, data) in &data {
        all.add_constant(*name, Tensor::new([2], data.clone()).unwrap()).unwrap();
    }
    let path = std::env::temp_dir().join(format!("weighbridge-{}.safetensors", std::process::id()));
    all.weights_to_safetensors(&path).unwrap();
    let mut zeros = Model::new("zeros");
    zeros.add_constant("f32", Tensor::f32([2], [0.0; 2]).unwrap()).unwrap();
    assert_eq!(zeros.load_safetensors(&path).unwrap(), 1);
    assert_eq!(zeros.constants().next().unwrap().1.as_f32().unwrap(), [1.5, -2.0]);
    let mut round = all.clone();
    assert_eq!(round.load_safetensors(&path).unwrap(), 6);
    assert!(same(&all, &round));
    std::fs::remove_file(&path).unwrap();
    // Other shapes and types are named, and nothing is changed by half.
    let bytes = all.to_safetensors_bytes().unwrap();
    let mut wrong = Model::new("wrong");
    wrong.add_constant("f32", Tensor::f32([2], [7.0; 2]).unwrap()).unwrap();
    wrong.add_constant("i8", Tensor::new([1, 2], Data::I8(vec![0; 2])).unwrap()).unwrap();
    let error = wrong.load_safetensors_bytes(&bytes).unwrap_err().to_string();
    assert!(error.contains("`i8`") && error.contains("[1, 2]"), "{error}");
    assert_eq!(wrong.constants().next().unwrap().1.as_f32().unwrap(), [7.0; 2]);
    for n in 0..bytes.len() {
        assert!(round.load_safetensors_bytes(&bytes[..n]).is_err(), "{n} bytes");
    }
}
