//! What is drawn: spheres, boxes and lamps that move, and the shader that traces them.

use bytemuck::{Pod, Zeroable};
use wgpu::util::DeviceExt;

/// Objects that the shader has room for.
const ROOM: usize = 32;

/// As in `scene.wgsl`.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
struct Object {
    centre: [f32; 3],
    /// 0 for a box.
    radius: f32,
    extent: [f32; 3],
    roughness: f32,
    albedo: [f32; 3],
    metal: f32,
    emission: [f32; 3],
    pad: f32,
    /// Cosine and sine of a box's angle about the vertical.
    turn: [f32; 4],
}

/// As in `scene.wgsl`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Uniform {
    eye: [f32; 3],
    samples: u32,
    right: [f32; 3],
    seed: u32,
    up: [f32; 3],
    lamps: u32,
    forward: [f32; 3],
    spheres: u32,
    sun: [f32; 3],
    objects: u32,
    object: [Object; ROOM],
}

/// An object and how it moves: around the vertical axis, and up and down.
#[derive(Clone, Copy, Debug)]
struct Moving {
    object: Object,
    /// Of a box, about the vertical.
    angle: f32,
    /// Radians a second.
    orbit: f32,
    /// Metres up and down, and radians a second.
    bob: [f32; 2],
}

impl Moving {
    fn at(&self, seconds: f32) -> Object {
        let (s, c) = (self.orbit * seconds).sin_cos();
        let [x, y, z] = self.object.centre;
        let turn = self.angle - self.orbit * seconds;
        // Each at a phase of its own.
        let height = y + self.bob[0] * (self.bob[1] * seconds + 3.0 * x + 5.0 * z).sin();
        Object {
            centre: [c * x + s * z, height, c * z - s * x],
            turn: [turn.cos(), turn.sin(), 0.0, 0.0],
            ..self.object
        }
    }
}

/// Objects in the shader's order (lamps, spheres, boxes), and a camera that goes around them.
#[derive(Clone, Debug)]
pub struct Scene {
    objects: Vec<Moving>,
    lamps: usize,
    spheres: usize,
    /// Metres from the middle, metres above the floor, radians at the start, radians a second.
    camera: [f32; 4],
    /// Half of the picture's height at a distance of 1.
    field: f32,
}

/// Numbers in [0, 1) that depend on the seed alone (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 24) as f32
    }

    fn within(&mut self, from: f32, to: f32) -> f32 {
        from + (to - from) * self.next()
    }

    fn colour(&mut self) -> [f32; 3] {
        [self.within(0.05, 0.9), self.within(0.05, 0.9), self.within(0.05, 0.9)]
    }
}

fn lamp(centre: [f32; 3], radius: f32, emission: [f32; 3]) -> Object {
    Object { centre, radius, emission, ..Object::default() }
}

fn sphere(centre: [f32; 3], radius: f32, albedo: [f32; 3], roughness: f32, metal: f32) -> Object {
    Object { centre, radius, albedo, roughness, metal, ..Object::default() }
}

fn block(centre: [f32; 3], extent: [f32; 3], angle: f32, albedo: [f32; 3], roughness: f32) -> Moving {
    let object = Object { centre, extent, albedo, roughness, ..Object::default() };
    Moving { object, angle, orbit: 0.0, bob: [0.0; 2] }
}

fn polar(distance: f32, angle: f32, height: f32) -> [f32; 3] {
    [distance * angle.sin(), height, distance * angle.cos()]
}

impl Scene {
    /// The one that is shown: no part of it was ever seen in training.
    pub fn shown() -> Self {
        let still = |object| Moving { object, angle: 0.0, orbit: 0.0, bob: [0.0; 2] };
        let mut objects = vec![
            still(lamp([-4.5, 6.0, 3.5], 1.1, [82.0, 66.0, 48.0])),
            Moving {
                object: lamp(polar(1.75, 0.6, 0.75), 0.13, [4.0, 62.0, 74.0]),
                angle: 0.0,
                orbit: 0.9,
                bob: [0.35, 1.3],
            },
            Moving {
                object: lamp(polar(2.7, 3.6, 0.9), 0.15, [88.0, 10.0, 44.0]),
                angle: 0.0,
                orbit: -0.6,
                bob: [0.3, 0.9],
            },
        ];
        let lamps = objects.len();
        objects.push(still(sphere([0.0, 1.0, 0.0], 1.0, [1.0, 0.71, 0.29], 0.16, 1.0)));
        let ring: [([f32; 3], f32, f32); 9] = [
            ([0.80, 0.12, 0.10], 0.30, 0.0),
            ([0.95, 0.93, 0.88], 0.05, 1.0),
            ([0.06, 0.35, 0.60], 0.12, 0.0),
            ([0.95, 0.55, 0.40], 0.30, 1.0),
            ([0.85, 0.84, 0.80], 0.95, 0.0),
            ([0.10, 0.42, 0.18], 0.20, 0.0),
            ([0.56, 0.57, 0.60], 0.35, 1.0),
            ([0.85, 0.55, 0.08], 0.15, 0.0),
            ([0.28, 0.10, 0.42], 0.25, 0.0),
        ];
        for (i, (albedo, roughness, metal)) in ring.into_iter().enumerate() {
            let radius = 0.30 + 0.13 * ((i * 5) % 3) as f32 * 0.8;
            let angle = std::f32::consts::TAU * i as f32 / ring.len() as f32;
            let object = sphere(polar(2.15, angle, radius + 0.22), radius, albedo, roughness, metal);
            objects.push(Moving { object, angle: 0.0, orbit: 0.25, bob: [0.2, 1.7] });
        }
        let spheres = objects.len();
        for i in 0..6 {
            let angle = std::f32::consts::TAU * (i as f32 + 0.35) / 6.0;
            let height = [0.55, 0.25, 0.42, 0.18, 0.70, 0.32][i];
            let albedo = if i % 2 == 0 { [0.78, 0.76, 0.72] } else { [0.20, 0.24, 0.32] };
            let roughness = if i % 2 == 0 { 0.9 } else { 0.2 };
            let extent = [0.42, height, 0.42];
            objects.push(block(polar(3.5, angle, height), extent, angle + 0.4, albedo, roughness));
        }
        Self { objects, lamps, spheres, camera: [8.4, 3.6, 0.35, 0.12], field: 0.3 }
    }

