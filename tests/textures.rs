//! `texture_to_tensor` and `tensor_to_texture` against the reference: every format, order and curve, and other sizes.

#[path = "../examples/common/draw.rs"]
mod draw;
#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/place.rs"]
mod place;

use gpu::{Rng, gpu};
use half::f16;
use place::{Input, Output, PLACES, Place, float, run};
use weighbridge::ops::{TensorToTexture, TensorToTextureBindings, TextureToTensor, TextureToTensorBindings};
use weighbridge::reference;
use weighbridge::tensor::{Element, Image, Pixels, Srgb, Tensor, View};
use weighbridge::{Error, Gpu};
use wgpu::{TextureFormat as Format, TextureUsages as Usages};

const UNIT: f64 = 1.0 / 8_388_608.0;

/// A texture of random texels, and these as a device reads them.
fn random(
    gpu: &Gpu,
    format: Format,
    [height, width]: [usize; 2],
    usage: Usages,
) -> (wgpu::Texture, Vec<[f32; 4]>) {
    let mut rng = Rng((height * 131 + width) as u64);
    let (mut bytes, mut texels) = (Vec::new(), Vec::new());
    for _ in 0..height * width {
        let colour: [f32; 4] = std::array::from_fn(|_| rng.unit());
        let unorm = colour.map(|c| ((c + 1.0) * 127.5) as u8);
        let [r, g, b, a] = unorm.map(|c| f32::from(c) / 255.0);
        match format {
            Format::Rgba8Unorm => {
                bytes.extend(unorm);
                texels.push([r, g, b, a]);
            }
            Format::Bgra8Unorm => {
                bytes.extend(unorm);
                texels.push([b, g, r, a]);
            }
            Format::R8Unorm => {
                bytes.push(unorm[0]);
                texels.push([r, 0.0, 0.0, 1.0]);
            }
            Format::Rgba16Float => {
                // Some above 1, and below 0.
                let halves = colour.map(|c| f16::from_f32(3.0 * c));
                bytes.extend(halves.iter().flat_map(|h| h.to_le_bytes()));
                texels.push(halves.map(f16::to_f32));
            }
            Format::R32Float => {
                bytes.extend(colour[0].to_le_bytes());
                texels.push([colour[0], 0.0, 0.0, 1.0]);
            }
            other => panic!("{other:?}"),
        }
    }
    let texture =
        draw::texture(gpu.device(), [width as u32, height as u32], format, usage | Usages::COPY_DST);
    let bytes_per_row = Some((bytes.len() / height) as u32);
    let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row, rows_per_image: None };
    gpu.queue().write_texture(texture.as_image_copy(), &bytes, layout, texture.size());
    (texture, texels)
}

/// A tensor of `shape` as the matrix that it lies as, from one with its channels outermost; and the other way.
fn ordered<T: Copy>(v: &[T], [c, h, w]: [usize; 3], channels_last: bool) -> (Vec<T>, [usize; 2]) {
    if !channels_last {
        return (v.to_vec(), [c * h, w]);
    }
    let pixels = (0..h * w).flat_map(|i| (0..c).map(move |k| k * h * w + i));
    (pixels.map(|i| v[i]).collect(), [h * w, c])
}

/// How far off a device may read a colour: it divides bytes by 255.
fn read_error(format: Format, pixels: &Pixels, channel: usize) -> f64 {
    let steepest = if pixels.srgb == Srgb::Encode { 12.92 } else { 2.3 };
    let bytes = matches!(format, Format::Rgba8Unorm | Format::Bgra8Unorm | Format::R8Unorm);
    if bytes { f64::from(pixels.scale[channel].abs()) * steepest * 2.0 * UNIT } else { 0.0 }
}

struct Case {
    format: Format,
    texture: [usize; 2],
    shape: [usize; 3],
    channels_last: bool,
    pixels: Pixels,
    place: Place,
}

