// Forward pass: softmax(scale q k^T) v for 32 queries at a time.
//
// Scores are computed transposed (keys down, queries across): maxima and sums over keys are then sums of vectors, and two
// rows of weights interleaved are the right operand of out^T = v^T P^T. Keys are taken in panels, whose width bounds the
// memory; earlier sums are corrected when a later panel holds a much larger score (online softmax, arXiv:1805.02867).
// Between the exponentials of one panel stand the products of the next and of the one before, so that the matrix unit and
// the vector units work at the same time.
#pragma once

#include "attention_problem.h"

namespace headwater {

template <class Tiles>
class Forward {
    using Number = typename Tiles::Number;
    using Packed = typename Tiles::Packed;
    static constexpr int64_t PANEL = 4;      // key blocks: 16 KiB of scores
    static constexpr float LOWEST = -1e30f;  // finite: the difference of two of them is 0
    // Weights are relative to a maximum that may be short of the true one by a factor of 2^8: sums are then seldom
    // corrected, and neither fp32 nor bf16 loses precision.
    static constexpr float MAX_SLACK_LOG2 = 8;

   public:
    Forward(const Problem& problem, const Number* q, const Number* k, const Number* v, Number* out, float* lse)
        : problem(problem), head_blocks_(problem.head_blocks()), q(q), k(k), v(v), out(out), lse(lse) {}

    int64_t scratch_bytes() const {
        return 2 * Scratch::bytes_for<Packed>(problem.row_blocks() * head_blocks_ * BLOCK_SIZE) +
               Scratch::bytes_for<Packed>(head_blocks_ * BLOCK_SIZE) + Scratch::bytes_for<float>(head_blocks_ * BLOCK_SIZE);
    }
    void place(Scratch& scratch) {
        keys_ = scratch.take<Packed>(problem.row_blocks() * head_blocks_ * BLOCK_SIZE);
        values_transposed_ = scratch.take<Packed>(problem.row_blocks() * head_blocks_ * BLOCK_SIZE);
        queries_transposed_ = scratch.take<Packed>(head_blocks_ * BLOCK_SIZE);
        out_sums_ = scratch.take<float>(head_blocks_ * BLOCK_SIZE);
    }

    // Query blocks `begin` .. `end` - 1 of the query heads that share key/value head `g` of row `b`.
    void attend(int64_t b, int64_t g, int64_t begin, int64_t end) {
        const int64_t matrix = (b * problem.G + g) * problem.T * problem.K, heads = problem.heads_per_group();
        const int64_t first_block = problem.first_block_of(b, begin);
        pack_rows<Tiles, Tiles::pack_left>(problem, keys_, k + matrix, problem.K, first_block, end);
        pack_rows<Tiles, Tiles::pack_left_transposed>(problem, values_transposed_, v + matrix, problem.K, first_block, end);
        for (int64_t h = g * heads; h < (g + 1) * heads; ++h)
            for (int64_t query_block = begin; query_block < end; ++query_block) attend_block(b, h, query_block);
    }

   private:
    const Problem& problem;
    const int64_t head_blocks_;
    const Number *q, *k, *v;
    Number* out;
    float* lse;

    Packed *keys_, *values_transposed_;  // left
    Packed* queries_transposed_;         // right
    float* out_sums_;                    // transposed, of the weighted values so far
    // Two panels of each: one is written while the other is read.
    alignas(64) float scores_[2][PANEL * BLOCK_SIZE];
    alignas(64) Packed weights_[2][PANEL * BLOCK_SIZE];  // right
    // Of each query: the first key it sees; the maximum that its weights are relative to, and their sum so far; the largest
    // score of the next panel.
    alignas(64) int32_t first_[BLOCK];
    alignas(64) float max_[BLOCK], sum_[BLOCK], panel_max_[BLOCK], correction_[BLOCK];

