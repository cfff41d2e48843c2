//! Ours: inputs on the device, weights packed, outside of the timing. Kernels as the crate chooses them.

use crate::lane::{Lane, Peer, Run, Work, timed};
use crate::problem::{Kind, Long, Output, Product, ROWS, SIDE, WHOLE, same};
use half::f16;
use std::rc::Rc;
use std::time::Duration;
use weighbridge::ops::{
    Call, Channels, EpilogueBindings, Gemm, GemmBindings, GemmDescriptor, GemmI8, GemmI8Bindings,
    GemmI8Descriptor, Layout, MinMax, MinMaxBindings, MinMaxDescriptor, Packed, Quantize, QuantizeBindings,
    QuantizeDescriptor, QuantizeRows, QuantizeRowsBindings, QuantizeRowsDescriptor, ScaleZeroPoint,
    ScaleZeroPointBindings,
};
use weighbridge::quant::{QuantParams, Range, Scheme};
use weighbridge::tensor::{Data, Element, Tensor, View};
use weighbridge::{Gpu, Tuner};

/// The library on one device.
pub struct Ours {
    pub gpu: Gpu,
    /// [`Peer::Weighbridge`], or [`Peer::WeighbridgeTuned`].
    pub peer: Peer,
}

type Result<T> = std::result::Result<T, String>;

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

impl Ours {
    /// Measures the variants first, where it is our part to be tuned, which the first call's time has in it.
    fn tuned(&self, bind: impl Fn() -> weighbridge::Result<Call>) -> weighbridge::Result<Vec<Call>> {
        let mut call = bind()?;
        if self.peer == Peer::WeighbridgeTuned {
            for chosen in call.chosen() {
                Tuner::new(&self.gpu).tune(&chosen.problem)?;
            }
            call = bind()?;
        }
        Ok(vec![call])
    }

