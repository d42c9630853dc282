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

// Keep each column's largest magnitude, infinity where the row isn't finite.
static inline void note_columns(const float* row, float scale, int64_t K, float* largest) {
    const bool finite = scale < INFINITY;
#pragma omp simd
    for (int64_t i = 0; i < K; i++) {
        const float size = finite ? __builtin_fabsf(row[i]) : INFINITY;
        largest[i] = size > largest[i] ? size : largest[i];
    }
}

// Scales of columns, and their inverses, from what each thread has noted.
static void scale_columns(const float* magnitudes, int64_t K, float* scales, float* inverse) {
    for (int64_t i = 0; i < K; i++) {
        float magnitude = 0;
        for (int64_t t = 0; t < omp_get_num_threads(); t++)
            magnitude = magnitudes[t * K + i] > magnitude ? magnitudes[t * K + i] : magnitude;
        scales[i] = scale_of(magnitude, magnitude < INFINITY);
        inverse[i] = inverse_of(scales[i]);
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
            note_columns(row, row_scales[n], K, largest);
        }
#pragma omp barrier
#pragma omp single
        scale_columns(magnitudes, K, column_scales, inverse.row(0));
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

// The whole product with VNNI: rows of x are rounded on the way in and sums scaled on the way out, neither in memory.
//
// The instruction multiplies unsigned numbers by signed ones: packed weights are 128 larger than they are, and 128 times
// the sum of a row of x is taken off its sums. A panel of 32 outputs holds 4 numbers of each, then the next 4, and so on.
#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && !defined(__AMX_INT8__)  // AMX multiplies faster, in torch
#define HW_VNNI 1
constexpr int64_t WIDTH = 32, HEIGHT = 8;     // a tile's outputs and rows: its sums are 16 registers
constexpr int64_t ROUNDED_BYTES = 384 << 10;  // of a thread's rounded rows at a time: in its second cache

// Up to three matrices (R, K), one below the other.
struct Stacked {
    const float* parts[3];
    int64_t heights[3], K;

    int64_t rows() const { return heights[0] + heights[1] + heights[2]; }
    const float* row(int64_t r) const {
        for (int part = 0; part < 2; r -= heights[part++])
            if (r < heights[part]) return parts[part] + r * K;
        return parts[2] + r * K;
    }
};

// 4 numbers of each of 32 outputs, `step` apart, those of an output `apart`.
static inline void pack_quad(const uint8_t* from, int64_t step, int64_t apart, uint32_t* to) {
    for (int64_t i = 0; i < WIDTH; i++, from += step) {
        const uint32_t quad = from[0] | uint32_t(from[apart]) << 8 | uint32_t(from[2 * apart]) << 16 | uint32_t(from[3 * apart]) << 24;
        to[i] = quad ^ 0x80808080u;
    }
}

// Matrices W with a scale a row, packed for x W^T, and with one a column, for dy W; the second only where it has a place.
static void pack(const Stacked& weight, uint32_t* by_rows, float* row_scales, uint32_t* by_columns, float* column_scales,
                 float* magnitudes, int threads) {
    const int64_t R = weight.rows(), K = weight.K, stride = (K + WIDTH - 1) / WIDTH * WIDTH;
    const int64_t panels = (R + WIDTH - 1) / WIDTH, row_quads = (R + 3) / 4, column_quads = (K + 3) / 4;
    Scratch inverse(1, K);
#pragma omp parallel num_threads(threads)
    {
        const Range own = own_rows(panels);
        const int64_t end = own.end * WIDTH < R ? own.end * WIDTH : R;
        float* largest = magnitudes + omp_get_thread_num() * K;
        for (int64_t i = 0; i < K; i++) largest[i] = 0;
        for (int64_t r = own.begin * WIDTH; r < end; r++) {
            row_scales[r] = row_scale(weight.row(r), K);
            if (by_columns) note_columns(weight.row(r), row_scales[r], K, largest);
        }
#pragma omp barrier
#pragma omp single
        if (by_columns) scale_columns(magnitudes, K, column_scales, inverse.row(0));
        std::unique_ptr<uint8_t[]> memory(new uint8_t[WIDTH * stride]());
        uint8_t* numbers = memory.get();
        for (int64_t first = own.begin * WIDTH; first < end; first += WIDTH) {
            const int64_t count = R - first < WIDTH ? R - first : WIDTH;
            if (count < WIDTH) memset(numbers, 0, WIDTH * stride);
            for (int64_t i = 0; i < count; i++)
                round_row(weight.row(first + i), nullptr, inverse_of(row_scales[first + i]), K, reinterpret_cast<int8_t*>(numbers + i * stride));
            for (int64_t quad = 0; quad < column_quads; quad++)
                pack_quad(numbers + 4 * quad, stride, 1, by_rows + first * column_quads + quad * WIDTH);
            if (!by_columns) continue;
            for (int64_t i = 0; i < count; i++)
                round_row(weight.row(first + i), inverse.row(0), 1.0f, K, reinterpret_cast<int8_t*>(numbers + i * stride));
            for (int64_t column = 0; column < K; column += WIDTH)
                for (int64_t i = 0; i < count; i += 4)
                    pack_quad(numbers + i * stride + column, 1, stride, by_columns + column * row_quads + (first + i) / 4 * WIDTH);
        }
    }
}

// A row that is rounded: its scale, and what is to be taken off its sums. Both wrap around from a depth of 66,000, and
// their difference is right as long as it is an int32: to a depth of 133,000.
struct Rounded {
    float scale;
    uint32_t shift;
};

static inline Rounded round_whole(const float* row, int64_t K, int64_t stride, int8_t* to) {
    const float scale = row_scale(row, K);
    round_row(row, nullptr, inverse_of(scale), K, to);
    memset(to + K, 0, stride - K);
    int32_t sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < K; i++) sum += to[i];
    return {scale, 128u * uint32_t(sum)};
}

