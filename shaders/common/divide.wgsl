// a / b rounded to nearest even, for finite numbers and b not zero: WGSL's own division may be 2.5 units off, and a
// scale must be the CPU's to the last bit. Long division of the significands. Subnormal operands are taken as zero
// (b must not be one), and a quotient below 2^-126 is zero. It runs a few times for each range: its cost does not count.
fn divide(a: f32, b: f32) -> f32 {
    let x = bitcast<u32>(a);
    let y = bitcast<u32>(b);
    let sign = (x ^ y) & 0x80000000u;
    var exponent = i32((x >> 23u) & 0xffu) - i32((y >> 23u) & 0xffu) + 127;
    var rest = (x & 0x7fffffu) | 0x800000u;
    let divisor = (y & 0x7fffffu) | 0x800000u;
    if rest < divisor {
        rest = rest << 1u;
        exponent -= 1;
    }
    // One bit before the point, 23 after it, and two more to round by.
    var quotient = 0u;
    for (var i = 0u; i < 26u; i++) {
        quotient = quotient << 1u;
        if rest >= divisor {
            rest -= divisor;
            quotient |= 1u;
        }
        rest = rest << 1u;
    }
    let below = ((quotient & 3u) << 1u) | select(0u, 1u, rest != 0u);
    quotient = quotient >> 2u;
    if below > 4u || (below == 4u && (quotient & 1u) == 1u) { quotient += 1u; }
    // The leading one adds 1 to the exponent's field, and so does a carry out of the rounding.
    let zero = (x & 0x7f800000u) == 0u || exponent <= 0;
    var bits = (u32(max(exponent, 1) - 1) << 23u) + quotient;
    bits = select(min(bits, 0x7f800000u), 0x7f800000u, exponent > 254);
    return bitcast<f32>(sign | select(bits, 0u, zero));
}
