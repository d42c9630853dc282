// SwiGLU's elementwise half. gate_up is (N, 2F): gates, then ups.
#include "numbers.h"

template <class T>
static void swiglu(const T* gate_up, int64_t N, int64_t F, T* out, int threads) {
#pragma omp parallel num_threads(threads)
    {
        Scratch scratch(3, F);
        const Range own = own_rows(N);
        for (int64_t n = own.begin; n < own.end; n++) {
            const float* gate = widen(gate_up + n * 2 * F, scratch.row(0), F);
            const float* up = widen(gate_up + n * 2 * F + F, scratch.row(1), F);
            float* to = wide_place(out + n * F, scratch.row(2));
#pragma omp simd
            for (int64_t i = 0; i < F; i++) to[i] = gate[i] * sigmoid(gate[i]) * up[i];
            narrow(to, out + n * F, F);
        }
    }
}

template <class T>
static void swiglu_backward(const T* dout, const T* gate_up, int64_t N, int64_t F, T* dgate_up, int threads) {
#pragma omp parallel num_threads(threads)
    {
        Scratch scratch(5, F);
        const Range own = own_rows(N);
        for (int64_t n = own.begin; n < own.end; n++) {
            const float* gate = widen(gate_up + n * 2 * F, scratch.row(0), F);
            const float* up = widen(gate_up + n * 2 * F + F, scratch.row(1), F);
            const float* grad = widen(dout + n * F, scratch.row(2), F);
            T* place = dgate_up + n * 2 * F;
            float *dgate = wide_place(place, scratch.row(3)), *dup = wide_place(place + F, scratch.row(4));
#pragma omp simd
            for (int64_t i = 0; i < F; i++) {
                const float s = sigmoid(gate[i]);
                dup[i] = grad[i] * gate[i] * s;
                dgate[i] = grad[i] * up[i] * s * (1.0f + gate[i] * (1.0f - s));
            }
            narrow(dgate, place, F);
            narrow(dup, place + F, F);
        }
    }
}

#define DEFINE(T, name)                                                                                       \
    EXPORT void hw_swiglu_##name(const T* gate_up, int64_t N, int64_t F, T* out, int threads) {               \
        swiglu(gate_up, N, F, out, threads);                                                                  \
    }                                                                                                         \
    EXPORT void hw_swiglu_backward_##name(const T* dout, const T* gate_up, int64_t N, int64_t F, T* dgate_up, \
                                          int threads) {                                                      \
        swiglu_backward(dout, gate_up, N, F, dgate_up, threads);                                              \
    }
DEFINE(float, f32)
DEFINE(bf16, bf16)
