/* See the header for the form. Encoding is a table look-up a byte; decoding one of PLANE_MAX_LENGTH bits a byte. */
#include "delta/plane_code.h"

#include <string.h>

#include "core/bytes.h"

void plane_count(const uint8_t *bytes, size_t size_bytes, uint32_t counts[256]) {
    /* Eight tables, so that equal neighbours do not wait for each other. */
    uint32_t tables[8][256] = {{0}};
    size_t i = 0;
    for (; i + 8 <= size_bytes; i += 8) {
        uint64_t eight = bytes_get_u64(bytes + i);
        for (size_t k = 0; k < 8; k++) {
            tables[k][(uint8_t)(eight >> 8 * k)]++;
        }
    }
    for (; i < size_bytes; i++) {
        tables[0][bytes[i]]++;
    }
    for (int value = 0; value < 256; value++) {
        counts[value] = 0;
        for (size_t k = 0; k < 8; k++) {
            counts[value] += tables[k][value];
        }
    }
}

/* Symbols by count, then by value, ascending: runs of doubling length are merged. Returns how many occur. */
static unsigned sort_symbols(const uint32_t counts[256], uint8_t symbols[256]) {
    uint64_t keys[2][256]; /* count << 8 | value */
    unsigned used = 0;
    unsigned from = 0;
    for (unsigned value = 0; value < 256; value++) {
        if (counts[value] > 0) keys[0][used++] = (uint64_t)counts[value] << 8 | value;
    }
    for (unsigned run = 1; run < used; run *= 2, from ^= 1) {
        for (unsigned first = 0; first < used; first += 2 * run) {
            unsigned left = first;
            unsigned middle = first + run < used ? first + run : used;
            unsigned right = middle;
            unsigned end = first + 2 * run < used ? first + 2 * run : used;
            for (unsigned at = first; at < end; at++) {
                bool take_left = left < middle && (right == end || keys[from][left] < keys[from][right]);
                keys[from ^ 1][at] = keys[from][take_left ? left++ : right++];
            }
        }
    }
    for (unsigned i = 0; i < used; i++) {
        symbols[i] = (uint8_t)keys[from][i];
    }
    return used;
}

/* Depths of the leaves of Huffman's tree over ascending weights: two queues, leaves and made nodes. */
static void huffman_depths(const uint32_t counts[256], const uint8_t *symbols, unsigned used, unsigned depths[256]) {
    uint64_t weights[511];
    uint16_t parents[511] = {0};
    unsigned leaf = 0;
    unsigned node = used;
    unsigned end = used;
    unsigned node_depths[511];
    for (unsigned i = 0; i < used; i++) {
        weights[i] = counts[symbols[i]];
    }
    while (end < 2 * used - 1) {
        weights[end] = 0;
        for (int child = 0; child < 2; child++) {
            bool take_leaf = leaf < used && (node == end || weights[leaf] <= weights[node]);
            unsigned taken = take_leaf ? leaf++ : node++;
            weights[end] += weights[taken];
            parents[taken] = (uint16_t)end;
        }
        end++;
    }
    node_depths[end - 1] = 0;
    for (unsigned i = end - 1; i-- > 0;) {
        node_depths[i] = node_depths[parents[i]] + 1;
    }
    memcpy(depths, node_depths, used * sizeof *depths);
}

/* No length above the limit, and the Kraft sum exactly one again. */
static void limit_depths(unsigned used, unsigned depths[256]) {
    const uint32_t one = 1u << PLANE_MAX_LENGTH;
    uint32_t sum = 0;
    for (unsigned i = 0; i < used; i++) {
        if (depths[i] > PLANE_MAX_LENGTH) depths[i] = PLANE_MAX_LENGTH;
        sum += one >> depths[i];
    }
    /* Lengthen the rarest that can be lengthened, */
    for (unsigned i = 0; sum > one; i = i + 1 < used ? i + 1 : 0) {
        if (depths[i] == PLANE_MAX_LENGTH) continue;
        sum -= one >> depths[i];
        depths[i]++;
        sum += one >> depths[i];
    }
    /* then shorten the most frequent as long as there is room. */
    for (unsigned i = used; i-- > 0;) {
        while (depths[i] > 1 && sum + (one >> depths[i]) <= one) {
            sum += one >> depths[i];
            depths[i]--;
        }
    }
}

