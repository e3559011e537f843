// out[at, i] = act(gate) * up: the gate's row i is paired with the row i of up, which lies below all of the gate.
#import activation

fn finish(at: u32, pair: u32, sums: vec2<f32>) {
    let gate = biased(pair, sums.x);
    let up = biased(pair + dims.distance, sums.y);
    out[at * dims.distance + pair] = activate(gate, dims.activation) * up;
}
