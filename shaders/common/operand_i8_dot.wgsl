// Operands in int8, four to a word, multiplied and summed by the device's integer dot product.
alias AWord = u32;
alias BWord = vec4<u32>;
alias AFrag = u32;
alias BFrag = vec4<u32>;
alias Acc = vec4<i32>;

fn a_unpack(w: AWord) -> AFrag { return w; }
fn b_unpack(w: BWord) -> BFrag { return w; }
fn fma_block(c: Acc, a: AFrag, b: BFrag) -> Acc {
    return c + vec4<i32>(dot4I8Packed(a, b.x), dot4I8Packed(a, b.y), dot4I8Packed(a, b.z), dot4I8Packed(a, b.w));
}
