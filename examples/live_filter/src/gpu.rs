//! The application's own device and queue, and what it copies back from them.

use std::error::Error;
use std::sync::{Arc, OnceLock};

/// What an application that draws has anyway.
pub struct Gpu {
    /// Made with [`Gpu::new`].
    pub device: wgpu::Device,
    /// The device's only queue.
    pub queue: wgpu::Queue,
    /// What the device is.
    pub info: wgpu::AdapterInfo,
    /// Why the device was lost.
    lost: Arc<OnceLock<String>>,
}

impl Gpu {
    /// The adapter that the environment names (`WGPU_ADAPTER_NAME`, `WGPU_BACKEND`), or else the fastest that can show
    /// pictures on the surface.
    ///
    /// # Errors
    /// Where there is none, naming those that there are, or it gives no device.
    pub async fn new(
        instance: &wgpu::Instance,
        surface: Option<&wgpu::Surface<'_>>,
    ) -> Result<(Self, wgpu::Adapter), Box<dyn Error>> {
        let backends = wgpu::Backends::from_env().unwrap_or(wgpu::Backends::all());
        let mut adapters = instance.enumerate_adapters(backends).await;
        let names: Vec<String> = adapters.iter().map(|a| a.get_info().name).collect();
        let wanted = std::env::var("WGPU_ADAPTER_NAME").unwrap_or_default().to_lowercase();
        adapters.retain(|a| a.get_info().name.to_lowercase().contains(&wanted));
        adapters.retain(|a| surface.is_none_or(|s| a.is_surface_supported(s)));
        let rank = |a: &wgpu::Adapter| match a.get_info().device_type {
            wgpu::DeviceType::DiscreteGpu => 0,
            wgpu::DeviceType::IntegratedGpu => 1,
            wgpu::DeviceType::VirtualGpu => 2,
            wgpu::DeviceType::Other => 3,
            wgpu::DeviceType::Cpu => 4,
        };
        let adapter = adapters.into_iter().min_by_key(rank).ok_or_else(|| {
            let shows = if surface.is_some() { " that can draw to this window" } else { "" };
            let named = if wanted.is_empty() { String::new() } else { format!(" named `{wanted}`") };
            format!("there is no adapter{named}{shows}; looked for {backends:?}, and there are {names:?}")
        })?;
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("live filter"),
                required_features: adapter.features() & weighbridge::useful_features(),
                required_limits: adapter.limits(),
                ..Default::default()
            })
            .await?;
        let lost = Arc::new(OnceLock::new());
        let tell = lost.clone();
        device.set_device_lost_callback(move |reason, message| {
            // It is lost once.
            let _ = tell.set(format!("{reason:?}: {message}"));
        });
        Ok((Self { device, queue, info: adapter.get_info(), lost }, adapter))
    }

    /// # Errors
    /// Where the device is lost.
    pub fn check(&self) -> Result<(), Box<dyn Error>> {
        self.lost
            .get()
            .map_or(Ok(()), |why| Err(format!("the device {} is lost: {why}", self.info.name).into()))
    }

    /// Pixels that it can trace and filter at a rate that is fun.
    pub fn default_size(&self) -> [u32; 2] {
        if self.info.device_type == wgpu::DeviceType::Cpu { [480, 270] } else { [960, 540] }
    }

    /// Waits for everything that was submitted.
    ///
    /// # Errors
    /// Where the device is lost.
    pub fn wait(&self) -> Result<(), Box<dyn Error>> {
        self.device.poll(wgpu::PollType::wait_indefinitely())?;
        Ok(())
    }

    /// The texels of a texture, without padding.
    ///
    /// # Errors
    /// Where the device is lost.
    pub fn read(&self, texture: &wgpu::Texture) -> Result<Vec<u8>, Box<dyn Error>> {
        let texel = texture.format().block_copy_size(None).ok_or("a texture of several planes")?;
        let row = texture.width() * texel;
        let pitch = row.next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT);
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("read back"),
            size: u64::from(pitch) * u64::from(texture.height()),
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_texture_to_buffer(
            texture.as_image_copy(),
            wgpu::TexelCopyBufferInfo {
                buffer: &staging,
                layout: wgpu::TexelCopyBufferLayout {
                    offset: 0,
                    bytes_per_row: Some(pitch),
                    rows_per_image: None,
                },
            },
            texture.size(),
        );
        self.queue.submit([encoder.finish()]);
        let bytes = self.map(&staging)?;
        Ok(bytes.chunks(pitch as usize).flat_map(|r| &r[..row as usize]).copied().collect())
    }

    /// The bytes of a buffer that can be mapped.
    ///
    /// # Errors
    /// Where the device is lost.
    pub fn map(&self, staging: &wgpu::Buffer) -> Result<Vec<u8>, Box<dyn Error>> {
        let (sender, receiver) = std::sync::mpsc::channel();
        staging.map_async(wgpu::MapMode::Read, .., move |result| drop(sender.send(result)));
        self.wait()?;
        receiver.recv()??;
        let bytes = staging.get_mapped_range(..)?.to_vec();
        staging.unmap();
        Ok(bytes)
    }
}
