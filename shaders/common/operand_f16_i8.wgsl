// a in f16, two to a word, b in int8: four columns of k and four of k + 1. Widened exactly, summed in f32.
alias AWord = u32;
alias BWord = vec2<u32>;
alias AFrag = vec2<f32>;
struct BFrag { even: vec4<f32>, odd: vec4<f32> }
alias Acc = vec4<f32>;

fn widen(w: u32) -> vec4<f32> {
    return vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(w) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
}
fn a_unpack(w: AWord) -> AFrag { return unpack2x16float(w); }
fn b_unpack(w: BWord) -> BFrag { return BFrag(widen(w.x), widen(w.y)); }
fn fma_block(c: Acc, a: AFrag, b: BFrag) -> Acc { return c + a.x * b.even + a.y * b.odd; }
