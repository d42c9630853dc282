// Forward pass: softmax(scale q k^T) v for a block of 32 queries at a time.
//
// Scores are computed for a panel of keys, whose width bounds the memory; the running maximum and sum of earlier panels
// are corrected when a later panel holds a larger score (online softmax, arXiv:1805.02867).
#pragma once

#include "attention_problem.h"

namespace headwater {

template <class Tiles>
class Forward {
    using Number = typename Tiles::Number;
    using Packed = typename Tiles::Packed;
    static constexpr int64_t PANEL_BLOCKS = 8;  // key blocks whose scores are in memory at once: 32 KiB
    static constexpr float LOWEST = -1e30f;     // finite: the difference of two of them is 0

   public:
    Forward(const Problem& problem, const Number* q, const Number* k, const Number* v, Number* out, float* lse)
        : problem(problem), q(q), k(k), v(v), out(out), lse(lse) {}

    int64_t scratch_bytes() const {
        const int64_t head_blocks = problem.head_blocks(), operand = problem.row_blocks() * head_blocks * BLOCK_SIZE;
        return 2 * Scratch::bytes_for<Packed>(operand) + Scratch::bytes_for<Packed>((head_blocks + PANEL_BLOCKS) * BLOCK_SIZE) +
               Scratch::bytes_for<float>((head_blocks + PANEL_BLOCKS) * BLOCK_SIZE);
    }
    void place(Scratch& scratch) {
        const int64_t head_blocks = problem.head_blocks(), operand = problem.row_blocks() * head_blocks * BLOCK_SIZE;
        keys_ = scratch.take<Packed>(operand);
        values_ = scratch.take<Packed>(operand);
        queries_ = scratch.take<Packed>((head_blocks + PANEL_BLOCKS) * BLOCK_SIZE);
        weights_ = queries_ + head_blocks * BLOCK_SIZE;
        sums_ = scratch.take<float>((head_blocks + PANEL_BLOCKS) * BLOCK_SIZE);
        scores_ = sums_ + head_blocks * BLOCK_SIZE;
    }

    // Query blocks `begin` .. `end` - 1 of the query heads that share key/value head `g` of row `b`.
    void attend(int64_t b, int64_t g, int64_t begin, int64_t end) {
        const int64_t matrix = (b * problem.G + g) * problem.T * problem.K;
        const int64_t first_block = problem.first_block_of(b, begin);
        pack_rows<Tiles, Tiles::pack_right_transposed>(problem, keys_, k + matrix, problem.K, first_block, end);
        pack_rows<Tiles, Tiles::pack_right>(problem, values_, v + matrix, problem.K, first_block, end);
        for (int64_t h = g * problem.heads_per_group(); h < (g + 1) * problem.heads_per_group(); ++h)
            for (int64_t query_block = begin; query_block < end; ++query_block) attend_block(b, h, query_block);
    }

   private:
    const Problem& problem;
    const Number *q, *k, *v;
    Number* out;
    float* lse;

    Packed *keys_, *values_, *queries_, *weights_;
    float *scores_, *sums_;
    // Of the queries of a block: maximum of q·k and sum of the exponentials over the keys so far, sum over the panel, and
    // what the sums of earlier panels are multiplied with.
    alignas(64) float row_max_[BLOCK], row_sum_[BLOCK], panel_sum_[BLOCK], correction_[BLOCK];
    alignas(64) float lane_max_[BLOCK * LANES];

    void attend_block(int64_t b, int64_t h, int64_t query_block) {
        const int64_t matrix = (b * problem.H + h) * problem.T * problem.K;
        const int64_t offset = query_block * problem.head_blocks() * BLOCK_SIZE;  // pack_rows counts blocks from row 0
        pack_rows<Tiles, Tiles::pack_left>(problem, queries_ - offset, q + matrix, problem.K, query_block, query_block + 1);
        for (int row = 0; row < BLOCK; ++row) row_max_[row] = LOWEST, row_sum_[row] = 0;

        const int64_t first_block = problem.first_block_of(b, query_block);
        for (int64_t begin = first_block; begin <= query_block; begin += PANEL_BLOCKS) {
            const int64_t end = begin + PANEL_BLOCKS <= query_block ? begin + PANEL_BLOCKS : query_block + 1;
            score_panel(b, query_block, begin, end);
            exponentiate_panel(int(end - begin));
            accumulate_panel(begin, end, begin > first_block);
        }
        write_block(b, h, query_block);
    }