    /// Runs `bind`'s calls once, checks what they wrote, and makes a lane of them.
    fn lane<'a>(
        &'a self,
        what: &str,
        bind: impl FnOnce() -> weighbridge::Result<Vec<Call>>,
        check: impl FnOnce() -> Result<String>,
    ) -> Lane<'a> {
        let gpu = &self.gpu;
        let (calls, first) = timed(|| {
            let calls = bind()?;
            gpu.submit(|pass| calls.iter().for_each(|call| call.record(pass)));
            gpu.wait().map(|()| calls)
        });
        match calls {
            Err(e) => Lane::absent(self.peer, what, text(e)),
            Ok(calls) => Lane::new(
                self.peer,
                what,
                first,
                check().map(|_| labels(&calls)),
                run(gpu, move |pass| {
                    calls.iter().for_each(|call| call.record(pass));
                }),
            ),
        }
    }

    fn upload<T: bytemuck::Pod>(&self, values: &[T]) -> Result<wgpu::Buffer> {
        self.gpu.upload_words(bytemuck::cast_slice(values)).map_err(text)
    }

    fn read(&self, buffer: &wgpu::Buffer, words: usize) -> Result<Vec<u32>> {
        pollster::block_on(self.gpu.read_words(buffer, 0, words)).map_err(text)
    }

    fn read_f32(&self, buffer: &wgpu::Buffer, len: usize) -> Result<Vec<f32>> {
        Ok(self.read(buffer, len)?.into_iter().map(f32::from_bits).collect())
    }

    /// All the products of a kind.
    pub fn products<'a>(&'a self, p: &Product) -> Vec<Lane<'a>> {
        let all = match p.kind {
            Kind::F32 => vec![("", Element::F32)],
            Kind::F16 => vec![("", Element::F16)],
            Kind::I8 => vec![("f32 result", Element::F32), ("requantized to int8", Element::I8)],
        };
        let lane =
            |(what, out)| self.product(p, what, out).unwrap_or_else(|e| Lane::absent(self.peer, what, e));
        all.into_iter().map(lane).collect()
    }

    fn product<'a>(&'a self, p: &Product, what: &str, element: Element) -> Result<Lane<'a>> {
        let [m, k, n] = p.shape;
        let tensor = |shape: [usize; 2], v: Vec<f32>| {
            let data = match p.kind {
                Kind::F32 => Data::F32(v),
                Kind::F16 => Data::F16(v.into_iter().map(f16::from_f32).collect()),
                Kind::I8 => Data::I8(v.into_iter().map(|x| x as i8).collect()),
            };
            Tensor::new(shape, data).map_err(text)
        };
        let a_tensor = tensor([m, k], p.a.clone())?;
        let packed = Packed::new(&tensor([n, k], p.b_turned())?, 1).map_err(text)?;
        let a_buffer = self.gpu.upload(&a_tensor).map_err(text)?;
        let b_buffer = self.upload(&packed.words)?;
        let out_buffer = self.gpu.buffer((element.words(n) * m * 4) as u64).map_err(text)?;
        let a = View::new(&a_buffer, a_tensor.element(), m, k);
        let b = View::new(&b_buffer, Element::I32, packed.rows, packed.pitch);
        let out = View::new(&out_buffer, element, m, n);
        let layout = Layout::Packed;
        let kernels = self.gpu.kernels();
        let check = || {
            let y = pollster::block_on(self.gpu.read(&out, &[m, n])).map_err(text)?;
            let output = match element {
                Element::I8 => Output::Steps,
                Element::F16 => Output::F16,
                _ => Output::F32,
            };
            p.check(&y.to_f32(), output)
        };
        if p.kind != Kind::I8 {
            let d = GemmDescriptor { element, out: element, layout, ..Default::default() };
            let bindings = GemmBindings { out_params: None, a, b, bias: None, out, batch: 1 };
            return Ok(self.lane(
                what,
                || self.tuned(|| Gemm::with_kernels(kernels, &d)?.bind(&bindings)),
                check,
            ));
        }
        let params = |scale| QuantParams::new(scale, 0, -128, 127).map_err(text);
        let of = |scale| self.upload(&[params(scale)?]);
        let (a_params, b_params, out_params) = (of(p.a_scale)?, of(p.b_scale)?, of(p.out_scale)?);
        let sums = self.upload(&packed.sums)?;
        let d = GemmI8Descriptor { out: element, layout, ..Default::default() };
        let epilogue = EpilogueBindings {
            a_params: View::params(&a_params, 1),
            b_params: View::params(&b_params, 1),
            b_sums: View::new(&sums, Element::I32, 1, n),
            bias: None,
            out_params: (element == Element::I8).then(|| View::params(&out_params, 1)),
        };
        let bindings = GemmI8Bindings { a, b, epilogue, out, batch: 1 };
        Ok(self.lane(what, || self.tuned(|| GemmI8::with_kernels(kernels, &d)?.bind(&bindings)), check))
    }

    /// The range of all, and of each row.
    pub fn minmax<'a>(&'a self, x: &Long) -> Result<Vec<Lane<'a>>> {
        let from = self.upload(&x.x)?;
        let lane = |what, channels, count: usize| -> Result<Lane<'a>> {
            let state = self.gpu.buffer(count as u64 * 16).map_err(text)?;
            let bind = || {
                let d = MinMaxDescriptor { channels, ..Default::default() };
                let x = match channels {
                    Channels::Tensor => View::new(&from, Element::F32, 1, SIDE * SIDE),
                    _ => View::new(&from, Element::F32, SIDE, SIDE),
                };
                let bindings = MinMaxBindings { x, outer: 1, state: View::params(&state, count) };
                Ok(vec![MinMax::with_kernels(self.gpu.kernels(), &d)?.bind(&bindings)?])
            };
            Ok(self.lane(what, bind, || {
                let got = self.read_f32(&state, 4 * count)?;
                match channels {
                    Channels::Tensor => same(&got[..2], &[x.min, x.max]),
                    _ => same(&got.chunks(4).map(|s| s[1]).collect::<Vec<_>>(), &x.row_max()),
                }
            }))
        };
        Ok(vec![lane(WHOLE, Channels::Tensor, 1)?, lane(ROWS, Channels::Rows, SIDE)?])
    }

    fn read_steps(&self, out: &wgpu::Buffer) -> Result<Vec<f32>> {
        let words = self.read(out, SIDE * SIDE / 4)?;
        Ok(bytemuck::cast_slice::<u32, i8>(&words).iter().map(|&q| f32::from(q)).collect())
    }

    /// With parameters that are known.
    pub fn quantize<'a>(&'a self, x: &Long) -> Result<Lane<'a>> {
        let params = QuantParams::new(x.absmax() / 127.0, 0, -128, 127).map_err(text)?;
        let (from, one) = (self.upload(&x.x)?, self.upload(&[params])?);
        let out = self.gpu.buffer((SIDE * SIDE) as u64).map_err(text)?;
        let bindings = QuantizeBindings {
            x: View::new(&from, Element::F32, 1, SIDE * SIDE),
            params: View::params(&one, 1),
            out: View::new(&out, Element::I8, 1, SIDE * SIDE),
        };
        let bind = || {
            let op = Quantize::with_kernels(self.gpu.kernels(), &QuantizeDescriptor::default())?;
            Ok(vec![op.bind(&bindings)?])
        };
        Ok(self.lane("", bind, || {
            x.check_steps(&self.read_steps(&out)?, |_| params.scale, 0.0, [-128.0, 127.0])
        }))
    }

    /// With the range found on the way: of all, and of each row.
    pub fn quantize_dynamic<'a>(&'a self, x: &Long) -> Result<Vec<Lane<'a>>> {
        let from = self.upload(&x.x)?;
        let kernels = self.gpu.kernels();
        let out = self.gpu.buffer((SIDE * SIDE) as u64).map_err(text)?;
        let (state, one) = (self.gpu.buffer(16).map_err(text)?, self.gpu.buffer(16).map_err(text)?);
        let scheme = Scheme::int8_affine();
        let flat = View::new(&from, Element::F32, 1, SIDE * SIDE);
        let bind = || {
            let range = MinMaxBindings { x: flat, outer: 1, state: View::params(&state, 1) };
            let params =
                ScaleZeroPointBindings { state: View::params(&state, 1), params: View::params(&one, 1) };
            let steps = QuantizeBindings {
                x: flat,
                params: View::params(&one, 1),
                out: View::new(&out, Element::I8, 1, SIDE * SIDE),
            };
            Ok(vec![
                MinMax::with_kernels(kernels, &MinMaxDescriptor::default())?.bind(&range)?,
                ScaleZeroPoint::with_kernels(kernels, &scheme)?.bind(&params)?,
                Quantize::with_kernels(kernels, &QuantizeDescriptor::default())?.bind(&steps)?,
            ])
        };
        let whole = self.lane(WHOLE, bind, || {
            let want = scheme.params(Range::new(x.min, x.max)).map_err(text)?;
            same(&self.read_f32(&one, 1)?, &[want.scale])?;
            let zero = f64::from(want.zero_point);
            x.check_steps(&self.read_steps(&out)?, |_| want.scale, zero, [-128.0, 127.0])
        });
        let (out, each) = (
            self.gpu.buffer((SIDE * SIDE) as u64).map_err(text)?,
            self.gpu.buffer(SIDE as u64 * 16).map_err(text)?,
        );
        let bindings = QuantizeRowsBindings {
            x: View::new(&from, Element::F32, SIDE, SIDE),
            out: View::new(&out, Element::I8, SIDE, SIDE),
            params: View::params(&each, SIDE),
        };
        let bind = || {
            let op = QuantizeRows::with_kernels(kernels, &QuantizeRowsDescriptor::default())?;
            Ok(vec![op.bind(&bindings)?])
        };
        let rows = self.lane(ROWS, bind, || {
            let largest = |row: &[f32]| row.iter().fold(0f32, |m, x| m.max(x.abs())) / 127.0;
            let scales: Vec<f32> = x.x.chunks(SIDE).map(largest).collect();
            x.check_steps(&self.read_steps(&out)?, |row| scales[row], 0.0, [-127.0, 127.0])
        });
        Ok(vec![whole, rows])
    }
}

