/*
 * Shared helpers of the test programs; see the header. May call malloc: nothing of the engine is here.
 */
#define _POSIX_C_SOURCE 200809L
#define _XOPEN_SOURCE 700

#include "tests/support/support.h"

#include <ftw.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- random numbers */

static uint64_t splitmix64(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static uint64_t rotate_left(uint64_t x, unsigned bits) {
    return (x << bits) | (x >> (64 - bits));
}

struct random random_seeded(uint64_t seed) {
    struct random random;
    for (int i = 0; i < 4; i++)
        random.state[i] = splitmix64(&seed);
    return random;
}

uint64_t random_u64(struct random *random) {
    uint64_t *s = random->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t random_below(struct random *random, uint64_t limit) {
    assert_true(limit > 0);
    /* Numbers below 2^64 mod limit would make the small remainders likelier. */
    uint64_t threshold = (UINT64_MAX - limit + 1) % limit;
    uint64_t x;
    do
        x = random_u64(random);
    while (x < threshold);
    return x % limit;
}

int64_t random_between(struct random *random, int64_t low, int64_t high) {
    assert_true(low <= high);
    uint64_t span = (uint64_t)high - (uint64_t)low;
    uint64_t x = span == UINT64_MAX ? random_u64(random) : random_below(random, span + 1);
    return (int64_t)((uint64_t)low + x);
}

double random_unit(struct random *random) {
    return (double)(random_u64(random) >> 11) * 0x1p-53;
}

float random_gauss(struct random *random) {
    /* The sum of twelve uniforms (Irwin-Hall): no libm, so the same bits on every machine. */
    double sum = -6.0;
    for (int i = 0; i < 12; i++)
        sum += random_unit(random);
    return (float)sum;
}

bool random_chance(struct random *random, unsigned percent) {
    return random_below(random, 100) < percent;
}

void random_bytes(struct random *random, void *bytes, size_t size_bytes) {
    uint8_t *out = bytes;
    for (size_t i = 0; i < size_bytes; i += 8) {
        uint64_t x = random_u64(random);
        memcpy(out + i, &x, size_bytes - i < 8 ? size_bytes - i : 8);
    }
}

void random_vector(struct random *random, float *vector, size_t n) {
    for (size_t i = 0; i < n; i++)
        vector[i] = random_gauss(random);
}

void random_unit_vector(struct random *random, float *vector, size_t n) {
    double sum = 0;
    while (n > 0 && sum == 0) {
        random_vector(random, vector, n);
        for (size_t i = 0; i < n; i++)
            sum += (double)vector[i] * vector[i];
    }
    double factor = 1 / sqrt(sum);
    for (size_t i = 0; i < n; i++)
        vector[i] = (float)(vector[i] * factor);
}

void random_shuffle(struct random *random, uint32_t *order, size_t n) {
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)random_below(random, i);
        uint32_t other = order[j];
        order[j] = order[i - 1];
        order[i - 1] = other;
    }
}

size_t test_rounds(size_t normal) {
    const char *soak = getenv("VELTA_SOAK");
    if (soak == NULL || soak[0] == '\0') return normal;
    unsigned long factor = strtoul(soak, NULL, 10);
    return normal * (factor > 1 ? factor : 100);
}

/* ---- allocator */

/* Kept before each block, so that a release with another size or alignment is caught. */
struct block_head {
    size_t size_bytes;
    size_t alignment;
    void *base;
    uint64_t magic;
};
#define BLOCK_MAGIC UINT64_C(0x76656c7461626c6b)

static void *counting_allocate(void *context, size_t size_bytes, size_t alignment) {
    struct test_allocator *self = context;
    assert_true(size_bytes > 0);
    assert_true(alignment > 0 && (alignment & (alignment - 1)) == 0);
    self->allocation_count++;
    if (self->fail_at != 0 && (self->allocation_count == self->fail_at ||
                               (self->fail_from_then_on && self->allocation_count > self->fail_at))) {
        self->refused_count++;
        return NULL;
    }
    if (alignment < sizeof(struct block_head)) alignment = sizeof(struct block_head);
    if (size_bytes > SIZE_MAX / 2 - 2 * alignment) return NULL;
    uint8_t *base = malloc(size_bytes + 2 * alignment);
    if (base == NULL) return NULL;
    uintptr_t start = ((uintptr_t)base + sizeof(struct block_head) + alignment - 1) & ~((uintptr_t)alignment - 1);
    uint8_t *block = base + (start - (uintptr_t)base);
    struct block_head head = {size_bytes, alignment, base, BLOCK_MAGIC};
    memcpy(block - sizeof head, &head, sizeof head);
    memset(block, 0xA5, size_bytes < 65536 ? size_bytes : 65536); /* new memory is not zero */
    self->live_count++;
    self->live_bytes += size_bytes;
    if (self->live_bytes > self->peak_bytes) self->peak_bytes = self->live_bytes;
    return block;
}

static void counting_release(void *context, void *memory, size_t size_bytes, size_t alignment) {
    struct test_allocator *self = context;
    assert_non_null(memory);
    struct block_head head;
    memcpy(&head, (uint8_t *)memory - sizeof head, sizeof head);
    if (alignment < sizeof(struct block_head)) alignment = sizeof(struct block_head);
    assert_true(head.magic == BLOCK_MAGIC);
    assert_int_equal(head.size_bytes, size_bytes);
    assert_int_equal(head.alignment, alignment);
    assert_true(self->live_count > 0 && self->live_bytes >= size_bytes);
    self->live_count--;
    self->live_bytes -= size_bytes;
    head.magic = 0;
    memcpy((uint8_t *)memory - sizeof head, &head, sizeof head);
    free(head.base);
}

