//! What PyTorch, ONNX Runtime and numpy computed, against what this crate computes.
//!
//! Expected values are read from the directory that `WEIGHBRIDGE_CONFORMANCE` names, absolute or relative to the crate
//! or the working directory, else from the sample in `tests/vectors` (see its README for where they come from).
//!
//! A family is a directory of cases of one kind, `torch/<family>` or `ort/<family>`; it is driven by its `index.json`
//! alone. Cases whose result is implementation-defined are left out, and counted with their reason. Each case is
//! decoded into inputs and expected outputs, then checked against each [`backend::Backend`].

#[path = "../common/mod.rs"]
mod common;

mod backend;
mod compare;
mod conv;
mod gpu;
mod half;
mod harness;
mod linear;
mod observer;
mod onnx_node;
mod quantize;

/// A test for each family: `name: "group/family" => check;`.
macro_rules! families {
    ($($name:ident: $family:literal => $check:path;)*) => {
        $(
            #[test]
            fn $name() {
                harness::run($family, $check);
            }
        )*

        /// The sample in the repository has every family, so that no check is vacuous without the full set.
        #[test]
        fn the_sample_has_every_family() {
            $(assert!(harness::sample().join($family).join("index.json").is_file(), $family);)*
        }
    };
}

families! {
    torch_quantize_per_tensor: "torch/quantize_per_tensor" => quantize::per_tensor;
    torch_quantize_per_channel: "torch/quantize_per_channel" => quantize::per_channel;
    torch_per_token: "torch/per_token" => quantize::per_token;
    ort_quantize_linear: "ort/QuantizeLinear" => quantize::quantize_linear;
    ort_dynamic_quantize_linear: "ort/DynamicQuantizeLinear" => quantize::dynamic_quantize_linear;
    torch_min_max: "torch/observer_MinMaxObserver" => observer::observer;
    torch_moving_average: "torch/observer_MovingAverageMinMaxObserver" => observer::observer;
    torch_per_channel_min_max: "torch/observer_PerChannelMinMaxObserver" => observer::observer;
    torch_moving_average_per_channel: "torch/observer_MovingAveragePerChannelMinMaxObserver" => observer::observer;
    torch_choose_qparams_dynamic: "torch/choose_qparams_dynamic" => observer::choose_qparams_dynamic;
    torch_dynamic_linear: "torch/dynamic_linear" => linear::dynamic_linear;
    torch_static_linear: "torch/static_linear" => linear::static_linear;
    ort_mat_mul_integer: "ort/MatMulInteger" => linear::mat_mul_integer;
    ort_qlinear_mat_mul: "ort/QLinearMatMul" => linear::qlinear_mat_mul;
    torch_static_conv2d: "torch/static_conv2d" => conv::static_conv2d;
    ort_qlinear_conv: "ort/QLinearConv" => conv::qlinear_conv;
    ort_conv_integer: "ort/ConvInteger" => conv::conv_integer;
    torch_f16_convert: "torch/f16_convert" => half::convert;
    torch_f16_matmul: "torch/f16_matmul" => half::matmul;
}
