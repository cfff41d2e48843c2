//! The gemm family's variants as data, and how one is chosen for a problem: a table of defaults, or one that measurements
//! on the device have made.

use crate::error::{Error, Result};
use crate::graph::Window;
use crate::kernel::Kernels;
use crate::kernel::blocking::{Blocking, matrix_features};
use crate::tensor::Element;

/// How operands are held and multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Operand {
    /// f32.
    F32,
    /// f16, two to a `u32`, widened exactly and summed in f32. Needs no feature.
    F16,
    /// f16 through `SHADER_F16`, summed in f32.
    F16Native,
    /// int8 by the integer dot product, `dot4I8Packed`.
    I8Dot,
    /// int8 widened to f32 and folded into i32 every 1024 products: as exact, and faster where there is no such product.
    I8Wide,
    /// int8 widened to i32: fastest on CPU adapters. Packed `b` alone.
    I8Int,
    /// f32 by int8 weights: [`crate::ops::GemmWeightOnly`]'s.
    F32I8,
    /// f16 by int8 weights: [`crate::ops::GemmWeightOnly`]'s.
    F16I8,
    /// f16 on matrix units, summed in f32: [`Blocking::Matrix`]. Units need not round as IEEE does: to be held to the other
    /// kinds on the device before it is relied on: see [`crate::tune`].
    F16Matrix,
    /// int8 widened to f16, on matrix units, and folded into i32 every 1024 products: exact where the units add exact
    /// numbers exactly, which is to be seen on the device.
    I8Matrix,
}

impl Operand {
    /// The element type in memory, of the first operand.
    pub const fn element(self) -> Element {
        match self {
            Operand::F32 | Operand::F32I8 => Element::F32,
            Operand::F16 | Operand::F16Native | Operand::F16I8 | Operand::F16Matrix => Element::F16,
            Operand::I8Dot | Operand::I8Wide | Operand::I8Int | Operand::I8Matrix => Element::I8,
        }
    }

    /// Whether int8 weights stand beside floats.
    pub(crate) const fn weight_only(self) -> bool {
        matches!(self, Operand::F32I8 | Operand::F16I8)
    }

    /// Whether it is for matrix units.
    pub(crate) const fn matrix(self) -> bool {
        matches!(self, Operand::F16Matrix | Operand::I8Matrix)
    }

    /// Whether it multiplies this element on the device.
    pub(crate) fn check(
        self,
        device: &wgpu::Device,
        op: &'static str,
        element: Element,
        weight_only: bool,
    ) -> Result<()> {
        if self.element() != element || self.weight_only() != weight_only {
            let detail = format!("operand {self:?} is not for both operands in {element:?}");
            return Err(Error::Argument { op, detail });
        }
        if self == Operand::F16Native && !device.features().contains(wgpu::Features::SHADER_F16) {
            let feature = "SHADER_F16 (for native f16; packed f16 needs no feature)";
            return Err(Error::Feature { op, feature });
        }
        if self.matrix() && !device.features().contains(matrix_features()) {
            let feature = "EXPERIMENTAL_COOPERATIVE_MATRIX, SHADER_F16 and SUBGROUP (for matrix units)";
            return Err(Error::Feature { op, feature });
        }
        Ok(())
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Operand::F32 => "f32",
            Operand::F16 => "f16 packed",
            Operand::F16Native => "f16 native",
            Operand::I8Dot => "i8 dot4",
            Operand::I8Wide => "i8 widened",
            Operand::I8Int => "i8 by integers",
            Operand::F32I8 => "f32 by i8",
            Operand::F16I8 => "f16 by i8",
            Operand::F16Matrix => "f16 matrix units",
            Operand::I8Matrix => "i8 matrix units",
        }
    }

    /// The file that says how words become elements; `one`: each word holds one of them.
    pub(crate) const fn file(self, one: bool) -> &'static str {
        match self {
            Operand::F16 if one => include_str!("../../shaders/common/operand_f16_one.wgsl"),
            Operand::I8Dot | Operand::I8Wide if one => {
                include_str!("../../shaders/common/operand_i8_one.wgsl")
            }
            Operand::I8Int if one => include_str!("../../shaders/common/operand_i8_int_one.wgsl"),
            Operand::I8Int => include_str!("../../shaders/common/operand_i8_int.wgsl"),
            Operand::F32 => include_str!("../../shaders/common/operand_f32.wgsl"),
            // What b is loaded as; the rest of these files is not used then.
            Operand::F16 | Operand::F16Matrix => include_str!("../../shaders/common/operand_f16.wgsl"),
            Operand::F16Native => include_str!("../../shaders/common/operand_f16_native.wgsl"),
            Operand::I8Dot => include_str!("../../shaders/common/operand_i8_dot.wgsl"),
            Operand::I8Wide | Operand::I8Matrix => include_str!("../../shaders/common/operand_i8_wide.wgsl"),
            Operand::F32I8 => include_str!("../../shaders/common/operand_f32_i8.wgsl"),
            Operand::F16I8 => include_str!("../../shaders/common/operand_f16_i8.wgsl"),
        }
    }
}

