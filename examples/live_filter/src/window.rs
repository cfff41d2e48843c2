//! The window: what winit asks for, keys and the mouse, and a surface that may be lost.

use crate::app::{App, SAMPLES};
use crate::filter::Variant;
use crate::gpu::Gpu;
use crate::headless::caption;
use crate::measure::Measured;
use crate::scene::{Moment, whole};
use crate::view::{Left, Options, Right};
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wgpu::CurrentSurfaceTexture as Current;
use winit::application::ApplicationHandler;
use winit::dpi::PhysicalSize;
use winit::event::{ElementState, MouseButton, WindowEvent};
use winit::event_loop::{ActiveEventLoop, ControlFlow, EventLoop};
use winit::keyboard::{Key, NamedKey};
use winit::window::{Window, WindowId};

/// Frames from one that is compared with fp32 to the next.
const MEASURED_EVERY: u32 = 16;
/// The text is rewritten so often that it can be read.
const TEXT_EVERY: Duration = Duration::from_millis(250);
const KEYS: &str = "1-4 variant  arrows split  D difference  F fp32\nspace stop  H text  esc end";

/// Shows a window until it is closed.
///
/// # Errors
/// Where there is no display or no adapter that can draw to it, as [`App::new`], and where the device is lost.
pub fn run(size: Option<[u32; 2]>, variant: Variant, split: f32) -> Result<(), Box<dyn Error>> {
    let event_loop = EventLoop::new()?;
    event_loop.set_control_flow(ControlFlow::Poll);
    let options = Options { split, left: Left::Drawn, right: Right::Filtered, text: true };
    let mut handler = Handler { size, variant, options, shown: None, error: None };
    event_loop.run_app(&mut handler)?;
    handler.error.map_or(Ok(()), Err)
}

struct Handler {
    size: Option<[u32; 2]>,
    variant: Variant,
    options: Options,
    shown: Option<Shown>,
    /// Why the loop was left.
    error: Option<Box<dyn Error>>,
}

/// A window and what is shown in it.
struct Shown {
    window: Arc<Window>,
    instance: wgpu::Instance,
    surface: wgpu::Surface<'static>,
    config: wgpu::SurfaceConfiguration,
    app: App,
    /// Seconds of the scene, and whether they pass.
    seconds: f32,
    moves: bool,
    frames: u32,
    last: Instant,
    /// A running mean, in milliseconds.
    frame: f64,
    written: Option<Instant>,
    measured: Option<Measured>,
    /// Of what the measurement is that is under way.
    asked: Variant,
    /// Whether the mouse holds the split, and where it is.
    held: bool,
    mouse: f64,
}

impl Shown {
    fn new(event_loop: &ActiveEventLoop, size: Option<[u32; 2]>) -> Result<Self, Box<dyn Error>> {
        let attributes = Window::default_attributes()
            .with_title("weighbridge: live filter")
            .with_inner_size(PhysicalSize::new(960, 540));
        let window = Arc::new(event_loop.create_window(attributes)?);
        let display = Box::new(event_loop.owned_display_handle());
        let instance = wgpu::Instance::new(
            wgpu::InstanceDescriptor::new_without_display_handle_from_env().with_display_handle(display),
        );
        let surface = instance.create_surface(window.clone())?;
        let (gpu, adapter) = pollster::block_on(Gpu::new(&instance, Some(&surface)))?;
        let inner = window.inner_size();
        let mut config = surface
            .get_default_config(&adapter, inner.width.max(1), inner.height.max(1))
            .ok_or_else(|| format!("{} has no format in which it can draw to this window", gpu.info.name))?;
        // The shader encodes by itself what a format does not.
        let formats = surface.get_capabilities(&adapter).formats;
        config.format = formats.into_iter().find(|f| !f.is_srgb()).unwrap_or(config.format);
        surface.configure(&gpu.device, &config);
        let size = size.unwrap_or(gpu.default_size());
        let app = App::new(gpu, size, config.format)?;
        Ok(Self {
            window,
            instance,
            surface,
            config,
            app,
            seconds: 0.0,
            moves: true,
            frames: 0,
            last: Instant::now(),
            frame: 0.0,
            written: None,
            measured: None,
            asked: Variant::Fp32,
            held: false,
            mouse: 0.0,
        })
    }

    fn resize(&mut self, size: PhysicalSize<u32>) {
        let most = self.app.gpu.device.limits().max_texture_dimension_2d;
        // A window that is minimised has no pixels: it is configured again when it has some.
        if size.width > 0 && size.height > 0 {
            (self.config.width, self.config.height) = (size.width.min(most), size.height.min(most));
            self.surface.configure(&self.app.gpu.device, &self.config);
        }
    }

