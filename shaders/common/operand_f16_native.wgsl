// Operands in f16 through the type itself (SHADER_F16), widened to f32 when loaded: naga has no
// `bitcast<vec2<f16>>(u32)`, so the buffers are bound as f16.
alias AWord = vec2<f32>;
struct BWord { even: vec4<f32>, odd: vec4<f32> }
alias AFrag = AWord;
alias BFrag = BWord;
alias Acc = vec4<f32>;

fn a_unpack(w: AWord) -> AFrag { return w; }
fn b_unpack(w: BWord) -> BFrag { return w; }
fn fma_block(c: Acc, a: AFrag, b: BFrag) -> Acc { return c + a.x * b.even + a.y * b.odd; }
