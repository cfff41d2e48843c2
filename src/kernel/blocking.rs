//! Register blocks and tiles: which part of a product a thread and a workgroup compute.

use crate::error::{Error, Result};
use crate::kernel::Operand;

/// Into how many parts sums are split at most.
const MOST_PARTS: u32 = 64;

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
        /// Into how many parts k is split, each summed by workgroups of its own and added by a second dispatch; 1 for
        /// sums that stay whole. For few outputs with long sums, which do not fill a GPU otherwise.
        split: u32,
    },
    /// 64 x 64 a workgroup of 4 subgroups, by matrix units.
    Matrix {
        /// Rows and columns of a matrix: 8 or 16.
        side: u32,
        /// Threads of a workgroup: four of the device's largest subgroups; 64, 128 or 256.
        threads: u32,
    },
}

impl Blocking {
    /// 64 x 64 a workgroup, 8 x 8 a thread: the tile for GPUs of which nothing is known.
    pub const TILED: Self = Self::tiled(64, 64);

    /// A tile of workgroup memory, 8 words of k deep: 8 x 8 a thread, or 4 x 4 where that would leave a tile of less
    /// than 64 x 64 too few threads.
    pub const fn tiled(rows: u32, columns: u32) -> Self {
        let [thread_rows, thread_quads] = if rows * columns < 4096 { [4, 1] } else { [8, 2] };
        Self::Tiled { rows, columns, words: 8, thread_rows, thread_quads, split: 1 }
    }

    /// The parts that sums are split into.
    pub(crate) const fn split(self) -> u32 {
        if let Self::Tiled { split, .. } = self { split } else { 1 }
    }

    /// What matrix units take on this device, where its subgroups are of a size that the kernel has.
    pub fn matrix(device: &wgpu::Device) -> Option<Self> {
        let info = device.adapter_info();
        // Metal reports up to 64; what there is has 32.
        let metal = info.backend == wgpu::Backend::Metal;
        let largest = if metal { 32 } else { info.subgroup_max_size };
        let threads = 4 * largest;
        matches!(threads, 64 | 128 | 256).then(|| Self::Matrix { side: matrix_side(info.backend), threads })
    }

    /// Threads of a workgroup.
    pub const fn threads(self) -> u32 {
        match self {
            Blocking::Broadcast { lanes, .. } | Blocking::Direct { lanes, .. } => lanes,
            Blocking::Parted { lanes, parts, .. } => lanes * parts,
            Blocking::Matrix { threads, .. } => threads,
            Blocking::Tiled { rows, columns, thread_rows, thread_quads, .. } => {
                rows * columns / (4 * thread_rows * thread_quads)
            }
        }
    }

    /// Whether a thread finishes rows four by four, so that a max pool's windows are its own.
    pub(crate) const fn finishes_fours(self) -> bool {
        match self {
            Blocking::Broadcast { .. } => true,
            Blocking::Direct { rows, .. } => rows % 4 == 0,
            Blocking::Tiled { thread_rows, split, .. } => thread_rows % 4 == 0 && split == 1,
            Blocking::Parted { .. } | Blocking::Matrix { .. } => false,
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
            Blocking::Matrix { .. } => [64, 64],
        }
    }

    /// Whether the shape is one that the kernels have, and the device has what it needs.
    pub(crate) fn check(self, device: &wgpu::Device, op: &'static str) -> Result<()> {
        let limits = device.limits();
        let most = limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x);
        let impossible = match self {
            Blocking::Matrix { side, threads } => {
                !matches!(side, 8 | 16) || !matches!(threads, 64 | 128 | 256)
            }
            Blocking::Broadcast { lanes, groups, quads } => {
                !lanes.is_multiple_of(8) || [lanes, groups, quads].contains(&0)
            }
            Blocking::Direct { lanes, rows, quads } => [lanes, rows, quads].contains(&0),
            Blocking::Parted { lanes, parts, rows, quads } => [lanes, rows, quads].contains(&0) || parts < 2,
            Blocking::Tiled { rows, columns, words, thread_rows, thread_quads, split } => {
                let block = 4 * thread_rows * thread_quads;
                // Each thread brings in whole chunks of a, and whole vectors of b.
                block == 0
                    || !rows.is_power_of_two()
                    || !columns.is_power_of_two()
                    || !matches!(words, 4 | 8 | 16)
                    || !(1..=MOST_PARTS).contains(&split)
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
            // The tiles, a row of matrices of each subgroup, and a sum of a row where weights have zero points.
            Blocking::Matrix { side, threads } => 4096 + 4 * side * 32 * 4 + threads * 4,
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
            Blocking::Matrix { side, .. } => format!("64x64 by {side}x{side}"),
            Blocking::Tiled { rows, columns, words, split: 1, .. } => {
                format!("tiled {rows}x{columns}x{words}")
            }
            Blocking::Tiled { rows, columns, words, split, .. } => {
                format!("tiled {rows}x{columns}x{words} split {split}")
            }
        }
    }
}

/// What matrix units take of a device.
pub(super) fn matrix_features() -> wgpu::Features {
    wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX | wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP
}

/// The side of the matrices on a backend: what wgpu and its drivers have for f16 with sums in f32.
fn matrix_side(backend: wgpu::Backend) -> u32 {
    if backend == wgpu::Backend::Metal { 8 } else { 16 }
}

/// Whether an adapter has matrix units that [`Operand::F16Matrix`] and [`Operand::I8Matrix`] can use: f16 summed in f32,
/// 16 x 16 x 16 (8 x 8 x 8 on Metal). A device does not tell, so whoever asks for `EXPERIMENTAL_COOPERATIVE_MATRIX` for a
/// device of their own asks this first.
pub fn has_matrix_units(adapter: &wgpu::Adapter) -> bool {
    let side = matrix_side(adapter.get_info().backend);
    adapter.features().contains(matrix_features())
        && adapter.cooperative_matrix_properties().iter().any(|p| {
            [p.m_size, p.n_size, p.k_size] == [side; 3]
                && p.ab_type == wgpu::CooperativeScalarType::F16
                && p.cr_type == wgpu::CooperativeScalarType::F32
        })
}
