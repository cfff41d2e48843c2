//! Every kind of error is reached, and says what is wrong in numbers.

#[path = "common/gpu.rs"]
mod gpu;

use gpu::{device, gpu};
use weighbridge::calibrate::Ranges;
use weighbridge::graph::{Activation, Dim, Model, Op, Window};
use weighbridge::ops::{
    Blocking, Conv, ConvBindings, ConvDescriptor, ConvOperands, EpilogueBindings, Gemm, GemmBindings,
    GemmDescriptor, GemmI8, GemmI8Bindings, GemmI8Descriptor, Operand, Packed, Quantize, QuantizeBindings,
    QuantizeDescriptor,
};
use weighbridge::quant::{Observer, QuantParams, Range};
use weighbridge::tensor::{Data, Element, Tensor, View};
use weighbridge::{Error, Gpu};

/// The result is an error of this kind, whose message has these parts.
macro_rules! refused {
    ($result:expr, $kind:pat, $($part:expr),+ $(,)?) => {{
        let error = $result.err().expect("nothing was refused");
        assert!(matches!(error, $kind), "{error:?} is not {}", stringify!($kind));
        let text = error.to_string();
        $(assert!(text.contains($part), "`{text}` does not say `{}`", $part);)+
    }};
}

/// Buffers of a product of f32 matrices.
struct Matrices {
    a: wgpu::Buffer,
    b: wgpu::Buffer,
    out: wgpu::Buffer,
}

impl Matrices {
    fn new(gpu: &Gpu) -> Self {
        let room = || gpu.buffer(4096).unwrap();
        Self { a: room(), b: room(), out: room() }
    }

    /// `[8, 16]` by `[12, 16]`.
    fn bindings(&self) -> GemmBindings<'_> {
        GemmBindings {
            out_params: None,
            a: View::new(&self.a, Element::F32, 8, 16),
            b: View::new(&self.b, Element::F32, 12, 16),
            bias: None,
            out: View::new(&self.out, Element::F32, 8, 12),
            batch: 1,
        }
    }
}

#[test]
fn shapes() {
    let Some(gpu) = gpu() else { return };
    let m = Matrices::new(gpu);
    let ok = m.bindings();
    let op = Gemm::with_kernels(gpu.kernels(), &GemmDescriptor::default()).unwrap();
    op.bind(&ok).unwrap();
    let b = View { columns: 15, pitch: 15, ..ok.b };
    refused!(
        op.bind(&GemmBindings { out_params: None, b, ..ok }),
        Error::Shape { op: "gemm", .. },
        "[12, 15]",
        "k is 16"
    );
    let out = View { rows: 9, ..ok.out };
    refused!(
        op.bind(&GemmBindings { out_params: None, out, ..ok }),
        Error::Shape { .. },
        "a has 8 rows and out 9"
    );
    refused!(
        op.bind(&GemmBindings { out_params: None, batch: 3, ..ok }),
        Error::Shape { .. },
        "8 rows",
        "3 batches"
    );
    let bias = Some(View::new(&m.a, Element::F32, 1, 11));
    refused!(
        op.bind(&GemmBindings { out_params: None, bias, ..ok }),
        Error::Shape { .. },
        "[1, 11]",
        "expected [1, 12]"
    );

    let q = Quantize::with_kernels(gpu.kernels(), &QuantizeDescriptor::default()).unwrap();
    let bindings = QuantizeBindings {
        x: View::new(&m.a, Element::F32, 8, 16),
        params: View::params(&m.b, 7),
        out: View::new(&m.out, Element::I8, 8, 16),
    };
    refused!(q.bind(&bindings), Error::Shape { .. }, "7 elements", "8 (rows)", "16 (columns)");

    let conv = conv([3, 3]);
    let conv = Conv::with_kernels(gpu.kernels(), &conv).unwrap();
    let bindings = ConvBindings {
        x: View::new(&m.a, Element::F32, 4 * 5, 4),
        batch: 1,
        size: [2, 2],
        weights: View::new(&m.b, Element::I32, 36, 4),
        operands: ConvOperands::Float { bias: None, out_params: None },
        out: View::new(&m.out, Element::F32, 4, 4),
    };
    refused!(conv.bind(&bindings), Error::Shape { .. }, "[2, 2]");
    refused!(conv.bind(&ConvBindings { size: [4, 4], ..bindings }), Error::Shape { .. }, "20 rows", "[4, 4]");
    refused!(Tensor::f32([2, 3], vec![0.0; 5]), Error::Shape { .. }, "[2, 3]", "5 elements");
}

fn conv(kernel: [usize; 2]) -> ConvDescriptor {
    ConvDescriptor {
        element: Element::F32,
        out: Element::F32,
        window: Window::new(kernel, [1, 1]),
        groups: 1,
        activation: Activation::Identity,
        max_pool: false,
        b_zero_point: false,
        operand: None,
        blocking: None,
    }
}

