// Where a row of the output begins in two operands that are broadcast, in words. DIMS dimensions over the innermost, from
// the inside: `p.length` says how long each is, `p.a_apart` and `p.b_apart` how far apart its indices are.
fn places(row: u32) -> vec2<u32> {
    var rest = row;
    var at = vec2<u32>();
//% for d in DIMS
    {
        let length = p.length[#du / 4u][#du % 4u];
        let quotient = rest / length;
        let index = rest - quotient * length;
        at += index * vec2<u32>(p.a_apart[#du / 4u][#du % 4u], p.b_apart[#du / 4u][#du % 4u]);
        rest = quotient;
    }
//% end
    return at;
}
