//! Encoders of transformers, as an exporter writes them once their norms, GELU and attention are fused.
#![allow(dead_code)] // each target takes what it needs

use super::gpu::Rng;
use weighbridge::graph::{Activation, Dim, Model, Op, UnaryOp, ValueId};
use weighbridge::tensor::{Data, Element, Tensor};

/// What an encoder is made of.
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    pub layers: usize,
    pub heads: usize,
    /// Of each head.
    pub d: usize,
    /// Width between the two linear layers at the end of each block.
    pub inner: usize,
    /// Whether attention is masked by a second input, `[batch, 1, 1, tokens]`.
    pub masked: bool,
    /// Whether keys are turned in two steps.
    pub two_steps: bool,
    /// Whether the linear layer of the keys has a bias.
    pub key_bias: bool,
    /// Whether queries, keys and values are outputs too, before and after they are split into heads.
    pub exposed: bool,
}

impl Encoder {
    /// MiniLM-L6's blocks.
    pub const MINI_LM: Self = Self {
        layers: 6,
        heads: 12,
        d: 32,
        inner: 1536,
        masked: true,
        two_steps: false,
        key_bias: true,
        exposed: false,
    };

    pub fn width(&self) -> usize {
        self.heads * self.d
    }

    /// `x [batch, tokens, width]`, and `mask` where there is one.
    pub fn model(&self) -> Model {
        let mut net = Net { model: Model::new("encoder"), rng: Rng(11) };
        let symbol = |s: &str| Dim::Symbol(s.into());
        let (w, one) = (self.width(), Dim::Fixed(1));
        let shape = vec![symbol("batch"), symbol("tokens"), Dim::Fixed(w)];
        let mut x = net.model.add_input("x", Element::F32, shape).unwrap();
        let mask = self.masked.then(|| {
            let shape = vec![symbol("batch"), one.clone(), one, symbol("tokens")];
            net.model.add_input("mask", Element::F32, shape).unwrap()
        });
        let mut exposed = Vec::new();
        for layer in 0..self.layers {
            let name = |part: &str| format!("{part}.{layer}");
            let normed = net.norm(&name("norm"), x, w);
            let mut parts = Vec::new();
            for part in ["q", "k", "v"] {
                let bias = part != "k" || self.key_bias;
                let y = net.linear(&name(part), normed, [w, w], bias, Activation::Identity);
                let target = vec![0, 0, self.heads as i64, self.d as i64];
                let split = net.add(&name(&format!("{part}.split")), Op::Reshape { target }, &[y]);
                let turned = match (part, self.two_steps) {
                    ("k", false) => net.turn(&name("k.turned"), split, [0, 2, 3, 1]),
                    ("k", true) => {
                        let swapped = net.turn(&name("k.swapped"), split, [0, 2, 1, 3]);
                        net.turn(&name("k.turned"), swapped, [0, 1, 3, 2])
                    }
                    _ => net.turn(&name(&format!("{part}.turned")), split, [0, 2, 1, 3]),
                };
                exposed.extend([y, turned]);
                parts.push(turned);
            }
            parts.extend(mask);
            let scale = 1.0 / (self.d as f32).sqrt();
            let heads = net.add(&name("attention"), Op::Attention { scale }, &parts);
            let together = net.turn(&name("together"), heads, [0, 2, 1, 3]);
            let joined = net.add(&name("joined"), Op::Reshape { target: vec![0, 0, w as i64] }, &[together]);
            let out = net.linear(&name("out"), joined, [w, w], true, Activation::Identity);
            let sum = net.add(&name("sum"), Op::Add { activation: Activation::Identity }, &[x, out]);
            let normed = net.norm(&name("norm2"), sum, w);
            let gelu = Activation::Function(UnaryOp::Gelu { tanh: false });
            let up = net.linear(&name("up"), normed, [self.inner, w], true, gelu);
            let down = net.linear(&name("down"), up, [w, self.inner], true, Activation::Identity);
            x = net.add(&name("block"), Op::Add { activation: Activation::Identity }, &[sum, down]);
        }
        let mut outputs = vec![x];
        if self.exposed {
            outputs.extend(exposed);
        }
        net.model.set_outputs(&outputs).unwrap();
        net.model.validate().unwrap();
        net.model
    }

    /// Inputs of so many sequences of so many tokens; a mask leaves the last third out.
    pub fn inputs(&self, batch: usize, tokens: usize, seed: u64) -> Vec<(&'static str, Tensor)> {
        let data = Rng(seed).f32s(batch * tokens * self.width());
        let mut all = vec![("x", Tensor::f32([batch, tokens, self.width()], data).unwrap())];
        if self.masked {
            let of = |i: usize| if i % tokens > tokens * 2 / 3 { -1e4 } else { 0.0 };
            let data: Vec<f32> = (0..batch * tokens).map(of).collect();
            all.push(("mask", Tensor::f32([batch, 1, 1, tokens], data).unwrap()));
        }
        all
    }
}

/// `layers` linear layers of `[width, width]`, each with a ReLU.
pub fn mlp(layers: usize, width: usize) -> Model {
    let mut net = Net { model: Model::new("mlp"), rng: Rng(12) };
    let shape = vec![Dim::Symbol("batch".into()), Dim::Fixed(width)];
    let mut x = net.model.add_input("x", Element::F32, shape).unwrap();
    for layer in 0..layers {
        x = net.linear(&format!("layer.{layer}"), x, [width, width], true, Activation::Relu);
    }
    net.model.set_outputs(&[x]).unwrap();
    net.model
}

struct Net {
    model: Model,
    rng: Rng,
}

impl Net {
    fn add(&mut self, name: &str, op: Op, inputs: &[ValueId]) -> ValueId {
        self.model.add_node(name, op, inputs).unwrap()
    }

    fn turn(&mut self, name: &str, x: ValueId, order: [usize; 4]) -> ValueId {
        self.add(name, Op::Transpose { order: order.to_vec() }, &[x])
    }

    fn constant(&mut self, name: String, shape: &[usize], scale: f32) -> ValueId {
        let data = self.rng.f32s(shape.iter().product()).iter().map(|x| x * scale).collect();
        self.model.add_constant(name, Tensor::new(shape, Data::F32(data)).unwrap()).unwrap()
    }

    fn norm(&mut self, name: &str, x: ValueId, w: usize) -> ValueId {
        let scale = self.constant(format!("{name}.scale"), &[w], 1.0);
        let bias = self.constant(format!("{name}.bias"), &[w], 0.1);
        self.add(name, Op::LayerNorm { axis: 2, epsilon: 1e-5, rms: false }, &[x, scale, bias])
    }

    fn linear(
        &mut self,
        name: &str,
        x: ValueId,
        [n, k]: [usize; 2],
        bias: bool,
        activation: Activation,
    ) -> ValueId {
        let weight = self.constant(format!("{name}.weight"), &[n, k], 2.0 / (k as f32).sqrt());
        let mut inputs = vec![x, weight];
        if bias {
            inputs.push(self.constant(format!("{name}.bias"), &[n], 0.1));
        }
        self.add(name, Op::Linear { activation }, &inputs)
    }
}