#[test]
fn elements() {
    let Some(gpu) = gpu() else { return };
    let kernels = gpu.kernels();
    let gemm = GemmDescriptor { element: Element::I32, ..Default::default() };
    refused!(Gemm::with_kernels(kernels, &gemm), Error::Element { .. }, "gemm", "I32", "F32 or F16");
    let gemm = GemmI8Descriptor { out: Element::U8, ..Default::default() };
    refused!(GemmI8::with_kernels(kernels, &gemm), Error::Element { .. }, "gemm_i8", "U8");
    let descriptor = QuantizeDescriptor { element: Element::I64, by_row: false };
    refused!(Quantize::with_kernels(kernels, &descriptor), Error::Element { .. }, "quantize", "I64");
    let long = Tensor::new([2], Data::I64(vec![7, 1 << 40])).unwrap();
    refused!(gpu.upload(&long), Error::Argument { .. }, "upload", "element 1", "1099511627776", "32 bits");
}

#[test]
fn arguments() {
    refused!(QuantParams::new(0.0, 0, -128, 127), Error::Argument { .. }, "0");
    refused!(Range::new(3.0, -2.5).check(), Error::Argument { .. }, "3..-2.5");
    let Some(gpu) = gpu() else { return };
    let kernels = gpu.kernels();
    let gemm = GemmDescriptor { operand: Some(Operand::F16), ..Default::default() };
    refused!(Gemm::with_kernels(kernels, &gemm), Error::Argument { .. }, "F16", "F32");
    refused!(Conv::with_kernels(kernels, &conv([0, 3])), Error::Argument { .. }, "[0, 3]", "positive");
    let relu = GemmI8Descriptor { out: Element::I32, activation: Activation::Relu, ..Default::default() };
    refused!(GemmI8::with_kernels(kernels, &relu), Error::Argument { .. }, "Relu", "i32");
}

#[test]
fn views() {
    let Some(gpu) = gpu() else { return };
    let m = Matrices::new(gpu);
    let ok = m.bindings();
    let op = Gemm::with_kernels(gpu.kernels(), &GemmDescriptor::default()).unwrap();
    let align = u64::from(gpu.device().limits().min_storage_buffer_offset_alignment);
    assert!(align > 4);
    let expected = format!("offset 4 is not a multiple of {align}");
    refused!(
        op.bind(&GemmBindings { out_params: None, a: ok.a.at(4), ..ok }),
        Error::View { view: "a", .. },
        "gemm",
        "`a`",
        &expected
    );
    refused!(
        op.bind(&GemmBindings { out_params: None, a: ok.a.at(3840), ..ok }),
        Error::View { view: "a", .. },
        "512 bytes at offset 3840",
        "4096"
    );
    refused!(
        op.bind(&GemmBindings { out_params: None, a: ok.a.with_pitch(15), ..ok }),
        Error::View { view: "a", .. },
        "pitch of 15",
        "row of 16"
    );
    let plain = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 4096,
        usage: wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    refused!(
        op.bind(&GemmBindings { out_params: None, out: View::new(&plain, Element::F32, 8, 12), ..ok }),
        Error::View { view: "out", .. },
        "COPY_DST",
        "no STORAGE"
    );
    refused!(
        pollster::block_on(gpu.read_words(&m.a, 4092, 2)),
        Error::View { .. },
        "8 bytes at 4092",
        "4096"
    );
}

#[test]
fn limits() {
    let Some(gpu) = gpu() else { return };
    // The longest sum of int8 products that an i32 holds, and one more.
    let k = 131_071;
    let one =
        gpu.upload_words(bytemuck::cast_slice(&[QuantParams::new(1.0, 0, -128, 127).unwrap()])).unwrap();
    let (a, out, sums) = (gpu.buffer(1 << 18).unwrap(), gpu.buffer(16).unwrap(), gpu.buffer(16).unwrap());
    let b = gpu.buffer(1 << 18).unwrap();
    let op = GemmI8::with_kernels(gpu.kernels(), &GemmI8Descriptor::default()).unwrap();
    let bind = |k: usize| {
        op.bind(&GemmI8Bindings {
            a: View::new(&a, Element::I8, 1, k),
            b: View::new(&b, Element::I8, 1, k),
            epilogue: EpilogueBindings {
                a_params: View::params(&one, 1),
                b_params: View::params(&one, 1),
                b_sums: View::new(&sums, Element::I32, 1, 1),
                bias: None,
                out_params: None,
            },
            out: View::new(&out, Element::F32, 1, 1),
            batch: 1,
        })
    };
    bind(k).unwrap();
    refused!(
        bind(k + 1),
        Error::Limit { needed: 131_072, limit: 131_071, .. },
        "gemm_i8",
        "131072",
        "131071"
    );

    refused!(gpu.buffer(1 << 60), Error::Limit { op: "buffer", .. }, "1152921504606846976");

    let small = wgpu::Limits { max_storage_buffer_binding_size: 1 << 16, ..wgpu::Limits::default() };
    let small = device(gpu, wgpu::Features::empty(), small);
    let x = small.buffer(1 << 17).unwrap();
    let out = small.buffer(1 << 17).unwrap();
    let params = small.buffer(16).unwrap();
    let op = Quantize::new(small.device(), &QuantizeDescriptor::default()).unwrap();
    let bind = |columns| {
        op.bind(&QuantizeBindings {
            x: View::new(&x, Element::F32, 1, columns),
            params: View::params(&params, 1),
            out: View::new(&out, Element::I8, 1, columns),
        })
    };
    bind(1 << 14).unwrap();
    refused!(bind((1 << 14) + 16), Error::Limit { .. }, "`x`", "65600", "65536");
}

