/*
 * Files whose system calls fail: this program has the calls of store/host_posix.c itself, hands them to the kernel, and
 * lets the n-th of a kind be interrupted, do half, do nothing, or fail. What is interrupted or does half must not be
 * seen by anyone; what fails is a status, a poisoned database, and files that open again with what was acknowledged.
 */
#define _GNU_SOURCE
#include "tests/unit/store_testing.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- the calls */

enum call { CALL_OPEN, CALL_READ, CALL_WRITE, CALL_SYNC, CALL_SYNC_FOLDER, CALL_TRUNCATE, CALL_STAT, CALL_LOCK, CALLS };
enum { HALF = -1, NOTHING = -2 }; /* instead of an errno */

static struct {
    bool watching; /* calls are counted: of the database's files only */
    enum call call;
    uint64_t count;
    uint64_t fail_at;
    int how;
    bool failed;
} plan;

static bool is_due(enum call call) {
    if (!plan.watching || call != plan.call) return false;
    plan.count++;
    if (plan.count != plan.fail_at) return false;
    plan.failed = true;
    if (plan.how > 0) errno = plan.how;
    return true;
}

int open(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    unsigned mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, unsigned) : 0;
    va_end(arguments);
    if (is_due(CALL_OPEN)) return -1;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

static ssize_t transfer(long number, int file, void *bytes, size_t size_bytes, off_t offset) {
    if (is_due(number == SYS_pread64 ? CALL_READ : CALL_WRITE)) {
        if (plan.how > 0) return -1;
        if (plan.how == NOTHING) return 0;
        if (size_bytes > 1) size_bytes /= 2;
    }
    return syscall(number, file, bytes, size_bytes, offset);
}

ssize_t pread(int file, void *bytes, size_t size_bytes, off_t offset) {
    return transfer(SYS_pread64, file, bytes, size_bytes, offset);
}

ssize_t pwrite(int file, const void *bytes, size_t size_bytes, off_t offset) {
    return transfer(SYS_pwrite64, file, (void *)(uintptr_t)bytes, size_bytes, offset);
}

/* The medium is not this test's matter, so nothing is synced at all. */
int fdatasync(int file) {
    (void)file;
    return is_due(CALL_SYNC) ? -1 : 0;
}

int fsync(int file) {
    (void)file;
    return is_due(CALL_SYNC_FOLDER) ? -1 : 0;
}

int ftruncate(int file, off_t size_bytes) {
    return is_due(CALL_TRUNCATE) ? -1 : (int)syscall(SYS_ftruncate, file, size_bytes);
}

int fstat(int file, struct stat *facts) {
    return is_due(CALL_STAT) ? -1 : (int)syscall(SYS_newfstatat, file, "", facts, AT_EMPTY_PATH);
}

int flock(int file, int operation) {
    return is_due(CALL_LOCK) ? -1 : (int)syscall(SYS_flock, file, operation);
}

/* ---- a life in files */

static uint64_t injected;

struct life {
    const char *path;
    velta *db;
    velta_table *table;
    int64_t now_ms;
    int64_t next_id;
};

static struct velta_options life_options(struct life *life) {
    return (struct velta_options){.now_ms = sample_clock, .now_context = &life->now_ms, .thread_count = 1};
}

static enum velta_status do_open(struct life *life, struct velta_error *error) {
    struct velta_options options = life_options(life);
    enum velta_status status = velta_open(life->path, &options, &life->db, error);
    if (!status && velta_table_find(life->db, "t", &life->table, NULL))
        status = velta_table_create(life->db, "t", sample_schema, SAMPLE_COLUMNS, &life->table, error);
    return status;
}

static enum velta_status do_insert(struct life *life, struct velta_error *error) {
    struct sample sample;
    sample_make(&sample, life->next_id, 30, 2);
    life->next_id += 30;
    enum velta_status status = velta_insert(life->table, sample.values, SAMPLE_COLUMNS, 30, NULL, NULL, error);
    sample_free(&sample);
    return status;
}