static inline void put(const float* values, float* out, int64_t count) { memcpy(out, values, count * sizeof(float)); }
static inline void put(const float* values, bf16* out, int64_t count) { narrow(values, out, count); }

// The product of 8 rows and a panel; of `rows` and `columns` of them it is written to `out`.
template <class T>
static inline void multiply_tile(const int8_t* left, const Rounded* of_rows, int64_t stride, const uint32_t* panel,
                                 const float* scales, const float* bias, int64_t rows, int64_t columns, int64_t R, T* out) {
    __m512i sums[HEIGHT][2];
#pragma GCC unroll 8
    for (int64_t i = 0; i < HEIGHT; i++) sums[i][0] = sums[i][1] = _mm512_setzero_si512();
    for (int64_t at = 0; at < stride; at += 4, panel += WIDTH) {
        const __m512i first = _mm512_loadu_si512(panel), second = _mm512_loadu_si512(panel + 16);
#pragma GCC unroll 8
        for (int64_t i = 0; i < HEIGHT; i++) {
            int32_t quad;
            memcpy(&quad, left + i * stride + at, 4);
            sums[i][0] = _mm512_dpbusd_epi32(sums[i][0], first, _mm512_set1_epi32(quad));
            sums[i][1] = _mm512_dpbusd_epi32(sums[i][1], second, _mm512_set1_epi32(quad));
        }
    }
    const uint32_t wanted = uint32_t((uint64_t(1) << columns) - 1);
    alignas(64) float values[WIDTH];
#pragma GCC unroll 8
    for (int64_t i = 0; i < HEIGHT; i++) {
        if (i == rows) break;
#pragma GCC unroll 2
        for (int64_t half = 0; half < 2; half++) {
            const __mmask16 mask = __mmask16(wanted >> 16 * half);
            const __m512i sum = _mm512_sub_epi32(sums[i][half], _mm512_set1_epi32(int32_t(of_rows[i].shift)));
            const __m512 scale = _mm512_maskz_loadu_ps(mask, scales + half * 16);
            __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(of_rows[i].scale));
            value = bias ? _mm512_fmadd_ps(value, scale, _mm512_maskz_loadu_ps(mask, bias + half * 16))
                         : _mm512_mul_ps(value, scale);
            _mm512_store_ps(values + half * 16, value);
        }
        put(values, out + i * R, columns);
    }
}

