//! Inputs and outputs that are textures: a step reads or writes each, in the order that suits the steps beside it.

use super::{Lowering, Order, Slot};
use crate::error::{Error, Result};
use crate::graph::ValueId;
use crate::ops::{TensorToTexture, TensorToTextureBindings, TextureToTensor, TextureToTensorBindings};
use crate::plan::{Binding, Port};
use crate::tensor::Element;

/// Refuses names of nothing, and ports that are no images of f32.
pub(super) fn check(names: &[&str], inputs: &[Port], outputs: &[Port]) -> Result<()> {
    for name in names {
        let port = inputs.iter().chain(outputs).find(|p| p.name == *name);
        let port = port.ok_or_else(|| Error::Model(format!("there is no input or output `{name}`")))?;
        if port.element != Element::F32 {
            return Err(Error::Model(format!(
                "`{name}` is {:?}: a texture is made of f32 and into it",
                port.element
            )));
        }
        image(port)?;
    }
    Ok(())
}

/// `[channels, height, width]` of a port.
fn image(port: &Port) -> Result<[usize; 3]> {
    let shape = &port.shape;
    let first = shape.len().saturating_sub(3);
    match <[usize; 3]>::try_from(&shape[first..]) {
        Ok([c, h, w]) if matches!(c, 1 | 3 | 4) && h * w > 0 && shape[..first].iter().all(|&n| n == 1) => {
            Ok([c, h, w])
        }
        _ => {
            let detail = format!(
                "`{}` is {shape:?}: a texture is one image [c, h, w] of 1, 3 or 4 channels",
                port.name
            );
            Err(Error::Shape { op: "plan", detail })
        }
    }
}

impl Lowering<'_> {
    /// Adds the step that reads the texture of an input: channels last where an image op will want that.
    pub(super) fn read_texture(&mut self, i: usize, id: ValueId) -> Result<Slot> {
        let port = self.out.inputs[i].clone();
        let shape @ [c, h, w] = image(&port)?;
        let channels_last = self.wants_channels_last[id.index()];
        let (order, rows, columns) =
            if channels_last { (Order::ChannelsLast, h * w, c) } else { (Order::Natural, c * h, w) };
        let out = self.need(Element::F32, rows, columns);
        let shapes = format!("texture -> {:?}", port.shape);
        self.step(&port.name, "texture_to_tensor", shapes, "the input is a texture", &[out], move |s| {
            let Binding::Texture(x, pixels) = s.inputs[i] else { unreachable!("`Port::check`") };
            let op = TextureToTensor::with_kernels(s.kernels, &pixels);
            op.bind(&TextureToTensorBindings { x, shape, channels_last, out: s.view(&out) })
        });
        Ok(Slot { matrix: out, order, params: None })
    }

    /// Adds the step that writes an output into its texture, from the order that it was made in.
    pub(super) fn write_texture(&mut self, i: usize, id: ValueId) -> Result<()> {
        let port = self.out.outputs[i].clone();
        let shape @ [c, h, w] = image(&port)?;
        let made = self.made(id)?;
        let channels_last = made.order == Order::ChannelsLast;
        let made = if channels_last { made } else { self.get(id, Order::Natural, &port.name)? };
        let (rows, columns) = if channels_last { (h * w, c) } else { (c * h, w) };
        let x = super::Matrix { rows, columns, ..made.matrix };
        let shapes = format!("{:?} -> texture", port.shape);
        self.step(&port.name, "tensor_to_texture", shapes, "the output is a texture", &[x], move |s| {
            let Binding::Texture(out, pixels) = s.outputs[i] else { unreachable!("`Port::check`") };
            let op = TensorToTexture::with_kernels(s.kernels, &pixels);
            op.bind(&TensorToTextureBindings { x: s.view(&x), shape, channels_last, out })
        });
        Ok(())
    }
}
