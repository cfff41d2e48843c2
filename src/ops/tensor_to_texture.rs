//! The numbers of a tensor as the colours of a texture.

use crate::error::{Error, Result};
use crate::kernel::{self, Call, Dispatch, Kernels, Shader, Slot, Variant};
use crate::ops::texture_to_tensor::{SRGB, TextureParams, consts_of, name_of};
use crate::ops::tile::to_u32;
use crate::tensor::{Image, Pixels, Srgb, View};

const OP: &str = "tensor_to_texture";

/// The formats that can be written, by the name of their const.
const FORMATS: [(wgpu::TextureFormat, &str); 4] = [
    (wgpu::TextureFormat::Rgba8Unorm, "RGBA8"),
    (wgpu::TextureFormat::Bgra8Unorm, "BGRA8"),
    (wgpu::TextureFormat::Rgba16Float, "RGBA16F"),
    (wgpu::TextureFormat::R32Float, "R32F"),
];

/// The tensors of a [`TensorToTexture`].
#[derive(Clone, Copy, Debug)]
pub struct TensorToTextureBindings<'a> {
    /// F32 `[channels * height, width]`, or where channels are last `[height * width, channels]`.
    pub x: View<'a>,
    /// `[channels, height, width]` of the tensor: 1, 3 or 4 channels, and not empty.
    pub shape: [usize; 3],
    /// Whether channels are the innermost dimension of the tensor, else the outermost.
    pub channels_last: bool,
    /// A texture with `STORAGE_BINDING`, seen as Rgba8Unorm, Rgba16Float, R32Float (red alone is written), or where the
    /// device has `BGRA8UNORM_STORAGE` Bgra8Unorm. WebGPU writes no sRGB formats: make the texture without sRGB, draw
    /// with it through a view with sRGB (`view_formats`), and have colours encoded here ([`Srgb::Encode`]).
    pub out: Image<'a>,
}

/// Writes a tensor into a texture: `number / scale + mean`, clamped where the format is.
///
/// Where sizes differ, a texel is between the four elements around it (bilinear): along each axis it lies at
/// `(i + 1/2) elements / texels - 1/2`, and outside of the elements' centres is the edge. Colours are decoded or encoded
/// after they were mixed.
pub struct TensorToTexture {
    kernels: Kernels,
    pixels: Pixels,
}

fn shader(channels: usize, format: &str, srgb: Srgb, resize: bool) -> Shader {
    let mut consts = consts_of(srgb, resize).to_vec();
    consts.extend(FORMATS.map(|(_, name)| (name, u32::from(name == format))));
    consts.extend([("COLOUR", u32::from(channels >= 3)), ("ALPHA", u32::from(channels == 4))]);
    let label = format!("{OP}/{channels} channels {format} {srgb:?}{}", name_of(resize));
    let files = [
        include_str!("../../shaders/common/quotient.wgsl"),
        include_str!("../../shaders/common/texture.wgsl"),
        include_str!("../../shaders/tensor_to_texture.wgsl"),
    ];
    Variant { label, enable: &[], consts: &consts, files: &files }.render()
}

/// Every variant.
pub(crate) fn shaders() -> Vec<Shader> {
    let mut all = Vec::new();
    for (_, format) in FORMATS {
        for srgb in SRGB {
            for channels in [1, 3, 4] {
                all.extend([false, true].map(|resize| shader(channels, format, srgb, resize)));
            }
        }
    }
    all
}

impl TensorToTexture {
    /// Prepares for a device.
    pub fn new(device: &wgpu::Device, pixels: &Pixels) -> Self {
        Self::with_kernels(&Kernels::new(device), pixels)
    }

    /// The same with kernels shared between ops.
    pub fn with_kernels(kernels: &Kernels, pixels: &Pixels) -> Self {
        Self { kernels: kernels.clone(), pixels: *pixels }
    }

    /// Checks shapes, formats and limits, and makes the call.
    ///
    /// # Errors
    /// [`Error::Feature`] for Bgra8Unorm where the device cannot write it; [`Error::Argument`] for a number of channels
    /// or a scale that textures have no use for; [`Error::Shape`], [`Error::View`] or [`Error::Limit`], with the
    /// numbers.
    pub fn bind(&self, b: &TensorToTextureBindings<'_>) -> Result<Call> {
        let (device, pixels) = (self.kernels.device(), &self.pixels);
        let [channels, ..] = b.shape;
        pixels.check(OP, channels)?;
        if pixels.luma {
            return Err(Error::Argument {
                op: OP,
                detail: "luma is made of what is read, not written".into(),
            });
        }
        let format = b.out.format;
        let Some((_, name)) = FORMATS.into_iter().find(|(f, _)| *f == format) else {
            let instead = match format.is_srgb() {
                true => "; sRGB is written through a format without it, with Srgb::Encode",
                false => "",
            };
            let detail =
                format!("{format:?} cannot be written, expected one of {:?}{instead}", FORMATS.map(|f| f.0));
            return Err(Error::View { op: OP, view: "out", detail });
        };
        let bgra = format == wgpu::TextureFormat::Bgra8Unorm;
        if bgra && !device.features().contains(wgpu::Features::BGRA8UNORM_STORAGE) {
            return Err(Error::Feature { op: OP, feature: "BGRA8UNORM_STORAGE" });
        }
        let out = b.out.view(OP, "out", wgpu::TextureUsages::STORAGE_BINDING)?;
        let size = b.out.size();
        let params = TextureParams::new(OP, ("x", &b.x), b.shape, b.channels_last, size)?;
        if b.shape.contains(&0) {
            let detail = format!("nothing to write, x is {:?}", b.shape);
            return Err(Error::Shape { op: OP, detail });
        }
        let x = b.x.binding(device, OP, "x")?;
        let total = size[0] as u64 * size[1] as u64;
        // Of a grey, all colours are made of the one number.
        let each = |v: [f32; 4]| if channels == 1 { [v[0]; 4] } else { v };
        let params = TextureParams {
            mean: each(pixels.mean),
            scale: each(pixels.scale).map(f32::recip),
            total: to_u32(OP, "texels", total as usize)?,
            ..params
        };
        let shader = shader(channels, name, pixels.srgb, params.resizes());
        let kernel = self.kernels.get(shader, &[Slot::Uniform, Slot::Read, Slot::StorageTexture(format)]);
        let uniform = kernel::uniform(device, &params);
        let resources = [
            uniform.as_entire_binding(),
            wgpu::BindingResource::Buffer(x),
            wgpu::BindingResource::TextureView(&out),
        ];
        let grid = kernel::grid(device, OP, total.div_ceil(64))?;
        let mut call = Call::default();
        call.push(Dispatch::with_resources(device, kernel, resources, grid));
        Ok(call)
    }
}
