// Operands in int8, widened to f32. A product is at most 2^14, so sums over 1024 are exact in f32's 24 bits;
// the kernel folds them into i32 at least that often.
alias AWord = u32;
alias BWord = vec4<u32>;
alias AFrag = vec4<f32>;
alias BFrag = mat4x4<f32>;
alias Acc = vec4<f32>;

fn widen(w: u32) -> vec4<f32> {
    return vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(w) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
}
fn a_unpack(w: AWord) -> AFrag { return widen(w); }
fn b_unpack(w: BWord) -> BFrag { return transpose(mat4x4<f32>(widen(w.x), widen(w.y), widen(w.z), widen(w.w))); }
fn fma_block(c: Acc, a: AFrag, b: BFrag) -> Acc { return c + a.x * b[0] + a.y * b[1] + a.z * b[2] + a.w * b[3]; }
