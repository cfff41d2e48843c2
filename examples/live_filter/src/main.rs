use live_filter::{dataset, gpu::Gpu};
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let a: Vec<String> = std::env::args().collect();
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let (gpu, _) = pollster::block_on(Gpu::new(&instance, None))?;
    let n = |i: usize| a[i].parse::<u64>().unwrap();
    dataset::write(&gpu, std::path::Path::new(&a[1]), n(2), n(3), [n(4) as u32, n(5) as u32], n(6) as u32)
}
