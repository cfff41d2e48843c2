// The largest of a pool's window: four neighbouring rows, which one thread finishes in turn. `place` is the row's among
// those of its thread, known when the kernel is compiled.
var<private> largest: vec4<f32>;

// As pool.wgsl does it: what is not a number is nobody's maximum.
fn largest_of(place: u32, y: vec4<f32>) -> vec4<f32> {
    if (place & 3u) == 0u { largest = vec4<f32>(p.lowest); }
    largest = select(largest, y, y > largest);
    return largest;
}
// Of sums, where all that follows keeps their order.
var<private> largest_sum: vec4<i32>;
fn largest_sum_of(place: u32, sum: vec4<i32>) -> vec4<i32> {
    if (place & 3u) == 0u { largest_sum = sum; }
    largest_sum = max(largest_sum, sum);
    return largest_sum;
}
// Whether a window is whole, and in the matrix.
fn whole(place: u32, row: u32, column: u32) -> bool {
    return (place & 3u) == 3u && row < p.m && column < p.n;
}
