//! The colours of a texture as the numbers of a tensor.

use crate::error::{Error, Result};
use crate::kernel::{self, Call, Dispatch, Kernels, Shader, Slot, Variant};
use crate::ops::rows::{check_element, check_words};
use crate::ops::tile::to_u32;
use crate::tensor::{Element, Image, Pixels, Srgb, View};

const OP: &str = "texture_to_tensor";

/// The tensors of a [`TextureToTensor`].
#[derive(Clone, Copy, Debug)]
pub struct TextureToTensorBindings<'a> {
    /// A texture with `TEXTURE_BINDING` of any format that is read as floats, filterable or not. What it has not is
    /// read as 0, and alpha as 1.
    pub x: Image<'a>,
    /// `[channels, height, width]` of the tensor: 1, 3 or 4 channels.
    pub shape: [usize; 3],
    /// Whether channels are the innermost dimension of the tensor, else the outermost.
    pub channels_last: bool,
    /// F32 `[channels * height, width]`, or where channels are last `[height * width, channels]`.
    pub out: View<'a>,
}

/// Reads a texture into a tensor: `(colour - mean) * scale`.
///
/// Where sizes differ, an element is between the four texels around it (bilinear): along each axis it lies at
/// `(i + 1/2) texels / elements - 1/2`, and outside of the texels' centres is the edge. Shrunk by more than 2, texels are
/// left out. Colours are decoded or encoded before they are mixed.
pub struct TextureToTensor {
    kernels: Kernels,
    pixels: Pixels,
}

/// The uniform of both kernels between textures and tensors, as WGSL sees it.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct TextureParams {
    pub mean: [f32; 4],
    /// Or its inverse.
    pub scale: [f32; 4],
    pub total: u32,
    pub height: u32,
    pub width: u32,
    pub texture_height: u32,
    pub texture_width: u32,
    pub row_apart: u32,
    pub column_apart: u32,
    pub channel_apart: u32,
}

impl TextureParams {
    /// Checks a tensor's view against its shape, and sizes against what 32 bits hold.
    pub(super) fn new(
        op: &'static str,
        (name, view): (&'static str, &View<'_>),
        [channels, height, width]: [usize; 3],
        channels_last: bool,
        texture: [usize; 2],
    ) -> Result<Self> {
        check_element(op, name, view, Element::F32)?;
        check_words(op, name, view)?;
        let rows = height.checked_mul(if channels_last { width } else { channels });
        let columns = if channels_last { channels } else { width };
        if rows != Some(view.rows) || view.columns != columns {
            let order =
                if channels_last { "[height * width, channels]" } else { "[channels * height, width]" };
            let (rows, columns) = (view.rows, view.columns);
            let detail = format!(
                "{name} is [{rows}, {columns}], expected {order} of {channels} channels, height {height}, width {width}"
            );
            return Err(Error::Shape { op, detail });
        }
        // `between` counts halves of a place in 32 bits.
        for (one, other) in [(height, texture[0]), (width, texture[1])] {
            let needed = 2 * one as u64 * other as u64;
            let limit = u64::from(u32::MAX) / 2;
            if needed > limit {
                let what = format!("{one} beside {other} texels, in half steps of either,");
                return Err(Error::Limit { op, what, needed, limit });
            }
        }
        let [row_apart, column_apart, channel_apart] = match channels_last {
            true => [width * view.pitch, view.pitch, 1],
            false => [view.pitch, 1, height * view.pitch],
        };
        let int = |v| to_u32(op, "words", v);
        Ok(Self {
            height: int(height)?,
            width: int(width)?,
            texture_height: int(texture[0])?,
            texture_width: int(texture[1])?,
            row_apart: int(row_apart)?,
            column_apart: int(column_apart)?,
            channel_apart: int(channel_apart)?,
            ..Self::default()
        })
    }

    /// Whether texels and elements are not the same places.
    pub(super) fn resizes(&self) -> bool {
        (self.height, self.width) != (self.texture_height, self.texture_width)
    }
}

/// The consts that say what is done to colours.
pub(super) fn consts_of(srgb: Srgb, resize: bool) -> [(&'static str, u32); 4] {
    [
        ("KEEP", srgb == Srgb::Keep),
        ("DECODE", srgb == Srgb::Decode),
        ("ENCODE", srgb == Srgb::Encode),
        ("RESIZE", resize),
    ]
    .map(|(name, flag)| (name, u32::from(flag)))
}

/// Whether places differ, in words.
pub(super) fn name_of(resize: bool) -> &'static str {
    if resize { " resized" } else { "" }
}

fn shader(channels: usize, luma: bool, srgb: Srgb, resize: bool) -> Shader {
    let mut consts = consts_of(srgb, resize).to_vec();
    consts.extend([("CHANNELS", channels as u32), ("LUMA", u32::from(luma))]);
    let what = if luma { "luma".into() } else { format!("{channels} channels") };
    let label = format!("{OP}/{what} {srgb:?}{}", name_of(resize));
    let files = [
        include_str!("../../shaders/common/quotient.wgsl"),
        include_str!("../../shaders/common/texture.wgsl"),
        include_str!("../../shaders/texture_to_tensor.wgsl"),
    ];
    Variant { label, enable: &[], consts: &consts, files: &files }.render()
}

pub(super) const SRGB: [Srgb; 3] = [Srgb::Keep, Srgb::Decode, Srgb::Encode];

/// Every variant.
pub(crate) fn shaders() -> Vec<Shader> {
    let channels = [(1, false), (1, true), (3, false), (4, false)];
    let each = |srgb| {
        channels.into_iter().flat_map(move |(n, luma)| [false, true].map(|r| shader(n, luma, srgb, r)))
    };
    SRGB.into_iter().flat_map(each).collect()
}

impl TextureToTensor {
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
    /// [`Error::Argument`] for a number of channels or a scale that textures have no use for; [`Error::Shape`],
    /// [`Error::View`] or [`Error::Limit`], with the numbers.
    pub fn bind(&self, b: &TextureToTensorBindings<'_>) -> Result<Call> {
        let (device, pixels) = (self.kernels.device(), &self.pixels);
        let [channels, height, width] = b.shape;
        pixels.check(OP, channels)?;
        let sampled = b.x.format.sample_type(None, Some(device.features()));
        if !matches!(sampled, Some(wgpu::TextureSampleType::Float { .. })) {
            let detail = format!("texels of {:?} are not read as floats", b.x.format);
            return Err(Error::View { op: OP, view: "x", detail });
        }
        let x = b.x.view(OP, "x", wgpu::TextureUsages::TEXTURE_BINDING)?;
        let params = TextureParams::new(OP, ("out", &b.out), b.shape, b.channels_last, b.x.size())?;
        let out = b.out.binding(device, OP, "out")?;
        let total = height as u64 * width as u64;
        let params = TextureParams {
            mean: pixels.mean,
            scale: pixels.scale,
            total: to_u32(OP, "pixels", total as usize)?,
            ..params
        };
        let mut call = Call::default();
        if total > 0 {
            let shader = shader(channels, pixels.luma, pixels.srgb, params.resizes());
            let kernel = self.kernels.get(shader, &[Slot::Uniform, Slot::Texture, Slot::Write]);
            let uniform = kernel::uniform(device, &params);
            let resources = [
                uniform.as_entire_binding(),
                wgpu::BindingResource::TextureView(&x),
                wgpu::BindingResource::Buffer(out),
            ];
            let grid = kernel::grid(device, OP, total.div_ceil(64))?;
            call.push(Dispatch::with_resources(device, kernel, resources, grid));
        }
        Ok(call)
    }
}
