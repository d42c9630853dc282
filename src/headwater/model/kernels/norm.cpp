// Residual addition and RMSNorm in one pass. N tokens, D width.
#include "numbers.h"

// sum = x + y (y may be null: then sum is x and isn't written); out = sum / rms(sum) * weight.
template <class T>
static void add_norm(const T* x, const T* y, const float* weight, int64_t N, int64_t D, float eps, T* sum, T* out,
                     float* inverse_rms, int threads) {
#pragma omp parallel num_threads(threads)
    {
        Scratch scratch(3, D);
        const Range own = own_rows(N);
        for (int64_t n = own.begin; n < own.end; n++) {
            const float* row = widen(x + n * D, scratch.row(0), D);
            if (y) {
                const float* other = widen(y + n * D, scratch.row(1), D);
                T* place = sum + n * D;
                float* total = wide_place(place, scratch.row(2));
#pragma omp simd
                for (int64_t d = 0; d < D; d++) total[d] = row[d] + other[d];
                narrow(total, place, D);
                row = widen(place, scratch.row(0), D);  // the rounded sum is what the backward pass will see
            }
            float squares = 0;
#pragma omp simd reduction(+ : squares)
            for (int64_t d = 0; d < D; d++) squares += row[d] * row[d];
            const float inverse = 1.0f / __builtin_sqrtf(squares / D + eps);
            inverse_rms[n] = inverse;
            float* to = wide_place(out + n * D, scratch.row(1));
#pragma omp simd
            for (int64_t d = 0; d < D; d++) to[d] = row[d] * inverse * weight[d];
            narrow(to, out + n * D, D);
        }
    }
}

// dx = dsum + d(norm)/d(sum) · dout; dsum may be null. partials holds threads × D floats, zeroed by the caller.
template <class T>
static void add_norm_backward(const T* dout, const T* dsum, const T* sum, const float* weight, const float* inverse_rms,
                              int64_t N, int64_t D, T* dx, float* dweight, float* partials, int threads) {
#pragma omp parallel num_threads(threads)
    {
        Scratch scratch(4, D);
        const Range own = own_rows(N);
        float* partial = partials + omp_get_thread_num() * D;
        for (int64_t n = own.begin; n < own.end; n++) {
            const float* grad = widen(dout + n * D, scratch.row(0), D);
            const float* row = widen(sum + n * D, scratch.row(1), D);
            const float inverse = inverse_rms[n];
            float dot = 0;
#pragma omp simd reduction(+ : dot)
            for (int64_t d = 0; d < D; d++) {
                const float product = grad[d] * row[d] * inverse;
                partial[d] += product;
                dot += product * weight[d];
            }
            const float mean = dot / D * inverse;
            float* to = wide_place(dx + n * D, scratch.row(2));
            if (dsum) {
                const float* through = widen(dsum + n * D, scratch.row(3), D);
#pragma omp simd
                for (int64_t d = 0; d < D; d++) to[d] = through[d] + inverse * (grad[d] * weight[d] - row[d] * mean);
            } else {
#pragma omp simd
                for (int64_t d = 0; d < D; d++) to[d] = inverse * (grad[d] * weight[d] - row[d] * mean);
            }
            narrow(to, dx + n * D, D);
        }
    }
    add_partials(partials, threads, D, dweight);
}

#define DEFINE(T, name)                                                                                               \
    EXPORT void hw_add_norm_##name(const T* x, const T* y, const float* weight, int64_t N, int64_t D, float eps,      \
                                   T* sum, T* out, float* inverse_rms, int threads) {                                 \
        add_norm(x, y, weight, N, D, eps, sum, out, inverse_rms, threads);                                            \
    }                                                                                                                 \
    EXPORT void hw_add_norm_backward_##name(const T* dout, const T* dsum, const T* sum, const float* weight,          \
                                            const float* inverse_rms, int64_t N, int64_t D, T* dx, float* dweight,    \
                                            float* partials, int threads) {                                           \
        add_norm_backward(dout, dsum, sum, weight, inverse_rms, N, D, dx, dweight, partials, threads);                \
    }
DEFINE(float, f32)
DEFINE(bf16, bf16)
