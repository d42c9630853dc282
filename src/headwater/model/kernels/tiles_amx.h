// Products of 32 x 32 blocks in bf16 on AMX, Intel's matrix unit: fp32 sums of bf16 products.
#pragma once

#include "tiles_bf16.h"

#if defined(__AMX_BF16__) && defined(__AMX_TILE__) && HW_AVX512_BF16 && defined(__linux__)
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

struct AmxTiles : Bf16Blocks {
    static constexpr int SUM_STRIDE = BLOCK * 4, OPERAND_STRIDE = 64;  // bytes
    static constexpr int64_t STEPS_AT_ONCE = int64_t(1) << 20;  // operands are read once: any depth in one piece

    static void begin_thread() {
        struct alignas(64) { uint8_t palette = 1, start_row = 0, reserved[14] = {}; uint16_t row_bytes[16] = {}; uint8_t rows[16] = {}; } shape;
        for (int tile = 0; tile < 8; ++tile) shape.row_bytes[tile] = 64, shape.rows[tile] = 16;
        _tile_loadconfig(&shape);
    }
    static void end_thread() { _tile_release(); }

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
    HW_INLINE void pack_transposed(Packed* block, const Number* source, int64_t stride) { pack_left_transposed(block, source, stride); }
    HW_INLINE Product multiply_transposed(float* sums, bool accumulate, int rows, int columns, int depth, const Packed* left,
                                          int64_t left_step, const Packed* right, int64_t right_step) {
        return multiply(sums, accumulate, rows, columns, depth, left, left_step, right, right_step);
    }
    HW_INLINE void finish(const Product& product) {
        _tile_stored(0, product.sums, SUM_STRIDE);
        if (product.columns > 16) _tile_stored(1, product.sums + 16, SUM_STRIDE);
        if (product.rows > 16) _tile_stored(2, product.sums + 16 * BLOCK, SUM_STRIDE);
        if (product.rows > 16 && product.columns > 16) _tile_stored(3, product.sums + 16 * BLOCK + 16, SUM_STRIDE);
    }

   private:
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
