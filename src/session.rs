//! Running a model on a [`Gpu`]. A stand-in.

use crate::error::{Error, Result};
use crate::{Gpu, graph::Model, tensor::Tensor};

/// A model on a device.
pub struct Session<'g>(std::marker::PhantomData<&'g Gpu>);

fn not_built<T>() -> Result<T> {
    Err(Error::Device("not built yet".into()))
}

impl<'g> Session<'g> {
    /// A stand-in.
    ///
    /// # Errors
    /// Always.
    pub fn new(_: &'g Gpu, _: &Model) -> Result<Self> {
        not_built()
    }
    /// A stand-in.
    ///
    /// # Errors
    /// Always.
    pub async fn run(&self, _: &[(&str, &Tensor)]) -> Result<Vec<Tensor>> {
        not_built()
    }
    /// A stand-in.
    ///
    /// # Errors
    /// Always.
    pub fn gpu_bytes(&self, _: &[(&str, Vec<usize>)]) -> Result<u64> {
        not_built()
    }
    /// A stand-in.
    ///
    /// # Errors
    /// Always.
    pub fn explain(&self, _: &[(&str, Vec<usize>)]) -> Result<String> {
        not_built()
    }
}
