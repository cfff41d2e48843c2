//! The tables, in Markdown that reads well in a terminal too.

use crate::lane::{Fault, Outcome, Peer, Work};
use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use std::fmt::Write;
use weighbridge::profile::Roofline;
use weighbridge::tensor::Element;

/// The outcomes of one problem.
pub struct Group {
    pub name: String,
    pub work: Work,
    /// Of the operands, which sets the roof.
    pub element: Element,
    pub outcomes: Vec<Outcome>,
}

fn table(head: &[String], rows: Vec<Vec<String>>, left: &[usize]) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(head);
    for row in rows {
        table.add_row(row);
    }
    for (i, column) in table.column_iter_mut().enumerate() {
        let right = !left.contains(&i);
        column.set_cell_alignment(if right { CellAlignment::Right } else { CellAlignment::Left });
    }
    table.to_string()
}

/// Three digits that count.
fn digits(x: f64) -> String {
    match x {
        x if x.is_nan() => String::new(),
        x if x >= 100.0 => format!("{x:.0}"),
        x if x >= 10.0 => format!("{x:.1}"),
        x if x >= 1.0 => format!("{x:.2}"),
        x => format!("{x:.3}"),
    }
}

impl Group {
    pub fn table(&self, roofline: &Roofline) -> String {
        let unit = self.work.unit();
        let head = ["peer", "what", "best, ms", "median, ms", unit, "of roofline", "first call, ms", "note"];
        let row = |o: &Outcome| {
            let first = if o.first > 0.0 { digits(o.first * 1e3) } else { String::new() };
            let mut row = vec![o.peer.name().to_owned(), o.what.clone()];
            match &o.verdict {
                Ok(t) => {
                    let roof = match self.work {
                        Work::Operations(_) => roofline.operations(self.element),
                        Work::Bytes(_) => roofline.copy,
                    };
                    let share = t.rate / roof;
                    let share = if o.peer.on_adapter() { format!("{share:.2}") } else { String::new() };
                    row.extend([digits(t.best * 1e3), digits(t.median * 1e3), digits(t.rate), share, first]);
                    row.push(t.note.clone());
                }
                Err(fault) => {
                    let why = match fault {
                        Fault::Wrong(why) | Fault::Absent(why) => why.replace(['\n', '|'], " "),
                    };
                    row.extend([fault.name(), "", "", "", &first].map(String::from));
                    row.push(why.chars().take(100).collect());
                }
            }
            row
        };
        let rows = self.outcomes.iter().map(row).collect();
        format!("### {}\n\n{}\n", self.name, table(&head.map(String::from), rows, &[0, 1, 7]))
    }

    /// The fastest lane of a peer that does what `ours` does; of any, where it has none of that.
    fn rival(&self, peer: Peer, what: &str) -> Option<Result<f64, Fault>> {
        let of = |same: bool| {
            let lanes = self.outcomes.iter().filter(move |o| o.peer == peer && (!same || o.what == what));
            lanes.map(|o| o.verdict.as_ref().map(|t| t.rate).map_err(Fault::clone))
        };
        let best = |a: Result<f64, Fault>, b: Result<f64, Fault>| match (a, b) {
            (Ok(a), Ok(b)) => Ok(a.max(b)),
            (a, b) => a.or(b),
        };
        of(true).reduce(best).or(of(false).reduce(best))
    }
}

/// Rates of ours, and how many times as fast as each peer that is.
pub fn ratios(groups: &[&Group]) -> String {
    let rivals: Vec<Peer> = Peer::ALL
        .into_iter()
        .filter(|p| !p.is_ours() && groups.iter().any(|g| g.outcomes.iter().any(|o| o.peer == *p)))
        .collect();
    let unit = groups.first().map_or("", |g| g.work.unit());
    let mut head = vec!["problem".to_owned(), "weighbridge".into(), unit.into()];
    head.extend(rivals.iter().map(|p| format!("x {}", p.name())));
    let mut rows = Vec::new();
    for group in groups {
        for ours in group.outcomes.iter().filter(|o| o.peer.is_ours()) {
            let tuned = ours.peer == Peer::WeighbridgeTuned;
            let what = match (ours.what.as_str(), tuned) {
                ("", true) => "tuned".to_owned(),
                (what, true) => format!("{what}, tuned"),
                (what, false) => what.to_owned(),
            };
            let mut row = vec![group.name.clone(), what];
            let Ok(time) = &ours.verdict else {
                row.push(ours.verdict.as_ref().err().map_or("", Fault::name).into());
                row.resize(head.len(), String::new());
                rows.push(row);
                continue;
            };
            row.push(digits(time.rate));
            row.extend(rivals.iter().map(|&p| match group.rival(p, &ours.what) {
                Some(Ok(rate)) => format!("{:.2}", time.rate / rate),
                Some(Err(fault)) => fault.name().into(),
                None => String::new(),
            }));
            rows.push(row);
        }
    }
    table(&head, rows, &[0, 1])
}

/// Both tables of ratios, then all the rest.
pub fn markdown(head: &str, groups: &[Group], roofline: &Roofline) -> String {
    let mut text = format!("{head}\n");
    for (title, operations) in [("Products", true), ("Bound by memory", false)] {
        let of = |g: &&Group| matches!(g.work, Work::Operations(_)) == operations;
        let some: Vec<&Group> = groups.iter().filter(of).collect();
        if !some.is_empty() {
            let _ = write!(text, "## {title}\n\n{}\n\n", ratios(&some));
        }
    }
    text.push_str("## Each problem\n");
    for group in groups {
        let _ = write!(text, "\n{}", group.table(roofline));
    }
    text
}
