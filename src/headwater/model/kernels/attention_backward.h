// Backward pass: dq, dk and dv from dout, the saved output and the saved logarithm of the softmax's denominator.
//
// Scores and their gradients are computed transposed (keys down, queries across): then P^T and dS^T are left operands of
// dv = P^T dout and dk = dS^T q as they stand, two rows of dS^T interleaved are the right operand of dq^T = k^T dS^T, and
// no product needs a transposition of its own.
#pragma once

#include "attention_problem.h"

namespace headwater {

template <class Tiles>
class Backward {
    using Number = typename Tiles::Number;
    using Packed = typename Tiles::Packed;
    static constexpr int64_t GROUP = 4;  // blocks: 128 keys by 128 queries are in memory at a time

   public:
    Backward(const Problem& problem, const Number* q, const Number* k, const Number* v, const Number* out, const float* lse,
             const Number* dout, Number* dq, Number* dk, Number* dv)
        : problem(problem), q(q), k(k), v(v), out(out), lse(lse), dout(dout), dq(dq), dk(dk), dv(dv) {}

    static constexpr int64_t group_blocks() { return GROUP; }

    int64_t scratch_bytes() const {
        return 7 * Scratch::bytes_for<Packed>(operand_size()) + 3 * Scratch::bytes_for<float>(operand_size()) +
               3 * Scratch::bytes_for<Packed>(GROUP * GROUP * BLOCK_SIZE) + 3 * Scratch::bytes_for<float>(problem.row_blocks() * BLOCK);
    }
    void place(Scratch& scratch) {
        Packed** const operands[] = {&keys_, &keys_transposed_, &values_, &queries_, &queries_transposed_, &douts_, &douts_transposed_};
        for (Packed** operand : operands) *operand = scratch.take<Packed>(operand_size());
        float** const all_sums[] = {&dq_sums_, &dk_sums_, &dv_sums_};
        for (float** sums : all_sums) *sums = scratch.take<float>(operand_size());
        weights_ = scratch.take<Packed>(GROUP * GROUP * BLOCK_SIZE);
        dscores_ = scratch.take<Packed>(GROUP * GROUP * BLOCK_SIZE);
        dscores_right_ = Tiles::left_serves_as_right ? dscores_ : scratch.take<Packed>(GROUP * GROUP * BLOCK_SIZE);
        lse_log2_ = scratch.take<float>(problem.row_blocks() * BLOCK);
        delta_ = scratch.take<float>(problem.row_blocks() * BLOCK);
        first_ = scratch.take<int32_t>(problem.row_blocks() * BLOCK);
    }

    // Everything of key/value head `g` of row `b`. The two below compute the same sums in the same order, so that the
    // gradients do not depend on how the work was divided.
    void differentiate(int64_t b, int64_t g) { differentiate_range(b, g, {0, problem.row_blocks(), 0, problem.row_blocks(), true, true}); }

    // dk and dv of key blocks `begin` .. `end` - 1, multiples of the group.
    void differentiate_keys(int64_t b, int64_t g, int64_t begin, int64_t end) {
        differentiate_range(b, g, {begin, end, begin, problem.row_blocks(), true, false});
    }
    // dq of query blocks `begin` .. `end` - 1, multiples of the group.
    void differentiate_queries(int64_t b, int64_t g, int64_t begin, int64_t end) {
        const int64_t first_block = problem.first_block_of(b, begin) / GROUP * GROUP;
        differentiate_range(b, g, {first_block, end, begin, end, false, true});
    }

   private:
    struct Range {
        int64_t key_begin, key_end, query_begin, query_end;  // blocks
        bool wants_keys, wants_queries;
    };

    const Problem& problem;
    const Number *q, *k, *v, *out;
    const float* lse;
    const Number* dout;
    Number *dq, *dk, *dv;

    Packed *keys_, *keys_transposed_, *values_;                               // left
    Packed *queries_, *queries_transposed_, *douts_, *douts_transposed_;      // right
    Packed *weights_, *dscores_, *dscores_right_;                             // GROUP x GROUP blocks
    float *dq_sums_, *dk_sums_, *dv_sums_;                                    // dq transposed within each block
    float *lse_log2_, *delta_;
    int32_t* first_;
    alignas(64) float scores_[BLOCK_SIZE], dweights_[BLOCK_SIZE];

    int64_t operand_size() const { return problem.row_blocks() * problem.head_blocks() * BLOCK_SIZE; }
    int64_t at(int64_t row_block) const { return row_block * problem.head_blocks() * BLOCK_SIZE; }

