//! Every kernel in every variant, without a GPU: it parses, validates, is written for every backend, stays within what
//! WebGPU promises, and its uniform is what Rust uploads.
//!
//! Where `WEIGHBRIDGE_SHADERS_OUT` names a folder, all texts are left there for other tools, as `scripts/check-shaders`
//! does: see [`leave`].

use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, StorageAccess, TypeInner};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem::{offset_of, size_of};
use std::path::{Path, PathBuf};
use weighbridge::ops::{self, Shader};
use weighbridge::quant::QuantParams;

/// What WebGPU promises on every device.
const INVOCATIONS: u32 = 256;
const WORKGROUP_BYTES: u32 = 16 * 1024;
const STORAGE_BUFFERS: usize = 8;

fn uses_subgroups(shader: &Shader) -> bool {
    shader.source.contains("subgroupBroadcast(") || uses_matrix_units(shader)
}

fn uses_f16(shader: &Shader) -> bool {
    shader.source.starts_with("enable f16;")
}

fn uses_matrix_units(shader: &Shader) -> bool {
    shader.source.contains("enable wgpu_cooperative_matrix;")
}

fn uses_64_bits(shader: &Shader) -> bool {
    shader.source.contains("u64>")
}

fn parse(shader: &Shader) -> Result<(Module, ModuleInfo), String> {
    let module =
        naga::front::wgsl::parse_str(&shader.source).map_err(|e| e.emit_to_string(&shader.source))?;
    // unpack2x16float, which all of WebGPU has.
    let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    capabilities.set(Capabilities::SUBGROUP, uses_subgroups(shader));
    capabilities.set(Capabilities::SHADER_FLOAT16, uses_f16(shader));
    capabilities.set(Capabilities::COOPERATIVE_MATRIX, uses_matrix_units(shader));
    capabilities.set(Capabilities::SHADER_INT64, uses_64_bits(shader));
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .map_err(|e| e.emit_to_string(&shader.source))?;
    Ok((module, info))
}

/// The sizes that every device has room for.
fn fits(module: &Module) -> Result<(), String> {
    let [entry] = &module.entry_points[..] else {
        return Err(format!("{} entry points", module.entry_points.len()));
    };
    let invocations: u32 = entry.workgroup_size.iter().product();
    if invocations > INVOCATIONS {
        return Err(format!("workgroups of {invocations}"));
    }
    let layout = module.to_ctx();
    let (mut workgroup, mut storage, mut group) = (0, 0, Vec::new());
    for (_, variable) in module.global_variables.iter() {
        match variable.space {
            AddressSpace::WorkGroup => workgroup += layout.types[variable.ty].inner.size(layout),
            AddressSpace::Storage { access } => {
                storage += 1;
                if access.contains(StorageAccess::ATOMIC) {
                    return Err("atomics: nothing here should depend on an order".into());
                }
            }
            _ => {}
        }
        group.extend(variable.binding.iter().map(|b| b.binding));
        if variable.binding.as_ref().is_some_and(|b| b.group != 0) {
            return Err("a binding outside of group 0".into());
        }
    }
    group.sort_unstable();
    if group.windows(2).any(|pair| pair[0] == pair[1]) || group.first() != Some(&0) {
        return Err(format!("bindings {group:?}"));
    }
    if workgroup > WORKGROUP_BYTES || storage > STORAGE_BUFFERS {
        return Err(format!("{workgroup} bytes of workgroup memory, {storage} storage buffers"));
    }
    Ok(())
}

/// One shader as each backend wants it.
struct Translated {
    spirv: Vec<u32>,
    msl: String,
    /// naga has no matrix units for HLSL, nor wgpu for DX12.
    hlsl: Option<String>,
}

