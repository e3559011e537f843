// finish(row, col, sum): what a linear layer stores at out[row, col] once the products are summed: act(sum + bias) +
// residual. BIAS and RESIDUAL are the numbers of their bindings, zero where absent.
#import activation

@group(0) @binding(2) var<storage, read_write> out: array<f32>; // [n, rows]
#if BIAS
@group(0) @binding(BIAS) var<storage, read_write> bias: array<f32>; // [rows]
#endif
#if RESIDUAL
@group(0) @binding(RESIDUAL) var<storage, read_write> residual: array<f32>; // [n, rows]
#endif

fn finish(row: u32, col: u32, sum: f32) {
    let at = row * dims.rows + col;
    var value = sum;
#if BIAS
    value += bias[col];
#endif
    value = activate(value);
#if RESIDUAL
    value += residual[at];
#endif
    out[at] = value;
}
