//! The picture on the screen, with a split and with text.

use crate::gpu::Gpu;
use crate::scene::{begin, pipeline, texture, whole};
use bytemuck::{Pod, Zeroable};
use font8x8::UnicodeFonts;

/// Characters and lines that there is room for.
const ROOM: [u32; 2] = [64, 16];
/// Pixels of a character, with the gap to the next line.
const CELL: [u32; 2] = [8, 10];

/// What is at the left of the split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The scene as it was drawn.
    Drawn,
    /// What the network in fp32 makes of it.
    Fp32,
}

/// What is at the right of the split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// What the network in some variant makes of it.
    Filtered,
    /// How far that is from fp32, times 16.
    Difference,
}

/// How the picture is shown.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// From 0 at the left to 1 at the right.
    pub split: f32,
    /// Before it.
    pub left: Left,
    /// After it.
    pub right: Right,
    /// Whether there is text.
    pub text: bool,
}

/// As in `view.wgsl`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Uniform {
    window: [f32; 2],
    picture: [f32; 2],
    split: f32,
    zoom: u32,
    text: [u32; 2],
    encodes: u32,
    /// WGSL rounds the size up to the alignment of its largest member.
    pad: u32,
}

/// The textures that are looked at.
pub struct Pictures<'a> {
    /// What was drawn.
    pub light: &'a wgpu::Texture,
    /// What all of these are multiplied with.
    pub surface: &'a wgpu::Texture,
    /// What the variant made.
    pub filtered: &'a wgpu::Texture,
    /// What fp32 made.
    pub exact: &'a wgpu::Texture,
}

/// Draws to windows and textures of one format.
pub struct View {
    plain: wgpu::RenderPipeline,
    difference: wgpu::RenderPipeline,
    uniform: wgpu::Buffer,
    sampler: wgpu::Sampler,
    text: wgpu::Texture,
    /// Of the text, in pixels.
    size: [u32; 2],
    encodes: bool,
}

impl View {
    /// For targets of this format.
    pub fn new(gpu: &Gpu, format: wgpu::TextureFormat) -> Self {
        let shader = concat!(include_str!("../shaders/shown.wgsl"), include_str!("../shaders/view.wgsl"));
        let device = &gpu.device;
        Self {
            plain: pipeline(device, "view", shader, "plain", &[format]),
            difference: pipeline(device, "view", shader, "difference", &[format]),
            uniform: device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("view"),
                size: size_of::<Uniform>() as u64,
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            }),
            sampler: device.create_sampler(&wgpu::SamplerDescriptor {
                mag_filter: wgpu::FilterMode::Linear,
                min_filter: wgpu::FilterMode::Linear,
                ..Default::default()
            }),
            text: texture(device, [ROOM[0] * CELL[0], ROOM[1] * CELL[1]], wgpu::TextureFormat::Rgba8Unorm),
            size: [0, 0],
            encodes: format.is_srgb(),
        }
    }

    /// Sets the text: what does not fit is cut off.
    pub fn write(&mut self, queue: &wgpu::Queue, text: &str) {
        let lines: Vec<Vec<char>> =
            text.lines().take(ROOM[1] as usize).map(|l| l.chars().take(ROOM[0] as usize).collect()).collect();
        let longest = lines.iter().map(Vec::len).max().unwrap_or(0);
        self.size = [longest as u32 * CELL[0], lines.len() as u32 * CELL[1]];
        let [width, height] = self.size;
        if width == 0 || height == 0 {
            return;
        }
        let mut texels = vec![0_u8; (width * height * 4) as usize];
        for (row, line) in lines.iter().enumerate() {
            for (column, character) in line.iter().enumerate() {
                // A character that the font has not is a blank.
                let glyph = font8x8::BASIC_FONTS.get(*character).unwrap_or_default();
                for (y, bits) in glyph.into_iter().enumerate() {
                    for x in (0..8).filter(|x| bits >> x & 1 == 1) {
                        let at =
                            (row * CELL[1] as usize + y) * width as usize + column * CELL[0] as usize + x;
                        texels[at * 4..at * 4 + 4].fill(255);
                    }
                }
            }
        }
        queue.write_texture(
            self.text.as_image_copy(),
            &texels,
            wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(width * 4), rows_per_image: None },
            wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
        );
    }

    /// Records the drawing of the pictures to a target of some size.
    pub fn record(
        &self,
        gpu: &Gpu,
        encoder: &mut wgpu::CommandEncoder,
        pictures: &Pictures<'_>,
        options: &Options,
        target: &wgpu::TextureView,
        size: [u32; 2],
    ) {
        // As large as it can be read, and no more than half of the width.
        let zoom = (size[1] / 400).min(size[0] / (2 * self.size[0].max(1))).max(1);
        let uniform = Uniform {
            window: size.map(|n| n as f32),
            picture: [pictures.light.width() as f32, pictures.light.height() as f32],
            split: options.split,
            zoom: if options.text { zoom } else { 0 },
            text: self.size,
            encodes: self.encodes.into(),
            pad: 0,
        };
        gpu.queue.write_buffer(&self.uniform, 0, bytemuck::bytes_of(&uniform));
        let views = [&self.text, pictures.surface].map(whole);
        let group = |pipeline: &wgpu::RenderPipeline, lights: &[&wgpu::Texture]| {
            let lights: Vec<_> = lights.iter().map(|t| whole(t)).collect();
            let mut entries = vec![
                wgpu::BindGroupEntry { binding: 0, resource: self.uniform.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 1, resource: wgpu::BindingResource::Sampler(&self.sampler) },
            ];
            entries.extend(views.iter().chain(&lights).zip(2..).map(|(view, binding)| {
                wgpu::BindGroupEntry { binding, resource: wgpu::BindingResource::TextureView(view) }
            }));
            let layout = &pipeline.get_bind_group_layout(0);
            gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("view"),
                layout,
                entries: &entries,
            })
        };
        let left = if options.left == Left::Drawn { pictures.light } else { pictures.exact };
        let (right, lights): (_, &[_]) = match options.right {
            Right::Filtered => (&self.plain, &[pictures.filtered]),
            Right::Difference => (&self.difference, &[pictures.filtered, pictures.exact]),
        };
        // The pixel that the line is in: the picture is in the middle of the window, as large as it fits.
        let [width, height] = uniform.window;
        let shown = uniform.picture[0] * (width / uniform.picture[0]).min(height / uniform.picture[1]);
        let middle = (0.5 * (width - shown) + options.split * shown).clamp(0.0, width) as u32;
        let mut pass = begin(encoder, &[target], None);
        for (pipeline, lights, columns) in
            [(&self.plain, &[left][..], 0..middle), (right, lights, middle..size[0])]
        {
            if !columns.is_empty() {
                pass.set_pipeline(pipeline);
                pass.set_bind_group(0, &group(pipeline, lights), &[]);
                pass.set_scissor_rect(columns.start, 0, columns.len() as u32, size[1]);
                pass.draw(0..3, 0..1);
            }
        }
    }
}
