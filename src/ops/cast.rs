//! From any element to any other.

use crate::error::{Error, Result};
use crate::kernel::{Call, Kernels, Shader, Variant};
use crate::ops::rows::{self, check_same};
use crate::tensor::{Element, View};

/// What is asked of a [`Cast`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CastDescriptor {
    /// What `x` holds. I64 and Bool are held as I32, U8 as I8 shifted by 128: see [`Element::stored`].
    pub element: Element,
    /// What the output holds.
    pub out: Element,
}

/// The tensors of a [`Cast`].
#[derive(Clone, Copy, Debug)]
pub struct CastBindings<'a> {
    /// `[rows, columns]`.
    pub x: View<'a>,
    /// `[rows, columns]`. Padding in words that hold elements is written as zeros.
    pub out: View<'a>,
}

/// Elements as another type: see [`crate::reference::cast`]. I64 has 32 bits here, and saturates at them.
pub struct Cast {
    kernels: Kernels,
    descriptor: CastDescriptor,
}

const OP: &str = "cast";
const ELEMENTS: [Element; 7] =
    [Element::F32, Element::F16, Element::I8, Element::U8, Element::I32, Element::I64, Element::Bool];

/// What happens to a value on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It stays what it is, as far as the type allows.
    Number,
    /// Whether it is not 0.
    Truth,
    Not,
    IsNan,
    IsInf,
    Abs,
    Neg,
    Sign,
}

/// The kernel, for its [`crate::ops::ElementwiseParams`] by [`rows::sixteens`].
pub(crate) fn shader(op: &str, from: Element, to: Element, step: Step) -> Shader {
    let flag = u32::from;
    let float = |e: Element| matches!(e, Element::F32 | Element::F16);
    let bytes = |e: Element| matches!(e, Element::I8 | Element::U8);
    let consts = [
        ("X_FLOAT", flag(float(from))),
        ("X_F16", flag(from == Element::F16)),
        ("X_BYTES", flag(bytes(from))),
        ("OUT_FLOAT", flag(float(to))),
        ("OUT_WORDS", flag(to.per_word() == 1)),
        ("NUMBER", flag(step == Step::Number)),
        ("TRUTH", flag(step == Step::Truth)),
        ("NOT", flag(step == Step::Not)),
        ("IS_NAN", flag(step == Step::IsNan)),
        ("IS_INF", flag(step == Step::IsInf)),
        ("ABS", flag(step == Step::Abs)),
        ("NEG", flag(step == Step::Neg)),
        ("SIGN", flag(step == Step::Sign)),
    ];
    let shift = |e: Element| if e == Element::U8 { 128 } else { 0 };
    let (lowest, highest) = match to {
        Element::I8 => (-128, 127),
        Element::U8 => (0, 255),
        _ => (i32::MIN, i32::MAX),
    };
    // The most negative literal would be that of the positive number, which i32 does not have.
    let types = format!(
        "const SHIFT_X: i32 = {};\nconst SHIFT_OUT: i32 = {};\nconst LOWEST: i32 = {} - 1;\nconst HIGHEST: i32 = {};\n\
         alias Four = vec4<{}>;\nalias Result = vec4<{}>;\n",
        shift(from),
        shift(to),
        lowest + 1,
        highest,
        if float(from) { "f32" } else { "i32" },
        if float(to) { "f32" } else { "i32" },
    );
    let files = [
        include_str!("../../shaders/common/elementwise_params.wgsl"),
        if to == Element::F16 { include_str!("../../shaders/common/f16.wgsl") } else { "" },
        &types,
        include_str!("../../shaders/cast.wgsl"),
    ];
    let step = if step == Step::Number { String::new() } else { format!(" {step:?}") };
    let label = format!("{op}/{from:?} to {to:?}{step}");
    Variant { label, enable: &[], consts: &consts, files: &files }.render()
}

fn cast_shader(d: &CastDescriptor) -> Shader {
    let wide = |e: Element| if e.stored() == Element::I32 { Element::I32 } else { e };
    // A truth value already is 0 or 1.
    let truth = d.out == Element::Bool && d.element != Element::Bool;
    let step = if truth { Step::Truth } else { Step::Number };
    shader(OP, wide(d.element), wide(d.out), step)
}

/// Every variant.
pub(crate) fn shaders() -> Vec<Shader> {
    ELEMENTS
        .iter()
        .flat_map(|&element| ELEMENTS.map(|out| cast_shader(&CastDescriptor { element, out })))
        .collect()
}

/// Checks that a view holds an element as a device does.
pub(crate) fn check_stored(op: &'static str, name: &str, view: &View<'_>, element: Element) -> Result<()> {
    if view.element.stored() == element.stored() {
        return Ok(());
    }
    Err(Error::Shape {
        op,
        detail: format!("{name} is {:?}, but {element:?} is held as {:?}", view.element, element.stored()),
    })
}

impl Cast {
    /// Prepares for a device.
    ///
    /// # Errors
    /// None today.
    pub fn new(device: &wgpu::Device, descriptor: &CastDescriptor) -> Result<Self> {
        Self::with_kernels(&Kernels::new(device), descriptor)
    }

    /// The same with kernels shared between ops.
    ///
    /// # Errors
    /// See [`Cast::new`].
    pub fn with_kernels(kernels: &Kernels, descriptor: &CastDescriptor) -> Result<Self> {
        Ok(Self { kernels: kernels.clone(), descriptor: *descriptor })
    }

    /// Checks shapes and limits, and makes the call.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::View`] or [`Error::Limit`], with the numbers.
    pub fn bind(&self, b: &CastBindings<'_>) -> Result<Call> {
        check_stored(OP, "x", &b.x, self.descriptor.element)?;
        check_stored(OP, "out", &b.out, self.descriptor.out)?;
        check_same(OP, &b.x, &b.out)?;
        let [x, out] = rows::flatten([b.x, b.out]);
        rows::sixteens(&self.kernels, OP, cast_shader(&self.descriptor), &x, None, &out, [0.0; 2])
    }
}
