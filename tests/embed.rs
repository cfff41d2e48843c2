//! Networks inside an app's frames: between its passes, on its textures, beside each other, a part at a time, on a device
//! that has no more than it must, and with the app's errors left to the app.

#[path = "../examples/common/draw.rs"]
mod draw;
#[path = "common/gpu.rs"]
mod gpu;

use gpu::{Rng, gpu};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use weighbridge::graph::{Activation, Dim, Model, Op, Window};
use weighbridge::plan::{Binding, Cursor, Frame, Plan, PlanDescriptor};
use weighbridge::profile::{self, Roofline};
use weighbridge::reference::{self, Conv, ConvShape};
use weighbridge::tensor::{Element, Pixels, Tensor};
use weighbridge::{Error, Gpu, Session, optimize};
use wgpu::{TextureFormat as Format, TextureUsages as Usages};

const CNN: &[u8] = include_bytes!("../assets/fashion_mnist/cnn.onnx");
const MLP: &[u8] = include_bytes!("../assets/fashion_mnist/mlp.onnx");
const VIT: &[u8] = include_bytes!("../assets/fashion_mnist/vit.onnx");

fn embedded(bytes: &[u8]) -> Model {
    Model::from_onnx_bytes(bytes).unwrap()
}

const SIZE: [usize; 2] = [24, 40];

/// One convolution of images, 3 channels to 3.
fn filter() -> (Model, Vec<f32>, Vec<f32>) {
    let mut rng = Rng(9);
    let (weights, bias) = (rng.f32s(81).iter().map(|w| w / 9.0).collect::<Vec<_>>(), vec![0.25, 0.5, 0.75]);
    let mut m = Model::new("filter");
    let shape: Vec<Dim> = [1, 3, SIZE[0], SIZE[1]].map(Dim::Fixed).to_vec();
    let x = m.add_input("x", Element::F32, shape).unwrap();
    let w = m.add_constant("w", Tensor::f32([3, 3, 3, 3], weights.clone()).unwrap()).unwrap();
    let b = m.add_constant("b", Tensor::f32([3], bias.clone()).unwrap()).unwrap();
    let window = Window::new([3, 3], [1, 1]).padded([1, 1]);
    let conv = Op::Conv { window, groups: 1, activation: Activation::Identity };
    let y = m.add_node("y", conv, &[x, w, b]).unwrap();
    m.set_outputs(&[y]).unwrap();
    (m, weights, bias)
}

const SHADER: &str = "
    @fragment fn scene(@builtin(position) at: vec4<f32>) -> @location(0) vec4<f32> {
        return vec4<f32>(fract(at.x / 17.0), fract(at.y * at.x / 31.0), fract(at.y / 11.0), 1.0);
    }
    @group(0) @binding(0) var result: texture_2d<f32>;
    @fragment fn inverted(@builtin(position) at: vec4<f32>) -> @location(0) vec4<f32> {
        return vec4<f32>(1.0 - textureLoad(result, vec2<u32>(at.xy), 0).rgb, 1.0);
    }";