fn check_read(gpu: &Gpu, case: &Case) {
    let Case { format, texture, shape, channels_last, pixels, place } = *case;
    let what = format!("{format:?} {texture:?} to {shape:?} last {channels_last} {pixels:?} {place:?}");
    let (input, texels) = random(gpu, format, texture, Usages::TEXTURE_BINDING);
    let args = reference::TextureToTensor { texels: &texels, size: texture, shape, pixels };
    let want = reference::texture_to_tensor(&args).unwrap();
    let extra = |i: usize| read_error(format, &pixels, i / (shape[1] * shape[2]));
    let want: Vec<_> = want.iter().enumerate().map(|(i, &(y, error))| (y, error + extra(i))).collect();
    let (want, [rows, columns]) = ordered(&want, shape, channels_last);
    let out = Output::new(gpu, Element::F32, rows, columns, place);
    let op = TextureToTensor::with_kernels(gpu.kernels(), &pixels);
    let x = Image::new(&input);
    run(gpu, op.bind(&TextureToTensorBindings { x, shape, channels_last, out: out.view() }));
    let got = out.read(gpu).to_f32();
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (&got, (want, error))) in got.iter().zip(want).enumerate() {
        assert!(
            (f64::from(got) - want).abs() <= error,
            "{what}: element {i} is {got}, not {want} within {error:e}"
        );
    }
}

fn check_write(gpu: &Gpu, case: &Case) {
    let Case { format, texture, shape, channels_last, pixels, place } = *case;
    let what = format!("{shape:?} last {channels_last} to {format:?} {texture:?} {pixels:?} {place:?}");
    let x = Rng(shape.iter().sum::<usize>() as u64).f32s(shape.iter().product());
    let args = reference::TensorToTexture { x: &x, shape, size: texture, pixels };
    let want = reference::tensor_to_texture(&args).unwrap();
    let (x, matrix) = ordered(&x, shape, channels_last);
    let input = Input::new(gpu, &float(Element::F32, matrix, &x), place);
    let [height, width] = texture.map(|n| n as u32);
    let out =
        draw::texture(gpu.device(), [width, height], format, Usages::STORAGE_BINDING | Usages::COPY_SRC);
    let op = TensorToTexture::with_kernels(gpu.kernels(), &pixels);
    let bindings = TensorToTextureBindings { x: input.view(), shape, channels_last, out: Image::new(&out) };
    run(gpu, op.bind(&bindings));
    let bytes = draw::read(gpu.device(), gpu.queue(), &out, format.block_copy_size(None).unwrap());
    let near = |got: f32, (want, error): (f64, f64), rounding: f64, i: usize| {
        let off = (f64::from(got) - want).abs();
        assert!(
            off <= error + rounding,
            "{what}: texel {i} is {got}, not {want} within {error:e} + {rounding:e}"
        );
    };
    for (i, want) in want.iter().enumerate() {
        match format {
            Format::Rgba8Unorm | Format::Bgra8Unorm => {
                for (c, &want) in want.iter().enumerate() {
                    let at = if format == Format::Bgra8Unorm && c < 3 { 2 - c } else { c };
                    let clamped = (want.0.clamp(0.0, 1.0), want.1);
                    // Half a code, and what a device rounds on its way there.
                    near(f32::from(bytes[4 * i + at]) / 255.0, clamped, 0.5 / 255.0 + 4.0 * UNIT, i);
                }
            }
            Format::Rgba16Float => {
                for (c, &want) in want.iter().enumerate() {
                    let half = f16::from_le_bytes([bytes[8 * i + 2 * c], bytes[8 * i + 2 * c + 1]]);
                    // Whichever way it rounds: a unit of f16, or of its smallest numbers.
                    near(half.to_f32(), want, want.0.abs() / 1024.0 + 6e-8, i);
                }
            }
            _ => near(f32::from_le_bytes(bytes[4 * i..4 * i + 4].try_into().unwrap()), want[0], 0.0, i),
        }
    }
}

/// Numbers of pixels around a workgroup's 64, and sizes that share no factor.
const SIZES: [[usize; 2]; 7] = [[1, 1], [7, 9], [1, 64], [5, 13], [64, 1], [10, 13], [131, 1]];

