// The optimizer's elementwise passes over one tensor of n numbers, in fp32 masters.
#include "numbers.h"

// AdamW, with 1 - beta given apart because fp32 rounds it: mean and square are updated, then parameter -= rate * mean / (sqrt(square / correction) + eps), after decay.
EXPORT void hw_adamw(float* parameter, const float* gradient, float* mean, float* square, int64_t n, float mean_rate,
                     float beta2, float square_rate, float eps, float keep, float rate, float square_scale,
                     int threads) {
#pragma omp parallel num_threads(threads)
    {
        const Range own = own_rows(n);
#pragma omp simd
        for (int64_t i = own.begin; i < own.end; i++) {
            const float g = gradient[i];
            const float m = mean[i] + (g - mean[i]) * mean_rate;
            const float s = square[i] * beta2 + g * g * square_rate;
            mean[i] = m;
            square[i] = s;
            parameter[i] = parameter[i] * keep - rate * m / (__builtin_sqrtf(s * square_scale) + eps);
        }
    }
}

constexpr int64_t PIECE = 2048;  // numbers widened at a time: 8 KB of scratch, in the first cache

// Muon's first half: momentum, and the gradient that Nesterov's momentum foresees in `out`.
template <class T>
static void momentum(const float* gradient, float* mean, int64_t n, float keep, T* out, int threads) {
#pragma omp parallel num_threads(threads)
    {
        Scratch scratch(1, PIECE);
        const Range own = own_rows(n);
        for (int64_t begin = own.begin; begin < own.end; begin += PIECE) {
            const int64_t count = own.end - begin < PIECE ? own.end - begin : PIECE;
            const float* g = gradient + begin;
            float *m = mean + begin, *to = wide_place(out + begin, scratch.row(0));
#pragma omp simd
            for (int64_t i = 0; i < count; i++) {
                m[i] += (g[i] - m[i]) * (1.0f - keep);
                to[i] = g[i] + (m[i] - g[i]) * keep;
            }
            narrow(to, out + begin, count);
        }
    }
}

// Muon's second half: parameter = parameter * keep - rate * direction.
template <class T>
static void descend(float* parameter, const T* direction, int64_t n, float keep, float rate, int threads) {
#pragma omp parallel num_threads(threads)
    {
        Scratch scratch(1, PIECE);
        const Range own = own_rows(n);
        for (int64_t begin = own.begin; begin < own.end; begin += PIECE) {
            const int64_t count = own.end - begin < PIECE ? own.end - begin : PIECE;
            const float* step = widen(direction + begin, scratch.row(0), count);
            float* p = parameter + begin;
#pragma omp simd
            for (int64_t i = 0; i < count; i++) p[i] = p[i] * keep - rate * step[i];
        }
    }
}

#define DEFINE(T, name)                                                                                              \
    EXPORT void hw_momentum_##name(const float* gradient, float* mean, int64_t n, float keep, T* out, int threads) { \
        momentum(gradient, mean, n, keep, out, threads);                                                             \
    }                                                                                                                \
    EXPORT void hw_descend_##name(float* parameter, const T* direction, int64_t n, float keep, float rate,           \
                                  int threads) {                                                                     \
        descend(parameter, direction, n, keep, rate, threads);                                                       \
    }
DEFINE(float, f32)
DEFINE(bf16, bf16)
