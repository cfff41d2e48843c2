//! A profile for trace viewers.

use super::Profile;
use serde_json::json;

impl Profile {
    /// The dispatches end to end in Chrome's trace event format, for `chrome://tracing` and <https://ui.perfetto.dev>:
    /// a complete event (`"ph": "X"`) for each, in microseconds, with what is known of it as arguments.
    pub fn chrome_trace(&self) -> String {
        let named = |name: &str, text: &str| json!({ "name": name, "ph": "M", "pid": 0, "tid": 0, "args": { "name": text } });
        let mut events = vec![named("process_name", &self.adapter), named("thread_name", "dispatches")];
        let mut at = 0.0;
        for step in &self.steps {
            let time = step.nanoseconds();
            for dispatch in &step.dispatches {
                events.push(json!({
                    "name": format!("{} {}", step.op, step.node),
                    "cat": step.op,
                    "ph": "X",
                    "pid": 0,
                    "tid": 0,
                    "ts": at / 1e3,
                    "dur": dispatch.nanoseconds / 1e3,
                    "args": {
                        "kernel": dispatch.kernel,
                        "workgroups": dispatch.groups,
                        "shapes": step.shapes,
                        "operations": step.operations,
                        "bytes": step.bytes,
                        "median us": dispatch.median / 1e3,
                        "GFLOP/s of the op": finite(step.operations as f64 / time),
                        "GB/s of the op": finite(step.bytes as f64 / time),
                        "of roofline": finite(step.of_roofline(&self.roofline)),
                    },
                }));
                at += dispatch.nanoseconds;
            }
        }
        let about = json!({
            "clock": self.clock.to_string(),
            "roofline": self.roofline.to_string(),
            "fastest of": self.repeat,
            "all in one pass, us": self.frame / 1e3,
            "with upload and read back, us": self.run / 1e3,
        });
        json!({ "traceEvents": events, "displayTimeUnit": "ns", "otherData": about }).to_string()
    }
}

/// JSON has no infinities: of what took no time that was measured, no rate is known.
fn finite(x: f64) -> Option<f64> {
    x.is_finite().then_some(x)
}
