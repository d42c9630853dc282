// From the joint projection to heads: per-head RMSNorm, rotary positions and the layout that attention reads.
// B batch, T time, H query heads, G key and value heads, K head width. qkv is (B, T, H + 2G, K): queries, keys, values.
//
// Usual head widths are known when compiling (WIDTH; 0 for any): loops over a head are then a few whole vectors.
#include "numbers.h"

static inline float inverse_rms(const float* head, int64_t K, float eps) {
    float squares = 0;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < K; i++) squares += head[i] * head[i];
    return 1.0f / __builtin_sqrtf(squares / K + eps);
}

// Normalise one head (weight may be null: no norm), turn channel pairs (i, i + K/2), store. scratch holds 3 K floats.
template <class T>
static inline void turn(const T* from, const float* weight, const float* cosine, const float* sine, int64_t K, float eps,
                        float* scratch, T* to) {
    const float* head = widen(from, scratch, K);
    float* normed = scratch + K;
    const float inverse = weight ? inverse_rms(head, K, eps) : 1.0f;
    if (weight) {
#pragma omp simd
        for (int64_t i = 0; i < K; i++) normed[i] = head[i] * inverse * weight[i];
        head = normed;
    }
    float* turned = wide_place(to, scratch + 2 * K);
    const int64_t P = cosine ? K / 2 : 0;
#pragma omp simd
    for (int64_t i = 0; i < P; i++) {
        turned[i] = head[i] * cosine[i] - head[i + P] * sine[i];
        turned[i + P] = head[i + P] * cosine[i] + head[i] * sine[i];
    }
    for (int64_t i = 2 * P; i < K; i++) turned[i] = head[i];
    narrow(turned, to, K);
}

// The gradient of `turn`; adds the weight's gradient to `dweight`. scratch holds 4 K floats.
template <class T>
static inline void turn_backward(const T* dto, const T* from, const float* weight, const float* cosine,
                                 const float* sine, int64_t K, float eps, float* scratch, T* dfrom, float* dweight) {
    const float *grad = widen(dto, scratch, K), *head = widen(from, scratch + K, K);
    float *unturned = scratch + 2 * K, *to = wide_place(dfrom, scratch + 3 * K);
    const int64_t P = cosine ? K / 2 : 0;
#pragma omp simd
    for (int64_t i = 0; i < P; i++) {
        unturned[i] = grad[i] * cosine[i] + grad[i + P] * sine[i];
        unturned[i + P] = grad[i + P] * cosine[i] - grad[i] * sine[i];
    }
    for (int64_t i = 2 * P; i < K; i++) unturned[i] = grad[i];
    if (weight) {
        const float inverse = inverse_rms(head, K, eps);
        float dot = 0;
#pragma omp simd reduction(+ : dot)
        for (int64_t i = 0; i < K; i++) {
            const float product = unturned[i] * head[i] * inverse;
            dweight[i] += product;
            dot += product * weight[i];
        }
        const float mean = dot / K * inverse;
#pragma omp simd
        for (int64_t i = 0; i < K; i++) to[i] = inverse * (unturned[i] * weight[i] - head[i] * mean);
    } else {
        memcpy(to, unturned, K * sizeof(float));
    }
    narrow(to, dfrom, K);
}

// table is (2, T, K/2), cosines then sines, or null for no rotary positions. q is (B, H, T, K), k and v (B, G, T, K).
template <int64_t WIDTH, class T>
static void split_heads(const T* qkv, const float* query_weight, const float* key_weight, const float* table, int64_t B,
                        int64_t num_tokens, int64_t table_tokens, int64_t H, int64_t G, int64_t any_K, float eps, T* q,
                        T* k, T* v, int threads) {
    const int64_t K = WIDTH ? WIDTH : any_K, P = K / 2, all = H + 2 * G;
#pragma omp parallel num_threads(threads)
    {
        Scratch rows(4, K);
        float* scratch = rows.row(0);
        const Range own = own_rows(B * num_tokens);
        for (int64_t n = own.begin; n < own.end; n++) {
            const int64_t b = n / num_tokens, t = n % num_tokens;
            const float* cosine = table ? table + t * P : nullptr;
            const float* sine = table ? table + (table_tokens + t) * P : nullptr;
            const T* from = qkv + n * all * K;
            for (int64_t h = 0; h < H; h++, from += K)
                turn(from, query_weight, cosine, sine, K, eps, scratch, q + ((b * H + h) * num_tokens + t) * K);
            for (int64_t g = 0; g < G; g++, from += K)
                turn(from, key_weight, cosine, sine, K, eps, scratch, k + ((b * G + g) * num_tokens + t) * K);
            for (int64_t g = 0; g < G; g++, from += K)
                memcpy(v + ((b * G + g) * num_tokens + t) * K, from, K * sizeof(T));
        }
    }
}

