//! Problems, variants and reasons in words.

use crate::kernel::{Choice, Measured, Origin, Problem};

impl Origin {
    /// For people.
    pub(crate) fn name(self, device: &wgpu::Device) -> String {
        match self {
            Origin::Asked => "asked for".into(),
            Origin::Set => "set by the caller".into(),
            Origin::Default if device.adapter_info().device_type == wgpu::DeviceType::Cpu => {
                "default table (CPU adapter)".into()
            }
            Origin::Default => "default table (GPU)".into(),
            Origin::Tuned(m) => format!("tuned: {m}"),
        }
    }
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.gain {
            None => f.write_str("the default did not pass")?,
            Some(100) => f.write_str("the default")?,
            Some(gain) => write!(f, "{:.2}x the default", f64::from(gain) / 100.0)?,
        }
        match (self.tried, self.candidates) {
            (tried, all) if tried < all => write!(f, ", of the first {tried} of {all} candidates"),
            (_, all) => write!(f, ", of {all} candidates"),
        }
    }
}

/// As `weighbridge tune` lists it: what it multiplies, then rows x columns x length of the sums.
impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let element = format!("{:?}", self.element).to_lowercase();
        let kind = if self.patch.is_some() { "conv" } else { "gemm" };
        write!(f, "{kind} {element}{} ", if self.weight_only { " by i8" } else { "" })?;
        write!(f, "{}x{}x{}", self.m, self.n, self.k)?;
        match &self.patch {
            Some(patch) => {
                let ([kh, kw], [h, w], [sy, sx]) = (patch.window.kernel, patch.size, patch.window.stride);
                write!(f, ", {kh}x{kw} over {h}x{w}x{}", patch.channels)?;
                if [sy, sx] != [1, 1] {
                    write!(f, " by {sy}x{sx}")?;
                }
                if self.batch > 1 {
                    write!(f, " in {} groups", self.batch)?;
                }
                Ok(())
            }
            None => {
                if self.batch > 1 {
                    write!(f, ", {} times", self.batch)?;
                }
                match self.layout {
                    crate::kernel::Layout::Packed => Ok(()),
                    crate::kernel::Layout::Nk => f.write_str(", b [n,k]"),
                    crate::kernel::Layout::Kn => f.write_str(", b [k,n]"),
                }
            }
        }
    }
}

/// As kernels are labelled.
impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.operand.name(), self.blocking.name())
    }
}