fn pixels(i: usize, channels: usize) -> Pixels {
    let srgb = [Srgb::Keep, Srgb::Decode, Srgb::Encode][i % 3];
    let scaled =
        Pixels { srgb, luma: false, mean: [0.485, 0.456, 0.406, 0.5], scale: [1.0 / 0.229, 4.46, -0.5, 2.0] };
    match i % 4 {
        0 => Pixels { srgb, ..Default::default() },
        1 if channels == 1 => Pixels { luma: true, ..scaled },
        _ => scaled,
    }
}

#[test]
fn reads_what_the_reference_says() {
    let Some(gpu) = gpu() else { return };
    let formats =
        [Format::Rgba8Unorm, Format::Bgra8Unorm, Format::Rgba16Float, Format::R32Float, Format::R8Unorm];
    let mut i = 0;
    for format in formats {
        for (k, texture) in SIZES.into_iter().enumerate() {
            for channels in [1, 3, 4] {
                // The same size, and another that is smaller or larger.
                for [h, w] in [texture, SIZES[(k + channels) % SIZES.len()]] {
                    let (shape, channels_last) = ([channels, h, w], i % 2 == 0);
                    let (pixels, place) = (pixels(i / 2, channels), PLACES[i % 3]);
                    check_read(gpu, &Case { format, texture, shape, channels_last, pixels, place });
                    i += 1;
                }
            }
        }
    }
}

#[test]
fn writes_what_the_reference_says() {
    let Some(gpu) = gpu() else { return };
    let mut formats = vec![Format::Rgba8Unorm, Format::Rgba16Float, Format::R32Float];
    if gpu.device().features().contains(wgpu::Features::BGRA8UNORM_STORAGE) {
        formats.push(Format::Bgra8Unorm);
    } else {
        eprintln!("left out: Bgra8Unorm cannot be written here");
    }
    let mut i = 0;
    for format in formats {
        for (k, texture) in SIZES.into_iter().enumerate() {
            for channels in [1, 3, 4] {
                for [h, w] in [texture, SIZES[(k + channels) % SIZES.len()]] {
                    let (shape, channels_last) = ([channels, h, w], i % 2 == 0);
                    // Luma is made of what is read.
                    let (pixels, place) = (Pixels { luma: false, ..pixels(i / 2, channels) }, PLACES[i % 3]);
                    check_write(gpu, &Case { format, texture, shape, channels_last, pixels, place });
                    i += 1;
                }
            }
        }
    }
}

