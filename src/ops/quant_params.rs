//! From ranges to scales and zero points, on the device.

use crate::error::{Error, Result};
use crate::kernel::{self, Call, Dispatch, Kernels, Shader, Slot, Variant};
use crate::ops::rows::check_params;
use crate::ops::tile::to_u32;
use crate::quant::{Range, Rule, Scheme};
use crate::tensor::View;

/// The tensors of a [`ScaleZeroPoint`].
#[derive(Clone, Copy, Debug)]
pub struct ScaleZeroPointBindings<'a> {
    /// A [`crate::ops::RangeState`] for each range: [`View::params`].
    pub state: View<'a>,
    /// A [`crate::quant::QuantParams`] for each range: [`View::params`].
    pub params: View<'a>,
}

/// Scales and zero points of ranges that never leave the device: [`Scheme::params`].
///
/// With the rules [`Rule::Observer`], [`Rule::PerToken`] and [`Rule::Onnx`] they are the CPU's bit for bit, on every
/// vendor's device, wherever the scale is a normal number: the division is done in integers. [`Rule::Fbgemm`] is
/// computed in f32 where the original has f64: its scale is within 1 unit in the last place, its zero point one off
/// near ties at most. What the CPU refuses cannot be refused here: a range too wide for f32 is taken as f32's widest.
/// Where nothing was seen, the scale is 1 and the zero point 0, or the limit nearest to it.
pub struct ScaleZeroPoint {
    kernels: Kernels,
    scheme: Scheme,
}

/// A [`Scheme`] in a uniform, as WGSL sees it.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct SchemeParams {
    pub qmin: i32,
    pub qmax: i32,
    pub symmetric_zero: i32,
    pub eps: f32,
}

/// The uniform of [`ScaleZeroPoint`]'s kernel, as WGSL sees it.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct ScaleZeroPointParams {
    pub scheme: SchemeParams,
    pub count: u32,
    pub padding: [u32; 3],
}

const OP: &str = "quant_params";

/// Checks a scheme, and makes its uniform.
pub(crate) fn scheme_params(scheme: &Scheme) -> Result<SchemeParams> {
    // The CPU's own checks: limits, and rules that are affine only.
    let params = scheme.params(Range::new(-1.0, 1.0))?;
    let symmetric_zero = if scheme.symmetric { params.zero_point } else { 0 };
    Ok(SchemeParams { qmin: scheme.qmin, qmax: scheme.qmax, symmetric_zero, eps: scheme.eps })
}

/// The consts that `common/scheme.wgsl` is specialised by.
pub(crate) fn scheme_consts(rule: Rule, symmetric: bool) -> [(&'static str, u32); 5] {
    let flag = u32::from;
    [
        ("OBSERVER", flag(rule == Rule::Observer)),
        ("FBGEMM", flag(rule == Rule::Fbgemm)),
        ("ONNX", flag(rule == Rule::Onnx)),
        ("PER_TOKEN", flag(rule == Rule::PerToken)),
        ("SYMMETRIC", flag(symmetric)),
    ]
}

/// The texts that [`scheme_consts`] specialises.
pub(crate) const SCHEME_FILES: [&str; 3] = [
    include_str!("../../shaders/common/quant_params.wgsl"),
    include_str!("../../shaders/common/divide.wgsl"),
    include_str!("../../shaders/common/scheme.wgsl"),
];

fn shader(rule: Rule, symmetric: bool) -> Shader {
    let label = format!("quant_params/{rule:?}{}", if symmetric { " symmetric" } else { "" });
    let files = [&SCHEME_FILES[..], &[include_str!("../../shaders/quant_params.wgsl")]].concat();
    Variant { label, enable: &[], consts: &scheme_consts(rule, symmetric), files: &files }.render()
}

/// Every rule, and whether it is symmetric.
pub(crate) const RULES: [(Rule, bool); 6] = [
    (Rule::Observer, false),
    (Rule::Observer, true),
    (Rule::PerToken, false),
    (Rule::PerToken, true),
    (Rule::Onnx, false),
    (Rule::Fbgemm, false),
];

/// Every variant.
pub(crate) fn shaders() -> Vec<Shader> {
    RULES.map(|(rule, symmetric)| shader(rule, symmetric)).to_vec()
}

impl ScaleZeroPoint {
    /// Prepares for a device.
    ///
    /// # Errors
    /// [`Error::Argument`] where the scheme's limits are not a range within -128..=127, or its rule is affine only.
    pub fn new(device: &wgpu::Device, scheme: &Scheme) -> Result<Self> {
        Self::with_kernels(&Kernels::new(device), scheme)
    }

    /// The same with kernels shared between ops.
    ///
    /// # Errors
    /// See [`ScaleZeroPoint::new`].
    pub fn with_kernels(kernels: &Kernels, scheme: &Scheme) -> Result<Self> {
        scheme_params(scheme)?;
        Ok(Self { kernels: kernels.clone(), scheme: *scheme })
    }

    /// Checks shapes and limits, and makes the call.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::View`] or [`Error::Limit`], with the numbers.
    pub fn bind(&self, b: &ScaleZeroPointBindings<'_>) -> Result<Call> {
        let device = self.kernels.device();
        check_params(OP, "state", &b.state)?;
        check_params(OP, "params", &b.params)?;
        let count = b.state.rows;
        if b.params.rows != count {
            let detail = format!("{count} ranges, but room for {} parameters", b.params.rows);
            return Err(Error::Shape { op: OP, detail });
        }
        let uniform = kernel::uniform(
            device,
            &ScaleZeroPointParams {
                scheme: scheme_params(&self.scheme)?,
                count: to_u32(OP, "ranges", count)?,
                padding: [0; 3],
            },
        );
        let buffers = [
            uniform.as_entire_buffer_binding(),
            b.state.binding(device, OP, "state")?,
            b.params.binding(device, OP, "params")?,
        ];
        let mut call = Call::default();
        if count > 0 {
            let shader = shader(self.scheme.rule, self.scheme.symmetric);
            let kernel = self.kernels.get(shader, &[Slot::Uniform, Slot::Read, Slot::Write]);
            let grid = kernel::grid(device, OP, (count as u64).div_ceil(64))?;
            call.push(Dispatch::new(device, kernel, &buffers, grid));
        }
        Ok(call)
    }
}
