// out[at, row] = act(sum + bias) + residual.
#import activation

@group(0) @binding(4) var<storage, read_write> residual: array<f32>; // [n, rows], read if dims.has_residual

fn finish(at: u32, pair: u32, sums: vec2<f32>) {
    for (var member = 0u; member < 2u; member++) {
        let row = pair * 2u + member;
        if (row < dims.rows) {
            var value = activate(biased(row, sums[member]), dims.activation);
            if (dims.has_residual != 0u) {
                value += residual[at * dims.rows + row];
            }
            out[at * dims.rows + row] = value;
        }
    }
}
