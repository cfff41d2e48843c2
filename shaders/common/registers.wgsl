// Rows in the registers of 8 lanes of a subgroup. Four of the reals as they are stored:
//% if X_F16
alias Four = vec2<u32>;
const WORDS: u32 = 2u;
fn wide(w: Four) -> vec4<f32> { return vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y)); }
//% end
//% if !X_F16
alias Four = vec4<u32>;
const WORDS: u32 = 4u;
fn wide(w: Four) -> vec4<f32> { return bitcast<vec4<f32>>(w); }
//% end
// The least of what the lanes have, in all of them.
fn least(k: vec4<i32>) -> i32 {
    let m = min(min(k.x, k.y), min(k.z, k.w));
//% for i in 8
    let m#i = subgroupBroadcast(m, #iu);
//% end
    return min(min(min(m0, m1), min(m2, m3)), min(min(m4, m5), min(m6, m7)));
}
