// store16.wgsl of rows of NARROW columns, at most four.
@group(0) @binding(3) var<storage, read_write> out: array<u32>;

fn store16(row: u32, unit: u32, v: Sixteen) {
    let at = row * p.out_pitch;
//% if OUT_F16
    let y = select(vec4<f32>(), v.a, live4(0u, p.columns));
//% for i in NARROW_WORDS
    out[at + #iu] = pack_f16(y[2 * #i], y[2 * #i + 1]);
//% end
//% end
//% if !OUT_F16
    let words = bitcast<vec4<u32>>(v.a);
//% for i in NARROW
    out[at + #iu] = words[#i];
//% end
//% end
}
