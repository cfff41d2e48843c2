// Four columns of a float result. Columns past n are stored as zeros where they share a word with real ones.
fn store(batch: u32, row: u32, column: u32, y: vec4<f32>) {
    let base = out_of(batch) + row * p.out_pitch;
//% if OUT_F32
    let words = bitcast<vec4<u32>>(y);
//% if OUT_VEC
//% if OUT_WIDE
    out[(base + column) / 4u] = join_words(words);
//% end
//% if !OUT_WIDE
    out[(base + column) / 4u] = words;
//% end
//% end
//% if !OUT_VEC
    out[base + column] = words.x;
    if column + 1u < p.n { out[base + column + 1u] = words.y; }
    if column + 2u < p.n { out[base + column + 2u] = words.z; }
    if column + 3u < p.n { out[base + column + 3u] = words.w; }
//% end
//% end
//% if OUT_F16
//% if OUT_VEC
    let words = vec2<u32>(pack_f16(y.x, y.y), pack_f16(y.z, y.w));
//% if OUT_WIDE
    out[(base + column / 2u) / 2u] = u64(words.x) | (u64(words.y) << 32u);
//% end
//% if !OUT_WIDE
    out[(base + column / 2u) / 2u] = words;
//% end
//% end
//% if !OUT_VEC
    let z = select(vec4<f32>(), y, vec4<u32>(column, column + 1u, column + 2u, column + 3u) < vec4<u32>(p.n));
    out[base + column / 2u] = pack_f16(z.x, z.y);
    if column + 2u < p.n { out[base + column / 2u + 1u] = pack_f16(z.z, z.w); }
//% end
//% end
}
