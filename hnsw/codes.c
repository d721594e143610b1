/*
 * 7-bit codes: encoding, decoding, and what distances between codes need.
 *
 * Value i is lo + step * code[i], lo the smallest value and step a 127th of the range, per vector. Nothing is trained,
 * so nothing drifts as data comes. Arithmetic that decides anything persisted is done in doubles or in the kernels'
 * defined order, so codes and params are the same on every machine.
 *
 * Limits: a range that float cannot hold, or a step whose inverse it cannot hold, gives coarse codes, never an error.
 */
#include <float.h>
#include <math.h>

#include "hnsw/distance.h"

static float to_float(double value) {
    if (value > (double)FLT_MAX) return FLT_MAX;
    if (value < -(double)FLT_MAX) return -FLT_MAX;
    return (float)value;
}

static struct hnsw_sums sum_codes(const struct hnsw *index, const uint8_t *block) {
    return (struct hnsw_sums){
        .sum = (int32_t)index->simd->sum_codes(block, index->code_bytes),
        .square = index->simd->dot_codes((const int8_t *)block, block, index->code_bytes),
    };
}

/* |decoded|^2 of raw (not normalised) lo and step. */
static double decoded_square(const struct hnsw *index, const struct hnsw_sums *sums, double lo, double step) {
    double n = (double)index->options.dimensions;
    double square = n * lo * lo + 2.0 * lo * step * (double)sums->sum + step * step * (double)sums->square;
    return square > 0.0 ? square : 0.0;
}

static void complete_params(const struct hnsw *index, struct hnsw_params *params, const struct hnsw_sums *sums) {
    params->step_sum = params->step * (float)sums->sum;
    if (index->options.metric == VELTA_L2) {
        params->norm = to_float(decoded_square(index, sums, (double)params->lo, (double)params->step));
    } else if (index->options.metric == VELTA_DOT) {
        params->norm = 0.0F;
    }
}

void hnsw_complete_params(const struct hnsw *index, uint8_t *block) {
    struct hnsw_sums sums = sum_codes(index, block);
    complete_params(index, hnsw_params_of(index, block), &sums);
}

struct hnsw_sums hnsw_encode(const struct hnsw *index, const float *vector, uint8_t *block) {
    const struct simd_kernels *simd = index->simd;
    size_t n = index->options.dimensions;
    struct hnsw_params *params = hnsw_params_of(index, block);
    float lo, hi;
    simd->min_max_f32(vector, n, &lo, &hi);
    float step = (float)(((double)hi - (double)lo) / 127.0);
    float inverse = step > 0.0F ? 1.0F / step : 0.0F;
    if (!(inverse <= FLT_MAX)) step = inverse = 0.0F;
    simd->encode_codes(vector, n, lo, inverse, block);
    struct hnsw_sums sums = sum_codes(index, block);
    params->lo = lo;
    params->step = step;
    if (index->options.metric == VELTA_COSINE) {
        double square = index->codes_only ? decoded_square(index, &sums, (double)lo, (double)step)
                                          : (double)simd->dot_f32(vector, vector, n);
        float norm = to_float(sqrt(square));
        double inverse_norm = norm > 0.0F ? 1.0 / (double)norm : 0.0;
        params->norm = norm;
        params->lo = to_float((double)lo * inverse_norm);
        params->step = to_float((double)step * inverse_norm);
    }
    complete_params(index, params, &sums);
    return sums;
}

void hnsw_decode_block(const struct hnsw *index, const uint8_t *block, float *out) {
    const struct hnsw_params *params = (const void *)(block + index->params_offset);
    double scale = index->options.metric == VELTA_COSINE ? (double)params->norm : 1.0;
    double exact_lo = (double)params->lo * scale, exact_step = (double)params->step * scale;
    uint32_t n = index->options.dimensions;
    if (fabs(exact_lo) + 128.0 * exact_step > (double)FLT_MAX) { /* floats would overflow on the way */
        for (uint32_t i = 0; i < n; i++)
            out[i] = to_float(exact_lo + exact_step * block[i]);
        return;
    }
    float lo = (float)exact_lo, step = (float)exact_step;
    for (uint32_t i = 0; i < n; i++)
        out[i] = lo + step * (float)block[i];
}

/* The query's side of the expression: lo, step, its sum of values and the l2 norm. */
static void probe_weights(const struct hnsw *index, struct hnsw_probe *probe, float lo, float step, float sum,
                          float square) {
    float factor = index->options.metric == VELTA_L2 ? -2.0F : -1.0F;
    probe->base = index->options.metric == VELTA_COSINE ? 1.0F : index->options.metric == VELTA_L2 ? square : 0.0F;
    probe->norm_weight = index->options.metric == VELTA_L2 ? 1.0F : 0.0F;
    probe->lo_weight = factor * sum;
    probe->sum_weight = factor * lo;
    probe->dot_weight = factor * step;
}

void hnsw_probe_block(const struct hnsw *index, const uint8_t *block, struct hnsw_probe *probe) {
    const struct hnsw_params *params = (const void *)(block + index->params_offset);
    float sum = (float)index->options.dimensions * params->lo + params->step_sum;
    probe_weights(index, probe, params->lo, params->step, sum, params->norm);
}

void hnsw_probe_node(const struct hnsw *index, uint32_t node, struct hnsw_probe *probe) {
    const uint8_t *block = hnsw_block(index, node);
    memcpy(probe->codes, block, index->code_bytes);
    hnsw_probe_block(index, block, probe);
}

void hnsw_probe_vector(const struct hnsw *index, const float *query, struct hnsw_probe *probe) {
    size_t n = index->options.dimensions;
    float lo, hi;
    index->simd->min_max_f32(query, n, &lo, &hi);
    float largest = hi > -lo ? hi : -lo;
    float step = largest / 127.0F;
    float inverse = step > 0.0F ? 1.0F / step : 0.0F;
    if (!(inverse <= FLT_MAX)) step = inverse = 0.0F;
    /* The sum is that of the rounded values: with the exact one the query's rounding would weigh with |row - lo|, which
     * is several times |row|. Adding and taking away 1.5 * 2^23 rounds to an integer, half to even, without a call. */
    const float rounder = 12582912.0F;
    int32_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        float scaled = (query[i] * inverse + rounder) - rounder;
        probe->codes[i] = (int8_t)scaled;
        sum += (int32_t)scaled;
    }
    double scale = 1.0;
    float square = index->simd->dot_f32(query, query, n);
    if (index->options.metric == VELTA_COSINE) scale = square > 0.0F ? 1.0 / sqrt((double)square) : 0.0;
    probe_weights(index, probe, 0.0F, to_float((double)step * scale), to_float((double)step * (double)sum * scale),
                  square);
}

void hnsw_distances_codes(const struct hnsw *index, const struct hnsw_probe *probe, const uint32_t *ids, size_t count,
                          const uint8_t **rows, int32_t *dots, float *distances_out) {
    for (size_t i = 0; i < count; i++)
        rows[i] = hnsw_block(index, ids[i]);
    index->simd->dot_codes_rows(probe->codes, rows, count, index->code_bytes, dots);
    for (size_t i = 0; i < count; i++) {
        const struct hnsw_params *params = (const void *)(rows[i] + index->params_offset);
        distances_out[i] = hnsw_distance_of_dot(probe, params, dots[i]);
    }
}
