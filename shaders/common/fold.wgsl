// Sums are folded into totals every so many chunks: int8 products before they outgrow f32, groups of weights when their
// scale ends.
//% if INT
alias Total = vec4<i32>;
// 1024 products: the sums so far are still exact in f32.
fn fold_chunks() -> u32 { return 256u / STEP; }
fn fold_scale(chunk: u32, column: u32) -> vec4<f32> { return vec4<f32>(); }
fn folded(c: Acc, scale: vec4<f32>) -> Total { return vec4<i32>(c); }
//% end
//% if !INT
alias Total = vec4<f32>;
//% if FOLD
fn fold_chunks() -> u32 { return p.group_chunks; }
fn fold_scale(chunk: u32, column: u32) -> vec4<f32> { return scale_of(chunk / p.group_chunks, min(column, p.n - 1u)); }
fn folded(c: Acc, scale: vec4<f32>) -> Total { return c * scale; }
//% end
//% end
