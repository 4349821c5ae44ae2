/* Rounds rows of weights into the blocks of llama.cpp's files (GGUF): one pass over the source.
 *
 * The arithmetic is that of blocks.py, byte for byte; a property test compares the two. Q8_0, Q5_0 and Q4_0 are
 * ggml's reference, bit for bit. Q4_K and Q6_K have ggml's layout and a search of our own, whose order of operations is
 * fixed: groups of a block are rounded side by side, each in a lane of its own, and every sum runs through its group from
 * the first weight to the last. So vectors of any width give the same bytes.
 */
#include <math.h>

#include "numbers.h"

/* As ggml numbers them. */
enum { TO_F32 = 0, TO_F16 = 1, TO_Q4_0 = 2, TO_Q5_0 = 6, TO_Q8_0 = 8, TO_Q4_K = 12, TO_Q6_K = 14, TO_BF16 = 30 };

/* Groups side by side: two blocks of Q4_K, one of Q6_K. */
enum { LANES = 16, BLOCK = 256, CHUNK = 512 };

/* The largest number of F16, in which every scale is stored. */
#define LARGEST 65504.0f
/* Scales below this are nothing in F16, and their inverses might be infinite. */
#define SMALLEST 0x1p-100f

BODY float size(float x) { return as_float(as_bits(x) & 0x7fffffffu); }

/* a where the mask has all bits, b where it has none: without a branch, so that lanes stay together. */
BODY float pick(int32_t mask, float a, float b) {
    return as_float((as_bits(a) & (uint32_t)mask) | (as_bits(b) & ~(uint32_t)mask));
}

/* The nearest integer within the bounds, ties to even; of numbers up to 2^22 in size. */
BODY int32_t nearest(float x, int32_t low, int32_t high) {
    int32_t n = (int32_t)as_bits(x + 12582912.0f) - 0x4b400000;
    n = n > low ? n : low;
    return n < high ? n : high;
}

/* The nearest number of the grid, as bits; of F16 up to LARGEST in size. */
BODY uint16_t signed_narrow(float x, int grid) {
    return (uint16_t)(narrow(size(x), grid) | (as_bits(x) >> 16 & 0x8000u));
}

BODY uint16_t half_of(float x) { return signed_narrow(x, F16); }

BODY float inverse(float scale) {
    float x = scale != 0.0f ? 1.0f / scale : 0.0f;
    return size(x) <= 0x1p127f ? x : 0.0f;
}

/* a where it is positive, else 1: something to divide by. */
BODY float or_one(float a) { return pick(-(a > 0.0f), a, 1.0f); }

/* ---- blocks of 32 with one scale: ggml's reference ---- */

BODY float largest_of_32(const float *x) {
    int32_t top = 0;
    for (int i = 0; i < 32; i++) {
        int32_t v = (int32_t)(as_bits(x[i]) & 0x7fffffffu);
        top = v > top ? v : top;
    }
    return as_float((uint32_t)top);
}

/* Half away from zero, as C's roundf. */
BODY void encode_q8_0(const float *x, unsigned char *out) {
    const float scale = largest_of_32(x) / 127.0f, by = inverse(scale);
    const uint16_t half = half_of(scale);
    memcpy(out, &half, 2);
    for (int i = 0; i < 32; i++) {
        const float v = x[i] * by, a = size(v);
        int32_t n = (int32_t)a;
        n += a - (float)n >= 0.5f;
        out[2 + i] = (unsigned char)(v < 0.0f ? -n : n);
    }
}

/* The weight that is largest in size; of two that are equal in it, the first. */
BODY float extreme_of_32(const float *x) {
    const float top = largest_of_32(x);
    int32_t positive = 32, negative = 32;
    for (int32_t i = 0; i < 32; i++) {
        const int32_t up = x[i] == top ? i : 32, down = x[i] == -top ? i : 32;
        positive = up < positive ? up : positive;
        negative = down < negative ? down : negative;
    }
    return positive <= negative ? top : -top;
}

