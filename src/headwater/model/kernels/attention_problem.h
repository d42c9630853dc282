// What the forward and the backward pass share: the sizes of a call, packing of whole matrices, a thread's scratch memory.
//
// B batch · T time · H query heads · G key/value heads · K head width
#pragma once

#include <stdlib.h>

#include "attention_lanes.h"

namespace headwater {

constexpr float LOG2_E = 1.44269504088896f;
constexpr float LN_2 = 0.693147180559945f;

struct Problem {
    int64_t B, H, G, T, K;
    float scale;
    const int32_t* first;  // (B, T): the first key that a query sees; it never decreases along T

    int64_t heads_per_group() const { return H / G; }
    int64_t row_blocks() const { return (T + BLOCK - 1) / BLOCK; }
    int64_t head_blocks() const { return (K + BLOCK - 1) / BLOCK; }
    int width_of(int64_t head_block) const {  // numbers of the head in this block
        const int64_t left = K - head_block * BLOCK;
        return left < BLOCK ? int(left) : BLOCK;
    }
    int rows_of(int64_t row_block) const {
        const int64_t left = T - row_block * BLOCK;
        return left < BLOCK ? int(left) : BLOCK;
    }
    // Rows past the end see what the last row sees.
    int32_t first_of(int64_t b, int64_t t) const { return first[b * T + (t < T ? t : T - 1)]; }
    int64_t first_block_of(int64_t b, int64_t row_block) const { return first_of(b, row_block * BLOCK) / BLOCK; }
    // Whether a query of the block may not see a key of the block.
    bool needs_mask(int64_t b, int64_t query_block, int64_t key_block) const {
        return key_block == query_block || key_block * BLOCK < first_of(b, query_block * BLOCK + BLOCK - 1);
    }
};

// Packs row blocks `begin` .. `end` - 1 of a (T, K) matrix; block (i, j) goes to operand[(i * head_blocks + j) * BLOCK_SIZE].
// Rows and columns past the end become zeros.
template <class Tiles, void (*PACK)(typename Tiles::Packed*, const typename Tiles::Number*, int64_t)>
void pack_rows(const Problem& problem, typename Tiles::Packed* operand, const typename Tiles::Number* matrix, int64_t stride,
               int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
        for (int64_t j = 0; j < problem.head_blocks(); ++j) {
            typename Tiles::Packed* block = operand + (i * problem.head_blocks() + j) * BLOCK_SIZE;
            const typename Tiles::Number* source = matrix + i * BLOCK * stride + j * BLOCK;
            const int rows = problem.rows_of(i), width = problem.width_of(j);
            if (rows == BLOCK && width == BLOCK) {
                PACK(block, source, stride);
            } else {
                alignas(64) typename Tiles::Number padded[BLOCK_SIZE] = {};
                for (int row = 0; row < rows; ++row) memcpy(padded + row * BLOCK, source + row * stride, width * sizeof *source);
                PACK(block, padded, BLOCK);
            }
        }
}

// Transposed scores of what a query may not see become -infinity; `first` is of the block's 32 queries.
HW_INLINE void mask_block(float* scores, int64_t key_block, int64_t query_block, const int32_t* first) {
    for (int row = 0; row < BLOCK; ++row)
        for (int v = 0; v < VECTORS; ++v) {
            const Ints key = fill(int32_t(key_block * BLOCK + row));
            const Ints query = lane_numbers() + int32_t(query_block * BLOCK + v * LANES);
            float* some = scores + row * BLOCK + v * LANES;
            store(some, ((key <= query) & (key >= load(first + v * LANES))) ? load(some) : fill(-__builtin_inff()));
        }
}

// One growing piece of memory a thread, kept between calls: fresh pages cost as much time as a small call computes.
class Scratch {
   public:
    ~Scratch() { free(memory_); }

    bool begin(int64_t bytes) {
        used_ = 0;
        if (bytes <= size_) return true;
        free(memory_);
        size_ = (bytes + 4095) / 4096 * 4096;
        memory_ = static_cast<char*>(aligned_alloc(4096, size_));
        if (memory_ == nullptr) size_ = 0;
        return memory_ != nullptr;
    }
    template <class Type>
    Type* take(int64_t count) {
        Type* piece = reinterpret_cast<Type*>(memory_ + used_);
        used_ += bytes_for<Type>(count);
        return piece;
    }
    template <class Type>
    static int64_t bytes_for(int64_t count) {
        return (count * int64_t(sizeof(Type)) + 63) / 64 * 64;
    }
    // Large scratch goes back: a thread that lives on should not hold it.
    void end() {
        constexpr int64_t KEPT_BYTES = int64_t(32) << 20;
        if (size_ <= KEPT_BYTES) return;
        free(memory_);
        memory_ = nullptr;
        size_ = 0;
    }

   private:
    char* memory_ = nullptr;
    int64_t size_ = 0, used_ = 0;
};

}  // namespace headwater
