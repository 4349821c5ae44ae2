/* Rounds rows of weights to integers, one scale a group of columns, and packs them: one pass over the source.
 *
 * The arithmetic is that of twin.py, byte for byte; a property test compares the two.
 */
#include "numbers.h"
#include "packing.h"

/* How rows are rounded; library.py has the same fields. */
struct integers {
    int64_t columns, group;
    int32_t grid, bits;
    /* Whether values are packed into words, offset to be unsigned; else one signed byte each. */
    int32_t packed;
    int32_t symmetric;
    /* Whether each group's scale is searched for; else it is the largest weight's. */
    int32_t search;
};

/* What a group's weights become: round(weight / scale + zero), in [low, high]. */
struct target {
    float scale, zero, low, high;
    /* 1 / scale, as nearly as a float can be; 0 where it would come near the ends of their range. */
    float inverse;
};

/* Groups whose scales are found together: their weights stay in the nearest cache until they are rounded. */
enum { TOGETHER = 64, TOGETHER_COLUMNS = 4096 };

/* Added to a number of at most 2^22 in size, this leaves the integer it rounds to in the low bits. */
#define MAGIC 12582912.0f

/* Columns summed together when a search tells whether to go on: any multiple of 16, since it changes no result. */
enum { LANES = 16, GO_ON = 512 };

#if defined(MODELPRESS_X86)
#define INSTRUCTIONS AVX512
#include "wide.h"
#include "integers_wide.h"
#undef INSTRUCTIONS
#define INSTRUCTIONS AVX2
#include "wide.h"
#include "integers_wide.h"
#endif

/* Whether weights are multiplied by an inverse, where there is one. */
BODY int multiplies(int grid) { return grid != F32; }

/* On a 16-bit grid a weight times the nearest float to 1 / scale, rounded to the grid, is what their quotient would be:
 * a quotient that is not one of the numbers at which rounding turns is further from them than the product from it, and
 * of those that are, the product is. A test compares every pair of significands. */
BODY float inverse_of(float scale) { return scale > 0x1p-100f && scale < 0x1p100f ? 1.0f / scale : 0.0f; }

/* As round_normal does, in fewer steps: the power of two below a number, times 2^16 (2^13), has the bits to be lost
 * below its last one. Numbers of at most 2^100 in size. */
BODY float round_near(const int inverted, float x, int grid) {
    if (!inverted) return round_normal(x, grid);
    const float power = as_float(as_bits(x) & 0xff800000u) * (grid == BF16 ? 0x1p16f : 0x1p13f);
    return (x + power) - power;
}

/* weight / scale + zero within [low, high], each operation rounded to the grid. */
BODY float place(int grid, const int symmetric, const int inverted, float weight, const struct target *target) {
    float x = inverted ? weight * target->inverse : weight / target->scale;
    x = round_near(inverted, x, grid);
    if (!symmetric) x = round_near(inverted, x + target->zero, grid);
    x = x < target->low ? target->low : x;
    return x > target->high ? target->high : x;
}

/* Values of `count` weights: the low 8 bits of integer + offset. */
BODY void round_run(const unsigned char *from, int64_t count, int grid, const int symmetric, const int inverted,
                    const struct target *target, float offset, unsigned char *values) {
    const struct target to = *target;
    for (int64_t i = 0; i < count; i++) {
        const float x = place(grid, symmetric, inverted, widen(load(from, i, grid), grid), &to);
        values[i] = (unsigned char)(as_bits(x + (MAGIC + offset)) & 0xffu);
    }
}

/* Of groups that lie one after another. */
BODY void round_groups(const int level, const unsigned char *from, int64_t count, int64_t group, int grid,
                       const int symmetric, const struct target *targets, float offset, unsigned char *values) {
    int64_t done = 0;
    (void)level;
#if defined(MODELPRESS_X86)
    if (level == AVX512) done = round_groups_avx512(from, count, group, grid, symmetric, targets, offset, values);
    if (level == AVX2) done = round_groups_avx2(from, count, group, grid, symmetric, targets, offset, values);
#endif
    for (int64_t g = 0; g < count; g++, from += group * size_of(grid), values += group) {
        if (multiplies(grid) && targets[g].inverse == 0.0f)
            round_run(from, group, grid, symmetric, 0, &targets[g], offset, values);
        else if (done < group)
            round_run(from + done * size_of(grid), group - done, grid, symmetric, multiplies(grid), &targets[g],
                      offset, values + done);
    }
}

