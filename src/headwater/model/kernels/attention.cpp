// Causal attention within documents on the CPU, forward and backward, in bf16 and fp32. Called through ctypes.
//
// B batch · T time · H query heads · G key/value heads · K head width. All arrays are contiguous:
//   q, dq (B,H,T,K) · k, v, dk, dv (B,G,T,K) · out, dout (B,T,H,K) · lse (B,H,T) fp32 · first (B,T) int32
// Query t of row b sees keys first[b][t] .. t; first never decreases along T. Blocks of keys that no query of a block sees
// cost nothing. Query head h uses key/value head h / (H/G). out = softmax(scale q k^T) v; lse is the natural logarithm of
// the softmax's denominator. Softmax and all sums are fp32; in bf16 the weights and the gradients of the scores are rounded
// to bf16 before they are multiplied. Results do not depend on the number of threads.
//
// Each function returns 0; 1 for sizes or a scale that it does not support; 2 when memory is short.
#include "attention_backward.h"
#include "attention_forward.h"
#include "tiles_amx.h"
#include "tiles_avx512bf16.h"
#include "tiles_generic.h"

namespace headwater {
namespace {

constexpr int OK = 0, UNSUPPORTED = 1, NO_MEMORY = 2;
constexpr int64_t LARGEST_HEAD_WIDTH = 256;

bool is_supported(const Problem& problem) {
    const int64_t most_rows = int64_t(1) << 30;  // positions are 32-bit
    return problem.B > 0 && problem.G > 0 && problem.H > 0 && problem.H % problem.G == 0 && problem.T > 0 && problem.T < most_rows &&
           problem.K > 0 && problem.K <= LARGEST_HEAD_WIDTH && problem.scale > 0;
}

Scratch& scratch_of_thread() {
    static thread_local Scratch scratch;
    return scratch;
}

// Results below the normal numbers become 0 while this lives: x86 takes 250 cycles for each vector that holds one, and far
// weights of a sharp softmax are such numbers.
class FlushDenormals {
#if defined(__SSE__)
   public:
    FlushDenormals() : saved_(__builtin_ia32_stmxcsr()) { __builtin_ia32_ldmxcsr(saved_ | 0x8040); }
    ~FlushDenormals() { __builtin_ia32_ldmxcsr(saved_); }

   private:
    unsigned saved_;
#endif
};

// Runs work(worker, item) for every item on all threads, each with a worker of its own. A thread that has no memory skips
// its items, and the call has failed: all threads of a team must meet the same loop.
template <class Tiles, class NewWorker, class Work>
int for_each_item(const NewWorker& new_worker, int64_t num_items, int threads, const Work& work) {
    int status = OK;
#pragma omp parallel num_threads(threads)
    {
        auto worker = new_worker();
        Scratch& scratch = scratch_of_thread();
        const bool is_ready = scratch.begin(worker.scratch_bytes());
        const FlushDenormals flush_denormals;
        (void)flush_denormals;
        if (is_ready) {
            worker.place(scratch);
            Tiles::begin_thread();
        } else {
#pragma omp atomic write
            status = NO_MEMORY;
        }
#pragma omp for schedule(dynamic, 1)
        for (int64_t item = 0; item < num_items; ++item)
            if (is_ready) work(worker, item);
        if (is_ready) {
            Tiles::end_thread();
            scratch.end();
        }
    }
    return status;
}

// Into how many parts to divide the rows of each of `num_items` items so that no thread waits long for another.
int64_t parts_per_item(int64_t num_items, int64_t row_groups, int64_t threads) {
    const int64_t rounds = (num_items + threads - 1) / threads;
    const bool balanced = num_items * 10 >= rounds * threads * 8;
    const int64_t parts = balanced ? 1 : (4 * threads + num_items - 1) / num_items;
    return parts < row_groups ? parts : row_groups;
}

template <class Tiles>
int forward(const Problem& problem, const typename Tiles::Number* q, const typename Tiles::Number* k, const typename Tiles::Number* v,
            typename Tiles::Number* out, float* lse, int threads) {
    if (!is_supported(problem)) return UNSUPPORTED;
    const int64_t row_blocks = problem.row_blocks(), heads = problem.B * problem.G, parts = parts_per_item(heads, row_blocks, threads);
    const auto new_worker = [&] { return Forward<Tiles>(problem, q, k, v, out, lse); };
    return for_each_item<Tiles>(new_worker, heads * parts, threads, [&](Forward<Tiles>& worker, int64_t item) {
        const int64_t part = parts - 1 - item % parts, head = item / parts;  // late rows see more keys: longest first
        worker.attend(head / problem.G, head % problem.G, part * row_blocks / parts, (part + 1) * row_blocks / parts);
    });
}

template <class Tiles>
int backward(const Problem& problem, const typename Tiles::Number* q, const typename Tiles::Number* k, const typename Tiles::Number* v,
             const typename Tiles::Number* out, const float* lse, const typename Tiles::Number* dout, typename Tiles::Number* dq,
             typename Tiles::Number* dk, typename Tiles::Number* dv, int threads) {
    if (!is_supported(problem)) return UNSUPPORTED;
    const int64_t group = Backward<Tiles>::group_blocks(), row_groups = (problem.row_blocks() + group - 1) / group;
    const int64_t heads = problem.B * problem.G, parts = parts_per_item(heads, row_groups, threads);
    const auto new_worker = [&] { return Backward<Tiles>(problem, q, k, v, out, lse, dout, dq, dk, dv); };
    if (parts == 1)
        return for_each_item<Tiles>(new_worker, heads, threads, [&](Backward<Tiles>& worker, int64_t head) {
            worker.differentiate(head / problem.G, head % problem.G);
        });
    // Parts of one head would add to the same sums: dq is computed apart from dk and dv, at the price of 7 products for 5.
    return for_each_item<Tiles>(new_worker, 2 * heads * parts, threads, [&](Backward<Tiles>& worker, int64_t item) {
        const int64_t part = item / 2 % parts, head = item / 2 / parts;
        const auto row_block = [&](int64_t i) { return i == parts ? problem.row_blocks() : i * row_groups / parts * group; };
        if (item % 2 == 0)
            worker.differentiate_keys(head / problem.G, head % problem.G, row_block(part), row_block(part + 1));
        else
            worker.differentiate_queries(head / problem.G, head % problem.G, row_block(parts - 1 - part), row_block(parts - part));
    });
}

}  // namespace
}  // namespace headwater

