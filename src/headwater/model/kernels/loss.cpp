// Cross-entropy of a chunk of logits. N tokens, V vocabulary; a target of -1 does not count.
#include "numbers.h"

// Return log sum exp of a row of logits, less its largest value, which is returned too; exps keeps exp(logit - largest).
static inline float log_sum(const float* row, int64_t V, float* exps, float& largest, float& sum) {
    float high = row[0];
#pragma omp simd reduction(max : high)
    for (int64_t i = 0; i < V; i++) high = row[i] > high ? row[i] : high;
    float total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t i = 0; i < V; i++) {
        const float value = exponential(row[i] - high);
        exps[i] = value;
        total += value;
    }
    largest = high;
    sum = total;
    return __builtin_logf(total);
}

// losses[n] = -log p(target); logits become p - onehot(target), or 0 where there is no target.
template <class T>
static void loss_and_error(T* logits, const int64_t* targets, int64_t N, int64_t V, float* losses, int threads) {
#pragma omp parallel num_threads(threads)
    {
        Scratch scratch(2, V);
        const Range own = own_rows(N);
        for (int64_t n = own.begin; n < own.end; n++) {
            T* place = logits + n * V;
            const int64_t target = targets[n];
            if (target < 0) {
                memset(place, 0, V * sizeof(T));
                losses[n] = 0;
                continue;
            }
            if (target >= V) {  // no token: the loss says so, and the step isn't taken
                memset(place, 0, V * sizeof(T));
                losses[n] = __builtin_nanf("");
                continue;
            }
            const float* row = widen(place, scratch.row(0), V);
            const float hit = row[target];
            float largest, sum, *exps = scratch.row(1);
            losses[n] = log_sum(row, V, exps, largest, sum) + largest - hit;
            const float scale = 1.0f / sum;
            float* error = wide_place(place, exps);
#pragma omp simd
            for (int64_t i = 0; i < V; i++) error[i] = exps[i] * scale;
            error[target] -= 1.0f;
            narrow(error, place, V);
        }
    }
}

template <class T>
static void losses_only(const T* logits, const int64_t* targets, int64_t N, int64_t V, float* losses, int threads) {
#pragma omp parallel num_threads(threads)
    {
        Scratch scratch(2, V);
        const Range own = own_rows(N);
        for (int64_t n = own.begin; n < own.end; n++) {
            losses[n] = 0;
            if (targets[n] < 0) continue;
            if (targets[n] >= V) {
                losses[n] = __builtin_nanf("");
                continue;
            }
            const float* row = widen(logits + n * V, scratch.row(0), V);
            float largest, sum;
            losses[n] = log_sum(row, V, scratch.row(1), largest, sum) + largest - row[targets[n]];
        }
    }
}

#define DEFINE(T, name)                                                                                         \
    EXPORT void hw_loss_and_error_##name(T* logits, const int64_t* targets, int64_t N, int64_t V, float* losses, \
                                         int threads) {                                                         \
        loss_and_error(logits, targets, N, V, losses, threads);                                                 \
    }                                                                                                           \
    EXPORT void hw_losses_##name(const T* logits, const int64_t* targets, int64_t N, int64_t V, float* losses,  \
                                 int threads) {                                                                 \
        losses_only(logits, targets, N, V, losses, threads);                                                    \
    }
DEFINE(float, f32)
DEFINE(bf16, bf16)
