// Operand blocks in bf16 as the processor's dot products of pairs want them, for AMX and AVX512_BF16 alike.
//
// An operand block is two tiles of 16 rows of 64 bytes (1 KiB each):
//   left   tile t holds rows 16 t .. 16 t + 15 of the block, each 32 numbers deep: the row-major block itself;
//   right  tile t holds columns 16 t .. 16 t + 15; its row p holds, for each column, the numbers at depths 2 p and 2 p + 1.
// Packing a matrix X (rows of the source are rows of X):
//   pack_left              X on the left;    pack_left_transposed    X^T on the left;
//   pack_right             X on the right;   pack_right_transposed   X^T on the right.
#pragma once

#include "attention_lanes.h"

#if HW_AVX512 && defined(__AVX512BF16__)
#define HW_AVX512_BF16 1

namespace headwater {

struct Bf16Blocks {
    using Number = uint16_t;
    using Packed = uint16_t;
    static constexpr bool left_serves_as_right = false;
    static constexpr int TILE_SIZE = 512;  // numbers

    static void pack_left(Packed* block, const Number* source, int64_t stride) {
        for (int row = 0; row < BLOCK; ++row) _mm512_storeu_si512(block + row * BLOCK, _mm512_loadu_si512(source + row * stride));
    }
    static void pack_right(Packed* block, const Number* source, int64_t stride) {
        for (int row = 0; row < BLOCK; row += 2)
            store_interleaved(block, row, _mm512_loadu_si512(source + row * stride), _mm512_loadu_si512(source + (row + 1) * stride));
    }
    static void pack_left_transposed(Packed* block, const Number* source, int64_t stride) {
        alignas(64) Packed interleaved[BLOCK_SIZE];
        pack_right(interleaved, source, stride);
        for (int tile = 0; tile < 2; ++tile) transpose_16x16(words(block + tile * TILE_SIZE), 16, words(interleaved + tile * TILE_SIZE), 16);
    }
    static void pack_right_transposed(Packed* block, const Number* source, int64_t stride) {
        if (stride % 2 == 0) {
            for (int tile = 0; tile < 2; ++tile)
                transpose_16x16(words(block + tile * TILE_SIZE), 16, words(source + tile * 16 * stride), stride / 2);
        } else {
            alignas(64) Packed rows[BLOCK_SIZE];
            pack_left(rows, source, stride);
            pack_right_transposed(block, rows, BLOCK);
        }
    }

    HW_INLINE void store_left_row(Packed* block, int row, const Floats* values) {
        _mm512_storeu_si512(block + row * BLOCK, (__m512i)_mm512_cvtne2ps_pbh((__m512)values[1], (__m512)values[0]));
    }
    // Rows `row` and `row` + 1, `row` even: they share a row of the tiles.
    HW_INLINE void store_right_rows(Packed* block, int row, const Floats* first, const Floats* second) {
        for (int tile = 0; tile < 2; ++tile) {
            const __m512i pair = (__m512i)_mm512_cvtne2ps_pbh((__m512)second[tile], (__m512)first[tile]);
            _mm512_storeu_si512(block + tile * TILE_SIZE + row * 16, _mm512_permutexvar_epi16(alternate_halves(), pair));
        }
    }

   private:
    HW_INLINE Word* words(const Packed* numbers) { return reinterpret_cast<Word*>(const_cast<Packed*>(numbers)); }

    // a0 .. a15 b0 .. b15 becomes a0 b0 a1 b1 ..
    HW_INLINE __m512i alternate_halves() {
        alignas(64) static constexpr uint16_t order[32] = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23,
                                                           8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
        return _mm512_load_si512(order);
    }
    HW_INLINE void store_interleaved(Packed* block, int row, __m512i first, __m512i second) {
        const __m512i low = _mm512_inserti64x4(first, _mm512_castsi512_si256(second), 1);
        const __m512i high = _mm512_shuffle_i64x2(first, second, 0xee);
        _mm512_storeu_si512(block + row * 16, _mm512_permutexvar_epi16(alternate_halves(), low));
        _mm512_storeu_si512(block + TILE_SIZE + row * 16, _mm512_permutexvar_epi16(alternate_halves(), high));
    }
};

}  // namespace headwater
#endif
