/* Rounds rows of weights to pairs of e2m1: NVFP4 with an e4m3 scale a group of 16, MXFP4 with a power of two for 32.
 *
 * The arithmetic is that of twin_floats.py, byte for byte; a property test compares the two.
 * A row is gone over in passes that do one thing to all groups, since such loops become vectors: the groups' largest
 * sizes, their scales, the values, the pairs.
 */
#include "floats.h"

/* A row's intermediates. */
typedef struct {
    uint32_t *tops;    /* a group's largest size, as bits */
    float *divisors;   /* what a group's weights are divided by */
    float *inverses;   /* and its inverse */
    float *divisor_of; /* the divisor of each weight's group: loops over a group alone are shorter than a vector */
    float *inverse_of;
    unsigned char *codes; /* a weight's value */
} scratch;

/* Room for one row: 12 bytes a group, and 9 a column. */
BODY scratch scratch_at(unsigned char *memory, int64_t groups, int64_t columns) {
    float *floats = (float *)(void *)memory;
    scratch s;
    s.tops = (uint32_t *)(void *)memory;
    s.divisors = floats + groups;
    s.inverses = floats + 2 * groups;
    s.divisor_of = floats + 3 * groups;
    s.inverse_of = floats + 3 * groups + columns;
    s.codes = (unsigned char *)(floats + 3 * groups + 2 * columns);
    return s;
}

/* The larger size of each two neighbours. */
BODY void halve(const unsigned char *restrict from, int64_t pairs, unsigned char *restrict to) {
    for (int64_t i = 0; i < pairs; i++) {
        uint32_t two;
        memcpy(&two, from + 4 * i, 4);
        const int32_t first = two & 0x7fff, second = (two >> 16) & 0x7fff;
        const uint16_t top = (uint16_t)(first > second ? first : second);
        memcpy(to + 2 * i, &top, 2);
    }
}

/* The groups' largest sizes; whether all are finite. */
BODY int find_tops(const unsigned char *row, int64_t groups, int64_t group, int grid, const scratch *s) {
    uint32_t *restrict tops = s->tops;
    if (grid == F32) {
        for (int64_t g = 0; g < groups; g++) tops[g] = largest(row, g * group, (g + 1) * group, grid);
    } else {
        unsigned char *to = (unsigned char *)s->divisor_of, *other = (unsigned char *)s->inverse_of;
        const unsigned char *from = row;
        for (int64_t count = groups * group / 2; count >= groups; count /= 2) {
            halve(from, count, to);
            from = to;
            to = other;
            other = (unsigned char *)(uintptr_t)from;
        }
        for (int64_t g = 0; g < groups; g++) tops[g] = load(from, g, grid);
    }
    uint32_t bad = 0;
    for (int64_t g = 0; g < groups; g++) bad |= tops[g] >= not_finite(grid);
    return !bad;
}

/* Each group's number for each of its columns. */
BODY void spread(const float *restrict numbers, int64_t groups, int64_t group, float *restrict to) {
    for (int64_t g = 0; g < groups; g++)
        for (int64_t i = 0; i < group; i++) to[g * group + i] = numbers[g];
}

BODY void pack_pairs(const unsigned char *restrict codes, int64_t columns, unsigned char *restrict packed) {
    for (int64_t i = 0; i < columns / 2; i++) {
        uint16_t pair;
        memcpy(&pair, codes + 2 * i, 2);
        packed[i] = (unsigned char)(pair | pair >> 4);
    }
}

/* The scales of a row; whether all divisors are tame. */
BODY int nvfp4_scales(int64_t groups, int grid, float global, const uint32_t *restrict tops,
                      unsigned char *restrict scales, float *restrict divisors, float *restrict inverses) {
    int wild = 0;
    for (int64_t g = 0; g < groups; g++) {
        const float share = widen(narrow(widen(tops[g], grid) / 6.0f, grid), grid);
        uint32_t scale = e4m3(global * share);
        scale = scale == 0 ? 0x20u : scale;
        scales[g] = (unsigned char)scale;
        divisors[g] = from_e4m3(scale) / global;
        inverses[g] = 1.0f / divisors[g];
        wild |= !tame(divisors[g]);
    }
    return !wild;
}

BODY unsigned char with_sign(float size, uint32_t negative) {
    return (unsigned char)(e2m1(size) | (size > 0.0f ? negative << 3 : 0u));
}

/* The codes of a row's quotients. */
BODY void round_row(const int level, const unsigned char *restrict row, int64_t columns, int grid, int all_tame,
                    const float *restrict divisor_of, const float *restrict inverse_of,
                    unsigned char *restrict codes) {
    const uint32_t sign = grid == F32 ? 31 : 15;
    if (all_tame) {
        for (int64_t i = 0; i < columns; i++) {
            const uint32_t raw = load(row, i, grid);
            const float size = widen(raw & ((1u << sign) - 1u), grid);
            codes[i] = with_sign(quotient(level, size, divisor_of[i], inverse_of[i]), raw >> sign);
        }
    } else {
        for (int64_t i = 0; i < columns; i++) {
            const uint32_t raw = load(row, i, grid);
            codes[i] = with_sign(widen(raw & ((1u << sign) - 1u), grid) / divisor_of[i], raw >> sign);
        }
    }
}

