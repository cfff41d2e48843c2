//! Between reals and int8, with parameters from a buffer: one for the tensor, or one for each row or column.

use crate::error::Result;
use crate::kernel::{Call, Kernels, Shader, Variant};
use crate::ops::rows::{self, Per, check_element, check_one_of, check_same};
use crate::tensor::{Element, View};

const FLOATS: [Element; 2] = [Element::F32, Element::F16];

/// What is asked of a [`Quantize`] or a [`Dequantize`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct QuantizeDescriptor {
    /// The type of the reals: F32 or F16.
    pub element: Element,
    /// Whether a square matrix with a parameter for each has them for its rows (true) or its columns.
    pub by_row: bool,
}

/// The tensors of a [`Quantize`] or a [`Dequantize`].
#[derive(Clone, Copy, Debug)]
pub struct QuantizeBindings<'a> {
    /// `[rows, columns]`.
    pub x: View<'a>,
    /// One [`crate::quant::QuantParams`], one for each row, or one for each column: [`View::params`].
    pub params: View<'a>,
    /// `[rows, columns]`. Padding in words that hold elements is written as zeros.
    pub out: View<'a>,
}

/// Reals to int8: `sat(rne(x * inv_scale) + zero_point)` within the parameters' limits, as PyTorch and FBGEMM do it.
///
/// An infinity saturates, NaN gives the zero point. See [`crate::reference::quantize`]. Equal to it but where
/// `x * inv_scale` is within rounding of a tie: WGSL leaves the direction in which a product is rounded open.
pub struct Quantize {
    kernels: Kernels,
    descriptor: QuantizeDescriptor,
}

/// Int8 to reals: `f32(q - zero_point) * scale`, rounded to nearest even where the reals are f16.
///
/// See [`crate::reference::dequantize`].
pub struct Dequantize {
    kernels: Kernels,
    descriptor: QuantizeDescriptor,
}

/// Everything that decides the text of the kernels.
#[derive(Clone, Copy, Debug)]
struct Form {
    quantize: bool,
    element: Element,
    per: Per,
    x_vec: bool,
    out_vec: bool,
    /// Whether there is one row, as of what is dense.
    flat: bool,
    /// 64-bit loads: `SHADER_INT64`.
    wide: bool,
    /// To int8: the columns, where they are four at most.
    narrow: u32,
}

impl Form {
    fn shader(self) -> Shader {
        let flag = u32::from;
        let f16 = self.element == Element::F16;
        let consts = [
            ("X_F16", flag(f16)),
            ("OUT_F16", flag(f16)),
            ("X_VEC", flag(self.x_vec)),
            ("FLAT", flag(self.flat)),
            ("OUT_VEC", flag(self.out_vec)),
            ("WIDE", flag(self.wide)),
            ("PER_ROW", flag(self.per == Per::Row)),
            ("PER_COLUMN", flag(self.per == Per::Column)),
            ("NARROW", self.narrow),
            ("NARROW_WORDS", self.narrow.div_ceil(2)),
        ];
        let common = [
            include_str!("../../shaders/common/elementwise_params.wgsl"),
            include_str!("../../shaders/common/quant_params.wgsl"),
            include_str!("../../shaders/common/quotient.wgsl"),
        ];
        let load = if self.wide { rows::LOAD_WIDE } else { rows::load(self.narrow) };
        let quantize = [
            load,
            include_str!("../../shaders/common/quantize.wgsl"),
            include_str!("../../shaders/common/store_i8.wgsl"),
            include_str!("../../shaders/quantize.wgsl"),
        ];
        let dequantize = [
            if f16 { include_str!("../../shaders/common/f16.wgsl") } else { "" },
            include_str!("../../shaders/common/store16.wgsl"),
            include_str!("../../shaders/dequantize.wgsl"),
        ];
        let files = [&common[..], if self.quantize { &quantize } else { &dequantize }].concat();
        let label = format!(
            "{}/{:?} per {:?}{}{}{}{}{}",
            if self.quantize { "quantize" } else { "dequantize" },
            self.element,
            self.per,
            if self.x_vec { "" } else { " from words" },
            if self.out_vec { "" } else { " to words" },
            if self.flat { ", one row" } else { "" },
            if self.wide { " by 64 bits" } else { "" },
            rows::narrow_label(self.narrow),
        );
        Variant { label, enable: &[], consts: &consts, files: &files }.render()
    }
}

/// Every variant of both kernels.
pub(crate) fn shaders() -> Vec<Shader> {
    let mut all = Vec::new();
    for quantize in [true, false] {
        for element in FLOATS {
            for per in [Per::Tensor, Per::Row, Per::Column] {
                for vec in 0..4 {
                    let (x_vec, out_vec) = (vec & 1 != 0, vec & 2 != 0);
                    let form =
                        Form { quantize, element, per, x_vec, out_vec, flat: false, wide: false, narrow: 0 };
                    let wide = quantize && x_vec;
                    if quantize && vec == 0 {
                        all.extend((1..=4).map(|narrow| Form { narrow, ..form }.shader()));
                    }
                    all.extend([form, Form { flat: true, wide, ..form }].map(|f| f.shader()));
                }
            }
        }
    }
    all
}

fn bind(
    kernels: &Kernels,
    op: &'static str,
    d: &QuantizeDescriptor,
    b: &QuantizeBindings<'_>,
    quantize: bool,
) -> Result<Call> {
    let (from, to) = if quantize { (d.element, Element::I8) } else { (Element::I8, d.element) };
    check_element(op, "x", &b.x, from)?;
    check_element(op, "out", &b.out, to)?;
    check_same(op, &b.x, &b.out)?;
    let per = Per::of(op, "params", &b.params, &b.x, d.by_row)?;
    let [x, out] = if per == Per::Tensor { rows::flatten([b.x, b.out]) } else { [b.x, b.out] };
    let narrow = if quantize { rows::narrow(&x) } else { 0 };
    let x_vec = narrow == 0 && rows::reads_vectors(&x);
    let form = Form {
        quantize,
        element: d.element,
        per,
        x_vec,
        out_vec: rows::writes_sixteens(&out),
        flat: x.rows == 1,
        wide: quantize && x_vec && rows::reads_wide(kernels.device(), &x),
        narrow,
    };
    rows::sixteens(kernels, op, form.shader(), &x, Some(&b.params), &out, [0.0; 2])
}

macro_rules! op {
    ($name:ident, $op:literal, $quantize:literal) => {
        impl $name {
            /// Prepares for a device.
            ///
            /// # Errors
            /// [`crate::Error::Element`] for other than float reals.
            pub fn new(device: &wgpu::Device, descriptor: &QuantizeDescriptor) -> Result<Self> {
                Self::with_kernels(&Kernels::new(device), descriptor)
            }

            /// The same with kernels shared between ops.
            ///
            /// # Errors
            /// As `new`.
            pub fn with_kernels(kernels: &Kernels, descriptor: &QuantizeDescriptor) -> Result<Self> {
                check_one_of($op, descriptor.element, &FLOATS, "F32 or F16")?;
                Ok(Self { kernels: kernels.clone(), descriptor: *descriptor })
            }

            /// Checks shapes and limits, and makes the call.
            ///
            /// # Errors
            /// [`crate::Error::Shape`], [`crate::Error::View`] or [`crate::Error::Limit`], with the numbers.
            pub fn bind(&self, bindings: &QuantizeBindings<'_>) -> Result<Call> {
                bind(&self.kernels, $op, &self.descriptor, bindings, $quantize)
            }
        }
    };
}
op!(Quantize, "quantize", true);
op!(Dequantize, "dequantize", false);
