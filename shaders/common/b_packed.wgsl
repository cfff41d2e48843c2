// b packed for the lanes: [batch, panel, k words padded to 4, PANEL columns] of words, each the next k of one column. The
// last panel has what is left of the columns padded to 4. A tile walks along k through memory without gaps: rows of all
// columns would put each step of a large matrix on a page of its own.
//% if !B_I8
fn b_place(batch: u32, word: u32, column: u32) -> u32 {
    let first = column / PANEL * PANEL;
    return batch * p.b_batch + first * ((p.k_words + 3u) & ~3u) + word * min(PANEL, p.b_pitch - first) + column - first;
}
//% end
//% if A_F16
@group(0) @binding(2) var<storage, read> b: array<vec4<f16>>;
fn b_load(batch: u32, word: u32, column: u32) -> BWord {
    let i = b_place(batch, word, column) / 2u;
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
    return split_words(b[b_place(batch, word, column) / 4u]);
}
//% end
//% if !WIDE
@group(0) @binding(2) var<storage, read> b: array<vec4<u32>>;
fn b_load(batch: u32, word: u32, column: u32) -> BWord {
    return b[b_place(batch, word, column) / 4u];
}
//% end
//% end
//% end