/// How the second operand of a product lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Layout {
    /// `[n, k]`, as a Linear layer holds its weights.
    #[default]
    Nk,
    /// `[k, n]`, as mathematics writes it.
    Kn,
    /// Packed for the lanes by [`crate::ops::Packed`]: the fastest, and what weights are turned into once, at load.
    Packed,
}

/// A matrix product or convolution, as far as the choice of a variant may depend on it. Epilogues are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Problem {
    /// Element type of both operands, of `a` alone with [`Problem::weight_only`].
    pub element: Element,
    /// Whether `b` is int8 beside floats.
    pub weight_only: bool,
    /// How `b` lies in memory.
    pub layout: Layout,
    /// Whether the rows of `a` are made of whole 16-byte chunks (of a convolution: the channels of a pixel).
    pub aligned: bool,
    /// Rows, in each batch.
    pub m: usize,
    /// Columns, in each batch.
    pub n: usize,
    /// Length of the sums.
    pub k: usize,
    /// Number of products: of a convolution, its channel groups.
    pub batch: usize,
    /// Of a convolution, where the rows come from.
    pub patch: Option<Patch>,
}

/// The images whose patches are a convolution's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Patch {
    /// Channels in all groups.
    pub channels: usize,
    /// Height and width.
    pub size: [usize; 2],
    /// Geometry of the window.
    pub window: Window,
}

impl Problem {
    /// The class that a table of choices knows it by: rows are rounded up to a power of two, so that batches of nearly
    /// the same size are measured once.
    pub fn class(mut self) -> Self {
        self.m = self.m.next_power_of_two();
        self
    }
}

/// A variant for a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Choice {
    /// How operands are held and multiplied.
    pub operand: Operand,
    /// Register blocks.
    pub blocking: Blocking,
}

/// Why a variant was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The descriptor named it.
    Asked,
    /// The table of defaults.
    Default,
    /// The caller's table: [`Kernels::set_choice`].
    Set,
    /// A measurement on the device.
    Tuned(Measured),
}

/// What a measurement came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Measured {
    /// The default's time in hundredths of the winner's; `None` where the default did not pass.
    pub gain: Option<u32>,
    /// How many candidates were tried before the time was up.
    pub tried: u32,
    /// How many there are.
    pub candidates: u32,
}

/// What was chosen for a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The problem.
    pub problem: Problem,
    /// The variant.
    pub choice: Choice,
    /// Why.
    pub origin: Origin,
}

impl Choice {
    /// The table of defaults.
    ///
    /// CPU adapters take broadcasts where subgroups allow, else direct blocks; GPUs take tiles, and direct blocks
    /// for few rows. f16 is packed, which needs no feature and sums in f32 everywhere; int8 goes by dot product on GPUs,
    /// by integers on CPU adapters where `b` is packed, else widened. Matrix units are never a default: they are taken where
    /// a measurement on the device has found them right and faster. The figures are in `benches/results`.
    pub fn default_for(device: &wgpu::Device, problem: &Problem) -> Self {
        let cpu = device.adapter_info().device_type == wgpu::DeviceType::Cpu;
        let operand = match (problem.element, problem.weight_only) {
            (Element::F16, true) => Operand::F16I8,
            (_, true) => Operand::F32I8,
            (Element::F16, false) => Operand::F16,
            (Element::I8, false) if cpu && problem.layout == Layout::Packed => Operand::I8Int,
            (Element::I8, false) if cpu => Operand::I8Wide,
            (Element::I8, false) => Operand::I8Dot,
            (_, false) => Operand::F32,
        };
        Self { operand, blocking: Blocking::default_for(device, problem) }
    }

