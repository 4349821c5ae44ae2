/* Small floating-point numbers, and quotients on the way to them. */
#ifndef MODELPRESS_FLOATS_H
#define MODELPRESS_FLOATS_H

#include "numbers.h"

/* The code, without its sign, of the nearest number with `fraction` bits after the point and this bias, ties to even;
 * `last` is the largest code. For a size: x is not negative, and no NaN. */
BODY uint32_t minifloat(float x, int fraction, int bias, uint32_t last) {
    const uint32_t bits = as_bits(x), odd = (bits >> (23 - fraction)) & 1u;
    const uint32_t normal = ((bits + (1u << (22 - fraction)) - 1u + odd) >> (23 - fraction)) -
                            ((uint32_t)(127 - bias) << fraction);
    /* Numbers below the smallest normal one are as far apart as floats are above this one: adding it rounds. */
    const float smallest = as_float((uint32_t)(128 - bias) << 23), ruler = smallest * (float)(1 << (23 - fraction));
    const uint32_t subnormal = as_bits(x + ruler) - as_bits(ruler);
    const uint32_t code = x < smallest ? subnormal : normal;
    /* Signed, since older vectors compare no other way. */
    return (uint32_t)((int32_t)code < (int32_t)last ? (int32_t)code : (int32_t)last);
}

BODY uint32_t e4m3(float x) { return minifloat(x, 3, 7, 0x7eu); }
BODY uint32_t e2m1(float x) { return minifloat(x, 1, 1, 7u); }

BODY float from_e4m3(uint32_t code) {
    return code < 8u ? (float)(int32_t)code * 0x1p-9f : as_float((code + (120u << 3)) << 20);
}

/* Whether x / divisor may be found from 1 / divisor: nothing in `quotient` may leave the range of normal numbers that
 * is not rounded to 0 afterwards. */
BODY int tame(float divisor) { return divisor > 0x1p-80f && divisor < 0x1p80f; }

/* x / divisor, rounded as a division is. `inverse` is 1 / divisor, rounded; the divisor is tame. A division takes as
 * long as all this four times. The first correction leaves less than a unit in the last place, the second nothing. */
BODY float quotient(const int level, float x, float divisor, float inverse) {
    if (!HAS_FMA(level)) return x / divisor;
    float q = x * inverse;
    q = __builtin_fmaf(__builtin_fmaf(-q, divisor, x), inverse, q);
    return __builtin_fmaf(__builtin_fmaf(-q, divisor, x), inverse, q);
}

#endif