    void score_panel(int64_t b, int64_t query_block, int64_t begin, int64_t end) {
        for (int row = 0; row < BLOCK; ++row) store(lane_max_ + row * LANES, fill(LOWEST));
        for (int64_t key_block = begin; key_block < end; ++key_block) {
            float* scores = scores_ + (key_block - begin) * BLOCK_SIZE;
            Tiles::multiply(scores, false, BLOCK, BLOCK, int(problem.K), queries_, BLOCK_SIZE,
                            keys_ + key_block * problem.head_blocks() * BLOCK_SIZE, BLOCK_SIZE);
            if (problem.needs_mask(b, query_block, key_block)) mask_block(scores, b, query_block, key_block);
            for (int row = 0; row < BLOCK; ++row) {
                Floats largest = load(lane_max_ + row * LANES);
                for (int v = 0; v < VECTORS; ++v) largest = larger(largest, load(scores + row * BLOCK + v * LANES));
                store(lane_max_ + row * LANES, largest);
            }
        }
    }

    void mask_block(float* scores, int64_t b, int64_t query_block, int64_t key_block) const {
        for (int row = 0; row < BLOCK; ++row) {
            const int64_t t = query_block * BLOCK + row;
            const Ints last_seen = fill(int32_t(t - key_block * BLOCK));
            const Ints first_seen = fill(int32_t(problem.first_of(b, t) - key_block * BLOCK));
            for (int v = 0; v < VECTORS; ++v) {
                const Ints key = lane_numbers() + v * LANES;
                float* some = scores + row * BLOCK + v * LANES;
                store(some, ((key <= last_seen) & (key >= first_seen)) ? load(some) : fill(-__builtin_inff()));
            }
        }
    }

    // Scores of the panel become weights, to be divided by row_sum_ at the end.
    void exponentiate_panel(int num_blocks) {
        const float factor = problem.scale * LOG2_E;
        for (int row = 0; row < BLOCK; ++row) {
            const float old_max = row_max_[row];
            const float panel_max = largest_lane(load(lane_max_ + row * LANES));
            const float new_max = panel_max > old_max ? panel_max : old_max;
            row_max_[row] = new_max;
            correction_[row] = (old_max - new_max) * factor;
            const Floats subtracted = fill(new_max * factor);
            Floats sums[VECTORS] = {};
            for (int i = 0; i < num_blocks; ++i) {
                Floats weights[VECTORS];
                for (int v = 0; v < VECTORS; ++v) {
                    weights[v] = exp2_lanes(load(scores_ + i * BLOCK_SIZE + row * BLOCK + v * LANES) * factor - subtracted);
                    sums[v] += weights[v];
                }
                Tiles::store_left_row(weights_ + i * BLOCK_SIZE, row, weights);
            }
            for (int v = 1; v < VECTORS; ++v) sums[0] += sums[v];
            panel_sum_[row] = sum_of_lanes(sums[0]);
        }
        for (int row = 0; row < BLOCK; row += LANES) {
            const Floats correction = exp2_lanes(load(correction_ + row));
            store(correction_ + row, correction);
            store(row_sum_ + row, load(row_sum_ + row) * correction + load(panel_sum_ + row));
        }
    }

    void accumulate_panel(int64_t begin, int64_t end, bool is_later) {
        for (int64_t j = 0; j < problem.head_blocks(); ++j) {
            float* sums = sums_ + j * BLOCK_SIZE;
            if (is_later)
                for (int row = 0; row < BLOCK; ++row)
                    for (int v = 0; v < VECTORS; ++v) {
                        float* some = sums + row * BLOCK + v * LANES;
                        store(some, load(some) * correction_[row]);
                    }
            Tiles::multiply(sums, is_later, BLOCK, problem.width_of(j), int(end - begin) * BLOCK, weights_, BLOCK_SIZE,
                            values_ + (begin * problem.head_blocks() + j) * BLOCK_SIZE, problem.head_blocks() * BLOCK_SIZE);
        }
    }

    void write_block(int64_t b, int64_t h, int64_t query_block) {
        alignas(64) float lse_of_rows[BLOCK];
        for (int row = 0; row < BLOCK; row += LANES)
            store(lse_of_rows + row, load(row_max_ + row) * problem.scale + log2_lanes(load(row_sum_ + row)) * LN_2);
        memcpy(lse + (b * problem.H + h) * problem.T + query_block * BLOCK, lse_of_rows, problem.rows_of(query_block) * sizeof(float));
        for (int row = 0; row < problem.rows_of(query_block); ++row) {
            Number* target = out + ((b * problem.T + query_block * BLOCK + row) * problem.H + h) * problem.K;
            for (int64_t j = 0; j < problem.head_blocks(); ++j)
                write_row(target + j * BLOCK, sums_ + j * BLOCK_SIZE + row * BLOCK, 1 / row_sum_[row], problem.width_of(j));
        }
    }
};

}  // namespace headwater
