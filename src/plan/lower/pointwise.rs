//! Functions of single elements and of pairs.

use super::Lowering;
use crate::error::Result;
use crate::graph::{BinaryOp, Node, UnaryOp};

impl<'m> Lowering<'m> {
    pub(super) fn function(&mut self, node: &'m Node, _op: UnaryOp) -> Result<()> {
        Err(self.fail(node, "there is no kernel for it yet"))
    }

    pub(super) fn binary(&mut self, node: &'m Node, _op: BinaryOp) -> Result<()> {
        Err(self.fail(node, "there is no kernel for it yet"))
    }

    pub(super) fn select(&mut self, node: &'m Node) -> Result<()> {
        Err(self.fail(node, "there is no kernel for it yet"))
    }
}