    /// Draws a frame, or none where the window cannot be drawn to now.
    fn draw(&mut self, variant: Variant, options: &Options) -> Result<(), Box<dyn Error>> {
        self.app.gpu.check()?;
        let inner = self.window.inner_size();
        if inner.width == 0 || inner.height == 0 {
            std::thread::sleep(Duration::from_millis(50));
            return Ok(());
        }
        let texture = match self.surface.get_current_texture() {
            Current::Success(texture) => texture,
            Current::Suboptimal(texture) => {
                drop(texture);
                self.resize(inner);
                return Ok(());
            }
            Current::Outdated => {
                self.resize(inner);
                return Ok(());
            }
            Current::Lost => {
                self.surface = self.instance.create_surface(self.window.clone())?;
                self.resize(inner);
                return Ok(());
            }
            Current::Timeout | Current::Occluded => {
                std::thread::sleep(Duration::from_millis(50));
                return Ok(());
            }
            Current::Validation => {
                return Err("the window's next picture was refused by wgpu's validation".into());
            }
        };
        let elapsed = self.last.elapsed();
        self.last = Instant::now();
        let milliseconds = elapsed.as_secs_f64() * 1e3;
        self.frame = if self.frames < 2 { milliseconds } else { 0.9 * self.frame + 0.1 * milliseconds };
        if self.moves {
            self.seconds += elapsed.as_secs_f32().min(0.1);
        }
        if self.written.is_none_or(|t| t.elapsed() > TEXT_EVERY) {
            self.written = Some(Instant::now());
            let text = format!("{}\n{KEYS}", caption(&self.app, variant, self.frame, self.measured));
            self.app.view.write(&self.app.gpu.queue, &text);
        }
        let moment = Moment { seconds: self.seconds, samples: SAMPLES, seed: self.frames };
        let view = whole(&texture.texture);
        let mut encoder = self.app.gpu.device.create_command_encoder(&Default::default());
        let measured = self.measured.is_none() || self.frames.is_multiple_of(MEASURED_EVERY);
        let size = [self.config.width, self.config.height];
        if self.app.record(&mut encoder, &moment, variant, measured, options, (&view, size)) {
            self.asked = variant;
        }
        self.app.gpu.queue.submit([encoder.finish()]);
        self.window.pre_present_notify();
        self.app.gpu.queue.present(texture);
        self.frames = self.frames.wrapping_add(1);
        // What was measured some frames ago has come back, or will.
        self.app.gpu.device.poll(wgpu::PollType::Poll)?;
        if let Some(measured) = self.app.measure.read()?.filter(|_| self.asked == variant) {
            self.measured = Some(measured);
        }
        Ok(())
    }
}

impl Handler {
    fn key(&mut self, event_loop: &ActiveEventLoop, key: Key) {
        let Some(shown) = &mut self.shown else { return };
        let options = &mut self.options;
        let before = self.variant;
        match key.as_ref() {
            Key::Named(NamedKey::Escape) => event_loop.exit(),
            Key::Named(NamedKey::Space) => shown.moves ^= true,
            Key::Named(NamedKey::ArrowLeft) => options.split = (options.split - 0.02).max(0.0),
            Key::Named(NamedKey::ArrowRight) => options.split = (options.split + 0.02).min(1.0),
            Key::Character("1") => self.variant = Variant::Fp32,
            Key::Character("2") => self.variant = Variant::Fp16,
            Key::Character("3") => self.variant = Variant::Int8,
            Key::Character("4") => self.variant = Variant::DynamicInt8,
            Key::Character("d" | "D") => {
                options.right =
                    if options.right == Right::Filtered { Right::Difference } else { Right::Filtered };
            }
            Key::Character("f" | "F") => {
                options.left = if options.left == Left::Drawn { Left::Fp32 } else { Left::Drawn };
            }
            Key::Character("h" | "H") => options.text ^= true,
            _ => {}
        }
        if self.variant != before {
            // What was measured was the other.
            (shown.measured, shown.written) = (None, None);
        }
    }

    fn end(&mut self, event_loop: &ActiveEventLoop, error: Box<dyn Error>) {
        self.error = Some(error);
        event_loop.exit();
    }
}

impl ApplicationHandler for Handler {
    fn resumed(&mut self, event_loop: &ActiveEventLoop) {
        if self.shown.is_none() {
            match Shown::new(event_loop, self.size) {
                Ok(shown) => self.shown = Some(shown),
                Err(error) => self.end(event_loop, error),
            }
        }
    }

    fn about_to_wait(&mut self, _: &ActiveEventLoop) {
        if let Some(shown) = &self.shown {
            shown.window.request_redraw();
        }
    }

    fn window_event(&mut self, event_loop: &ActiveEventLoop, _: WindowId, event: WindowEvent) {
        let Some(shown) = &mut self.shown else { return };
        match event {
            WindowEvent::CloseRequested => event_loop.exit(),
            WindowEvent::Resized(size) => shown.resize(size),
            WindowEvent::RedrawRequested => {
                if let Err(error) = shown.draw(self.variant, &self.options) {
                    self.end(event_loop, error);
                }
            }
            WindowEvent::KeyboardInput { event, .. } if event.state == ElementState::Pressed => {
                self.key(event_loop, event.logical_key);
            }
            WindowEvent::MouseInput { state, button: MouseButton::Left, .. } => {
                shown.held = state == ElementState::Pressed;
                if shown.held {
                    self.options.split = shown.share();
                }
            }
            WindowEvent::CursorMoved { position, .. } => {
                shown.mouse = position.x;
                if shown.held {
                    self.options.split = shown.share();
                }
            }
            _ => {}
        }
    }
}

impl Shown {
    /// Where the mouse is in the picture, from 0 at its left to 1 at its right.
    fn share(&self) -> f32 {
        let [width, height] = self.app.size().map(f64::from);
        let window = [self.config.width, self.config.height].map(f64::from);
        let shown = width * (window[0] / width).min(window[1] / height);
        ((self.mouse - 0.5 * (window[0] - shown)) / shown).clamp(0.0, 1.0) as f32
    }
}
