// ln of the sum of e^x: the largest so far, and the sum of e^(x - largest). Flags: 1 for a NaN, 2 for an infinity.
struct Acc { most: f32, sum: f32, flags: u32 }
const LOWEST: f32 = -0x1.fffffep+127;

// e^d of d <= 0. Below -104 it is 0 in f32, and drivers differ.
fn weight(d: f32) -> f32 { return select(exp(max(d, -104.0)), 0.0, d < -104.0); }
fn start() -> Acc { return Acc(LOWEST, 0.0, 0u); }
fn include(a: Acc, word: u32, k: u32, live: bool) -> Acc {
    // Minus infinity adds nothing, nor does what is flagged.
    let magnitude = word & 0x7fffffffu;
    let flag = select(select(0u, 2u, word == 0x7f800000u), 1u, magnitude > 0x7f800000u);
    let b = Acc(bitcast<f32>(select(0xff7fffffu, word, magnitude < 0x7f800000u)), select(0.0, 1.0, magnitude < 0x7f800000u), flag);
    if live { return join(a, b); }
    return a;
}
fn join(a: Acc, b: Acc) -> Acc {
    let most = max(a.most, b.most);
    return Acc(most, a.sum * weight(a.most - most) + b.sum * weight(b.most - most), a.flags | b.flags);
}
fn finish(a: Acc) -> u32 {
    if (a.flags & 1u) != 0u { return 0x7fc00000u; }
    if (a.flags & 2u) != 0u { return 0x7f800000u; }
    if a.sum < 0.5 { return 0xff800000u; }
    return bitcast<u32>(a.most + log(a.sum));
}
