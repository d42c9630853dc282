// Operands and products of 32 x 32 blocks in fp32, for any processor.
//
// With Number = uint16_t the caller's arrays are bf16: operands are widened when packed, and the probabilities are rounded
// to bf16 before they are multiplied, so that results agree with the bf16 tiles up to the order of summation.
#pragma once

#include "attention_lanes.h"

namespace headwater {

template <class NumberType>
struct GenericTiles {
    using Number = NumberType;  // of the caller's arrays
    using Packed = float;       // of operands: blocks are row-major, left and right alike
    static constexpr bool left_serves_as_right = true;

    static void begin_thread() {}
    static void end_thread() {}

    // `source` is a whole block with the given stride; see tiles_bf16.h for what the four forms mean.
    static void pack_left(Packed* block, const Number* source, int64_t stride) {
        for (int row = 0; row < BLOCK; ++row)
            for (int i = 0; i < BLOCK; ++i) block[row * BLOCK + i] = to_float(source[row * stride + i]);
    }
    static void pack_right(Packed* block, const Number* source, int64_t stride) { pack_left(block, source, stride); }
    static void pack_left_transposed(Packed* block, const Number* source, int64_t stride) {
        float rows[BLOCK_SIZE];
        pack_left(rows, source, stride);
        transpose_block(block, rows, BLOCK);
    }
    static void pack_right_transposed(Packed* block, const Number* source, int64_t stride) {
        pack_left_transposed(block, source, stride);
    }

    HW_INLINE void store_left_row(Packed* block, int row, const Floats* values) {
        for (int v = 0; v < VECTORS; ++v)
            store(block + row * BLOCK + v * LANES, round_to(static_cast<const Number*>(nullptr), values[v]));
    }
    HW_INLINE void store_right_rows(Packed* block, int row, const Floats* first, const Floats* second) {
        store_left_row(block, row, first);
        store_left_row(block, row + 1, second);
    }

    struct Product {};  // nothing is left to finish
    HW_INLINE void finish(Product) {}

    static Product multiply(float* sums, bool accumulate, int rows, int columns, int depth, const Packed* left,
                            int64_t left_step, const Packed* right, int64_t right_step) {
        constexpr int REGISTER_ROWS = (LANES == 8) ? 4 : 8;  // AVX2 has half the registers of AVX-512 and NEON
        for (int column = 0; column < columns; column += 2 * LANES)
            for (int row = 0; row < rows; row += REGISTER_ROWS) {
                float* corner = sums + row * BLOCK + column;
                if (column + LANES < columns)
                    multiply_in_registers<REGISTER_ROWS, 2>(corner, accumulate, depth, left + row * BLOCK, left_step,
                                                            right + column, right_step);
                else
                    multiply_in_registers<REGISTER_ROWS, 1>(corner, accumulate, depth, left + row * BLOCK, left_step,
                                                            right + column, right_step);
            }
        return {};
    }

   private:
    template <int ROWS, int WIDTH>
    HW_INLINE void multiply_in_registers(float* sums, bool accumulate, int depth, const float* left, int64_t left_step,
                                         const float* right, int64_t right_step) {
        Floats total[ROWS][WIDTH] = {};
        if (accumulate)
            for (int row = 0; row < ROWS; ++row)
                for (int v = 0; v < WIDTH; ++v) total[row][v] = load(sums + row * BLOCK + v * LANES);
        for (; depth > 0; depth -= BLOCK, left += left_step, right += right_step) {
            const int terms = depth < BLOCK ? depth : BLOCK;
            for (int k = 0; k < terms; ++k) {
                Floats factors[WIDTH];
                for (int v = 0; v < WIDTH; ++v) factors[v] = load(right + k * BLOCK + v * LANES);
#pragma GCC unroll 8
                for (int row = 0; row < ROWS; ++row) {
                    const Floats factor = fill(left[row * BLOCK + k]);
                    for (int v = 0; v < WIDTH; ++v) total[row][v] += factor * factors[v];
                }
            }
        }
        for (int row = 0; row < ROWS; ++row)
            for (int v = 0; v < WIDTH; ++v) store(sums + row * BLOCK + v * LANES, total[row][v]);
    }
};

}  // namespace headwater