    void attend_block(int64_t b, int64_t h, int64_t query_block) {
        start(b, h, query_block);
        const int64_t first_block = problem.first_block_of(b, query_block), num_blocks = query_block + 1 - first_block;
        const int num_panels = int((num_blocks + PANEL - 1) / PANEL);
        const auto begin_of = [=](int panel) { return first_block + panel * PANEL; };
        const auto size_of = [=](int panel) { return int(panel + 1 < num_panels ? PANEL : num_blocks - panel * PANEL); };

        for (int i = 0; i < size_of(0); ++i) {
            Tiles::finish(score(0, i, begin_of(0) + i));
            find_max(0, i, b, query_block, begin_of(0) + i);
        }
        for (int panel = 0; panel < num_panels; ++panel) {
            const bool must_correct = settle_max() && panel > 0;
            const int size = size_of(panel), next_size = panel + 1 < num_panels ? size_of(panel + 1) : 0;
            for (int i = 0; i < size; ++i) {
                if (i < next_size) {
                    const auto product = score(panel + 1, i, begin_of(panel + 1) + i);
                    exponentiate(panel, i, 0, BLOCK / 2);
                    Tiles::finish(product);
                } else {
                    exponentiate(panel, i, 0, BLOCK / 2);
                }
                int64_t j = head_blocks_ * i / size;
                const int64_t last_j = panel > 0 ? head_blocks_ * (i + 1) / size : j;
                for (; j + 1 < last_j; ++j) Tiles::finish(accumulate(panel - 1, j, begin_of(panel - 1), PANEL));
                if (j < last_j) {
                    const auto product = accumulate(panel - 1, j, begin_of(panel - 1), PANEL);
                    exponentiate(panel, i, BLOCK / 2, BLOCK);
                    Tiles::finish(product);
                } else {
                    exponentiate(panel, i, BLOCK / 2, BLOCK);
                }
                if (i < next_size) find_max(panel + 1, i, b, query_block, begin_of(panel + 1) + i);
            }
            if (must_correct) correct_sums();
        }
        const int last = num_panels - 1;
        for (int64_t j = 0; j < head_blocks_; ++j) Tiles::finish(accumulate(last, j, begin_of(last), size_of(last)));
        write(b, h, query_block);
    }

    void start(int64_t b, int64_t h, int64_t query_block) {
        const Number* queries = q + (b * problem.H + h) * problem.T * problem.K;
        pack_rows<Tiles, Tiles::pack_right_transposed>(problem, queries_transposed_ - query_block * head_blocks_ * BLOCK_SIZE, queries,
                                                       problem.K, query_block, query_block + 1);
        for (int i = 0; i < BLOCK; ++i) {
            first_[i] = problem.first_of(b, query_block * BLOCK + i);
            max_[i] = panel_max_[i] = LOWEST;
            sum_[i] = 0;
        }
    }

    typename Tiles::Product score(int panel, int i, int64_t key_block) {
        return Tiles::multiply(scores_[panel % 2] + i * BLOCK_SIZE, false, BLOCK, BLOCK, int(problem.K),
                        keys_ + key_block * head_blocks_ * BLOCK_SIZE, BLOCK_SIZE, queries_transposed_, BLOCK_SIZE);
    }

    void find_max(int panel, int i, int64_t b, int64_t query_block, int64_t key_block) {
        float* scores = scores_[panel % 2] + i * BLOCK_SIZE;
        if (problem.needs_mask(b, query_block, key_block)) mask_block(scores, key_block, query_block, first_);
        for (int v = 0; v < VECTORS; ++v) {
            Floats largest[2] = {load(panel_max_ + v * LANES), load(scores + v * LANES)};
            for (int row = 0; row < BLOCK; row += 2)
                for (int odd = 0; odd < 2; ++odd) largest[odd] = larger(largest[odd], load(scores + (row + odd) * BLOCK + v * LANES));
            store(panel_max_ + v * LANES, larger(largest[0], largest[1]));
        }
    }

