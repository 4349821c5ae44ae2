/* Decodes the blocks of GGUF files to single precision and rounds to bf16. The twin is in block_decoding.py, which says
 * why any order of the products gives the same bits. */
#include "numbers.h"

/* As a file counts them (ggml.h, enum ggml_type). */
enum { TYPE_F32 = 0, TYPE_F16 = 1, TYPE_Q4_0 = 2, TYPE_Q4_1 = 3, TYPE_Q5_0 = 6, TYPE_Q5_1 = 7, TYPE_Q8_0 = 8,
       TYPE_Q4_K = 12, TYPE_Q5_K = 13, TYPE_Q6_K = 14, TYPE_BF16 = 30 };

/* Sizes from here on are infinite in bf16, or no number: half of the last kept bit over the largest. */
#define TOO_LARGE 0x7f7f8000u

BODY uint16_t load_half(const unsigned char *at) { uint16_t raw; memcpy(&raw, at, 2); return raw; }
BODY uint32_t load_word(const unsigned char *at) { uint32_t raw; memcpy(&raw, at, 4); return raw; }

/* Of any half: one that is not finite becomes a NaN, and makes one of whatever it is multiplied with. */
BODY float widen_half(const unsigned char *at) {
    const uint16_t raw = load_half(at);
    return (raw & 0x7c00u) == 0x7c00u ? as_float(0x7fc00000u) : widen(raw, F16);
}