extern "C" {

int hw_attention_forward_f32(const float* q, const float* k, const float* v, const int32_t* first, float* out, float* lse, int64_t B,
                             int64_t H, int64_t G, int64_t T, int64_t K, float scale, int threads) {
    using namespace headwater;
    return forward<GenericTiles<float>>({B, H, G, T, K, scale, first}, q, k, v, out, lse, threads);
}

int hw_attention_backward_f32(const float* q, const float* k, const float* v, const int32_t* first, const float* out, const float* lse,
                              const float* dout, float* dq, float* dk, float* dv, int64_t B, int64_t H, int64_t G, int64_t T, int64_t K,
                              float scale, int threads) {
    using namespace headwater;
    return backward<GenericTiles<float>>({B, H, G, T, K, scale, first}, q, k, v, out, lse, dout, dq, dk, dv, threads);
}

int hw_attention_forward_bf16(const uint16_t* q, const uint16_t* k, const uint16_t* v, const int32_t* first, uint16_t* out, float* lse,
                              int64_t B, int64_t H, int64_t G, int64_t T, int64_t K, float scale, int threads) {
    using namespace headwater;
    const Problem problem{B, H, G, T, K, scale, first};
#if HW_AMX
    if (amx_available()) return forward<AmxTiles>(problem, q, k, v, out, lse, threads);
#endif
#if HW_AVX512_BF16
    return forward<Avx512Bf16Tiles>(problem, q, k, v, out, lse, threads);
#else
    return forward<GenericTiles<uint16_t>>(problem, q, k, v, out, lse, threads);
#endif
}

int hw_attention_backward_bf16(const uint16_t* q, const uint16_t* k, const uint16_t* v, const int32_t* first, const uint16_t* out,
                               const float* lse, const uint16_t* dout, uint16_t* dq, uint16_t* dk, uint16_t* dv, int64_t B, int64_t H,
                               int64_t G, int64_t T, int64_t K, float scale, int threads) {
    using namespace headwater;
    const Problem problem{B, H, G, T, K, scale, first};
#if HW_AMX
    if (amx_available()) return backward<AmxTiles>(problem, q, k, v, out, lse, dout, dq, dk, dv, threads);
#endif
#if HW_AVX512_BF16
    return backward<Avx512Bf16Tiles>(problem, q, k, v, out, lse, dout, dq, dk, dv, threads);
#else
    return backward<GenericTiles<uint16_t>>(problem, q, k, v, out, lse, dout, dq, dk, dv, threads);
#endif
}

}  // extern "C"
