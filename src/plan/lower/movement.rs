//! Copies of elements to other places.

use super::Lowering;
use crate::error::Result;
use crate::graph::{Node, PadMode, Resize, SliceAxis, Window};

impl<'m> Lowering<'m> {
    pub(super) fn gather(&mut self, node: &'m Node, _axis: usize) -> Result<()> {
        Err(self.fail(node, "there is no kernel for it yet"))
    }

    pub(super) fn concat(&mut self, node: &'m Node, _axis: usize) -> Result<()> {
        Err(self.fail(node, "there is no kernel for it yet"))
    }

    pub(super) fn slice(&mut self, node: &'m Node, _axes: &[SliceAxis]) -> Result<()> {
        Err(self.fail(node, "there is no kernel for it yet"))
    }

    pub(super) fn pad(&mut self, node: &'m Node, _begin: &[i64], _end: &[i64], _mode: PadMode) -> Result<()> {
        Err(self.fail(node, "there is no kernel for it yet"))
    }

    pub(super) fn expand(&mut self, node: &'m Node) -> Result<()> {
        Err(self.fail(node, "there is no kernel for it yet"))
    }

    pub(super) fn tile(&mut self, node: &'m Node, _repeats: &[usize]) -> Result<()> {
        Err(self.fail(node, "there is no kernel for it yet"))
    }

    pub(super) fn resize(&mut self, node: &'m Node, _geometry: &Resize) -> Result<()> {
        Err(self.fail(node, "there is no kernel for it yet"))
    }

    pub(super) fn conv_transpose(&mut self, node: &'m Node, _window: Window, _groups: usize) -> Result<()> {
        Err(self.fail(node, "there is no kernel for it yet"))
    }
}
