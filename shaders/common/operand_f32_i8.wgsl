// a in f32, b in int8: a word of a is one k, a word of b four columns of it.
alias AWord = u32;
alias BWord = u32;
alias AFrag = f32;
alias BFrag = vec4<f32>;
alias Acc = vec4<f32>;

fn a_unpack(w: AWord) -> AFrag { return bitcast<f32>(w); }
fn b_unpack(w: BWord) -> BFrag {
    return vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(w) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
}
fn fma_block(c: Acc, a: AFrag, b: BFrag) -> Acc { return c + a * b; }
