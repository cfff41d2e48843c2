//! A profile for people.

use super::{Profile, Step};
use std::fmt;

const HEADER: [&str; 9] =
    ["node", "op", "kernel", "shapes", "us", "% of time", "GFLOP/s", "GB/s", "% of roofline"];
const BY_OP: [&str; 7] = ["op", "dispatches", "us", "% of time", "GFLOP/s", "GB/s", "% of roofline"];

/// Work and time that are shown on one line.
#[derive(Clone, Copy, Default)]
struct Sum {
    dispatches: usize,
    operations: u64,
    bytes: u64,
    /// Nanoseconds that it takes at least.
    least: f64,
    nanoseconds: f64,
}

impl Sum {
    fn of(step: &Step, profile: &Profile) -> Self {
        Self {
            dispatches: step.dispatches.len(),
            operations: step.operations,
            bytes: step.bytes,
            least: profile.roofline.least(step.operations, step.element, step.bytes),
            nanoseconds: step.nanoseconds(),
        }
    }

    fn add(&mut self, other: Self) {
        self.dispatches += other.dispatches;
        self.operations += other.operations;
        self.bytes += other.bytes;
        self.least += other.least;
        self.nanoseconds += other.nanoseconds;
    }

    /// GFLOP/s, GB/s and how much of the roofline that is.
    fn rates(&self) -> [String; 3] {
        let rate = |amount: f64| match amount / self.nanoseconds {
            x if amount > 0.0 && x.is_finite() => format!("{x:.2}"),
            _ => "-".into(),
        };
        [rate(self.operations as f64), rate(self.bytes as f64), rate(100.0 * self.least)]
    }
}

/// Each dispatch, the ops summed, and the whole. What a step of several dispatches amounts to stands in its first line.
impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.nanoseconds();
        let time = |ns: f64| [format!("{:.1}", ns / 1e3), format!("{:.1}", 100.0 * ns / all.max(1.0))];
        let mut rows = vec![HEADER.map(String::from).to_vec()];
        let mut ops: Vec<(&str, Sum)> = Vec::new();
        for step in &self.steps {
            let sum = Sum::of(step, self);
            match ops.iter_mut().find(|(op, _)| *op == step.op) {
                Some((_, all)) => all.add(sum),
                None => ops.push((&step.op, sum)),
            }
            for (i, dispatch) in step.dispatches.iter().enumerate() {
                let groups: u64 = dispatch.groups.iter().map(|&g| u64::from(g)).product();
                let first = |text: &str| if i == 0 { text.to_owned() } else { String::new() };
                let [us, part] = time(dispatch.nanoseconds);
                let [flops, bytes, roof] = sum.rates();
                rows.push(vec![
                    first(&step.node),
                    first(&step.op),
                    format!("{} x{groups}", dispatch.kernel),
                    first(&step.shapes),
                    us,
                    part,
                    first(&flops),
                    first(&bytes),
                    first(&roof),
                ]);
            }
        }
        write(f, &rows, 4)?;

        ops.sort_by(|a, b| b.1.nanoseconds.total_cmp(&a.1.nanoseconds));
        let mut rows = vec![BY_OP.map(String::from).to_vec()];
        for (op, sum) in ops {
            let mut row = vec![op.to_owned(), sum.dispatches.to_string()];
            row.extend(time(sum.nanoseconds));
            row.extend(sum.rates());
            rows.push(row);
        }
        writeln!(f)?;
        write(f, &rows, 1)?;

        let dispatches: usize = self.steps.iter().map(|s| s.dispatches.len()).sum();
        writeln!(
            f,
            "\n{dispatches} dispatches: {:.3} ms one by one, {:.3} ms in one pass, {:.3} ms with upload and read back; \
             the fastest of {}.",
            all / 1e6,
            self.frame / 1e6,
            self.run / 1e6,
            self.repeat
        )?;
        writeln!(f, "Measured with {}. {}", self.clock, self.adapter)?;
        write!(f, "Roofline: {}.", self.roofline)
    }
}

/// Rows in columns; those from `text` on are numbers, and lie to the right.
fn write(f: &mut fmt::Formatter<'_>, rows: &[Vec<String>], text: usize) -> fmt::Result {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> =
        (0..columns).map(|c| rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0)).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(i, (cell, &width))| {
            if i < text { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}
