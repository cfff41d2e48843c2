//! A moving scene, path traced with two samples per pixel and denoised by a network in the same encoder.

pub mod dataset;
pub mod gpu;
pub mod scene;
