// A linear map's weight gradient with AMX or AVX512_BF16: out (n, k) in fp32 += dy^T x, for dy (N, n) and x (N, k) in
// bf16. N tokens.
//
// Both operands are deep in tokens, so that a matrix product made for activations must transpose them first; here they
// are packed into tiles on the way, and the sum goes into the fp32 gradient without being rounded to bf16.
#include <cstdint>
#include <cstring>
#include <omp.h>

#include "packed_blocks.h"
#include "tiles_amx.h"
#include "tiles_avx512bf16.h"

#if HW_AVX512_BF16
namespace headwater {

constexpr int64_t DEPTH = 512;  // tokens packed at a time: x of width 1024 takes 1 MB, half of a core's second cache
constexpr int64_t STEPS = DEPTH / BLOCK;
constexpr int64_t GROUP = 16;  // row blocks packed at a time, so that rows of dy are read in long pieces

// Add the upper left part of a block of sums to the gradient, or put it there.
static void add_part(float* out, int64_t stride, const float* sums, int64_t rows, int64_t columns, bool fresh) {
    for (int64_t row = 0; row < rows && row < BLOCK; row++) {
        const int64_t count = columns < BLOCK ? columns : BLOCK;
        float* to = out + row * stride;
        const float* from = sums + row * BLOCK;
        if (fresh) {
            memcpy(to, from, count * sizeof(float));
        } else {
#pragma omp simd
            for (int64_t i = 0; i < count; i++) to[i] += from[i];
        }
    }
}

template <class Tiles>
static void weight_gradient(const uint16_t* dy, const uint16_t* x, float* out, int64_t N, int64_t n, int64_t k,
                            bool fresh, int threads) {
    const int64_t row_blocks = (n + BLOCK - 1) / BLOCK, column_blocks = (k + BLOCK - 1) / BLOCK;
    Blocks right(STEPS * column_blocks);
#pragma omp parallel num_threads(threads)
    {
        const int64_t me = omp_get_thread_num(), team = omp_get_num_threads();
        const int64_t own_begin = row_blocks * me / team, own_end = row_blocks * (me + 1) / team;
        Blocks left(STEPS * GROUP);
        alignas(64) float sums[BLOCK_SIZE];
        Tiles::begin_thread();
        for (int64_t begin = 0; begin < N; begin += DEPTH) {
            const int64_t depth = N - begin < DEPTH ? N - begin : DEPTH, steps = (depth + BLOCK - 1) / BLOCK;
            const bool write = fresh && begin == 0;
            for (int64_t s = steps * me / team; s < steps * (me + 1) / team; s++)
                for (int64_t c = 0; c < column_blocks; c++)
                    pack_part<Tiles::pack_right>(right.at(c * STEPS + s), x + (begin + s * BLOCK) * k + c * BLOCK, k,
                                                 depth - s * BLOCK, k - c * BLOCK);
#pragma omp barrier
            for (int64_t group = own_begin; group < own_end; group += GROUP) {
                const int64_t end = group + GROUP < own_end ? group + GROUP : own_end;
                for (int64_t s = 0; s < steps; s++)
                    for (int64_t b = group; b < end; b++)
                        pack_part<Tiles::pack_transposed>(left.at((b - group) * STEPS + s),
                                                          dy + (begin + s * BLOCK) * n + b * BLOCK, n,
                                                          depth - s * BLOCK, n - b * BLOCK);
                for (int64_t b = group; b < end; b++)
                    for (int64_t c = 0; c < column_blocks; c++) {
                        for (int64_t row = b * BLOCK; row < n && row < (b + 1) * BLOCK; row++)  // there when it is added to
                            for (int64_t half = 0; half < BLOCK; half += 16) __builtin_prefetch(out + row * k + c * BLOCK + half, 1);
                        for (int64_t s = 0; s < steps; s += Tiles::STEPS_AT_ONCE) {
                            const int64_t some = steps - s < Tiles::STEPS_AT_ONCE ? steps - s : Tiles::STEPS_AT_ONCE;
                            Tiles::finish(Tiles::multiply_transposed(sums, s > 0, BLOCK, BLOCK, int(some * BLOCK),
                                                                     left.at((b - group) * STEPS + s), BLOCK_SIZE,
                                                                     right.at(c * STEPS + s), BLOCK_SIZE));
                        }
                        add_part(out + b * BLOCK * k + c * BLOCK, k, sums, n - b * BLOCK, k - c * BLOCK, write);
                    }
            }
#pragma omp barrier
        }
        Tiles::end_thread();
    }
}

}  // namespace headwater
#endif

// Return 0, or 1 where this processor has no products of bf16. `fresh`: out is written, not added to.
extern "C" __attribute__((visibility("default"))) int hw_weight_gradient_bf16(const uint16_t* dy, const uint16_t* x,
                                                                            float* out, int64_t N, int64_t n, int64_t k,
                                                                            int64_t fresh, int threads) {
#if HW_AVX512_BF16
    using namespace headwater;
    if (!out) return 0;
#if HW_AMX
    if (amx_available()) return weight_gradient<AmxTiles>(dy, x, out, N, n, k, fresh != 0, threads), 0;
#endif
    return weight_gradient<Avx512Bf16Tiles>(dy, x, out, N, n, k, fresh != 0, threads), 0;
#else
    (void)dy, (void)x, (void)out, (void)N, (void)n, (void)k, (void)fresh, (void)threads;
    return 1;
#endif
}
