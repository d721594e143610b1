/*
 * The data that the search measurements run on, and what counts as found.
 *
 *  - debpkg: real text, 61,436 x 256 with 1,000 held-out queries, read from $VELTA_DATA or ../shared/data/debpkg;
 *  - clustered: 100,000 x 384 made here, seeded: 1,000 cluster centres and the points around them are Gaussian in a
 *    latent space of 32 dimensions, spread over 384 by a fixed random matrix, with a little Gaussian noise in every
 *    dimension on top. Clusters overlap (spread 0.7 of the distance between centres' scale), as real embeddings do.
 * Every vector is scaled to unit length, so that the peer's inner product is the cosine that velta computes.
 *
 * Found is judged by distance, not by row number, because real data has equal vectors: a returned row counts when its
 * similarity, computed here in double precision, is at least the k-th best one's to 1e-6.
 */
#ifndef VELTA_BENCH_DATA_HPP
#define VELTA_BENCH_DATA_HPP

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace bench {

constexpr uint32_t kNeighbours = 10;
constexpr double kTie = 1e-6;

struct Dataset {
    std::string name;
    uint32_t rows = 0, queries = 0, dimensions = 0;
    std::vector<float> base, query; /* row after row, unit length */
    const float *row(uint32_t i) const { return base.data() + size_t(i) * dimensions; }
    const float *query_at(uint32_t i) const { return query.data() + size_t(i) * dimensions; }
};

inline double similarity(const float *a, const float *b, uint32_t n) {
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += double(a[i]) * double(b[i]);
    return sum;
}

inline void normalise(std::vector<float> &values, uint32_t dimensions) {
    for (size_t at = 0; at < values.size(); at += dimensions) {
        double norm = std::sqrt(similarity(&values[at], &values[at], dimensions));
        for (uint32_t i = 0; i < dimensions && norm > 0; i++)
            values[at + i] = float(values[at + i] / norm);
    }
}

inline float half_to_float(uint16_t half) {
    uint32_t sign = uint32_t(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 1023;
    if (exponent == 0) {
        float value = std::ldexp(float(fraction), -24);
        return sign ? -value : value;
    }
    uint32_t bits = sign | (exponent + 112) << 23 | fraction << 13;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

/* A two-dimensional .npy of float16, little-endian, C order. */
inline std::vector<float> read_npy_f16(const std::string &path, uint32_t &rows, uint32_t &columns) {
    std::ifstream file(path, std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    if (bytes.size() < 10 || bytes.compare(0, 6, "\x93NUMPY") != 0) throw std::runtime_error("cannot read " + path);
    size_t header = uint8_t(bytes[8]) | size_t(uint8_t(bytes[9])) << 8;
    std::string text = bytes.substr(10, header);
    size_t shape = text.find("'shape': (");
    if (text.find("'<f2'") == std::string::npos || shape == std::string::npos ||
        std::sscanf(text.c_str() + shape, "'shape': (%u, %u)", &rows, &columns) != 2 ||
        bytes.size() != 10 + header + size_t(rows) * columns * 2)
        throw std::runtime_error("not a float16 matrix: " + path);
    std::vector<float> values(size_t(rows) * columns);
    const char *from = bytes.data() + 10 + header;
    for (size_t i = 0; i < values.size(); i++) {
        uint16_t half;
        std::memcpy(&half, from + 2 * i, 2);
        values[i] = half_to_float(half);
    }
    return values;
}

inline std::string data_folder() {
    const char *set = std::getenv("VELTA_DATA");
    return set && *set ? set : "../shared/data/debpkg";
}

inline Dataset load_debpkg() {
    Dataset data;
    uint32_t dimensions = 0;
    data.name = "debpkg";
    data.base = read_npy_f16(data_folder() + "/vectors.npy", data.rows, data.dimensions);
    data.query = read_npy_f16(data_folder() + "/queries/queries.npy", data.queries, dimensions);
    if (dimensions != data.dimensions) throw std::runtime_error("debpkg: queries of another length");
    normalise(data.base, data.dimensions);
    normalise(data.query, data.dimensions);
    return data;
}

/* splitmix64 (Steele, Lea, Flood, 2014); a Gaussian is the sum of twelve 16-bit uniforms, centred. */
struct Random {
    uint64_t state;
    uint64_t next() {
        uint64_t z = state += 0x9E3779B97F4A7C15u;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
        z = (z ^ z >> 27) * 0x94D049BB133111EBu;
        return z ^ z >> 31;
    }
    uint32_t below(uint32_t limit) { return uint32_t((next() >> 32) * limit >> 32); }
    float gaussian() {
        int32_t sum = 0;
        for (int i = 0; i < 3; i++) {
            uint64_t bits = next();
            sum +=
                int32_t(bits & 65535) + int32_t(bits >> 16 & 65535) + int32_t(bits >> 32 & 65535) + int32_t(bits >> 48);
        }
        return float(sum - 12 * 32768) / 65536.0f;
    }
};

inline Dataset make_clustered(uint32_t rows = 100000, uint32_t queries = 500, uint32_t dimensions = 384) {
    const uint32_t latent = 32, clusters = 1000;
    const float spread = 0.7f, noise = 0.05f;
    Random random{20261121};
    auto gaussians = [&](size_t count) {
        std::vector<float> values(count);
        for (float &v : values)
            v = random.gaussian();
        return values;
    };
    std::vector<float> centres = gaussians(size_t(clusters) * latent);
    std::vector<float> matrix = gaussians(size_t(latent) * dimensions);
    for (float &v : matrix)
        v /= std::sqrt(float(latent));
    auto points = [&](uint32_t count) {
        std::vector<float> values = gaussians(size_t(count) * dimensions);
        std::vector<float> z(latent);
        for (uint32_t p = 0; p < count; p++) {
            uint32_t cluster = random.below(clusters);
            float *out = &values[size_t(p) * dimensions];
            for (uint32_t d = 0; d < dimensions; d++)
                out[d] *= noise;
            for (uint32_t j = 0; j < latent; j++) {
                float zj = centres[cluster * latent + j] + spread * random.gaussian();
                for (uint32_t d = 0; d < dimensions; d++)
                    out[d] += zj * matrix[j * dimensions + d];
            }
        }
        return values;
    };
    Dataset data;
    data.name = "clustered";
    data.rows = rows;
    data.queries = queries;
    data.dimensions = dimensions;
    data.base = points(rows);
    data.query = points(queries);
    normalise(data.base, dimensions);
    normalise(data.query, dimensions);
    return data;
}

/* Similarities of queries first..first + count - 1 to every row: out[q * rows + r]. A row is read once for all. */
inline void all_similarities(const Dataset &data, uint32_t first, uint32_t count, float *out) {
    typedef float lanes __attribute__((vector_size(64)));
    constexpr uint32_t width = 16;
    const uint32_t n = data.dimensions;
    for (uint32_t r = 0; r < data.rows; r++) {
        const float *row = data.row(r);
        for (uint32_t q = 0; q < count; q++) {
            const float *query = data.query_at(first + q);
            lanes sums = {}, a, b;
            uint32_t i = 0;
            for (; i + width <= n; i += width) {
                std::memcpy(&a, row + i, sizeof a);
                std::memcpy(&b, query + i, sizeof b);
                sums += a * b;
            }
            float sum = 0;
            for (uint32_t lane = 0; lane < width; lane++)
                sum += sums[lane];
            for (; i < n; i++)
                sum += row[i] * query[i];
            out[size_t(q) * data.rows + r] = sum;
        }
    }
}

/* The similarity that a row needs to count among the k best of `matching` (NULL: all); -2 where fewer match. */
inline double threshold_of(const Dataset &data, const float *query, const float *similarities,
                           const std::vector<uint32_t> *matching, uint32_t k = kNeighbours) {
    std::vector<std::pair<float, uint32_t>> best;
    auto offer = [&](uint32_t row) {
        std::pair<float, uint32_t> item(-similarities[row], row);
        if (best.size() == 2 * k && !(item < best.front())) return;
        best.push_back(item);
        std::push_heap(best.begin(), best.end());
        if (best.size() > 2 * k) std::pop_heap(best.begin(), best.end()), best.pop_back();
    };
    if (matching)
        for (uint32_t row : *matching)
            offer(row);
    else
        for (uint32_t row = 0; row < data.rows; row++)
            offer(row);
    std::vector<double> exact;
    for (auto &item : best)
        exact.push_back(similarity(query, data.row(item.second), data.dimensions));
    std::sort(exact.begin(), exact.end(), [](double a, double b) { return a > b; });
    return exact.size() < k ? -2.0 : exact[k - 1];
}

/* How many of found[0..count) count, as a share of the k (or fewer) that could be found. */
inline double recall_of(const Dataset &data, const float *query, const uint32_t *found, size_t count, double threshold,
                        size_t findable = kNeighbours) {
    size_t right = 0;
    for (size_t i = 0; i < count; i++)
        right += similarity(query, data.row(found[i]), data.dimensions) >= threshold - kTie;
    return double(std::min(right, findable)) / double(findable);
}

/* What each query's k best need, over all rows. */
inline std::vector<double> thresholds(const Dataset &data) {
    const uint32_t block = 16;
    std::vector<double> least(data.queries);
    std::vector<float> similarities(size_t(block) * data.rows);
    for (uint32_t first = 0; first < data.queries; first += block) {
        uint32_t count = std::min(block, data.queries - first);
        all_similarities(data, first, count, similarities.data());
        for (uint32_t q = 0; q < count; q++)
            least[first + q] =
                threshold_of(data, data.query_at(first + q), &similarities[size_t(q) * data.rows], nullptr);
    }
    return least;
}

} // namespace bench

#endif