/* Q4_0 with half = 8, Q5_0 with half = 16: the extreme weight becomes -half, whatever its sign. */
BODY void encode_symmetric(const float *x, int half, unsigned char *out) {
    const float scale = extreme_of_32(x) / (float)-half, by = inverse(scale);
    const uint16_t stored = half_of(scale);
    unsigned char q[32];
    for (int i = 0; i < 32; i++) {
        const int32_t n = (int32_t)(x[i] * by + ((float)half + 0.5f));
        q[i] = (unsigned char)(n < 2 * half - 1 ? n : 2 * half - 1);
    }
    memcpy(out, &stored, 2);
    out += 2;
    if (half == 16) {
        uint32_t fifth = 0;
        for (int i = 0; i < 32; i++) fifth |= (uint32_t)(q[i] >> 4) << i;
        memcpy(out, &fifth, 4);
        out += 4;
    }
    for (int i = 0; i < 16; i++) out[i] = (unsigned char)((q[i] & 15) | (q[16 + i] & 15) << 4);
}

/* ---- blocks of 256 with small scales for their groups: a search ---- */

/* What a weight's squared error counts: its own size and the root mean square of its group. */
BODY void weigh(const float *x, float *w, int length, float *sum_w, float *sum_wx) {
    float mean[LANES];
    for (int i = 0; i < LANES; i++) {
        float squares = 0.0f;
        for (int j = 0; j < length; j++) squares += x[LANES * j + i] * x[LANES * j + i];
        mean[i] = squares / (float)length;
    }
    for (int i = 0; i < LANES; i++) mean[i] = sqrtf(mean[i]);
    for (int i = 0; i < LANES; i++) {
        float a = 0.0f, b = 0.0f;
        for (int j = 0; j < length; j++) {
            const float v = x[LANES * j + i], weight = mean[i] + size(v);
            w[LANES * j + i] = weight;
            a += weight;
            b += weight * v;
        }
        sum_w[i] = a;
        sum_wx[i] = b;
    }
}

/* The best scale and minimum found for each group so far, and by how much they lower the group's squared error. */
typedef struct { float scale[LANES], minimum[LANES], gain[LANES]; } Fit;

/* Round with `by` and `low`, then take the scale and the minimum, at most 0, that fit the integers best. */
BODY void improve_q4_k(const float *x, const float *w, const float *sum_w, const float *sum_wx, const float *low,
                       const float *by, Fit *best) {
    float sum_q[LANES], sum_qq[LANES], sum_qx[LANES];
    for (int i = 0; i < LANES; i++) {
        float a = 0.0f, b = 0.0f, c = 0.0f;
        for (int j = 0; j < 32; j++) {
            const float v = x[LANES * j + i], q = (float)nearest(by[i] * (v - low[i]), 0, 15), wq = w[LANES * j + i] * q;
            a += wq;
            b += wq * q;
            c += wq * v;
        }
        sum_q[i] = a;
        sum_qq[i] = b;
        sum_qx[i] = c;
    }
    for (int i = 0; i < LANES; i++) {
        float determinant = sum_w[i] * sum_qq[i] - sum_q[i] * sum_q[i];
        const int32_t sound = -(determinant > 0.0f);
        determinant = pick(sound, determinant, 1.0f);
        float scale = (sum_w[i] * sum_qx[i] - sum_wx[i] * sum_q[i]) / determinant;
        float minimum = (sum_qq[i] * sum_wx[i] - sum_q[i] * sum_qx[i]) / determinant;
        const int32_t above = -(minimum > 0.0f);
        scale = pick(above, sum_qx[i] / pick(sound, sum_qq[i], 1.0f), scale);
        minimum = pick(above, 0.0f, minimum);
        const float gain = scale * sum_qx[i] + minimum * sum_wx[i];
        const int32_t better = sound & -(gain > best->gain[i]) & -(scale > SMALLEST);
        best->scale[i] = pick(better, scale, best->scale[i]);
        best->minimum[i] = pick(better, minimum, best->minimum[i]);
        best->gain[i] = pick(better, gain, best->gain[i]);
    }
}

/* Integers that a group's range may span, 15 first: of equals the first is kept. */
enum { Q4_K_STEPS = 12, Q6_K_STEPS = 5 };
static const float Q4_K_REACH[Q4_K_STEPS] = {
    15.0f, 12.0f, 12.5f, 13.0f, 13.4f, 13.8f, 14.2f, 14.6f, 15.2f, 15.4f, 15.6f, 15.8f,
};
/* What becomes of a group's extreme weight. */
static const float Q6_K_REACH[Q6_K_STEPS] = {-32.0f, -31.125f, -31.5625f, -32.4375f, -32.875f};

