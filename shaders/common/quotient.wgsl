// a / d for a d below 2^30, rounded down, exactly. By multiplications, since CPU adapters divide integers one lane at a
// time. The first guess is off by what f32 rounds away, a few hundred at most, the second by one.
fn quotient(a: u32, d: u32) -> u32 {
    let inverse = 1.0 / f32(d);
    let guess = u32(f32(a) * inverse);
    let q = guess + bitcast<u32>(i32(floor(f32(bitcast<i32>(a - guess * d)) * inverse)));
    let rest = bitcast<i32>(a - q * d);
    return q + select(0u, 1u, rest >= i32(d)) - select(0u, 1u, rest < 0);
}