    /// One of many, for training and for measuring on what was not trained on.
    pub fn random(seed: u64) -> Self {
        let mut r = Random(seed);
        let r = &mut r;
        let mut objects = Vec::new();
        let moving = |object, r: &mut Random| Moving {
            object,
            angle: 0.0,
            orbit: r.within(-0.8, 0.8),
            bob: [r.within(0.0, 0.3), r.within(0.5, 2.0)],
        };
        let place = |r: &mut Random| [r.within(-3.5, 3.5), 0.0, r.within(-3.5, 3.5)];
        let key = polar(r.within(4.0, 7.0), r.within(0.0, 6.3), r.within(4.0, 8.0));
        let power = r.within(25.0, 110.0);
        objects.push(moving(
            lamp(key, r.within(0.4, 1.5), [power, power * r.within(0.6, 1.0), power * r.within(0.4, 1.0)]),
            r,
        ));
        for _ in 0..2 {
            let [x, _, z] = place(r);
            let emission = [r.within(2.0, 90.0), r.within(2.0, 90.0), r.within(2.0, 90.0)];
            objects.push(moving(lamp([x, r.within(0.5, 2.0), z], r.within(0.08, 0.25), emission), r));
        }
        let lamps = objects.len();
        for _ in 0..4 + (r.next() * 11.0) as usize {
            let ([x, _, z], radius) = (place(r), r.within(0.15, 1.1));
            let height = radius + if r.next() < 0.5 { 0.0 } else { r.within(0.0, 0.8) };
            let metal = if r.next() < 0.4 { 1.0 } else { 0.0 };
            let roughness = r.next();
            objects.push(moving(sphere([x, height, z], radius, r.colour(), roughness * roughness, metal), r));
        }
        let spheres = objects.len();
        for _ in 0..2 + (r.next() * 8.0) as usize {
            let [x, _, z] = place(r);
            let extent = [r.within(0.1, 0.8), r.within(0.1, 1.6), r.within(0.1, 0.8)];
            let angle = r.within(0.0, 3.1);
            objects.push(block([x, extent[1], z], extent, angle, r.colour(), r.next()));
        }
        let camera = [r.within(4.5, 9.0), r.within(0.8, 4.5), r.within(0.0, 6.3), 0.0];
        Self { objects, lamps, spheres, camera, field: r.within(0.2, 0.45) }
    }

    /// The uniform for a moment, a picture and a seed of its noise.
    fn uniform(&self, moment: &Moment, size: [u32; 2]) -> Uniform {
        let [distance, height, angle, speed] = self.camera;
        let eye = polar(distance, angle + speed * moment.seconds, height);
        let target = [0.0, 0.75, 0.0];
        let forward = normalized([target[0] - eye[0], target[1] - eye[1], target[2] - eye[2]]);
        let right = normalized(cross(forward, [0.0, 1.0, 0.0]));
        let up = cross(right, forward);
        let aspect = size[0] as f32 / size[1] as f32;
        let mut object = [Object::default(); ROOM];
        for (slot, moving) in object.iter_mut().zip(&self.objects) {
            *slot = moving.at(moment.seconds);
        }
        Uniform {
            eye,
            samples: moment.samples,
            right: right.map(|x| x * self.field * aspect),
            seed: moment.seed,
            up: up.map(|x| x * self.field),
            lamps: self.lamps as u32,
            forward,
            spheres: self.spheres as u32,
            sun: normalized(object[0].centre),
            objects: self.objects.len() as u32,
            object,
        }
    }
}

fn cross(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

fn normalized(v: [f32; 3]) -> [f32; 3] {
    let length = v.iter().map(|x| x * x).sum::<f32>().sqrt();
    v.map(|x| x / length)
}

/// A moment of a scene and how well it is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Since the start.
    pub seconds: f32,
    /// Paths for each pixel.
    pub samples: u32,
    /// Of the noise.
    pub seed: u32,
}

