// out = alpha X X^T + beta C for a stack of N matrices X (m, n) in bf16; C (m, m) is symmetric, or null.
//
// Only blocks on and below the diagonal are computed; the others are their mirror images, so that the result is exactly
// symmetric. Sums are fp32, rounded once. The order of summation does not depend on the number of threads.
#include <cmath>
#include <omp.h>

#include "packed_blocks.h"
#include "tiles_amx.h"
#include "tiles_avx512bf16.h"

#if HW_AVX512_BF16
namespace headwater {
namespace {

struct Stack {
    const uint16_t *x, *plus;
    uint16_t* out;
    int64_t N, m, n;
    float alpha, beta;

    int64_t row_blocks() const { return (m + BLOCK - 1) / BLOCK; }
    int64_t depth_blocks() const { return (n + BLOCK - 1) / BLOCK; }
};

int64_t within_block(int64_t count) { return count < BLOCK ? count : BLOCK; }

// Scales a block of sums at (row, column), adds C's, and writes the block and its mirror image.
void write_block(const Stack& stack, int64_t matrix, float* sums, int64_t row, int64_t column) {
    const int64_t m = stack.m, start = matrix * m * m, rows = within_block(m - row), columns = within_block(m - column);
    for (int64_t i = 0; i < rows; ++i) {
        float* values = sums + i * BLOCK;
        for (int j = 0; j < BLOCK; ++j) values[j] *= stack.alpha;
        if (stack.plus) {
            const uint16_t* plus = stack.plus + start + (row + i) * m + column;
            for (int64_t j = 0; j < columns; ++j) values[j] += stack.beta * to_float(plus[j]);
        }
        write_row(stack.out + start + (row + i) * m + column, values, 1, int(columns));
    }
    if (row == column) return;
    alignas(64) float mirrored[BLOCK_SIZE];
    transpose_block(mirrored, sums, BLOCK);
    for (int64_t j = 0; j < columns; ++j)
        write_row(stack.out + start + (column + j) * m + row, mirrored + j * BLOCK, 1, int(rows));
}

// Row blocks `begin` .. `end` - 1 of one product, up to the diagonal.
template <class Tiles>
void multiply_rows(const Stack& stack, int64_t matrix, int64_t begin, int64_t end, Blocks& left, Blocks& right) {
    const int64_t n = stack.n, steps = stack.depth_blocks();
    const uint16_t* x = stack.x + matrix * stack.m * n;
    const auto pack = [&](auto pack_block, uint16_t* to, int64_t row_block) {
        for (int64_t s = 0; s < steps; ++s)
            pack_block(to + s * BLOCK_SIZE, x + row_block * BLOCK * n + s * BLOCK, n, stack.m - row_block * BLOCK, n - s * BLOCK);
    };
    for (int64_t j = 0; j < end; ++j) pack(pack_part<Tiles::pack_right_transposed>, right.at(j * steps), j);
    alignas(64) float sums[BLOCK_SIZE];
    for (int64_t i = begin; i < end; ++i) {
        pack(pack_part<Tiles::pack_left>, left.at(0), i);
        for (int64_t j = 0; j <= i; ++j) {
            for (int64_t s = 0; s < steps; s += Tiles::STEPS_AT_ONCE) {
                const int64_t some = steps - s < Tiles::STEPS_AT_ONCE ? steps - s : Tiles::STEPS_AT_ONCE;
                Tiles::finish(Tiles::multiply(sums, s > 0, BLOCK, BLOCK, int(some * BLOCK), left.at(s), BLOCK_SIZE,
                                              right.at(j * steps + s), BLOCK_SIZE));
            }
            write_block(stack, matrix, sums, i * BLOCK, j * BLOCK);
        }
    }
}

template <class Tiles>
void symmetric_product(const Stack& stack, int threads) {
    const int64_t row_blocks = stack.row_blocks(), steps = stack.depth_blocks();
    // Whole matrices where that leaves no thread waiting for long; else parts of about the same number of blocks.
    const int64_t rounds = (stack.N + threads - 1) / threads;
    const int64_t wanted = stack.N * 10 >= rounds * threads * 8 ? 1 : (4 * threads + stack.N - 1) / stack.N;
    const int64_t parts = wanted < row_blocks ? wanted : row_blocks;
    const auto first_of = [&](int64_t part) { return int64_t(std::lround(row_blocks * std::sqrt(double(part) / parts))); };
#pragma omp parallel num_threads(threads)
    {
        Blocks left(steps), right(row_blocks * steps);
        Tiles::begin_thread();
#pragma omp for schedule(dynamic, 1)
        for (int64_t item = 0; item < stack.N * parts; ++item)
            multiply_rows<Tiles>(stack, item / parts, first_of(item % parts), first_of(item % parts + 1), left, right);
        Tiles::end_thread();
    }
}

}  // namespace
}  // namespace headwater
#endif

// Return 0, or 1 where this processor has no products of bf16.
extern "C" __attribute__((visibility("default"))) int hw_symmetric_product_bf16(const uint16_t* x, const uint16_t* plus,
                                                                                uint16_t* out, int64_t N, int64_t m, int64_t n,
                                                                                float alpha, float beta, int threads) {
#if HW_AVX512_BF16
    using namespace headwater;
    const Stack stack{x, plus, out, N, m, n, alpha, beta};
    if (N == 0 || m == 0) return 0;
#if HW_AMX
    if (amx_available()) return symmetric_product<AmxTiles>(stack, threads), 0;
#endif
    return symmetric_product<Avx512Bf16Tiles>(stack, threads), 0;
#else
    (void)x, (void)plus, (void)out, (void)N, (void)m, (void)n, (void)alpha, (void)beta, (void)threads;
    return 1;
#endif
}
