//! A plot of a family of rows: bars in hundredths of the machine's limit, with the spread of the rounds. Rows that the limit program does not have are drawn in
//! hundredths of the ordinary work beside them, and say so.

use std::fmt::Write;

use crate::measure::Summary;
use crate::results::{BASE, LIMIT, RowResult, SKEP};
use crate::row::Family;
use crate::table::amount;

const WIDTH: f64 = 900.0;
const LEFT: f64 = 270.0;
const RIGHT: f64 = 190.0;
const BAR: f64 = 14.0;
const GAP: f64 = 10.0;
const TOP: f64 = 56.0;
/// Longer bars are cut; their label tells.
const PERCENT_MAX: f64 = 200.0;
const COLOURS: [&str; 4] = ["#2a78b5", "#e08a1e", "#7a5195", "#4c9f70"];

/// How long a side's bar is, in hundredths, and what its label says after the rate.
fn share(row: &RowResult, name: &str) -> Option<(f64, String)> {
    let of_base = row.percent_of_base().filter(|_percent| name == SKEP);
    match (row.percent_of_limit(name), of_base) {
        (Some(percent), None) => Some((percent, format!("{percent:.0} %"))),
        (Some(percent), Some(of_base)) => Some((percent, format!("{percent:.0} %, {of_base:.0} % of base"))),
        (None, Some(of_base)) => Some((of_base, format!("{of_base:.0} % of base"))),
        (None, None) => None,
    }
}

/// The plot; `None` if no row of the family was measured against anything.
pub fn plot(family: Family, rows: &[&RowResult]) -> Option<String> {
    let rows: Vec<&RowResult> = rows.iter().copied().filter(|row| share(row, SKEP).is_some()).collect();
    if rows.is_empty() {
        return None;
    }
    let mut names: Vec<&str> = Vec::new();
    for side in rows.iter().flat_map(|row| &row.sides).filter(|side| ![LIMIT, BASE].contains(&side.name.as_str())) {
        if !names.contains(&side.name.as_str()) {
            names.push(&side.name);
        }
    }
    let shares = rows.iter().flat_map(|row| names.iter().filter_map(|name| share(row, name)));
    let most = shares.map(|(percent, _label)| percent).fold(100.0, f64::max).min(PERCENT_MAX);
    let scale = (WIDTH - LEFT - RIGHT) / most;
    let mut body = String::new();
    let mut y = TOP;
    for row in rows {
        let start = y;
        for (place, name) in names.iter().enumerate() {
            if let (Some((percent, shares)), Some(summary)) = (share(row, name), row.side(name)) {
                let label = format!("{} · {shares}", amount(summary.rate, row.unit));
                bar(&mut body, &Bar { y, percent, scale, colour: COLOURS[place % COLOURS.len()], label }, summary);
                y += BAR + 2.0;
            }
        }
        let middle = f64::midpoint(start, y) + 3.0;
        let _infallible = writeln!(body, r#"<text x="{}" y="{middle:.0}" text-anchor="end">{}</text>"#, LEFT - 8.0, row.id);
        y += GAP;
    }
    Some(frame(family, &names, &body, LEFT + 100.0 * scale, y))
}

/// One bar.
struct Bar {
    y: f64,
    percent: f64,
    /// Units of the plot for a hundredth of the limit.
    scale: f64,
    colour: &'static str,
    label: String,
}

fn bar(out: &mut String, bar: &Bar, summary: &Summary) {
    let Bar { y, percent, scale, colour, label } = bar;
    let width = percent.min(PERCENT_MAX) * scale;
    let _infallible = writeln!(out, r#"<rect x="{LEFT}" y="{y:.1}" width="{width:.1}" height="{BAR}" fill="{colour}"/>"#);
    let at = |rate: f64| LEFT + (percent * rate / summary.rate.max(1e-9)).min(PERCENT_MAX) * scale;
    let (low, high, middle) = (at(summary.rate_min), at(summary.rate_max), y + BAR / 2.0);
    let _infallible = writeln!(out, r##"<line x1="{low:.1}" x2="{high:.1}" y1="{middle:.1}" y2="{middle:.1}" stroke="#222"/>"##);
    let (x, base) = (LEFT + width.max(high - LEFT) + 6.0, y + BAR - 3.0);
    let _infallible = writeln!(out, r#"<text x="{x:.1}" y="{base:.1}">{label}</text>"#);
}

fn frame(family: Family, names: &[&str], body: &str, limit_x: f64, height: f64) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {:.0}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"8\" y=\"18\" font-size=\"14\">{}</text>\n",
        height + 10.0,
        family.title()
    );
    let mut x = 8.0;
    for (place, name) in names.iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        let _infallible =
            writeln!(out, r#"<rect x="{x}" y="28" width="10" height="10" fill="{colour}"/><text x="{}" y="37">{name}</text>"#, x + 14.0);
        x += 120.0;
    }
    let _infallible = writeln!(
        out,
        r##"<line x1="{limit_x:.1}" x2="{limit_x:.1}" y1="{}" y2="{height:.1}" stroke="#b00" stroke-dasharray="4 3"/><text x="{limit_x:.1}" y="{}" text-anchor="middle" fill="#b00">limit</text>"##,
        TOP - 6.0,
        TOP - 10.0
    );
    out.push_str(body);
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::plot;
    use crate::results::tests::result;
    use crate::results::{BASE, RowResult};
    use crate::row::Family;

    #[test]
    fn a_plot_has_a_bar_for_each_row_and_is_well_formed() {
        let (one, other) = (result(500.0, 1_000.0), result(2_000.0, 1_000.0));
        let svg = plot(Family::Put, &[&one, &other]).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert_eq!(svg.matches("<rect").count(), 2 + 1 + 1, "two bars, the legend, the background");
        assert!(svg.contains("500/s · 50 %") && svg.contains("2,000/s · 200 %"), "{svg}");
        assert_eq!(svg.matches('<').count(), svg.matches('>').count());
    }

    #[test]
    fn what_the_limit_does_not_have_is_drawn_beside_the_base() {
        let mut row = result(400.0, 500.0);
        row.sides[1].name = BASE.to_owned();
        let svg = plot(Family::History, &[&row]).unwrap();
        assert!(svg.contains("400/s · 80 % of base"), "{svg}");
    }

    #[test]
    fn without_a_limit_there_is_no_plot() {
        let row = RowResult { sides: Vec::new(), ..result(1.0, 1.0) };
        assert_eq!(plot(Family::Node, &[&row]), None);
    }
}