/* Rounds to bf16; whether one of them was too large for it. */
BODY int finish(const float *x, int count, unsigned char *out) {
    int32_t top = 0;
    for (int i = 0; i < count; i++) {
        const uint32_t bits = as_bits(x[i]);
        const int32_t size = (int32_t)(bits & 0x7fffffffu);
        top = size > top ? size : top;
        const uint16_t number = (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
        memcpy(out + 2 * i, &number, 2);
    }
    return top >= (int32_t)TOO_LARGE;
}

BODY int64_t first_too_large(const float *x) {
    int64_t i = 0;
    while ((as_bits(x[i]) & 0x7fffffffu) < TOO_LARGE) i++;
    return i;
}

/* The low halves of 16 bytes are values 0..15, the high ones values 16..31; bit i of `high` is the fifth of value i. */
BODY void decode_32(const unsigned char *nibbles, uint32_t high, int five, float scale, float middle, float minimum,
                    float *x) {
    for (int i = 0; i < 16; i++) {
        const uint32_t low = nibbles[i] & 15u, upper = nibbles[i] >> 4;
        const uint32_t a = five ? low | ((high >> i) & 1u) << 4 : low;
        const uint32_t b = five ? upper | ((high >> (i + 16)) & 1u) << 4 : upper;
        x[i] = ((float)(int32_t)a - middle) * scale + minimum;
        x[i + 16] = ((float)(int32_t)b - middle) * scale + minimum;
    }
}

/* -0 changes no sum's value or sign: it stands for "no minimum", where +0 would turn -0 into 0. */
BODY void decode_q4_0(const unsigned char *at, float *x) { decode_32(at + 2, 0, 0, widen_half(at), 8.0f, -0.0f, x); }
BODY void decode_q4_1(const unsigned char *at, float *x) {
    decode_32(at + 4, 0, 0, widen_half(at), 0.0f, widen_half(at + 2), x);
}
BODY void decode_q5_0(const unsigned char *at, float *x) {
    decode_32(at + 6, load_word(at + 2), 1, widen_half(at), 16.0f, -0.0f, x);
}
BODY void decode_q5_1(const unsigned char *at, float *x) {
    decode_32(at + 8, load_word(at + 4), 1, widen_half(at), 0.0f, widen_half(at + 2), x);
}

BODY void decode_q8_0(const unsigned char *at, float *x) {
    const float scale = widen_half(at);
    for (int i = 0; i < 32; i++) x[i] = (float)(int32_t)(signed char)at[2 + i] * scale;
}

/* Scale and minimum of a group: six bits each. Of the last four groups, the upper two bits lie over the first eight
 * bytes' six. */
BODY void small_scales(const unsigned char *small, int group, float scale, float minimum, float *by, float *less) {
    uint32_t s, m;
    if (group < 4) {
        s = small[group] & 63u;
        m = small[group + 4] & 63u;
    } else {
        s = (small[group + 4] & 15u) | (uint32_t)(small[group - 4] >> 6) << 4;
        m = (uint32_t)(small[group + 4] >> 4) | (uint32_t)(small[group] >> 6) << 4;
    }
    *by = scale * (float)(int32_t)s;
    *less = minimum * (float)(int32_t)m;
}

/* Of each run of 32 bytes, the low halves are one group of 32 values and the high ones the next. */
BODY void decode_q45_k(const unsigned char *at, const unsigned char *high, const unsigned char *nibbles, float *x) {
    const float scale = widen_half(at), minimum = widen_half(at + 2);
    for (int group = 0; group < 8; group++) {
        float by, less;
        small_scales(at + 4, group, scale, minimum, &by, &less);
        const unsigned char *run = nibbles + group / 2 * 32;
        const int shift = group % 2 * 4;
        for (int i = 0; i < 32; i++) {
            uint32_t q = (uint32_t)(run[i] >> shift) & 15u;
            if (high != NULL) q |= ((uint32_t)(high[i] >> group) & 1u) << 4;
            x[group * 32 + i] = (float)(int32_t)q * by - less;
        }
    }
}

BODY void decode_q4_k(const unsigned char *at, float *x) { decode_q45_k(at, NULL, at + 16, x); }
BODY void decode_q5_k(const unsigned char *at, float *x) { decode_q45_k(at, at + 16, at + 48, x); }

/* Each half has 128 values: of 64 bytes the low halves, then the high ones; two bits more of each from 32 bytes. */
BODY void decode_q6_k(const unsigned char *at, float *x) {
    const float scale = widen_half(at + 208);
    for (int run = 0; run < 8; run++) {
        const unsigned char *low = at + run / 4 * 64 + run % 2 * 32, *high = at + 128 + run / 4 * 32;
        const int shift = run % 4 / 2 * 4, upper = run % 4 * 2;
        for (int part = 0; part < 2; part++) {
            const float by = scale * (float)(int32_t)(signed char)at[192 + run * 2 + part];
            for (int i = part * 16; i < part * 16 + 16; i++) {
                const uint32_t q = ((uint32_t)(low[i] >> shift) & 15u) | ((uint32_t)(high[i] >> upper) & 3u) << 4;
                x[run * 32 + i] = (float)((int32_t)q - 32) * by;
            }
        }
    }
}

/* Floats that lie in the file as they are, some at a time. */
BODY int64_t decode_floats(int type, int64_t count, const unsigned char *source, unsigned char *target) {
    float x[256];
    for (int64_t start = 0; start < count; start += 256) {
        const int some = count - start < 256 ? (int)(count - start) : 256;
        for (int i = 0; i < some; i++) {
            const int64_t at = start + i;
            x[i] = type == TYPE_F32   ? as_float(load_word(source + 4 * at))
                   : type == TYPE_F16 ? widen_half(source + 2 * at)
                                      : as_float((uint32_t)load_half(source + 2 * at) << 16);
        }
        if (finish(x, some, target + 2 * start)) return start + first_too_large(x);
    }
    return -1;
}

#define DECODE_EACH(length, bytes, decode) \
    for (int64_t b = 0; b < blocks; b++) { \
        decode(source + b * (bytes), x); \
        if (finish(x, length, target + 2 * b * (length))) return b * (length) + first_too_large(x); \
    } \
    return -1;

BODY int64_t decode_blocks(const int level, int type, int64_t blocks, const unsigned char *source,
                           unsigned char *target) {
    float x[256];
    (void)level;
    switch (type) {
    case TYPE_F32: return decode_floats(TYPE_F32, blocks, source, target);
    case TYPE_F16: return decode_floats(TYPE_F16, blocks, source, target);
    case TYPE_Q4_0: DECODE_EACH(32, 18, decode_q4_0)
    case TYPE_Q4_1: DECODE_EACH(32, 20, decode_q4_1)
    case TYPE_Q5_0: DECODE_EACH(32, 22, decode_q5_0)
    case TYPE_Q5_1: DECODE_EACH(32, 24, decode_q5_1)
    case TYPE_Q8_0: DECODE_EACH(32, 34, decode_q8_0)
    case TYPE_Q4_K: DECODE_EACH(256, 144, decode_q4_k)
    case TYPE_Q5_K: DECODE_EACH(256, 176, decode_q5_k)
    case TYPE_Q6_K: DECODE_EACH(256, 210, decode_q6_k)
    default: return decode_floats(TYPE_BF16, blocks, source, target);
    }
}

DISPATCH(int64_t, decode_blocks, (int type, int64_t blocks, const unsigned char *source, unsigned char *target),
         (type, blocks, source, target))
