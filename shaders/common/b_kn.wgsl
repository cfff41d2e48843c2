// b as mathematics writes it: [batch, k, n], n innermost. PER_WORD rows of k are transposed into words of k.
@group(0) @binding(2) var<storage, read> b: array<u32>;

// Four columns of one k, in as many words as they take.
fn b_at(base: u32, k: u32, word: u32) -> u32 {
    let columns = (p.n + PER_WORD - 1u) / PER_WORD;
    let w = b[base + min(k, p.k - 1u) * p.b_pitch + min(word, columns - 1u)];
    return select(0u, w, k < p.k && word < columns);
}
struct BCursor { base: u32, word: u32, column: u32 }
fn b_cursor(batch: u32, word: u32, column: u32) -> BCursor { return BCursor(b_of(batch), word, column); }
fn b_next(c: BCursor) -> BCursor { return BCursor(c.base, c.word + 1u, c.column); }
fn b_load(at: BCursor) -> BWord {
    let base = at.base;
    let k = at.word * PER_WORD;
    let c = at.column / PER_WORD;
//% if KN_32
    return vec4<u32>(b_at(base, k, c), b_at(base, k, c + 1u), b_at(base, k, c + 2u), b_at(base, k, c + 3u));
//% end
//% if KN_16
    let x = vec2<u32>(b_at(base, k, c), b_at(base, k, c + 1u));
    let y = vec2<u32>(b_at(base, k + 1u, c), b_at(base, k + 1u, c + 1u));
    let lo = (x & vec2<u32>(0xffffu)) | (y << vec2<u32>(16u));
    let hi = (x >> vec2<u32>(16u)) | (y & vec2<u32>(0xffff0000u));
    return vec4<u32>(lo.x, hi.x, lo.y, hi.y);
//% end
//% if KN_8
    let r = vec4<u32>(b_at(base, k, c), b_at(base, k + 1u, c), b_at(base, k + 2u, c), b_at(base, k + 3u, c));
    var columns: vec4<u32>;
//% for j in 4
    { let s = (r >> vec4<u32>(8u * #ju)) & vec4<u32>(255u); columns[#j] = s.x | (s.y << 8u) | (s.z << 16u) | (s.w << 24u); }
//% end
    return columns;
//% end
}
