// b as a Linear layer holds its weights: [batch, n, k], k innermost. A row of words for each column.
@group(0) @binding(2) var<storage, read> b: array<u32>;

fn b_word(base: u32, word: u32, column: u32) -> u32 {
    let w = b[base + min(column, p.n - 1u) * p.b_pitch + min(word, p.k_words - 1u)];
    return select(0u, w, column < p.n && word < p.k_words);
}
fn b_load(batch: u32, word: u32, column: u32) -> BWord {
    let base = b_of(batch);
    return vec4<u32>(b_word(base, word, column), b_word(base, word, column + 1u),
        b_word(base, word, column + 2u), b_word(base, word, column + 3u));
}
