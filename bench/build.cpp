/*
 * Rows a second into the graph at the same M and ef_construction, beside hnswlib, on one thread; then velta on two.
 *
 * The peer adds rows in slices between which velta builds a whole index, so that both meet the same state of the
 * machine; one thread's own time counts. Adding means: encoding, and linking everything. What each graph is worth is
 * said by its recall@10 at ef 64. Two threads are measured in time passed, against one thread in time passed.
 *
 * usage: build [RESULT.json [DATASET]]
 */
#include <atomic>
#include <thread>

#include "bench/engine.hpp"

using namespace bench;

struct Threads {
    unsigned count;
    static void run(void *context, unsigned task_count, void (*task)(void *, unsigned), void *argument) {
        std::atomic<unsigned> next{0};
        auto work = [&] {
            for (unsigned i; (i = next.fetch_add(1)) < task_count;)
                task(argument, i);
        };
        std::vector<std::thread> helpers;
        for (unsigned i = 1; i < static_cast<Threads *>(context)->count && i < task_count; i++)
            helpers.emplace_back(work);
        work();
        for (std::thread &helper : helpers)
            helper.join();
    }
};

template <typename Engine>
static double recall_at(Engine &engine, const Dataset &data, uint32_t ef, const std::vector<double> &least) {
    uint32_t found[kNeighbours];
    double sum = 0;
    for (uint32_t q = 0; q < data.queries; q++) {
        uint32_t count = engine.search(data.query_at(q), kNeighbours, ef, found);
        sum += recall_of(data, data.query_at(q), found, count, least[q]);
    }
    return sum / data.queries;
}

static void measure(const Dataset &data, Report &report) {
    const std::vector<double> least = thresholds(data);
    const unsigned slices = 3;
    Peer peer(data);
    std::vector<double> ours;
    double their_seconds = 0, our_recall = 0;
    for (unsigned slice = 0; slice < slices; slice++) {
        double start = thread_seconds();
        peer.add(uint32_t(uint64_t(data.rows) * slice / slices), uint32_t(uint64_t(data.rows) * (slice + 1) / slices));
        their_seconds += thread_seconds() - start;
        Velta velta(data);
        velta.fill_column();
        start = thread_seconds();
        velta.link();
        ours.push_back(thread_seconds() - start);
        if (slice == 0) our_recall = recall_at(velta, data, 64, least);
    }
    peer.save();
    report.add({data.name + " M 16, ef_construction 100", "rows/s", data.rows / median(ours), data.rows / their_seconds,
                3.5, our_recall, recall_at(peer, data, 64, least), "recall at ef 64"});
    double passed[2];
    for (unsigned threads = 1; threads <= 2; threads++) {
        Velta velta(data);
        velta.fill_column();
        Threads pool{threads};
        velta_executor executor = {&pool, threads, Threads::run};
        double start = wall_seconds();
        velta.link(threads > 1 ? &executor : nullptr);
        passed[threads - 1] = wall_seconds() - start;
    }
    char note[64];
    std::snprintf(note, sizeof note, "%.2f x one thread", passed[0] / passed[1]);
    report.add({data.name + " two threads", "rows/s", data.rows / passed[1], 0, 0, -1, -1, note});
}

int main(int count, char **arguments) {
    try {
        Report report("build", count > 1 ? arguments[1] : nullptr);
        std::string only = count > 2 ? arguments[2] : "";
        if (only.empty() || only == "debpkg") measure(load_debpkg(), report);
        if (only.empty() || only == "clustered") measure(make_clustered(), report);
    } catch (const std::exception &failure) {
        std::fprintf(stderr, "build: %s\n", failure.what());
        return 1;
    }
    return 0;
}
