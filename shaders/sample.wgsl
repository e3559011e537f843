// Draws one token from the logits. One workgroup; invocation `lane` owns tokens lane, lane + LANES, ... in every pass, so
// that no pass reads from a buffer what another invocation wrote.
// On CPU adapters there are fewer of them: a barrier costs by the invocation.
//
// No sort: the k-th largest score is the largest t with at least k scores >= t, and the smallest set of mass p are the
// scores >= the largest t whose mass(scores >= t) reaches p. Both are built on the scores' bits, mapped so that integers order as
// the floats do, DIGIT bits in a pass, which looks at all 4 * QUADS values that these may have. The draw walks the tokens in
// the order of (lane, token).
//
// If any logit is no finite number there is nothing to draw from: BROKEN is recorded as the token.
//
// Beside the token its log-probability is recorded, by the logits as they are: what the model thought of it.

@group(0) @binding(0) var<storage, read_write> logits: array<f32>; // [vocab]
@group(0) @binding(1) var<storage, read_write> params: array<u32>; // [9..], see kernels::sample
@group(0) @binding(2) var<storage, read_write> seen: array<u32>; // [vocab]: in the prompt (bit 0), times generated
@group(0) @binding(3) var<storage, read_write> tokens: array<u32>; // [2, max_new]: tokens, log-probabilities (f32)
@group(0) @binding(4) var<storage, read_write> state: array<u32>; // [position, step, token, _]
@group(0) @binding(5) var<storage, read_write> scores: array<f32>; // [vocab] scratch: after penalties and temperature

struct Setup {
    done: u32,
    greedy: u32,
    top_k: u32,
    top_p: f32,
}

struct Best {
    score: f32,
    token: u32,
}

// The sum of exp(logit - top) over some logits, of which top is the largest.
struct Mass {
    top: f32,
    sum: f32,
}

// Who draws, and at which mass of its own tokens.
struct Draw {
    lane: u32,
    mass: f32,
}

var<workgroup> shared_setup: Setup;
var<workgroup> partial_bests: array<Best, LANES>;
var<workgroup> partial_sums: array<vec4<f32>, LANES>;
var<workgroup> partial_masses: array<Mass, LANES>;
var<workgroup> best: Best;
var<workgroup> whole: Mass;
var<workgroup> draw: Draw;
var<workgroup> drawn: u32;
var<workgroup> reached: f32;

const NO_TOKEN: u32 = 0xffffffffu;
const BROKEN: u32 = 0xfffffffeu;
// Below any logit, and no infinity, of which compilers may take for granted that there is none.
const LOWEST: f32 = -3e38;

// By its bits: compilers may take for granted that floats are finite numbers.
fn is_broken(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}

// The higher score, of equal ones the lower token; a broken one above all.
fn better(a: Best, b: Best) -> Best {
    if (a.token == BROKEN || b.token == BROKEN) {
        return Best(0.0, BROKEN);
    }
    if (b.token != NO_TOKEN && (a.token == NO_TOKEN || b.score > a.score || (b.score == a.score && b.token < a.token))) {
        return b;
    }
    return a;
}

fn joined(a: Mass, b: Mass) -> Mass {
    let top = max(a.top, b.top);
    return Mass(top, a.sum * exp(a.top - top) + b.sum * exp(b.top - top));
}

// The sum over all invocations, the same in each, in two steps; LANES is the square of STEP.
fn sum_of_all(lane: u32, value: vec4<f32>) -> vec4<f32> {
    partial_sums[lane] = value;
    workgroupBarrier();
    var sum = vec4<f32>();
    if (lane < STEP) {
        for (var i = lane; i < LANES; i += STEP) {
            sum += partial_sums[i];
        }
        partial_sums[lane] = sum;
    }
    workgroupBarrier();
    sum = vec4<f32>();
    for (var i = 0u; i < STEP; i++) {
        sum += partial_sums[i];
    }
    workgroupBarrier();
    return sum;
}

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
fn penalized(token: u32, logit: f32) -> f32 {
    let count = seen[token];
    var score = logit;
    if (count != 0u) {
        let penalty = bitcast<f32>(params[6]);
        score = select(score / penalty, score * penalty, score < 0.0);
    }
    let generated = count >> 1u;
    return score - f32(generated) * bitcast<f32>(params[7]) - select(0.0, bitcast<f32>(params[8]), generated > 0u);
}