BODY void fit_q4_k(const float *x, const float *w, const float *sum_w, const float *sum_wx, Fit *best) {
    float low[LANES], range[LANES], by[LANES];
    for (int i = 0; i < LANES; i++) {
        float least = 0.0f, most = x[i];
        for (int j = 0; j < 32; j++) {
            const float v = x[LANES * j + i];
            least = v < least ? v : least;
            most = v > most ? v : most;
        }
        low[i] = least;
        range[i] = most - least;
    }
    for (int i = 0; i < LANES; i++) {
        /* With no scale at all, the best minimum is the mean. */
        const float mean = sum_wx[i] / or_one(sum_w[i]);
        best->scale[i] = 0.0f;
        best->minimum[i] = pick(-(mean < 0.0f), mean, 0.0f);
        best->gain[i] = best->minimum[i] * sum_wx[i];
        range[i] = pick(-(range[i] > SMALLEST), range[i], 1.0f / SMALLEST);
    }
    for (int step = 0; step < Q4_K_STEPS; step++) {
        for (int i = 0; i < LANES; i++) by[i] = Q4_K_REACH[step] / range[i];
        improve_q4_k(x, w, sum_w, sum_wx, low, by, best);
    }
    for (int i = 0; i < LANES; i++) {
        /* A scale is 0 or above SMALLEST. */
        by[i] = pick(-(best->scale[i] > 0.0f), 1.0f / or_one(best->scale[i]), 0.0f);
        low[i] = best->minimum[i];
    }
    improve_q4_k(x, w, sum_w, sum_wx, low, by, best);
}

/* Scales and minimums of the groups as small integers under those of their block. */
typedef struct { float scale[LANES], minimum[LANES], error[LANES]; int32_t small_scale[LANES], small_minimum[LANES]; } Small;

/* Units and factors of each group for such integers; `by` is the inverse of `d`, or 0. */
BODY void multiply_q4_k(const Small *small, const int32_t *scale, const int32_t *minimum, float *d, float *m, float *by) {
    for (int i = 0; i < LANES; i++) {
        d[i] = small->scale[i] * (float)scale[i];
        m[i] = small->minimum[i] * (float)minimum[i];
        by[i] = pick(-(d[i] > 0.0f), 1.0f / or_one(d[i]), 0.0f);
    }
}

/* The squared error of each group with these integers; they are kept where it is the least. `refit` is the sum whose
 * mean is the best minimum for the weights' integers. */
BODY void try_q4_k(const float *x, const float *w, const int32_t *scale, const int32_t *minimum, Small *best, float *refit) {
    float error[LANES], d[LANES], m[LANES], by[LANES];
    multiply_q4_k(best, scale, minimum, d, m, by);
    for (int i = 0; i < LANES; i++) {
        float a = 0.0f, b = 0.0f;
        for (int j = 0; j < 32; j++) {
            const float v = x[LANES * j + i], above = d[i] * (float)nearest(by[i] * (v + m[i]), 0, 15) - v;
            const float off = above - m[i];
            a += w[LANES * j + i] * above;
            b += w[LANES * j + i] * off * off;
        }
        refit[i] = a;
        error[i] = b;
    }
    for (int i = 0; i < LANES; i++) {
        const int32_t better = -(error[i] < best->error[i]);
        best->error[i] = pick(better, error[i], best->error[i]);
        best->small_scale[i] = (scale[i] & better) | (best->small_scale[i] & ~better);
        best->small_minimum[i] = (minimum[i] & better) | (best->small_minimum[i] & ~better);
    }
}

/* The nearest small integer times `unit`, which may be 0. */
BODY int32_t small_of(float x, float unit) { return nearest(x / or_one(unit), 0, 63) & -(unit > 0.0f); }

