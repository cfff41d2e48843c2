// Convolution in channel groups too small for a matrix product, depthwise above all. A thread computes four output
// channels of one pixel. x is [n, height, width, channels], weights [taps * channels in the group, n].
@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(2) var<storage, read> b: array<u32>;

//% if INT
alias Sum = vec4<i32>;
alias Scalar = i32;
//% end
//% if !INT
alias Sum = vec4<f32>;
alias Scalar = f32;
//% end

// Four neighbours of a row of words, from the i-th, which begins a quad.
fn a_quad(base: u32, i: u32) -> Sum {
//% if INT
    return unpack4xI8(a[base + i / 4u]);
//% end
//% if KN_16
    return vec4<f32>(unpack2x16float(a[base + i / 2u]), unpack2x16float(a[base + i / 2u + 1u]));
//% end
//% if KN_32
    return bitcast<vec4<f32>>(vec4<u32>(a[base + i], a[base + i + 1u], a[base + i + 2u], a[base + i + 3u]));
//% end
}
fn b_quad(base: u32, i: u32) -> Sum {
//% if INT
    return unpack4xI8(b[base + i / 4u]);
//% end
//% if KN_16
    return vec4<f32>(unpack2x16float(b[base + i / 2u]), unpack2x16float(b[base + i / 2u + 1u]));
//% end
//% if KN_32
    return bitcast<vec4<f32>>(vec4<u32>(b[base + i], b[base + i + 1u], b[base + i + 2u], b[base + i + 3u]));
//% end
}
fn a_one(base: u32, i: u32) -> Scalar {
//% if INT
    return bitcast<i32>(a[base + i / 4u] << (24u - 8u * (i % 4u))) >> 24u;
//% end
//% if KN_16
    return unpack2x16float(a[base + i / 2u])[i % 2u];
//% end
//% if KN_32
    return bitcast<f32>(a[base + i]);
//% end
}

@compute @workgroup_size(64, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let t = (group.x + group.y * groups.x) * 64u + local;
    if t >= p.tiles { return; }
    let column = t % p.tiles_n * 4u;
    let row = t / p.tiles_n;
    let line = row / p.out_width;
    let n = line / p.out_height;
    let y0 = i32((line % p.out_height) * p.stride_y) - i32(p.pad_y);
    let x0 = i32((row % p.out_width) * p.stride_x) - i32(p.pad_x);
    // The first channel of each column's group.
    let per_group = p.n / p.groups;
    let channel = (min(vec4<u32>(column) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(p.n - 1u)) / per_group) * p.tap_words;
    var sum = Sum();
    var row_sum = vec4<i32>();
    let taps = p.k / p.tap_words;
    for (var tap = 0u; tap < taps; tap++) {
        let tap_y = tap / p.kernel_x;
        let y = u32(y0 + i32(tap_y * p.dilation_y));
        let x = u32(x0 + i32((tap - tap_y * p.kernel_x) * p.dilation_x));
        let hit = y < p.height && x < p.width;
        let base = ((n * p.height + min(y, p.height - 1u)) * p.width + min(x, p.width - 1u)) * p.a_pitch;
        for (var c = 0u; c < p.tap_words; c++) {
//% if DEPTHWISE
            var v = a_quad(base, column);
//% end
//% if !DEPTHWISE
            var v = Sum(a_one(base, channel.x + c), a_one(base, channel.y + c),
                a_one(base, channel.z + c), a_one(base, channel.w + c));
//% end
//% if INT
            if !hit { v = vec4<i32>(a_params[0].zero_point); }
            row_sum += v;
//% end
//% if !INT
            if !hit { v = vec4<f32>(); }
//% end
            sum += v * b_quad((tap * p.tap_words + c) * p.b_pitch, column);
        }
    }
    let of_column = column_of(0u, column);
//% if INT
    finish_i8(0u, row, 0u, column, of_column, sum, row_sum);
//% end
//% if !INT
    finish(0u, row, 0u, column, of_column, sum);
//% end
}
