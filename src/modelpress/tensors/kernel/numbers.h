/* Numbers of the grids that weights lie on: loading, widening to single precision, rounding back. Plain C11.
 *
 * Numbers are loaded as the machine has them: big-endian machines use the numpy twin.
 */
#ifndef MODELPRESS_NUMBERS_H
#define MODELPRESS_NUMBERS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "dispatch.h"

#if defined(MODELPRESS_X86)
#include <immintrin.h>
#endif

/* As library.py counts them. */
enum { BF16 = 0, F16 = 1, F32 = 2 };

BODY float as_float(uint32_t bits) { float x; memcpy(&x, &bits, 4); return x; }
BODY uint32_t as_bits(float x) { uint32_t bits; memcpy(&bits, &x, 4); return bits; }

/* Bytes of one number. */
BODY int64_t size_of(int grid) { return grid == F32 ? 4 : 2; }

/* The bits of infinity: those of every finite number are less, once the sign is off. */
BODY uint32_t not_finite(int grid) { return grid == BF16 ? 0x7f80u : grid == F16 ? 0x7c00u : 0x7f800000u; }

BODY uint32_t load(const unsigned char *row, int64_t i, int grid) {
    if (grid == F32) { uint32_t v; memcpy(&v, row + 4 * i, 4); return v; }
    uint16_t v; memcpy(&v, row + 2 * i, 2); return v;
}

BODY void store(unsigned char *at, int64_t i, uint32_t raw, int grid) {
    if (grid == F32) { memcpy(at + 4 * i, &raw, 4); return; }
    uint16_t half = (uint16_t)raw; memcpy(at + 2 * i, &half, 2);
}

/* Finite numbers only: the caller has refused the others. */
BODY float widen(uint32_t raw, int grid) {
    if (grid == BF16) return as_float(raw << 16);
    /* The exponent is put right by an exact multiplication, which makes subnormal halves normal on the way. */
    if (grid == F16) return as_float(as_bits(as_float((raw & 0x7fffu) << 13) * 0x1p112f) | (raw & 0x8000u) << 16);
    return as_float(raw);
}

/* A non-negative number to the grid's own bits, nearest and ties to even, subnormals and infinity included. */
BODY uint32_t narrow(float x, int grid) {
    uint32_t bits = as_bits(x);
    if (grid == BF16) return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    if (grid == F32) return bits;
    /* Below 2^-14 halves lie 2^-24 apart, as floats do in [0.5, 1): adding 0.5 rounds there. */
    if (x < 0x1p-14f) return as_bits(x + 0.5f) - 0x3f000000u;
    bits = (bits + 0xfffu + ((bits >> 13) & 1u) - (112u << 23)) >> 13;
    return bits < 0x7c00u ? bits : 0x7c00u;
}

/* A non-negative number rounded to the grid, subnormals and infinity included. */
BODY float round_size(float x, int grid) {
    const uint32_t raw = narrow(x, grid);
    return raw < not_finite(grid) ? widen(raw, grid) : as_float(0x7f800000u);
}

/* Round to nearest even onto the grid, where only its normal numbers matter: smaller ones keep bits they should lose. */
BODY float round_normal(float x, int grid) {
    uint32_t bits = as_bits(x);
    if (grid == BF16) return as_float((bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u);
    if (grid == F16) return as_float((bits + 0xfffu + ((bits >> 13) & 1u)) & 0xffffe000u);
    return x;
}

/* The largest size in a range, as bits: they compare as the numbers do, once the sign is off; infinity and NaN are
 * above every number. */
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

/* How far a range reaches below zero and above, both as the bits of sizes; infinity and NaN are above every number. */
BODY void extremes(const unsigned char *row, int64_t count, int grid, uint32_t *below, uint32_t *above) {
    /* Once those of negative numbers but the sign are turned over, bits compare as the numbers do. */
    if (grid == F32) {
        int32_t low = 0, high = 0;
        for (int64_t i = 0; i < count; i++) {
            int32_t v = (int32_t)load(row, i, grid);
            v ^= (v >> 31) & 0x7fffffff;
            low = v < low ? v : low;
            high = v > high ? v : high;
        }
        *below = low < 0 ? (uint32_t)~low : 0;
        *above = (uint32_t)high;
        return;
    }
    int16_t low = 0, high = 0;
    for (int64_t i = 0; i < count; i++) {
        int16_t v = (int16_t)load(row, i, grid);
        v ^= (int16_t)((v >> 15) & 0x7fff);
        low = v < low ? v : low;
        high = v > high ? v : high;
    }
    *below = low < 0 ? (uint32_t)(int32_t)~low : 0;
    *above = (uint32_t)high;
}

#if defined(MODELPRESS_X86)
/* What compilers make of widen() for halves is several times slower than the instruction for it. */
FOR_AVX512 static inline int64_t widen_halves_avx512(const unsigned char *from, int64_t count, float *to) {
    int64_t i = 0;
    for (; i + 16 <= count; i += 16)
        _mm512_storeu_ps(to + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(from + 2 * i))));
    return i;
}

FOR_AVX2 static inline int64_t widen_halves_avx2(const unsigned char *from, int64_t count, float *to) {
    int64_t i = 0;
    for (; i + 8 <= count; i += 8)
        _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(from + 2 * i))));
    return i;
}
#endif

/* `count` finite numbers of the grid, as floats. */
BODY void widen_run(const int level, const unsigned char *from, int64_t count, int grid, float *to) {
    int64_t i = 0;
#if defined(MODELPRESS_X86)
    if (grid == F16 && level == AVX512) i = widen_halves_avx512(from, count, to);
    if (grid == F16 && level == AVX2) i = widen_halves_avx2(from, count, to);
#endif
    (void)level;
    for (; i < count; i++) to[i] = widen(load(from, i, grid), grid);
}

#endif
