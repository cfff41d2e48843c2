//! Integer matrix products: accumulators, float outputs, requantized outputs.

use crate::backend::{Backend, Division, Requantize};
use crate::common::npz::Array;
use crate::compare::{equal, near_ties, relative, requantize_slack};
use crate::harness::{Case, Run, Stop};
use crate::quantize::{dequantized, full, measured, parameters, params, quantized};
use weighbridge::graph::Activation;
use weighbridge::quant::Scheme;
use weighbridge::reference::{self, Axis, BLayout, Bias, GemmI8, Scales};

/// What a fused ReLU's flag says.
pub fn activation(case: &Case) -> Activation {
    if case.flag("relu") { Activation::Relu } else { Activation::Identity }
}

/// Zero points in the signed domain: those of `name`, zero where there are none, of integers like `q`.
pub fn zero_points(case: &Case, name: &str, q: &Array) -> Result<Vec<i32>, String> {
    let zeros = case.find(name).map_or(Ok(vec![0]), Array::i32s)?;
    Ok(zeros.iter().map(|z| z - q.shift()).collect())
}

/// The bias of PyTorch, in f32.
fn float_bias(case: &Case) -> Result<Option<&[f32]>, String> {
    case.find("bias").map(Array::f32s).transpose()
}

/// Weights quantized with their own scale, per tensor or per output channel.
pub fn weights(case: &Case, backend: &dyn Backend) -> Run<()> {
    let Some(w) = case.find("w") else { return Ok(()) };
    let (scale, zeros) = (case.get("w_scale")?.f32s()?, case.get("w_zero_point")?.i32s()?);
    let params = params(scale, &zeros, 0, full(0))?;
    let axis = if params.len() == 1 { Axis::tensor(w.f32s()?.len()) } else { Axis::of(&w.shape, 0)? };
    quantized("w_q", backend, w.f32s()?, axis, &params, Division::Reciprocal, &case.get("w_q")?.bytes()?)
}

/// Requantizes a product and compares each expected output, which all follow one formula.
fn product(
    backend: &dyn Backend,
    args: &GemmI8,
    epilogue: &Requantize,
    expected: &[(&str, Vec<i8>)],
) -> Run<()> {
    let exact = epilogue.reference(&reference::gemm_i8(args)?, args.n)?.exact;
    let got = backend.gemm_i8_requantize(args, epilogue)?;
    for (name, expected) in expected {
        near_ties(name, backend.exact(), &got, expected, |i| exact[i], requantize_slack)?;
    }
    Ok(())
}

/// Rows and columns of a matrix with its outer dimensions taken together.
fn matrix(array: &Array) -> Run<(usize, usize)> {
    let Some((&columns, outer)) = array.shape.split_last() else {
        return Err(Stop::Failed("a scalar is not a matrix".into()));
    };
    Ok((outer.iter().product(), columns))
}

/// `torch.ops.quantized.linear_dynamic`: the range of x, its parameters and integers, and the float output.
pub fn dynamic_linear(case: &Case, backend: &dyn Backend) -> Run<()> {
    weights(case, backend)?;
    let (x_array, w) = (case.get("x")?, case.get("w_q")?);
    let ((rows, k), (n, _)) = (matrix(x_array)?, matrix(w)?);
    let (x, axis) = (x_array.f32s()?, Axis::tensor(rows * k));
    // The module's default, where a case says nothing.
    let reduce_range = case.params["reduce_range"].as_bool().unwrap_or(true);
    let params = measured(backend, x, axis, Scheme::fbgemm_dynamic(reduce_range))?;
    parameters(
        backend.exact(),
        &params,
        128,
        case.get("x_scale")?.f32s()?,
        &case.get("x_zero_point")?.i32s()?,
    )?;
    let x_q = match case.find("x_q") {
        Some(expected) => {
            let expected = expected.bytes()?;
            quantized("x_q", backend, x, axis, &params, Division::Reciprocal, &expected)?;
            expected
        }
        None => reference::quantize(x, axis, &params)?,
    };
    let args = GemmI8 {
        batch: 1,
        m: rows,
        n,
        k,
        a: &x_q,
        b: &w.bytes()?,
        layout: BLayout::Nk,
        a_zero_point: &[params[0].zero_point],
        b_zero_point: &zero_points(case, "w_zero_point", w)?,
    };
    let scales = Scales { a: &[params[0].scale], b: case.get("w_scale")?.f32s()? };
    let y = backend.gemm_i8_f32(&args, scales, float_bias(case)?, activation(case))?;
    for name in ["y_fbgemm", "y_x86"] {
        if let Some(expected) = case.find(name) {
            relative(name, &y, expected.f32s()?)?;
        }
    }
    Ok(())
}

