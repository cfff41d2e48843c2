// Operands in int8, widened to i32 and multiplied there. A_OFFSET is added to a, so that it is not negative, and taken out
// of the sum by the epilogue: where LLVM knows factors of 16 bits, one without a sign, a product and its sum are one
// instruction (vpdpwssd of VNNI; else pmaddwd and an addition). Sums that overflow wrap around, and back once the offset's
// share is taken out.
alias AWord = u32;
alias BWord = vec4<u32>;
alias AFrag = vec4<i32>;
struct BFrag { a: vec4<i32>, b: vec4<i32>, c: vec4<i32>, d: vec4<i32> }
alias Acc = vec4<i32>;

fn a_unpack(w: AWord) -> AFrag {
    return vec4<i32>((vec4<u32>(w ^ 0x80808080u) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u));
}
// The same k of four columns.
fn each(w: BWord, shift: u32) -> vec4<i32> { return bitcast<vec4<i32>>(w << vec4<u32>(shift)) >> vec4<u32>(24u); }
fn b_unpack(w: BWord) -> BFrag { return BFrag(each(w, 24u), each(w, 16u), each(w, 8u), each(w, 0u)); }
fn fma_block(c: Acc, a: AFrag, b: BFrag) -> Acc { return c + a.x * b.a + a.y * b.b + a.z * b.c + a.w * b.d; }
