//! The kernels as operations: a descriptor, bindings, and a [`Call`] that is recorded into the caller's pass.
//!
//! `new` checks features, `bind` checks shapes and limits and makes everything, `record` cannot fail.

mod add;
mod attention;
mod binary;
mod broadcast;
mod cast;
mod catalogue;
mod conv;
mod conv_transpose;
mod function;
mod gather;
mod gemm;
mod gemm_i8;
mod gemm_weight_only;
mod minmax;
mod norm;
mod pack;
mod permute;
mod pool;
mod quant_params;
mod quantize;
mod quantize_rows;
mod reduce;
mod resize;
pub(crate) mod roofline;
mod rows;
mod select;
mod softmax;
mod strided;
mod tensor_to_texture;
mod texture_to_tensor;
mod tile;
mod unary;

pub use crate::kernel::{
    Blocking, Call, Choice, Chosen, Kernels, Layout, Measured, Operand, Origin, Patch, Problem, Shader,
    has_matrix_units,
};
pub use add::{Add, AddBindings, AddDescriptor, AddParams};
pub use attention::{Attention, AttentionBindings, AttentionDescriptor, AttentionParams};
pub use binary::{Binary, BinaryBindings, BinaryDescriptor};
pub use broadcast::BroadcastParams;
pub use cast::{Cast, CastBindings, CastDescriptor};
pub use catalogue::catalogue;
pub use conv::{Conv, ConvBindings, ConvDescriptor, ConvOperands};
pub use conv_transpose::{
    ConvTranspose, ConvTransposeBindings, ConvTransposeDescriptor, ConvTransposeParams,
};
pub use gather::{Gather, GatherBindings, GatherDescriptor, GatherParams};
pub use gemm::{Gemm, GemmBindings, GemmDescriptor, HeadColumns, Heads};
pub use gemm_i8::{EpilogueBindings, GemmI8, GemmI8Bindings, GemmI8Descriptor};
pub use gemm_weight_only::{
    GemmWeightOnly, GemmWeightOnlyBindings, GemmWeightOnlyDescriptor, PackedWeightOnly,
};
pub use minmax::{Channels, MinMax, MinMaxBindings, MinMaxDescriptor, MinMaxParams, RangeState, Update};
pub use norm::{Norm, NormBindings, NormDescriptor, NormInt8, NormParams};
pub use pack::Packed;
pub use permute::{Permute, PermuteBindings, PermuteDescriptor, PermuteParams, ReshapeBindings};
pub use pool::{Pool, PoolBindings, PoolDescriptor, PoolParams};
pub use quant_params::{ScaleZeroPoint, ScaleZeroPointBindings, ScaleZeroPointParams, SchemeParams};
pub use quantize::{Dequantize, Quantize, QuantizeBindings, QuantizeDescriptor};
pub use quantize_rows::{QuantizeRows, QuantizeRowsBindings, QuantizeRowsDescriptor, QuantizeRowsParams};
pub use reduce::{
    Fold, Reduce, ReduceBindings, ReduceDescriptor, ReduceParams, Scan, ScanDescriptor, ScanParams,
};
pub use resize::{Resize, ResizeBindings, ResizeDescriptor, ResizeParams, ResizeTap};
pub use roofline::RooflineParams;
pub use rows::{ElementwiseParams, Team};
pub use select::{Select, SelectBindings, SelectDescriptor};
pub use softmax::{Mask, Softmax, SoftmaxBindings, SoftmaxDescriptor, SoftmaxParams};
pub use strided::{Axis, Outside, Strided, StridedAxis, StridedBindings, StridedDescriptor, StridedParams};
pub use tensor_to_texture::{TensorToTexture, TensorToTextureBindings};
pub use texture_to_tensor::{TextureParams, TextureToTensor, TextureToTensorBindings};
pub use tile::Params;
pub use unary::{Unary, UnaryBindings, UnaryDescriptor};

/// The text of every variant of the kernels but the gemm family's: what a device may be asked to compile. For checks
/// that need no GPU.
pub fn shaders() -> Vec<Shader> {
    [
        add::shaders(),
        attention::shaders(),
        binary::shaders(),
        cast::shaders(),
        conv_transpose::shaders(),
        gather::shaders(),
        minmax::shaders(),
        norm::shaders(),
        permute::shaders(),
        pool::shaders(),
        quant_params::shaders(),
        quantize::shaders(),
        quantize_rows::shaders(),
        reduce::shaders(),
        roofline::shaders(),
        softmax::shaders(),
        select::shaders(),
        resize::shaders(),
        strided::shaders(),
        tensor_to_texture::shaders(),
        texture_to_tensor::shaders(),
        unary::shaders(),
    ]
    .concat()
}
