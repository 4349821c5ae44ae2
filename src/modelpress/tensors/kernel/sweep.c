/* What calibration does to every weight: scales that are searched for, and columns decided one after another.
 *
 * Weights lie by columns here, [columns][rows], and a lane is a row. Their twin is in torch, calibrate/decision.py and
 * calibrate/integers.py: the same operations in the same order, none joined, so the same bytes.
 */
#include "numbers.h"

/* Rows decided together: their part of a block stays in the nearest cache, and four vectors hide what an operation
 * waits for the one before. */
enum { ROWS = 64, MOST_COLUMNS = 128, MOST_NEIGHBOURS = 8 };

/* Rows whose scales are searched for together, and sums that their errors are kept in: the sums fill registers. */
enum { FEW = 16, SUMS = 16 };

/* Added to a number of at most 2^22 in size and taken off again, this leaves the integer it rounds to. */
#define MAGIC 12582912.0f

/* How columns are decided; sweep.py has the same fields. */
struct sweep {
    /* Rows of the whole weight, and columns of this block. */
    int64_t rows, count;
    /* [count][count], of which the diagonal and what is right of it are read. */
    const float *factor;
    /* [groups][rows] each; zeros may be NULL. scales is NULL where nothing is rounded. */
    const float *scales, *zeros;
    /* [count]: the group of each column. */
    const int32_t *groups;
    /* [count][rows], or NULL: not 0 where an entry becomes zero. */
    const unsigned char *mask;
    int32_t grid, bits;
    /* So many of so many neighbours in a row become zero; 0 of 0 where no pattern is asked for. */
    int32_t zeroed, of;
};

/* Nearest on the grid, of any finite number. */
BODY float on_grid(float x, const int grid) {
    if (grid != F16) return round_normal(x, grid);
    const float size = as_float(as_bits(x) & 0x7fffffffu);
    /* Below 2^-14 halves lie as far apart as floats do in [0.5, 1). */
    float rounded = size < 0x1p-14f ? (size + 0.5f) - 0.5f : round_normal(size, grid);
    rounded = rounded > 65504.0f ? as_float(0x7f800000u) : rounded;
    return as_float(as_bits(rounded) | (as_bits(x) & 0x80000000u));
}

BODY float within(float x, float low, float high) {
    x = x < low ? low : x;
    return x > high ? high : x;
}

/* Of `of` neighbouring columns the `zeroed` that cost least in each row, the earlier of equals: gone[column][row]. */
BODY void choose(float (*columns)[ROWS], const struct sweep *how, int64_t first, int32_t (*gone)[ROWS]) {
    float cost[MOST_NEIGHBOURS][ROWS];
    for (int64_t c = 0; c < how->of; c++) {
        const float diagonal = how->factor[(first + c) * (how->count + 1)];
        for (int r = 0; r < ROWS; r++) {
            const float ratio = columns[first + c][r] / diagonal;
            cost[c][r] = ratio * ratio;
            gone[c][r] = 0;
        }
    }
    for (int64_t c = 0; c < how->of; c++) {
        for (int64_t other = 0; other < how->of; other++)
            for (int r = 0; r < ROWS; r++)
                gone[c][r] += other < c ? cost[other][r] <= cost[c][r] : cost[other][r] < cost[c][r];
        for (int r = 0; r < ROWS; r++) gone[c][r] = gone[c][r] < how->zeroed;
    }
}

