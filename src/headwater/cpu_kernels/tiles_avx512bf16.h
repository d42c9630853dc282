// Products of 32 x 32 blocks in bf16 with AVX512_BF16: each lane adds the products of a pair to its fp32 sum.
#pragma once

#include "tiles_bf16.h"

#if HW_AVX512_BF16
namespace headwater {

struct Avx512Bf16Tiles : Bf16Blocks {
    // Deeper products are better made in pieces: the right operand is read once for every 8 rows, and so much of both
    // fits into the first cache.
    static constexpr int64_t STEPS_AT_ONCE = 8;

    static void begin_thread() {}
    static void end_thread() {}

    struct Product {};  // nothing is left to finish
    HW_INLINE void finish(Product) {}

    // As in tiles_amx.h.
    static Product multiply(float* sums, bool accumulate, int rows, int columns, int depth, const Packed* left,
                            int64_t left_step, const Packed* right, int64_t right_step) {
        // 16 sums in registers: enough that none waits for its last product, with registers left for the factors.
        if (columns > 16)
            for (int row = 0; row < rows; row += 8)
                multiply_in_registers<8, 2>(sums + row * BLOCK, accumulate, depth, left + row * BLOCK, left_step, right, right_step);
        else
            for (int row = 0; row < rows; row += 16)
                multiply_in_registers<16, 1>(sums + row * BLOCK, accumulate, depth, left + row * BLOCK, left_step, right, right_step);
        return {};
    }

   private:
    template <int ROWS, int WIDTH>
    HW_INLINE void multiply_in_registers(float* sums, bool accumulate, int depth, const Packed* left, int64_t left_step,
                                         const Packed* right, int64_t right_step) {
        __m512 total[ROWS][WIDTH];
#pragma GCC unroll 16
        for (int row = 0; row < ROWS; ++row)
#pragma GCC unroll 2
            for (int v = 0; v < WIDTH; ++v)
                total[row][v] = accumulate ? _mm512_loadu_ps(sums + row * BLOCK + v * 16) : _mm512_setzero_ps();
        for (; depth > 0; depth -= BLOCK, left += left_step, right += right_step) {
            const int pairs = depth < BLOCK ? (depth + 1) / 2 : BLOCK / 2;
#pragma GCC unroll 4
            for (int pair = 0; pair < pairs; ++pair) {
                __m512bh factors[WIDTH];
#pragma GCC unroll 2
                for (int v = 0; v < WIDTH; ++v) factors[v] = (__m512bh)_mm512_loadu_si512(right + v * TILE_SIZE + pair * 32);
#pragma GCC unroll 16
                for (int row = 0; row < ROWS; ++row) {
                    const __m512bh factor = (__m512bh)_mm512_set1_epi32(int32_t(reinterpret_cast<const Word*>(left + row * BLOCK)[pair]));
#pragma GCC unroll 2
                    for (int v = 0; v < WIDTH; ++v) total[row][v] = _mm512_dpbf16_ps(total[row][v], factor, factors[v]);
                }
            }
        }
#pragma GCC unroll 16
        for (int row = 0; row < ROWS; ++row)
#pragma GCC unroll 2
            for (int v = 0; v < WIDTH; ++v) _mm512_storeu_ps(sums + row * BLOCK + v * 16, total[row][v]);
    }
};

}  // namespace headwater
#endif
