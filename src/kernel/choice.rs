//! The gemm family's variants as data, and how one is chosen for a problem: a table of defaults, or one that measurements
//! on the device have made.

use crate::error::{Error, Result};
use crate::graph::Window;
use crate::kernel::Kernels;
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
    /// int8 widened to f32 and folded into i32 every 1024 products: as exact, and faster on CPU adapters.
    I8Wide,
    /// f32 by int8 weights: [`crate::ops::GemmWeightOnly`]'s.
    F32I8,
    /// f16 by int8 weights: [`crate::ops::GemmWeightOnly`]'s.
    F16I8,
}

impl Operand {
    /// The element type in memory, of the first operand.
    pub const fn element(self) -> Element {
        match self {
            Operand::F32 | Operand::F32I8 => Element::F32,
            Operand::F16 | Operand::F16Native | Operand::F16I8 => Element::F16,
            Operand::I8Dot | Operand::I8Wide => Element::I8,
        }
    }

    /// Whether int8 weights stand beside floats.
    pub(crate) const fn weight_only(self) -> bool {
        matches!(self, Operand::F32I8 | Operand::F16I8)
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
        Ok(())
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Operand::F32 => "f32",
            Operand::F16 => "f16 packed",
            Operand::F16Native => "f16 native",
            Operand::I8Dot => "i8 dot4",
            Operand::I8Wide => "i8 widened",
            Operand::F32I8 => "f32 by i8",
            Operand::F16I8 => "f16 by i8",
        }
    }

    pub(crate) const fn file(self) -> &'static str {
        match self {
            Operand::F32 => include_str!("../../shaders/common/operand_f32.wgsl"),
            Operand::F16 => include_str!("../../shaders/common/operand_f16.wgsl"),
            Operand::F16Native => include_str!("../../shaders/common/operand_f16_native.wgsl"),
            Operand::I8Dot => include_str!("../../shaders/common/operand_i8_dot.wgsl"),
            Operand::I8Wide => include_str!("../../shaders/common/operand_i8_wide.wgsl"),
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

/// Which part of the output a thread computes, and how operands reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Blocking {
    /// `8 * groups` rows by `4 * quads` columns a thread; the rows of `a` are shared by subgroup broadcasts.
    /// Needs `SUBGROUP` and subgroups of at least 8.
    Broadcast {
        /// Threads of a workgroup.
        lanes: u32,
        /// Groups of 8 rows.
        groups: u32,
        /// Groups of 4 columns.
        quads: u32,
    },
    /// `rows` rows by `4 * quads` columns a thread, each loading for itself.
    Direct {
        /// Threads of a workgroup.
        lanes: u32,
        /// Rows.
        rows: u32,
        /// Groups of 4 columns.
        quads: u32,
    },
    /// As [`Blocking::Direct`], with `parts` times as many threads, each of which sums a part of k: few rows by many
    /// columns, where there is little else to do at once. The parts are added in workgroup memory.
    Parted {
        /// Threads along the columns.
        lanes: u32,
        /// Parts of k.
        parts: u32,
        /// Rows.
        rows: u32,
        /// Groups of 4 columns.
        quads: u32,
    },
    /// `rows` by `columns` a workgroup, `words` words of k at a time through workgroup memory.
    Tiled {
        /// Rows of a workgroup: a power of two.
        rows: u32,
        /// Columns of a workgroup: a power of two.
        columns: u32,
        /// Words of k: 4, 8 or 16.
        words: u32,
        /// Rows of a thread.
        thread_rows: u32,
        /// Groups of 4 columns of a thread.
        thread_quads: u32,
    },
}

impl Blocking {
    /// 64 x 64 a workgroup, 8 x 8 a thread: the tile for GPUs of which nothing is known.
    pub const TILED: Self = Self::tiled(64, 64);

    /// A tile of workgroup memory, 8 words of k deep: 8 x 8 a thread, or 4 x 4 where that would leave a tile of less
    /// than 64 x 64 too few threads.
    pub const fn tiled(rows: u32, columns: u32) -> Self {
        let [thread_rows, thread_quads] = if rows * columns < 4096 { [4, 1] } else { [8, 2] };
        Self::Tiled { rows, columns, words: 8, thread_rows, thread_quads }
    }