    void differentiate_range(int64_t b, int64_t g, const Range& range) {
        const int64_t keys_of_head = (b * problem.G + g) * problem.T * problem.K;
        pack_rows<Tiles, Tiles::pack_left>(problem, keys_, k + keys_of_head, problem.K, range.key_begin, range.key_end);
        pack_rows<Tiles, Tiles::pack_left>(problem, values_, v + keys_of_head, problem.K, range.key_begin, range.key_end);
        if (range.wants_queries)
            pack_rows<Tiles, Tiles::pack_left_transposed>(problem, keys_transposed_, k + keys_of_head, problem.K, range.key_begin, range.key_end);
        for (int64_t t = 0; t < problem.row_blocks() * BLOCK; ++t) first_[t] = problem.first_of(b, t);

        const int64_t first_head = g * problem.heads_per_group();
        for (int64_t h = first_head; h < first_head + problem.heads_per_group(); ++h) {
            prepare_queries(b, h, range);
            for (int64_t key_group = range.key_begin; key_group < range.key_end; key_group += GROUP)
                for (int64_t query_group = key_group > range.query_begin ? key_group : range.query_begin;
                     query_group < range.query_end && problem.first_block_of(b, query_group) < key_group + GROUP; query_group += GROUP)
                    differentiate_group(b, range, key_group, query_group, h > first_head);
            if (range.wants_queries) write_dq(b, h, range.query_begin, range.query_end);
        }
        if (!range.wants_keys) return;
        write_keys(dk + keys_of_head, dk_sums_, problem.scale, range.key_begin, range.key_end);
        write_keys(dv + keys_of_head, dv_sums_, 1, range.key_begin, range.key_end);
    }

    void prepare_queries(int64_t b, int64_t h, const Range& range) {
        const int64_t begin = range.query_begin, end = range.query_end, head = b * problem.H + h;
        const Number* queries = q + head * problem.T * problem.K;
        const int64_t token = problem.H * problem.K;  // stride of out and dout
        const Number *outs = out + b * problem.T * token + h * problem.K, *douts = dout + b * problem.T * token + h * problem.K;
        pack_rows<Tiles, Tiles::pack_right_transposed>(problem, queries_transposed_, queries, problem.K, begin, end);
        pack_rows<Tiles, Tiles::pack_right_transposed>(problem, douts_transposed_, douts, token, begin, end);
        if (range.wants_keys) {
            pack_rows<Tiles, Tiles::pack_right>(problem, queries_, queries, problem.K, begin, end);
            pack_rows<Tiles, Tiles::pack_right>(problem, douts_, douts, token, begin, end);
        }
        for (int64_t t = begin * BLOCK; t < end * BLOCK; ++t) {
            // The weights of a row past the end are 2^-1e30 = 0.
            lse_log2_[t] = t < problem.T ? lse[head * problem.T + t] * LOG2_E : 1e30f;
            delta_[t] = t < problem.T ? dot(outs + t * token, douts + t * token, int(problem.K)) : 0;
        }
    }

    // Which key blocks of the group a query block sees, and which query blocks see a key block: both are runs, since
    // `first` never decreases.
    bool sees(int64_t query_block, int64_t key_block) const {
        return key_block <= query_block && first_[query_block * BLOCK] < (key_block + 1) * BLOCK;
    }