BODY int64_t nvfp4_grid(const int level, const unsigned char *source, int grid, int64_t rows, int64_t columns,
                        float global, unsigned char *scales, unsigned char *values, unsigned char *memory) {
    enum { GROUP = 16 };
    const int64_t groups = columns / GROUP;
    const scratch s = scratch_at(memory, groups, columns);
    for (int64_t r = 0; r < rows; r++) {
        const unsigned char *row = source + r * columns * size_of(grid);
        if (!find_tops(row, groups, GROUP, grid, &s)) return r;
        const int all_tame = nvfp4_scales(groups, grid, global, s.tops, scales + r * groups, s.divisors, s.inverses);
        spread(s.divisors, groups, GROUP, s.divisor_of);
        spread(s.inverses, groups, GROUP, s.inverse_of);
        round_row(level, row, columns, grid, all_tame, s.divisor_of, s.inverse_of, s.codes);
        pack_pairs(s.codes, columns, values + r * columns / 2);
    }
    return -1;
}

/* The scales of a row, and the inverses by which weights are multiplied: powers of two, so that this is exact. */
BODY void mxfp4_scales(int64_t groups, int grid, const uint32_t *restrict tops, unsigned char *restrict scales,
                       float *restrict inverses) {
    const int fraction = grid == BF16 ? 7 : grid == F16 ? 10 : 23;
    for (int64_t g = 0; g < groups; g++) {
        /* From 1.75 times a power of two on, the next one. */
        const int32_t field = (int32_t)((tops[g] + (1u << (fraction - 2))) >> fraction);
        /* Beyond the grid's largest number it is infinity, by which everything becomes 0. */
        const int infinite = field == (grid == F16 ? 31 : 255);
        int32_t exponent;
        /* What is below half precision's smallest number has no scale but 1. */
        if (grid == F16) exponent = field == 0 || infinite ? 127 : field + 110;
        else exponent = infinite ? 127 : field < 2 ? 0 : field - 2;
        scales[g] = (unsigned char)exponent;
        inverses[g] = infinite ? 0.0f : as_float((uint32_t)(254 - exponent) << 23);
    }
}

/* The codes of a row's products; those up to `lost` in size have no sign. */
BODY void multiply_row(const unsigned char *restrict row, int64_t columns, int grid, float lost,
                       const float *restrict inverse_of, unsigned char *restrict codes) {
    const uint32_t sign = grid == F32 ? 31 : 15;
    for (int64_t i = 0; i < columns; i++) {
        const uint32_t raw = load(row, i, grid);
        const float x = widen(raw & ((1u << sign) - 1u), grid) * inverse_of[i];
        codes[i] = (unsigned char)(e2m1(x) | (x > lost ? (raw >> sign) << 3 : 0u));
    }
}

BODY int64_t mxfp4_grid(const unsigned char *source, int grid, int64_t rows, int64_t columns, unsigned char *scales,
                        unsigned char *values, unsigned char *memory) {
    enum { GROUP = 32 };
    const int64_t groups = columns / GROUP;
    /* A quotient that the grid rounds to zero has lost its sign. */
    const float lost = grid == BF16 ? 0x1p-134f : grid == F16 ? 0x1p-25f : 0.0f;
    const scratch s = scratch_at(memory, groups, columns);
    for (int64_t r = 0; r < rows; r++) {
        const unsigned char *row = source + r * columns * size_of(grid);
        if (!find_tops(row, groups, GROUP, grid, &s)) return r;
        mxfp4_scales(groups, grid, s.tops, scales + r * groups, s.inverses);
        spread(s.inverses, groups, GROUP, s.inverse_of);
        multiply_row(row, columns, grid, lost, s.inverse_of, s.codes);
        pack_pairs(s.codes, columns, values + r * columns / 2);
    }
    return -1;
}

/* The first row that holds a NaN or an infinity, where it stopped; -1 when all rows are done. `memory` is aligned to 4
 * and has 12 bytes a group and 9 a column. */
BODY int64_t nvfp4(const int level, const unsigned char *source, int grid, int64_t rows, int64_t columns, float global,
                   unsigned char *scales, unsigned char *values, unsigned char *memory) {
    if (grid == BF16) return nvfp4_grid(level, source, BF16, rows, columns, global, scales, values, memory);
    if (grid == F16) return nvfp4_grid(level, source, F16, rows, columns, global, scales, values, memory);
    return nvfp4_grid(level, source, F32, rows, columns, global, scales, values, memory);
}

DISPATCH(int64_t, nvfp4,
         (const unsigned char *source, int grid, int64_t rows, int64_t columns, float global, unsigned char *scales,
          unsigned char *values, unsigned char *memory),
         (source, grid, rows, columns, global, scales, values, memory))

/* As nvfp4, with groups twice as wide. */
BODY int64_t mxfp4(const int level, const unsigned char *source, int grid, int64_t rows, int64_t columns,
                   unsigned char *scales, unsigned char *values, unsigned char *memory) {
    (void)level;
    if (grid == BF16) return mxfp4_grid(source, BF16, rows, columns, scales, values, memory);
    if (grid == F16) return mxfp4_grid(source, F16, rows, columns, scales, values, memory);
    return mxfp4_grid(source, F32, rows, columns, scales, values, memory);
}

DISPATCH(int64_t, mxfp4,
         (const unsigned char *source, int grid, int64_t rows, int64_t columns, unsigned char *scales,
          unsigned char *values, unsigned char *memory),
         (source, grid, rows, columns, scales, values, memory))

/* The largest size among `count` numbers, as bits of the grid; those of infinity, or more, if one is not finite. */
BODY int64_t magnitude(const int level, const unsigned char *source, int grid, int64_t count) {
    (void)level;
    if (grid == BF16) return largest(source, 0, count, BF16);
    if (grid == F16) return largest(source, 0, count, F16);
    return largest(source, 0, count, F32);
}

DISPATCH(int64_t, magnitude, (const unsigned char *source, int grid, int64_t count), (source, grid, count))
