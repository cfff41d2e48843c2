//! Without a GPU: every variant of the kernels outside of the gemm family is valid WGSL within WebGPU's limits, and the
//! uniforms' Rust twins lie as WGSL has them.

use naga::valid::{Capabilities, ValidationFlags, Validator};
use std::mem::{offset_of, size_of};
use weighbridge::ops::{
    AddParams, ElementwiseParams, MinMaxParams, PermuteParams, PoolParams, QuantizeRowsParams,
    ScaleZeroPointParams, SchemeParams, shaders,
};

/// Offsets of the members of `Params` that are given by name, and its size.
macro_rules! twin {
    ($twin:ty: $($name:ident)*) => {
        (vec![$((stringify!($name), offset_of!($twin, $name) as u32)),*], size_of::<$twin>() as u32)
    };
}

#[test]
fn all_variants_are_valid_and_their_twins_agree() {
    let twins = [
        (
            "add",
            twin!(AddParams: total quads columns out_pitch a_column b_column lo hi length a_apart b_apart),
        ),
        (
            "minmax",
            twin!(MinMaxParams: channels parts groups units columns x_pitch run_rows rows lanes blocks mode constant),
        ),
        (
            "minmax_fold",
            twin!(MinMaxParams: channels parts groups units columns x_pitch run_rows rows lanes blocks mode constant),
        ),
        (
            "permute",
            twin!(PermuteParams: words row_words columns out_pitch x_columns x_pitch length words_apart elements_apart),
        ),
        (
            "reshape",
            twin!(PermuteParams: words row_words columns out_pitch x_columns x_pitch length words_apart elements_apart),
        ),
        (
            "pool",
            twin!(PoolParams: total quads channels taps kernel_x x_pitch out_pitch height width out_height out_width
            stride_y stride_x pad_y pad_x dilation_y dilation_x padded_height padded_width lowest),
        ),
        ("quant_params", twin!(ScaleZeroPointParams: scheme count)),
        ("quantize", twin!(ElementwiseParams: rows columns units total x_pitch out_pitch lo hi)),
        ("dequantize", twin!(ElementwiseParams: rows columns units total x_pitch out_pitch lo hi)),
        ("quantize_rows", twin!(QuantizeRowsParams: scheme rows columns units lanes x_pitch out_pitch)),
        ("unary", twin!(ElementwiseParams: rows columns units total x_pitch out_pitch lo hi)),
    ];
    let all = shaders();
    for (name, _) in &twins {
        assert!(all.iter().any(|s| s.label.starts_with(&format!("{name}/"))), "no variant of {name}");
    }
    for shader in &all {
        let label = &shader.label;
        let module = naga::front::wgsl::parse_str(&shader.source)
            .unwrap_or_else(|e| panic!("{label}: {}", e.emit_to_string(&shader.source)));
        // What `unpack2x16float` is counted as; WGSL has it without an extension.
        if let Err(e) =
            Validator::new(ValidationFlags::all(), Capabilities::SHADER_FLOAT16_IN_FLOAT32).validate(&module)
        {
            panic!("{label}: {}", e.emit_to_string(&shader.source));
        }
        assert_eq!(module.entry_points[0].workgroup_size, [64, 1, 1], "{label}");
        let storage = module
            .global_variables
            .iter()
            .filter(|(_, v)| matches!(v.space, naga::AddressSpace::Storage { .. }));
        assert!(storage.count() <= 8, "{label}: more storage buffers than WebGPU promises");
        let (_, (twin, size)) = twins
            .iter()
            .find(|(name, _)| label.split('/').next() == Some(name))
            .unwrap_or_else(|| panic!("{label}: no twin"));
        let members = |name: &str| {
            let found = module.types.iter().find(|(_, t)| t.name.as_deref() == Some(name));
            match found.map(|(_, t)| &t.inner) {
                Some(naga::TypeInner::Struct { members, span }) => (members.clone(), *span),
                _ => panic!("{label}: no struct {name}"),
            }
        };
        let (found, span) = members("Params");
        let found: Vec<_> = found.iter().map(|m| (m.name.as_deref().unwrap_or_default(), m.offset)).collect();
        assert_eq!(&found, twin, "{label}");
        assert!(span <= *size, "{label}: {span} bytes in WGSL, {size} in Rust");
        if shader.source.contains("struct Scheme ") {
            let (found, _) = members("Scheme");
            let found: Vec<_> =
                found.iter().map(|m| (m.name.as_deref().unwrap_or_default(), m.offset)).collect();
            assert_eq!(found, twin!(SchemeParams: qmin qmax symmetric_zero eps).0, "{label}");
        }
    }
}