/// Textures of one size that the scene is drawn into.
pub struct Targets {
    /// The square root of the light on each surface; nearness in the fourth channel.
    pub light: wgpu::Texture,
    /// The normal in [0, 1], and the roughness.
    pub guide: wgpu::Texture,
    /// What the light is multiplied with.
    pub surface: wgpu::Texture,
}

/// A format and a use for each of the targets, in their order.
const FORMATS: [wgpu::TextureFormat; 3] =
    [wgpu::TextureFormat::Rgba16Float, wgpu::TextureFormat::Rgba8Unorm, wgpu::TextureFormat::Rgba8Unorm];

impl Targets {
    /// Of this many pixels.
    pub fn new(device: &wgpu::Device, size: [u32; 2]) -> Self {
        let [light, guide, surface] = FORMATS.map(|format| texture(device, size, format));
        Self { light, guide, surface }
    }
}

/// A texture that can be drawn to, sampled, written by a kernel and copied.
pub fn texture(device: &wgpu::Device, size: [u32; 2], format: wgpu::TextureFormat) -> wgpu::Texture {
    device.create_texture(&wgpu::TextureDescriptor {
        label: Some("live filter"),
        size: wgpu::Extent3d { width: size[0], height: size[1], depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format,
        usage: wgpu::TextureUsages::RENDER_ATTACHMENT
            | wgpu::TextureUsages::TEXTURE_BINDING
            | wgpu::TextureUsages::STORAGE_BINDING
            | wgpu::TextureUsages::COPY_SRC
            | wgpu::TextureUsages::COPY_DST,
        view_formats: &[],
    })
}

/// The view of a whole texture.
pub fn whole(texture: &wgpu::Texture) -> wgpu::TextureView {
    texture.create_view(&wgpu::TextureViewDescriptor::default())
}

/// A pipeline that draws one triangle over all of the targets, with a fragment shader of this name.
pub fn pipeline(
    device: &wgpu::Device,
    label: &str,
    shader: &str,
    fragment: &str,
    formats: &[wgpu::TextureFormat],
) -> wgpu::RenderPipeline {
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(label),
        source: wgpu::ShaderSource::Wgsl(shader.into()),
    });
    let targets: Vec<_> = formats.iter().map(|&f| Some(f.into())).collect();
    device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
        label: Some(label),
        layout: None,
        vertex: wgpu::VertexState {
            module: &module,
            entry_point: Some("corner"),
            compilation_options: Default::default(),
            buffers: &[],
        },
        primitive: wgpu::PrimitiveState::default(),
        depth_stencil: None,
        multisample: wgpu::MultisampleState::default(),
        fragment: Some(wgpu::FragmentState {
            module: &module,
            entry_point: Some(fragment),
            compilation_options: Default::default(),
            targets: &targets,
        }),
        multiview_mask: None,
        cache: None,
    })
}

/// Begins a pass that draws all of the views anew.
pub fn begin<'e>(
    encoder: &'e mut wgpu::CommandEncoder,
    views: &[&wgpu::TextureView],
    timestamp_writes: Option<wgpu::RenderPassTimestampWrites<'_>>,
) -> wgpu::RenderPass<'e> {
    let ops = wgpu::Operations { load: wgpu::LoadOp::Clear(wgpu::Color::BLACK), store: wgpu::StoreOp::Store };
    let attachments: Vec<_> = views
        .iter()
        .map(|view| {
            Some(wgpu::RenderPassColorAttachment { view, depth_slice: None, resolve_target: None, ops })
        })
        .collect();
    encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
        color_attachments: &attachments,
        timestamp_writes,
        ..Default::default()
    })
}

/// Draws scenes.
pub struct Renderer {
    pipeline: wgpu::RenderPipeline,
    uniform: wgpu::Buffer,
    bind_group: wgpu::BindGroup,
}

impl Renderer {
    /// Compiles the shader.
    pub fn new(device: &wgpu::Device) -> Self {
        let pipeline = pipeline(device, "scene", include_str!("../shaders/scene.wgsl"), "draw", &FORMATS);
        let uniform = device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: Some("scene"),
            contents: bytemuck::bytes_of(&Uniform::zeroed()),
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
        });
        let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("scene"),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[wgpu::BindGroupEntry { binding: 0, resource: uniform.as_entire_binding() }],
        });
        Self { pipeline, uniform, bind_group }
    }

    /// Records the drawing of a moment. What it needs is written to the queue, and so there can be one in each submit.
    pub fn record(
        &self,
        queue: &wgpu::Queue,
        encoder: &mut wgpu::CommandEncoder,
        scene: &Scene,
        moment: &Moment,
        targets: &Targets,
        times: Option<wgpu::RenderPassTimestampWrites<'_>>,
    ) {
        let size = [targets.light.width(), targets.light.height()];
        queue.write_buffer(&self.uniform, 0, bytemuck::bytes_of(&scene.uniform(moment, size)));
        let views = [whole(&targets.light), whole(&targets.guide), whole(&targets.surface)];
        let mut pass = begin(encoder, &[&views[0], &views[1], &views[2]], times);
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.draw(0..3, 0..1);
    }
}
