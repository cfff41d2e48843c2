//! What was measured, on what.

use crate::Gpu;
use crate::evaluate::Difference;
use std::collections::BTreeMap;

/// The device that was measured on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AdapterReport {
    /// The adapter's name.
    pub name: String,
    /// `Vulkan`, `Metal` or `Dx12`.
    pub backend: String,
    /// `DiscreteGpu`, `IntegratedGpu`, `Cpu`, ...
    pub kind: String,
    /// The driver, with its version.
    pub driver: String,
    /// Whether shaders can compute in f16. Storing it, and computing on it in f32, needs no feature.
    pub shader_f16: bool,
    /// Whether shaders have subgroup operations.
    pub subgroups: bool,
    /// The sizes that subgroups may have.
    pub subgroup_sizes: [u32; 2],
}

impl AdapterReport {
    /// What a device is and has.
    pub fn new(gpu: &Gpu) -> Self {
        let (info, features) = (gpu.device().adapter_info(), gpu.device().features());
        Self {
            name: info.name,
            backend: format!("{:?}", info.backend),
            kind: format!("{:?}", info.device_type),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            shader_f16: features.contains(wgpu::Features::SHADER_F16),
            subgroups: features.contains(wgpu::Features::SUBGROUP),
            subgroup_sizes: [info.subgroup_min_size, info.subgroup_max_size],
        }
    }
}

/// On one line.
impl std::fmt::Display for AdapterReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, backend, kind, driver, .. } = self;
        write!(f, "{name}: {backend} ({kind}), driver {driver}; ")?;
        f.write_str(if self.shader_f16 { "f16; " } else { "no f16 arithmetic; " })?;
        match (self.subgroups, self.subgroup_sizes) {
            (false, _) => f.write_str("no subgroups; ")?,
            (true, [least, most]) if least == most => write!(f, "subgroups of {least}; ")?,
            (true, [least, most]) => write!(f, "subgroups of {least} to {most}; ")?,
        }
        // wgpu compiles it everywhere, and does not tell into what.
        f.write_str("dot4I8Packed (whether in hardware, wgpu does not tell)")
    }
}

/// One variant of one model.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Row {
    /// The model's name.
    pub model: String,
    /// `fp32`, `fp16`, `static-int8` or `dynamic-int8`.
    pub variant: String,
    /// Bytes of the ONNX file.
    pub disk_bytes: u64,
    /// Bytes of weights, parameters and activations in GPU memory, at batch 1.
    pub gpu_bytes: u64,
    /// The fraction of rows whose largest logit is their label's, where there are labels.
    pub top1: Option<f64>,
    /// The fraction of rows with the same largest logit as in fp32, where the output is one of logits.
    pub agreement: Option<f64>,
    /// How far the outputs are from fp32's, where that was measured.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Vec::is_empty"))]
    pub differences: Vec<Difference>,
    /// The median time of a run (upload, compute, read back) in milliseconds, by batch size.
    pub latency_ms: BTreeMap<usize, f64>,
    /// How long calibration took, its kernels' compilation included, in milliseconds, where it was needed.
    pub calibration_ms: Option<f64>,
}

/// All that was measured.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Report {
    /// Measured on this.
    pub adapter: AdapterReport,
    /// A row for each variant of each model.
    pub rows: Vec<Row>,
}

#[cfg(feature = "cli")]
impl Report {
    /// A table of one model's rows. Sizes and times have beside them how much of the `fp32` row's they are.
    pub fn table(&self, model: &str) -> String {
        use comfy_table::{CellAlignment, Table, presets};
        let rows: Vec<&Row> = self.rows.iter().filter(|r| r.model == model).collect();
        let base = rows.iter().copied().find(|r| r.variant == "fp32");
        let cell = |row: &Row, of: &dyn Fn(&Row) -> Option<f64>, text: fn(f64) -> String| {
            let Some(value) = of(row) else { return "-".into() };
            match base.filter(|b| b.variant != row.variant).and_then(of).filter(|&b| b > 0.0) {
                Some(base) => format!("{} ({:.0}%)", text(value), value / base * 100.0),
                None => text(value),
            }
        };
        let batches: Vec<usize> = rows.first().map_or(Vec::new(), |r| r.latency_ms.keys().copied().collect());

        let any = |of: &dyn Fn(&Row) -> bool| rows.iter().any(|r| of(r));
        let (top1, agreement) = (any(&|r| r.top1.is_some()), any(&|r| r.agreement.is_some()));
        let (differences, calibration) =
            (any(&|r| !r.differences.is_empty()), any(&|r| r.calibration_ms.is_some()));
        let several = any(&|r| r.differences.len() > 1);

        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        let mut header: Vec<String> = [model, "file, kB", "GPU, kB"].map(String::from).into();
        let mut add = |wanted: bool, name: &str| header.extend(wanted.then(|| name.to_owned()));
        add(top1, "top-1 %");
        add(agreement, "agree %");
        add(several, "output");
        add(differences, "cosine");
        add(differences, "max diff");
        batches.iter().for_each(|b| add(true, &format!("batch {b} ms")));
        add(calibration, "calib. ms");
        table.set_header(header);
        let percent = |x: Option<f64>| x.map_or("-".into(), |x| format!("{:.2}", x * 100.0));
        for row in rows.iter().copied() {
            let mut cells = vec![
                row.variant.clone(),
                cell(row, &|r| Some(r.disk_bytes as f64), kilobytes),
                cell(row, &|r| Some(r.gpu_bytes as f64), kilobytes),
            ];
            // A line for each output.
            let lines = |of: &dyn Fn(&Difference) -> String| {
                row.differences.iter().map(of).collect::<Vec<_>>().join("\n")
            };
            let number = |x: Option<f64>, digits: usize| match x {
                Some(x) if digits > 0 => format!("{x:.digits$}"),
                Some(x) => format!("{x:.2e}"),
                None => "not finite".into(),
            };
            cells.extend(top1.then(|| percent(row.top1)));
            cells.extend(agreement.then(|| percent(row.agreement)));
            cells.extend(several.then(|| lines(&|d| d.output.clone())));
            cells.extend(differences.then(|| lines(&|d| number(d.cosine, 5))));
            cells.extend(differences.then(|| lines(&|d| number(d.max_abs, 0))));
            cells.extend(batches.iter().map(|b| cell(row, &|r| r.latency_ms.get(b).copied(), milliseconds)));
            cells.extend(calibration.then(|| row.calibration_ms.map_or("-".into(), milliseconds)));
            table.add_row(cells);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.to_string()
    }
}

#[cfg(feature = "cli")]
fn kilobytes(bytes: f64) -> String {
    format!("{:.0}", bytes / 1e3)
}

/// Three significant digits, without an exponent.
#[cfg(feature = "cli")]
fn milliseconds(ms: f64) -> String {
    let digits = if ms >= 100.0 { 0 } else { (2 - ms.max(1e-9).log10().floor() as i32).clamp(0, 3) };
    format!("{ms:.*}", digits as usize)
}

#[cfg(all(test, feature = "cli"))]
mod tests {
    use super::*;

