/* Rounds rows of weights to e4m3, one scale a block of `height` rows and `width` columns: a row, or a square.
 *
 * The arithmetic is that of twin_floats.py, byte for byte; a property test compares the two.
 */
#include "floats.h"

BODY void round_span(const int level, const unsigned char *row, int64_t start, int64_t stop, int grid, float scale,
                     unsigned char *restrict values) {
    const float inverse = 1.0f / scale;
    const uint32_t sign = grid == F32 ? 31 : 15;
    if (tame(scale)) {
        for (int64_t i = start; i < stop; i++) {
            const uint32_t raw = load(row, i, grid), size = raw & ((1u << sign) - 1u);
            const float x = round_normal(quotient(level, widen(size, grid), scale, inverse), grid);
            values[i] = (unsigned char)(e4m3(x) | (raw >> sign) << 7);
        }
    } else {
        for (int64_t i = start; i < stop; i++) {
            const uint32_t raw = load(row, i, grid), size = raw & ((1u << sign) - 1u);
            const float x = round_normal(widen(size, grid) / scale, grid);
            values[i] = (unsigned char)(e4m3(x) | (raw >> sign) << 7);
        }
    }
}

BODY int64_t float8_grid(const int level, const unsigned char *source, int grid, int64_t rows, int64_t columns,
                         int64_t height, int64_t width, unsigned char *scales, unsigned char *values, uint32_t *tops) {
    const uint32_t epsilon = grid == BF16 ? 0x3c00u : grid == F16 ? 0x1400u : 0x34000000u;
    const int64_t across = (columns + width - 1) / width, row_bytes = columns * size_of(grid);
    for (int64_t first = 0; first < rows; first += height, scales += across * size_of(grid)) {
        const int64_t last = first + height < rows ? first + height : rows;
        for (int64_t b = 0; b < across; b++) tops[b] = 0;
        for (int64_t r = first; r < last; r++) {
            for (int64_t b = 0; b < across; b++) {
                const int64_t start = b * width, stop = start + width < columns ? start + width : columns;
                const uint32_t top = largest(source + r * row_bytes, start, stop, grid);
                if (top >= not_finite(grid)) return r;
                tops[b] = top > tops[b] ? top : tops[b];
            }
        }
        for (int64_t b = 0; b < across; b++) {
            const uint32_t scale = narrow(widen(tops[b], grid) / 448.0f, grid);
            tops[b] = scale == 0 ? epsilon : scale;
            store(scales, b, tops[b], grid);
        }
        for (int64_t r = first; r < last; r++) {
            for (int64_t b = 0; b < across; b++) {
                const int64_t start = b * width, stop = start + width < columns ? start + width : columns;
                round_span(level, source + r * row_bytes, start, stop, grid, widen(tops[b], grid),
                           values + r * columns);
            }
        }
    }
    return -1;
}

/* The first row that holds a NaN or an infinity, where it stopped; -1 when all rows are done. tops has room for the
 * blocks side by side. The grid is a constant in each branch, so the inlined body has no choice left in its loops. */
BODY int64_t float8(const int level, const unsigned char *source, int grid, int64_t rows, int64_t columns,
                    int64_t height, int64_t width, unsigned char *scales, unsigned char *values, uint32_t *tops) {
    if (grid == BF16) return float8_grid(level, source, BF16, rows, columns, height, width, scales, values, tops);
    if (grid == F16) return float8_grid(level, source, F16, rows, columns, height, width, scales, values, tops);
    return float8_grid(level, source, F32, rows, columns, height, width, scales, values, tops);
}

DISPATCH(int64_t, float8,
         (const unsigned char *source, int grid, int64_t rows, int64_t columns, int64_t height, int64_t width,
          unsigned char *scales, unsigned char *values, uint32_t *tops),
         (source, grid, rows, columns, height, width, scales, values, tops))
