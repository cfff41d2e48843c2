//! Which nodes are quantized.

use crate::error::{Error, Result};
use crate::graph::{Model, Node};

/// A node by its name, or every node of an op by [`crate::graph::Op::name`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The node of this name.
    Node(String),
    /// All nodes of this op: `Linear`, `Conv`, `Gather`, `Add`.
    Op(String),
}

/// Which nodes are quantized and which stay float, where a user knows better than the default.
///
/// The default quantizes the weights of Linear and Conv, and embedding tables (a Gather from a constant of at least
/// 65,536 elements), and of images also sums and pools between them; softmax, norms, attention, masks and the residual
/// sums of a transformer stay float. What a rule names is decided by it; one about a node beats those about its op, and a
/// later rule an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<(Which, bool)>,
}

impl Policy {
    /// The default, but that these nodes stay float.
    pub fn skip<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        names.into_iter().fold(Self::default(), |p, name| p.float(Which::Node(name.into())))
    }

    /// The same policy, but that these stay float.
    pub fn float(mut self, which: Which) -> Self {
        self.rules.push((which, false));
        self
    }

    /// The same policy, but that these are quantized, where there is an int8 form of them.
    pub fn int8(mut self, which: Which) -> Self {
        self.rules.push((which, true));
        self
    }

    /// Whether a node is quantized, which it is by default or not.
    pub(super) fn decide(&self, node: &Node, default: bool) -> bool {
        let by_name = |(which, _): &&(Which, bool)| matches!(which, Which::Node(n) if *n == node.name);
        let by_op = |(which, _): &&(Which, bool)| matches!(which, Which::Op(op) if op == node.op.name());
        let last = self.rules.iter().rev().find(by_name).or_else(|| self.rules.iter().rev().find(by_op));
        last.map_or(default, |(_, int8)| *int8)
    }

    /// Refuses rules about what the model does not have: a typing error would quantize what should stay float.
    pub(super) fn check(&self, model: &Model, op: &'static str) -> Result<()> {
        for (which, _) in &self.rules {
            let found = model.nodes().iter().any(|n| match which {
                Which::Node(name) => n.name == *name,
                Which::Op(op) => n.op.name() == op,
            });
            if !found {
                let detail = match which {
                    Which::Node(name) => format!("there is no node `{name}`"),
                    Which::Op(name) => {
                        let mut ops: Vec<&str> = model.nodes().iter().map(|n| n.op.name()).collect();
                        ops.sort_unstable();
                        ops.dedup();
                        format!("there is no op `{name}`; the model has {}", ops.join(", "))
                    }
                };
                return Err(Error::Argument { op, detail });
            }
        }
        Ok(())
    }
}
