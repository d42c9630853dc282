// Operands and products of 32 x 32 blocks in bf16 on AMX, Intel's matrix unit: fp32 sums of bf16 products.
//
// An operand block is two tiles of 16 rows of 64 bytes (1 KiB each):
//   left   tile t holds rows 16 t .. 16 t + 15 of the block, each 32 numbers deep: the row-major block itself;
//   right  tile t holds columns 16 t .. 16 t + 15; its row p holds, for each column, the numbers at depths 2 p and 2 p + 1.
// Packing a matrix X (rows of the source are rows of X):
//   pack_left              X on the left;    pack_left_transposed    X^T on the left;
//   pack_right             X on the right;   pack_right_transposed   X^T on the right.
#pragma once

#include "attention_lanes.h"

#if defined(__AMX_BF16__) && defined(__AMX_TILE__) && defined(__AVX512BF16__) && HW_AVX512 && defined(__linux__)
#define HW_AMX 1
#include <sys/syscall.h>
#include <unistd.h>

namespace headwater {

// Linux hands out the 8 KiB of tile registers only to a process that asks.
inline bool amx_available() {
    static const bool available = [] {
        constexpr long REQUEST_PERMISSION = 0x1023, TILE_DATA = 18;
        return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
    }();
    return available;
}

struct AmxTiles {
    using Number = uint16_t;
    using Packed = uint16_t;
    static constexpr bool left_serves_as_right = false;
    static constexpr int TILE_SIZE = 512;  // numbers
    static constexpr int SUM_STRIDE = BLOCK * 4, OPERAND_STRIDE = 64;  // bytes

    static void begin_thread() {
        struct alignas(64) { uint8_t palette = 1, start_row = 0, reserved[14] = {}; uint16_t row_bytes[16] = {}; uint8_t rows[16] = {}; } shape;
        for (int tile = 0; tile < 8; ++tile) shape.row_bytes[tile] = 64, shape.rows[tile] = 16;
        _tile_loadconfig(&shape);
    }
    static void end_thread() { _tile_release(); }

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

    // sums (32 x 32 fp32, row-major) = [sums +] the sum over i of left block i times right block i, `depth` / 32 of them,
    // a step apart. Rows and columns from `rows` and `columns` on may keep what they held.
    //
    // The sums are in memory after finish(); nothing else may be multiplied before. Vector instructions between the two run
    // beside the products, whereas a store that waits for its product would hold up whatever follows it.
    struct Product {
        float* sums;
        int rows, columns;
    };
    HW_INLINE Product multiply(float* sums, bool accumulate, int rows, int columns, int depth, const Packed* left,
                               int64_t left_step, const Packed* right, int64_t right_step) {
        if (rows > 16 && columns > 16) multiply_tiles<2, 2>(sums, accumulate, depth, left, left_step, right, right_step);
        else if (rows > 16) multiply_tiles<2, 1>(sums, accumulate, depth, left, left_step, right, right_step);
        else if (columns > 16) multiply_tiles<1, 2>(sums, accumulate, depth, left, left_step, right, right_step);
        else multiply_tiles<1, 1>(sums, accumulate, depth, left, left_step, right, right_step);
        return {sums, rows, columns};
    }
    HW_INLINE void finish(const Product& product) {
        _tile_stored(0, product.sums, SUM_STRIDE);
        if (product.columns > 16) _tile_stored(1, product.sums + 16, SUM_STRIDE);
        if (product.rows > 16) _tile_stored(2, product.sums + 16 * BLOCK, SUM_STRIDE);
        if (product.rows > 16 && product.columns > 16) _tile_stored(3, product.sums + 16 * BLOCK + 16, SUM_STRIDE);
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

    template <int ROW_TILES, int COLUMN_TILES>
    HW_INLINE void multiply_tiles(float* sums, bool accumulate, int depth, const Packed* left, int64_t left_step,
                                  const Packed* right, int64_t right_step) {
        asm volatile("" ::: "memory");  // GCC's tile loads do not say that they read memory
        if (accumulate) {
            _tile_loadd(0, sums, SUM_STRIDE);
            if (COLUMN_TILES == 2) _tile_loadd(1, sums + 16, SUM_STRIDE);
            if (ROW_TILES == 2) _tile_loadd(2, sums + 16 * BLOCK, SUM_STRIDE);
            if (ROW_TILES == 2 && COLUMN_TILES == 2) _tile_loadd(3, sums + 16 * BLOCK + 16, SUM_STRIDE);
        } else {
            _tile_zero(0);
            if (COLUMN_TILES == 2) _tile_zero(1);
            if (ROW_TILES == 2) _tile_zero(2);
            if (ROW_TILES == 2 && COLUMN_TILES == 2) _tile_zero(3);
        }
        for (; depth > 0; depth -= BLOCK, left += left_step, right += right_step) {
            _tile_loadd(4, left, OPERAND_STRIDE);
            _tile_loadd(6, right, OPERAND_STRIDE);
            _tile_dpbf16ps(0, 4, 6);
            if (COLUMN_TILES == 2) _tile_loadd(7, right + TILE_SIZE, OPERAND_STRIDE);
            if (COLUMN_TILES == 2) _tile_dpbf16ps(1, 4, 7);
            if (ROW_TILES == 2) _tile_loadd(5, left + TILE_SIZE, OPERAND_STRIDE);
            if (ROW_TILES == 2) _tile_dpbf16ps(2, 5, 6);
            if (ROW_TILES == 2 && COLUMN_TILES == 2) _tile_dpbf16ps(3, 5, 7);
        }
    }
};

}  // namespace headwater
#endif