#[test]
fn a_network_between_two_render_passes_of_one_submit() {
    let Some(gpu) = gpu() else { return };
    let (device, queue) = (gpu.device(), gpu.queue());
    let (model, weights, bias) = filter();
    let extent = [SIZE[1] as u32, SIZE[0] as u32];
    let (target, texture) = (Usages::RENDER_ATTACHMENT | Usages::COPY_SRC, Usages::TEXTURE_BINDING);
    let scene = draw::texture(device, extent, Format::Rgba8Unorm, target | texture);
    let result = draw::texture(device, extent, Format::Rgba16Float, Usages::STORAGE_BINDING | texture);
    let screen = draw::texture(device, extent, Format::Rgba8Unorm, target);
    let [draws, inverts] =
        ["scene", "inverted"].map(|entry| draw::pipeline(device, SHADER, entry, Format::Rgba8Unorm));
    let inputs: &[(&str, &[usize])] = &[("x", &[1, 3, SIZE[0], SIZE[1]])];
    let descriptor = PlanDescriptor { inputs, textures: &["x", "y"], ..Default::default() };
    let plan = Plan::with_kernels(gpu.kernels(), &model, &descriptor).unwrap();
    // Textures are read and written in the order of the convolution: nothing else is dispatched.
    let text = plan.explain().unwrap();
    assert_eq!(text.lines().count(), 1 + 3, "{text}");
    let pixels = Pixels { mean: [0.5; 4], scale: [2.0; 4], ..Default::default() };
    let frame = plan.bind(&[("x", Binding::from((&scene, pixels))), ("y", (&result).into())]).unwrap();
    let view = result.create_view(&Default::default());
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &inverts.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::TextureView(&view) }],
    });

    let mut encoder = device.create_command_encoder(&Default::default());
    draw::draw(&mut encoder, &scene, &draws, None);
    frame.encode(&mut encoder);
    draw::draw(&mut encoder, &screen, &inverts, Some(&group));
    submit(gpu, encoder);

    let drawn = draw::read(device, queue, &scene, 4);
    assert!(drawn.chunks(4).any(|p| p[0] > 200) && drawn.chunks(4).any(|p| p[1] < 20), "nothing was drawn");
    let x: Vec<f32> = drawn
        .chunks(4)
        .flat_map(|p| [p[0], p[1], p[2]])
        .map(|c| (f32::from(c) / 255.0 - 0.5) * 2.0)
        .collect();
    // The model's weights are [o, c, kh, kw]; the reference's channels last.
    let last = Tensor::f32([3, 3, 3, 3], weights).unwrap().permuted(&[0, 2, 3, 1]).unwrap();
    let shape = ConvShape {
        batch: 1,
        image: SIZE,
        channels: 3,
        outputs: 3,
        groups: 1,
        window: Window::new([3, 3], [1, 1]).padded([1, 1]),
    };
    let weight = last.as_f32().unwrap();
    let args = Conv { shape, x: &x, weight, bias: Some(&bias), activation: Activation::Identity };
    let want = reference::conv2d(&args).unwrap();
    assert!(want.iter().any(|y| *y < 0.0) && want.iter().any(|y| *y > 1.0), "nothing is clamped");
    let shown = draw::read(device, queue, &screen, 4);
    for (i, (got, want)) in shown.chunks(4).zip(want.chunks(3)).enumerate() {
        for (&got, want) in got.iter().zip(want) {
            let want = (1.0 - want).clamp(0.0, 1.0) * 255.0;
            // Half a code, and what f16 keeps of numbers below 2.
            assert!((f64::from(got) - want).abs() <= 0.5 + 255.0 / 1024.0, "pixel {i}: {got} is not {want}");
        }
        assert_eq!(got[3], 255);
    }
}

#[allow(clippy::disallowed_methods)] // here the test is the app
fn submit(gpu: &Gpu, encoder: wgpu::CommandEncoder) {
    gpu.queue().submit([encoder.finish()]);
}

/// An image of floats in a texture, and the same as a tensor.
fn image(gpu: &Gpu, seed: u64) -> (wgpu::Texture, Tensor) {
    let x: Vec<f32> = Rng(seed).f32s(784).iter().map(|x| x.abs()).collect();
    let texture =
        draw::texture(gpu.device(), [28, 28], Format::R32Float, Usages::TEXTURE_BINDING | Usages::COPY_DST);
    let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(112), rows_per_image: None };
    gpu.queue().write_texture(texture.as_image_copy(), bytemuck::cast_slice(&x), layout, texture.size());
    (texture, Tensor::f32([1, 1, 28, 28], x).unwrap())
}