BODY void search_q4_k(const float *x, const float *w, const float *sum_w, const Fit *fit, Small *best) {
    float refit[LANES];
    int32_t scale[LANES], minimum[LANES];
    for (int i = 0; i < LANES; i++) best->error[i] = INFINITY;
    for (int i = 0; i < LANES; i++) best->small_scale[i] = best->small_minimum[i] = 0;
    for (int step = -1; step <= 1; step++) {
        for (int i = 0; i < LANES; i++) {
            const int32_t near = small_of(fit->scale[i], best->scale[i]) + step;
            scale[i] = (near < 0 ? 0 : near > 63 ? 63 : near) & -(best->scale[i] > 0.0f);
            minimum[i] = small_of(-fit->minimum[i], best->minimum[i]);
        }
        try_q4_k(x, w, scale, minimum, best, refit);
        for (int i = 0; i < LANES; i++) minimum[i] = small_of(refit[i] / or_one(sum_w[i]), best->minimum[i]);
        try_q4_k(x, w, scale, minimum, best, refit);
    }
}

BODY void pack_q4_k(const unsigned char *q, const int32_t *scale, const int32_t *minimum, unsigned char *out) {
    for (int j = 0; j < 4; j++) {
        out[4 + j] = (unsigned char)(scale[j] | scale[j + 4] >> 4 << 6);
        out[8 + j] = (unsigned char)(minimum[j] | minimum[j + 4] >> 4 << 6);
        out[12 + j] = (unsigned char)((scale[j + 4] & 15) | (minimum[j + 4] & 15) << 4);
    }
    for (int pair = 0; pair < 4; pair++)
        for (int j = 0; j < 32; j++)
            out[16 + 32 * pair + j] = (unsigned char)(q[64 * pair + j] | q[64 * pair + 32 + j] << 4);
}

/* Two blocks of 256: x[LANES * j + i] is weight j of group i. */
BODY void encode_q4_k(const float *x, unsigned char *out, int blocks) {
    float w[CHUNK], sum_w[LANES], sum_wx[LANES], d[LANES], m[LANES], by[LANES];
    int32_t integers[CHUNK];
    unsigned char q[CHUNK];
    uint16_t half_scale[2], half_minimum[2];
    Fit fit;
    Small best;
    weigh(x, w, 32, sum_w, sum_wx);
    fit_q4_k(x, w, sum_w, sum_wx, &fit);
    for (int b = 0; b < 2; b++) {
        float scale = 0.0f, minimum = 0.0f;
        for (int i = 8 * b; i < 8 * b + 8; i++) {
            scale = fit.scale[i] > scale ? fit.scale[i] : scale;
            minimum = -fit.minimum[i] > minimum ? -fit.minimum[i] : minimum;
        }
        half_scale[b] = half_of(scale / 63.0f);
        half_minimum[b] = half_of(minimum / 63.0f);
        for (int i = 8 * b; i < 8 * b + 8; i++) best.scale[i] = widen(half_scale[b], F16);
        for (int i = 8 * b; i < 8 * b + 8; i++) best.minimum[i] = widen(half_minimum[b], F16);
    }
    search_q4_k(x, w, sum_w, &fit, &best);
    multiply_q4_k(&best, best.small_scale, best.small_minimum, d, m, by);
    for (int j = 0; j < 32; j++)
        for (int i = 0; i < LANES; i++) integers[LANES * j + i] = nearest(by[i] * (x[LANES * j + i] + m[i]), 0, 15);
    for (int i = 0; i < LANES; i++)
        for (int j = 0; j < 32; j++) q[32 * i + j] = (unsigned char)integers[LANES * j + i];
    for (int b = 0; b < blocks; b++) {
        memcpy(out + 144 * b, &half_scale[b], 2);
        memcpy(out + 144 * b + 2, &half_minimum[b], 2);
        pack_q4_k(q + BLOCK * b, best.small_scale + 8 * b, best.small_minimum + 8 * b, out + 144 * b);
    }
}

