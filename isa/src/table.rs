//! The results as a table.

use crate::Measured;

/// One line a kernel, below a heading for each GPU, with and without checks.
pub fn table(all: &[Measured]) -> String {
    let width = all.iter().map(|one| one.kernel.len()).max().unwrap_or(0);
    let mut out = String::new();
    for (i, one) in all.iter().enumerate() {
        if i == 0 || (&all[i - 1].gpu, &all[i - 1].checks) != (&one.gpu, &one.checks) {
            let heading = format!("{}, {}", one.gpu, one.checks);
            out += &format!("\n{heading:width$}  registers  spills  scratch  shared  waves  instructions\n");
        }
        let Measured { kernel, registers, spills, scratch, shared, waves, instructions, .. } = one;
        out += &format!(
            "{kernel:width$}  {registers:>9}  {spills:>6}  {scratch:>7}  {shared:>6}  {waves:>5}  {instructions:>12}\n"
        );
    }
    out
}
