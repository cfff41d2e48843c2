// `quant::QuantParams`: real = scale * (q - zero_point), qmin & 0xffff | qmax << 16.
struct QuantParams { scale: f32, inv_scale: f32, zero_point: i32, limits: i32 }
fn qmin_of(limits: i32) -> i32 { return (limits << 16u) >> 16u; }
fn qmax_of(limits: i32) -> i32 { return limits >> 16u; }
