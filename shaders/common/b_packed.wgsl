// b packed for the lanes: [batch, panel, k words padded to 4, PANEL columns] of words, each the next k of one column. The
// last panel has what is left of the columns padded to 4. A tile walks along k through memory without gaps: rows of all
// columns would put each step of a large matrix on a page of its own.
// Where the next words of four columns (PAIRED: of eight) are, and how far it is from one to the next, in such vectors.
struct BCursor { at: u32, step: u32 }
//% if !B_I8
fn b_cursor(batch: u32, word: u32, column: u32) -> BCursor {
    let first = column / PANEL * PANEL;
    let step = min(PANEL, p.b_pitch - first);
    let at = batch * p.b_batch + first * ((p.k_words + 3u) & ~3u) + word * step + column - first;
//% if PAIRED
    return BCursor(at / 8u, step / 8u);
//% end
//% if !PAIRED
    return BCursor(at / 4u, step / 4u);
//% end
}
//% end
fn b_next(c: BCursor) -> BCursor { return BCursor(c.at + c.step, c.step); }
//% if A_F16
@group(0) @binding(2) var<storage, read> b: array<vec4<f16>>;
fn b_load(c: BCursor) -> BWord {
    let x = vec4<f32>(b[c.at * 2u]);
    let y = vec4<f32>(b[c.at * 2u + 1u]);
    return BWord(vec4<f32>(x.xz, y.xz), vec4<f32>(x.yw, y.yw));
}
//% end
//% if !A_F16
//% if B_I8
// Int8 beside floats: BWord is four columns of the k in one word of a. Rows of all columns, which are short.
@group(0) @binding(2) var<storage, read> b: array<BWord>;
fn b_cursor(batch: u32, word: u32, column: u32) -> BCursor {
    let step = p.b_pitch / PER_WORD;
    return BCursor(batch * p.b_batch / PER_WORD + word * step + column / 4u, step);
}
fn b_load(c: BCursor) -> BWord { return b[c.at]; }
//% end
//% if !B_I8
//% if PAIRED
// Of eight columns.
@group(0) @binding(2) var<storage, read> b: array<vec4<u64>>;
struct BPair { x: BWord, y: BWord }
fn b_load2(c: BCursor) -> BPair {
    let w = b[c.at];
    return BPair(split_words(w.xy), split_words(w.zw));
}
//% end
//% if !PAIRED
//% if WIDE
@group(0) @binding(2) var<storage, read> b: array<vec2<u64>>;
fn b_load(c: BCursor) -> BWord { return split_words(b[c.at]); }
//% end
//% if !WIDE
@group(0) @binding(2) var<storage, read> b: array<vec4<u32>>;
fn b_load(c: BCursor) -> BWord { return b[c.at]; }
//% end
//% end
//% end
//% end