template <class T>
static void product(const T* x, const uint32_t* packed, const float* scales, const float* bias, int64_t N, int64_t K,
                    int64_t R, T* out, int threads) {
    const int64_t stride = (K + 3) / 4 * 4, fitting = ROUNDED_BYTES / stride / HEIGHT * HEIGHT, most = fitting ? fitting : HEIGHT;
#pragma omp parallel num_threads(threads)
    {
        const Range own = own_rows(N);
        Scratch wide(1, K);
        std::unique_ptr<int8_t[]> rounded(new int8_t[most * stride]);
        std::unique_ptr<Rounded[]> of_rows(new Rounded[most]);
        for (int64_t begin = own.begin; begin < own.end; begin += most) {
            const int64_t count = own.end - begin < most ? own.end - begin : most;
            for (int64_t n = 0; n < count; n++)
                of_rows[n] = round_whole(widen(x + (begin + n) * K, wide.row(0), K), K, stride, rounded.get() + n * stride);
            for (int64_t first = 0; first < R; first += WIDTH)
                for (int64_t n = 0; n < count; n += HEIGHT)  // rows past the last are multiplied and not written
                    multiply_tile(rounded.get() + n * stride, of_rows.get() + n, stride, packed + first * stride / 4, scales + first,
                                  bias ? bias + first : nullptr, count - n < HEIGHT ? count - n : HEIGHT,
                                  R - first < WIDTH ? R - first : WIDTH, R, out + (begin + n) * R + first);
        }
    }
}
#endif

// Return how many outputs are packed together, 0 where torch's product is to be used.
EXPORT int hw_int8_panel(int threads) {
    (void)threads;
#if HW_VNNI
    return WIDTH;
#else
    return 0;
#endif
}

template <class T>
static void int8_product(const T* x, const int32_t* packed, const float* scales, const float* bias, int64_t N, int64_t K,
                        int64_t R, T* out, int threads) {
#if HW_VNNI
    product(x, reinterpret_cast<const uint32_t*>(packed), scales, bias, N, K, R, out, threads);
#else
    (void)x, (void)packed, (void)scales, (void)bias, (void)N, (void)K, (void)R, (void)out, (void)threads;
#endif
}

EXPORT void hw_int8_pack(const float* first, const float* second, const float* third, int64_t first_rows, int64_t second_rows,
                         int64_t third_rows, int64_t K, int32_t* by_rows, float* row_scales, int32_t* by_columns,
                         float* column_scales, float* magnitudes, int threads) {
#if HW_VNNI
    const Stacked weight{{first, second, third}, {first_rows, second_rows, third_rows}, K};
    pack(weight, reinterpret_cast<uint32_t*>(by_rows), row_scales, reinterpret_cast<uint32_t*>(by_columns), column_scales, magnitudes, threads);
#else
    (void)first, (void)second, (void)third, (void)first_rows, (void)second_rows, (void)third_rows, (void)K;
    (void)by_rows, (void)row_scales, (void)by_columns, (void)column_scales, (void)magnitudes, (void)threads;
#endif
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
    }                                                                                                                 \
    EXPORT void hw_int8_product_##name(const T* x, const int32_t* packed, const float* scales, const float* bias,     \
                                       int64_t N, int64_t K, int64_t R, T* out, int threads) {                        \
        int8_product(x, packed, scales, bias, N, K, R, out, threads);                                                 \
    }
DEFINE(float, f32)
DEFINE(bf16, bf16)