    /// The variants that are worth measuring on this device for a problem, the default first; about a dozen at most. Which
    /// one is fastest is for a measurement to say.
    pub fn candidates(device: &wgpu::Device, problem: &Problem) -> Vec<Self> {
        let first = Self::default_for(device, problem);
        let cpu = device.adapter_info().device_type == wgpu::DeviceType::Cpu;
        let operands: &[Operand] = match (problem.element, problem.weight_only) {
            (_, true) => &[first.operand],
            // Slower by 1.7 to 2.1 times on a CPU adapter, which has neither the type nor the instruction.
            (Element::F16, false) if cpu => &[Operand::F16],
            (Element::F16, false) => &[Operand::F16, Operand::F16Native],
            // 2 times slower by the dot product, which lavapipe has no instruction for, and 1.5 times by f32.
            (Element::I8, false) if cpu => &[first.operand],
            (Element::I8, false) => &[Operand::I8Dot, Operand::I8Wide],
            (_, false) => &[Operand::F32],
        };
        let rows = problem.m.next_power_of_two().clamp(1, 8) as u32;
        let blockings: &[Blocking] = if cpu && problem.m == 1 {
            &[
                Blocking::Direct { lanes: 8, rows: 1, quads: 1 },
                Blocking::Direct { lanes: 8, rows: 1, quads: 2 },
                Blocking::Direct { lanes: 8, rows: 1, quads: 4 },
                Blocking::Direct { lanes: 8, rows: 1, quads: 8 },
            ]
        } else if cpu {
            &[
                Blocking::Broadcast { lanes: 8, groups: 1, quads: 1 },
                Blocking::Broadcast { lanes: 8, groups: 1, quads: 2 },
                Blocking::Broadcast { lanes: 8, groups: 1, quads: 4 },
                Blocking::Broadcast { lanes: 8, groups: 2, quads: 2 },
                Blocking::Broadcast { lanes: 8, groups: 4, quads: 1 },
                Blocking::Broadcast { lanes: 8, groups: 4, quads: 2 },
                Blocking::Direct { lanes: 8, rows: 8, quads: 1 },
            ]
        } else if problem.m <= 16 {
            &[
                Blocking::Parted { lanes: 32, parts: 8, rows, quads: 1 },
                Blocking::Parted { lanes: 16, parts: 16, rows, quads: 1 },
                Blocking::Direct { lanes: 32, rows, quads: 1 },
                Blocking::Direct { lanes: 64, rows, quads: 1 },
                Blocking::tiled(32, 32),
            ]
        } else {
            &[
                Blocking::tiled(32, 32),
                Blocking::tiled(64, 64),
                Blocking::tiled(128, 64),
                Blocking::tiled(128, 128),
            ]
        };
        let mut all = vec![first];
        let mut add = |choice: Self| {
            if !all.contains(&choice) && choice.check(device, "candidates", problem).is_ok() {
                all.push(choice);
            }
        };
        for &operand in operands {
            for &blocking in blockings {
                // A shape that is larger than the problem does nothing that the next smaller one does not.
                let [tile_m, tile_n] = blocking.tile().map(|t| t as usize);
                if tile_m < 2 * problem.m.max(32) && tile_n < 2 * problem.n.max(64) {
                    add(Self { operand, blocking });
                }
            }
        }
        let units = match problem.element {
            Element::F16 => Some(Operand::F16Matrix),
            Element::I8 => Some(Operand::I8Matrix),
            _ => None,
        };
        if let (false, Some(operand), Some(blocking)) = (problem.weight_only, units, Blocking::matrix(device))
        {
            add(Self { operand, blocking });
        }
        // Few workgroups with long sums: as many parts as keep a large GPU busy, none shorter than 256 products.
        let tiles = problem.m.div_ceil(64) * problem.n.div_ceil(64) * problem.batch.max(1);
        let parts = (256 / tiles.max(1)).min(problem.k / 256).min(16) as u32;
        if !cpu && problem.m > 1 && parts > 1 {
            for split in [parts.div_ceil(2).max(2), parts] {
                let (rows, columns, words, thread_rows, thread_quads) = (64, 64, 8, 8, 2);
                let blocking = Blocking::Tiled { rows, columns, words, thread_rows, thread_quads, split };
                add(Self { operand: first.operand, blocking });
            }
        }
        all
    }

    /// Whether the device has what the variant needs, and the problem is one that it takes.
    ///
    /// # Errors
    /// [`Error::Feature`], [`Error::Limit`] and [`Error::Argument`], which say what is missing.
    pub fn check(self, device: &wgpu::Device, op: &'static str, problem: &Problem) -> Result<()> {
        self.operand.check(device, op, problem.element, problem.weight_only)?;
        if self.operand == Operand::F16Native && (!problem.aligned || problem.layout != Layout::Packed) {
            let detail = format!(
                "native f16 takes packed b and rows (of a convolution: channels) by 8 elements; k is {}, b is {:?}",
                problem.k, problem.layout
            );
            return Err(Error::Argument { op, detail });
        }
        if self.operand == Operand::I8Int && problem.layout != Layout::Packed {
            // Others may have padding along k, whose products with the offset would count.
            let detail = format!("int8 by integers takes packed b, but b is {:?}", problem.layout);
            return Err(Error::Argument { op, detail });
        }
        if self.operand.matrix() != matches!(self.blocking, Blocking::Matrix { .. }) {
            let detail = format!("{:?} and {:?} do not go together", self.operand, self.blocking);
            return Err(Error::Argument { op, detail });
        }
        self.blocking.check(device, op)?;
        let (needed, limit) =
            (self.blocking.workgroup_bytes(self.operand), device.limits().max_compute_workgroup_storage_size);
        if needed > limit {
            let what = format!("bytes of workgroup memory of {}", self.blocking.name());
            return Err(Error::Limit { op, what, needed: needed.into(), limit: limit.into() });
        }
        Ok(())
    }
}

