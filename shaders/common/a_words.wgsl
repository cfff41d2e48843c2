// How a row of `a` is read: by chunks of STEP words where rows are made of 16 bytes (A_VEC), else by words with a check.
// On a CPU adapter 64-bit loads (WIDE) halve the number of loads, each of which is of one lane and component.
//% if A_F16
@group(0) @binding(1) var<storage, read> a: array<vec4<f16>>;
alias AChunk = mat4x2<f32>;
fn a_chunk(word: u32) -> AChunk {
    let x = vec4<f32>(a[word / 2u]);
    let y = vec4<f32>(a[word / 2u + 1u]);
    return AChunk(x.xy, x.zw, y.xy, y.zw);
}
//% end
//% if A_CHUNKS_2
alias AChunk = vec2<u32>;
//% if WIDE
@group(0) @binding(1) var<storage, read> a: array<u64>;
fn a_chunk(word: u32) -> AChunk { return split_words(vec2<u64>(a[word / 2u])).xy; }
//% end
//% if !WIDE
@group(0) @binding(1) var<storage, read> a: array<vec2<u32>>;
fn a_chunk(word: u32) -> AChunk { return a[word / 2u]; }
//% end
//% end
//% if A_CHUNKS_4
alias AChunk = vec4<u32>;
//% if WIDE
@group(0) @binding(1) var<storage, read> a: array<vec2<u64>>;
fn a_chunk(word: u32) -> AChunk { return split_words(a[word / 4u]); }
//% end
//% if !WIDE
@group(0) @binding(1) var<storage, read> a: array<vec4<u32>>;
fn a_chunk(word: u32) -> AChunk { return a[word / 4u]; }
//% end
//% end
//% if A_ONE
alias AChunk = array<u32, 1>;
@group(0) @binding(1) var<storage, read> a: array<u32>;
//% end
//% if A_WORDS
alias AChunk = vec4<u32>;
@group(0) @binding(1) var<storage, read> a: array<u32>;
//% end
