//! What the example says of itself: each variant brings a noisy picture nearer to a clean one, and stays near fp32.

use live_filter::filter::Variant;
use live_filter::gpu::Gpu;
use live_filter::headless::{Job, run};

/// The device, or none where there is no adapter and none is required.
fn gpu() -> Option<Gpu> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    match pollster::block_on(Gpu::new(&instance, None)) {
        Ok((gpu, _)) => Some(gpu),
        Err(e) if std::env::var_os("WEIGHBRIDGE_REQUIRE_GPU").is_some() => panic!("{e}"),
        Err(e) => {
            eprintln!("skipped: {e}");
            None
        }
    }
}

fn job(size: [u32; 2]) -> Job {
    Job { frames: 2, size, variant: Variant::Int8, split: 0.5, seconds: 2.0 }
}

#[test]
fn variants_are_near_fp32_and_nearer_to_a_clean_picture() {
    let Some(gpu) = gpu() else { return };
    let out = std::env::temp_dir().join(format!("live_filter_{}.png", std::process::id()));
    let size = [128, 96];
    let report = run(gpu, &job(size), Some(&out)).unwrap();
    println!("{report}");
    assert_eq!(report.rows.len(), Variant::ALL.len());
    for row in &report.rows {
        // Measured: 8.3 to 8.4 dB on llvmpipe and SwiftShader; with normals of the wrong sign 7.4.
        assert!(row.to_clean > report.drawn + 7.8, "{row:?}, as drawn {}", report.drawn);
        // Measured on llvmpipe at 480 x 270: 71, 38 and 45 dB. Fewer pixels, other noise and other sums move that by
        // some dB; a wrong scale, zero point or layout costs tens.
        let least = match row.variant {
            Variant::Fp32 => f64::INFINITY,
            Variant::Fp16 => 60.0,
            Variant::Int8 => 32.0,
            Variant::DynamicInt8 => 38.0,
        };
        assert!(row.to_fp32 >= least, "{row:?}");
    }
    let bytes = |variant: Variant| report.rows[variant as usize].bytes[0] as f64;
    assert!(bytes(Variant::Fp16) < 0.55 * bytes(Variant::Fp32));
    assert!(bytes(Variant::Int8) < 0.35 * bytes(Variant::Fp32));

    // Of the picture the left half is noisy and the right one is not: below the text, neighbours differ more.
    let picture = image::open(&out).unwrap().to_luma8();
    std::fs::remove_file(&out).unwrap();
    assert_eq!([picture.width(), picture.height()], size);
    let rough = |columns: std::ops::Range<u32>| {
        let pairs = (64..size[1]).flat_map(|y| columns.clone().map(move |x| (x, y)));
        pairs.map(|(x, y)| f64::from(picture[(x, y)][0].abs_diff(picture[(x + 1, y)][0]))).sum::<f64>()
    };
    let (left, right) = (rough(2..61), rough(67..126));
    assert!(left > 2.0 * right, "neighbours differ by {left} at the left and by {right} at the right");
}

#[test]
fn sizes_that_cannot_be_filtered_are_refused() {
    let Some(gpu) = gpu() else { return };
    let error = run(gpu, &job([127, 96]), None).unwrap_err().to_string();
    assert!(error.contains("127 x 96"), "{error}");
}
