/* The loops over weights of integers.c in vectors of a stated width: included once for each.
 *
 * The includer says OF(name), the name of this width's function; FOR, its target; WIDTH, the number of floats; and what
 * wide.h has for it. What they compute is said at the plain loops of integers.c.
 */

WIDE FLOATS OF(place)(FLOATS weights, const int grid, const int symmetric, const struct target to) {
    const FLOATS scale = FILL(to.scale), zero = FILL(to.zero);
    const FLOATS far = FILL(grid == BF16 ? 0x1p16f : 0x1p13f), near = FILL(grid == BF16 ? -0x1p16f : -0x1p13f);
    FLOATS x;
    if (grid == F32) {
        x = weights / scale;
        if (!symmetric) x = x + zero;
    } else {
        x = weights * FILL(to.inverse);
        x = FMA(POWER(x), near, FMA(POWER(x), far, x));
        if (!symmetric) {
            x = x + zero;
            x = FMA(POWER(x), near, FMA(POWER(x), far, x));
        }
    }
    return LEAST(LARGEST(x, FILL(to.low)), FILL(to.high));
}

WIDE FLOATS OF(load)(const unsigned char *from, const int grid) {
    return grid == BF16 ? LOAD_BF16(from) : grid == F16 ? LOAD_F16(from) : LOAD_F32(from);
}

WIDE void OF(round_whole)(const unsigned char *from, int64_t count, int64_t group, const int grid, const int symmetric,
                          const struct target *targets, float offset, unsigned char *values) {
    const FLOATS magic = FILL(MAGIC + offset);
    const int64_t whole = group / WIDTH * WIDTH;
    for (int64_t g = 0; g < count; g++, from += group * size_of(grid), values += group) {
        const struct target to = targets[g];
        for (int64_t i = 0; i < whole; i += WIDTH) {
            /* What comes next is fetched meanwhile: a prefetch past the end is nothing. */
            __builtin_prefetch((const void *)((uintptr_t)from + (uintptr_t)((i + TOGETHER_COLUMNS) * size_of(grid))));
            const FLOATS x = OF(place)(OF(load)(from + i * size_of(grid), grid), grid, symmetric, to);
            STORE_BYTES(values + i, x + magic);
        }
    }
}

/* The whole vectors of groups that lie one after another; the number of a group's weights that are in them. */
FOR static int64_t OF(round_groups)(const unsigned char *from, int64_t count, int64_t group, int grid, int symmetric,
                                    const struct target *targets, float offset, unsigned char *values) {
#define BRANCH(on, even) \
    if (grid == (on) && !symmetric == !(even)) \
        OF(round_whole)(from, count, group, on, even, targets, offset, values)
    BRANCH(BF16, 1);
    BRANCH(BF16, 0);
    BRANCH(F16, 1);
    BRANCH(F16, 0);
    BRANCH(F32, 1);
    BRANCH(F32, 0);
#undef BRANCH
    return group / WIDTH * WIDTH;
}

WIDE void OF(add_squares)(const float *weights, int64_t count, const int grid, const int symmetric,
                          const struct target to, float *sums) {
    FLOATS sum[LANES / WIDTH];
    for (int part = 0; part < LANES / WIDTH; part++) sum[part] = LOAD_F32(sums + part * WIDTH);
    for (int64_t i = 0; i < count; i += LANES)
        for (int part = 0; part < LANES / WIDTH; part++) {
            const FLOATS given = LOAD_F32(weights + i + part * WIDTH);
            FLOATS value = (OF(place)(given, grid, symmetric, to) + FILL(MAGIC)) - FILL(MAGIC);
            if (!symmetric) value = value - FILL(to.zero);
            const FLOATS error = value * FILL(to.scale) - given;
            sum[part] = sum[part] + error * error;
        }
    for (int part = 0; part < LANES / WIDTH; part++) STORE_F32(sums + part * WIDTH, sum[part]);
}

FOR static void OF(squared_errors)(const float *weights, int64_t count, int grid, int symmetric,
                                   const struct target *target, float *sums) {
#define BRANCH(on, even) \
    if (grid == (on) && !symmetric == !(even)) OF(add_squares)(weights, count, on, even, *target, sums)
    BRANCH(BF16, 1);
    BRANCH(BF16, 0);
    BRANCH(F16, 1);
    BRANCH(F16, 0);
    BRANCH(F32, 1);
    BRANCH(F32, 0);
#undef BRANCH
}