    /// Threads of a workgroup.
    pub const fn threads(self) -> u32 {
        match self {
            Blocking::Broadcast { lanes, .. } | Blocking::Direct { lanes, .. } => lanes,
            Blocking::Parted { lanes, parts, .. } => lanes * parts,
            Blocking::Tiled { rows, columns, thread_rows, thread_quads, .. } => {
                rows * columns / (4 * thread_rows * thread_quads)
            }
        }
    }

    /// Rows and columns of a workgroup.
    pub const fn tile(self) -> [u32; 2] {
        match self {
            Blocking::Broadcast { lanes, groups, quads } => [8 * groups, 4 * lanes * quads],
            Blocking::Direct { lanes, rows, quads } | Blocking::Parted { lanes, rows, quads, .. } => {
                [rows, 4 * lanes * quads]
            }
            Blocking::Tiled { rows, columns, .. } => [rows, columns],
        }
    }

    /// Whether the shape is one that the kernels have, and the device has what it needs.
    pub(crate) fn check(self, device: &wgpu::Device, op: &'static str) -> Result<()> {
        let limits = device.limits();
        let most = limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x);
        let impossible = match self {
            Blocking::Broadcast { lanes, groups, quads } => {
                !lanes.is_multiple_of(8) || [lanes, groups, quads].contains(&0)
            }
            Blocking::Direct { lanes, rows, quads } => [lanes, rows, quads].contains(&0),
            Blocking::Parted { lanes, parts, rows, quads } => [lanes, rows, quads].contains(&0) || parts < 2,
            Blocking::Tiled { rows, columns, words, thread_rows, thread_quads } => {
                let block = 4 * thread_rows * thread_quads;
                // Each thread brings in whole chunks of a, and whole vectors of b.
                block == 0
                    || !rows.is_power_of_two()
                    || !columns.is_power_of_two()
                    || !matches!(words, 4 | 8 | 16)
                    || !rows.is_multiple_of(thread_rows)
                    || !columns.is_multiple_of(4 * thread_quads)
                    || !(rows * words / 4).is_multiple_of(self.threads())
                    || !(columns / 4 * words).is_multiple_of(self.threads())
            }
        };
        if impossible {
            return Err(Error::Argument {
                op,
                detail: format!("{self:?} is no shape that the kernels have"),
            });
        }
        if self.threads() > most {
            let (what, needed) = ("threads of a workgroup".into(), u64::from(self.threads()));
            return Err(Error::Limit { op, what, needed, limit: most.into() });
        }
        if let Blocking::Broadcast { .. } = self {
            if !device.features().contains(wgpu::Features::SUBGROUP) {
                return Err(Error::Feature { op, feature: "SUBGROUP (for blocking by broadcast)" });
            }
            let have = device.adapter_info().subgroup_min_size;
            if have < 8 {
                return Err(Error::Argument {
                    op,
                    detail: format!("broadcasts need subgroups of 8, the device has {have}"),
                });
            }
        }
        Ok(())
    }

    /// Bytes of workgroup memory that the kernel takes with this operand.
    pub(crate) const fn workgroup_bytes(self, operand: Operand) -> u32 {
        // Of a vector of four columns of b, and of a word of a.
        let [b, a] = match operand {
            Operand::F16Native => [32, 8],
            Operand::F32I8 => [4, 4],
            Operand::F16I8 => [8, 4],
            _ => [16, 4],
        };
        match self {
            Blocking::Broadcast { .. } | Blocking::Direct { .. } => 0,
            // A vector of sums, and a sum of a row where weights have zero points.
            Blocking::Parted { .. } => self.threads() * 20,
            Blocking::Tiled { rows, columns, words, .. } => rows * words * a + columns / 4 * words * b,
        }
    }

    pub(crate) fn name(self) -> String {
        match self {
            Blocking::Broadcast { groups, quads, .. } => format!("broadcast {}x{}", 8 * groups, 4 * quads),
            Blocking::Direct { rows, quads, .. } => format!("direct {rows}x{}", 4 * quads),
            Blocking::Parted { lanes, parts, rows, quads } => {
                format!("parted {rows}x{} ({lanes}x{parts} threads)", 4 * quads)
            }
            Blocking::Tiled { rows, columns, words, .. } => format!("tiled {rows}x{columns}x{words}"),
        }
    }
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
    /// Into how many parts k is split, each summed by workgroups of its own and added by a second dispatch; 1 for sums
    /// that stay whole. For few outputs with long sums, which do not fill a GPU otherwise.
    pub split: u32,
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
    /// widened on CPU adapters. Matrix units are never a default: they are taken where a measurement on the device has
    /// found them right and faster. The figures are in `benches/results`.
    pub fn default_for(device: &wgpu::Device, problem: &Problem) -> Self {
        let cpu = device.adapter_info().device_type == wgpu::DeviceType::Cpu;
        let operand = match (problem.element, problem.weight_only) {
            (Element::F16, true) => Operand::F16I8,
            (_, true) => Operand::F32I8,
            (Element::F16, false) => Operand::F16,
            (Element::I8, false) if cpu => Operand::I8Wide,
            (Element::I8, false) => Operand::I8Dot,
            (_, false) => Operand::F32,
        };
        Self { operand, blocking: Blocking::default_for(device, problem), split: 1 }
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
            (Element::I8, false) => &[Operand::I8Wide, Operand::I8Dot],
            (_, false) => &[Operand::F32],
        };
        let rows = problem.m.next_power_of_two().clamp(1, 8) as u32;
        let blockings: &[Blocking] = if cpu && problem.m == 1 {
            &[
                Blocking::Direct { lanes: 8, rows: 1, quads: 1 },
                Blocking::Direct { lanes: 8, rows: 1, quads: 2 },
                Blocking::Direct { lanes: 8, rows: 1, quads: 4 },
            ]
        } else if cpu {
            &[
                Blocking::Broadcast { lanes: 8, groups: 1, quads: 1 },
                Blocking::Broadcast { lanes: 8, groups: 1, quads: 2 },
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
                    add(Self { operand, blocking, split: 1 });
                }
            }
        }
        // Few workgroups with long sums: as many parts as keep a large GPU busy, none shorter than 256 products.
        let tiles = problem.m.div_ceil(64) * problem.n.div_ceil(64) * problem.batch.max(1);
        let parts = (256 / tiles.max(1)).min(problem.k / 256).min(16) as u32;
        if !cpu && problem.m > 1 && parts > 1 {
            for split in [parts.div_ceil(2), parts] {
                add(Self { operand: first.operand, blocking: Blocking::TILED, split });
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
        if !(1..=MOST_PARTS).contains(&self.split) {
            let detail = format!("sums in {} parts: 1 to {MOST_PARTS}", self.split);
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

/// Into how many parts sums are split at most.
const MOST_PARTS: u32 = 64;

impl Blocking {
    fn default_for(device: &wgpu::Device, problem: &Problem) -> Self {
        let info = device.adapter_info();
        let (m, n) = (problem.m, problem.n);
        let subgroups = device.features().contains(wgpu::Features::SUBGROUP) && info.subgroup_min_size >= 8;
        match (info.device_type == wgpu::DeviceType::Cpu, subgroups) {
            // One row is bound by the loads of b, of which wide blocks keep more in flight (1.6 times 8x8 broadcasts).
            (true, _) if m == 1 => Blocking::Direct { lanes: 8, rows: 1, quads: if n > 256 { 4 } else { 1 } },
            (true, true) => {
                // On lavapipe 32x8 is 1.12 times as fast as 16x8 in f32 at 512^3 and 1.15 in f16, and takes twice as
                // long to compile: worth it where one product takes as long as that. Of int8 16x8 is as fast.
                let long = problem.element != Element::I8
                    && m.saturating_mul(n).saturating_mul(problem.k) >= 1 << 26;
                Blocking::Broadcast {
                    lanes: 8,
                    groups: m.div_ceil(8).next_power_of_two().clamp(1, if long { 4 } else { 2 }) as u32,
                    quads: if n > 32 { 2 } else { 1 },
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
            let choice = Choice {
                operand: operand.unwrap_or(default.operand),
                blocking: blocking.unwrap_or(default.blocking),
                split: 1,
            };
            (choice, if operand.is_some() || blocking.is_some() { Origin::Asked } else { Origin::Default })
        }
    };
    choice.check(device, op, &problem)?;
    Ok(Chosen { problem, choice, origin })
}
