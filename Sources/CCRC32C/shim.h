// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

// The processor's CRC-32C instruction, which Swift has no name for. Everything else about the checksum is in
// Sources/CommandLog/CRC32C.swift, which also has the way for processors without it.

#ifndef CODIS_CCRC32C_SHIM_H
#define CODIS_CCRC32C_SHIM_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)

/// Whether this processor has the instruction (SSE 4.2).
static inline int codis_crc32c_is_available(void) {
    return __builtin_cpu_supports("sse4.2") != 0;
}

/// The state after `count` bytes more; only to be called where the instruction is available.
__attribute__((target("sse4.2")))
static inline uint32_t codis_crc32c_update(uint32_t state, const void *bytes, size_t count) {
    const unsigned char *next = (const unsigned char *)bytes;
    uint64_t wide = state;
    for (; count >= 8; count -= 8, next += 8) {
        uint64_t word;
        __builtin_memcpy(&word, next, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    uint32_t narrow = (uint32_t)wide;
    for (; count > 0; count -= 1, next += 1) {
        narrow = __builtin_ia32_crc32qi(narrow, *next);
    }
    return narrow;
}

#else

/// Whether this processor has the instruction: not one that we use.
static inline int codis_crc32c_is_available(void) { return 0; }

/// Never called, because the instruction is not available.
static inline uint32_t codis_crc32c_update(uint32_t state, const void *bytes, size_t count) {
    (void)bytes;
    (void)count;
    return state;
}

#endif

#endif
