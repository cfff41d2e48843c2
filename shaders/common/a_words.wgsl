// How a row of `a` is read: by 16-byte chunks where rows are made of them (A_VEC), else by words with a check.
//% if A_F16
@group(0) @binding(1) var<storage, read> a: array<vec4<f16>>;
alias AChunk = mat4x2<f32>;
fn a_chunk(word: u32) -> AChunk {
    let x = vec4<f32>(a[word / 2u]);
    let y = vec4<f32>(a[word / 2u + 1u]);
    return AChunk(x.xy, x.zw, y.xy, y.zw);
}
//% end
//% if !A_F16
alias AChunk = vec4<u32>;
//% if A_VEC
@group(0) @binding(1) var<storage, read> a: array<vec4<u32>>;
fn a_chunk(word: u32) -> AChunk { return a[word / 4u]; }
//% end
//% if !A_VEC
@group(0) @binding(1) var<storage, read> a: array<u32>;
//% end
//% end
