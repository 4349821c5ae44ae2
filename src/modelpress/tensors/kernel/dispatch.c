/* Which instruction sets this machine has. */
#include <stddef.h>

#include "dispatch.h"

#if defined(MODELPRESS_X86)
#include <cpuid.h>

/* The state the system saves for a thread, XCR0: wide registers are of use only where it knows of them. */
static unsigned saved_state(void) {
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/* Read from the processor itself: what compilers offer for it needs their run-time library, which not all bring along. */
static int widest(void) {
    enum { FMA = 1u << 12, OSXSAVE = 1u << 27, F16C = 1u << 29 };
    enum { BMI1 = 1u << 3, HAS_AVX2 = 1u << 5, BMI2 = 1u << 8 };
    enum { FOUNDATION = 1u << 16, DOUBLEWORD = 1u << 17, CONFLICT = 1u << 28, BYTE = 1u << 30 };
    const unsigned length = 1u << 31;
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return BASELINE;
    const unsigned first = FMA | OSXSAVE | F16C, second = BMI1 | HAS_AVX2 | BMI2;
    if ((c & first) != first || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || (b & second) != second) return BASELINE;
    const unsigned third = FOUNDATION | DOUBLEWORD | CONFLICT | BYTE | length, state = saved_state();
    if ((state & 0x06u) != 0x06u) return BASELINE;
    return (b & third) == third && (state & 0xe6u) == 0xe6u ? AVX512 : AVX2;
}
#else
static int widest(void) { return BASELINE; }
#endif

/* The name of an instruction set; NULL if the machine lacks it. */
EXPORT const char *modelpress_instruction_set(int level) {
#if defined(__aarch64__)
    static const char *const names[] = {"neon"};
#else
    static const char *const names[] = {"baseline", "avx2", "avx512"};
#endif
    return level >= 0 && level <= widest() ? names[level] : NULL;
}

/* The digest of the sources that the library was compiled from, as the build computed it; empty if it did not. */
#ifndef MODELPRESS_SOURCES
#define MODELPRESS_SOURCES ""
#endif
EXPORT const char *modelpress_sources(void) { return MODELPRESS_SOURCES; }