/// A network that looks at a texture and answers into a buffer.
fn look(gpu: &Gpu, model: &Model, texture: &wgpu::Texture) -> (Frame, wgpu::Buffer) {
    let inputs: &[(&str, &[usize])] = &[("input", &[1, 1, 28, 28])];
    let descriptor = PlanDescriptor { inputs, textures: &["input"], ..Default::default() };
    let plan = Plan::with_kernels(gpu.kernels(), model, &descriptor).unwrap();
    let logits = &plan.outputs()[0];
    let buffer = gpu.buffer(logits.bytes()).unwrap();
    let bound = [("input", Binding::from(texture)), (logits.name.as_str(), logits.view(&buffer).into())];
    (plan.bind(&bound).unwrap(), buffer)
}

fn logits(gpu: &Gpu, buffer: &wgpu::Buffer) -> Tensor {
    pollster::block_on(gpu.read_tensor(buffer, Element::F32, &[1, 10])).unwrap()
}

fn session(gpu: &Gpu, model: &Model, x: &Tensor) -> Tensor {
    pollster::block_on(Session::new(gpu, model).unwrap().run(&[("input", x)])).unwrap().remove(0)
}

#[test]
fn a_texture_gives_what_a_buffer_gives() {
    let Some(gpu) = gpu() else { return };
    let (texture, x) = image(gpu, 1);
    for bytes in [CNN, MLP, VIT] {
        let model = embedded(bytes);
        let half = optimize::half(&model).unwrap().model;
        let dynamic = optimize::dynamic_int8(&model, &Default::default()).unwrap();
        for model in [model, half, dynamic] {
            let (frame, buffer) = look(gpu, &model, &texture);
            gpu.submit(|pass| frame.record(pass));
            assert_eq!(logits(gpu, &buffer), session(gpu, &model, &x));
        }
    }
}

#[test]
fn two_plans_in_one_pass() {
    let Some(gpu) = gpu() else { return };
    let [(a, x), (b, y)] = [image(gpu, 2), image(gpu, 3)];
    let (cnn, vit) = (embedded(CNN), optimize::dynamic_int8(&embedded(VIT), &Default::default()).unwrap());
    let ((first, one), (second, other)) = (look(gpu, &cnn, &a), look(gpu, &vit, &b));
    // And once more in turns, dispatch by dispatch.
    for parts in [false, true] {
        gpu.submit(|pass| {
            if !parts {
                first.record(pass);
                second.record(pass);
                return;
            }
            let mut cursors = [Cursor::default(); 2];
            let mut done = [false; 2];
            while done != [true; 2] {
                for (i, frame) in [&first, &second].into_iter().enumerate() {
                    done[i] = done[i] || frame.record_range(pass, &mut cursors[i], Duration::ZERO);
                }
            }
        });
        assert_eq!(logits(gpu, &one), session(gpu, &cnn, &x), "in parts {parts}");
        assert_eq!(logits(gpu, &other), session(gpu, &vit, &y), "in parts {parts}");
    }
}

