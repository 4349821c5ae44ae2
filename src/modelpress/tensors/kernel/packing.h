/* Integers of a few bits as one stream of bits, low bits first. */
#ifndef MODELPRESS_PACKING_H
#define MODELPRESS_PACKING_H

#include "numbers.h"

/* Eight bytes that hold one integer each become `bits` bytes, in the low end: neighbours are moved together, then pairs
 * of them, then fours. */
BODY uint64_t squeeze(uint64_t bytes, const int bits) {
    const int gone = 8 - bits;
    bytes = (bytes & 0x00ff00ff00ff00ffu) | (bytes & 0xff00ff00ff00ff00u) >> gone;
    bytes = (bytes & 0x0000ffff0000ffffu) | (bytes & 0xffff0000ffff0000u) >> 2 * gone;
    return (bytes & 0x00000000ffffffffu) | (bytes & 0xffffffff00000000u) >> 4 * gone;
}

/* `count` integers, one a byte, to the row's whole 32-bit words, the bits past the last integer zero. */
BODY void pack_bits(const unsigned char *integers, int64_t count, const int bits, unsigned char *packed) {
    const int64_t packed_bytes = (count * bits + 31) / 32 * 4, eights = count / 8, begun = eights * bits;
    for (int64_t i = 0; i < eights; i++) {
        uint64_t eight;
        memcpy(&eight, integers + 8 * i, 8);
        eight = squeeze(eight, bits);
        memcpy(packed + bits * i, &eight, (size_t)bits);
    }
    uint64_t rest = 0;
    memcpy(&rest, integers + 8 * eights, (size_t)(count % 8));
    rest = squeeze(rest, bits);
    memset(packed + begun, 0, (size_t)(packed_bytes - begun));
    memcpy(packed + begun, &rest, (size_t)((count % 8 * bits + 7) / 8));
}

BODY void pack_nibbles(const unsigned char *integers, int64_t count, unsigned char *packed) {
    const int64_t packed_bytes = (count + 7) / 8 * 4;
    int64_t whole = count / 2;
    for (int64_t i = 0; i < whole; i++) {
        uint16_t pair;
        memcpy(&pair, integers + 2 * i, 2);
        packed[i] = (unsigned char)(pair | pair >> 4);
    }
    if (count % 2) packed[whole++] = integers[count - 1];
    memset(packed + whole, 0, (size_t)(packed_bytes - whole));
}

/* One row. Of 8 bits, the integers are in their place already. */
BODY void pack_row(const unsigned char *integers, int64_t count, int bits, unsigned char *packed) {
    switch (bits) {
    case 2: pack_bits(integers, count, 2, packed); break;
    case 3: pack_bits(integers, count, 3, packed); break;
    case 4: pack_nibbles(integers, count, packed); break;
    case 5: pack_bits(integers, count, 5, packed); break;
    case 6: pack_bits(integers, count, 6, packed); break;
    case 7: pack_bits(integers, count, 7, packed); break;
    default: memset(packed + count, 0, (size_t)((count + 3) / 4 * 4 - count));
    }
}

#endif
