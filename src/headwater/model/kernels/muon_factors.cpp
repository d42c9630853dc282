// By what Muon multiplies each block, from its X X^T: as optim/muon.py, `factors`, in fp32. R rows of a block.
//
// All matrices are symmetric, for they are polynomials of one: of a product the half below the diagonal is computed. A
// block's matrices stay in a core's second cache, padded with zeros to P rows.
#include <cmath>
#include <utility>

#include "numbers.h"

namespace {

typedef float Lanes __attribute__((vector_size(64), aligned(4), may_alias));
constexpr int64_t HEIGHT = 8, WIDTH = 32;  // of a tile: 16 sums of 16 lanes, in registers

// out = left right, or alpha left right + beta plus; symmetric.
void multiply(float* out, const float* left, const float* right, int64_t P, const float* plus, float alpha, float beta) {
    for (int64_t column = 0; column < P; column += WIDTH)
        for (int64_t row = column; row < P; row += HEIGHT) {
            Lanes sums[HEIGHT][2] = {};
            for (int64_t k = 0; k < P; k++) {
                const Lanes first = *(const Lanes*)(right + k * P + column), second = *(const Lanes*)(right + k * P + column + 16);
#pragma GCC unroll 8
                for (int64_t i = 0; i < HEIGHT; i++) {
                    const float factor = left[(row + i) * P + k];
                    sums[i][0] += factor * first;
                    sums[i][1] += factor * second;
                }
            }
#pragma GCC unroll 8
            for (int64_t i = 0; i < HEIGHT; i++)
                for (int64_t half = 0; half < 2; half++) {
                    const int64_t at = (row + i) * P + column + half * 16;
                    *(Lanes*)(out + at) = plus ? alpha * sums[i][half] + beta * *(const Lanes*)(plus + at) : sums[i][half];
                }
            for (int64_t i = 0; row >= column + WIDTH && i < HEIGHT; i++)
                for (int64_t j = 0; j < WIDTH; j++) out[(column + j) * P + row + i] = out[(row + i) * P + column + j];
        }
}

// out = a I + b gram + c gram^2.
void polynomial(float* out, const float* gram, int64_t P, const float* abc) {
    multiply(out, gram, gram, P, gram, abc[2], abc[1]);
    for (int64_t i = 0; i < P; i++) out[i * P + i] += abc[0];
}

}  // namespace

// grams (N, R, R) become the factors; coefficients (degrees, 3) of the polynomials a x + b x^3 + c x^5.
EXPORT void hw_muon_factors(float* grams, const float* coefficients, int64_t N, int64_t R, int64_t degrees, int threads) {
    const int64_t P = (R + WIDTH - 1) / WIDTH * WIDTH;
#pragma omp parallel num_threads(threads)
    {
        Scratch scratch(4, P * P);
        float *gram = scratch.row(0), *step = scratch.row(1), *factor = scratch.row(2), *next = scratch.row(3);
#pragma omp for schedule(dynamic, 1)
        for (int64_t n = 0; n < N; n++) {
            float* block = grams + n * R * R;
            float trace = 0;
            for (int64_t i = 0; i < R; i++) trace += block[i * R + i];
            const float scale = 1 / (std::sqrt(trace) * 1.02f + 1e-6f);
            memset(gram, 0, P * P * sizeof(float));
            for (int64_t i = 0; i < R; i++)
                for (int64_t j = 0; j < R; j++) gram[i * P + j] = block[i * R + j] * (scale * scale);
            polynomial(step, gram, P, coefficients);
            memcpy(factor, step, P * P * sizeof(float));
            for (int64_t degree = 1; degree < degrees; degree++) {
                multiply(next, step, gram, P, nullptr, 1, 0);
                multiply(gram, next, step, P, nullptr, 1, 0);
                polynomial(step, gram, P, coefficients + 3 * degree);
                multiply(next, step, factor, P, nullptr, 1, 0);
                std::swap(next, factor);
            }
            for (int64_t i = 0; i < R; i++)
                for (int64_t j = 0; j < R; j++) block[i * R + j] = factor[i * P + j] * scale;
        }
    }
}