/* Codes from lengths; false: the lengths are not those of a whole code. */
static bool assign_codes(struct plane_code *code) {
    uint32_t starts[PLANE_MAX_LENGTH + 2] = {0};
    unsigned used = 0;
    for (unsigned value = code->low; value <= code->high; value++) {
        if (code->lengths[value] > PLANE_MAX_LENGTH) return false;
        if (code->lengths[value] == 0) continue;
        starts[code->lengths[value] + 1]++;
        used++;
    }
    uint32_t next = 0;
    for (unsigned length = 1; length <= PLANE_MAX_LENGTH; length++) {
        uint32_t count = starts[length + 1];
        next <<= 1;
        starts[length] = next;
        next += count;
        if (next > 1u << length) return false;
    }
    bool whole = next == 1u << PLANE_MAX_LENGTH || (used == 1 && code->lengths[code->low] == 1);
    if (!whole) return false;
    for (unsigned value = code->low; value <= code->high; value++) {
        unsigned length = code->lengths[value];
        if (length == 0) continue;
        uint32_t forward = starts[length]++;
        uint32_t reversed = 0;
        for (unsigned bit = 0; bit < length; bit++) {
            reversed |= (forward >> bit & 1) << (length - 1 - bit);
        }
        code->codes[value] = (uint16_t)reversed;
    }
    return true;
}

static size_t head_bytes(unsigned low, unsigned high) {
    return 2 + (high - low + 2) / 2;
}

uint64_t plane_code_make(struct plane_code *code, const uint32_t counts[256]) {
    uint8_t symbols[256];
    unsigned depths[256];
    uint64_t bits = 0;
    unsigned used = sort_symbols(counts, symbols);
    memset(code, 0, sizeof *code);
    code->low = 255;
    for (unsigned value = 0; value < 256; value++) {
        if (counts[value] == 0) continue;
        if (value < code->low) code->low = (uint8_t)value;
        code->high = (uint8_t)value;
    }
    if (used == 1) {
        depths[0] = 1;
    } else {
        huffman_depths(counts, symbols, used, depths);
        limit_depths(used, depths);
    }
    for (unsigned i = 0; i < used; i++) {
        code->lengths[symbols[i]] = (uint8_t)depths[i];
        bits += (uint64_t)depths[i] * counts[symbols[i]];
    }
    (void)assign_codes(code); /* whole by construction */
    code->coded_bytes = head_bytes(code->low, code->high) + (bits + 7) / 8;
    return code->coded_bytes;
}

void plane_encode(const struct plane_code *code, const uint8_t *bytes, size_t size_bytes, uint8_t *out) {
    uint64_t pending = 0;
    unsigned pending_bits = 0;
    uint8_t *head = out;
    out += head_bytes(code->low, code->high);
    memset(head, 0, (size_t)(out - head));
    head[0] = code->low;
    head[1] = code->high;
    for (unsigned value = code->low; value <= code->high; value++) {
        unsigned at = value - code->low;
        head[2 + at / 2] |= (uint8_t)(code->lengths[value] << (at % 2 * 4));
    }
    uint32_t table[256]; /* length << 16 | code */
    for (unsigned value = 0; value < 256; value++) {
        table[value] = (uint32_t)code->lengths[value] << 16 | code->codes[value];
    }
    size_t i = 0;
    const uint8_t *end = head + code->coded_bytes;
    for (; i + 5 <= size_bytes && end - out >= 8; i += 5) { /* 5 codes of at most 11 bits after at most 7 that wait */
        for (size_t k = 0; k < 5; k++) {
            uint32_t entry = table[bytes[i + k]];
            pending |= (uint64_t)(entry & 0xFFFF) << pending_bits;
            pending_bits += entry >> 16;
        }
        bytes_put_u64(out, pending);
        out += pending_bits / 8;
        pending >>= pending_bits / 8 * 8;
        pending_bits %= 8;
    }
    for (; i < size_bytes; i++) {
        pending |= (uint64_t)code->codes[bytes[i]] << pending_bits;
        for (pending_bits += code->lengths[bytes[i]]; pending_bits >= 8; pending_bits -= 8) {
            *out++ = (uint8_t)pending;
            pending >>= 8;
        }
    }
    if (pending_bits > 0) *out = (uint8_t)pending;
}

