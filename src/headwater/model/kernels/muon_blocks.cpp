// Muon's products with wide blocks of bf16 matrices as they lie, with AMX or AVX512_BF16.
//
// A matrix (R, C) is cut along its shorter side into blocks of `size`; X is a block with that side as its rows, so of
// a tall matrix X is the transposed of some columns. Sums are fp32, in an order that the number of threads doesn't change.
#include <cstring>
#include <omp.h>
#include <vector>

#include "packed_blocks.h"
#include "tiles_amx.h"
#include "tiles_avx512bf16.h"

#if HW_AVX512_BF16
namespace headwater {
namespace {

constexpr int64_t PIECE = 16;  // steps of depth packed at a time: of 128 rows 128 KB a side, within the second cache
constexpr int64_t STRIP = 8;   // blocks of the longer side that one thread takes at a time

int64_t blocks_in(int64_t count) { return (count + BLOCK - 1) / BLOCK; }

struct Matrix {
    const uint16_t* numbers;
    int64_t R, C, size;

    bool is_tall() const { return R > C; }
    int64_t longer() const { return is_tall() ? R : C; }
    int64_t num_blocks() const { return (is_tall() ? C : R) / size; }
};

// The 32 x 32 part of block `block` of X at (row, column), in X's own rows and columns.
struct Part {
    const uint16_t* at;
    int64_t rows, columns;  // of the matrix as it lies: how many there are from here on
};
Part part_of(const Matrix& x, int64_t block, int64_t row, int64_t column) {
    const int64_t first = block * x.size + row;
    if (x.is_tall()) return {x.numbers + column * x.C + first, x.R - column, x.size - row};
    return {x.numbers + first * x.C + column, x.size - row, x.C - column};
}

template <class Tiles>
void multiply(float* sums, bool accumulate, int64_t steps, const uint16_t* left, const uint16_t* right) {
    for (int64_t s = 0; s < steps; s += Tiles::STEPS_AT_ONCE) {
        const int64_t some = steps - s < Tiles::STEPS_AT_ONCE ? steps - s : Tiles::STEPS_AT_ONCE;
        Tiles::finish(Tiles::multiply(sums, accumulate || s > 0, BLOCK, BLOCK, int(some * BLOCK), left + s * BLOCK_SIZE, BLOCK_SIZE,
                                      right + s * BLOCK_SIZE, BLOCK_SIZE));
    }
}

// Write a block of sums of a symmetric matrix (size, size) at (row, column), and its mirror image.
void write_both(float* out, int64_t size, const float* sums, int64_t row, int64_t column) {
    for (int64_t i = 0; i < BLOCK && row + i < size; ++i)
        for (int64_t j = 0; j < BLOCK && column + j < size; ++j)
            out[(row + i) * size + column + j] = out[(column + j) * size + row + i] = sums[i * BLOCK + j];
}

template <class Tiles>
void block_gram(const Matrix& x, int64_t block, float* out, Blocks& left, Blocks& right, std::vector<float>& memory) {
    const int64_t sides = blocks_in(x.size), steps = blocks_in(x.longer());
    float* sums = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(memory.data()) + 63) / 64 * 64);
    for (int64_t begin = 0; begin < steps; begin += PIECE) {
        const int64_t count = steps - begin < PIECE ? steps - begin : PIECE;
        for (int64_t s = 0; s < count; ++s)
            for (int64_t i = 0; i < sides; ++i) {
                const Part part = part_of(x, block, i * BLOCK, (begin + s) * BLOCK);
                if (x.is_tall()) {
                    pack_part<Tiles::pack_left_transposed>(left.at(i * PIECE + s), part.at, x.C, part.rows, part.columns);
                    pack_part<Tiles::pack_right>(right.at(i * PIECE + s), part.at, x.C, part.rows, part.columns);
                } else {
                    pack_part<Tiles::pack_left>(left.at(i * PIECE + s), part.at, x.C, part.rows, part.columns);
                    pack_part<Tiles::pack_right_transposed>(right.at(i * PIECE + s), part.at, x.C, part.rows, part.columns);
                }
            }
        float* own = sums;
        for (int64_t i = 0; i < sides; ++i)
            for (int64_t j = 0; j <= i; ++j, own += BLOCK_SIZE)
                multiply<Tiles>(own, begin > 0, count, left.at(i * PIECE), right.at(j * PIECE));
    }
    const float* own = sums;
    for (int64_t i = 0; i < sides; ++i)
        for (int64_t j = 0; j <= i; ++j, own += BLOCK_SIZE) write_both(out, x.size, own, i * BLOCK, j * BLOCK);
}

template <class Tiles>
void block_grams(const uint16_t* x, float* out, int64_t N, int64_t R, int64_t C, int64_t size, int threads) {
    const Matrix first{x, R, C, size};
    const int64_t sides = blocks_in(size), blocks = first.num_blocks();
#pragma omp parallel num_threads(threads)
    {
        Blocks left(sides * PIECE), right(sides * PIECE);
        std::vector<float> memory(sides * (sides + 1) / 2 * BLOCK_SIZE + 16);
        Tiles::begin_thread();
#pragma omp for schedule(dynamic, 1)
        for (int64_t item = 0; item < N * blocks; ++item)
            block_gram<Tiles>({x + item / blocks * R * C, R, C, size}, item % blocks, out + item * size * size, left, right, memory);
        Tiles::end_thread();
    }
}