/* The scale of each group of 16, of either sign: its extreme weight comes near -32. */
BODY void fit_q6_k(const float *x, const float *w, float *scale) {
    float extreme[LANES], by[LANES], gain[LANES];
    for (int i = 0; i < LANES; i++) {
        float most = x[i], least = x[i];
        for (int j = 1; j < 16; j++) {
            const float v = x[LANES * j + i];
            most = v > most ? v : most;
            least = v < least ? v : least;
        }
        extreme[i] = pick(-(most >= -least), most, least);
        scale[i] = gain[i] = 0.0f;
    }
    for (int step = 0; step < Q6_K_STEPS; step++) {
        for (int i = 0; i < LANES; i++) {
            const int32_t sound = -(size(extreme[i]) > SMALLEST);
            by[i] = pick(sound, Q6_K_REACH[step] / pick(sound, extreme[i], 1.0f), 0.0f);
        }
        float sum_qx[LANES], sum_qq[LANES];
        for (int i = 0; i < LANES; i++) {
            float a = 0.0f, b = 0.0f;
            for (int j = 0; j < 16; j++) {
                const float v = x[LANES * j + i], q = (float)nearest(by[i] * v, -32, 31), wq = w[LANES * j + i] * q;
                a += wq * v;
                b += wq * q;
            }
            sum_qx[i] = a;
            sum_qq[i] = b;
        }
        for (int i = 0; i < LANES; i++) {
            const float fitted = sum_qx[i] / or_one(sum_qq[i]), gained = fitted * sum_qx[i];
            const int32_t better = -(gained > gain[i]);
            scale[i] = pick(better, fitted, scale[i]);
            gain[i] = pick(better, gained, gain[i]);
        }
    }
}

BODY void pack_q6_k(const unsigned char *q, unsigned char *out) {
    for (int half = 0; half < 2; half++, q += 128)
        for (int j = 0; j < 32; j++) {
            const unsigned a = q[j], b = q[j + 32], c = q[j + 64], d = q[j + 96];
            out[64 * half + j] = (unsigned char)((a & 15) | (c & 15) << 4);
            out[64 * half + 32 + j] = (unsigned char)((b & 15) | (d & 15) << 4);
            out[128 + 32 * half + j] = (unsigned char)(a >> 4 | b >> 4 << 2 | c >> 4 << 4 | d >> 4 << 6);
        }
}

/* Factors of each group for such small scales under `unit`; `by` is the inverse of `d`, or 0. */
BODY void multiply_q6_k(float unit, const int32_t *small, float *d, float *by) {
    for (int i = 0; i < LANES; i++) {
        d[i] = unit * (float)small[i];
        by[i] = pick(-(d[i] != 0.0f), 1.0f / pick(-(d[i] != 0.0f), d[i], 1.0f), 0.0f);
    }
}

BODY void search_q6_k(const float *x, const float *w, const float *scale, float unit, int32_t *small) {
    float error[LANES], d[LANES], by[LANES], least[LANES];
    int32_t tried[LANES];
    for (int i = 0; i < LANES; i++) least[i] = INFINITY;
    for (int i = 0; i < LANES; i++) small[i] = 0;
    if (unit == 0.0f) return;
    for (int step = -1; step <= 1; step++) {
        for (int i = 0; i < LANES; i++) {
            const int32_t near = nearest(scale[i] / unit, -128, 127) + step;
            tried[i] = near < -128 ? -128 : near > 127 ? 127 : near;
        }
        multiply_q6_k(unit, tried, d, by);
        for (int i = 0; i < LANES; i++) {
            float sum = 0.0f;
            for (int j = 0; j < 16; j++) {
                const float v = x[LANES * j + i], off = d[i] * (float)nearest(by[i] * v, -32, 31) - v;
                sum += w[LANES * j + i] * off * off;
            }
            error[i] = sum;
        }
        for (int i = 0; i < LANES; i++) {
            const int32_t better = -(error[i] < least[i]);
            least[i] = pick(better, error[i], least[i]);
            small[i] = (tried[i] & better) | (small[i] & ~better);
        }
    }
}

/* One block of 256: x[LANES * j + i] is weight j of group i. */
BODY void encode_q6_k(const float *x, unsigned char *out) {
    float w[BLOCK], sum_w[LANES], sum_wx[LANES], scale[LANES], d[LANES], by[LANES], extreme = 0.0f;
    int32_t small[LANES], integers[BLOCK];
    unsigned char q[BLOCK];
    weigh(x, w, 16, sum_w, sum_wx);
    fit_q6_k(x, w, scale);
    for (int i = 0; i < LANES; i++) extreme = size(scale[i]) > size(extreme) ? scale[i] : extreme;
    const uint16_t half = half_of(extreme / -128.0f);
    const float unit = widen(half, F16);
    search_q6_k(x, w, scale, unit, small);
    multiply_q6_k(unit, small, d, by);
    for (int j = 0; j < 16; j++)
        for (int i = 0; i < LANES; i++) integers[LANES * j + i] = nearest(by[i] * x[LANES * j + i], -32, 31) + 32;
    for (int i = 0; i < LANES; i++) {
        for (int j = 0; j < 16; j++) q[16 * i + j] = (unsigned char)integers[LANES * j + i];
        out[192 + i] = (unsigned char)small[i];
    }
    pack_q6_k(q, out);
    memcpy(out + 208, &half, 2);
}

