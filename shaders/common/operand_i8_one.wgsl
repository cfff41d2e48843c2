// Operands in int8 whose words hold one element each, in the lowest byte: the pixels of an image of one channel. Widened
// to f32, as operand_i8_wide.wgsl does it, and with a quarter of its products.
alias AWord = u32;
alias BWord = vec4<u32>;
alias AFrag = f32;
alias BFrag = vec4<f32>;
alias Acc = vec4<f32>;

fn a_unpack(w: AWord) -> AFrag { return f32(bitcast<i32>(w << 24u) >> 24u); }
fn b_unpack(w: BWord) -> BFrag { return vec4<f32>(bitcast<vec4<i32>>(w << vec4<u32>(24u)) >> vec4<u32>(24u)); }
fn fma_block(c: Acc, a: AFrag, b: BFrag) -> Acc { return c + a * b; }