    // Settles what the weights of the panel are relative to; says whether earlier sums have to be corrected.
    bool settle_max() {
        const float slack = MAX_SLACK_LOG2 / (problem.scale * LOG2_E);
        bool has_changed = false;
        for (int i = 0; i < BLOCK; ++i) {
            const float new_max = panel_max_[i] > max_[i] + slack ? panel_max_[i] : max_[i];
            correction_[i] = max_[i] - new_max;
            has_changed |= new_max != max_[i];
            max_[i] = new_max;
            panel_max_[i] = LOWEST;
        }
        if (has_changed)
            for (int v = 0; v < BLOCK; v += LANES) {
                const Floats change = load(correction_ + v);
                // exactly 1 for a query whose maximum stays: no other query's may change its bits
                store(correction_ + v, change == 0.0f ? fill(1.0f) : exp2_lanes(change * (problem.scale * LOG2_E)));
                store(sum_ + v, load(sum_ + v) * load(correction_ + v));
            }
        return has_changed;
    }

    void correct_sums() {
        for (int v = 0; v < VECTORS; ++v)
            for (int64_t row = 0; row < head_blocks_ * BLOCK; ++row) {
                float* some = out_sums_ + row * BLOCK + v * LANES;
                store(some, load(some) * load(correction_ + v * LANES));
            }
    }

    void exponentiate(int panel, int i, int begin, int end) {
        const float factor = problem.scale * LOG2_E;
        const float* scores = scores_[panel % 2] + i * BLOCK_SIZE;
        Packed* weights_block = weights_[panel % 2] + i * BLOCK_SIZE;
        Floats subtracted[VECTORS], sums[VECTORS];
        for (int v = 0; v < VECTORS; ++v) subtracted[v] = load(max_ + v * LANES) * factor, sums[v] = load(sum_ + v * LANES);
        for (int row = begin; row < end; row += 2) {
            Floats weights[2][VECTORS];
            for (int odd = 0; odd < 2; ++odd)
                for (int v = 0; v < VECTORS; ++v)
                    weights[odd][v] = exp2_lanes(load(scores + (row + odd) * BLOCK + v * LANES) * factor - subtracted[v]);
            for (int v = 0; v < VECTORS; ++v) sums[v] += weights[0][v] + weights[1][v];
            Tiles::store_right_rows(weights_block, row, weights[0], weights[1]);
        }
        for (int v = 0; v < VECTORS; ++v) store(sum_ + v * LANES, sums[v]);
    }

    typename Tiles::Product accumulate(int panel, int64_t j, int64_t key_block, int64_t num_key_blocks) {
        return Tiles::multiply(out_sums_ + j * BLOCK_SIZE, panel > 0, problem.width_of(j), BLOCK, int(num_key_blocks) * BLOCK,
                        values_transposed_ + (key_block * head_blocks_ + j) * BLOCK_SIZE, head_blocks_ * BLOCK_SIZE, weights_[panel % 2],
                        BLOCK_SIZE);
    }

    void write(int64_t b, int64_t h, int64_t query_block) {
        alignas(64) float lse_of_rows[BLOCK], block[BLOCK_SIZE], reciprocal[BLOCK];
        for (int v = 0; v < BLOCK; v += LANES) {
            store(lse_of_rows + v, load(max_ + v) * problem.scale + log2_lanes(load(sum_ + v)) * LN_2);
            store(reciprocal + v, 1.0f / load(sum_ + v));
        }
        const int num_rows = problem.rows_of(query_block);
        memcpy(lse + (b * problem.H + h) * problem.T + query_block * BLOCK, lse_of_rows, num_rows * sizeof(float));
        const int64_t token = problem.H * problem.K;
        Number* target = out + (b * problem.T + query_block * BLOCK) * token + h * problem.K;
        for (int64_t j = 0; j < head_blocks_; ++j) {
            transpose_block(block, out_sums_ + j * BLOCK_SIZE, BLOCK);
            for (int row = 0; row < num_rows; ++row)
                write_row(target + row * token + j * BLOCK, block + row * BLOCK, reciprocal[row], problem.width_of(j));
        }
    }
};

}  // namespace headwater
