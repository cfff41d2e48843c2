//! Reductions along axes, and what is normalized along them.

use super::Lowering;
use crate::error::Result;
use crate::graph::{Node, ReduceOp};

impl<'m> Lowering<'m> {
    pub(super) fn reduce(&mut self, node: &'m Node, _op: ReduceOp, _axes: &[usize]) -> Result<()> {
        Err(self.fail(node, "there is no kernel for it yet"))
    }

    pub(super) fn arg_reduce(&mut self, node: &'m Node, _axis: usize, _max: bool, _last: bool) -> Result<()> {
        Err(self.fail(node, "there is no kernel for it yet"))
    }

    pub(super) fn cumulative_sum(
        &mut self,
        node: &'m Node,
        _axis: usize,
        _exclusive: bool,
        _reverse: bool,
    ) -> Result<()> {
        Err(self.fail(node, "there is no kernel for it yet"))
    }

    pub(super) fn softmax(&mut self, node: &'m Node, _axis: usize, _log: bool) -> Result<()> {
        Err(self.fail(node, "there is no kernel for it yet"))
    }

    pub(super) fn layer_norm(
        &mut self,
        node: &'m Node,
        _axis: usize,
        _epsilon: f32,
        _rms: bool,
    ) -> Result<()> {
        Err(self.fail(node, "there is no kernel for it yet"))
    }

    pub(super) fn group_norm(&mut self, node: &'m Node, _groups: usize, _epsilon: f32) -> Result<()> {
        Err(self.fail(node, "there is no kernel for it yet"))
    }

    pub(super) fn attention(&mut self, node: &'m Node, _scale: f32) -> Result<()> {
        Err(self.fail(node, "there is no kernel for it yet"))
    }
}
