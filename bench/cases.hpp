/*
 * The filters that filtered search is measured under: a share of all rows, at random (one filter for all queries), the
 * nearest to the query, or the farthest from it (a filter per query); and the peer's side of a round.
 */
#ifndef VELTA_BENCH_CASES_HPP
#define VELTA_BENCH_CASES_HPP

#include <numeric>

#include "bench/engine.hpp"

namespace bench {

/* The peer is asked fewer queries, because it needs up to 50 ms for one. */
constexpr uint32_t kQueries = 150, kPeerQueries = 24;
constexpr double kShares[] = {0.9, 0.5, 0.1, 0.01, 0.001, 0.0001};
constexpr const char *kPlaces[] = {"random", "near", "far"};

struct Filter {
    std::vector<uint32_t> rows; /* ascending */
    std::vector<uint64_t> bits;
};

inline Filter make_filter(const Dataset &data, std::vector<uint32_t> rows) {
    Filter filter;
    std::sort(rows.begin(), rows.end());
    filter.bits.assign((data.rows + 63) / 64, 0);
    for (uint32_t row : rows)
        filter.bits[row / 64] |= uint64_t(1) << row % 64;
    filter.rows = std::move(rows);
    return filter;
}

enum class Place { random, near, far };

inline Filter choose(const Dataset &data, const float *similarities, Place place, uint32_t count, Random &random) {
    std::vector<uint32_t> order(data.rows);
    std::iota(order.begin(), order.end(), 0u);
    if (place == Place::random) {
        for (uint32_t i = 0; i < count; i++)
            std::swap(order[i], order[i + random.below(data.rows - i)]);
    } else {
        float sign = place == Place::near ? 1.0f : -1.0f;
        std::nth_element(order.begin(), order.begin() + count, order.end(), [&](uint32_t a, uint32_t b) {
            float x = sign * similarities[a], y = sign * similarities[b];
            return x > y || (x == y && a < b);
        });
    }
    order.resize(count);
    return make_filter(data, std::move(order));
}

struct Case {
    std::vector<Filter> filters; /* one for all queries, or one each */
    std::vector<double> least;
    const Filter &at(uint32_t q) const { return filters[filters.size() == 1 ? 0 : q]; }
};

inline Case prepare(const Dataset &data, const std::vector<float> &similarities, Place place, uint32_t count) {
    Case made;
    Random random{count};
    for (uint32_t q = 0; q < kQueries; q++) {
        const float *of_query = &similarities[size_t(q) * data.rows];
        if (q == 0 || place != Place::random) made.filters.push_back(choose(data, of_query, place, count, random));
        made.least.push_back(threshold_of(data, data.query_at(q), of_query, &made.at(q).rows));
    }
    return made;
}

inline double peer_round(Peer &peer, const Dataset &data, const Case &asked, uint32_t ef, double *recall) {
    uint32_t found[kNeighbours];
    double seconds = 0, sum = 0;
    for (uint32_t q = 0; q < kPeerQueries; q++) {
        const Filter &filter = asked.at(q);
        if (q == 0 || asked.filters.size() > 1) peer.set_filter(&filter.rows);
        double start = thread_seconds();
        uint32_t count = peer.search(data.query_at(q), kNeighbours, ef, found);
        seconds += thread_seconds() - start;
        sum += recall_of(data, data.query_at(q), found, count, asked.least[q],
                         std::min<size_t>(kNeighbours, filter.rows.size()));
    }
    *recall = sum / kPeerQueries;
    return seconds / kPeerQueries;
}

/* Of the queries that cases are made for: [query * rows + row]. */
inline std::vector<float> case_similarities(const Dataset &data) {
    std::vector<float> similarities(size_t(kQueries) * data.rows);
    for (uint32_t q = 0; q < kQueries; q += 10)
        all_similarities(data, q, 10, &similarities[size_t(q) * data.rows]);
    return similarities;
}

} // namespace bench

#endif
