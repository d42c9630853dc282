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
    HW_INLINE Product multiply(float* sums, bool accumulate, int rows, int columns, int depth, const Packed* left,
                               int64_t left_step, const Packed* right, int64_t right_step) {
        return multiply_rows<BLOCK, 2>(sums, accumulate, rows, columns, depth, left, left_step, right, right_step);
    }

    // A left operand's numbers are read two at a time, wherever they are: X^T is packed as X would be on the right.
    HW_INLINE void pack_transposed(Packed* block, const Number* source, int64_t stride) { pack_right(block, source, stride); }
    HW_INLINE Product multiply_transposed(float* sums, bool accumulate, int rows, int columns, int depth, const Packed* left,
                                          int64_t left_step, const Packed* right, int64_t right_step) {
        return multiply_rows<2, BLOCK>(sums, accumulate, rows, columns, depth, left, left_step, right, right_step);
    }

   private:
    // ROW and PAIR: numbers from one row of the left operand to the next, and from one pair in depth to the next.
    template <int ROW, int PAIR>
    static Product multiply_rows(float* sums, bool accumulate, int rows, int columns, int depth, const Packed* left,
                                 int64_t left_step, const Packed* right, int64_t right_step) {
        // 16 sums in registers: enough that none waits for its last product, with registers left for the factors.
        if (columns > 16)
            for (int row = 0; row < rows; row += 8)
                multiply_in_registers<8, 2, ROW, PAIR>(sums + row * BLOCK, accumulate, depth, left + start<ROW>(row), left_step, right, right_step);
        else
            for (int row = 0; row < rows; row += 16)
                multiply_in_registers<16, 1, ROW, PAIR>(sums + row * BLOCK, accumulate, depth, left + start<ROW>(row), left_step, right, right_step);
        return {};
    }

    template <int ROW>
    HW_INLINE int start(int row) { return row / 16 * TILE_SIZE + row % 16 * ROW; }

    template <int ROWS, int WIDTH, int ROW, int PAIR>
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
                    const __m512bh factor = (__m512bh)_mm512_set1_epi32(int32_t(*reinterpret_cast<const Word*>(left + row * ROW + pair * PAIR)));
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