/*
 * length << 8 | value for every possible run of PLANE_MAX_LENGTH bits. The code of a lone value covers half of the
 * runs; the other half gets the value, too, and the bits are checked to be zero afterwards.
 */
static bool read_table(const uint8_t *coded, size_t coded_bytes, uint16_t table[1 << PLANE_MAX_LENGTH], size_t *used) {
    struct plane_code code = {0};
    if (coded_bytes < 3) return false;
    code.low = coded[0];
    code.high = coded[1];
    if (code.low > code.high || head_bytes(code.low, code.high) > coded_bytes) return false;
    for (unsigned value = code.low; value <= code.high; value++) {
        unsigned at = value - code.low;
        code.lengths[value] = coded[2 + at / 2] >> (at % 2 * 4) & 15;
    }
    bool odd = (code.high - code.low) % 2 == 0;
    *used = head_bytes(code.low, code.high);
    if (odd && coded[*used - 1] >> 4 != 0) return false;
    if (code.lengths[code.low] == 0 || code.lengths[code.high] == 0 || !assign_codes(&code)) return false;
    for (unsigned value = code.low; value <= code.high; value++) {
        unsigned length = code.lengths[value];
        if (length == 0) continue;
        unsigned step = code.low == code.high ? 1 : 1u << length;
        for (unsigned bits = code.codes[value]; bits < 1u << PLANE_MAX_LENGTH; bits += step) {
            table[bits] = (uint16_t)(length << 8 | value);
        }
    }
    return true;
}

bool plane_decode(const uint8_t *coded, size_t coded_bytes, uint8_t *out, size_t size_bytes) {
    uint16_t table[1 << PLANE_MAX_LENGTH];
    const uint32_t mask = (1u << PLANE_MAX_LENGTH) - 1;
    uint64_t pending = 0;
    unsigned pending_bits = 0;
    size_t done = 0;
    size_t at;
    if (!read_table(coded, coded_bytes, table, &at)) return false;
    bool lone = coded[0] == coded[1];
    for (size_t i = at; lone && i < coded_bytes; i++) {
        if (coded[i] != 0) return false;
    }
    while (coded_bytes - at >= 8 && size_bytes - done >= 5) {
        /* Refill to at least 56 bits: whole bytes are counted, more may be loaded and are loaded again the same. */
        pending |= bytes_get_u64(coded + at) << pending_bits;
        at += (63 - pending_bits) / 8;
        pending_bits |= 56;
        for (int k = 0; k < 5; k++) {
            unsigned entry = table[pending & mask];
            out[done++] = (uint8_t)entry;
            pending >>= entry >> 8;
            pending_bits -= entry >> 8;
        }
    }
    pending &= (UINT64_C(1) << pending_bits) - 1;
    for (; done < size_bytes; done++) {
        while (pending_bits < PLANE_MAX_LENGTH && at < coded_bytes) {
            pending |= (uint64_t)coded[at++] << pending_bits;
            pending_bits += 8;
        }
        unsigned entry = table[pending & mask];
        if (entry >> 8 > pending_bits) return false;
        out[done] = (uint8_t)entry;
        pending >>= entry >> 8;
        pending_bits -= entry >> 8;
    }
    return at == coded_bytes && pending_bits < 8 && pending == 0;
}
