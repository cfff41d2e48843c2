//! The kernels that find out what a device does at most: see [`crate::profile::Roofline`].

use crate::error::{Error, Result};
use crate::kernel::{self, Call, Dispatch, Kernels, Shader, Slot, Variant};

/// What a device is asked for as much of as it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peak {
    /// Bytes, read and written.
    Copy,
    /// Multiplications and additions in f32.
    F32,
    /// The same in f16.
    F16,
    /// The same of bytes, by `dot4I8Packed`.
    I8,
}

/// The uniform of the roofline's kernels, as WGSL sees it.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct RooflineParams {
    pub count: u32,
}

/// Threads of a workgroup.
pub(crate) const WORKGROUP: u64 = 64;
/// Vectors that a thread of the copy moves.
pub(crate) const VECTORS: u64 = 16;

impl Peak {
    /// Multiplications and additions of a thread in an iteration.
    pub fn operations(self) -> u64 {
        match self {
            Peak::Copy => 0,
            Peak::F32 | Peak::F16 => 64,
            Peak::I8 => 128,
        }
    }

    fn shader(self) -> Shader {
        let flag = |on: bool| u32::from(on);
        let reals = matches!(self, Peak::F32 | Peak::F16);
        let consts =
            [("COPY", flag(self == Peak::Copy)), ("REALS", flag(reals)), ("BYTES", flag(self == Peak::I8))];
        let (name, vector) = match self {
            Peak::Copy => ("copy", ""),
            Peak::F32 => ("multiply and add f32", "alias Vector = vec4<f32>;"),
            Peak::F16 => ("multiply and add f16", "alias Vector = vec4<f16>;"),
            Peak::I8 => ("multiply and add i8", ""),
        };
        let enable: &[&str] = if self == Peak::F16 { &["f16"] } else { &[] };
        let files = [vector, include_str!("../../shaders/roofline.wgsl")];
        Variant { label: format!("roofline/{name}"), enable, consts: &consts, files: &files }.render()
    }

    /// `count` vectors of 16 bytes copied from `x` to `out`, or so many iterations of `threads` threads that write a
    /// vector each to `out`, with two vectors of reals and one of bytes in `x`.
    pub fn bind(
        self,
        kernels: &Kernels,
        x: &wgpu::Buffer,
        out: &wgpu::Buffer,
        threads: u64,
        count: u32,
    ) -> Result<Call> {
        let device = kernels.device();
        if self == Peak::F16 && !device.features().contains(wgpu::Features::SHADER_F16) {
            return Err(Error::Feature { op: "roofline", feature: "SHADER_F16" });
        }
        let kernel = kernels.get(self.shader(), &[Slot::Uniform, Slot::Read, Slot::Write]);
        let params = kernel::uniform(device, &RooflineParams { count });
        let buffers = [&params, x, out].map(|b| b.as_entire_buffer_binding());
        let groups = threads / WORKGROUP;
        let limit = device.limits().max_compute_workgroups_per_dimension;
        let groups = u32::try_from(groups).ok().filter(|&g| g <= limit).ok_or(Error::Limit {
            op: "roofline",
            what: "number of workgroups".into(),
            needed: groups,
            limit: limit.into(),
        })?;
        let mut call = Call::default();
        call.push(Dispatch::new(device, kernel, &buffers, [groups, 1, 1]));
        Ok(call)
    }
}

/// Every variant.
pub(crate) fn shaders() -> Vec<Shader> {
    [Peak::Copy, Peak::F32, Peak::F16, Peak::I8].map(Peak::shader).into()
}
