// Operands in f16, two to a word: k and k + 1. Exact in f32, so the products and sums are f32's.
alias AWord = u32;
alias BWord = vec4<u32>;
alias AFrag = vec2<f32>;
struct BFrag { even: vec4<f32>, odd: vec4<f32> }
alias Acc = vec4<f32>;

fn a_unpack(w: AWord) -> AFrag { return unpack2x16float(w); }
fn b_unpack(w: BWord) -> BFrag {
    let x = unpack2x16float(w.x);
    let y = unpack2x16float(w.y);
    let z = unpack2x16float(w.z);
    let t = unpack2x16float(w.w);
    return BFrag(vec4<f32>(x.x, y.x, z.x, t.x), vec4<f32>(x.y, y.y, z.y, t.y));
}
fn fma_block(c: Acc, a: AFrag, b: BFrag) -> Acc { return c + a.x * b.even + a.y * b.odd; }
