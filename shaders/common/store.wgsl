// Four columns of a float result. Columns past n are stored as zeros where they share a word with real ones.
fn store(batch: u32, row: u32, column: u32, y: vec4<f32>) {
    let base = out_of(batch) + row * p.out_pitch;
//% if OUT_F32
//% if OUT_VEC
    out[(base + column) / 4u] = bitcast<vec4<u32>>(y);
//% end
//% if !OUT_VEC
    let words = bitcast<vec4<u32>>(y);
    out[base + column] = words.x;
    if column + 1u < p.n { out[base + column + 1u] = words.y; }
    if column + 2u < p.n { out[base + column + 2u] = words.z; }
    if column + 3u < p.n { out[base + column + 3u] = words.w; }
//% end
//% end
//% if OUT_F16
    let z = select(vec4<f32>(), y, vec4<u32>(column, column + 1u, column + 2u, column + 3u) < vec4<u32>(p.n));
    out[base + column / 2u] = pack_f16(z.x, z.y);
    if column + 2u < p.n { out[base + column / 2u + 1u] = pack_f16(z.z, z.w); }
//% end
}
