// Four words as two 64-bit ones, which a CPU adapter stores faster: split_words.wgsl the other way round.
fn join_words(w: vec4<u32>) -> vec2<u64> { return vec2<u64>(w.xz) | (vec2<u64>(w.yw) << vec2<u32>(32u)); }
