/* One body in C, one function for each instruction set: the caller says for which, dispatch.c what the machine has.
 *
 *     BODY int64_t halve(const int level, const float *from, float *to, int64_t count) { … }
 *     DISPATCH(int64_t, halve, (const float *from, float *to, int64_t count), (from, to, count))
 *
 * exports modelpress_halve(int instruction_set, from, to, count). The body is inlined whole into each function and
 * compiled for its instructions, so plain loops become vectors of that width; `level` is a constant in there, for what
 * one instruction set can do otherwise. Whatever a body calls must be BODY too. All give the same bytes.
 *
 * What that rests on: IEEE single precision, round to nearest even, no contraction of multiply-add, no fast-math
 * (see hatch_build.py).
 */
#ifndef MODELPRESS_DISPATCH_H
#define MODELPRESS_DISPATCH_H

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

#if defined(__GNUC__)
#define BODY static inline __attribute__((always_inline))
#else
#define BODY static inline
#endif

/* In rising order: a machine that has one has those before it. The baseline is what every machine of the
 * architecture has: SSE2 on x86-64, NEON on 64-bit ARM. */
#define BASELINE 0
#define AVX2 1
#define AVX512 2

/* Whether multiply-add with one rounding is an instruction there, and __builtin_fmaf no call. */
#if defined(__aarch64__)
#define HAS_FMA(level) 1
#else
#define HAS_FMA(level) ((level) >= AVX2)
#endif

#define MODELPRESS_LIST(...) __VA_ARGS__

#if defined(__x86_64__) && defined(__GNUC__)
#define MODELPRESS_X86 1
#define FOR_AVX2 __attribute__((target("avx2,fma,f16c,bmi,bmi2")))
#if defined(__clang__)
#define FOR_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx2,fma,f16c,bmi,bmi2")))
#else
#define FOR_AVX512 \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx2,fma,f16c,bmi,bmi2,prefer-vector-width=512")))
#endif
#define DISPATCH(type, name, parameters, arguments) \
    FOR_AVX512 static type name##_avx512 parameters { return name(AVX512, MODELPRESS_LIST arguments); } \
    FOR_AVX2 static type name##_avx2 parameters { return name(AVX2, MODELPRESS_LIST arguments); } \
    EXPORT type modelpress_##name(int instruction_set, MODELPRESS_LIST parameters) { \
        if (instruction_set == AVX512) return name##_avx512 arguments; \
        if (instruction_set == AVX2) return name##_avx2 arguments; \
        return name(BASELINE, MODELPRESS_LIST arguments); \
    }
#else
#define DISPATCH(type, name, parameters, arguments) \
    EXPORT type modelpress_##name(int instruction_set, MODELPRESS_LIST parameters) { \
        (void)instruction_set; \
        return name(BASELINE, MODELPRESS_LIST arguments); \
    }
#endif

#endif
