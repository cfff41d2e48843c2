//! One of two values for each truth value, broadcast.

use crate::error::Result;
use crate::kernel::{Call, Kernels, Shader, Variant};
use crate::ops::broadcast::{self, RANK};
use crate::ops::rows::{check_element, check_one_of};
use crate::tensor::{Element, View};

/// What is asked of a [`Select`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SelectDescriptor {
    /// Element type of both values and of the output: F32, I32 or F16.
    pub element: Element,
}

/// The tensors of a [`Select`], each as the matrix of its outer dimensions by its innermost one.
#[derive(Clone, Copy, Debug)]
pub struct SelectBindings<'a> {
    /// Truth values: I32, 0 or not.
    pub condition: View<'a>,
    /// Its shape, outermost dimension first.
    pub condition_shape: &'a [usize],
    /// Taken where the condition is true.
    pub a: View<'a>,
    /// Its shape.
    pub a_shape: &'a [usize],
    /// Taken where it is false.
    pub b: View<'a>,
    /// Its shape.
    pub b_shape: &'a [usize],
    /// Of the shape that all three are broadcast to: at most 6 dimensions.
    pub out: View<'a>,
}

/// `a` where the condition is true, else `b`, bit for bit (ONNX `Where`). See [`crate::reference::select`].
pub struct Select {
    kernels: Kernels,
    descriptor: SelectDescriptor,
}

const OP: &str = "select";

fn shader(half: bool, dims: u32) -> Shader {
    let consts = [("HALF", u32::from(half)), ("DIMS", dims)];
    let files = [
        include_str!("../../shaders/common/broadcast_params.wgsl"),
        include_str!("../../shaders/select.wgsl"),
    ];
    let label = format!("select/{} bits {dims} outer dimensions", if half { 16 } else { 32 });
    Variant { label, enable: &[], consts: &consts, files: &files }.render()
}

/// Every variant.
pub(crate) fn shaders() -> Vec<Shader> {
    (0..RANK as u32).flat_map(|dims| [shader(false, dims), shader(true, dims)]).collect()
}

impl Select {
    /// Prepares for a device.
    ///
    /// # Errors
    /// [`crate::Error::Element`] for bytes.
    pub fn new(device: &wgpu::Device, descriptor: &SelectDescriptor) -> Result<Self> {
        Self::with_kernels(&Kernels::new(device), descriptor)
    }

    /// The same with kernels shared between ops.
    ///
    /// # Errors
    /// See [`Select::new`].
    pub fn with_kernels(kernels: &Kernels, d: &SelectDescriptor) -> Result<Self> {
        check_one_of(OP, d.element, &[Element::F32, Element::I32, Element::F16], "F32, I32 or F16")?;
        Ok(Self { kernels: kernels.clone(), descriptor: *d })
    }

    /// Checks shapes and limits, and makes the call.
    ///
    /// # Errors
    /// [`crate::Error::Shape`], [`crate::Error::View`] or [`crate::Error::Limit`], with the numbers.
    pub fn bind(&self, s: &SelectBindings<'_>) -> Result<Call> {
        let element = self.descriptor.element;
        check_element(OP, "condition", &s.condition, Element::I32)?;
        for (name, view) in [("a", &s.a), ("b", &s.b), ("out", &s.out)] {
            check_element(OP, name, view, element)?;
        }
        let operands =
            [("condition", s.condition, s.condition_shape), ("a", s.a, s.a_shape), ("b", s.b, s.b_shape)];
        broadcast::call(&self.kernels, OP, operands, s.out, None, |dims| {
            shader(element == Element::F16, dims)
        })
    }
}
