/* Widens rows of e4m3 bytes that have one scale a block of columns to bf16. The twin is in float8_blocks.py. */
#include "numbers.h"

/* The exponent is put right by an exact multiplication, which makes subnormal numbers normal on the way. e4m3 has no
 * infinity, and one NaN of each sign. */
BODY float widen_e4m3(uint32_t raw) {
    const float size = as_float((raw & 0x7fu) << 20) * 0x1p120f;
    return as_float(((raw & 0x7fu) == 0x7fu ? 0x7fc00000u : as_bits(size)) | (raw & 0x80u) << 24);
}

/* As narrow(), but of any number: a NaN stays one. */
BODY uint16_t narrow_any(float x) {
    const uint32_t bits = as_bits(x);
    const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
}

BODY int64_t widen_float8(const int level, const unsigned char *source, int64_t rows, int64_t columns,
                          const float *scales, int64_t block_columns, unsigned char *target) {
    (void)level;
    for (int64_t r = 0; r < rows; r++) {
        const unsigned char *row = source + r * columns;
        unsigned char *out = target + 2 * r * columns;
        for (int64_t start = 0, block = 0; start < columns; start += block_columns, block++) {
            const int64_t stop = start + block_columns < columns ? start + block_columns : columns;
            const float scale = scales[block];
            for (int64_t i = start; i < stop; i++) {
                const uint16_t number = narrow_any(widen_e4m3(row[i]) * scale);
                memcpy(out + 2 * i, &number, 2);
            }
        }
    }
    return 0;
}

DISPATCH(int64_t, widen_float8,
         (const unsigned char *source, int64_t rows, int64_t columns, const float *scales, int64_t block_columns,
          unsigned char *target),
         (source, rows, columns, scales, block_columns, target))
