/* Rounds rows of weights to integers, one scale a group of columns, and packs them: one pass over the source.
 *
 * The arithmetic is that of twin.py, byte for byte; a property test compares the two.
 */
#include "numbers.h"

/* Values of one group, offset to be unsigned: value + 2^(bits-1). */
BODY void round_group(const unsigned char *row, int64_t start, int64_t stop, int grid, float scale, float half,
                      unsigned char *unsigned_values) {
    /* Added to a number of at most 2^22 in size, this leaves the integer it rounds to in the low bits. */
    const float magic = 12582912.0f;
    for (int64_t i = start; i < stop; i++) {
        float x = round_normal(widen(load(row, i, grid), grid) / scale, grid);
        x = x < -half ? -half : x;
        x = x > half - 1.0f ? half - 1.0f : x;
        unsigned_values[i] = (unsigned char)(as_bits(x + (magic + half)) & 0xffu);
    }
}

BODY void pack_nibbles(const unsigned char *nibbles, int64_t columns, unsigned char *packed, int64_t packed_bytes) {
    int64_t whole = columns / 2;
    for (int64_t i = 0; i < whole; i++) packed[i] = (unsigned char)(nibbles[2 * i] | (nibbles[2 * i + 1] << 4));
    if (columns % 2) packed[whole++] = nibbles[columns - 1];
    memset(packed + whole, 0, (size_t)(packed_bytes - whole));
}

BODY int64_t quantize_grid(const unsigned char *source, int grid, int64_t rows, int64_t columns, int64_t group, int bits,
                      int packed, unsigned char *scales, unsigned char *values, unsigned char *scratch) {
    const int64_t groups = columns / group;
    const int64_t value_bytes = packed ? (columns * bits + 31) / 32 * 4 : columns;
    const uint32_t epsilon = grid == BF16 ? 0x3c00u : grid == F16 ? 0x1400u : 0x34000000u;
    const float half = (float)(1 << (bits - 1));
    for (int64_t r = 0; r < rows; r++) {
        const unsigned char *row = source + r * columns * size_of(grid);
        unsigned char *out = values + r * value_bytes, *rounded = bits == 4 ? scratch : out;
        for (int64_t g = 0; g < groups; g++) {
            const int64_t start = g * group, stop = start + group;
            const uint32_t top = largest(row, start, stop, grid);
            if (top >= not_finite(grid)) return r;
            uint32_t scale = narrow(widen(top, grid) / (half - 0.5f), grid);
            if (scale == 0) scale = epsilon;
            store(scales, r * groups + g, scale, grid);
            round_group(row, start, stop, grid, widen(scale, grid), half, rounded);
        }
        if (bits == 4) pack_nibbles(rounded, columns, out, value_bytes);
        else if (packed) memset(out + columns, 0, (size_t)(value_bytes - columns));
        else for (int64_t i = 0; i < columns; i++) out[i] ^= 0x80u;
    }
    return -1;
}

/* The first row that holds a NaN or an infinity, where it stopped; -1 when all rows are done. scratch has `columns` bytes.
 * The grid is a constant in each branch, so the inlined body has no choice left in its loops. */
BODY int64_t quantize(const int level, const unsigned char *source, int grid, int64_t rows, int64_t columns,
                      int64_t group, int bits, int packed, unsigned char *scales, unsigned char *values,
                      unsigned char *scratch) {
    (void)level;
    if (grid == BF16) return quantize_grid(source, BF16, rows, columns, group, bits, packed, scales, values, scratch);
    if (grid == F16) return quantize_grid(source, F16, rows, columns, group, bits, packed, scales, values, scratch);
    return quantize_grid(source, F32, rows, columns, group, bits, packed, scales, values, scratch);
}

DISPATCH(int64_t, quantize,
         (const unsigned char *source, int grid, int64_t rows, int64_t columns, int64_t group, int bits, int packed,
          unsigned char *scales, unsigned char *values, unsigned char *scratch),
         (source, grid, rows, columns, group, bits, packed, scales, values, scratch))
