// Operands in f32: a word is one k.
alias AWord = u32;
alias BWord = vec4<u32>;
alias AFrag = f32;
alias BFrag = vec4<f32>;
alias Acc = vec4<f32>;

fn a_unpack(w: AWord) -> AFrag { return bitcast<f32>(w); }
fn b_unpack(w: BWord) -> BFrag { return bitcast<vec4<f32>>(w); }
fn fma_block(c: Acc, a: AFrag, b: BFrag) -> Acc { return c + a * b; }
