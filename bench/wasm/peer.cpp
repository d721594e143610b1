/*
 * Native hnswlib as a process that answers one line at a time, so that a measurement in JavaScript can alternate with
 * it, and what both sides measure on: the data set, the judged thresholds, the filters.
 *
 *   dump FOLDER         base.f32, query.f32, least.f64; answers rows, queries, dimensions
 *   ranks QUERIES FILE  u32 [query][row]: the row's place among all by similarity, nearest first
 *   case SHARE PLACE FOLDER  a filter (indexes of cases.hpp): least.f64, and rows.u32 of its first query; answers the
 *                       number of queries of a case and of those that the peer is asked
 *   load                the graph, built if it was not kept
 *   search EF FIRST END answers the seconds, then ten row numbers a query
 *   start, add FIRST END  a new graph; answers the seconds
 *   filtered EF         the last case: answers seconds a query and recall
 *
 * Seconds are those of this process's thread. usage: peer DATASET
 */
#include <iostream>
#include <sstream>

#include "bench/cases.hpp"

using namespace bench;

template <typename T> static void write_file(const std::string &path, const T *values, size_t count) {
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char *>(values), std::streamsize(count * sizeof(T)));
    if (!file) throw std::runtime_error("cannot write " + path);
}

class Answers {
  public:
    explicit Answers(const std::string &name) : data_(name == "debpkg" ? load_debpkg() : make_clustered()) {
        peer_ = std::make_unique<Peer>(data_);
    }

    std::string line(std::istringstream &words) {
        std::string verb;
        std::ostringstream out;
        out.precision(12);
        words >> verb;
        if (verb == "dump") {
            dump(words, out);
        } else if (verb == "ranks") {
            ranks(words);
        } else if (verb == "case") {
            make_case(words, out);
        } else if (verb == "load") {
            peer_->load_or_build();
        } else if (verb == "search") {
            search(words, out);
        } else if (verb == "start") {
            peer_ = std::make_unique<Peer>(data_);
        } else if (verb == "add") {
            uint32_t first = 0, end = 0;
            words >> first >> end;
            double start = thread_seconds();
            peer_->add(first, end);
            out << thread_seconds() - start;
        } else if (verb == "filtered") {
            uint32_t ef = 0;
            double recall = 0;
            words >> ef;
            double seconds = peer_round(*peer_, data_, case_, ef, &recall);
            out << seconds << ' ' << recall;
        } else {
            throw std::runtime_error("no such command: " + verb);
        }
        return out.str();
    }

  private:
    void dump(std::istringstream &words, std::ostringstream &out) {
        std::string folder;
        words >> folder;
        write_file(folder + "/base.f32", data_.base.data(), data_.base.size());
        write_file(folder + "/query.f32", data_.query.data(), data_.query.size());
        const std::vector<double> least = thresholds(data_);
        write_file(folder + "/least.f64", least.data(), least.size());
        out << data_.rows << ' ' << data_.queries << ' ' << data_.dimensions;
    }
    const float *similarities(uint32_t query) {
        if (similarities_.empty()) similarities_ = case_similarities(data_);
        return &similarities_[size_t(query) * data_.rows];
    }
    void ranks(std::istringstream &words) {
        uint32_t count = 0;
        std::string path;
        words >> count >> path;
        std::vector<uint32_t> order(data_.rows), all;
        for (uint32_t q = 0; q < count; q++) {
            const float *of_query = similarities(q);
            std::iota(order.begin(), order.end(), 0u);
            std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
                return of_query[a] > of_query[b] || (of_query[a] == of_query[b] && a < b);
            });
            all.resize(all.size() + data_.rows);
            for (uint32_t i = 0; i < data_.rows; i++)
                all[size_t(q) * data_.rows + order[i]] = i;
        }
        write_file(path, all.data(), all.size());
    }
    void make_case(std::istringstream &words, std::ostringstream &out) {
        size_t share = 0, place = 0;
        std::string folder;
        words >> share >> place >> folder;
        similarities(0);
        case_ = prepare(data_, similarities_, Place(place), uint32_t(kShares[share] * data_.rows));
        write_file(folder + "/least.f64", case_.least.data(), case_.least.size());
        write_file(folder + "/rows.u32", case_.at(0).rows.data(), case_.at(0).rows.size());
        out << kQueries << ' ' << kPeerQueries;
    }
    void search(std::istringstream &words, std::ostringstream &out) {
        uint32_t ef = 0, first = 0, end = 0;
        words >> ef >> first >> end;
        std::vector<uint32_t> found(size_t(end - first) * kNeighbours);
        double start = thread_seconds();
        for (uint32_t q = first; q < end; q++)
            peer_->search(data_.query_at(q), kNeighbours, ef, &found[size_t(q - first) * kNeighbours]);
        out << thread_seconds() - start;
        for (uint32_t row : found)
            out << ' ' << row;
    }

    Dataset data_;
    std::unique_ptr<Peer> peer_;
    Case case_;
    std::vector<float> similarities_;
};

int main(int count, char **arguments) {
    try {
        Answers answers(count > 1 ? arguments[1] : "debpkg");
        for (std::string text; std::getline(std::cin, text);) {
            std::istringstream words(text);
            std::cout << answers.line(words) << std::endl;
        }
    } catch (const std::exception &failure) {
        std::fprintf(stderr, "peer: %s\n", failure.what());
        return 1;
    }
    return 0;
}
