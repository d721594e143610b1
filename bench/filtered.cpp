/*
 * Search under a filter given as a bitmap: recall@10 and queries a second, beside hnswlib at the smallest ef of 64,
 * 128, 256 and 512 whose recall reaches 0.99.
 *
 * The matching rows are a share of all: at random (one filter for all queries), the nearest to the query, or the
 * farthest from it (a filter per query). Both engines have the filter set outside the time measured. The peer is asked
 * fewer queries than velta, because it needs up to 50 ms for one; rounds of both alternate and medians count.
 *
 * usage: filtered [RESULT.json [DATASET]]
 */
#include "bench/cases.hpp"

using namespace bench;

static double velta_round(Velta &velta, const Dataset &data, const Case &asked, double *recall, unsigned *strategies) {
    uint32_t found[kNeighbours];
    double seconds = 0, sum = 0;
    for (uint32_t q = 0; q < kQueries; q++) {
        const Filter &filter = asked.at(q);
        hnsw_report report;
        double start = thread_seconds();
        uint32_t count =
            velta.search(data.query_at(q), kNeighbours, 0, found, filter.bits.data(), filter.rows.size(), &report);
        seconds += thread_seconds() - start;
        strategies[report.strategy]++;
        sum += recall_of(data, data.query_at(q), found, count, asked.least[q],
                         std::min<size_t>(kNeighbours, filter.rows.size()));
    }
    *recall = sum / kQueries;
    return seconds / kQueries;
}

static void measure(const Dataset &data, Report &report) {
    Velta velta(data);
    velta.fill_column();
    velta.link();
    velta.calibrate();
    Peer peer(data);
    peer.load_or_build();
    const std::vector<float> similarities = case_similarities(data);
    for (double share : kShares)
        for (Place place : {Place::random, Place::near, Place::far}) {
            Case asked = prepare(data, similarities, place, uint32_t(share * data.rows));
            std::vector<double> ours, theirs;
            double our_recall = 0, their_recall = 0;
            unsigned strategies[8] = {0};
            bool compare = share < 0.6 && share > 0.0005;
            velta_round(velta, data, asked, &our_recall, strategies);
            uint32_t ef = 64;
            while (compare && peer_round(peer, data, asked, ef, &their_recall) > 0 && their_recall < 0.99 && ef < 512)
                ef *= 2;
            for (int round = 0; round < 3; round++) {
                if (compare && (round == 0 || share > 0.05))
                    theirs.push_back(peer_round(peer, data, asked, ef, &their_recall));
                ours.push_back(velta_round(velta, data, asked, &our_recall, strategies));
            }
            char what[64], note[96];
            std::snprintf(what, sizeof what, "%s %g %% %s", data.name.c_str(), share * 100, kPlaces[int(place)]);
            std::snprintf(note, sizeof note, "peer ef %u; vectors %u codes %u graph %u given up %u", ef,
                          strategies[HNSW_EXACT_VECTORS], strategies[HNSW_EXACT_CODES], strategies[HNSW_GRAPH_FILTERED],
                          strategies[HNSW_GRAPH_THEN_EXACT]);
            report.add({what, "queries/s", 1 / median(ours), compare ? 1 / median(theirs) : 0, compare ? 2.0 : 0.0,
                        our_recall, compare ? their_recall : -1, note});
        }
}

int main(int count, char **arguments) {
    try {
        Report report("filtered search, recall@10", count > 1 ? arguments[1] : nullptr);
        std::string only = count > 2 ? arguments[2] : "";
        if (only.empty() || only == "debpkg") measure(load_debpkg(), report);
        if (only.empty() || only == "clustered") measure(make_clustered(), report);
    } catch (const std::exception &failure) {
        std::fprintf(stderr, "filtered: %s\n", failure.what());
        return 1;
    }
    return 0;
}