    void differentiate_group(int64_t b, const Range& range, int64_t key_group, int64_t query_group, bool is_later_head) {
        const int64_t key_end = key_group + GROUP < range.key_end ? key_group + GROUP : range.key_end;
        const int64_t query_end = query_group + GROUP < range.query_end ? query_group + GROUP : range.query_end;
        for (int64_t key_block = key_group; key_block < key_end; ++key_block)
            for (int64_t query_block = query_group; query_block < query_end; ++query_block)
                if (sees(query_block, key_block))
                    differentiate_scores(b, key_block, query_block, (key_block - key_group) * GROUP + query_block - query_group);

        const int64_t head_blocks = problem.head_blocks();
        if (range.wants_keys)
            for (int64_t key_block = key_group; key_block < key_end; ++key_block) {
                int64_t begin = query_group, end = query_end;
                while (begin < end && !sees(begin, key_block)) ++begin;
                while (begin < end && !sees(end - 1, key_block)) --end;
                if (begin == end) continue;
                const int64_t place = ((key_block - key_group) * GROUP + begin - query_group) * BLOCK_SIZE;
                const bool accumulate = is_later_head || query_group > key_group;
                for (int64_t j = 0; j < head_blocks; ++j) {
                    const int64_t sums = at(key_block) + j * BLOCK_SIZE, right = at(begin) + j * BLOCK_SIZE;
                    const int depth = int(end - begin) * BLOCK, width = problem.width_of(j);
                    Tiles::finish(Tiles::multiply(dv_sums_ + sums, accumulate, BLOCK, width, depth, weights_ + place, BLOCK_SIZE, douts_ + right, at(1)));
                    Tiles::finish(Tiles::multiply(dk_sums_ + sums, accumulate, BLOCK, width, depth, dscores_ + place, BLOCK_SIZE, queries_ + right, at(1)));
                }
            }
        if (range.wants_queries)
            for (int64_t query_block = query_group; query_block < query_end; ++query_block) {
                int64_t begin = key_group, end = key_end;
                while (begin < end && !sees(query_block, begin)) ++begin;
                while (begin < end && !sees(query_block, end - 1)) --end;
                if (begin == end) continue;
                const int64_t place = ((begin - key_group) * GROUP + query_block - query_group) * BLOCK_SIZE;
                const bool accumulate = first_[query_block * BLOCK] < key_group * BLOCK;
                for (int64_t j = 0; j < head_blocks; ++j)
                    Tiles::finish(Tiles::multiply(dq_sums_ + at(query_block) + j * BLOCK_SIZE, accumulate, problem.width_of(j), BLOCK,
                                    int(end - begin) * BLOCK, keys_transposed_ + at(begin) + j * BLOCK_SIZE, at(1),
                                    dscores_right_ + place, GROUP * BLOCK_SIZE));
            }
    }

    void differentiate_scores(int64_t b, int64_t key_block, int64_t query_block, int64_t place) {
        Tiles::finish(Tiles::multiply(scores_, false, BLOCK, BLOCK, int(problem.K), keys_ + at(key_block), BLOCK_SIZE,
                        queries_transposed_ + at(query_block), BLOCK_SIZE));
        Tiles::finish(Tiles::multiply(dweights_, false, BLOCK, BLOCK, int(problem.K), values_ + at(key_block), BLOCK_SIZE,
                        douts_transposed_ + at(query_block), BLOCK_SIZE));
        if (problem.needs_mask(b, query_block, key_block)) mask_block(scores_, key_block, query_block, first_ + query_block * BLOCK);
        const float factor = problem.scale * LOG2_E;
        Packed *weights_block = weights_ + place * BLOCK_SIZE, *dscores_block = dscores_ + place * BLOCK_SIZE;
        for (int row = 0; row < BLOCK; row += 2) {
            Floats weights[2][VECTORS], dscores[2][VECTORS];
            for (int v = 0; v < VECTORS; ++v) {
                const int64_t t = query_block * BLOCK + v * LANES;
                for (int i = 0; i < 2; ++i) {
                    const int from = (row + i) * BLOCK + v * LANES;
                    weights[i][v] = exp2_lanes(load(scores_ + from) * factor - load(lse_log2_ + t));
                    dscores[i][v] = weights[i][v] * (load(dweights_ + from) - load(delta_ + t));
                }
            }
            for (int i = 0; i < 2; ++i) {
                Tiles::store_left_row(weights_block, row + i, weights[i]);
                Tiles::store_left_row(dscores_block, row + i, dscores[i]);
            }
            if (!Tiles::left_serves_as_right) Tiles::store_right_rows(dscores_right_ + place * BLOCK_SIZE, row, dscores[0], dscores[1]);
        }
    }

    void write_keys(Number* target, const float* sums, float factor, int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
            for (int64_t j = 0; j < problem.head_blocks(); ++j)
                for (int row = 0; row < problem.rows_of(i); ++row)
                    write_row(target + (i * BLOCK + row) * problem.K + j * BLOCK, sums + at(i) + j * BLOCK_SIZE + row * BLOCK, factor,
                              problem.width_of(j));
    }
    void write_dq(int64_t b, int64_t h, int64_t begin, int64_t end) {
        Number* target = dq + (b * problem.H + h) * problem.T * problem.K;
        alignas(64) float block[BLOCK_SIZE];
        for (int64_t i = begin; i < end; ++i)
            for (int64_t j = 0; j < problem.head_blocks(); ++j) {
                transpose_block(block, dq_sums_ + at(i) + j * BLOCK_SIZE, BLOCK);
                for (int row = 0; row < problem.rows_of(i); ++row)
                    write_row(target + (i * BLOCK + row) * problem.K + j * BLOCK, block + row * BLOCK, problem.scale, problem.width_of(j));
            }
    }
};

}  // namespace headwater
