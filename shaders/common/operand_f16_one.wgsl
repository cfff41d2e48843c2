// Operands in f16 whose words hold one element each, in the lower half: the pixels of an image of one channel.
alias AWord = u32;
alias BWord = vec4<u32>;
alias AFrag = f32;
alias BFrag = vec4<f32>;
alias Acc = vec4<f32>;

fn a_unpack(w: AWord) -> AFrag { return unpack2x16float(w).x; }
fn b_unpack(w: BWord) -> BFrag {
    return vec4<f32>(unpack2x16float(w.x).x, unpack2x16float(w.y).x, unpack2x16float(w.z).x, unpack2x16float(w.w).x);
}
fn fma_block(c: Acc, a: AFrag, b: BFrag) -> Acc { return c + a * b; }
