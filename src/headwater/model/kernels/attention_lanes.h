// Vector arithmetic for the attention kernel: fp32 lanes, 2^x, log2, and rows of 32 numbers in fp32 or bf16.
//
// A block is 32 x 32 numbers everywhere in this kernel. GCC's and clang's vector types carry the arithmetic, so that one
// text serves AVX-512, AVX2 and NEON; the few operations they cannot express have an AVX-512 form here.
#pragma once

#include <stdint.h>
#include <string.h>
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#include <immintrin.h>
#define HW_AVX512 1
#endif

namespace headwater {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif
constexpr int BLOCK = 32;                   // rows and columns of a block
constexpr int BLOCK_SIZE = BLOCK * BLOCK;   // numbers in a block
constexpr int VECTORS = BLOCK / LANES;      // vectors in one row of a block

// Aligned to one number only: rows of the caller's arrays begin anywhere. may_alias: scratch holds several types in turn.
typedef float Floats __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t Ints __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef uint32_t __attribute__((may_alias)) Word;

#define HW_INLINE static inline __attribute__((always_inline))

HW_INLINE Floats fill(float value) { return value - Floats{}; }
HW_INLINE Ints fill(int32_t value) { return value - Ints{}; }
HW_INLINE Floats load(const float* source) { return *reinterpret_cast<const Floats*>(source); }
HW_INLINE Ints load(const int32_t* source) { return *reinterpret_cast<const Ints*>(source); }
HW_INLINE void store(float* target, Floats values) { *reinterpret_cast<Floats*>(target) = values; }
HW_INLINE Floats larger(Floats a, Floats b) { return a > b ? a : b; }

HW_INLINE Ints lane_numbers() {
    Ints numbers;
    for (int lane = 0; lane < LANES; ++lane) numbers[lane] = lane;
    return numbers;
}

HW_INLINE float sum_of_lanes(Floats values) {
#if HW_AVX512
    return _mm512_reduce_add_ps((__m512)values);
#else
    float sum = 0;
    for (int lane = 0; lane < LANES; ++lane) sum += values[lane];
    return sum;
#endif
}

// 2^x for x <= 127, relative error 1e-7; 2^-infinity is 0, and so is every result below the normal numbers or near them.
HW_INLINE Floats exp2_lanes(Floats x) {
#if HW_AVX512
    const Floats fraction = (Floats)_mm512_reduce_ps((__m512)x, 1);  // x - floor(x)
#else
    // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits of the sum.
    const Floats bounded = larger(x, fill(-200.0f));
    const Floats shifted = (bounded - 0.5f) + 12582912.0f;
    const Floats fraction = bounded - (shifted - 12582912.0f);
#endif
    // Minimax polynomial of degree 5 for 2^f, 0 <= f <= 1.
    Floats power = fill(0.001877576700019989f);
    power = power * fraction + 0.008989340023581907f;
    power = power * fraction + 0.0558263181162335f;
    power = power * fraction + 0.24015361702112634f;
    power = power * fraction + 0.6931530732026261f;
    power = power * fraction + 0.9999999250635878f;
#if HW_AVX512
    return (Floats)_mm512_scalef_ps((__m512)power, (__m512)x);
#else
    const Floats scaled = (Floats)((Ints)power + ((Ints)shifted << 23));
    return x < fill(-125.0f) ? fill(0.0f) : (x == x ? scaled : x);
#endif
}

// log2(x) for normal x > 0: three Newton steps from the exponent and a straight line through the mantissa.
HW_INLINE Floats log2_lanes(Floats x) {
    const Ints bits = (Ints)x;
    const Floats exponent = __builtin_convertvector((bits >> 23) - 127, Floats);
    const Floats mantissa = (Floats)((bits & 0x007fffff) | 0x3f800000);
    Floats logarithm = mantissa - 0.957f;
    for (int step = 0; step < 3; ++step) logarithm += (mantissa * exp2_lanes(-logarithm) - 1.0f) * 1.44269504f;
    return x == x ? exponent + logarithm : x;
}

// --- numbers of the caller's arrays: float, or bf16 as uint16_t ---

HW_INLINE float to_float(float number) { return number; }
HW_INLINE float to_float(uint16_t number) {
    const uint32_t bits = uint32_t(number) << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

// To the nearest bf16, ties to even; a NaN stays one.
HW_INLINE uint16_t to_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    if (value != value) return uint16_t(bits >> 16) | 0x40;
    return uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
HW_INLINE void from_float(float* target, float value) { *target = value; }
HW_INLINE void from_float(uint16_t* target, float value) { *target = to_bf16(value); }

// fp32 lanes that hold what `Number` can: unchanged for float, rounded to bf16 for uint16_t.
HW_INLINE Floats round_to(const float*, Floats values) { return values; }
HW_INLINE Floats round_to(const uint16_t*, Floats values) {
    const Ints bits = (Ints)values;
    const Ints rounded = (bits + 0x7fff + ((bits >> 16) & 1)) & int32_t(0xffff0000);
    return values == values ? (Floats)rounded : values;
}

// target[i] = row[i] * factor for i < count <= 32.
HW_INLINE void write_row(float* target, const float* row, float factor, int count) {
    for (int i = 0; i < count; ++i) target[i] = row[i] * factor;
}
HW_INLINE void write_row(uint16_t* target, const float* row, float factor, int count) {
#if HW_AVX512 && defined(__AVX512BF16__)
    const __m512 low = _mm512_mul_ps(_mm512_loadu_ps(row), _mm512_set1_ps(factor));
    const __m512 high = _mm512_mul_ps(_mm512_loadu_ps(row + 16), _mm512_set1_ps(factor));
    const __mmask32 wanted = uint32_t((uint64_t(1) << count) - 1);
    _mm512_mask_storeu_epi16(target, wanted, (__m512i)_mm512_cvtne2ps_pbh(high, low));
#else
    for (int i = 0; i < count; ++i) target[i] = to_bf16(row[i] * factor);
#endif
}

template <class Number>
HW_INLINE float dot(const Number* a, const Number* b, int count) {
    Floats sums = {};
    int i = 0;
    for (; i + LANES <= count; i += LANES) {
        Floats left, right;
        for (int lane = 0; lane < LANES; ++lane) left[lane] = to_float(a[i + lane]), right[lane] = to_float(b[i + lane]);
        sums += left * right;
    }
    float sum = sum_of_lanes(sums);
    for (; i < count; ++i) sum += to_float(a[i]) * to_float(b[i]);
    return sum;
}

#if HW_AVX512
HW_INLINE float dot(const uint16_t* a, const uint16_t* b, int count) {
    __m512 even = _mm512_setzero_ps(), odd = _mm512_setzero_ps();
    const __m512i high_half = _mm512_set1_epi32(int32_t(0xffff0000));
    for (int i = 0; i < count; i += 32) {
        const __mmask32 wanted = count - i >= 32 ? 0xffffffffu : (uint32_t(1) << (count - i)) - 1;
        const __m512i left = _mm512_maskz_loadu_epi16(wanted, a + i), right = _mm512_maskz_loadu_epi16(wanted, b + i);
        even = _mm512_fmadd_ps((__m512)_mm512_slli_epi32(left, 16), (__m512)_mm512_slli_epi32(right, 16), even);
        odd = _mm512_fmadd_ps((__m512)_mm512_and_si512(left, high_half), (__m512)_mm512_and_si512(right, high_half), odd);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(even, odd));
}
#endif

// target[c][r] = source[r][c] for 16 x 16 words of 32 bits; strides in words.
HW_INLINE void transpose_16x16(Word* target, int64_t target_stride, const Word* source, int64_t source_stride) {
#if HW_AVX512
    // Rows r, r+4, r+8, r+12 enter one register as quarters, so that two rounds of 4 x 4 transposition suffice.
    __m512i quarters[16];
    for (int column = 0; column < 4; ++column) {
        for (int row = 0; row < 4; ++row) {
            const Word* corner = source + row * source_stride + column * 4;
            __m512i joined = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i*)corner));
            joined = _mm512_inserti32x4(joined, _mm_loadu_si128((const __m128i*)(corner + 4 * source_stride)), 1);
            joined = _mm512_inserti32x4(joined, _mm_loadu_si128((const __m128i*)(corner + 8 * source_stride)), 2);
            joined = _mm512_inserti32x4(joined, _mm_loadu_si128((const __m128i*)(corner + 12 * source_stride)), 3);
            quarters[column * 4 + row] = joined;
        }
    }
    for (int column = 0; column < 4; ++column) {
        const __m512i* rows = quarters + column * 4;
        const __m512i low01 = _mm512_unpacklo_epi32(rows[0], rows[1]), high01 = _mm512_unpackhi_epi32(rows[0], rows[1]);
        const __m512i low23 = _mm512_unpacklo_epi32(rows[2], rows[3]), high23 = _mm512_unpackhi_epi32(rows[2], rows[3]);
        Word* corner = target + column * 4 * target_stride;
        _mm512_storeu_si512(corner, _mm512_unpacklo_epi64(low01, low23));
        _mm512_storeu_si512(corner + target_stride, _mm512_unpackhi_epi64(low01, low23));
        _mm512_storeu_si512(corner + 2 * target_stride, _mm512_unpacklo_epi64(high01, high23));
        _mm512_storeu_si512(corner + 3 * target_stride, _mm512_unpackhi_epi64(high01, high23));
    }
#else
    for (int row = 0; row < 16; ++row)
        for (int column = 0; column < 16; ++column) target[column * target_stride + row] = source[row * source_stride + column];
#endif
}

// target[c][r] = source[r][c] for a block of fp32; target stride 32.
HW_INLINE void transpose_block(float* target, const float* source, int64_t source_stride) {
    for (int row = 0; row < BLOCK; row += 16)
        for (int column = 0; column < BLOCK; column += 16)
            transpose_16x16((Word*)(target + column * BLOCK + row), BLOCK,
                            (const Word*)(source + row * source_stride + column), source_stride);
}

}  // namespace headwater
