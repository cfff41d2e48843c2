//! The one error type of the crate.

/// Everything that can go wrong, with the numbers in the message.
///
/// All fallible work happens in `new` and `bind`; `record` cannot fail.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Shapes that do not fit together, or a shape an op does not take.
    #[error("{op}: {detail}")]
    Shape {
        /// The op or function that refused.
        op: &'static str,
        /// Both shapes and what was expected.
        detail: String,
    },
    /// An element type that an op does not take.
    #[error("{op}: element type {got:?} is not supported, expected {expected}")]
    Element {
        /// The op or function that refused.
        op: &'static str,
        /// The element type found.
        got: crate::tensor::Element,
        /// The element types that would do.
        expected: &'static str,
    },
    /// An argument outside of its range.
    #[error("{op}: {detail}")]
    Argument {
        /// The op or function that refused.
        op: &'static str,
        /// The value and its bounds.
        detail: String,
    },
    /// A view over a buffer or a texture that cannot be bound: too short, misaligned, of another format, or without the
    /// usage it needs.
    #[error("{op}: view `{view}`: {detail}")]
    View {
        /// The op or function that refused.
        op: &'static str,
        /// The name of the binding.
        view: &'static str,
        /// Sizes, offsets and alignments; of textures, what they are.
        detail: String,
    },
    /// More than the device allows.
    #[error("{op}: {what} needs {needed}, but the limit is {limit}")]
    Limit {
        /// The op or function that refused.
        op: &'static str,
        /// What was asked for.
        what: String,
        /// How much was asked for.
        needed: u64,
        /// How much there may be.
        limit: u64,
    },
    /// A feature that the device does not have.
    #[error(
        "{op}: the device has no {feature}; request it when the device is made, or choose another variant"
    )]
    Feature {
        /// The op or function that refused.
        op: &'static str,
        /// The missing feature.
        feature: &'static str,
    },
    /// No adapter was found.
    #[error(
        "no GPU adapter found ({detail}). Install a Vulkan driver for your GPU, or a software one: on Debian or Ubuntu `apt install mesa-vulkan-drivers`"
    )]
    NoAdapter {
        /// What was looked for.
        detail: String,
    },
    /// The device refused, or was lost.
    #[error("device: {0}")]
    Device(String),
    /// A model that is malformed, or uses what is not supported.
    #[error("node `{node}` ({op}, opset {opset}): {detail}")]
    Node {
        /// The node's name, or its first output's where it has none.
        node: String,
        /// The operator.
        op: String,
        /// The model's operator set version, 0 where the model was built in code.
        opset: i64,
        /// What is wrong with it.
        detail: String,
    },
    /// A model that is malformed as a whole.
    #[error("model: {0}")]
    Model(String),
    /// Calibration gave no usable range for a value.
    #[error("calibration of `{value}`: {detail}")]
    Calibration {
        /// The value that was observed.
        value: String,
        /// What went wrong, with the numbers.
        detail: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// The reason.
        source: std::io::Error,
    },
    /// A file has another format than it should.
    #[error("{what}: {detail}")]
    Format {
        /// What was being read.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