void test_allocator_init(struct test_allocator *self) {
    *self = (struct test_allocator){.allocator = {self, counting_allocate, counting_release}};
}

void test_allocator_arm(struct test_allocator *self, uint64_t fail_at, bool from_then_on) {
    self->allocation_count = 0;
    self->refused_count = 0;
    self->fail_at = fail_at;
    self->fail_from_then_on = from_then_on;
}

void test_allocator_check_empty(const struct test_allocator *self) {
    if (self->live_count != 0)
        print_error("%" PRIu64 " blocks (%" PRIu64 " bytes) were not released\n", self->live_count, self->live_bytes);
    assert_int_equal(self->live_count, 0);
    assert_int_equal(self->live_bytes, 0);
}

void test_allocator_rearm(struct test_allocator *self) {
    test_allocator_arm(self, self->planned_fail_at, self->planned_from_then_on);
}

void test_allocator_disarm(struct test_allocator *self) {
    self->fail_at = 0;
}

uint64_t test_every_allocation_fails(struct test_allocator *self, test_attempt *attempt, void *context) {
    uint64_t runs = 0;
    for (int from_then_on = 0; from_then_on <= 1; from_then_on++) {
        for (uint64_t fail_at = 1;; fail_at++) {
            self->planned_fail_at = fail_at;
            self->planned_from_then_on = from_then_on != 0;
            self->refused_count = 0;
            bool succeeded = attempt(self, context);
            runs++;
            test_allocator_check_empty(self);
            if (self->refused_count == 0) {
                if (!succeeded) fail_msg("fails without a refused allocation (after %" PRIu64 " runs)", runs);
                break;
            }
        }
    }
    self->planned_fail_at = 0;
    return runs;
}

/* ---- files */

static char *folders[64]; /* to be removed at exit */
static size_t folder_count;
static char *paths[4096];
static size_t path_count;

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk) {
    (void)status, (void)type, (void)walk;
    return remove(path);
}

static void remove_folders(void) {
    for (size_t i = 0; i < folder_count; i++) {
        (void)nftw(folders[i], remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        free(folders[i]);
    }
    for (size_t i = 0; i < path_count; i++)
        free(paths[i]);
    folder_count = path_count = 0;
}

static void remember_cleaning(void) {
    if (folder_count == 0 && path_count == 0) assert_int_equal(atexit(remove_folders), 0);
}

static char *format_path(const char *folder, const char *name) {
    size_t room = strlen(folder) + strlen(name) + 2;
    char *path = malloc(room);
    assert_non_null(path);
    (void)snprintf(path, room, "%s/%s", folder, name);
    return path;
}

const char *test_folder(void) {
    const char *parent = getenv("TMPDIR");
    char *path = format_path(parent != NULL && parent[0] != '\0' ? parent : "/tmp", "velta-test-XXXXXX");
    assert_non_null(mkdtemp(path));
    assert_true(folder_count < sizeof folders / sizeof folders[0]);
    remember_cleaning();
    folders[folder_count++] = path;
    return path;
}

const char *test_path(const char *folder, const char *name) {
    assert_true(path_count < sizeof paths / sizeof paths[0]);
    remember_cleaning();
    return paths[path_count++] = format_path(folder, name);
}

void test_write_file(const char *path, const void *bytes, size_t size_bytes) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size_bytes, file), size_bytes);
    assert_int_equal(fclose(file), 0);
}

uint8_t *test_read_file(const char *path, size_t *size_bytes) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long size = ftell(file);
    assert_true(size >= 0);
    rewind(file);
    uint8_t *bytes = malloc(size > 0 ? (size_t)size : 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, (size_t)size, file), size);
    assert_int_equal(fclose(file), 0);
    *size_bytes = (size_t)size;
    return bytes;
}

/* ---- messages */

static void print_line(const uint8_t *bytes, size_t from, size_t size_bytes) {
    char line[16 * 3 + 1];
    for (size_t i = 0; i < 16; i++) {
        if (from + i < size_bytes)
            (void)snprintf(line + 3 * i, 4, " %02x", bytes[from + i]);
        else
            line[3 * i] = '\0';
    }
    print_message("  %06zx%s\n", from, line);
}

void test_hexdump(const char *title, const void *bytes, size_t size_bytes) {
    print_message("%s: %zu bytes\n", title, size_bytes);
    for (size_t from = 0; from < size_bytes && from < 512; from += 16)
        print_line(bytes, from, size_bytes);
}

void test_assert_bytes(const void *actual, const void *expected, size_t size_bytes, const char *what) {
    const uint8_t *a = actual, *b = expected;
    size_t first = 0;
    while (first < size_bytes && a[first] == b[first])
        first++;
    if (first == size_bytes) return;
    size_t from = first & ~(size_t)15;
    print_message("%s differs first at byte %zu of %zu; actual, then expected:\n", what, first, size_bytes);
    print_line(a, from, size_bytes);
    print_line(b, from, size_bytes);
    fail();
}
