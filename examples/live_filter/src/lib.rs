//! A moving scene, path traced with two samples per pixel and denoised by a network in the same encoder.
//!
//! The application owns the device, the queue, the encoder, the surface and all textures. `app::App::record` is a frame:
//! what weighbridge does there is one call, between the pass that draws the network's input and the one that draws with
//! its output.

pub mod app;
pub mod dataset;
pub mod filter;
pub mod gpu;
pub mod headless;
pub mod measure;
pub mod scene;
pub mod view;
#[cfg(feature = "window")]
pub mod window;