// partials holds threads × 2K floats, zeroed by the caller; dweights (2, K): query's, key's.
template <int64_t WIDTH, class T>
static void split_heads_backward(const T* dq, const T* dk, const T* dv, const T* qkv, const float* query_weight,
                                 const float* key_weight, const float* table, int64_t B, int64_t num_tokens,
                                 int64_t table_tokens, int64_t H, int64_t G, int64_t any_K, float eps, T* dqkv,
                                 float* dweights, float* partials, int threads) {
    const int64_t K = WIDTH ? WIDTH : any_K, P = K / 2, all = H + 2 * G;
#pragma omp parallel num_threads(threads)
    {
        Scratch rows(4, K);
        float* scratch = rows.row(0);
        float* partial = partials + omp_get_thread_num() * 2 * K;
        const Range own = own_rows(B * num_tokens);
        for (int64_t n = own.begin; n < own.end; n++) {
            const int64_t b = n / num_tokens, t = n % num_tokens;
            const float* cosine = table ? table + t * P : nullptr;
            const float* sine = table ? table + (table_tokens + t) * P : nullptr;
            const T* from = qkv + n * all * K;
            T* to = dqkv + n * all * K;
            for (int64_t h = 0; h < H; h++, from += K, to += K)
                turn_backward(dq + ((b * H + h) * num_tokens + t) * K, from, query_weight, cosine, sine, K, eps, scratch,
                              to, partial);
            for (int64_t g = 0; g < G; g++, from += K, to += K)
                turn_backward(dk + ((b * G + g) * num_tokens + t) * K, from, key_weight, cosine, sine, K, eps, scratch,
                              to, partial + K);
            for (int64_t g = 0; g < G; g++, to += K)
                memcpy(to, dv + ((b * G + g) * num_tokens + t) * K, K * sizeof(T));
        }
    }
    add_partials(partials, threads, 2 * K, dweights);
}

#define FOR_WIDTH(K, call)                \
    switch (K) {                          \
        case 32: call(32); break;         \
        case 48: call(48); break;         \
        case 64: call(64); break;         \
        case 128: call(128); break;       \
        default: call(0); break;          \
    }
#define SPLIT(WIDTH)                                                                                                  \
    split_heads<WIDTH>(qkv, query_weight, key_weight, table, B, num_tokens, table_tokens, H, G, K, eps, q, k, v, threads)
#define SPLIT_BACKWARD(WIDTH)                                                                                         \
    split_heads_backward<WIDTH>(dq, dk, dv, qkv, query_weight, key_weight, table, B, num_tokens, table_tokens, H, G, \
                                K, eps, dqkv, dweights, partials, threads)

#define DEFINE(T, name)                                                                                               \
    EXPORT void hw_split_heads_##name(const T* qkv, const float* query_weight, const float* key_weight,               \
                                      const float* table, int64_t B, int64_t num_tokens, int64_t table_tokens,        \
                                      int64_t H, int64_t G, int64_t K, float eps, T* q, T* k, T* v, int threads) {    \
        FOR_WIDTH(K, SPLIT)                                                                                           \
    }                                                                                                                 \
    EXPORT void hw_split_heads_backward_##name(const T* dq, const T* dk, const T* dv, const T* qkv,                   \
                                               const float* query_weight, const float* key_weight, const float* table, \
                                               int64_t B, int64_t num_tokens, int64_t table_tokens, int64_t H,        \
                                               int64_t G, int64_t K, float eps, T* dqkv, float* dweights,             \
                                               float* partials, int threads) {                                        \
        FOR_WIDTH(K, SPLIT_BACKWARD)                                                                                  \
    }
DEFINE(float, f32)
DEFINE(bf16, bf16)
