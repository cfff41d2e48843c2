//! The `gemm` crate and candle, on all threads of the CPU.

use crate::lane::{Lane, Peer, timed};
use crate::problem::{Kind, Output, Product};
use candle_core::{DType, Device, Tensor};
use half::f16;

/// gemm and candle, where they have the type.
pub fn products<'a>(p: &Product) -> Vec<Lane<'a>> {
    match p.kind {
        Kind::F32 => vec![gemm_lane(p, |x| x, |x| x, 1.0, Output::F32), candle(p, DType::F32, Output::F32)],
        Kind::F16 => {
            let one = f16::from_f32(1.0);
            vec![
                gemm_lane(p, f16::from_f32, f16::to_f32, one, Output::F16),
                candle(p, DType::F16, Output::F16),
            ]
        }
        Kind::I8 => Vec::new(),
    }
}

fn gemm_lane<'a, T: Copy + 'static>(
    p: &Product,
    from: impl Fn(f32) -> T,
    to: impl Fn(T) -> f32,
    one: T,
    output: Output,
) -> Lane<'a> {
    let [m, k, n] = p.shape;
    let all = |v: &[f32]| v.iter().map(|&x| from(x)).collect::<Vec<T>>();
    let (a, b, mut c) = (all(&p.a), all(&p.b), vec![from(0.0); m * n]);
    let zero = from(0.0);
    let multiply = move |c: &mut [T]| {
        let threads = gemm::Parallelism::Rayon(0);
        // SAFETY: a is m x k, b is k x n, c is m x n, each row-major and alone.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                c.as_mut_ptr(),
                1,
                n as isize,
                false,
                a.as_ptr(),
                1,
                k as isize,
                b.as_ptr(),
                1,
                n as isize,
                zero,
                one,
                false,
                false,
                false,
                threads,
            );
        }
    };
    let ((), first) = timed(|| multiply(&mut c));
    let verdict = p.check(&c.iter().map(|&x| to(x)).collect::<Vec<_>>(), output);
    Lane::new(
        Peer::Gemm,
        "",
        first,
        verdict,
        Box::new(move |runs| Ok(timed(|| (0..runs).for_each(|_| multiply(&mut c))).1)),
    )
}

fn candle<'a>(p: &Product, dtype: DType, output: Output) -> Lane<'a> {
    let made = || -> candle_core::Result<Lane<'a>> {
        let [m, k, n] = p.shape;
        let a = Tensor::from_slice(&p.a, (m, k), &Device::Cpu)?.to_dtype(dtype)?;
        let b = Tensor::from_slice(&p.b, (k, n), &Device::Cpu)?.to_dtype(dtype)?;
        let (c, first) = timed(|| a.matmul(&b));
        let c = c?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let run = move |runs| {
            let (result, time) = timed(|| (0..runs).try_for_each(|_| a.matmul(&b).map(drop)));
            result.map(|()| time).map_err(|e| e.to_string())
        };
        Ok(Lane::new(Peer::Candle, "", first, p.check(&c, output), Box::new(run)))
    };
    made().unwrap_or_else(|e| Lane::absent(Peer::Candle, "", e.to_string()))
}