/// `torch.ops.quantized.linear` and `linear_relu`, by each engine.
pub fn static_linear(case: &Case, backend: &dyn Backend) -> Run<()> {
    weights(case, backend)?;
    let (x, w) = (case.get("x_q")?, case.get("w_q")?);
    let ((rows, k), (n, _)) = (matrix(x)?, matrix(w)?);
    let x_scale = case.scalar("x_scale")?;
    let x_params = params(&[x_scale], &case.get("x_zero_point")?.i32s()?, x.shift(), full(x.shift()))?;
    let x_q = x.bytes()?;
    let axis = Axis::tensor(x_q.len());
    quantized("x_q", backend, case.get("x")?.f32s()?, axis, &x_params, Division::Reciprocal, &x_q)?;
    let args = GemmI8 {
        batch: 1,
        m: rows,
        n,
        k,
        a: &x_q,
        b: &w.bytes()?,
        layout: BLayout::Nk,
        a_zero_point: &[x_params[0].zero_point],
        b_zero_point: &zero_points(case, "w_zero_point", w)?,
    };
    let names = ["y_q_fbgemm", "y_q_x86", "y_q_onednn"];
    let y = names.iter().find_map(|name| case.find(name)).ok_or("the case has no output".to_owned())?;
    let y_zero = case.get("y_zero_point")?.i32s()?;
    let out = params(&[case.scalar("y_scale")?], &y_zero, y.shift(), full(y.shift()))?[0];
    let w_scale = case.get("w_scale")?.f32s()?;
    let bias = float_bias(case)?;
    let mut epilogue = Requantize {
        scales: Scales { a: &[x_scale], b: w_scale },
        bias: bias.map_or(Bias::None, Bias::F32),
        activation: activation(case),
        out,
    };
    let mut expected = Vec::new();
    for name in names {
        if let Some(y) = case.find(name) {
            expected.push((name, y.bytes()?));
        }
    }
    product(backend, &args, &epilogue, &expected)?;
    if let Some(y_dq) = case.find("y_dq") {
        dequantized("y_dq", backend, &y.bytes()?, Axis::tensor(rows * n), &[out], y_dq.f32s()?)?;
    }
    if let Some(y) = case.find("y_q_qnnpack") {
        // qnnpack rounds the bias to steps of the accumulator first.
        let step = |column: usize| x_scale * w_scale[column % w_scale.len()];
        let rounded: Option<Vec<i32>> = bias.map(|bias| {
            bias.iter().enumerate().map(|(column, b)| (b / step(column)).round_ties_even() as i32).collect()
        });
        epilogue.bias = rounded.as_deref().map_or(Bias::None, Bias::I32);
        product(backend, &args, &epilogue, &[("y_q_qnnpack", y.bytes()?)])?;
    }
    Ok(())
}

/// The operands of an ONNX product, `a [.., m, k]` by `b [k, n]` or `[.., k, n]`, as `check` wants them.
fn onnx_product(case: &Case, check: impl Fn(&GemmI8) -> Run<()>) -> Run<()> {
    let (a, b) = (case.get("a")?, case.get("b")?);
    let ([a_outer @ .., m, k], [b_outer @ .., _, n]) = (&a.shape[..], &b.shape[..]) else {
        return Err(Stop::LeftOut(format!("operands of shapes {:?} and {:?}", a.shape, b.shape)));
    };
    if !b_outer.is_empty() && a_outer != b_outer {
        return Err(Stop::LeftOut("outer dimensions are broadcast".into()));
    }
    check(&GemmI8 {
        batch: a_outer.iter().product(),
        m: *m,
        n: *n,
        k: *k,
        a: &a.bytes()?,
        b: &b.bytes()?,
        layout: BLayout::Kn,
        a_zero_point: &zero_points(case, "a_zero_point", a)?,
        b_zero_point: &zero_points(case, "b_zero_point", b)?,
    })
}

/// ONNX `MatMulInteger`.
pub fn mat_mul_integer(case: &Case, backend: &dyn Backend) -> Run<()> {
    onnx_product(case, |args| equal("y", &backend.gemm_i8(args)?, &case.get("y")?.i32s()?))
}

/// ONNX `QLinearMatMul`.
pub fn qlinear_mat_mul(case: &Case, backend: &dyn Backend) -> Run<()> {
    let y = case.get("y")?;
    let y_zero = case.get("y_zero_point")?.i32s()?;
    let epilogue = Requantize {
        scales: Scales { a: case.get("a_scale")?.f32s()?, b: case.get("b_scale")?.f32s()? },
        bias: Bias::None,
        activation: Activation::Identity,
        out: params(&[case.scalar("y_scale")?], &y_zero, y.shift(), full(y.shift()))?[0],
    };
    onnx_product(case, |args| product(backend, args, &epilogue, &[("y", y.bytes()?)]))
}
