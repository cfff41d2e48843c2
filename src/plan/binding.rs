//! Inputs and outputs: what they are, and what the caller binds to them.

use crate::error::{Error, Result};
use crate::tensor::{Element, Image, Pixels, View};

/// What the caller binds to an input or an output.
#[derive(Clone, Copy, Debug)]
pub enum Binding<'a> {
    /// A part of a buffer, dense.
    Buffer(View<'a>),
    /// A texture, and what its colours are to the network's numbers. It may be of another size than the port.
    Texture(Image<'a>, Pixels),
}

impl<'a> From<View<'a>> for Binding<'a> {
    fn from(view: View<'a>) -> Self {
        Binding::Buffer(view)
    }
}

/// The colours as they are.
impl<'a> From<&'a wgpu::Texture> for Binding<'a> {
    fn from(texture: &'a wgpu::Texture) -> Self {
        Binding::Texture(Image::new(texture), Pixels::default())
    }
}

/// The colours as they are.
impl<'a> From<Image<'a>> for Binding<'a> {
    fn from(image: Image<'a>) -> Self {
        Binding::Texture(image, Pixels::default())
    }
}

impl<'a> From<(&'a wgpu::Texture, Pixels)> for Binding<'a> {
    fn from((texture, pixels): (&'a wgpu::Texture, Pixels)) -> Self {
        Binding::Texture(Image::new(texture), pixels)
    }
}

/// An input or an output of a [`super::Plan`]: dense, with the model's dimensions in the model's order.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// The value's name.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// Type of the elements.
    pub element: Element,
    /// Whether it is a texture: see [`super::PlanDescriptor::textures`].
    pub texture: bool,
}

impl Port {
    /// The matrix that a buffer for the port is seen as.
    pub fn view<'a>(&self, buffer: &'a wgpu::Buffer) -> View<'a> {
        let columns = self.shape.last().copied().unwrap_or(1);
        View::new(buffer, self.element.stored(), self.shape.iter().rev().skip(1).product(), columns)
    }

    /// Bytes that a buffer for the port needs, never less than 16.
    pub fn bytes(&self) -> u64 {
        let columns = self.shape.last().copied().unwrap_or(1);
        let rows: usize = self.shape.iter().rev().skip(1).product();
        ((rows * self.element.words(columns)) as u64 * 4).max(16)
    }

    /// Refuses what cannot be bound to the port; of a texture its step finds more.
    pub(super) fn check(&self, bound: &Binding<'_>) -> Result<()> {
        let name = &self.name;
        match (bound, self.texture) {
            (Binding::Texture(..), true) => Ok(()),
            (Binding::Texture(..), false) => Err(Error::Model(format!(
                "`{name}` is bound to a texture, but the plan was made for a buffer: name it in PlanDescriptor::textures"
            ))),
            (Binding::Buffer(_), true) => Err(Error::Model(format!(
                "`{name}` is bound to a buffer, but the plan was made for a texture (PlanDescriptor::textures)"
            ))),
            (Binding::Buffer(view), false) => {
                let want = self.view(view.buffer);
                if (view.element, view.rows * view.columns, view.pitch)
                    == (want.element, want.rows * want.columns, view.element.words(view.columns))
                {
                    return Ok(());
                }
                let View { rows, columns, element, pitch, .. } = view;
                let detail = format!(
                    "`{name}` is bound to [{rows}, {columns}] of {element:?} with a pitch of {pitch} words, but it is {:?} of {:?}, dense",
                    self.shape, self.element
                );
                Err(Error::Shape { op: "plan", detail })
            }
        }
    }

    /// Something to bind to the port.
    pub(super) fn scratch(&self, device: &wgpu::Device) -> Scratch {
        let label = Some("weighbridge scratch");
        if !self.texture {
            return Scratch::Buffer(device.create_buffer(&wgpu::BufferDescriptor {
                label,
                size: self.bytes(),
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            }));
        }
        Scratch::Texture(device.create_texture(&wgpu::TextureDescriptor {
            label,
            size: wgpu::Extent3d { width: 1, height: 1, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba8Unorm,
            usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::STORAGE_BINDING,
            view_formats: &[],
        }))
    }
}

/// What a port is bound to where nothing is ever recorded.
pub(super) enum Scratch {
    Buffer(wgpu::Buffer),
    Texture(wgpu::Texture),
}

impl Scratch {
    pub fn bind(&self, port: &Port) -> Binding<'_> {
        match self {
            Scratch::Buffer(buffer) => port.view(buffer).into(),
            Scratch::Texture(texture) => texture.into(),
        }
    }
}
