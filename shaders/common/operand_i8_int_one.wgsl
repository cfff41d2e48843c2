// operand_i8_int.wgsl of words that hold one element each, as operand_i8_one.wgsl has them.
alias AWord = u32;
alias BWord = vec4<u32>;
alias AFrag = i32;
alias BFrag = vec4<i32>;
alias Acc = vec4<i32>;

fn a_unpack(w: AWord) -> AFrag { return i32((w ^ 0x80u) & 0xffu); }
fn b_unpack(w: BWord) -> BFrag { return bitcast<vec4<i32>>(w << vec4<u32>(24u)) >> vec4<u32>(24u); }
fn fma_block(c: Acc, a: AFrag, b: BFrag) -> Acc { return c + a * b; }
