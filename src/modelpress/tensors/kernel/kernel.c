/* Rounds rows of weights to integers, one scale a group of columns, and packs them: one pass over the source.
 *
 * The arithmetic is that of twin.py, byte for byte; a property test compares the two. What that rests on:
 * IEEE single precision, round to nearest even, no contraction of multiply-add, no fast-math (see hatch_build.py).
 * Numbers are loaded as the machine has them: big-endian machines use the twin. Plain C11 that knows nothing of Python.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* Bodies are inlined whole into the function that is called: one for another instruction set is one line more. */
#if defined(__GNUC__)
#define BODY static inline __attribute__((always_inline))
#else
#define BODY static inline
#endif

enum { BF16 = 0, F16 = 1, F32 = 2 };

BODY float as_float(uint32_t bits) { float x; memcpy(&x, &bits, 4); return x; }
BODY uint32_t as_bits(float x) { uint32_t bits; memcpy(&bits, &x, 4); return bits; }

/* Finite numbers only: the caller has refused the others. */
BODY float widen(uint32_t raw, int grid) {
    if (grid == BF16) return as_float(raw << 16);
    /* The exponent is put right by an exact multiplication, which makes subnormal halves normal on the way. */
    if (grid == F16) return as_float(as_bits(as_float((raw & 0x7fffu) << 13) * 0x1p112f) | (raw & 0x8000u) << 16);
    return as_float(raw);
}

/* Round to nearest even onto the grid, of a number that is at least 2^-14 in size or 0 afterwards in any case:
 * a quotient's bits below that never reach the integer it is rounded to next. */
BODY float round_quotient(float x, int grid) {
    uint32_t bits = as_bits(x);
    if (grid == BF16) return as_float((bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u);
    if (grid == F16) return as_float((bits + 0xfffu + ((bits >> 13) & 1u)) & 0xffffe000u);
    return x;
}

/* A finite, non-negative number to the grid's own bits, subnormals included. */
BODY uint32_t narrow(float x, int grid) {
    uint32_t bits = as_bits(x);
    if (grid == BF16) return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    if (grid == F32) return bits;
    /* Below 2^-14 halves lie 2^-24 apart, as floats do in [0.5, 1): adding 0.5 rounds there. */
    if (x < 0x1p-14f) return as_bits(x + 0.5f) - 0x3f000000u;
    return (bits + 0xfffu + ((bits >> 13) & 1u) - (112u << 23)) >> 13;
}

BODY uint32_t load(const unsigned char *row, int64_t i, int grid) {
    if (grid == F32) { uint32_t v; memcpy(&v, row + 4 * i, 4); return v; }
    uint16_t v; memcpy(&v, row + 2 * i, 2); return v;
}

BODY void store(unsigned char *at, int64_t i, uint32_t raw, int grid) {
    if (grid == F32) { memcpy(at + 4 * i, &raw, 4); return; }
    uint16_t half = (uint16_t)raw; memcpy(at + 2 * i, &half, 2);
}

/* Sizes compare as their bits do, once the sign is off; infinity and NaN are the largest. */
BODY uint32_t largest(const unsigned char *row, int64_t start, int64_t stop, int grid) {
    if (grid == F32) {
        int32_t top = 0;
        for (int64_t i = start; i < stop; i++) {
            int32_t v = (int32_t)(load(row, i, grid) & 0x7fffffffu);
            top = v > top ? v : top;
        }
        return (uint32_t)top;
    }
    int16_t top = 0;
    for (int64_t i = start; i < stop; i++) {
        int16_t v = (int16_t)(load(row, i, grid) & 0x7fffu);
        top = v > top ? v : top;
    }
    return (uint32_t)top;
}

/* Values of one group, offset to be unsigned: value + 2^(bits-1). */
BODY void round_group(const unsigned char *row, int64_t start, int64_t stop, int grid, float scale, float half,
                      unsigned char *unsigned_values) {
    /* Added to a number of at most 2^22 in size, this leaves the integer it rounds to in the low bits. */
    const float magic = 12582912.0f;
    for (int64_t i = start; i < stop; i++) {
        float x = round_quotient(widen(load(row, i, grid), grid) / scale, grid);
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

BODY int64_t quantize(const unsigned char *source, int grid, int64_t rows, int64_t columns, int64_t group, int bits,
                      int packed, unsigned char *scales, unsigned char *values, unsigned char *scratch) {
    const int64_t element = grid == F32 ? 4 : 2, groups = columns / group;
    const int64_t value_bytes = packed ? (columns * bits + 31) / 32 * 4 : columns;
    const uint32_t not_finite = grid == BF16 ? 0x7f80u : grid == F16 ? 0x7c00u : 0x7f800000u;
    const uint32_t epsilon = grid == BF16 ? 0x3c00u : grid == F16 ? 0x1400u : 0x34000000u;
    const float half = (float)(1 << (bits - 1));
    for (int64_t r = 0; r < rows; r++) {
        const unsigned char *row = source + r * columns * element;
        unsigned char *out = values + r * value_bytes, *rounded = bits == 4 ? scratch : out;
        for (int64_t g = 0; g < groups; g++) {
            const int64_t start = g * group, stop = start + group;
            const uint32_t top = largest(row, start, stop, grid);
            if (top >= not_finite) return r;
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

/* The grid is a constant in each branch, so the inlined body has no choice left in its loops. */
BODY int64_t each_grid(const unsigned char *source, int grid, int64_t rows, int64_t columns, int64_t group, int bits,
                       int packed, unsigned char *scales, unsigned char *values, unsigned char *scratch) {
    if (grid == BF16) return quantize(source, BF16, rows, columns, group, bits, packed, scales, values, scratch);
    if (grid == F16) return quantize(source, F16, rows, columns, group, bits, packed, scales, values, scratch);
    return quantize(source, F32, rows, columns, group, bits, packed, scales, values, scratch);
}

/* The first row that holds a NaN or an infinity, where it stopped; -1 when all rows are done.
 * scratch has `columns` bytes. */
EXPORT int64_t modelpress_quantize(const unsigned char *source, int grid, int64_t rows, int64_t columns, int64_t group,
                                   int bits, int packed, unsigned char *scales, unsigned char *values,
                                   unsigned char *scratch) {
    return each_grid(source, grid, rows, columns, group, bits, packed, scales, values, scratch);
}