#[test]
fn a_frame_is_spread_over_several() {
    let Some(gpu) = gpu() else { return };
    let (texture, x) = image(gpu, 4);
    let model = optimize::dynamic_int8(&embedded(CNN), &Default::default()).unwrap();
    let want = session(gpu, &model, &x);
    let (mut frame, buffer) = look(gpu, &model, &texture);
    let n = frame.dispatches();
    assert!(n > 10, "{n} dispatches");
    let mut cursor = Cursor::default();
    let mut parts = |frame: &Frame, budget: Duration| {
        gpu.write(&buffer, &Tensor::f32([10], vec![f32::NAN; 10]).unwrap()).unwrap();
        let mut lengths = Vec::new();
        loop {
            let before = cursor.recorded();
            let mut done = false;
            gpu.submit(|pass| done = frame.record_range(pass, &mut cursor, budget));
            lengths.push(if done { n } else { cursor.recorded() } - before);
            if done {
                break;
            }
        }
        assert_eq!(cursor, Cursor::default());
        assert_eq!(logits(gpu, &buffer), want);
        lengths
    };
    // Before costs are known, and without a budget, one at a time.
    assert_eq!(parts(&frame, Duration::from_secs(1)), vec![1; n]);
    frame.set_costs(&vec![10.0; n]).unwrap();
    assert_eq!(parts(&frame, Duration::ZERO), vec![1; n]);
    assert_eq!(parts(&frame, Duration::from_nanos(9)), vec![1; n]);
    assert_eq!(parts(&frame, Duration::from_secs(1)), [n]);
    let threes = parts(&frame, Duration::from_nanos(35));
    assert!(threes.len() == n.div_ceil(3) && threes[..n / 3].iter().all(|&k| k == 3), "{threes:?}");
    // One that is dear is alone, and what comes after it waits.
    let mut costs = vec![1.0; n];
    costs[4] = 1000.0;
    frame.set_costs(&costs).unwrap();
    assert_eq!(parts(&frame, Duration::from_nanos(100)), [4, 1, n - 5]);

    let roofline = Roofline { clock: gpu.clock(), copy: 10.0, f32: 50.0, f16: None, i8: 50.0 };
    let estimated = roofline.costs(&frame);
    assert!(estimated.len() == n && estimated.iter().all(|c| *c > 0.0 && c.is_finite()), "{estimated:?}");
    frame.set_costs(&estimated).unwrap();
    let half = Duration::from_secs_f64(estimated.iter().sum::<f64>() * 0.6e-9);
    assert!((2..n).contains(&parts(&frame, half).len()));
    let measured = profile::costs(gpu, &frame, 2).unwrap();
    assert!(measured.len() == n && measured.iter().all(|c| c.is_finite()), "{measured:?}");
    frame.set_costs(&measured).unwrap();
    for wrong in [vec![1.0; n - 1], vec![-1.0; n], vec![f64::NAN; n]] {
        assert!(matches!(frame.set_costs(&wrong), Err(Error::Argument { op: "set_costs", .. })));
    }
}

#[test]
fn what_is_bound_to_a_texture_is_checked() {
    let Some(gpu) = gpu() else { return };
    let (model, ..) = filter();
    let inputs: &[(&str, &[usize])] = &[("x", &[1, 3, SIZE[0], SIZE[1]])];
    let plan = |textures: &[&str]| {
        Plan::with_kernels(gpu.kernels(), &model, &PlanDescriptor { inputs, textures, ..Default::default() })
    };
    let contains = |e: Error, part: &str| assert!(e.to_string().contains(part), "{e} lacks {part}");
    contains(plan(&["z"]).map(drop).unwrap_err(), "`z`");
    let usage = Usages::TEXTURE_BINDING | Usages::STORAGE_BINDING;
    let texture = draw::texture(gpu.device(), [4, 4], Format::Rgba8Unorm, usage);
    let buffer = gpu.buffer(3 * 24 * 40 * 4).unwrap();
    let buffers = plan(&[]).unwrap();
    let view = |i: &Plan, name: &str| {
        let port = i.inputs().iter().chain(i.outputs()).find(|p| p.name == name).unwrap().clone();
        port.view(&buffer)
    };
    let bound = [("x", Binding::from(&texture)), ("y", view(&buffers, "y").into())];
    contains(buffers.bind(&bound).map(drop).unwrap_err(), "PlanDescriptor::textures");
    let textures = plan(&["x"]).unwrap();
    let (x, y) = (view(&textures, "x"), view(&textures, "y"));
    contains(textures.bind(&[("x", x), ("y", y)]).map(drop).unwrap_err(), "was made for a texture");
    // Of another shape than an image.
    let cnn = embedded(CNN);
    let descriptor =
        PlanDescriptor { inputs: &[("input", &[2, 1, 28, 28])], textures: &["input"], ..Default::default() };
    contains(Plan::with_kernels(gpu.kernels(), &cnn, &descriptor).map(drop).unwrap_err(), "[2, 1, 28, 28]");
}

