# velta: the one entry. `make help` lists the targets.
#
# Sources are discovered: a new .c file in a room, a new tests/unit/test_*.c, a new bench/*.cpp needs no change here.
# Everything made lies under $(BUILD), in one folder per variant:
#   native   -O3; what ships. Unit tests link these very objects, except those that name VELTA_SIMDE, which are made
#            again with the wasm kernels in (through SIMDe) under native/simde/.
#   asan     -O1 with AddressSanitizer and UBSan, VELTA_TESTING and the wasm kernels
#   cov      -O0 with gcov counters, otherwise as asan; nothing is inlined by force, so a branch counts once
#   clang    -O3 by the second compiler, whose warnings are errors too; the same bytes must come out of it
#   fuzz     clang's libFuzzer with both sanitizers
#   fuzzcov  the same programs without sanitizers, with clang's counters of lines and branches
#   wasm     the WebAssembly modules, a folder of objects for each of them
# Useful variables: CC, BUILD, ROOMS="simd core" (link tests against these rooms only), SETUP=no (install nothing),
# JOBS (programs that `make test` runs at once), TESTS (only tests whose path contains this), FUZZ_SECONDS.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := native
MAKEFLAGS += --no-builtin-rules

VERSION := 0.1.0
BUILD ?= build
# By one name, however it is given: what an object depends on is remembered for the name it was made under.
override BUILD := $(patsubst $(CURDIR)/%,%,$(abspath $(BUILD)))
SETUP ?= yes
ifeq ($(origin CC),default)
CC := gcc
endif
CXX := g++
CLANG ?= clang-14
PYTHON ?= /usr/bin/python3
PREFIX ?= /usr/local
DESTDIR ?=
JOBS ?= 2
TESTS ?=
FUZZ_SECONDS ?= 60
ARCH := $(shell uname -m)

# ---- sources