/* `lanes` rows from `row` on; the lanes beyond them are of zeros. */
BODY void sweep_rows(const int grid, const int rounds, const int symmetric, float *columns, int8_t *integers,
                     float *errors, const struct sweep *how, int64_t row, int64_t lanes) {
    float tile[MOST_COLUMNS][ROWS];
    int32_t gone[MOST_NEIGHBOURS][ROWS];
    const float half = (float)(1 << (how->bits - 1));
    const size_t bytes = (size_t)lanes * sizeof(float);
    if (lanes < ROWS) memset(tile, 0, sizeof tile);
    for (int64_t c = 0; c < how->count; c++) memcpy(tile[c], columns + c * how->rows + row, bytes);
    for (int64_t c = 0; c < how->count; c++) {
        const float *factor = how->factor + c * how->count;
        float decided[ROWS], error[ROWS];
        memcpy(decided, tile[c], sizeof decided);
        if (how->of) {
            if (c % how->of == 0) choose(tile, how, c, gone);
            for (int r = 0; r < ROWS; r++) decided[r] = gone[c % how->of][r] ? 0.0f : decided[r];
        } else if (how->mask) {
            unsigned char mask[ROWS] = {0};
            memcpy(mask, how->mask + c * how->rows + row, (size_t)lanes);
            for (int r = 0; r < ROWS; r++) decided[r] = mask[r] ? 0.0f : decided[r];
        }
        if (rounds) {
            float scale[ROWS], zero[ROWS] = {0};
            int8_t integer[ROWS];
            const int64_t at = how->groups[c] * how->rows + row;
            for (int r = 0; r < ROWS; r++) scale[r] = 1.0f;
            memcpy(scale, how->scales + at, bytes);
            if (!symmetric) memcpy(zero, how->zeros + at, bytes);
            for (int r = 0; r < ROWS; r++) {
                float x = decided[r] / scale[r];
                if (!symmetric) x = x + zero[r];
                x = (within(x, -half, half - 1.0f) + MAGIC) - MAGIC;
                integer[r] = (int8_t)(int32_t)x;
                if (!symmetric) x = x - zero[r];
                decided[r] = on_grid(x * scale[r], grid);
            }
            memcpy(integers + c * how->rows + row, integer, (size_t)lanes);
        }
        for (int r = 0; r < ROWS; r++) {
            error[r] = (tile[c][r] - decided[r]) / factor[c];
            tile[c][r] = decided[r];
        }
        memcpy(errors + c * how->rows + row, error, bytes);
        for (int64_t after = c + 1; after < how->count; after++) {
            const float share = factor[after];
            for (int r = 0; r < ROWS; r++) tile[after][r] -= error[r] * share;
        }
    }
    for (int64_t c = 0; c < how->count; c++) memcpy(columns + c * how->rows + row, tile[c], bytes);
}

/* Of the rows from `first` up to `last`; columns, integers and errors are [count][rows]. */
BODY int64_t sweep(const int level, float *columns, int8_t *integers, float *errors, const struct sweep *how,
                   int64_t first, int64_t last) {
    (void)level;
    for (int64_t row = first; row < last; row += ROWS) {
        const int64_t lanes = last - row < ROWS ? last - row : ROWS;
#define BRANCH(on, rounds, even) \
    if (rounds ? how->scales && how->grid == (on) && !how->zeros == (even) : !how->scales) { \
        sweep_rows(on, rounds, even, columns, integers, errors, how, row, lanes); \
        continue; \
    }
        BRANCH(F32, 0, 1)
        BRANCH(BF16, 1, 1)
        BRANCH(BF16, 1, 0)
        BRANCH(F16, 1, 1)
        BRANCH(F16, 1, 0)
        BRANCH(F32, 1, 1)
        BRANCH(F32, 1, 0)
#undef BRANCH
    }
    return 0;
}

DISPATCH(int64_t, sweep,
         (float *columns, int8_t *integers, float *errors, const struct sweep *how, int64_t first, int64_t last),
         (columns, integers, errors, how, first, last))

/* Which scales are searched for; sweep.py has the same fields. */
struct search {
    int64_t rows, columns, group;
    /* [columns]: what the square of an error counts. */
    const float *importance;
    int32_t grid, bits, symmetric;
};

/* What some rows' weights of one group become. */
struct candidate {
    float scale[FEW], zero[FEW];
};

/* integers.c tries the same parts and says why. */
enum { WHOLE = 50, COARSE = 4, FIRST_PART = 46, LEAST_PART = 22 };

/* For weights that reach from `least` <= 0 to `most` >= 0; where symmetric, to `most` in size. */
BODY void reaching(const int grid, const int symmetric, int bits, const float *least, const float *most,
                   struct candidate *found) {
    const float epsilon = grid == BF16 ? 0x1p-7f : grid == F16 ? 0x1p-10f : 0x1p-23f;
    const float half = (float)(1 << (bits - 1));
    for (int r = 0; r < FEW; r++) {
        const float range = symmetric ? most[r] : on_grid(most[r] - least[r], grid);
        const float scale = on_grid(range / (symmetric ? half - 0.5f : 2.0f * half - 1.0f), grid);
        float zero = 0.0f;
        if (!symmetric) {
            zero = on_grid(-half - on_grid(least[r] / scale, grid), grid);
            zero = zero == zero ? within(zero, -half, half - 1.0f) : 0.0f;
            zero = (zero + MAGIC) - MAGIC;
        }
        found->scale[r] = scale == 0.0f ? epsilon : scale;
        found->zero[r] = zero;
    }
}

