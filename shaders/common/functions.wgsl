// Functions of one element, one of which is chosen by its flag: `apply`, with the function's parameters. NaN stays NaN:
// it is found by its bits, since a clamp may drop it. Arguments of exp stay where neither it nor a division by it can
// leave f32.
//% if USES_SIGMOID
fn sigmoid(x: vec4<f32>) -> vec4<f32> {
    return 1.0 / (1.0 + exp(clamp(-x, vec4<f32>(-87.0), vec4<f32>(87.0))));
}
//% end
//% if USES_ERF
// x P(x^2) / Q(x^2), fitted to a relative error of 2e-8; beyond the clamp the result rounds to 1.
fn erf(a: vec4<f32>) -> vec4<f32> {
    let x = clamp(a, vec4<f32>(-3.925), vec4<f32>(3.925));
    let u = x * x;
    let top = ((((2.0460479390749242e-6 * u + 2.8483857749961317e-4) * u + 3.772369585931301e-3) * u
        + 5.276874452829361e-2) * u + 1.9058968126773834e-1) * u + 1.1283791065216064;
    let bottom = ((((3.804772495641373e-5 * u + 1.1638118121213764e-3) * u + 1.4982839114964008e-2) * u
        + 1.141810268163681e-1) * u + 5.022384524345398e-1) * u + 1.0;
    return clamp(x * top / bottom, vec4<f32>(-1.0), vec4<f32>(1.0));
}
//% end
//% if TANH
// As erf, to 2e-9: WGSL promises five digits of its own tanh, and some drivers make NaN of large arguments.
fn tanh_of(a: vec4<f32>) -> vec4<f32> {
    let x = clamp(a, vec4<f32>(-9.1), vec4<f32>(9.1));
    let u = x * x;
    let top = ((((-1.2033689149315574e-11 * u + 3.035562912145906e-8) * u + 2.7911990400752984e-5) * u
        + 3.8635958917438984e-3) * u + 1.367613971233368e-1) * u + 1.0;
    let bottom = (((1.2806980294044479e-6 * u + 3.9302883669734e-4) * u + 2.7228523045778275e-2) * u
        + 4.700947105884552e-1) * u + 1.0;
    return clamp(x * top / bottom, vec4<f32>(-1.0), vec4<f32>(1.0));
}
//% end
//% if USES_SINE
// The sine, a number of quarter turns on: whole quarters are taken off in three parts, so that products stay exact, and
// what is left is at most pi/4. Good to 2^13 radians; WGSL promises its own up to pi.
fn sine(x: vec4<f32>, on: i32) -> vec4<f32> {
    let k = round(x * 0.6366197723675814);
    let r = ((x - k * 1.5703125) - k * 4.837512969970703e-4) - k * 7.549789954891882e-8;
    let z = r * r;
    let s = r + r * z * ((-1.9515295891e-4 * z + 8.3321608736e-3) * z - 1.6666654611e-1);
    let c = 1.0 - 0.5 * z + z * z * ((2.443315711809948e-5 * z - 1.388731625493765e-3) * z + 4.166664568298827e-2);
    let q = vec4<i32>(clamp(k, vec4<f32>(-1e9), vec4<f32>(1e9))) + vec4<i32>(on);
    let y = select(s, c, (q & vec4<i32>(1)) != vec4<i32>(0));
    return select(y, -y, (q & vec4<i32>(2)) != vec4<i32>(0));
}
//% end
//% if USES_BELOW
// alpha (e^x - 1) below 0, else x.
fn below(x: vec4<f32>, alpha: f32) -> vec4<f32> {
    return select(x, alpha * (exp(min(x, vec4<f32>(0.0))) - 1.0), x < vec4<f32>(0.0));
}
//% end

fn apply(x: vec4<f32>, alpha: f32, beta: f32) -> vec4<f32> {
//% if ABS
    let y = abs(x);
//% end
//% if NEG
    let y = -x;
//% end
//% if SIGN
    let y = sign(x);
//% end
//% if FLOOR
    let y = floor(x);
//% end
//% if CEIL
    let y = ceil(x);
//% end
//% if ROUND
    let y = round(x);
//% end
//% if RECIPROCAL
    let y = 1.0 / x;
//% end
//% if SQRT
    let y = sqrt(x);
//% end
//% if EXP
    let y = exp(x);
//% end
//% if LOG
    let y = log(x);
//% end
//% if SIN
    let y = sine(x, 0);
//% end
//% if COS
    let y = sine(x, 1);
//% end
//% if ERF
    let y = erf(x);
//% end
//% if TANH
    let y = tanh_of(x);
//% end
//% if SIGMOID
    let y = sigmoid(x);
//% end
//% if HARD_SIGMOID
    let y = clamp(alpha * x + beta, vec4<f32>(0.0), vec4<f32>(1.0));
//% end
//% if HARD_SWISH
    let y = x * clamp(x * 0.16666666666666666 + 0.5, vec4<f32>(0.0), vec4<f32>(1.0));
//% end
//% if SWISH
    let y = x * sigmoid(alpha * x);
//% end
//% if SOFTPLUS
    let y = max(x, vec4<f32>(0.0)) + log(1.0 + exp(max(-abs(x), vec4<f32>(-87.0))));
//% end
//% if MISH
    // tanh(ln(1 + e)) = (e^2 + 2e) / (e^2 + 2e + 2), which is 1 where e is large.
    let e = exp(min(x, vec4<f32>(20.0)));
    let n = e * (e + 2.0);
    let y = x * (n / (n + 2.0));
//% end
//% if GELU
    let y = 0.5 * x * (1.0 + erf(x * 0.7071067811865476));
//% end
//% if GELU_TANH
    // (1 + tanh u) / 2 is the sigmoid of 2u.
    let y = x * sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x));
//% end
//% if ELU
    let y = below(x, alpha);
//% end
//% if SELU
    let y = beta * below(x, alpha);
//% end
//% if CELU
    let y = max(x, vec4<f32>(0.0)) + min(alpha * (exp(min(x / alpha, vec4<f32>(80.0))) - 1.0), vec4<f32>(0.0));
//% end
//% if LEAKY_RELU
    let y = select(x, alpha * x, x < vec4<f32>(0.0));
//% end
    return select(y, x, (bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u));
}
