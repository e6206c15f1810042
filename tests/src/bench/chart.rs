//! Bar charts as SVG: panels of horizontal bars, each with its value written out.

use std::fmt::Write as _;

/// One panel.
pub struct Panel {
    /// What is shown, with its unit.
    pub title: String,
    /// Logarithmic scale, from 1/1000 of the largest value.
    pub logarithmic: bool,
    /// The bars from top to bottom.
    pub bars: Vec<Bar>,
}

/// One bar.
pub struct Bar {
    /// What it stands for.
    pub label: String,
    /// Its length.
    pub value: f64,
    /// What is written behind it.
    pub text: String,
    /// Ours, as opposed to a peer's or a limit.
    pub ours: bool,
}

const WIDTH: f64 = 760.0;
const LABELS: f64 = 210.0;
const TEXTS: f64 = 150.0;
const ROW: f64 = 26.0;
const HEAD: f64 = 40.0;
const GAP: f64 = 18.0;

/// Draws the panels one below the other; `caption` says where and when it was measured.
pub fn draw(panels: &[Panel], caption: &str) -> String {
    let heights: Vec<f64> = panels.iter().map(|panel| HEAD + ROW * panel.bars.len() as f64 + GAP).collect();
    let height = heights.iter().sum::<f64>() + 30.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"Helvetica, Arial, sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    let mut top = 0.0;
    for (panel, panel_height) in panels.iter().zip(heights) {
        draw_panel(&mut svg, panel, top);
        top += panel_height;
    }
    let y = top + 16.0;
    let _ =
        writeln!(svg, "<text x=\"16\" y=\"{y}\" fill=\"#666\" font-size=\"11\">{}</text>", escape(caption));
    svg.push_str("</svg>\n");
    svg
}

fn draw_panel(svg: &mut String, panel: &Panel, top: f64) {
    let title = escape(&panel.title);
    let y = top + 26.0;
    let _ = writeln!(svg, "<text x=\"16\" y=\"{y}\" font-weight=\"bold\" fill=\"#222\">{title}</text>");
    let largest = panel.bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let span = WIDTH - LABELS - TEXTS;
    let length = |value: f64| {
        if largest <= 0.0 || value <= 0.0 {
            0.0
        } else if panel.logarithmic {
            span * ((value / largest).log10() / 3.0 + 1.0).clamp(0.005, 1.0)
        } else {
            span * value / largest
        }
    };
    for (row, bar) in panel.bars.iter().enumerate() {
        let y = top + HEAD + ROW * row as f64;
        let text_y = y + 15.0;
        let (label, text, long) = (escape(&bar.label), escape(&bar.text), length(bar.value));
        let (label_x, text_x) = (LABELS - 10.0, LABELS + long + 8.0);
        let colour = if bar.ours { "#1f6f8b" } else { "#b8bfc6" };
        let _ = writeln!(
            svg,
            "<text x=\"{label_x}\" y=\"{text_y}\" text-anchor=\"end\" fill=\"#222\">{label}</text>\
             <rect x=\"{LABELS}\" y=\"{y}\" width=\"{long:.1}\" height=\"20\" fill=\"{colour}\"/>\
             <text x=\"{text_x:.1}\" y=\"{text_y}\" fill=\"#222\">{text}</text>"
        );
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(logarithmic: bool) -> Panel {
        let bar =
            |label: &str, value| Bar { label: label.into(), value, text: value.to_string(), ours: false };
        Panel { title: "a < b".into(), logarithmic, bars: vec![bar("one", 10.0), bar("two", 1000.0)] }
    }

    #[test]
    fn the_largest_bar_fills_the_panel_and_text_is_escaped() {
        let svg = draw(&[panel(false)], "caption");
        assert!(svg.contains("width=\"400.0\""), "{svg}");
        assert!(svg.contains("width=\"4.0\""), "{svg}");
        assert!(svg.contains("a &lt; b"), "{svg}");
    }

    #[test]
    fn a_hundredth_is_a_third_of_the_way_on_a_logarithmic_scale() {
        assert!(draw(&[panel(true)], "").contains("width=\"133.3\""));
    }
}