#[test]
fn a_device_with_what_is_required_and_no_more() {
    let Some(gpu) = gpu() else { return };
    for (bytes, batch) in [(CNN, 1), (CNN, 4), (MLP, 16), (VIT, 2)] {
        let model = embedded(bytes);
        let x = Tensor::f32([batch, 1, 28, 28], Rng(6).f32s(batch * 784)).unwrap();
        let half = optimize::half(&model).unwrap().model;
        let dynamic = optimize::dynamic_int8(&model, &Default::default()).unwrap();
        for model in [model, half, dynamic] {
            let inputs: &[(&str, &[usize])] = &[("input", x.shape())];
            let limits = weighbridge::required_limits(&model, inputs).unwrap();
            let features = weighbridge::required_features(&model);
            let least = limits.max_storage_buffer_binding_size;
            assert!(least < wgpu::Limits::default().max_storage_buffer_binding_size, "{least}");
            let small = gpu::device(gpu, features, limits.clone());
            let (got, want) = (session(&small, &model, &x).to_f32(), session(gpu, &model, &x).to_f32());
            let largest = want.iter().fold(0f32, |m, x| m.max(x.abs()));
            for (g, w) in got.iter().zip(&want) {
                // As in tests/limits.rs: other kernels, sums in another order, and an int8 step that a tie took.
                assert!((g - w).abs() <= 0.05 * largest, "{g} is not {w}");
            }
            // It is not a guess: a quarter would not do, at the four bytes of an f32.
            if features.is_empty() && model.nodes().iter().all(|n| !matches!(n.op, Op::Cast | Op::Quantize)) {
                let quarter = wgpu::Limits { max_storage_buffer_binding_size: (least / 4) & !3, ..limits };
                let tight = gpu::device(gpu, features, quarter);
                let run = Session::new(&tight, &model).unwrap();
                let refused = pollster::block_on(run.run(&[("input", &x)]));
                assert!(matches!(refused, Err(Error::Limit { .. })), "{least} bytes are far too many");
            }
        }
    }
}

#[test]
fn the_apps_errors_are_the_apps() {
    let Some(gpu) = gpu() else { return };
    let app = gpu::device(gpu, wgpu::Features::empty(), wgpu::Limits::default());
    let device = app.device();
    let (uncaptured, lost) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (seen, gone) = (uncaptured.clone(), lost.clone());
    device.on_uncaptured_error(Arc::new(move |_| {
        seen.fetch_add(1, Ordering::Relaxed);
    }));
    device.set_device_lost_callback(move |reason, _| {
        assert_eq!(reason, wgpu::DeviceLostReason::Destroyed);
        gone.fetch_add(1, Ordering::Relaxed);
    });
    let wrong = || {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("the app's mistake"),
            size: u64::MAX - 3,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        })
    };
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let (texture, _) = image(&app, 5);
    let (frame, _answer) = look(&app, &embedded(CNN), &texture);
    let mut encoder = device.create_command_encoder(&Default::default());
    frame.encode(&mut encoder);
    assert!(pollster::block_on(scope.pop()).is_none(), "a plan makes no errors");
    // A scope that the app opened before, and what it gets where it has none.
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let (frame, _answer) = look(&app, &embedded(MLP), &texture);
    wrong();
    frame.encode(&mut encoder);
    let error = pollster::block_on(scope.pop()).expect("the app's own");
    assert!(error.to_string().contains("the app's mistake"), "{error}");
    assert_eq!(uncaptured.load(Ordering::Relaxed), 0);
    wrong();
    assert_eq!(uncaptured.load(Ordering::Relaxed), 1);
    submit(&app, encoder);
    app.wait().unwrap();
    assert_eq!((uncaptured.load(Ordering::Relaxed), lost.load(Ordering::Relaxed)), (1, 0));

    // Without the device, recording goes on, and the app is told.
    device.destroy();
    let _ = app.wait();
    let mut encoder = device.create_command_encoder(&Default::default());
    frame.encode(&mut encoder);
    let mut cursor = Cursor::default();
    let mut pass = encoder.begin_compute_pass(&Default::default());
    while !frame.record_range(&mut pass, &mut cursor, Duration::ZERO) {}
    drop(pass);
    submit(&app, encoder);
    assert_eq!(lost.load(Ordering::Relaxed), 1, "the app's callback was not called");
}
