//! The results as a table, line by line as they come.

use serde_json::Value;

/// The line for a result, with the head of its section before it where `last` was of another one.
pub fn lines(result: &Value, last: &mut String) -> String {
    let text = |key: &str| result[key].as_str().unwrap_or_default();
    let number = |key: &str| result[key].as_f64().map_or(String::new(), short);
    let mut out = String::new();
    let section = text("section");
    if *last != section {
        *last = section.to_string();
        out += match section {
            "ceiling" => "\nceiling   variant             ms     GB/s  GFLOP/s  first ms\n",
            "kernel" => {
                "\nkernel             shape                                variant               ms  first ms      MB    GB/s  GFLOP/s   of ceiling\n"
            }
            "model" => "\nmodel                     what                               value\n",
            _ => "\n",
        };
    }
    let name = text("name");
    out += &match section {
        "ceiling" => {
            let (variant, ms, gb, gflop, first) =
                (text("variant"), number("ms"), number("gb_s"), number("gflop_s"), number("first_ms"));
            format!("{name:<9} {variant:<13} {ms:>8} {gb:>8} {gflop:>8} {first:>9}")
        }
        "kernel" => {
            let (shape, variant, ms, first) = (text("shape"), text("variant"), number("ms"), number("first_ms"));
            let megabytes = result["bytes"].as_f64().map_or(String::new(), |bytes| short(bytes / 1e6));
            let (gb, gflop, ceiling) = (number("gb_s"), number("gflop_s"), text("ceiling"));
            let percent = match result["fraction"].as_f64() {
                Some(fraction) => format!("{:.1}% {ceiling}", fraction * 100.0),
                None => String::new(),
            };
            format!(
                "{name:<18} {shape:<36} {variant:<15} {ms:>8} {first:>9} {megabytes:>7} {gb:>7} {gflop:>8} {percent:>12}"
            )
        }
        "model" => {
            let (metric, value, unit) = (text("metric"), number("value"), text("unit"));
            format!("{name:<25} {metric:<30} {value:>9} {unit}")
        }
        _ => result.to_string(),
    };
    out.trim_end().to_string()
}

/// Four digits or so.
fn short(value: f64) -> String {
    let size = value.abs();
    let decimals = if size >= 1000.0 || value == value.trunc() {
        0
    } else if size >= 100.0 {
        1
    } else if size >= 10.0 {
        2
    } else if size >= 0.1 {
        3
    } else {
        5
    };
    format!("{value:.decimals$}")
}
