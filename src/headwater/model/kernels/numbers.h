// Numbers and work sharing for the kernels: bf16 beside float, an exponential that compilers vectorise, row ranges.
#pragma once
#include <cstdint>
#include <cstring>
#include <memory>
#include <omp.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

struct bf16 {
    uint16_t bits;
};

static inline float as_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static inline uint32_t as_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

// Rows are widened into fp32 scratch, computed there and narrowed: loops over plain floats are what compilers vectorise.
// For floats nothing is copied: `widen` returns the row itself, `wide_place` the destination, `narrow` does nothing.
static inline const float* widen(const float* row, float*, int64_t) { return row; }
static inline float* wide_place(float* place, float*) { return place; }
static inline void narrow(const float*, float*, int64_t) {}

static inline float widened(float value) { return value; }
static inline float widened(bf16 value) { return as_float(uint32_t(value.bits) << 16); }

static inline bf16 narrowed(float value) {
    const uint32_t bits = as_bits(value);
    if (value != value) return {uint16_t(bits >> 16 | 0x40)};  // rounding up could make a NaN with all bits set a zero
    return {uint16_t((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};  // to nearest, ties to even
}

static inline const float* widen(const bf16* row, float* scratch, int64_t n) {
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; i + 16 <= n; i += 16) {
        const __m512i bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(row + i)));
        _mm512_storeu_ps(scratch + i, _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16)));
    }
#endif
    for (; i < n; i++) scratch[i] = widened(row[i]);
    return scratch;
}

static inline float* wide_place(bf16*, float* scratch) { return scratch; }

static inline void narrow(const float* scratch, bf16* place, int64_t n) {
    int64_t i = 0;
#if defined(__AVX512BF16__)
    for (; i + 16 <= n; i += 16)
        _mm256_storeu_si256((__m256i*)(place + i), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(scratch + i)));
#endif
    for (; i < n; i++) place[i] = narrowed(scratch[i]);
}

// exp(x), relative error under 2e-7 where the result is a normal number; below that 0 or nearly.
static inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
    const float power = __builtin_floorf(x * 1.44269504088896f + 0.5f);
    const float rest = (x - power * 0.693359375f) + power * 2.12194440e-4f;
    float sum = 1.9875691500e-4f;
    sum = sum * rest + 1.3981999507e-3f;
    sum = sum * rest + 8.3334519073e-3f;
    sum = sum * rest + 4.1665795894e-2f;
    sum = sum * rest + 1.6666665459e-1f;
    sum = sum * rest + 5.0000001201e-1f;
    sum = sum * rest * rest + rest + 1.0f;
    return sum * as_float(uint32_t(int32_t(power) + 127) << 23);
}

static inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

struct Range {
    int64_t begin, end;
};

// The part of `count` rows of the calling thread: contiguous and fixed, so that sums come out the same every time.
static inline Range own_rows(int64_t count) {
    const int64_t threads = omp_get_num_threads(), me = omp_get_thread_num();
    return {count * me / threads, count * (me + 1) / threads};
}

// Add the partial sums (threads, width) of all threads in the order of the threads.
static inline void add_partials(const float* partials, int64_t threads, int64_t width, float* total) {
    for (int64_t i = 0; i < width; i++) {
        float sum = 0;
        for (int64_t t = 0; t < threads; t++) sum += partials[t * width + i];
        total[i] = sum;
    }
}

// Scratch rows of one thread.
class Scratch {
   public:
    Scratch(int64_t rows, int64_t width) : width_(width), memory_(new float[rows * width]) {}
    float* row(int64_t number) { return memory_.get() + number * width_; }

   private:
    int64_t width_;
    std::unique_ptr<float[]> memory_;
};

#define EXPORT extern "C" __attribute__((visibility("default")))