ENGINE_ROOMS := simd core hnsw delta store
ROOMS ?= $(ENGINE_ROOMS)
engine_c := $(wildcard $(ROOMS:%=%/*.c))
foreign := simd/wasm%.c
ifneq ($(ARCH),x86_64)
foreign += simd/avx%.c
endif
ifneq ($(ARCH),aarch64)
foreign += simd/neon%.c
endif
shipped_c := $(filter-out $(foreign),$(engine_c))
simde_c := $(filter simd/wasm%.c,$(engine_c))
# Shipped files that differ when the wasm kernels are present.
simde_aware_c := $(filter $(shipped_c),$(if $(wildcard simd/*.c),$(shell grep -ls VELTA_SIMDE simd/*.c)))
wasm_builds := scalar simd128 relaxed threads
cli_c := $(wildcard cli/*.c)
support_c := $(wildcard tests/support/*.c)

# ---- flags

WARN := -Wall -Wextra -Werror -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes -Wmissing-prototypes
LZ4 := $(BUILD)/deps/lz4/lib
# The project's own include order is by rooms, from the root; what others wrote comes as system headers.
CPPFLAGS := -I. -isystem $(LZ4) -D_FILE_OFFSET_BITS=64
CFLAGS_BASE := -std=c11 -g -ffp-contract=off $(WARN)
SIMDE := -DVELTA_SIMDE -DSIMDE_ENABLE_NATIVE_ALIASES
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CFLAGS_native := -O3
CFLAGS_clang := -O3 $(SIMDE)
CFLAGS_asan := -O1 $(SANITIZE) -DVELTA_TESTING $(SIMDE)
CFLAGS_cov := -O0 --coverage -Dalways_inline=unused -DVELTA_TESTING $(SIMDE)
CFLAGS_fuzz := -O1 $(SANITIZE) -fsanitize=fuzzer-no-link -DVELTA_TESTING $(SIMDE)
CFLAGS_fuzzcov := -O1 -fprofile-instr-generate -fcoverage-mapping -DVELTA_TESTING $(SIMDE)
LDFLAGS_asan := $(SANITIZE)
LDFLAGS_cov := --coverage
LDFLAGS_fuzz := $(SANITIZE) -fsanitize=fuzzer
LDFLAGS_fuzzcov := -fprofile-instr-generate -fsanitize=fuzzer
LDLIBS := -lm -pthread
CLI_LDLIBS := -ljansson -lcsv
# The command reads JSON and CSV with these; the library needs neither.
# Kernels may use what their set names, and nothing else may.
isa_flags = $(if $(findstring simd/avx512,$1),-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512cd -mavx512vnni \
	-mavx2 -mf16c -mpopcnt -mbmi -mbmi2,$(if $(findstring simd/avx2,$1),-mavx2 -mf16c -mpopcnt -mbmi -mbmi2,$(if \
	$(findstring simd/wasm,$1),$(if $(filter x86_64,$(ARCH)),-msse4.2 -mpopcnt))))

# Written beside its place and moved there, so that an interrupted compiler leaves no half object.
# $1: flags, $2: compiler
compile = $(call compile_for,$1 $(CPPFLAGS) $(call isa_flags,$<),$2)
define compile_for
@mkdir -p $(@D)
@echo "  CC      $@"
@$(2) $(CFLAGS_BASE) $(1) -MMD -MP -MT $@ -MF $@.$$$$.d -c $< -o $@.$$$$ && \
	mv $@.$$$$.d $(@:.o=.d) && mv $@.$$$$ $@ || { rm -f $@.$$$$ $@.$$$$.d; exit 1; }
endef

# ---- set-up: packages (once, remembered by a stamp), the LZ4 source

native_packages := gcc libc6-dev libxxhash-dev libcsv-dev libjansson-dev
test_packages := $(native_packages) g++ clang-14 libclang-rt-14-dev libcmocka-dev libsimde-dev libsqlite3-dev \
	python3 python3-numpy pkg-config
fuzzcov_packages := $(test_packages) llvm-14
package_test_packages := chromium firefox-esr
bench_packages := $(native_packages) g++ libhnswlib-dev python3 python3-numpy
wasm_packages := clang-22 lld-22 emscripten libxxhash-dev nodejs xz-utils

$(BUILD)/setup/%: Makefile .ci/packages
	@$(if $(filter yes,$(SETUP)),.ci/packages $($*_packages))
	@mkdir -p $(@D) && touch $@

$(LZ4)/lz4.c: .ci/fetch-source | $(BUILD)/setup/native
	@.ci/fetch-source lz4 $(BUILD)/deps/lz4
	@touch $@

# ---- objects

lz4_flags := -DLZ4_HEAPMODE=0 -w
$(BUILD)/native/deps/lz4.o: $(LZ4)/lz4.c
	$(call compile,$(CFLAGS_native) $(lz4_flags),$(CC))
$(BUILD)/asan/deps/lz4.o: $(LZ4)/lz4.c
	$(call compile,$(CFLAGS_asan) $(lz4_flags),$(CC))
$(BUILD)/cov/deps/lz4.o: $(LZ4)/lz4.c
	$(call compile,-O1 $(lz4_flags),$(CC))
$(BUILD)/clang/deps/lz4.o: $(LZ4)/lz4.c
	$(call compile,$(CFLAGS_clang) $(lz4_flags),$(CLANG))
$(BUILD)/fuzz/deps/lz4.o: $(LZ4)/lz4.c
	$(call compile,$(CFLAGS_fuzz) $(lz4_flags),$(CLANG))
$(BUILD)/fuzzcov/deps/lz4.o: $(LZ4)/lz4.c
	$(call compile,-O1 $(lz4_flags),$(CLANG))

$(BUILD)/native/simde/%.o: %.c | $(LZ4)/lz4.c $(BUILD)/setup/test
	$(call compile,$(CFLAGS_native) $(SIMDE),$(CC))
$(BUILD)/native/tests/%.o: tests/%.c | $(LZ4)/lz4.c $(BUILD)/setup/test
	$(call compile,$(CFLAGS_native) $(SIMDE),$(CC))
$(BUILD)/native/%.o: %.c | $(LZ4)/lz4.c $(BUILD)/setup/native
	$(call compile,$(CFLAGS_native),$(CC))
$(BUILD)/asan/%.o: %.c | $(LZ4)/lz4.c $(BUILD)/setup/test
	$(call compile,$(CFLAGS_asan),$(CC))
# The tests themselves are not counted.
$(BUILD)/cov/tests/%.o: tests/%.c | $(LZ4)/lz4.c $(BUILD)/setup/test
	$(call compile,-O2 -DVELTA_TESTING $(SIMDE),$(CC))
$(BUILD)/cov/%.o: %.c | $(LZ4)/lz4.c $(BUILD)/setup/test
	$(call compile,$(CFLAGS_cov),$(CC))
$(BUILD)/clang/%.o: %.c | $(LZ4)/lz4.c $(BUILD)/setup/test
	$(call compile,$(CFLAGS_clang),$(CLANG))
$(BUILD)/fuzz/%.o: %.c | $(LZ4)/lz4.c $(BUILD)/setup/test
	$(call compile,$(CFLAGS_fuzz),$(CLANG))
$(BUILD)/fuzzcov/%.o: %.c | $(LZ4)/lz4.c $(BUILD)/setup/fuzzcov
	$(call compile,$(CFLAGS_fuzzcov),$(CLANG))

shipped_o := $(shipped_c:%.c=$(BUILD)/native/%.o) $(BUILD)/native/deps/lz4.o
engine_o_native := $(patsubst %.c,$(BUILD)/native/%.o,$(filter-out $(simde_aware_c),$(shipped_c))) \
	$(patsubst %.c,$(BUILD)/native/simde/%.o,$(simde_aware_c) $(simde_c)) $(BUILD)/native/deps/lz4.o
engine_o = $(if $(filter native,$1),$(engine_o_native),$(patsubst %.c,$(BUILD)/$1/%.o,$(shipped_c) $(simde_c)) \
	$(BUILD)/$1/deps/lz4.o)

# ---- the library and the command

# One object in which only velta_* is visible: nothing inside can collide with a program's own names.
$(BUILD)/libvelta.a: $(shipped_o)
	@echo "  LIB     $@"
	@ld -r -o $(BUILD)/native/velta.o $^
	@objcopy --wildcard --keep-global-symbol='velta_*' $(BUILD)/native/velta.o
	@rm -f $@ && ar rcsD $@ $(BUILD)/native/velta.o

$(BUILD)/velta: $(cli_c:%.c=$(BUILD)/native/%.o) $(BUILD)/libvelta.a
	@echo "  LINK    $@"
	@$(CC) -o $@ $^ $(CLI_LDLIBS) $(LDLIBS)
$(BUILD)/clang/velta: $(cli_c:%.c=$(BUILD)/clang/%.o) $(call engine_o,clang)
	@echo "  LINK    $@"
	@$(CLANG) -o $@ $^ $(CLI_LDLIBS) $(LDLIBS)
$(BUILD)/asan/velta: $(cli_c:%.c=$(BUILD)/asan/%.o) $(call engine_o,asan)
	@echo "  LINK    $@"
	@$(CC) $(LDFLAGS_asan) -o $@ $^ $(CLI_LDLIBS) $(LDLIBS)
$(BUILD)/cov/velta: $(cli_c:%.c=$(BUILD)/cov/%.o) $(call engine_o,cov)
	@echo "  LINK    $@"
	@$(CC) $(LDFLAGS_cov) -o $@ $^ $(CLI_LDLIBS) $(LDLIBS)

command := $(if $(cli_c),velta)

.PHONY: native
native: $(BUILD)/libvelta.a $(command:%=$(BUILD)/%)

# ---- tests

chosen = $(if $(TESTS),$(foreach path,$1,$(if $(findstring $(TESTS),$(path)),$(path))),$1)
programs := $(call chosen,$(patsubst %.c,%,$(wildcard tests/*/test_*.c)))
fuzzers := $(call chosen,$(patsubst %.c,%,$(wildcard tests/fuzz/fuzz_*.c)))
scripts := $(call chosen,$(sort $(wildcard tests/*/test_*.sh tests/*/test_*.py tests/cli/*.sh tests/cli/*.py \
	tests/tidy/check_*)))

# An archive, so that a test takes of the helpers only what it uses, and needs only the rooms that those need.
define test_rules
$(BUILD)/$1/tests/libsupport.a: $(support_c:%.c=$(BUILD)/$1/%.o)
	@rm -f $$@ && ar rcsD $$@ $$^
$(BUILD)/$1/tests/%: $(BUILD)/$1/tests/%.o $(BUILD)/$1/tests/libsupport.a $(call engine_o,$1)
	@echo "  LINK    $$@"
	@$(if $(filter fuzz fuzzcov clang,$1),$(CLANG),$(CC)) $(LDFLAGS_$1) -o $$@ $$^ -lcmocka -lsqlite3 $(CLI_LDLIBS) \
		$(LDLIBS)
endef
$(eval $(call test_rules,native))
$(eval $(call test_rules,asan))
$(eval $(call test_rules,cov))
$(eval $(call test_rules,clang))
$(eval $(call test_rules,fuzz))
$(eval $(call test_rules,fuzzcov))

# The command's readers, without its main.
$(foreach v,fuzz fuzzcov,$(eval $(BUILD)/$v/tests/fuzz/fuzz_import: \
	$(patsubst %,$(BUILD)/$v/cli/%.o,common vectors columns rows schema)))

# What the other compiler makes of one scripted life (tests/tidy/check_compilers.py).
lives := $(patsubst %,$(BUILD)/clang/%,$(filter tests/property/test_same_life,$(programs))) \
	$(if $(filter tests/tidy/check_compilers.py,$(scripts)),$(wasm_builds:%=$(BUILD)/wasm/life.%.wasm))
test_binaries := $(programs:%=$(BUILD)/native/%) $(programs:%=$(BUILD)/asan/%) $(fuzzers:%=$(BUILD)/fuzz/%)
run_env = VELTA_BUILD=$(abspath $(BUILD)) VELTA_COMMAND=$(abspath $(BUILD)/velta) \
	VELTA_COMMAND_ASAN=$(abspath $(BUILD)/asan/velta) VELTA_COMMAND_CLANG=$(abspath $(BUILD)/clang/velta) \
	PYTHON=$(PYTHON) CC=$(CC) CLANG=$(CLANG) VELTA_NODE=$(abspath $(BUILD))/node
# What the demo page shows: one Parquet file.
demo_data := $(BUILD)/demo/data/packages.parquet
# The npm package and the browsers are needed only where their tests are among those chosen.
package_tests := $(if $(filter tests/package/% tests/browser/% tests/tidy/%,$(scripts)),package component \
	$(BUILD)/setup/package_test $(demo_data))

# test_with: seconds a fuzzer runs, further arguments of the runner.
test_needs := native $(command:%=$(BUILD)/asan/%) $(command:%=$(BUILD)/clang/%) $(test_binaries) $(lives) \
	$(package_tests)
test_with = $(run_env) $(PYTHON) tests/run --jobs $(JOBS) --fuzz-seconds $1 $2 $(test_binaries) $(scripts)
whole = $(if $(TESTS),,--figures $1)

.PHONY: test soak reliability
test: $(test_needs) | $(BUILD)/setup/test
	@$(call test_with,$(FUZZ_SECONDS),$(call whole,test))
soak: $(test_needs) | $(BUILD)/setup/test
	@rm -f $(BUILD)/figures.json
	@VELTA_SOAK=1 $(call test_with,3600,--timeout 36000 $(call whole,soak))

# Every figure of docs/RELIABILITY.md, counted anew: coverage (which the table judges), all tests, the table.
reliability: $(test_needs) | $(BUILD)/setup/test
	@rm -f $(BUILD)/figures.json
	@$(MAKE) --no-print-directory coverage || true
	@$(call test_with,$(FUZZ_SECONDS),$(call whole,all))

# Branch coverage of the engine, a row per room, from the programs of these folders and the command's scripts. (gcov
# cannot count what WebAssembly modules run.) Times and figures of this run are kept apart from those of `make test`.
covered_programs := $(filter tests/unit/% tests/property/% tests/sim/%,$(programs))
.PHONY: coverage
coverage: $(command:%=$(BUILD)/cov/%) $(covered_programs:%=$(BUILD)/cov/%) | $(BUILD)/setup/test
	@find $(BUILD)/cov -name '*.gcda' -delete
	@$(run_env) VELTA_BUILD=$(abspath $(BUILD))/cov VELTA_COMMAND=$(abspath $(BUILD)/cov/velta) \
		VELTA_COMMAND_ASAN=$(abspath $(BUILD)/cov/velta) $(PYTHON) tests/run --jobs $(JOBS) \
		$(covered_programs:%=$(BUILD)/cov/%) $(filter tests/cli/%.py,$(scripts)) || true
	@$(PYTHON) tests/tidy/coverage.py $(BUILD)/cov $(ENGINE_ROOMS) | tee $(BUILD)/coverage.txt

# What the committed inputs of the fuzzers reach of the code that each aims at.
.PHONY: fuzz-coverage
fuzz-coverage: $(fuzzers:%=$(BUILD)/fuzzcov/%)
	@CLANG=$(CLANG) $(PYTHON) tests/fuzz/coverage.py $^

# ---- WebAssembly: the engine as modules, by clang with Emscripten's C library

# scalar runs everywhere; simd128 in every browser of the last years; relaxed has the 7-bit dot product as well; threads
# is simd128 over shared memory. All give the same bytes.
WASM_CLANG ?= clang-22
WASM_LD ?= wasm-ld-22
WASM_SYSROOT ?= /usr/share/emscripten/cache/sysroot
wasm_modules := $(wasm_builds:%=$(BUILD)/wasm/velta.%.wasm)
wasm_isa_scalar :=
wasm_isa_simd128 := -msimd128
wasm_isa_relaxed := -msimd128 -DVELTA_RELAXED_SIMD
wasm_isa_threads := -msimd128 -matomics
wasm_c := $(filter-out store/host_posix.c simd/avx%.c simd/neon%.c simd/wasm%.c,$(wildcard $(ENGINE_ROOMS:%=%/*.c))) \
	$(wildcard wasm/*.c)
wasm_c_scalar := $(wasm_c)
wasm_c_simd128 := $(wasm_c) simd/wasm128.c
wasm_c_relaxed := $(wasm_c) simd/wasm_relaxed.c
wasm_c_threads := $(wasm_c_simd128)
# What is worth its size: the loops of searching, linking, filtering, keys and unpacking, and the way of a delta. The
# rest is made small.
wasm_hot := simd/% hnsw/beam.c hnsw/search.c hnsw/build.c hnsw/codes.c hnsw/exact.c hnsw/filtered.c hnsw/hnsw.c \
	hnsw/link.c core/filter_evaluate.c core/key_index.c core/dictionary.c core/column.c core/bitmap.c core/hash.c \
	delta/history.c delta/plane_code.c delta/record_body.c delta/record_write.c store/apply.c store/records.c \
	store/write_delta.c wasm/memory.c
wasm_level = $(if $(filter $(wasm_hot),$1),-O2,-Oz)
# Without assertions some of their variables have no use.
CFLAGS_wasm := --target=wasm32-unknown-emscripten --sysroot=$(WASM_SYSROOT) -DNDEBUG -Wno-unused-parameter \
	-fvisibility=hidden -mbulk-memory -mnontrapping-fptoint -msign-ext -mmutable-globals -I. -isystem $(LZ4) \
	-isystem $(BUILD)/wasm/include
wasm_libraries = $(patsubst %,$(WASM_SYSROOT)/lib/wasm32-emscripten/%.a,$(if $(filter threads,$1),\
	libemmalloc-mt libc-mt-optz libcompiler_rt-mt,libemmalloc libc-optz libcompiler_rt))
wasm_link_threads := --shared-memory --export=__stack_pointer --export-if-defined=__wasm_init_tls
# Listed one by one: whatever else the optimizer may use, not every engine has.
wasm_features := simd bulk-memory bulk-memory-opt sign-ext mutable-globals nontrapping-float-to-int
wasm_features_relaxed := relaxed-simd
wasm_features_threads := threads

# Of the system's headers just this one: it needs no library.
$(BUILD)/wasm/include/xxhash.h: | $(BUILD)/setup/wasm
	@mkdir -p $(@D)
	@cp /usr/include/xxhash.h $@

# $1: build
define wasm_link
@echo "  LINK    $@"
@$(WASM_LD) -o $@ --no-entry --strip-all --gc-sections --import-memory --initial-memory=1048576 \
	--max-memory=4294967296 -z stack-size=131072 --stack-first --export=__wasm_call_ctors --allow-undefined \
	$(wasm_link_$1) $^ $(call wasm_libraries,$1)
endef
define wasm_rules
$(BUILD)/wasm/$1/deps/lz4.o: $(LZ4)/lz4.c $(BUILD)/wasm/include/xxhash.h
	$$(call compile_for,-O2 $$(CFLAGS_wasm) $$(wasm_isa_$1) $(lz4_flags),$(WASM_CLANG))
$(BUILD)/wasm/$1/tests/%.o: tests/%.c $(BUILD)/wasm/include/xxhash.h | $(LZ4)/lz4.c
	$$(call compile_for,-O2 $$(CFLAGS_wasm) $$(wasm_isa_$1) -isystem tests/wasm,$(WASM_CLANG))
$(BUILD)/wasm/$1/%.o: %.c $(BUILD)/wasm/include/xxhash.h | $(LZ4)/lz4.c
	$$(call compile_for,$$(call wasm_level,$$<) $$(CFLAGS_wasm) $$(wasm_isa_$1),$(WASM_CLANG))
$(BUILD)/wasm/$1/linked.wasm: $(wasm_c_$1:%.c=$(BUILD)/wasm/$1/%.o) $(BUILD)/wasm/$1/deps/lz4.o
	$$(call wasm_link,$1)
$(BUILD)/wasm/life.$1.wasm: $(BUILD)/wasm/$1/tests/wasm/life.o $(BUILD)/wasm/$1/tests/support/support.o \
		$(wasm_c_$1:%.c=$(BUILD)/wasm/$1/%.o) $(BUILD)/wasm/$1/deps/lz4.o
	$$(call wasm_link,$1)
$(BUILD)/wasm/velta.$1.wasm: $(BUILD)/wasm/$1/linked.wasm | $(BUILD)/setup/npm
	$$(call wasm_optimize,$1)
endef
# $1: build
define wasm_optimize
@echo "  OPT     $@"
@$(BUILD)/node wasm/node_modules/binaryen/bin/wasm-opt -Oz $(patsubst %,--enable-%,$(filter-out \
	$(if $(filter scalar,$1),simd),$(wasm_features)) $(wasm_features_$1)) \
	--strip-debug --strip-producers --strip-target-features -o $@.$$$$ $< && mv $@.$$$$ $@
endef
$(foreach build,$(wasm_builds),$(eval $(call wasm_rules,$(build))))

# ---- what unpacks zstd for velta/parquet and velta/arrow: a module of its own, which knows nothing of the engine

zstd := $(BUILD)/deps/zstd/lib
zstd_module := $(BUILD)/wasm/zstd.wasm
$(zstd)/zstd.h: .ci/fetch-source | $(BUILD)/setup/wasm
	@.ci/fetch-source zstd $(BUILD)/deps/zstd
	@touch $@
$(BUILD)/wasm/zstd/unpack.o: wasm/zstd/unpack.c $(zstd)/zstd.h
	$(call compile_for,-O2 $(CFLAGS_wasm) -isystem $(zstd),$(WASM_CLANG))
$(BUILD)/wasm/zstd/linked.wasm: $(BUILD)/wasm/zstd/unpack.o
	@echo "  LINK    $@"
	@$(WASM_LD) -o $@ --no-entry --strip-all --gc-sections --initial-memory=262144 --max-memory=4294967296 \
		-z stack-size=65536 --stack-first --export=__heap_base $^ $(WASM_SYSROOT)/lib/wasm32-emscripten/libc-optz.a
$(zstd_module): $(BUILD)/wasm/zstd/linked.wasm | $(BUILD)/setup/npm
	$(call wasm_optimize,scalar)

# ---- the component: the engine of the simd128 build with functions of the canonical ABI in the place of the flat ones,
# a memory of its own, and one import, the clock

component := $(BUILD)/wasm/velta.component.wasm
component_c := $(filter-out wasm/exports.c,$(wasm_c_simd128)) $(wildcard wasm/component/*.c)

$(BUILD)/wasm/component/linked.wasm: $(component_c:%.c=$(BUILD)/wasm/simd128/%.o) $(BUILD)/wasm/simd128/deps/lz4.o
	@mkdir -p $(@D)
	@echo "  LINK    $@"
	@$(WASM_LD) -o $@ --no-entry --strip-all --gc-sections --max-memory=4294967296 -z stack-size=131072 --stack-first \
		$^ $(call wasm_libraries,simd128)
$(BUILD)/wasm/component/core.wasm: $(BUILD)/wasm/component/linked.wasm | $(BUILD)/setup/npm
	$(call wasm_optimize,simd128)
$(component): $(BUILD)/wasm/component/core.wasm wasm/velta.wit wasm/tools/component.mjs core/types.h | \
		$(BUILD)/setup/npm
	@echo "  WRAP    $@"
	@$(NODE) wasm/tools/component.mjs $< $@ $(VERSION)
.PHONY: component
component: $(component)

.PHONY: wasm wasm-generated
wasm-generated: | $(BUILD)/setup/wasm
	@node wasm/tools/generate.mjs
wasm: $(wasm_modules) wasm-generated

# ---- the npm package: node_modules as pinned, then declarations, bundles and modules in one tarball

NODE := $(abspath $(BUILD))/node
package := $(BUILD)/velta-$(VERSION).tgz
package_from := $(wildcard wasm/*.json wasm/*.md) LICENSE \
	$(shell find wasm/src wasm/tools -name '*.ts' -o -name '*.mjs')

$(BUILD)/setup/npm: wasm/package-lock.json .ci/npm
	@.ci/npm $(BUILD) $(SETUP)
	@mkdir -p $(@D) && touch $@
$(package): $(package_from) $(wasm_modules) $(zstd_module) | $(BUILD)/setup/npm wasm-generated
	@echo "  PACK    $@"
	@$(NODE) wasm/tools/pack.mjs --build $(BUILD) --version $(VERSION) $(wasm_builds)
.PHONY: package reference
package: $(package)
# The reference of the package, from its types; tests say when it is not what they say.
reference: wasm-generated | $(BUILD)/setup/npm
	@$(NODE) wasm/tools/reference.mjs

# ---- demo, bench

bench_binaries := $(patsubst %.cpp,$(BUILD)/%,$(wildcard bench/*.cpp)) $(patsubst %.c,$(BUILD)/%,$(wildcard bench/*.c))
BENCH_FLAGS := -O3 -march=native -g -I. -isystem $(LZ4)
$(BUILD)/bench/%: bench/%.cpp $(shipped_o) $(wildcard bench/*.h bench/*.hpp) | $(BUILD)/setup/bench
	@mkdir -p $(@D)
	@echo "  CXX     $@"
	@$(CXX) -std=c++17 -Wall -Wextra $(BENCH_FLAGS) -o $@ $< $(shipped_o) $(LDLIBS)
$(BUILD)/bench/%: bench/%.c $(shipped_o) $(wildcard bench/*.h) | $(BUILD)/setup/bench
	@mkdir -p $(@D)
	@echo "  CC      $@"
	@$(CC) $(CFLAGS_BASE) $(BENCH_FLAGS) -o $@ $< $(shipped_o) $(LDLIBS)

# The package's measurements alternate with native hnswlib in a process, and with the peers that npm has.
$(BUILD)/bench/peer: bench/wasm/peer.cpp $(shipped_o) $(wildcard bench/*.hpp) | $(BUILD)/setup/bench
	@mkdir -p $(@D)
	@echo "  CXX     $@"
	@$(CXX) -std=c++17 -Wall -Wextra $(BENCH_FLAGS) -o $@ $< $(shipped_o) $(LDLIBS)
$(BUILD)/setup/bench_npm: bench/wasm/package-lock.json | $(BUILD)/setup/npm
	@$(if $(filter yes,$(SETUP)),cd bench/wasm && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
	@touch $@

.PHONY: bench demo
bench: native package $(bench_binaries) $(BUILD)/bench/peer | $(BUILD)/setup/bench $(BUILD)/setup/bench_npm
	@$(run_env) NODE=$(NODE) bench/run.sh
$(demo_data): demo/make_parquet.mjs demo/data/rows.jsonl demo/data/vectors.npy | $(BUILD)/setup/npm
	@echo "  PARQUET $@"
	@$(NODE) demo/make_parquet.mjs $@
# The page stays served at a terminal; elsewhere it is fetched once, so that nothing waits (DEMO_SERVE=yes, no).
DEMO_SERVE ?=
demo: native package $(demo_data)
	@$(run_env) demo/run.sh
	@echo
	@serve=$(DEMO_SERVE); [ ! -t 0 ] || [ ! -t 1 ] || serve=$${serve:-yes}; [ "$$serve" = yes ] || check=--check; \
		$(NODE) demo/serve.mjs --package $(BUILD)/package/dist --data $(dir $(demo_data)) $${check:-}

# ---- install

# The installed header is the public one with the basic types in the place of their include line.
$(BUILD)/velta.h: store/velta.h core/types.h
	@mkdir -p $(@D)
	@awk '/^#include "core\/types.h"/ { while ((getline line < "core/types.h") > 0) print line; next } { print }' \
		store/velta.h >$@
.PHONY: install
install: native $(BUILD)/velta.h
	install -D -m 644 $(BUILD)/velta.h '$(DESTDIR)$(PREFIX)/include/velta.h'
	install -D -m 644 $(BUILD)/libvelta.a '$(DESTDIR)$(PREFIX)/lib/libvelta.a'
	install -d '$(DESTDIR)$(PREFIX)/lib/pkgconfig'
	printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$${prefix}/lib' 'includedir=$${prefix}/include' '' 'Name: velta' \
		'Description: embedded store of typed columns and vectors' 'Version: $(VERSION)' \
		'Libs: -L$${libdir} -lvelta -lm -pthread' 'Cflags: -I$${includedir}' \
		>'$(DESTDIR)$(PREFIX)/lib/pkgconfig/velta.pc'
	install -D -m 755 $(BUILD)/velta '$(DESTDIR)$(PREFIX)/bin/velta'

# ---- house-keeping

.PHONY: format clean help
format:
	@clang-format -i $(wildcard $(foreach f,$(ENGINE_ROOMS) cli bench tests/support $(wildcard tests/*),\
		$f/*.c $f/*.h $f/*.cpp))
clean:
	rm -rf $(BUILD)
help:
	@echo 'make native    $(BUILD)/velta and $(BUILD)/libvelta.a'
	@echo 'make wasm      the WebAssembly modules, $(BUILD)/wasm/velta.*.wasm'
	@echo 'make package   the npm package, $(package), with the sizes of its files'
	@echo 'make component $(BUILD)/wasm/velta.component.wasm, the WebAssembly component of wasm/velta.wit'
	@echo 'make reference docs/API.md, from the types of the package'
	@echo 'make demo      build, show a search, a delta and an earlier time, then serve the demo page'
	@echo 'make test      every test, natively and under the sanitizers; ends with a count'
	@echo 'make bench     measurements beside hnswlib, duckdb-wasm and what the machine can do, native and packaged'
	@echo 'make soak      the tests with far more rounds (hours)'
	@echo 'make coverage  branch coverage by room'
	@echo 'make fuzz-coverage  what the inputs of the fuzzers reach, by target'
	@echo 'make reliability  coverage, then every test, then the table of what was counted for each promise'
	@echo 'make install   to PREFIX=$(PREFIX), under DESTDIR'
	@echo 'make format    clang-format over the C sources'
	@echo 'make clean     remove $(BUILD)'
	@echo 'one test: make $(BUILD)/asan/tests/unit/test_NAME; several: make test TESTS=PART_OF_PATH'

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