static enum velta_status do_delete(struct life *life, struct velta_error *error) {
    int64_t ids[] = {12, 10, 11};
    return velta_delete(life->table, &(struct velta_keys){.ints = ids}, 3, NULL, error);
}

static enum velta_status do_checkpoint(struct life *life, struct velta_error *error) {
    return velta_checkpoint(life->db, NULL, error);
}

static enum velta_status do_compact(struct life *life, struct velta_error *error) {
    return velta_compact(life->db, NULL, NULL, error);
}

static enum velta_status do_close(struct life *life, struct velta_error *error) {
    enum velta_status status = velta_close(life->db, error);
    life->db = NULL;
    return status;
}

/* Closed, with a torn tail for the next opening to cut off. */
static enum velta_status do_close_torn(struct life *life, struct velta_error *error) {
    static const char torn[90] = {77};
    char name[4096];
    enum velta_status status = do_close(life, error);
    (void)snprintf(name, sizeof name, "%s-log", life->path);
    FILE *file = fopen(name, "ab");
    assert_non_null(file);
    assert_int_equal(fwrite(torn, 1, sizeof torn, file), sizeof torn);
    assert_int_equal(fclose(file), 0);
    return status;
}

typedef enum velta_status step(struct life *life, struct velta_error *error);
static step *const steps[] = {do_open, do_insert, do_checkpoint, do_insert, do_close_torn,
                              do_open, do_delete, do_compact,    do_insert, do_close};
enum { STEPS = sizeof steps / sizeof steps[0] };
static uint64_t digests[STEPS + 1]; /* after each step; 0 where there is no open database, or no table */

static void life_start(struct life *life, const char *folder) {
    char name[4096];
    *life = (struct life){.path = test_path(folder, "life"), .now_ms = 1000};
    (void)remove(life->path);
    (void)snprintf(name, sizeof name, "%s-log", life->path);
    (void)remove(name);
}

static void life_end(struct life *life) {
    enum velta_status status = velta_close(life->db, NULL);
    (void)status; /* a poisoned database says so */
}

/* What is there, when it opens again: the state after step i, or, where it failed, the one before. */
static void check_reopened(struct life *life, size_t i, bool succeeded) {
    struct velta_error error = {0};
    size_t after = digests[i + 1] ? i + 1 : i;        /* a step that closes leaves what was there, ... */
    size_t before = digests[i] || i == 0 ? i : i - 1; /* ... and the one that opens finds it */
    life_end(life);
    assert_ok(do_open(life, &error), &error);
    uint64_t found = digest(life->db);
    bool known = found == digests[after] || (!succeeded && found == digests[before]);
    if (i == 0) known = true; /* nothing was acknowledged */
    if (!known) fail_msg("step %zu: the reopened state is not one that it may be", i);
    assert_verifies(life->db);
    assert_ok(do_insert(life, &error), &error);
}

/* How the call is to be taken: hidden ones must change nothing. */
static bool is_hidden(enum call call, int how) {
    if (how == EINTR) return call != CALL_SYNC && call != CALL_SYNC_FOLDER && call != CALL_STAT;
    if (call == CALL_SYNC_FOLDER) return how == EINVAL;
    return how == HALF || (call == CALL_LOCK && how == EWOULDBLOCK);
}

/* One life with the n-th call of a kind failing. False: it has fewer. */
static bool live(const char *folder, enum call call, int how, uint64_t fail_at) {
    struct life life;
    life_start(&life, folder);
    plan.call = call;
    plan.how = how;
    plan.count = 0;
    plan.fail_at = fail_at;
    plan.failed = false;
    for (size_t i = 0; i < STEPS; i++) {
        struct velta_error error = {0};
        plan.watching = true;
        enum velta_status status = steps[i](&life, &error);
        plan.watching = false;
        bool hidden = !plan.failed || is_hidden(call, how);
        if (hidden) assert_ok(status, &error);
        if (hidden && life.db) assert_true(digest(life.db) == digests[i + 1]);
        if (hidden) continue;
        if (status != VELTA_IO && status != VELTA_FULL && status != VELTA_NOT_FOUND && status != VELTA_OK)
            fail_msg("step %zu, call %d, errno %d: %s", i, (int)call, how, error.text);
        if (call == CALL_WRITE && how == ENOSPC && status) assert_status(status, VELTA_FULL);
        bool changes = call == CALL_WRITE || call == CALL_SYNC || call == CALL_SYNC_FOLDER || call == CALL_TRUNCATE;
        if (status && changes && life.db) assert_status(velta_tag(life.db, "late", &error), VELTA_POISONED);
        check_reopened(&life, i, status == VELTA_OK);
        break;
    }
    life_end(&life);
    injected += plan.failed;
    return plan.failed;
}

