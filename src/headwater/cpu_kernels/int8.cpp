// Between a linear map's products in int8: rows and columns scaled by their largest magnitude and rounded, and sums in
// int32 scaled back. N tokens, R rows and K columns of a matrix.
//
// 127 / 127 is exact, so that a row's largest number keeps its value. A row of zeros has the scale 0 and stays zeros; one
// with a number that isn't finite has a scale that isn't, and every sum it enters becomes NaN: the step is then skipped.
#include <cmath>

#include "numbers.h"

constexpr float LARGEST = 127.0f;

static inline float inverse_of(float scale) { return scale > 0 ? 1.0f / scale : 0.0f; }

static inline float scale_of(float magnitude, bool finite) { return finite ? magnitude / LARGEST : NAN; }

// The largest magnitude of a row over 127, NaN where a number isn't finite: `sum`, of each times 0, is 0 only without those.
static inline float row_scale(const float* row, int64_t count) {
    float magnitude = 0, sum = 0;
#pragma omp simd reduction(max : magnitude) reduction(+ : sum)
    for (int64_t i = 0; i < count; i++) {
        const float size = __builtin_fabsf(row[i]);
        magnitude = size > magnitude ? size : magnitude;
        sum += row[i] * 0.0f;
    }
    return scale_of(magnitude, sum == 0);
}

// To nearest, ties to even, and within ±127: a product of roundings may lie a little above.
static inline void round_row(const float* row, const float* inverse, float factor, int64_t count, int8_t* out) {
    int64_t i = 0;
#if defined(__AVX512F__)
    const __m512 limit = _mm512_set1_ps(LARGEST), opposite = _mm512_set1_ps(-LARGEST);
    for (; i + 16 <= count; i += 16) {
        __m512 value = _mm512_mul_ps(_mm512_loadu_ps(row + i), _mm512_set1_ps(factor));
        if (inverse) value = _mm512_mul_ps(value, _mm512_loadu_ps(inverse + i));
        value = _mm512_max_ps(_mm512_min_ps(value, limit), opposite);
        _mm_storeu_si128((__m128i*)(out + i), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(value)));
    }
#endif
    for (; i < count; i++) {
        float value = row[i] * factor;
        if (inverse) value *= inverse[i];
        value = value < LARGEST ? (value > -LARGEST ? value : -LARGEST) : LARGEST;
        out[i] = int8_t(__builtin_lrintf(value));
    }
}

template <class T>
static void quantise_rows(const T* x, int64_t N, int64_t K, int8_t* out, float* scales, int threads) {
#pragma omp parallel num_threads(threads)
    {
        Scratch scratch(1, K);
        const Range own = own_rows(N);
        for (int64_t n = own.begin; n < own.end; n++) {
            const float* row = widen(x + n * K, scratch.row(0), K);
            scales[n] = row_scale(row, K);
            round_row(row, nullptr, inverse_of(scales[n]), K, out + n * K);
        }
    }
}

// As above, and a second copy scaled by columns. magnitudes holds threads x K floats.
template <class T>
static void quantise_both(const T* x, int64_t N, int64_t K, int8_t* by_rows, float* row_scales, int8_t* by_columns,
                          float* column_scales, float* magnitudes, int threads) {
    Scratch inverse(1, K);
#pragma omp parallel num_threads(threads)
    {
        Scratch scratch(1, K);
        const Range own = own_rows(N);
        float* largest = magnitudes + omp_get_thread_num() * K;
        for (int64_t i = 0; i < K; i++) largest[i] = 0;
        for (int64_t n = own.begin; n < own.end; n++) {
            const float* row = widen(x + n * K, scratch.row(0), K);
            row_scales[n] = row_scale(row, K);
            round_row(row, nullptr, inverse_of(row_scales[n]), K, by_rows + n * K);
            if (!(row_scales[n] < INFINITY)) {
                for (int64_t i = 0; i < K; i++) largest[i] = INFINITY;
                continue;
            }
#pragma omp simd
            for (int64_t i = 0; i < K; i++) {
                const float size = __builtin_fabsf(row[i]);
                largest[i] = size > largest[i] ? size : largest[i];
            }
        }
#pragma omp barrier
#pragma omp single
        for (int64_t i = 0; i < K; i++) {
            float magnitude = 0;
            for (int64_t t = 0; t < omp_get_num_threads(); t++)
                magnitude = magnitudes[t * K + i] > magnitude ? magnitudes[t * K + i] : magnitude;
            column_scales[i] = scale_of(magnitude, magnitude < INFINITY);
            inverse.row(0)[i] = inverse_of(column_scales[i]);
        }
        for (int64_t n = own.begin; n < own.end; n++)
            round_row(widen(x + n * K, scratch.row(0), K), inverse.row(0), 1.0f, K, by_columns + n * K);
    }
}

// out = sums * row_scales[:, None] * column_scales, plus bias where there is one.
template <class T>
static void scale_sums(const int32_t* sums, const float* row_scales, const float* column_scales, const float* bias,
                       int64_t N, int64_t R, T* out, int threads) {
#pragma omp parallel num_threads(threads)
    {
        Scratch scratch(1, R);
        const Range own = own_rows(N);
        for (int64_t n = own.begin; n < own.end; n++) {
            const int32_t* from = sums + n * R;
            const float scale = row_scales[n];
            float* to = wide_place(out + n * R, scratch.row(0));
            if (bias) {
#pragma omp simd
                for (int64_t i = 0; i < R; i++) to[i] = float(from[i]) * scale * column_scales[i] + bias[i];
            } else {
#pragma omp simd
                for (int64_t i = 0; i < R; i++) to[i] = float(from[i]) * scale * column_scales[i];
            }
            narrow(to, out + n * R, R);
        }
    }
}

#define DEFINE(T, name)                                                                                               \
    EXPORT void hw_quantise_rows_##name(const T* x, int64_t N, int64_t K, int8_t* out, float* scales, int threads) {  \
        quantise_rows(x, N, K, out, scales, threads);                                                                 \
    }                                                                                                                 \
    EXPORT void hw_quantise_both_##name(const T* x, int64_t N, int64_t K, int8_t* by_rows, float* row_scales,         \
                                        int8_t* by_columns, float* column_scales, float* magnitudes, int threads) {   \
        quantise_both(x, N, K, by_rows, row_scales, by_columns, column_scales, magnitudes, threads);                  \
    }                                                                                                                 \
    EXPORT void hw_scale_sums_##name(const int32_t* sums, const float* row_scales, const float* column_scales,        \
                                     const float* bias, int64_t N, int64_t R, T* out, int threads) {                  \
        scale_sums(sums, row_scales, column_scales, bias, N, R, out, threads);                                        \
    }
DEFINE(float, f32)
DEFINE(bf16, bf16)