impl Blocking {
    fn default_for(device: &wgpu::Device, problem: &Problem) -> Self {
        let info = device.adapter_info();
        let (m, n) = (problem.m, problem.n);
        let products = m.saturating_mul(n).saturating_mul(problem.k).saturating_mul(problem.batch);
        let subgroups = device.features().contains(wgpu::Features::SUBGROUP) && info.subgroup_min_size >= 8;
        match (info.device_type == wgpu::DeviceType::Cpu, subgroups) {
            // One row is bound by the loads of b, of which wide blocks keep more in flight: on lavapipe, 1x1024x4096,
            // 1x16 is 2.0 times as fast as an 8x8 broadcast in f32, 1.7 in f16 and 2.6 in int8.
            (true, _) if m == 1 => Blocking::Direct { lanes: 8, rows: 1, quads: if n > 256 { 4 } else { 1 } },
            // On lavapipe, time of a run and of the first dispatch, which compiles:
            // 512^3     f32 32x8 23 GFLOP/s a core, 16x8 18.5 (0.6 s and 0.27 s to compile); f16 35 and 29 (0.8, 0.33).
            // MiniLM's, 128 rows by 384 to 1536 columns: 32x8 is 1.2 times as fast as 16x8 in f32. In int8 by integers it
            //           is 1.25 times as fast on an Intel with VNNI, but 0.74 on an AMD where LLVM makes two instructions
            //           of what is one there, and a step of 32x8 is larger than the instruction cache: 16x8 for both.
            // 4x1024x4096 (m, k, n)  8x16 against 8x8: 1.45 times as fast in f32 and f16, 1.2 in int8 (0.3 s, 0.15 s).
            // The larger block is for products that take as long as that, or for plenty of columns, and the smallest for
            // those that take no time: of a network's first run on lavapipe compiling is nearly all.
            (true, true) if products < 1 << 22 => Blocking::Broadcast { lanes: 8, groups: 1, quads: 1 },
            (true, true) => {
                // 256^3: 32x8 is 1.2 times as fast as 16x8 in f16, and as fast in f32.
                let long = problem.element != Element::I8 && products >= 1 << 24;
                // A patch read by words is dear to place, and is placed once for all rows of a block.
                let long = long || (problem.patch.is_some() && !problem.aligned);
                let wide = m <= 8 && n.saturating_mul(problem.k) >= 1 << 22;
                Blocking::Broadcast {
                    lanes: 8,
                    groups: m.div_ceil(8).next_power_of_two().clamp(1, if long { 4 } else { 2 }) as u32,
                    quads: match n {
                        0..=32 => 1,
                        _ if wide => 4,
                        _ => 2,
                    },
                }
            }
            (true, false) => Blocking::Direct { lanes: 8, rows: 8, quads: 1 },
            (false, _) if m <= 16 => {
                Blocking::Direct { lanes: 32, rows: m.next_power_of_two().clamp(1, 8) as u32, quads: 1 }
            }
            (false, _) => Blocking::TILED,
        }
    }
}

/// The variant for a problem: what the descriptor asks for, else what was measured, else the default.
///
/// # Errors
/// See [`Choice::check`].
pub(crate) fn choose(
    kernels: &Kernels,
    op: &'static str,
    problem: Problem,
    operand: Option<Operand>,
    blocking: Option<Blocking>,
) -> Result<Chosen> {
    let device = kernels.device();
    let found = kernels.entry(&problem).filter(|(t, _)| {
        // A measurement is of both together.
        operand.is_none_or(|o| o == t.operand) && blocking.is_none_or(|b| b == t.blocking)
    });
    let (choice, origin) = match found {
        Some(found) if operand.is_none() || blocking.is_none() => found,
        _ => {
            let default = Choice::default_for(device, &problem);
            let units = operand.filter(|o| o.matrix()).and_then(|_| Blocking::matrix(device));
            let choice = Choice {
                operand: operand.unwrap_or(default.operand),
                blocking: blocking.or(units).unwrap_or(default.blocking),
            };
            (choice, if operand.is_some() || blocking.is_some() { Origin::Asked } else { Origin::Default })
        }
    };
    choice.check(device, op, &problem)?;
    Ok(Chosen { problem, choice, origin })
}
