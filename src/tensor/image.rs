//! A caller's texture, seen as an image, and what its colours are to a tensor's numbers.

use crate::error::{Error, Result};

/// One level and layer of a caller's texture.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// The texture: of two dimensions, with one sample for each texel.
    pub texture: &'a wgpu::Texture,
    /// What its texels are seen as: the texture's own format, or the one with or without sRGB that its `view_formats`
    /// name. A device decodes what is seen as sRGB.
    pub format: wgpu::TextureFormat,
    /// Which of its sizes.
    pub mip_level: u32,
    /// Which of its layers.
    pub array_layer: u32,
}

impl<'a> Image<'a> {
    /// The first level and layer of a texture in its own format.
    pub fn new(texture: &'a wgpu::Texture) -> Self {
        Self { texture, format: texture.format(), mip_level: 0, array_layer: 0 }
    }

    /// The same texels, seen in another format.
    pub fn with_format(self, format: wgpu::TextureFormat) -> Self {
        Self { format, ..self }
    }

    /// `[height, width]` of the level, in texels.
    pub fn size(&self) -> [usize; 2] {
        let level = |n: u32| n.checked_shr(self.mip_level).unwrap_or(0).max(1) as usize;
        [level(self.texture.height()), level(self.texture.width())]
    }

    /// Checks what can be seen of the texture, and makes the view for one usage.
    ///
    /// # Errors
    /// [`Error::View`] where the texture has not that level, layer, usage or format, or is not of two dimensions and
    /// one sample.
    pub(crate) fn view(
        &self,
        op: &'static str,
        name: &'static str,
        usage: wgpu::TextureUsages,
    ) -> Result<wgpu::TextureView> {
        let fail = |detail: String| Err(Error::View { op, view: name, detail });
        let (texture, own) = (self.texture, self.texture.format());
        let (levels, layers) = (texture.mip_level_count(), texture.depth_or_array_layers());
        if texture.dimension() != wgpu::TextureDimension::D2 || texture.sample_count() != 1 {
            let (dimension, samples) = (texture.dimension(), texture.sample_count());
            return fail(format!("the texture is {dimension:?} with {samples} samples, expected D2 with 1"));
        }
        if !texture.usage().contains(usage) {
            return fail(format!("the texture's usage {:?} has no {usage:?}", texture.usage()));
        }
        if self.format.remove_srgb_suffix() != own.remove_srgb_suffix() {
            return fail(format!("texels of {own:?} cannot be seen as {:?}", self.format));
        }
        if self.mip_level >= levels || self.array_layer >= layers {
            return fail(format!(
                "level {} and layer {} of a texture of {levels} levels and {layers} layers",
                self.mip_level, self.array_layer
            ));
        }
        Ok(texture.create_view(&wgpu::TextureViewDescriptor {
            label: Some("weighbridge"),
            format: Some(self.format),
            dimension: Some(wgpu::TextureViewDimension::D2),
            usage: Some(usage),
            base_mip_level: self.mip_level,
            mip_level_count: Some(1),
            base_array_layer: self.array_layer,
            array_layer_count: Some(1),
            ..Default::default()
        }))
    }
}

/// What is done to colours between a texture and a tensor. Alpha is left alone.
///
/// Below 0 the curve goes on mirrored, so that every finite colour has a counterpart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Srgb {
    /// Nothing.
    #[default]
    Keep,
    /// From sRGB to linear light: `c / 12.92` up to 0.04045, else `((c + 0.055) / 1.055)^2.4`.
    Decode,
    /// From linear light to sRGB: `12.92 c` up to 0.0031308, else `1.055 c^(1 / 2.4) - 0.055`.
    Encode,
}

/// What the colours of a texture, as the device reads and writes them, are to the numbers of a tensor.
///
/// A tensor of 1 channel has the red of a texture, and is written as a grey; one of 3 channels has no alpha, and is
/// written with an alpha of 1; one of 4 has it as it is, neither multiplied nor divided by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pixels {
    /// What is done to each texel that is read, before it is mixed with others, and to each that is written, at last.
    pub srgb: Srgb,
    /// Of what is read into 1 channel: `0.2126 r + 0.7152 g + 0.0722 b` instead of red.
    pub luma: bool,
    /// For red, green, blue and alpha, or the first alone for 1 channel: a number is `(colour - mean) * scale`.
    pub mean: [f32; 4],
    /// See `mean`: 255 where a network takes bytes, the inverse of the deviation where it takes standard scores.
    pub scale: [f32; 4],
}

impl Default for Pixels {
    /// Colours are numbers as they are.
    fn default() -> Self {
        Self { srgb: Srgb::Keep, luma: false, mean: [0.0; 4], scale: [1.0; 4] }
    }
}

impl Pixels {
    /// Refuses numbers of channels that there are no colours for, and what has no inverse.
    pub(crate) fn check(&self, op: &'static str, channels: usize) -> Result<()> {
        let fail = |detail: String| Err(Error::Argument { op, detail });
        if !matches!(channels, 1 | 3 | 4) {
            return fail(format!("{channels} channels, but a texture has 1, 3 or 4"));
        }
        if self.luma && channels != 1 {
            return fail(format!("luma is 1 channel, but the tensor has {channels}"));
        }
        let (mean, scale) = (&self.mean[..channels], &self.scale[..channels]);
        // Whose inverse is finite, too.
        let turns = |s: f32| s.is_finite() && s.recip().is_finite();
        if !mean.iter().all(|m| m.is_finite()) || !scale.iter().all(|&s| turns(s)) {
            return fail(format!(
                "mean {mean:?} and scale {scale:?}: they must be finite, and scale have an inverse"
            ));
        }
        Ok(())
    }
}