fn translate(shader: &Shader, module: &Module, info: &ModuleInfo) -> Result<Translated, String> {
    let options = spv::Options { lang_version: (1, 3), ..Default::default() };
    let spirv = spv::write_vec(module, info, &options, None).map_err(|e| format!("SPIR-V: {e}"))?;

    let lang_version = if uses_subgroups(shader) || uses_64_bits(shader) { (2, 4) } else { (2, 1) };
    let options = msl::Options { lang_version, fake_missing_bindings: true, ..Default::default() };
    let (msl, names) = msl::write_string(module, info, &options, &msl::PipelineOptions::default())
        .map_err(|e| format!("MSL: {e}"))?;
    names
        .entry_point_names
        .iter()
        .try_for_each(|name| name.as_ref().map(drop))
        .map_err(|e| format!("MSL: {e}"))?;
    assert!(!msl.is_empty());

    if uses_matrix_units(shader) {
        return Ok(Translated { spirv, msl, hlsl: None });
    }
    // f16 came with 6.2.
    let shader_model = if uses_f16(shader) { hlsl::ShaderModel::V6_2 } else { hlsl::ShaderModel::V6_0 };
    let options = hlsl::Options {
        shader_model,
        fake_missing_bindings: true,
        // Where the number of workgroups comes from.
        special_constants_binding: Some(hlsl::BindTarget { space: 1, ..Default::default() }),
        ..Default::default()
    };
    let (mut text, pipeline) = (String::new(), hlsl::PipelineOptions::default());
    let names = hlsl::Writer::new(&mut text, &options, &pipeline)
        .write(module, info, None)
        .map_err(|e| format!("HLSL: {e}"))?;
    names
        .entry_point_names
        .iter()
        .try_for_each(|name| name.as_ref().map(drop))
        .map_err(|e| format!("HLSL: {e}"))?;
    assert!(!text.is_empty());
    Ok(Translated { spirv, msl, hlsl: Some(text) })
}

/// What a device must have beyond all of WebGPU, as a name for a folder: WebGPU's names of features, and naga's alone
/// behind `native-`.
fn needs(shader: &Shader) -> String {
    let features = [
        ("shader-f16", uses_f16(shader)),
        ("subgroups", uses_subgroups(shader)),
        ("bgra8unorm-storage", shader.source.contains("texture_storage_2d<bgra8unorm")),
        ("native-int64", uses_64_bits(shader)),
        ("native-cpu", shader.source.contains("    p = given;\n")),
        ("native-cooperative-matrix", uses_matrix_units(shader)),
    ];
    let needed: Vec<_> = features.iter().filter(|(_, needed)| *needed).map(|(name, _)| *name).collect();
    if needed.is_empty() { "core".into() } else { needed.join("+") }
}

/// Writes `FOLDER/NEEDS/OP/VARIANT.{wgsl,spv,metal,hlsl}`.
fn leave(shader: &Shader, translated: &Translated, file: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(file.parent().expect("in a folder"))?;
    let with = |extension: &str| PathBuf::from(format!("{}.{extension}", file.display()));
    std::fs::write(with("wgsl"), &shader.source)?;
    std::fs::write(with("spv"), bytemuck::cast_slice(&translated.spirv))?;
    std::fs::write(with("metal"), &translated.msl)?;
    translated.hlsl.as_ref().map_or(Ok(()), |text| std::fs::write(with("hlsl"), text))
}

fn check(shader: &Shader, file: Option<&Path>) -> Result<(), String> {
    let (module, info) = parse(shader)?;
    fits(&module)?;
    let translated = translate(shader, &module, &info)?;
    file.map_or(Ok(()), |file| leave(shader, &translated, file))
        .map_err(|e| format!("left in {}: {e}", file.unwrap_or(Path::new("")).display()))
}

/// Where each shader's texts are to be left, if anywhere: no two in the same place.
fn places(shaders: &[Shader]) -> Vec<Option<PathBuf>> {
    let Some(folder) = std::env::var_os("WEIGHBRIDGE_SHADERS_OUT") else {
        return vec![None; shaders.len()];
    };
    let mut taken = HashSet::new();
    let mut place = |shader: &Shader| {
        let label = shader.label.replace(|c: char| !c.is_ascii_alphanumeric() && !"/-_.".contains(c), "_");
        let named = Path::new(&folder).join(needs(shader)).join(label);
        let mut further = (2..).map(|i| PathBuf::from(format!("{}-{i}", named.display())));
        let mut place = named.clone();
        while !taken.insert(place.clone()) {
            place = further.next().expect("there is no end");
        }
        place
    };
    shaders.iter().map(|shader| Some(place(shader))).collect()
}

/// The catalogue without repetitions of a text, and as CPU adapters have it.
fn distinct() -> Vec<Shader> {
    let mut seen = HashMap::new();
    for shader in ops::catalogue() {
        let copied = shader.for_cpu_adapters();
        let uniform = |s: &Shader| s.source.matches("var<uniform> p: Params;").count();
        // What measures the device is left as it is.
        let left = usize::from(shader.label.starts_with("roofline/"));
        assert_eq!((uniform(&shader), uniform(&copied)), (1, left), "{}", shader.label);
        assert_eq!(copied.source.matches("{\n    p = given;\n").count(), 1 - left, "{}", shader.label);
        seen.entry(copied.source).or_insert(format!("{} for CPU adapters", copied.label));
        seen.entry(shader.source).or_insert(shader.label);
    }
    let mut all: Vec<_> = seen.into_iter().map(|(source, label)| Shader { label, source }).collect();
    all.sort_by(|a, b| (&a.label, &a.source).cmp(&(&b.label, &b.source)));
    all
}

