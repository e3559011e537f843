// Draws one token from the logits. One workgroup; invocation `lane` owns tokens lane, lane + 256, ... in every pass, so
// that no pass reads from a buffer what another invocation wrote.
//
// No sort: the k-th largest score is the largest t with at least k scores >= t, and the smallest set of mass p are the
// scores >= the largest t whose mass(scores >= t) reaches p. Both are built two bits at a time on the scores' bits,
// mapped so that integers order as the floats do. The draw walks the tokens in the order of (lane, token).

@group(0) @binding(0) var<storage, read_write> logits: array<f32>; // [vocab]
@group(0) @binding(1) var<storage, read_write> params: array<u32>; // [9..], see kernels::sample
@group(0) @binding(2) var<storage, read_write> seen: array<u32>; // [vocab]: in the prompt (bit 0), times generated
@group(0) @binding(3) var<storage, read_write> tokens: array<u32>; // [max_new]
@group(0) @binding(4) var<storage, read_write> state: array<u32>; // [position, step, token, _]
@group(0) @binding(5) var<storage, read_write> scores: array<f32>; // [vocab] scratch: after penalties and temperature

struct Setup {
    done: u32,
    greedy: u32,
    top_k: u32,
    top_p: f32,
}

var<workgroup> shared_setup: Setup;
var<workgroup> best_scores: array<f32, 256>;
var<workgroup> best_tokens: array<u32, 256>;
var<workgroup> counts: array<vec3<u32>, 256>;
var<workgroup> masses: array<vec3<f32>, 256>;
var<workgroup> drawn: u32;

const NO_TOKEN: u32 = 0xffffffffu;

// Integers that order as the floats do.
fn ordered(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    return bits ^ select(0x80000000u, 0xffffffffu, bits >= 0x80000000u);
}

// Chris Wellons' lowbias32.
fn mix_bits(word: u32) -> u32 {
    var x = word;
    x ^= x >> 16u;
    x *= 0x7feb352du;
    x ^= x >> 15u;
    x *= 0x846ca68bu;
    return x ^ (x >> 16u);
}

// Repetition penalty as in transformers, then frequency and presence penalty as in OpenAI's API.
fn penalized(token: u32) -> f32 {
    let count = seen[token];
    var score = logits[token];
    if (count != 0u) {
        let penalty = bitcast<f32>(params[6]);
        score = select(score / penalty, score * penalty, score < 0.0);
    }
    let generated = count >> 1u;
    return score - f32(generated) * bitcast<f32>(params[7]) - select(0.0, bitcast<f32>(params[8]), generated > 0u);
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    if (lane == 0u) {
        shared_setup.done = select(0u, 1u, state[1] >= dims.max_new);
        shared_setup.greedy = params[0];
        shared_setup.top_k = params[2];
        shared_setup.top_p = bitcast<f32>(params[3]);
    }
    // Read this way all invocations provably agree on it, as barriers under a condition demand.
    let setup = workgroupUniformLoad(&shared_setup);
    if (setup.done != 0u) {
        return;
    }

    var best = -3.4e38;
    var best_token = NO_TOKEN;
    for (var token = lane; token < dims.vocab; token += 256u) {
        let score = penalized(token);
        if (best_token == NO_TOKEN || score > best) {
            best = score;
            best_token = token;
        }
        if (setup.greedy == 0u) {
            scores[token] = score / bitcast<f32>(params[1]);
        }
    }
    best_scores[lane] = best;
    best_tokens[lane] = best_token;
    workgroupBarrier();
    best = best_scores[0];
    best_token = best_tokens[0];
    for (var i = 1u; i < min(256u, dims.vocab); i++) {
        if (best_scores[i] > best || (best_scores[i] == best && best_tokens[i] < best_token)) {
            best = best_scores[i];
            best_token = best_tokens[i];
        }
    }
    if (lane == 0u) {
        drawn = best_token;
    }

    if (setup.greedy == 0u) {
        let top = best / bitcast<f32>(params[1]);
        var lowest = 0u;
        if (setup.top_k > 0u && setup.top_k < dims.vocab) {
            for (var round = 0u; round < 16u; round++) {
                let candidates = vec3<u32>(lowest) | (vec3<u32>(1u, 2u, 3u) << vec3<u32>(30u - 2u * round));
                var count = vec3<u32>();
                for (var token = lane; token < dims.vocab; token += 256u) {
                    count += select(vec3<u32>(), vec3<u32>(1u), vec3<u32>(ordered(scores[token])) >= candidates);
                }
                counts[lane] = count;
                workgroupBarrier();
                count = vec3<u32>();
                for (var i = 0u; i < 256u; i++) {
                    count += counts[i];
                }
                workgroupBarrier();
                for (var i = 0u; i < 3u; i++) {
                    lowest = select(lowest, candidates[i], count[i] >= setup.top_k);
                }
            }
        }
        if (setup.top_p < 1.0) {
            var mass = 0.0;
            for (var token = lane; token < dims.vocab; token += 256u) {
                mass += select(0.0, exp(scores[token] - top), ordered(scores[token]) >= lowest);
            }
            masses[lane].x = mass;
            workgroupBarrier();
            var goal = 0.0;
            for (var i = 0u; i < 256u; i++) {
                goal += masses[i].x;
            }
            goal *= setup.top_p;
            workgroupBarrier();
            var nucleus = 0u;
            for (var round = 0u; round < 16u; round++) {
                let candidates = vec3<u32>(nucleus) | (vec3<u32>(1u, 2u, 3u) << vec3<u32>(30u - 2u * round));
                var sums = vec3<f32>();
                for (var token = lane; token < dims.vocab; token += 256u) {
                    let bits = ordered(scores[token]);
                    let weight = select(0.0, exp(scores[token] - top), bits >= lowest);
                    sums += select(vec3<f32>(), vec3<f32>(weight), vec3<u32>(bits) >= candidates);
                }
                masses[lane] = sums;
                workgroupBarrier();
                sums = vec3<f32>();
                for (var i = 0u; i < 256u; i++) {
                    sums += masses[i];
                }
                workgroupBarrier();
                for (var i = 0u; i < 3u; i++) {
                    nucleus = select(nucleus, candidates[i], sums[i] > 0.0 && sums[i] >= goal);
                }
            }
            lowest = max(lowest, nucleus);
        }

        var mass = 0.0;
        for (var token = lane; token < dims.vocab; token += 256u) {
            mass += select(0.0, exp(scores[token] - top), ordered(scores[token]) >= lowest);
        }
        masses[lane].x = mass;
        workgroupBarrier();
        var before = 0.0;
        var total = 0.0;
        for (var i = 0u; i < 256u; i++) {
            if (i == lane) {
                before = total;
            }
            total += masses[i].x;
        }
        let hash = mix_bits(params[4] ^ mix_bits(params[5] ^ mix_bits(state[1] + 0x9e3779b9u)));
        let target_mass = f32(hash >> 8u) / 16777216.0 * total;
        // Exactly one invocation's share holds the target, unless rounding leaves it to the likeliest token.
        if (before <= target_mass && target_mass < before + mass) {
            var reached = before;
            for (var token = lane; token < dims.vocab; token += 256u) {
                let weight = select(0.0, exp(scores[token] - top), ordered(scores[token]) >= lowest);
                if (weight > 0.0 && reached <= target_mass) {
                    drawn = token;
                    reached += weight;
                }
            }
        }
        workgroupBarrier();
    }

    if (lane == 0u) {
        let step = state[1];
        tokens[step] = drawn;
        seen[drawn] += 2u;
        state[0] += 1u;
        state[1] = step + 1u;
        state[2] = drawn;
    }
}
