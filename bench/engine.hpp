/*
 * The two engines side by side: velta's index (its objects linked in whole, so the index is measured without the
 * store above it) and hnswlib, both over the same unit vectors, M 16 and ef_construction 100.
 *
 * The peer is Debian's hnswlib 0.6.2 compiled for this machine with its AVX-512 kernels. Its graph is built by one
 * thread in row order, which is deterministic, and kept in $VELTA_BUILD/bench so that each program need not build it.
 */
#ifndef VELTA_BENCH_ENGINE_HPP
#define VELTA_BENCH_ENGINE_HPP

#include "bench/data.hpp"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wreorder"
#pragma GCC diagnostic ignored "-Wsign-compare"
#include <hnswlib/hnswlib.h>
#pragma GCC diagnostic pop

#include <memory>
#include <time.h>

extern "C" {
#include "core/column.h"
#include "core/memory.h"
#include "hnsw/hnsw.h"
#include "simd/simd.h"
}

namespace bench {

constexpr uint32_t kM = 16, kEfConstruction = 100;

/* One thread's own time: what else runs on the machine disturbs it least. */
inline double thread_seconds() {
    timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}
inline double wall_seconds() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}
inline uint64_t clock_ns(void *) {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return uint64_t(now.tv_sec) * 1000000000u + uint64_t(now.tv_nsec);
}

inline double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    size_t half = values.size() / 2;
    return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

inline void must(enum velta_status status, const struct velta_error &error, const char *what) {
    if (status == VELTA_OK) return;
    throw std::runtime_error(std::string(what) + ": " + error.text);
}

/* hnsw_create to hnsw_link over one f32 column. */
class Velta {
  public:
    explicit Velta(const Dataset &data, enum velta_element element = VELTA_F32) : data_(data) {
        velta_error error = {};
        memory_ = memory_create(nullptr, uint64_t(4) << 30);
        simd_ = simd_select(std::getenv("VELTA_SIMD"));
        velta_column spec = {};
        spec.name = "vector";
        spec.type = VELTA_VECTOR;
        spec.dimensions = data.dimensions;
        spec.element = element;
        spec.metric = VELTA_COSINE;
        must(column_create(memory_, &spec, 0, &column_, &error), error, "column_create");
        hnsw_options options = {};
        options.dimensions = data.dimensions;
        options.metric = VELTA_COSINE;
        options.m = kM;
        options.ef_construction = kEfConstruction;
        options.seed = 1;
        options.clock_ns = clock_ns;
        must(hnsw_create(memory_, simd_, column_, &options, &index_, &error), error, "hnsw_create");
    }
    ~Velta() {
        hnsw_destroy(index_);
        column_destroy(column_);
        memory_destroy(memory_);
    }
    Velta(const Velta &) = delete;
    Velta &operator=(const Velta &) = delete;

    /* Rows into the column: not a part of the index's work. */
    void fill_column() {
        velta_error error = {};
        const uint32_t batch = 4096;
        for (uint32_t first = 0; first < data_.rows; first += batch) {
            uint32_t count = std::min(batch, data_.rows - first);
            column_values values = {};
            values.data = data_.row(first);
            values.element = VELTA_F32;
            must(column_reserve_append(column_, &values, first, count, &error), error, "column_reserve_append");
            column_append(column_, &values, first, count);
        }
    }
    void link(const velta_executor *executor = nullptr) {
        velta_error error = {};
        must(hnsw_reserve(index_, data_.rows, data_.rows, &error), error, "hnsw_reserve");
        for (uint32_t row = 0; row < data_.rows; row++)
            hnsw_add(index_, row, data_.row(row));
        uint64_t pending = 1;
        while (pending != 0)
            must(hnsw_link(index_, UINT64_MAX, executor, nullptr, &pending, &error), error, "hnsw_link");
    }
    void calibrate() {
        velta_error error = {};
        must(hnsw_calibrate(index_, &error), error, "hnsw_calibrate");
    }
    /* Returns how many rows were written to `rows` (room for k). */
    uint32_t search(const float *query, uint32_t k, uint32_t ef, uint32_t *rows, const uint64_t *bits = nullptr,
                    uint64_t bits_count = 0, hnsw_report *report = nullptr, bool exact = false) {
        velta_error error = {};
        hnsw_query ask = {};
        ask.vector = query;
        ask.k = k;
        ask.ef = ef;
        ask.exact = exact;
        ask.rows = bits;
        ask.rows_count = bits_count;
        uint32_t count = 0;
        distances_.resize(k);
        must(hnsw_search(index_, &ask, rows, distances_.data(), &count, report, &error), error, "hnsw_search");
        return count;
    }
    struct hnsw *index() {
        return index_;
    }
    const char *kernels() const { return simd_->name; }
    hnsw_stats stats() const {
        hnsw_stats stats;
        hnsw_get_stats(index_, &stats);
        return stats;
    }

  private:
    const Dataset &data_;
    struct memory *memory_ = nullptr;
    const struct simd_kernels *simd_ = nullptr;
    struct column *column_ = nullptr;
    struct hnsw *index_ = nullptr;
    std::vector<float> distances_;
};

