// Parameters of the gemm family; `ops::tile::Params` is its twin, checked by tests/shaders.rs.
struct Params {
    m: u32,              // rows of a and of the output, in each batch
    n: u32,              // columns of the output, in each batch
    k: u32,              // real length of the sum, without padding
    k_words: u32,        // u32 words of k in a row of a, padding to whole words included
    chunks: u32,         // 16-byte steps through k_words
    a_pitch: u32,        // words from row to row
    b_pitch: u32,        // packed b: columns padded to 4. else: words from row to row
    out_pitch: u32,      // words from row to row
    a_batch: u32,        // words from batch to batch
    b_batch: u32,        // words from batch to batch
    out_batch: u32,      // words from batch to batch
    column_batch: u32,   // columns from batch to batch in bias, b_params and b_sums
    row_batch: u32,      // rows from batch to batch in a_params
    tiles_m: u32,
    tiles_n: u32,
    tiles: u32,          // of all batches
    lo: f32,             // activation: clamp to [lo, hi]; a function's alpha and beta
    hi: f32,
    // A convolution's patches. All pitches in words.
    height: u32,
    width: u32,
    out_height: u32,
    out_width: u32,
    stride_y: u32,
    stride_x: u32,
    pad_y: u32,
    pad_x: u32,
    dilation_y: u32,
    dilation_x: u32,
    kernel_x: u32,
    tap_words: u32,      // words of a pixel's channels, in each group
    last_mask: u32,      // int8: which bytes of a pixel's last word are channels
    groups: u32,         // channel groups
    group_chunks: u32,   // weights with a scale for each group along k: chunks in a group
}

struct QuantParams { scale: f32, inv_scale: f32, zero_point: i32, limits: i32 }

@group(0) @binding(0) var<uniform> p: Params;

// Which tile this workgroup computes: (column tile, row tile, batch). The grid may be larger than the tiles: what is
// beyond them gets a row tile below the matrix, whose results are dropped.
fn tile_of(group: vec3<u32>, groups: vec3<u32>) -> vec3<u32> {
    let t = group.x + group.y * groups.x;
    if t >= p.tiles { return vec3<u32>(0u, p.tiles_m, 0u); }
    let row = t / p.tiles_n;
    return vec3<u32>(t % p.tiles_n, row % p.tiles_m, row / p.tiles_m);
}