// parameter = parameter * keep - rate * sums for the part of a block of sums that `rows` and `columns` leave.
void descend(float* parameter, int64_t stride, const float* sums, int64_t rows, int64_t columns, float keep, float rate) {
    for (int64_t i = 0; i < BLOCK && i < rows; ++i) {
        const int64_t count = columns < BLOCK ? columns : BLOCK;
        float* to = parameter + i * stride;
        const float* from = sums + i * BLOCK;
#pragma omp simd
        for (int64_t j = 0; j < count; ++j) to[j] = to[j] * keep - rate * from[j];
    }
}

// One block's part of the parameter, between two blocks of the longer side.
template <class Tiles>
void descend_strip(float* parameter, const Matrix& x, const uint16_t* factor, int64_t block, int64_t begin, int64_t end,
                   float keep, float rate, Blocks& factors, Blocks& numbers) {
    const int64_t sides = blocks_in(x.size), size = x.size;
    const bool tall = x.is_tall();
    alignas(64) float sums[BLOCK_SIZE];
    for (int64_t i = 0; i < sides; ++i)
        for (int64_t s = 0; s < sides; ++s) {
            const uint16_t* from = factor + (tall ? s * BLOCK * size + i * BLOCK : i * BLOCK * size + s * BLOCK);
            const int64_t rows = size - (tall ? s : i) * BLOCK, columns = size - (tall ? i : s) * BLOCK;
            if (tall)
                pack_part<Tiles::pack_right>(factors.at(i * sides + s), from, size, rows, columns);
            else
                pack_part<Tiles::pack_left>(factors.at(i * sides + s), from, size, rows, columns);
        }
    for (int64_t at = begin; at < end; ++at) {
        for (int64_t s = 0; s < sides; ++s) {
            const Part part = part_of(x, block, s * BLOCK, at * BLOCK);
            if (tall)
                pack_part<Tiles::pack_left>(numbers.at(s), part.at, x.C, part.rows, part.columns);
            else
                pack_part<Tiles::pack_right>(numbers.at(s), part.at, x.C, part.rows, part.columns);
        }
        for (int64_t i = 0; i < sides; ++i) {
            const Part part = part_of(x, block, i * BLOCK, at * BLOCK);
            for (int64_t row = 0; row < BLOCK && row < part.rows; ++row)  // there when it is changed
                for (int64_t half = 0; half < BLOCK; half += 16)
                    __builtin_prefetch(parameter + (part.at - x.numbers) + row * x.C + half, 1);
            const uint16_t *left = tall ? numbers.at(0) : factors.at(i * sides), *right = tall ? factors.at(i * sides) : numbers.at(0);
            multiply<Tiles>(sums, false, sides, left, right);
            descend(parameter + (part.at - x.numbers), x.C, sums, part.rows, part.columns, keep, rate);
        }
    }
}

template <class Tiles>
void descend_blocks(float* parameter, const Matrix& x, const uint16_t* factors, float keep, float rate, int threads) {
    const int64_t sides = blocks_in(x.size), steps = blocks_in(x.longer()), strips = (steps + STRIP - 1) / STRIP;
#pragma omp parallel num_threads(threads)
    {
        Blocks packed(sides * sides), numbers(sides);
        Tiles::begin_thread();
#pragma omp for schedule(dynamic, 1)
        for (int64_t item = 0; item < x.num_blocks() * strips; ++item) {
            const int64_t block = item / strips, begin = item % strips * STRIP;
            descend_strip<Tiles>(parameter, x, factors + block * x.size * x.size, block, begin,
                                 begin + STRIP < steps ? begin + STRIP : steps, keep, rate, packed, numbers);
        }
        Tiles::end_thread();
    }
}

}  // namespace
}  // namespace headwater
#endif

// out (blocks, size, size) in fp32: X X^T of every block of N matrices (R, C). Return 0, or 1 where this processor has
// no products of bf16.
extern "C" __attribute__((visibility("default"))) int hw_block_grams_bf16(const uint16_t* x, float* out, int64_t N, int64_t R,
                                                                          int64_t C, int64_t size, int threads) {
#if HW_AVX512_BF16
    using namespace headwater;
#if HW_AMX
    if (amx_available()) return block_grams<AmxTiles>(x, out, N, R, C, size, threads), 0;
#endif
    return block_grams<Avx512Bf16Tiles>(x, out, N, R, C, size, threads), 0;
#else
    (void)x, (void)out, (void)N, (void)R, (void)C, (void)size, (void)threads;
    return 1;
#endif
}

// parameter = parameter * keep - rate * F X for every block X of one matrix (R, C), F its factor (size, size), symmetric.
// Returns as hw_block_grams_bf16.
extern "C" __attribute__((visibility("default"))) int hw_descend_blocks_bf16(float* parameter, const uint16_t* x,
                                                                             const uint16_t* factors, int64_t R, int64_t C,
                                                                             int64_t size, float keep, float rate, int threads) {
#if HW_AVX512_BF16
    using namespace headwater;
    const Matrix matrix{x, R, C, size};
#if HW_AMX
    if (amx_available()) return descend_blocks<AmxTiles>(parameter, matrix, factors, keep, rate, threads), 0;
#endif
    return descend_blocks<Avx512Bf16Tiles>(parameter, matrix, factors, keep, rate, threads), 0;
#else
    (void)parameter, (void)x, (void)factors, (void)R, (void)C, (void)size, (void)keep, (void)rate, (void)threads;
    return 1;
#endif
}
