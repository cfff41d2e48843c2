// b packed for the lanes: [batch, k words padded to 4, columns padded to 4] of words, each the next k of one column.
//% if A_F16
@group(0) @binding(2) var<storage, read> b: array<vec4<f16>>;
fn b_load(batch: u32, word: u32, column: u32) -> BWord {
    let i = (batch * p.b_batch + word * p.b_pitch + column) / 2u;
    let x = vec4<f32>(b[i]);
    let y = vec4<f32>(b[i + 1u]);
    return BWord(vec4<f32>(x.xz, y.xz), vec4<f32>(x.yw, y.yw));
}
//% end
//% if !A_F16
//% if B_I8
// Int8 beside floats: BWord is four columns of the k in one word of a.
@group(0) @binding(2) var<storage, read> b: array<BWord>;
fn b_load(batch: u32, word: u32, column: u32) -> BWord {
    return b[(batch * p.b_batch + word * p.b_pitch) / PER_WORD + column / 4u];
}
//% end
//% if !B_I8
//% if WIDE
@group(0) @binding(2) var<storage, read> b: array<vec2<u64>>;
fn b_load(batch: u32, word: u32, column: u32) -> BWord {
    return split_words(b[(batch * p.b_batch + word * p.b_pitch + column) / 4u]);
}
//% end
//% if !WIDE
@group(0) @binding(2) var<storage, read> b: array<vec4<u32>>;
fn b_load(batch: u32, word: u32, column: u32) -> BWord {
    return b[(batch * p.b_batch + word * p.b_pitch + column) / 4u];
}
//% end
//% end
//% end
