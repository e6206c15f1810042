//! How many servers a user tries until one works: by formula and simulated, as the table and the figure of
//! `docs/pool-selection.md`.
//!
//! ```text
//! cargo run --release -p anycast-pool --example pool_selection -- [DIRECTORY of docs]
//! ```
//!
//! With a directory, the table between the marks in `pool-selection.md` and `pool-selection.svg` are written anew; without, the
//! table is printed.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

use anycast_pool::markov::{Farm, Model, Order, Rule, mean_attempts, simulate};

const SERVERS: u32 = 5;
const REPAIR: f64 = 10.0;
const INTERVAL: f64 = 5.0;
const RATE: f64 = 5.0;
const REQUESTS: u32 = 500_000;
const SEED: u64 = 1;
const AVAILABILITIES: [f64; 11] = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99];

const BEGIN: &str = "<!-- table -->\n";
const END: &str = "<!-- end of table -->\n";

/// One availability.
struct Row {
    availability: f64,
    /// Without memory, newest, fresh; by formula.
    formula: [f64; 3],
    /// Round robin, random, newest, to the letter, fresh, product; simulated.
    simulated: [f64; 6],
    /// Jain's index of round robin, to the letter and product.
    jain: [f64; 3],
}

fn main() -> io::Result<()> {
    let rows: Vec<Row> = AVAILABILITIES.into_iter().map(row).collect();
    let table = table(&rows);
    let Some(directory) = env::args().nth(1) else {
        print!("{table}");
        return Ok(());
    };
    let directory = Path::new(&directory);
    let page = directory.join("pool-selection.md");
    let text = fs::read_to_string(&page)?;
    let missing = || io::Error::other("the page has no marks for the table");
    let begin = text.find(BEGIN).ok_or_else(missing)? + BEGIN.len();
    let end = text.find(END).ok_or_else(missing)?;
    fs::write(page, format!("{}{table}{}", &text[..begin], &text[end..]))?;
    fs::write(directory.join("pool-selection.svg"), figure(&rows))
}

fn row(availability: f64) -> Row {
    let model = Model::new(availability, REPAIR);
    let farm =
        Farm { model, servers: SERVERS, interval: INTERVAL, rate: RATE, requests: REQUESTS, seed: SEED };
    let orders = [Order::NoMemory, Order::Newest(INTERVAL), Order::Fresh(INTERVAL)];
    let rules = [Rule::RoundRobin, Rule::Random, Rule::Newest, Rule::Letter, Rule::Fresh, Rule::Product];
    let played = rules.map(|rule| simulate(&farm, rule));
    Row {
        availability,
        formula: orders.map(|order| mean_attempts(&model, SERVERS, order)),
        simulated: played.map(|played| played.attempts),
        jain: [played[0].jain, played[3].jain, played[5].jain],
    }
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| availability | without memory | round robin | random | newest | newest | to the letter | fresh | fresh | product |\n\
         | | *formula* | simulated | simulated | *formula* | simulated | simulated | *formula* | simulated | simulated |\n\
         |---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for Row { availability, formula, simulated, .. } in rows {
        let [robin, random, newest, letter, fresh, product] = simulated;
        let _ = writeln!(
            text,
            "| {availability:.2} | *{:.3}* | {robin:.3} | {random:.3} | *{:.3}* | {newest:.3} | {letter:.3} | *{:.3}* | {fresh:.3} | \
             {product:.3} |",
            formula[0], formula[1], formula[2],
        );
    }
    text.push_str(
        "\nHow evenly twenty requests in a row are spread over the servers (Jain's index, 1 = perfectly):\n\n\
         | availability | round robin | to the letter | product |\n|---:|---:|---:|---:|\n",
    );
    for Row { availability, jain: [robin, letter, product], .. } in rows {
        let _ = writeln!(text, "| {availability:.2} | {robin:.2} | {letter:.2} | {product:.2} |");
    }
    text
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 430.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 70.0;
/// Attempts at the top of the figure.
const MOST: f64 = 1.9;

/// Lines are formulas, points are simulations.
fn figure(rows: &[Row]) -> String {
    let x = |availability: f64| LEFT + (availability - 0.5) / 0.5 * (WIDTH - LEFT - RIGHT);
    let y = |attempts: f64| HEIGHT - BOTTOM - (attempts - 1.0) / (MOST - 1.0) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         font-family=\"Helvetica, Arial, sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"24\" font-weight=\"bold\" fill=\"#222\">Mean attempts until a server works, by availability of the servers</text>\n"
    );
    for step in 0..=9 {
        let attempts = 1.0 + f64::from(step) / 10.0;
        let (at, text) = (y(attempts), format!("{attempts:.1}"));
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#e4e7ea\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#222\">{text}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 4.0
        );
    }
    for step in 5..=10 {
        let availability = f64::from(step) / 10.0;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#222\">{availability:.1}</text>",
            x(availability),
            HEIGHT - BOTTOM + 20.0
        );
    }
    let lines = [
        ("round robin, random", "#b8bfc6", 0, 0),
        ("fresh ones as equals", "#1f6f8b", 2, 4),
        ("newest first", "#d08a2e", 1, 2),
    ];
    for (place, (name, colour, formula, simulated)) in lines.into_iter().enumerate() {
        let points: Vec<String> = rows
            .iter()
            .map(|row| format!("{:.1},{:.1}", x(row.availability), y(row.formula[formula])))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.join(" ")
        );
        for row in rows {
            dot(&mut svg, x(row.availability), y(row.simulated[simulated]), colour);
        }
        legend(&mut svg, place, name, colour);
    }
    for row in rows {
        dot(&mut svg, x(row.availability), y(row.simulated[5]), "#7a1f5c");
    }
    legend(&mut svg, lines.len(), "product, simulated", "#7a1f5c");
    let _ = writeln!(
        svg,
        "<text x=\"16\" y=\"{:.1}\" fill=\"#666\" font-size=\"11\">{SERVERS} servers, repaired after {REPAIR} s in the mean, seen \
         once in {INTERVAL} s; lines by formula, points simulated ({REQUESTS} requests, {RATE} a second, seed {SEED})</text>",
        HEIGHT - 14.0
    );
    svg.push_str("</svg>\n");
    svg
}

fn dot(svg: &mut String, x: f64, y: f64, colour: &str) {
    let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>");
}

fn legend(svg: &mut String, place: usize, name: &str, colour: &str) {
    let y = TOP + 16.0 + 20.0 * place as f64;
    let _ = writeln!(
        svg,
        "<rect x=\"520\" y=\"{:.1}\" width=\"14\" height=\"10\" fill=\"{colour}\"/>\
         <text x=\"542\" y=\"{y:.1}\" fill=\"#222\">{name}</text>",
        y - 9.0
    );
}
