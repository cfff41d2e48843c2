//! burn on wgpu, in WGSL. A call's output is kept until the wait, so that none is left out.

use crate::lane::{Lane, Peer, timed};
use crate::problem::{Exact, Kind, Long, Output, Product, ROWS, SIDE, WHOLE, same};
use burn::tensor::quantization::{
    Calibration, QuantScheme, QuantValue, ScaleDtype, compute_q_params, compute_range,
};
use burn::tensor::{DType, Device, DeviceKind, Tensor, TensorData};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// burn's device of the same kind as ours: its own wgpu picks it, among what the Vulkan loader was told of.
pub fn device(kind: wgpu::DeviceType) -> Device {
    Device::wgpu(match kind {
        wgpu::DeviceType::Cpu => DeviceKind::Cpu,
        wgpu::DeviceType::DiscreteGpu => DeviceKind::DiscreteGpu(0),
        wgpu::DeviceType::IntegratedGpu => DeviceKind::IntegratedGpu(0),
        wgpu::DeviceType::VirtualGpu => DeviceKind::VirtualGpu(0),
        wgpu::DeviceType::Other => DeviceKind::DefaultDevice,
    })
}

/// burn panics where it cannot.
fn caught<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|e| {
        let text = e.downcast_ref::<String>().cloned();
        text.or(e.downcast_ref::<&str>().map(|s| s.to_string())).unwrap_or("panicked".into())
    })
}

fn host<const D: usize>(t: Tensor<D>) -> Vec<f32> {
    t.to_data_as::<f32>().try_to_vec::<f32>().expect("f32, as asked for")
}

/// Times `call`, and checks `look(its result)`.
fn lane<'a, T>(
    device: &'a Device,
    what: &str,
    mut call: impl FnMut() -> T + 'a,
    check: impl FnOnce(T) -> Result<String, String>,
) -> Lane<'a>
where
    T: 'a,
{
    let mut runs = move |runs: usize| {
        caught(|| {
            timed(|| {
                let kept: Vec<T> = (0..runs).map(|_| call()).collect();
                device.sync().map(|()| kept).map_err(|e| format!("{e:?}"))
            })
        })
    };
    // The second call has what the first one tuned.
    let checked = match (runs(1), runs(1)) {
        (Ok((Ok(_), first)), Ok((Ok(mut kept), _))) => {
            let result = kept.pop().expect("one run");
            Ok((first, caught(|| check(result)).and_then(|verdict| verdict)))
        }
        (Ok((Err(e), _)) | Err(e), _) | (_, Ok((Err(e), _)) | Err(e)) => Err(e),
    };
    match checked {
        Ok((first, verdict)) => Lane::new(
            Peer::Burn,
            what,
            first,
            verdict,
            Box::new(move |n| {
                let (kept, time) = runs(n)?;
                kept.map(|_| time)
            }),
        ),
        Err(e) => Lane::absent(Peer::Burn, what, e),
    }
}

fn scheme() -> QuantScheme {
    QuantScheme::default().with_value(QuantValue::Q8S).per_tensor(ScaleDtype::F32)
}

pub fn product<'a>(device: &'a Device, p: &Product) -> Lane<'a> {
    let [m, k, n] = p.shape;
    let made = caught(|| {
        let (a, b) = p.reals();
        let a = Tensor::<2>::from_data(TensorData::new(a, [m, k]), device);
        let b = Tensor::<2>::from_data(TensorData::new(b, [k, n]), device);
        match p.kind {
            Kind::F32 => {
                lane(device, "", move || a.clone().matmul(b.clone()), |c| p.check(&host(c), Output::F32))
            }
            Kind::F16 => {
                let (a, b) = (a.cast(DType::F16), b.cast(DType::F16));
                lane(device, "", move || a.clone().matmul(b.clone()), |c| p.check(&host(c), Output::F16))
            }
            Kind::I8 => {
                let (a, b) = (a.quantize_dynamic(&scheme()), b.quantize_dynamic(&scheme()));
                let (a_reals, b_reals) = (host(a.clone().dequantize()), host(b.clone().dequantize()));
                // Of the integers that it made; its products are of reals, so that it is held to the bound for f32.
                let check = move |c: Tensor<2>| {
                    let exact = Exact::new([m, k, n], &a_reals, &b_reals);
                    exact.check_f32(&host(c), k, 3).map(|()| "dequantizes, products in f32".into())
                };
                lane(device, "f32 result", move || a.clone().matmul(b.clone()), check)
            }
        }
    });
    made.unwrap_or_else(|e| Lane::absent(Peer::Burn, "", e))
}

fn upload<'a>(device: &'a Device, x: &Long) -> Tensor<1> {
    Tensor::from_data(TensorData::new(x.x.clone(), [SIDE * SIDE]), device)
}

/// The smallest and the largest of all, and the largest of each row.
pub fn minmax<'a>(device: &'a Device, x: &Long) -> Vec<Lane<'a>> {
    let made = caught(|| {
        let long = upload(device, x);
        let square = long.clone().reshape([SIDE, SIDE]);
        let check = |(min, max): (Tensor<1>, Tensor<1>)| same(&[host(min)[0], host(max)[0]], &[x.min, x.max]);
        let whole = lane(device, WHOLE, move || (long.clone().min(), long.clone().max()), check);
        let check = |rows: Tensor<2>| same(&host(rows), &x.row_max()).map(|_| "the largest alone".into());
        vec![whole, lane(device, ROWS, move || square.clone().max_dim(1), check)]
    });
    made.unwrap_or_else(|e| vec![Lane::absent(Peer::Burn, "", e)])
}

/// Integers from what burn gives back, which is reals.
fn steps(back: Tensor<1>, scale: f32) -> Vec<f32> {
    host(back).into_iter().map(|x| (x / scale).round()).collect()
}

/// With parameters that are known.
pub fn quantize<'a>(device: &'a Device, x: &Long) -> Lane<'a> {
    let made = caught(|| {
        let long = upload(device, x);
        // From the largest, which it gets wrong itself on some adapters: a range of two elements.
        let ends = Tensor::<1>::from_data(TensorData::new(vec![-x.absmax(), x.absmax()], [2]), device);
        let params = compute_q_params(&scheme(), compute_range(&scheme(), &ends, &Calibration::MinMax));
        let scale = host(params.scales.clone())[0];
        let check = |q: Tensor<1>| {
            same(&[scale], &[x.absmax() / 127.0]).or_else(|e| {
                match (scale / (x.absmax() / 127.0) - 1.0).abs() {
                    off if off <= 4.0 * f32::EPSILON => Ok(String::new()),
                    _ => Err(format!("scale: {e}")),
                }
            })?;
            x.check_steps(&steps(q.dequantize(), scale), |_| scale, 0.0, [-127.0, 127.0])
        };
        lane(device, "", move || long.clone().quantize(&scheme(), params.clone()), check)
    });
    made.unwrap_or_else(|e| Lane::absent(Peer::Burn, "", e))
}

/// With the range found on the way.
pub fn quantize_dynamic<'a>(device: &'a Device, x: &Long) -> Lane<'a> {
    let made = caught(|| {
        let long = upload(device, x);
        let scale = x.absmax() / 127.0;
        let check =
            |q: Tensor<1>| x.check_steps(&steps(q.dequantize(), scale), |_| scale, 0.0, [-127.0, 127.0]);
        lane(device, WHOLE, move || long.clone().quantize_dynamic(&scheme()), check)
    });
    made.unwrap_or_else(|e| Lane::absent(Peer::Burn, "", e))
}