#[test]
fn every_variant_validates_and_translates() {
    let all = distinct();
    let places = places(&all);
    let wrong: Vec<String> = std::thread::scope(|scope| {
        // Every other one to each thread: neighbours are equally long.
        let workers: Vec<_> = (0..2)
            .map(|parity| {
                let mine = all.iter().zip(&places).skip(parity).step_by(2);
                scope.spawn(move || {
                    mine.filter_map(|(s, file)| {
                        check(s, file.as_deref()).err().map(|e| format!("{}: {e}", s.label))
                    })
                    .collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|w| w.join().expect("a check panicked")).collect()
    });
    println!("{} distinct shaders", all.len());
    assert!(all.len() > 400, "only {} shaders", all.len());
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        all.len(),
        wrong[..wrong.len().min(5)].join("\n")
    );
}

#[test]
fn every_op_is_in_the_catalogue() {
    let mut ops: Vec<_> =
        ops::catalogue().iter().map(|s| s.label.split_once('/').expect("op/variant").0.to_owned()).collect();
    ops.sort();
    ops.dedup();
    for op in [
        "add",
        "binary",
        "cast",
        "conv",
        "conv_transpose",
        "dequantize",
        "gather",
        "gemm",
        "gemm_i8",
        "minmax",
        "permute",
        "pool",
        "quant_params",
        "quantize",
        "quantize_rows",
        "select",
        "resize",
        "strided",
        "tensor_to_texture",
        "texture_to_tensor",
        "unary",
    ] {
        assert!(ops.iter().any(|o| o == op), "{op} is not among {ops:?}");
    }
}

/// A struct's members as Rust lays them out: name and offset, then the size.
type Twin = (&'static [(&'static str, usize)], usize);

macro_rules! twin {
    ($name:ty: $($field:ident),* $(,)?) => {{
        const MEMBERS: &[(&str, usize)] = &[$((stringify!($field), offset_of!($name, $field))),*];
        (MEMBERS, size_of::<$name>())
    }};
}

/// The Rust side of each op's uniform; `padding` is Rust's alone.
fn twins() -> BTreeMap<&'static str, Twin> {
    let gemm = twin!(ops::Params: m, n, k, k_words, chunks, a_pitch, b_pitch, out_pitch, a_batch, b_batch, out_batch,
        column_batch, row_batch, tiles_m, tiles_n, tiles, lo, hi, height, width, out_height, out_width, stride_y,
        stride_x, pad_y, pad_x, dilation_y, dilation_x, kernel_x, tap_words, last_mask, groups, group_chunks, heads,
        a_head, b_head, out_head, a_first, b_first, out_first, parts, part_chunks, lowest);
    let elementwise = twin!(ops::ElementwiseParams: rows, columns, units, total, x_pitch, out_pitch, lo, hi);
    let minmax = twin!(ops::MinMaxParams: channels, parts, groups, units, columns, x_pitch, run_rows, rows, lanes,
        blocks, mode, constant);
    let permute = twin!(ops::PermuteParams: words, row_words, columns, out_pitch, x_columns, x_pitch, length,
        words_apart, elements_apart);
    let pool = twin!(ops::PoolParams: total, units, channels, taps, kernel_x, x_pitch, out_pitch, height, width,
        out_height, out_width, stride_y, stride_x, pad_y, pad_x, dilation_y, dilation_x, padded_height, padded_width,
        lowest);
    let scale_zero_point = twin!(ops::ScaleZeroPointParams: scheme, count);
    let quantize_rows =
        twin!(ops::QuantizeRowsParams: scheme, rows, columns, units, lanes, x_pitch, out_pitch);
    let add = twin!(ops::AddParams: total, quads, columns, out_pitch, a_column, b_column, lo, hi, length, a_apart,
        b_apart);
    let softmax = twin!(ops::SoftmaxParams: rows, columns, units, lanes, x_pitch, out_pitch, scale, logarithm, nan,
        length_1, length_2, mask_0, mask_1, mask_2, mask_column);
    let attention = twin!(ops::AttentionParams: m, n, heads, tiles, total, q_pitch, k_pitch, v_pitch, out_pitch, q_first,
        k_first, v_first, out_first, mask_pitch, scale, nan);
    let norm = twin!(ops::NormParams: rows, columns, units, lanes, x_pitch, out_pitch, rms, epsilon, inverse, groups,
        channels, inner, scale_step, bias_step, addend_pitch, sum_pitch, int8_pitch, qmin, qmax, symmetric_zero, eps);
    let roofline = twin!(ops::RooflineParams: count);
    let reduce = twin!(ops::ReduceParams: outputs, n, inner, lanes, flip, latest);
    let scan = twin!(ops::ScanParams: outputs, n, inner, exclusive, backwards);
    let broadcast = twin!(ops::BroadcastParams: total, quads, columns, out_pitch, step, length, a_apart, b_apart,
        c_apart);
    let strided = twin!(ops::StridedParams: total, row_units, x_first, x_column, out_first, out_column, out_end, fill,
        axes);
    let gather = twin!(ops::GatherParams: total, row_units, columns, n, m, inner, x_columns, x_pitch, out_pitch,
        per_index);
    let resize =
        twin!(ops::ResizeParams: total, inner, height, width, out_height, out_width, x_pitch, out_pitch);
    let conv_transpose = twin!(ops::ConvTransposeParams: total, quads, outputs, per_in, per_out, x_pitch, b_pitch,
        out_pitch, height, width, out_height, out_width, taps, kernel_x, stride_y, stride_x, pad_y, pad_x, dilation_y,
        dilation_x);
    let texture = twin!(ops::TextureParams: mean, scale, total, height, width, texture_height, texture_width, row_apart,
        column_apart, channel_apart);
    BTreeMap::from([
        ("attention", attention),
        ("texture_to_tensor", texture),
        ("tensor_to_texture", texture),
        ("strided", strided),
        ("gather", gather),
        ("resize", resize),
        ("conv_transpose", conv_transpose),
        ("add", add),
        ("softmax", softmax),
        ("norm", norm),
        ("reduce", reduce),
        ("scan", scan),
        ("binary", broadcast),
        ("select", broadcast),
        ("cast", elementwise),
        ("unary", elementwise),
        ("quant_params", scale_zero_point),
        ("quantize_rows", quantize_rows),
        ("gemm", gemm),
        ("gemm_i8", gemm),
        ("gemm weight-only", gemm),
        ("conv", gemm),
        ("quantize", elementwise),
        ("dequantize", elementwise),
        ("minmax", minmax),
        ("minmax_fold", minmax),
        ("roofline", roofline),
        ("permute", permute),
        ("reshape", permute),
        ("pool", pool),
    ])
}

