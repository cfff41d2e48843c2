//! A stand-in.

use crate::{Error, Gpu, Result, calibrate::Ranges, graph::Model, quant::Observer, tensor::Tensor};

/// A stand-in.
pub struct Calibrator<'g>(std::marker::PhantomData<&'g Gpu>);

impl<'g> Calibrator<'g> {
    /// A stand-in.
    ///
    /// # Errors
    /// Always.
    pub fn new(_: &'g Gpu, _: &Model, _: Observer) -> Result<Self> {
        Err(Error::Device("not built yet".into()))
    }
    /// A stand-in.
    ///
    /// # Errors
    /// Always.
    pub async fn observe_all<S>(&mut self, _: S) -> Result<()>
    where
        S: futures_util::Stream<Item = Result<Vec<(String, Tensor)>>>,
    {
        Err(Error::Device("not built yet".into()))
    }
    /// A stand-in.
    ///
    /// # Errors
    /// Always.
    pub async fn finish(self) -> Result<Ranges> {
        Err(Error::Device("not built yet".into()))
    }
}