    fn report() -> Report {
        let adapter = AdapterReport {
            name: "some GPU".into(),
            backend: "Vulkan".into(),
            kind: "Cpu".into(),
            driver: "llvmpipe 25".into(),
            shader_f16: true,
            subgroups: true,
            subgroup_sizes: [8, 8],
        };
        let row = |variant: &str, size: u64, ms: f64, calibration_ms| Row {
            model: "cnn".into(),
            variant: variant.into(),
            disk_bytes: size,
            gpu_bytes: size * 2,
            top1: Some(0.9196),
            agreement: Some(0.9982),
            differences: Vec::new(),
            latency_ms: [(1, ms), (64, ms * 20.0)].into(),
            calibration_ms,
        };
        let rows = vec![row("fp32", 1_688_000, 2.0, None), row("static-int8", 422_000, 0.5, Some(1234.0))];
        Report { adapter, rows }
    }

    #[test]
    fn json_has_the_promised_shape() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["adapter"]["name"], "some GPU");
        assert_eq!(json["rows"][0]["calibration_ms"], serde_json::Value::Null);
        assert_eq!(
            json["rows"][1],
            serde_json::json!({
                "model": "cnn", "variant": "static-int8", "disk_bytes": 422_000, "gpu_bytes": 844_000,
                "top1": 0.9196, "agreement": 0.9982, "latency_ms": {"1": 0.5, "64": 10.0},
                "calibration_ms": 1234.0
            })
        );
        assert_eq!(json.as_object().unwrap().len(), 2);
        let back: Report = serde_json::from_str(&serde_json::to_string(&report()).unwrap()).unwrap();
        assert_eq!(back, report());
    }

    #[test]
    fn the_table_has_ratios_to_fp32() {
        let table = report().table("cnn");
        let line = table.lines().find(|l| l.contains("static-int8")).unwrap();
        for cell in ["422 (25%)", "844 (25%)", "91.96", "99.82", "0.500 (25%)", "10.0 (25%)", "1234"] {
            assert!(line.contains(cell), "{cell} is not in {line}");
        }
        assert!(table.contains("1688 ┆"), "fp32 beside itself: {table}");
        assert!(table.lines().all(|l| l.chars().count() <= 100), "{table}");
    }

    #[test]
    fn the_table_has_a_line_for_each_output_and_no_empty_columns() {
        let mut report = report();
        for row in &mut report.rows {
            row.top1 = None;
            let d = |output: &str, max_abs| Difference { output: output.into(), cosine: Some(0.99), max_abs };
            row.differences = vec![d("boxes", Some(0.25)), d("scores", None)];
        }
        let table = report.table("cnn");
        assert!(!table.contains("top-1") && table.contains("99.82"), "{table}");
        for cell in ["boxes", "scores", "0.99000", "2.50e-1", "not finite"] {
            assert!(table.contains(cell), "{cell} is not in {table}");
        }
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["rows"][0]["differences"][1]["max_abs"], serde_json::Value::Null);
        assert_eq!(serde_json::from_value::<Report>(json).unwrap(), report);
    }

    #[test]
    fn three_digits() {
        assert_eq!(
            [0.0, 0.01234, 0.1234, 1.234, 12.34, 123.4].map(milliseconds),
            ["0.000", "0.012", "0.123", "1.23", "12.3", "123"]
        );
    }

    #[test]
    fn the_adapter_is_one_line() {
        let line = report().adapter.to_string();
        assert_eq!(
            line,
            "some GPU: Vulkan (Cpu), driver llvmpipe 25; f16; subgroups of 8; dot4I8Packed (whether in hardware, wgpu \
             does not tell)"
        );
    }
}
