// Sixteen int8 neighbours of a row, four to a word; past the row's end nothing is stored.
//% if OUT_VEC
//% if WIDE
@group(0) @binding(3) var<storage, read_write> out: array<vec2<u64>>;
fn store_words(row: u32, unit: u32, words: vec4<u32>) {
    out[(row * p.out_pitch) / 4u + unit] = join_words(words);
}
//% end
//% if !WIDE
@group(0) @binding(3) var<storage, read_write> out: array<vec4<u32>>;
fn store_words(row: u32, unit: u32, words: vec4<u32>) { out[(row * p.out_pitch) / 4u + unit] = words; }
//% end
//% end
//% if !OUT_VEC
@group(0) @binding(3) var<storage, read_write> out: array<u32>;
fn store_words(row: u32, unit: u32, words: vec4<u32>) {
    let at = row * p.out_pitch + unit * 4u;
    out[at] = words.x;
//% if !NARROW
    let column = unit * 16u;
    if column + 4u < p.columns { out[at + 1u] = words.y; }
    if column + 8u < p.columns { out[at + 2u] = words.z; }
    if column + 12u < p.columns { out[at + 3u] = words.w; }
//% end
}
//% end
