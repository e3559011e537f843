//! Dot products of rows of floats, several at a time.

use super::simd::Simd;

/// The dot products of each of `a` with each of `b`, which are rows of `len` floats. What a tile loads once is used `M`
/// and `N` times; its sums stay in registers where these are few enough.
#[inline(always)]
pub unsafe fn tile<S: Simd, const M: usize, const N: usize>(
    a: [*const f32; M],
    b: [*const f32; N],
    len: usize,
) -> [[f32; N]; M] {
    let whole = len / S::LANES * S::LANES;
    let mut sums = [[S::splat(0.0); N]; M];
    let mut k = 0;
    while k < whole {
        unsafe {
            let mut left = [S::splat(0.0); M];
            for m in 0..M {
                left[m] = S::load(a[m].add(k));
            }
            for n in 0..N {
                let right = S::load(b[n].add(k));
                for m in 0..M {
                    sums[m][n] = S::mul_add(left[m], right, sums[m][n]);
                }
            }
        }
        k += S::LANES;
    }
    let mut out = [[0.0; N]; M];
    for m in 0..M {
        for n in 0..N {
            out[m][n] = S::sum(sums[m][n]);
            for k in whole..len {
                out[m][n] += unsafe { *a[m].add(k) * *b[n].add(k) };
            }
        }
    }
    out
}

/// One dot product, in four sums that do not wait for each other.
#[inline(always)]
pub unsafe fn dot<S: Simd>(a: *const f32, b: *const f32, len: usize) -> f32 {
    let step = 4 * S::LANES;
    let mut sums = [S::splat(0.0); 4];
    let mut k = 0;
    unsafe {
        while k + step <= len {
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = S::mul_add(S::load(a.add(k + i * S::LANES)), S::load(b.add(k + i * S::LANES)), *sum);
            }
            k += step;
        }
        let sums = S::add(S::add(sums[0], sums[1]), S::add(sums[2], sums[3]));
        let [[rest]] = tile::<S, 1, 1>([a.add(k)], [b.add(k)], len - k);
        S::sum(sums) + rest
    }
}