/* The target for weights that reach from `least` <= 0 to `most` >= 0; where symmetric, to `most` in size. */
BODY struct target target_for(int grid, int bits, const int symmetric, float least, float most) {
    const float epsilon = grid == BF16 ? 0x1p-7f : grid == F16 ? 0x1p-10f : 0x1p-23f;
    const float half = (float)(1 << (bits - 1));
    struct target target = {.low = -half, .high = half - 1.0f};
    const float range = symmetric ? most : round_size(most - least, grid);
    const float scale = round_size(range / (symmetric ? half - 0.5f : 2.0f * half - 1.0f), grid);
    if (!symmetric) {
        /* Not a number where all weights are 0, infinite where the scale is too small to be one of the grid's. */
        const float zero = round_normal(-half - round_normal(least / scale, grid), grid);
        target.zero = !(zero == zero) ? 0.0f : zero < -half ? -half : zero > half - 1.0f ? half - 1.0f : zero;
        target.zero = (target.zero + MAGIC) - MAGIC;
    }
    target.scale = scale == 0.0f ? epsilon : scale;
    target.inverse = inverse_of(target.scale);
    return target;
}

/* The squares of what rounding loses, added to LANES sums: weight i to sum i mod LANES. */
BODY void add_squares(const float *weights, int64_t count, int grid, const int symmetric, const int inverted,
                      const struct target *target, float *sums) {
    const struct target to = *target;
    for (int64_t i = 0; i < count; i += LANES)
        for (int lane = 0; lane < LANES; lane++) {
            const float weight = weights[i + lane];
            const float value = (place(grid, symmetric, inverted, weight, &to) + MAGIC) - MAGIC;
            const float error = (symmetric ? value : value - to.zero) * to.scale - weight;
            sums[lane] += error * error;
        }
}

/* All squares, in single precision: those of each lane in order, then the lanes by halves. Stops where the total is
 * `enough` already. Weights are padded with zeros to a multiple of LANES. */
BODY float squared_error(const int level, const float *weights, int64_t padded, int grid, const int symmetric,
                         const struct target *target, float enough) {
    float sums[LANES] = {0}, total = 0.0f;
    (void)level;
    const int plain = multiplies(grid) && target->inverse == 0.0f;
    for (int64_t start = 0; start < padded; start += GO_ON) {
        const float *from = weights + start;
        const int64_t count = padded - start < GO_ON ? padded - start : GO_ON;
        if (plain) add_squares(from, count, grid, symmetric, 0, target, sums);
#if defined(MODELPRESS_X86)
        else if (level == AVX512) squared_errors_avx512(from, count, grid, symmetric, target, sums);
        else if (level == AVX2) squared_errors_avx2(from, count, grid, symmetric, target, sums);
#endif
        else add_squares(from, count, grid, symmetric, multiplies(grid), target, sums);
        float folded[LANES];
        memcpy(folded, sums, sizeof folded);
        for (int lanes = LANES / 2; lanes > 0; lanes /= 2)
            for (int lane = 0; lane < lanes; lane++) folded[lane] += folded[lane + lanes];
        total = folded[0];
        if (total >= enough) break;
    }
    return total;
}

/* What a search has found so far: the target that loses least, the earliest of equals, for weights that reach `part`
 * of WHOLE as far as they do. */
struct found {
    struct target target;
    float error;
    int part;
};

enum { WHOLE = 50, COARSE = 4, LEAST_PART = 22 };

/* Take this part if it loses less. */
BODY void try_part(const int level, const float *weights, int64_t padded, const struct integers *how, int grid,
                   const int symmetric, float least, float most, int part, struct found *found) {
    const float factor = (float)part / (float)WHOLE;
    const struct target target = target_for(grid, how->bits, symmetric, -round_size(-least * factor, grid),
                                            round_size(most * factor, grid));
    const float error = squared_error(level, weights, padded, grid, symmetric, &target, found->error);
    if (error < found->error) *found = (struct found){target, error, part};
}

/* Wide steps from the whole downwards, then narrow ones on both sides of the best: as good as all narrow steps, since
 * the error falls and rises once, nearly. The whole comes first, so that nothing is worse than without a search. */
BODY struct target search(const int level, const float *weights, int64_t padded, const struct integers *how, int grid,
                          const int symmetric, float least, float most) {
    const float no_limit = as_float(0x7fc00000u); /* nothing is above it */
    struct found found = {.target = target_for(grid, how->bits, symmetric, least, most), .part = WHOLE};
    found.error = squared_error(level, weights, padded, grid, symmetric, &found.target, no_limit);
    for (int part = WHOLE - COARSE; part >= LEAST_PART; part -= COARSE)
        try_part(level, weights, padded, how, grid, symmetric, least, most, part, &found);
    const int middle = found.part, near[] = {2, -2, 1, -1};
    for (int i = 0; i < 4; i++)
        try_part(level, weights, padded, how, grid, symmetric, least, most, middle + near[i], &found);
    return found.target;
}

/* Where weights reach, as sizes on either side of zero; for a symmetric target, the largest size is `most`. False if
 * one is not finite. */