/// A struct's members as WGSL lays them out.
fn members(module: &Module, ty: naga::Handle<naga::Type>) -> (Vec<(&str, usize)>, usize) {
    let TypeInner::Struct { members, span } = &module.types[ty].inner else { panic!("not a struct") };
    (members.iter().map(|m| (m.name.as_deref().unwrap_or("?"), m.offset as usize)).collect(), *span as usize)
}

#[test]
fn uniforms_are_what_rust_uploads() {
    let twins = twins();
    let nested = BTreeMap::from([
        ("QuantParams", twin!(QuantParams: scale, inv_scale, zero_point, limits)),
        ("Axis", twin!(ops::StridedAxis: length, start, step, outside, n, x_apart, out_apart, spare)),
        ("Tap", twin!(ops::ResizeTap: low, high, a, b)),
        ("Scheme", twin!(ops::SchemeParams: qmin, qmax, symmetric_zero, eps)),
    ]);
    let mut by_text = HashMap::new();
    for shader in distinct() {
        // Once for each text of the structs' definitions.
        let op = shader.label.split('/').next().unwrap_or_default().to_owned();
        let definition = shader.source.split("struct ").skip(1);
        let key: String = definition.map(|s| s.split('}').next().unwrap_or_default()).collect();
        by_text.entry((op, key)).or_insert(shader);
    }
    for ((op, _), shader) in by_text {
        let (module, _) = parse(&shader).unwrap_or_else(|e| panic!("{}: {e}", shader.label));
        for (handle, ty) in module.types.iter() {
            if let Some(twin) = ty.name.as_deref().and_then(|name| nested.get(name)) {
                assert_eq!(members(&module, handle), (twin.0.to_vec(), twin.1), "{}", shader.label);
            }
        }
        let uniform = module.global_variables.iter().find(|(_, v)| v.space == AddressSpace::Uniform);
        let (_, uniform) = uniform.unwrap_or_else(|| panic!("{} has no uniform", shader.label));
        let twin = twins.get(op.as_str()).unwrap_or_else(|| panic!("{op}: its uniform is not checked"));
        let (found, span) = members(&module, uniform.ty);
        assert_eq!(found, twin.0, "{}", shader.label);
        // A uniform is made of whole vectors; whoever adds the padding.
        assert_eq!(span.next_multiple_of(16), twin.1.next_multiple_of(16), "{}", shader.label);
    }
}
