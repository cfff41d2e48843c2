// b as a Linear layer holds its weights: [batch, n, k], k innermost. A row of words for each column.
@group(0) @binding(2) var<storage, read> b: array<u32>;

fn b_word(base: u32, word: u32, column: u32) -> u32 {
    let w = b[base + min(column, p.n - 1u) * p.b_pitch + min(word, p.k_words - 1u)];
    return select(0u, w, column < p.n && word < p.k_words);
}
struct BCursor { base: u32, word: u32, column: u32 }
fn b_cursor(batch: u32, word: u32, column: u32) -> BCursor { return BCursor(b_of(batch), word, column); }
fn b_next(c: BCursor) -> BCursor { return BCursor(c.base, c.word + 1u, c.column); }
fn b_load(c: BCursor) -> BWord {
    return vec4<u32>(b_word(c.base, c.word, c.column), b_word(c.base, c.word, c.column + 1u),
        b_word(c.base, c.word, c.column + 2u), b_word(c.base, c.word, c.column + 3u));
}