BODY int reach(const unsigned char *from, int64_t count, int grid, const int symmetric, float *least, float *most) {
    if (symmetric) {
        const uint32_t top = count == 128 ? largest(from, 0, 128, grid) : count == 64 ? largest(from, 0, 64, grid)
                           : count == 32 ? largest(from, 0, 32, grid) : largest(from, 0, count, grid);
        *least = 0.0f;
        *most = widen(top, grid);
        return top < not_finite(grid);
    }
    uint32_t below, above;
    extremes(from, count, grid, &below, &above);
    *least = -widen(below, grid);
    *most = widen(above, grid);
    return below < not_finite(grid) && above < not_finite(grid);
}

/* Zero points of one row, packed along the rows: each group's are one stream of bits. */
BODY void store_zeros(uint32_t *zeros, int64_t row, int64_t first, int64_t count, int64_t groups, int bits,
                      const struct target *targets) {
    const int64_t bit = row * bits;
    uint32_t *word = zeros + bit / 32 * groups + first;
    const int shift = (int)(bit % 32);
    for (int64_t g = 0; g < count; g++) {
        const uint32_t zero = (uint32_t)(targets[g].zero - targets[g].low);
        word[g] |= zero << shift;
        if (shift + bits > 32) word[g + groups] |= zero >> (32 - shift);
    }
}

/* scratch: columns floats, with room for 16 more, then as many bytes as there are columns. */
BODY int64_t quantize_rows(const int level, const unsigned char *source, int64_t rows, const struct integers *how,
                           int grid, const int symmetric, unsigned char *values, unsigned char *scales, uint32_t *zeros,
                           float *scratch) {
    const int64_t columns = how->columns, group = how->group, groups = columns / group;
    const int64_t value_bytes = how->packed ? (columns * how->bits + 31) / 32 * 4 : columns;
    const int64_t padded = (group + LANES - 1) / LANES * LANES;
    const float offset = how->packed ? (float)(1 << (how->bits - 1)) : 0.0f;
    unsigned char *const bytes = (unsigned char *)(scratch + columns + LANES);
    int64_t together = TOGETHER_COLUMNS / group;
    together = together < 1 ? 1 : together > TOGETHER ? TOGETHER : together;
    if (!symmetric) memset(zeros, 0, (size_t)((rows * how->bits + 31) / 32 * groups * 4));
    for (int64_t r = 0; r < rows; r++) {
        unsigned char *out = values + r * value_bytes, *rounded = how->bits == 8 ? out : bytes;
        for (int64_t first = 0; first < groups; first += together) {
            const int64_t count = groups - first < together ? groups - first : together;
            const unsigned char *from = source + (r * columns + first * group) * size_of(grid);
            float least[TOGETHER], most[TOGETHER];
            struct target targets[TOGETHER];
            for (int64_t g = 0; g < count; g++)
                if (!reach(from + g * group * size_of(grid), group, grid, symmetric, &least[g], &most[g])) return r;
            for (int64_t g = 0; g < count; g++) {
                if (!how->search) {
                    targets[g] = target_for(grid, how->bits, symmetric, least[g], most[g]);
                    continue;
                }
                widen_run(level, from + g * group * size_of(grid), group, grid, scratch);
                memset(scratch + group, 0, (size_t)(padded - group) * sizeof *scratch);
                targets[g] = search(level, scratch, padded, how, grid, symmetric, least[g], most[g]);
            }
            round_groups(level, from, count, group, grid, symmetric, targets, offset, rounded + first * group);
            for (int64_t g = 0; g < count; g++)
                store(scales, r * groups + first + g, narrow(targets[g].scale, grid), grid);
            if (!symmetric) store_zeros(zeros, r, first, count, groups, how->bits, targets);
        }
        if (how->packed) pack_row(rounded, columns, how->bits, out);
    }
    return -1;
}

/* The first row that holds a NaN or an infinity, where it stopped; -1 when all rows are done.
 * What is constant in each branch leaves the inlined body no choice in its loops. */
BODY int64_t quantize(const int level, const unsigned char *source, int64_t rows, const struct integers *how,
                      unsigned char *values, unsigned char *scales, uint32_t *zeros, float *scratch) {
#define BRANCH(on, even) \
    if (how->grid == (on) && !how->symmetric == !(even)) \
        return quantize_rows(level, source, rows, how, on, even, values, scales, zeros, scratch)
    BRANCH(BF16, 1);
    BRANCH(BF16, 0);
    BRANCH(F16, 1);
    BRANCH(F16, 0);
    BRANCH(F32, 1);
    BRANCH(F32, 0);
#undef BRANCH
    return 0;
}

DISPATCH(int64_t, quantize,
         (const unsigned char *source, int64_t rows, const struct integers *how, unsigned char *values,
          unsigned char *scales, uint32_t *zeros, float *scratch),
         (source, rows, how, values, scales, zeros, scratch))