@compute @workgroup_size(LANES)
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

    var own = Best(0.0, NO_TOKEN);
    var own_mass = Mass(LOWEST, 0.0);
    for (var token = lane; token < dims.vocab; token += LANES) {
        let logit = logits[token];
        let score = penalized(token, logit);
        own = better(own, Best(score, select(token, BROKEN, is_broken(logit))));
        // As `joined` with a mass of one, by one exponential: of either the other's is exp(0).
        let shrunk = exp(-abs(logit - own_mass.top));
        own_mass.sum = select(own_mass.sum + shrunk, own_mass.sum * shrunk + 1.0, logit > own_mass.top);
        own_mass.top = max(own_mass.top, logit);
        if (setup.greedy == 0u) {
            scores[token] = score / bitcast<f32>(params[1]);
        }
    }
    partial_bests[lane] = own;
    partial_masses[lane] = own_mass;
    workgroupBarrier();
    if (lane < STEP) {
        for (var i = lane + STEP; i < LANES; i += STEP) {
            own = better(own, partial_bests[i]);
            own_mass = joined(own_mass, partial_masses[i]);
        }
        partial_bests[lane] = own;
        partial_masses[lane] = own_mass;
    }
    workgroupBarrier();
    if (lane == 0u) {
        for (var i = 1u; i < STEP; i++) {
            own = better(own, partial_bests[i]);
            own_mass = joined(own_mass, partial_masses[i]);
        }
        best = own;
        whole = own_mass;
        drawn = own.token;
    }

    if (setup.greedy == 0u) {
        let top = workgroupUniformLoad(&best).score / bitcast<f32>(params[1]);
        var lowest = 0u;
        if (setup.top_k > 0u && setup.top_k < dims.vocab) {
            for (var shift = 32u - DIGIT; shift < 32u; shift -= DIGIT) {
#repeat q QUADS
                let candidates$q = vec4<u32>(lowest) | ((vec4<u32>(0u, 1u, 2u, 3u) + 4u * $qu) << vec4<u32>(shift));
                var count$q = vec4<f32>(); // exact: fewer than 2^24 tokens
#end
                for (var token = lane; token < dims.vocab; token += LANES) {
                    let bits = vec4<u32>(ordered(scores[token]));
#repeat q QUADS
                    count$q += select(vec4<f32>(), vec4<f32>(1.0), bits >= candidates$q);
#end
                }
                var kept = 0.0;
#repeat q QUADS
                count$q = sum_of_all(lane, count$q);
                for (var i = 0u; i < 4u; i++) {
                    if (count$q[i] >= f32(setup.top_k)) {
                        lowest = candidates$q[i];
                        kept = count$q[i];
                    }
                }
#end
                // Exactly as many: lower bits would keep the same ones.
                if (lane == 0u) {
                    reached = kept;
                }
                if (workgroupUniformLoad(&reached) == f32(setup.top_k)) {
                    break;
                }
            }
        }
        if (setup.top_p < 1.0) {
            var mass = 0.0;
            for (var token = lane; token < dims.vocab; token += LANES) {
                mass += select(0.0, exp(scores[token] - top), ordered(scores[token]) >= lowest);
            }
            let goal = sum_of_all(lane, vec4<f32>(mass)).x * setup.top_p;
            var nucleus = 0u;
            for (var shift = 32u - DIGIT; shift < 32u; shift -= DIGIT) {
#repeat q QUADS
                let candidates$q = vec4<u32>(nucleus) | ((vec4<u32>(0u, 1u, 2u, 3u) + 4u * $qu) << vec4<u32>(shift));
                var sums$q = vec4<f32>();
#end
                for (var token = lane; token < dims.vocab; token += LANES) {
                    let bits = ordered(scores[token]);
                    let weight = select(0.0, exp(scores[token] - top), bits >= lowest);
#repeat q QUADS
                    sums$q += select(vec4<f32>(), vec4<f32>(weight), vec4<u32>(bits) >= candidates$q);
#end
                }
#repeat q QUADS
                sums$q = sum_of_all(lane, sums$q);
                for (var i = 0u; i < 4u; i++) {
                    nucleus = select(nucleus, candidates$q[i], sums$q[i] > 0.0 && sums$q[i] >= goal);
                }
#end
            }
            lowest = max(lowest, nucleus);
        }

        var mass = 0.0;
        for (var token = lane; token < dims.vocab; token += LANES) {
            mass += select(0.0, exp(scores[token] - top), ordered(scores[token]) >= lowest);
        }
        partial_sums[lane].x = mass;
        workgroupBarrier();
        if (lane == 0u) {
            var total = 0.0;
            for (var i = 0u; i < LANES; i++) {
                total += partial_sums[i].x;
            }
            let hash = mix_bits(params[4] ^ mix_bits(params[5] ^ mix_bits(state[1] + 0x9e3779b9u)));
            draw.mass = f32(hash >> 8u) / 16777216.0 * total;
            // The invocation whose share holds that mass; none if rounding leaves it to the likeliest token.
            draw.lane = LANES;
            var before = 0.0;
            for (var i = 0u; i < LANES && draw.lane == LANES; i++) {
                let end = before + partial_sums[i].x;
                if (draw.mass < end) {
                    draw.lane = i;
                    draw.mass -= before;
                }
                before = end;
            }
        }
        workgroupBarrier();
        if (lane == draw.lane) {
            var passed = 0.0;
            for (var token = lane; token < dims.vocab; token += LANES) {
                let weight = select(0.0, exp(scores[token] - top), ordered(scores[token]) >= lowest);
                if (weight > 0.0 && passed <= draw.mass) {
                    drawn = token;
                    passed += weight;
                }
            }
        }
        workgroupBarrier();
    }

    if (lane == 0u) {
        let step = state[1];
        let token = select(drawn, BROKEN, best.token == BROKEN);
        tokens[step] = token;
        if (token != BROKEN) {
            seen[token] += 2u;
            tokens[dims.max_new + step] = bitcast<u32>(logits[token] - whole.top - log(whole.sum));
        }
        state[0] += 1u;
        state[1] = step + 1u;
        state[2] = token;
    }
}
