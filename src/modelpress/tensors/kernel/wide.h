/* Vectors of floats by name, for loops that compilers do not widen as well by themselves: included once for each width,
 * with INSTRUCTIONS as dispatch.h counts them. +, -, * and / are the compiler's own. Each name is one instruction or two.
 *
 *     FOR          what a function for these instructions begins with; WIDE, if it is inlined
 *     OF(name)     the name of such a function
 *     FLOATS       WIDTH floats; FILL(x) has x in each
 *     POWER(x)     the power of two below, with x's sign
 *     STORE_BYTES  the low 8 bits of each
 */
#include <immintrin.h>

#undef FOR
#undef WIDE
#undef OF
#undef FLOATS
#undef WIDTH
#undef FILL
#undef FMA
#undef POWER
#undef LEAST
#undef LARGEST
#undef LOAD_BF16
#undef LOAD_F16
#undef LOAD_F32
#undef STORE_F32
#undef STORE_BYTES

#if INSTRUCTIONS == AVX512
#define FOR FOR_AVX512
#define OF(name) name##_avx512
#define FLOATS __m512
#define WIDTH 16
#define FILL(x) _mm512_set1_ps(x)
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define POWER(x) _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32((int)0xff800000u)))
#define LEAST(a, b) _mm512_min_ps(a, b)
#define LARGEST(a, b) _mm512_max_ps(a, b)
#define LOAD_BF16(from) \
    _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(from))), 16))
#define LOAD_F16(from) _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(from)))
#define LOAD_F32(from) _mm512_loadu_ps(from)
#define STORE_F32(to, x) _mm512_storeu_ps(to, x)
#define STORE_BYTES(to, x) _mm_storeu_si128((__m128i *)(to), _mm512_cvtepi32_epi8(_mm512_castps_si512(x)))
#else
#define FOR FOR_AVX2
#define OF(name) name##_avx2
#define FLOATS __m256
#define WIDTH 8
#define FILL(x) _mm256_set1_ps(x)
#define FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define POWER(x) _mm256_and_ps(x, _mm256_castsi256_ps(_mm256_set1_epi32((int)0xff800000u)))
#define LEAST(a, b) _mm256_min_ps(a, b)
#define LARGEST(a, b) _mm256_max_ps(a, b)
#define LOAD_BF16(from) \
    _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(from))), 16))
#define LOAD_F16(from) _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(from)))
#define LOAD_F32(from) _mm256_loadu_ps((const float *)(from))
#define STORE_F32(to, x) _mm256_storeu_ps(to, x)
/* Low bytes of each half's four to the front, then both halves' together. */
#define STORE_BYTES(to, x) \
    do { \
        const __m256i low = _mm256_shuffle_epi8(_mm256_castps_si256(x), \
                                                _mm256_set_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 12, 8, \
                                                                4, 0, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, \
                                                                12, 8, 4, 0)); \
        _mm_storel_epi64((__m128i *)(to), \
                         _mm_unpacklo_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1))); \
    } while (0)
#endif
#define WIDE FOR static inline __attribute__((always_inline))