class Peer {
  public:
    explicit Peer(const Dataset &data) : data_(data), space_(data.dimensions) {}
    void build(uint32_t rows) {
        make(data_.rows);
        for (uint32_t row = 0; row < rows; row++)
            graph_->addPoint(data_.row(row), row);
    }
    void add(uint32_t first, uint32_t end) {
        if (!graph_) make(data_.rows);
        for (uint32_t row = first; row < end; row++)
            graph_->addPoint(data_.row(row), row);
    }
    static std::string kept_path(const Dataset &data) {
        const char *build = std::getenv("VELTA_BUILD");
        return std::string(build && *build ? build : "build") + "/bench/hnswlib-" + data.name + ".graph";
    }
    void save() { graph_->saveIndex(kept_path(data_)); }
    /* From the kept graph, or built and kept. */
    void load_or_build() {
        if (std::ifstream(kept_path(data_)).good()) {
            graph_.reset(new hnswlib::HierarchicalNSW<float>(&space_, kept_path(data_)));
            return;
        }
        build(data_.rows);
        save();
    }
    uint32_t search(const float *query, uint32_t k, uint32_t ef, uint32_t *rows) {
        graph_->setEf(ef);
        auto found = graph_->searchKnn(query, k);
        uint32_t count = uint32_t(found.size());
        for (; !found.empty(); found.pop())
            rows[found.size() - 1] = uint32_t(found.top().second);
        return count;
    }
    /*
     * 0.6.2 has no filter functor. Its marks of deleted rows are what later versions' functor does in the same place
     * of the same loop, without the call: rows that do not match are marked, outside the time measured.
     */
    void set_filter(const std::vector<uint32_t> *matching) {
        if (filtered_)
            for (uint32_t row = 0; row < data_.rows; row++)
                if (graph_->isMarkedDeleted(row)) graph_->unmarkDeletedInternal(row);
        filtered_ = matching != nullptr;
        if (!matching) return;
        size_t at = 0;
        for (uint32_t row = 0; row < data_.rows; row++) {
            if (at < matching->size() && (*matching)[at] == row)
                at++;
            else
                graph_->markDeletedInternal(row);
        }
    }

  private:
    void make(uint32_t capacity) {
        graph_.reset(new hnswlib::HierarchicalNSW<float>(&space_, capacity, kM, kEfConstruction));
    }
    const Dataset &data_;
    hnswlib::InnerProductSpace space_;
    std::unique_ptr<hnswlib::HierarchicalNSW<float>> graph_;
    bool filtered_ = false;
};

/* One measured question: printed as a line of the table and kept as an object of results.json. */
struct Row {
    std::string what, unit;
    double velta = 0, peer = 0; /* peer 0: none measured */
    double target = 0;          /* of the ratio; 0: none */
    double velta_recall = -1, peer_recall = -1;
    std::string note;
};

class Report {
  public:
    Report(const char *question, const char *path) : question_(question), path_(path ? path : "") {
        std::printf("%-46s %12s %12s %7s %7s  %s\n", question, "velta", "hnswlib", "ratio", "target", "recall");
    }
    void add(const Row &row) {
        rows_.push_back(row);
        std::printf("%-46s %12.0f ", row.what.c_str(), row.velta);
        if (row.peer > 0)
            std::printf("%12.0f %7.2f ", row.peer, row.velta / row.peer);
        else
            std::printf("%12s %7s ", "-", "-");
        row.target > 0 ? std::printf("%7.2f  ", row.target) : std::printf("%7s  ", "-");
        if (row.velta_recall >= 0) std::printf("%.4f", row.velta_recall);
        if (row.peer_recall >= 0) std::printf(" / %.4f", row.peer_recall);
        std::printf("  %s%s%s\n", row.unit.c_str(), row.note.empty() ? "" : ", ", row.note.c_str());
        std::fflush(stdout);
    }
    ~Report() {
        if (path_.empty()) return;
        std::FILE *file = std::fopen(path_.c_str(), "w");
        if (!file) return;
        std::fprintf(file, "{\"question\": \"%s\", \"rows\": [", question_.c_str());
        for (size_t i = 0; i < rows_.size(); i++) {
            const Row &row = rows_[i];
            std::fprintf(file, "%s\n  {\"what\": \"%s\", \"unit\": \"%s\", \"velta\": %.6g", i ? "," : "",
                         row.what.c_str(), row.unit.c_str(), row.velta);
            if (row.peer > 0)
                std::fprintf(file, ", \"hnswlib\": %.6g, \"ratio\": %.4g", row.peer, row.velta / row.peer);
            if (row.target > 0) std::fprintf(file, ", \"target_ratio\": %.4g", row.target);
            if (row.velta_recall >= 0) std::fprintf(file, ", \"velta_recall\": %.5g", row.velta_recall);
            if (row.peer_recall >= 0) std::fprintf(file, ", \"hnswlib_recall\": %.5g", row.peer_recall);
            if (!row.note.empty()) std::fprintf(file, ", \"note\": \"%s\"", row.note.c_str());
            std::fprintf(file, "}");
        }
        std::fprintf(file, "\n]}\n");
        std::fclose(file);
    }

  private:
    std::string question_, path_;
    std::vector<Row> rows_;
};

} // namespace bench

#endif