/* The weighed squares of what rounding loses: column i's in sum i mod SUMS, these then by halves. */
BODY void weigh(const int symmetric, const float *weights, const struct search *how, const float *importance,
                const struct candidate *tried, float *lost) {
    const float half = (float)(1 << (how->bits - 1));
    const struct candidate to = *tried;
    float sums[SUMS][FEW] = {{0}}, inverse[FEW];
    for (int r = 0; r < FEW; r++) inverse[r] = 1.0f / to.scale[r];
    for (int64_t start = 0; start < how->group; start += SUMS) {
        const int64_t count = how->group - start < SUMS ? how->group - start : SUMS;
        for (int64_t s = 0; s < count; s++) {
            const float *from = weights + (start + s) * FEW, weighing = importance[start + s];
            for (int r = 0; r < FEW; r++) {
                float x = from[r] * inverse[r];
                if (!symmetric) x = x + to.zero[r];
                x = (within(x, -half, half - 1.0f) + MAGIC) - MAGIC;
                if (!symmetric) x = x - to.zero[r];
                const float error = x * to.scale[r] - from[r];
                sums[s][r] += (error * error) * weighing;
            }
        }
    }
    for (int few = SUMS / 2; few > 0; few /= 2)
        for (int s = 0; s < few; s++)
            for (int r = 0; r < FEW; r++) sums[s][r] += sums[s + few][r];
    memcpy(lost, sums[0], sizeof sums[0]);
}

/* One group of FEW rows, its columns' weights FEW by FEW. The whole reach first, so that no row is worse off. */
BODY void search_group(const int grid, const int symmetric, const float *weights, const struct search *how,
                       const float *importance, struct candidate *best) {
    float least[FEW] = {0}, most[FEW] = {0}, error[FEW], lost[FEW];
    int32_t part[FEW], middle[FEW];
    for (int64_t c = 0; c < how->group; c++)
        for (int r = 0; r < FEW; r++) {
            const float weight = weights[c * FEW + r];
            least[r] = weight < least[r] ? weight : least[r];
            most[r] = weight > most[r] ? weight : most[r];
        }
    for (int r = 0; r < FEW; r++) {
        if (symmetric) most[r] = -least[r] > most[r] ? -least[r] : most[r];
        part[r] = WHOLE;
    }
    reaching(grid, symmetric, how->bits, least, most, best);
    weigh(symmetric, weights, how, importance, best, error);
    const int coarse = (FIRST_PART - LEAST_PART) / COARSE + 1, near[] = {2, -2, 1, -1};
    for (int attempt = 0; attempt < coarse + 4; attempt++) {
        struct candidate tried;
        float low[FEW], high[FEW];
        int32_t at[FEW];
        if (attempt == coarse) memcpy(middle, part, sizeof middle);
        for (int r = 0; r < FEW; r++) {
            at[r] = attempt < coarse ? FIRST_PART - COARSE * attempt : middle[r] + near[attempt - coarse];
            const float factor = (float)at[r] / (float)WHOLE;
            low[r] = on_grid(least[r] * factor, grid);
            high[r] = on_grid(most[r] * factor, grid);
        }
        reaching(grid, symmetric, how->bits, low, high, &tried);
        weigh(symmetric, weights, how, importance, &tried, lost);
        for (int r = 0; r < FEW; r++) {
            const int better = lost[r] < error[r];
            best->scale[r] = better ? tried.scale[r] : best->scale[r];
            best->zero[r] = better ? tried.zero[r] : best->zero[r];
            error[r] = better ? lost[r] : error[r];
            part[r] = better ? at[r] : part[r];
        }
    }
}

/* scales and zeros, NULL where symmetric, [groups][rows], of the rows from `first` up to `last`; scratch: group * FEW
 * floats. */
BODY int64_t search_scales(const int level, const float *columns, const struct search *how, float *scales,
                           float *zeros, int64_t first, int64_t last, float *scratch) {
    (void)level;
    for (int64_t row = first; row < last; row += FEW) {
        const size_t bytes = (size_t)(last - row < FEW ? last - row : FEW) * sizeof(float);
        for (int64_t g = 0; g < how->columns / how->group; g++) {
            const float *importance = how->importance + g * how->group;
            struct candidate best;
            for (int64_t c = 0; c < how->group; c++) {
                if (bytes < FEW * sizeof(float)) memset(scratch + c * FEW, 0, FEW * sizeof(float));
                memcpy(scratch + c * FEW, columns + (g * how->group + c) * how->rows + row, bytes);
            }
#define BRANCH(on, even) \
    if (how->grid == (on) && !how->symmetric == !(even)) search_group(on, even, scratch, how, importance, &best);
            BRANCH(BF16, 1)
            BRANCH(BF16, 0)
            BRANCH(F16, 1)
            BRANCH(F16, 0)
            BRANCH(F32, 1)
            BRANCH(F32, 0)
#undef BRANCH
            memcpy(scales + g * how->rows + row, best.scale, bytes);
            if (zeros) memcpy(zeros + g * how->rows + row, best.zero, bytes);
        }
    }
    return 0;
}

DISPATCH(int64_t, search_scales,
         (const float *columns, const struct search *how, float *scales, float *zeros, int64_t first, int64_t last,
          float *scratch),
         (columns, how, scales, zeros, first, last, scratch))
