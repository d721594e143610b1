/*
 * How many queries a second at equal recall@10, beside hnswlib: both sweep ef, in interleaved rounds in one process on
 * one thread; the rate at a recall is read between the two nearest points of each sweep (log rate, linear recall).
 *
 * usage: search [RESULT.json [DATASET]]
 */
#include "bench/engine.hpp"

using namespace bench;

struct Point {
    uint32_t ef;
    double recall = 0, seconds = 0;
    std::vector<double> rounds;
};

static double rate_at(const std::vector<Point> &points, uint32_t queries, double recall) {
    const Point *below = nullptr, *above = nullptr;
    for (const Point &p : points) {
        if (p.recall < recall) below = &p;
        if (p.recall >= recall && !above) above = &p;
    }
    if (!above) return 0;
    if (!below || below->ef > above->ef) return queries / above->seconds;
    double part = (recall - below->recall) / (above->recall - below->recall);
    return queries / std::exp(std::log(below->seconds) * (1 - part) + std::log(above->seconds) * part);
}

template <typename Engine>
static void run(Engine &engine, const Dataset &data, Point &point, uint32_t first, uint32_t end, double *seconds,
                std::vector<uint32_t> &found) {
    double start = thread_seconds();
    for (uint32_t q = first; q < end; q++)
        engine.search(data.query_at(q), kNeighbours, point.ef, &found[size_t(q) * kNeighbours]);
    *seconds += thread_seconds() - start;
}

static double mean_recall(const Dataset &data, const std::vector<uint32_t> &found, const std::vector<double> &least) {
    double sum = 0;
    for (uint32_t q = 0; q < data.queries; q++)
        sum += recall_of(data, data.query_at(q), &found[size_t(q) * kNeighbours], kNeighbours, least[q]);
    return sum / data.queries;
}

static void measure(const Dataset &data, Report &report, unsigned rounds) {
    Velta velta(data);
    velta.fill_column();
    velta.link();
    velta.calibrate();
    Peer peer(data);
    peer.load_or_build();
    const std::vector<double> least = thresholds(data);
    std::vector<Point> ours, theirs;
    for (uint32_t ef : {10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320}) {
        ours.push_back({ef, 0, 0, {}});
        theirs.push_back({ef, 0, 0, {}});
    }
    std::vector<uint32_t> found(size_t(data.queries) * kNeighbours);
    for (unsigned round = 0; round <= rounds; round++) /* the first only warms up and counts recall */
        for (size_t i = 0; i < ours.size(); i++) {
            double our_seconds = 0, their_seconds = 0;
            const uint32_t block = 100;
            std::vector<uint32_t> their_found(found.size());
            for (uint32_t first = 0; first < data.queries; first += block) {
                uint32_t end = std::min(first + block, data.queries);
                run(peer, data, theirs[i], first, end, &their_seconds, their_found);
                run(velta, data, ours[i], first, end, &our_seconds, found);
            }
            if (round == 0) {
                ours[i].recall = mean_recall(data, found, least);
                theirs[i].recall = mean_recall(data, their_found, least);
            } else {
                ours[i].rounds.push_back(our_seconds);
                theirs[i].rounds.push_back(their_seconds);
            }
        }
    for (std::vector<Point> *points : {&ours, &theirs})
        for (Point &p : *points)
            p.seconds = median(p.rounds);
    for (size_t i = 0; i < ours.size(); i++)
        report.add({data.name + " ef " + std::to_string(ours[i].ef), "queries/s", data.queries / ours[i].seconds,
                    data.queries / theirs[i].seconds, 0, ours[i].recall, theirs[i].recall, ""});
    for (double recall : {0.95, 0.985})
        report.add({data.name + " at recall " + (recall < 0.96 ? "0.95" : "0.985"), "queries/s",
                    rate_at(ours, data.queries, recall), rate_at(theirs, data.queries, recall), 3.3, recall, recall,
                    velta.kernels()});
    std::vector<double> seconds;
    for (unsigned round = 0; round <= rounds; round++) {
        double spent = 0;
        Point standard{0, 0, 0, {}};
        run(velta, data, standard, 0, data.queries, &spent, found);
        if (round) seconds.push_back(spent);
    }
    report.add({data.name + " default ef", "queries/s", data.queries / median(seconds), 0, 0,
                mean_recall(data, found, least), -1, velta.kernels()});
}

int main(int count, char **arguments) {
    try {
        Report report("search, recall@10", count > 1 ? arguments[1] : nullptr);
        std::string only = count > 2 ? arguments[2] : "";
        if (only.empty() || only == "debpkg") measure(load_debpkg(), report, 5);
        if (only.empty() || only == "clustered") measure(make_clustered(), report, 5);
    } catch (const std::exception &failure) {
        std::fprintf(stderr, "search: %s\n", failure.what());
        return 1;
    }
    return 0;
}