#[test]
fn features() {
    let Some(gpu) = gpu() else { return };
    // A device as everyone has it.
    let plain = device(gpu, wgpu::Features::empty(), wgpu::Limits::default());
    let native =
        GemmDescriptor { element: Element::F16, operand: Some(Operand::F16Native), ..Default::default() };
    refused!(
        Gemm::new(plain.device(), &native),
        Error::Feature { op: "gemm", .. },
        "SHADER_F16",
        "when the device is made"
    );
    let blocking = Some(Blocking::Broadcast { lanes: 8, groups: 1, quads: 1 });
    let broadcast = GemmDescriptor { blocking, ..Default::default() };
    refused!(Gemm::new(plain.device(), &broadcast), Error::Feature { .. }, "SUBGROUP");
    let broadcast = ConvDescriptor { blocking, ..conv([1, 1]) };
    refused!(Conv::new(plain.device(), &broadcast), Error::Feature { op: "conv", .. }, "SUBGROUP");
    // Which is enough for every default.
    for element in [Element::F32, Element::F16] {
        Gemm::new(plain.device(), &GemmDescriptor { element, ..Default::default() }).unwrap();
    }
}

#[test]
fn adapters_and_devices() {
    let none = pollster::block_on(Gpu::with_adapter_name(Some("no such adapter")));
    refused!(none, Error::NoAdapter { .. }, "mesa-vulkan-drivers");
    let Some(gpu) = gpu() else { return };
    let none = pollster::block_on(Gpu::with_adapter_name(Some("no such adapter")));
    refused!(none, Error::NoAdapter { .. }, "`no such adapter`", &gpu.device().adapter_info().name);

    let lost = device(gpu, wgpu::Features::empty(), wgpu::Limits::default());
    let buffer = lost.upload_words(&[1, 2, 3, 4]).unwrap();
    lost.device().on_uncaptured_error(std::sync::Arc::new(|_| {}));
    lost.device().destroy();
    refused!(pollster::block_on(lost.read_words(&buffer, 0, 4)), Error::Device(_), "device: ");
}

#[test]
fn models() {
    let mut model = Model::new("m");
    let x = model.add_input("x", Element::F32, vec![Dim::Fixed(2), Dim::Fixed(7)]).unwrap();
    refused!(model.add_input("x", Element::F32, vec![Dim::Fixed(1)]), Error::Model(_), "model: ", "`x`");
    let w = model.add_constant("w", Tensor::f32([3, 5], vec![0.0; 15]).unwrap()).unwrap();
    let linear = Op::Linear { activation: Activation::Identity };
    let result = model.add_node("fc1", linear, &[x, w]).and_then(|y| {
        model.set_outputs(&[y])?;
        model.validate()
    });
    refused!(result, Error::Node { .. }, "`fc1`", "opset 0", "7", "5");
    let packed = Packed::new(&Tensor::f32([6, 2], vec![0.0; 12]).unwrap(), 4);
    refused!(packed, Error::Shape { .. }, "[6, 2]", "4 groups");
}

#[test]
fn calibration() {
    let mut ranges = Ranges::new(Observer::MinMax);
    refused!(ranges.get("relu_3"), Error::Calibration { .. }, "`relu_3`", "not observed");
    ranges.values.insert("relu_3".into(), Range::new(0.0, f32::INFINITY));
    refused!(ranges.get("relu_3"), Error::Calibration { .. }, "`relu_3`", "0..inf");
    let other = Ranges::new(Observer::moving_average());
    refused!(ranges.merge(&other), Error::Calibration { .. }, "MinMax", "0.01");
}

#[cfg(feature = "onnx")]
#[test]
fn files() {
    let missing = std::env::temp_dir().join("weighbridge no such file.onnx");
    refused!(Model::from_onnx_file(missing), Error::Io { .. }, "weighbridge no such file.onnx", "os error 2");
    refused!(Model::from_onnx_bytes(b"neither ONNX nor protobuf"), Error::Format { .. }, "ONNX model");
}