/// Where the device decodes, as a view with sRGB says: within half a code of a byte, as the formats' makers allow.
#[test]
fn a_view_with_srgb_is_decoded_by_the_device() {
    let Some(gpu) = gpu() else { return };
    for (format, seen) in
        [(Format::Rgba8Unorm, Format::Rgba8UnormSrgb), (Format::Bgra8Unorm, Format::Bgra8UnormSrgb)]
    {
        let view_formats = [seen];
        let texture = gpu.device().create_texture(&wgpu::TextureDescriptor {
            label: None,
            size: wgpu::Extent3d { width: 256, height: 1, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage: Usages::TEXTURE_BINDING | Usages::COPY_DST,
            view_formats: &view_formats,
        });
        let bytes: Vec<u8> = (0..=255).flat_map(|c| [c, 255 - c, c / 2, c]).collect();
        let layout =
            wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(1024), rows_per_image: None };
        gpu.queue().write_texture(texture.as_image_copy(), &bytes, layout, texture.size());
        let read = |x: Image<'_>, srgb| {
            let out = Output::new(gpu, Element::F32, 4, 256, PLACES[0]);
            let op = TextureToTensor::with_kernels(gpu.kernels(), &Pixels { srgb, ..Default::default() });
            let shape = [4, 1, 256];
            run(gpu, op.bind(&TextureToTensorBindings { x, shape, channels_last: false, out: out.view() }));
            out.read(gpu).to_f32()
        };
        let by_device = read(Image::new(&texture).with_format(seen), Srgb::Keep);
        let by_kernel = read(Image::new(&texture), Srgb::Decode);
        let raw = read(Image::new(&texture), Srgb::Keep);
        // The curve is at most 2.3 steep.
        for ((d, k), raw) in by_device.iter().zip(&by_kernel).zip(&raw) {
            assert!((d - k).abs() <= 2.3 * 0.5 / 255.0, "{raw} is {d} by the device and {k} by the kernel");
        }
        assert!(by_kernel[100] < raw[100] - 0.1, "{} is not decoded", raw[100]);
        // Alpha is not.
        assert_eq!(by_kernel[768..], raw[768..]);
        assert!(by_device[768..].iter().zip(&raw[768..]).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}

#[test]
fn writes_one_level_and_layer_and_nothing_else() {
    let Some(gpu) = gpu() else { return };
    let texture = gpu.device().create_texture(&wgpu::TextureDescriptor {
        label: None,
        size: wgpu::Extent3d { width: 64, height: 4, depth_or_array_layers: 2 },
        mip_level_count: 2,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: Format::R32Float,
        usage: Usages::STORAGE_BINDING | Usages::TEXTURE_BINDING | Usages::COPY_SRC | Usages::COPY_DST,
        view_formats: &[],
    });
    let levels = [(0, [4usize, 64]), (1, [2, 32])];
    for (mip_level, [h, w]) in levels {
        let bytes: Vec<u8> = vec![7.0f32; h * w * 2].iter().flat_map(|x| x.to_le_bytes()).collect();
        let layout = wgpu::TexelCopyBufferLayout {
            offset: 0,
            bytes_per_row: Some(w as u32 * 4),
            rows_per_image: Some(h as u32),
        };
        let size = wgpu::Extent3d { width: w as u32, height: h as u32, depth_or_array_layers: 2 };
        let to = wgpu::TexelCopyTextureInfo { mip_level, ..texture.as_image_copy() };
        gpu.queue().write_texture(to, &bytes, layout, size);
    }
    let x = Rng(3).f32s(64);
    let input = Input::new(gpu, &Tensor::f32([2, 32], x.clone()).unwrap(), PLACES[1]);
    let out = Image { mip_level: 1, array_layer: 1, ..Image::new(&texture) };
    assert_eq!(out.size(), [2, 32]);
    let op = TensorToTexture::with_kernels(gpu.kernels(), &Pixels::default());
    let shape = [1, 2, 32];
    run(gpu, op.bind(&TensorToTextureBindings { x: input.view(), shape, channels_last: false, out }));
    let read = TextureToTensor::with_kernels(gpu.kernels(), &Pixels::default());
    for (mip_level, [h, w]) in levels {
        for array_layer in 0..2 {
            let place = Output::new(gpu, Element::F32, h, w, PLACES[0]);
            let x_ = Image { mip_level, array_layer, ..out };
            let bindings =
                TextureToTensorBindings { x: x_, shape: [1, h, w], channels_last: false, out: place.view() };
            run(gpu, read.bind(&bindings));
            let written = (mip_level, array_layer) == (1, 1);
            let want = if written { x.clone() } else { vec![7.0; h * w] };
            assert_eq!(place.read(gpu).to_f32(), want, "level {mip_level} layer {array_layer}");
        }
    }
}

#[test]
fn nothing_is_made_of_no_pixels() {
    let Some(gpu) = gpu() else { return };
    let (texture, _) = random(gpu, Format::Rgba8Unorm, [2, 2], Usages::TEXTURE_BINDING);
    let buffer = gpu.buffer(16).unwrap();
    let op = TextureToTensor::with_kernels(gpu.kernels(), &Pixels::default());
    let out = View::new(&buffer, Element::F32, 0, 5);
    let bindings =
        TextureToTensorBindings { x: Image::new(&texture), shape: [3, 0, 5], channels_last: false, out };
    assert_eq!(op.bind(&bindings).unwrap().dispatches().len(), 0);
}

#[test]
fn what_cannot_be_is_refused_with_the_numbers() {
    let Some(gpu) = gpu() else { return };
    let device = gpu.device();
    let usage = Usages::TEXTURE_BINDING | Usages::STORAGE_BINDING;
    let rgba = draw::texture(device, [8, 4], Format::Rgba8Unorm, usage);
    let buffer = gpu.buffer(4 * 4 * 8 * 4).unwrap();
    let view = |rows, columns| View::new(&buffer, Element::F32, rows, columns);
    let read = |texture: Image<'_>, shape: [usize; 3], pixels: Pixels, out: View<'_>| {
        let op = TextureToTensor::with_kernels(gpu.kernels(), &pixels);
        op.bind(&TextureToTensorBindings { x: texture, shape, channels_last: false, out })
            .map(drop)
            .unwrap_err()
    };
    let plain = Pixels::default();
    let one = Image::new(&rgba);
    let shape = [3, 4, 8];
    let contains = |e: &Error, parts: &[&str]| {
        let text = e.to_string();
        assert!(parts.iter().all(|p| text.contains(p)), "{text} lacks one of {parts:?}");
    };
    let e = read(one, [2, 4, 8], plain, view(8, 8));
    assert!(matches!(e, Error::Argument { .. }));
    contains(&e, &["2 channels"]);
    contains(&read(one, shape, Pixels { luma: true, ..plain }, view(12, 8)), &["luma", "3"]);
    contains(&read(one, shape, Pixels { scale: [0.0; 4], ..plain }, view(12, 8)), &["scale", "0.0"]);
    contains(&read(one, shape, Pixels { mean: [f32::NAN; 4], ..plain }, view(12, 8)), &["mean", "NaN"]);
    let e = read(one, shape, plain, view(11, 8));
    assert!(matches!(e, Error::Shape { .. }));
    contains(&e, &["[11, 8]", "3 channels", "height 4", "width 8"]);
    let e = read(Image { mip_level: 1, ..one }, shape, plain, view(12, 8));
    assert!(matches!(e, Error::View { .. }));
    contains(&e, &["level 1", "1 levels"]);
    contains(
        &read(one.with_format(Format::Rgba16Float), shape, plain, view(12, 8)),
        &["Rgba8Unorm", "Rgba16Float"],
    );
    let integers = draw::texture(device, [8, 4], Format::Rgba8Uint, usage);
    contains(&read(Image::new(&integers), shape, plain, view(12, 8)), &["Rgba8Uint", "floats"]);
    let unread = draw::texture(device, [8, 4], Format::Rgba8Unorm, Usages::STORAGE_BINDING);
    contains(&read(Image::new(&unread), shape, plain, view(12, 8)), &["TEXTURE_BINDING"]);

    let write = |gpu: &Gpu, x: View<'_>, pixels: Pixels, out: Image<'_>| {
        let op = TensorToTexture::with_kernels(gpu.kernels(), &pixels);
        op.bind(&TensorToTextureBindings { x, shape, channels_last: false, out }).map(drop).unwrap_err()
    };
    contains(&write(gpu, view(12, 8), plain, Image::new(&integers)), &["Rgba8Uint", "Rgba16Float"]);
    contains(&write(gpu, view(12, 8), plain, one.with_format(Format::Rgba8UnormSrgb)), &["Srgb::Encode"]);
    contains(&write(gpu, view(12, 8), Pixels { luma: true, ..plain }, one), &["luma"]);
    let unwritten = draw::texture(device, [8, 4], Format::Rgba8Unorm, Usages::TEXTURE_BINDING);
    contains(&write(gpu, view(12, 8), plain, Image::new(&unwritten)), &["STORAGE_BINDING"]);
    // A device without the feature.
    let small = gpu::device(gpu, wgpu::Features::empty(), wgpu::Limits::default());
    let bgra = draw::texture(small.device(), [8, 4], Format::Bgra8Unorm, Usages::TEXTURE_BINDING);
    let theirs = small.buffer(4 * 4 * 8 * 4).unwrap();
    let e = write(&small, View::new(&theirs, Element::F32, 12, 8), plain, Image::new(&bgra));
    assert!(matches!(e, Error::Feature { feature: "BGRA8UNORM_STORAGE", .. }), "{e}");
}