static void undisturbed(const char *folder) {
    struct life life;
    struct velta_error error = {0};
    life_start(&life, folder);
    for (size_t i = 0; i < STEPS; i++) {
        assert_ok(steps[i](&life, &error), &error);
        digests[i + 1] = life.db ? digest(life.db) : 0;
    }
}

static void fail_every(enum call call, const int *ways, size_t way_count) {
    const char *folder = test_folder();
    undisturbed(folder);
    for (size_t way = 0; way < way_count; way++) {
        uint64_t fail_at = 1;
        while (live(folder, call, ways[way], fail_at))
            fail_at++;
        assert_true(fail_at > 1);
    }
}

#define WAYS(...) (int[]){__VA_ARGS__}, sizeof(int[]){__VA_ARGS__} / sizeof(int)

static void writes(void **state) {
    (void)state;
    fail_every(CALL_WRITE, WAYS(EINTR, HALF, NOTHING, ENOSPC, EIO, EDQUOT, EFBIG));
}

static void reads(void **state) {
    (void)state;
    fail_every(CALL_READ, WAYS(EINTR, HALF, NOTHING, EIO));
}

static void syncs(void **state) {
    (void)state;
    fail_every(CALL_SYNC, WAYS(EIO, ENOSPC, EINTR));
    fail_every(CALL_SYNC_FOLDER, WAYS(EIO, EINVAL));
}

static void sizes(void **state) {
    (void)state;
    fail_every(CALL_TRUNCATE, WAYS(EINTR, EIO, ENOSPC));
    fail_every(CALL_STAT, WAYS(EIO));
}

static void opens_and_locks(void **state) {
    (void)state;
    fail_every(CALL_OPEN, WAYS(EINTR, EMFILE, EACCES, EIO));
    fail_every(CALL_LOCK, WAYS(EINTR, EWOULDBLOCK, ENOLCK));
}

/* The kernel's own refusal: files that may not grow beyond a limit, which cuts a write short and then refuses it. */
static void a_limit_of_the_system(void **state) {
    (void)state;
    struct rlimit usual;
    const char *folder = test_folder();
    struct life life;
    struct velta_error error = {0};
    life_start(&life, folder);
    assert_ok(do_open(&life, &error), &error);
    assert_ok(do_insert(&life, &error), &error);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &usual), 0);
    uint64_t before;
    enum velta_status status;
    struct rlimit limit = usual;
    limit.rlim_cur = 40000;
    do {
        before = digest(life.db);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        status = do_insert(&life, &error);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &usual), 0);
    } while (!status);
    assert_status(status, VELTA_FULL);
    assert_true(digest(life.db) == before);
    assert_status(do_delete(&life, &error), VELTA_POISONED);
    life_end(&life);
    assert_ok(do_open(&life, &error), &error);
    assert_true(digest(life.db) == before);
    assert_ok(do_insert(&life, &error), &error);
    assert_verifies(life.db);
    life_end(&life);
    injected++;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes), cmocka_unit_test(reads),           cmocka_unit_test(syncs),
        cmocka_unit_test(sizes),  cmocka_unit_test(opens_and_locks), cmocka_unit_test(a_limit_of_the_system),
    };
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    print_message("figure: io_faults %" PRIu64 "\n", injected);
    print_message("figure: io_differences %d\n", failures);
    return failures;
}