/* ---- rows ---- */

/* Weights as single precision, whatever their grid: `count` of them, at most CHUNK. */
BODY void widen_chunk(const unsigned char *row, int64_t start, int count, int grid, float *x) {
    if (grid == BF16) for (int i = 0; i < count; i++) x[i] = widen(load(row, start + i, BF16), BF16);
    else if (grid == F16) for (int i = 0; i < count; i++) x[i] = widen(load(row, start + i, F16), F16);
    else for (int i = 0; i < count; i++) x[i] = widen(load(row, start + i, F32), F32);
}

/* Weight j of each group beside those of the others; lanes without a group of their own hold zeros. */
BODY void encode_256s(const float *plain, int count, int type, unsigned char *out) {
    float x[CHUNK];
    if (type == TO_Q6_K) {
        for (int i = 0; i < LANES; i++)
            for (int j = 0; j < 16; j++) x[LANES * j + i] = plain[16 * i + j];
        encode_q6_k(x, out);
        return;
    }
    for (int i = 0; i < LANES; i++)
        for (int j = 0; j < 32; j++) x[LANES * j + i] = 32 * i < count ? plain[32 * i + j] : 0.0f;
    encode_q4_k(x, out, count / BLOCK);
}

/* A whole number of blocks, at most CHUNK weights, of Q6_K one block; `added` to each weight is F32's alone. */
BODY void encode_chunk(const float *x, int count, int type, float added, unsigned char *out) {
    switch (type) {
        case TO_F32:
            for (int i = 0; i < count; i++) { const float sum = added != 0.0f ? x[i] + added : x[i]; memcpy(out + 4 * i, &sum, 4); }
            return;
        case TO_F16:
            for (int i = 0; i < count; i++) { const uint16_t half = half_of(x[i]); memcpy(out + 2 * i, &half, 2); }
            return;
        case TO_BF16:
            for (int i = 0; i < count; i++) { const uint16_t half = signed_narrow(x[i], BF16); memcpy(out + 2 * i, &half, 2); }
            return;
        case TO_Q4_0:
            for (int b = 0; 32 * b < count; b++) encode_symmetric(x + 32 * b, 8, out + 18 * b);
            return;
        case TO_Q5_0:
            for (int b = 0; 32 * b < count; b++) encode_symmetric(x + 32 * b, 16, out + 22 * b);
            return;
        case TO_Q8_0:
            for (int b = 0; 32 * b < count; b++) encode_q8_0(x + 32 * b, out + 34 * b);
            return;
        default:
            encode_256s(x, count, type, out);
    }
}

/* The first row that holds a NaN, an infinity, or a weight above LARGEST where that is F16's bound too; -1 when all are
 * done. `columns` is a multiple of the type's block of `length` weights in `bytes`. */
BODY int64_t encode_blocks(const int level, const unsigned char *source, int grid, int64_t rows, int64_t columns, int type,
                           int64_t length, int64_t bytes, float added, unsigned char *out) {
    (void)level;
    const int64_t most = type == TO_Q6_K ? BLOCK : CHUNK;
    float x[CHUNK];
    for (int64_t r = 0; r < rows; r++) {
        const unsigned char *row = source + r * columns * size_of(grid);
        const uint32_t top = largest(row, 0, columns, grid);
        if (top >= not_finite(grid) || (type != TO_F32 && type != TO_BF16 && widen(top, grid) > LARGEST)) return r;
        for (int64_t start = 0; start < columns; start += most) {
            const int count = (int)(columns - start < most ? columns - start : most);
            widen_chunk(row, start, count, grid, x);
            encode_chunk(x, count, type, added, out);
            out += count / length * bytes;
        }
    }
    return -1;
}

DISPATCH(int64_t, encode_blocks,
         (const unsigned char *source, int grid, int64_t rows, int64_t columns, int type, int64_t length, int64_t bytes,
          float added, unsigned char *out),
         (source, grid, rows, columns, type, length, bytes, added, out))
