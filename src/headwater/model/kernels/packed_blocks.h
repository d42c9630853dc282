// Parts of bf16 matrices as operand blocks, and memory for them.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>

#include "tiles_bf16.h"

#if HW_AVX512_BF16
namespace headwater {

// Pack rows [0, rows) and columns [0, columns) of a block with zeros around, where it is not whole.
template <void (*PACK)(uint16_t*, const uint16_t*, int64_t)>
static void pack_part(uint16_t* block, const uint16_t* source, int64_t stride, int64_t rows, int64_t columns) {
    if (rows >= BLOCK && columns >= BLOCK) return PACK(block, source, stride);
    uint16_t whole[BLOCK_SIZE] = {};
    for (int64_t row = 0; row < (rows < BLOCK ? rows : BLOCK); row++)
        memcpy(whole + row * BLOCK, source + row * stride, sizeof(uint16_t) * (columns < BLOCK ? columns : BLOCK));
    PACK(block, whole, BLOCK);
}

// Memory for packed blocks, on a cache line.
class Blocks {
   public:
    explicit Blocks(int64_t count) : memory_(new uint16_t[count * BLOCK_SIZE + 32]) {}
    uint16_t* at(int64_t block) {
        const uintptr_t address = reinterpret_cast<uintptr_t>(memory_.get());
        return reinterpret_cast<uint16_t*>((address + 63) / 64 * 64) + block * BLOCK_SIZE;
    }

   private:
    std::unique_ptr<uint16_t[]> memory_;
};

}  // namespace headwater
#endif