/// Which kernels there are.
fn labels(calls: &[Call]) -> String {
    let labels = calls.iter().flat_map(Call::dispatches).map(|(label, _)| label);
    labels.collect::<Vec<_>>().join(", ")
}

fn run<'a>(gpu: &'a Gpu, record: impl Fn(&mut wgpu::ComputePass<'_>) + 'a) -> Run<'a> {
    Box::new(move |runs| {
        let (result, time) = timed(|| {
            gpu.submit(|pass| (0..runs).for_each(|_| record(pass)));
            gpu.wait()
        });
        result.map(|()| time).map_err(text)
    })
}

/// Sixteen vectors a thread, neighbouring threads side by side.
const COPY: &str = "
@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<u32>>;
@compute @workgroup_size(64, 1, 1)
fn copy(@builtin(global_invocation_id) id: vec3<u32>) {
    let step = arrayLength(&x) / 16u;
    for (var j = 0u; j < 16u; j++) { out[id.x + j * step] = x[id.x + j * step]; }
}";

impl Ours {
    /// The most bytes that a kernel copies: 64 MiB, read and written.
    pub fn copy<'a>(&'a self) -> Result<Lane<'a>> {
        let words = SIDE * SIDE;
        let data: Vec<u32> = (0..words as u32).collect();
        let from = self.upload(&data)?;
        let to = self.gpu.buffer(words as u64 * 4).map_err(text)?;
        let device = self.gpu.device();
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(COPY.into()),
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: None,
            compilation_options: Default::default(),
            cache: None,
        });
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: from.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 1, resource: to.as_entire_binding() },
            ],
        });
        let mut run = run(&self.gpu, move |pass| {
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.dispatch_workgroups((words / 4 / 16 / 64) as u32, 1, 1);
        });
        let first = run(1)?;
        let verdict =
            if self.read(&to, words)? == data { Ok(String::new()) } else { Err("not a copy".into()) };
        Ok(Lane::new(Peer::Copy, "", first, verdict, run).with_work(Work::Bytes(8.0 * words as f64)))
    }
}

/// `memcpy` of 64 MiB on the host, by one thread and by all.
pub fn memcpy<'a>() -> Vec<Lane<'a>> {
    let all = std::thread::available_parallelism().map_or(1, |t| t.get());
    let lane = |threads: usize| {
        let from: Rc<[u64]> = (0..SIDE as u64 * SIDE as u64 / 2).collect();
        let mut to = vec![0u64; from.len()];
        let part = from.len().div_ceil(threads);
        let mut copy = move || {
            std::thread::scope(|scope| {
                for (from, to) in from.chunks(part).zip(to.chunks_mut(part)) {
                    scope.spawn(move || to.copy_from_slice(from));
                }
            });
            // Nobody reads it, but it must be written.
            std::hint::black_box(&mut to);
        };
        let run: Run = Box::new(move |runs| Ok(timed(|| (0..runs).for_each(|_| copy())).1));
        let what = format!("{threads} thread{}", if threads == 1 { "" } else { "s" });
        Lane::new(Peer::Memcpy, what, Duration::ZERO, Ok(String::new()), run)
            .with_work(Work::Bytes(8.0 * (SIDE * SIDE) as f64))
    };
    if all > 1 { vec![lane(1), lane(all)] } else { vec![lane(1)] }
}
