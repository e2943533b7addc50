# nova-kms. `make help` lists the targets. BUILD= chooses another output folder, V=1 shows whole commands.

# ---- compiler and flags ----

BUILD   ?= build
PREFIX  ?= /usr/local
SYSCONFDIR ?= $(if $(filter /usr /usr/local,$(PREFIX)),/etc,$(PREFIX)/etc)
UNITDIR ?= $(PREFIX)/lib/systemd/system
ifeq ($(origin CC),default)
CC      := gcc
endif
SAN     ?=
Q       := $(if $(V),,@)

MODULES  := lua5.4 libuv libsecp256k1 libcrypto libcurl libseccomp
WARN     := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2
HARDEN   := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection -fcf-protection -fPIC
OPT      ?= -O2 -g
ifneq ($(SAN),)
HARDEN   := -fPIC -fno-omit-frame-pointer $(SAN)
OPT      := -O1 -g
endif
CPPFLAGS := -Iinclude -Icsrc -D_GNU_SOURCE -DOPENSSL_NO_DEPRECATED $(DEFINES)
PKG_CF   := $(subst -I,-isystem ,$(shell pkg-config --cflags $(MODULES) 2>/dev/null))
CFLAGS   := -std=c11 -fvisibility=hidden $(OPT) $(WARN) $(HARDEN)
LDFLAGS  := -Wl,-z,relro,-z,now,-z,noexecstack $(SAN)
CORE_LIB  = -lsecp256k1 -lcrypto -lseccomp -lpthread
NODE_LIB  = -llua5.4 -llua5.4-luv -luv -lhttp_parser -lcurl $(CORE_LIB)

# ---- sources ----

# The core knows nothing of Lua; docs/architecture.md lists its rooms.
NODE_SRC := $(wildcard csrc/policy/*.c csrc/bind/*.c)
CORE_SRC := $(filter-out $(NODE_SRC),$(wildcard csrc/*/*.c))
obj       = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
# TEST= chooses C tests: those of a room (store), or one of them (test_store_merge).
TEST_SRC := $(if $(TEST),$(wildcard spec/native/$(TEST)/test_*.c spec/native/*/$(TEST).c),$(wildcard spec/native/*/test_*.c))
TESTS    := $(TEST_SRC:%.c=$(BUILD)/%)
# The fuzz targets, likewise; TEST=fuzz for all of them.
FUZZERS  := $(patsubst %.c,$(BUILD)/%,$(wildcard $(if $(TEST),spec/$(TEST)/fuzz_*.c spec/fuzz/$(TEST).c,spec/fuzz/fuzz_*.c)))
KIT_SRC  := $(wildcard spec/support/testkit*.c)
TOOLS    := $(patsubst spec/support/%.c,$(BUILD)/spec/%,$(filter-out $(KIT_SRC),$(wildcard spec/support/*.c)))
TESTKIT  := $(BUILD)/spec/kms_testkit.so
PRELOADS := $(BUILD)/spec/nsm_fake.so $(BUILD)/spec/insider.so $(BUILD)/spec/shifted_clock.so $(BUILD)/spec/late_socket.so \
	$(BUILD)/spec/seeded_random.so $(BUILD)/spec/never_ends.so
FAULTY   := $(BUILD)/spec/faulty/kms_native.so
BENCHES  := $(patsubst spec/bench/%.c,$(BUILD)/spec/%,$(wildcard spec/bench/*.c))

C_FILES   = $(shell git ls-files '*.c' '*.h')
LUA_FILES = $(shell git ls-files '*.lua')

# ---- build ----

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all vectors build native-tests deps run devnet cluster drill test test-native test-lua test-backend test-upgrade \
	s3 openapi monitoring ui deb test-deb test-debian13 test-asan asan tsan valgrind ctcheck fuzz fuzzers fuzz-attest contracts model model-session simulate chaos kills \
	bench bench-cluster bench-sessions bench-tools fairness lint \
	clients check fmt install install-program uninstall clean help force

# What needs packages is made by a second make, which sees what the first one installed.
SUBMAKE = @$(MAKE) --no-print-directory

# deps-build-run, say, installs these groups of .ci/packages: a target names those that it needs and no more.
deps-%: force
	@.ci/install $(subst -, ,$*)

all: deps-build-run ## install what is missing and build
	$(SUBMAKE) build

build: $(BUILD)/nova-kms $(BUILD)/kms_native.so ## what `all` builds, without installing packages

deps: ## install missing packages: all, or FOR="build run" (groups: build run test check contracts python go monitoring browser model deb lintian debian13)
	@.ci/install $(FOR)

$(BUILD)/obj/spec/%.o: private CPPFLAGS += -Ispec/native

# Changes when the compiler or its flags do: then everything is compiled again. But `make install` installs what was
# built, with whatever flags.
FLAGS    := $(shell $(CC) --version | head -n 1) $(CC) $(CPPFLAGS) $(PKG_CF) $(CFLAGS) $(LDFLAGS)
$(BUILD)/flags: force
	@mkdir -p $(@D)
	@echo '$(FLAGS)' | cmp -s - $@ || echo '$(FLAGS)' >$@

$(BUILD)/obj/%.o: %.c $(if $(filter install install-program,$(MAKECMDGOALS)),,$(BUILD)/flags)
	@mkdir -p $(@D)
	$(if $(Q),@echo "CC $<")
	$(Q)$(CC) $(CPPFLAGS) $(PKG_CF) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/libkms_core.a: $(call obj,$(CORE_SRC))
	@rm -f $@
	$(Q)ar rcs $@ $^

$(BUILD)/kms_native.so: $(call obj,$(NODE_SRC)) $(BUILD)/libkms_core.a
	$(if $(Q),@echo "LD $@")
	$(Q)$(CC) $(LDFLAGS) -shared -Wl,-z,nodelete -o $@ $(call obj,$(NODE_SRC)) -Wl,--whole-archive $(BUILD)/libkms_core.a -Wl,--no-whole-archive $(NODE_LIB)

$(BUILD)/nova-kms: $(call obj,csrc/main.c $(NODE_SRC)) $(BUILD)/libkms_core.a
	$(if $(Q),@echo "LD $@")
	$(Q)$(CC) $(LDFLAGS) -pie -o $@ $(call obj,csrc/main.c $(NODE_SRC)) $(BUILD)/libkms_core.a $(NODE_LIB)

$(BUILD)/spec/native/%: $(BUILD)/obj/spec/native/%.o $(BUILD)/libkms_core.a
	@mkdir -p $(@D)
	$(if $(Q),@echo "LD $@")
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lhttp_parser $(CORE_LIB)

$(BUILD)/spec/%: $(BUILD)/obj/spec/support/%.o $(BUILD)/libkms_core.a
	@mkdir -p $(@D)
	$(if $(Q),@echo "LD $@")
	$(Q)$(CC) $(LDFLAGS) -o $@ $< $(BUILD)/libkms_core.a $(CORE_LIB)

NSM_FAKE := $(call obj,spec/native/nsm_fake.c spec/native/nsm_fake_responses.c)
$(BUILD)/spec/native/tee/test_nsm: $(NSM_FAKE)
$(BUILD)/spec/nsm_fake.so: $(NSM_FAKE)

$(BUILD)/spec/ct_check: $(call obj,$(wildcard spec/ct/*.c)) $(BUILD)/libkms_core.a
	@mkdir -p $(@D)
	$(if $(Q),@echo "LD $@")
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(CORE_LIB)

# ENGINE=-fsanitize=fuzzer gives the fuzz targets libFuzzer's main() instead of the one that replays the corpus.
FUZZ_LIB := $(call obj,$(if $(ENGINE),spec/fuzz/lib/fuzz.c,$(wildcard spec/fuzz/lib/*.c)))
$(BUILD)/spec/fuzz/fuzz_nsm: private LDFLAGS += -Wl,--wrap=open,--wrap=ioctl
$(BUILD)/spec/fuzz/%: $(BUILD)/obj/spec/fuzz/%.o $(FUZZ_LIB) $(BUILD)/libkms_core.a
	@mkdir -p $(@D)
	$(if $(Q),@echo "LD $@")
	$(Q)$(CC) $(LDFLAGS) $(ENGINE) -o $@ $^ -lhttp_parser $(CORE_LIB)

# The node's module with faults in the store's rules, each of which the simulation must find.
.PHONY: faulty
faulty: $(FAULTY)
WRAPPED  := -Wl,--wrap=kms_clock_advance,--wrap=kms_tie_equal,--wrap=kms_tie_won
$(FAULTY): $(call obj,$(NODE_SRC) spec/simulate/faults.c) $(BUILD)/libkms_core.a
	@mkdir -p $(@D)
	$(if $(Q),@echo "LD $@")
	$(Q)$(CC) $(LDFLAGS) -shared -Wl,-z,nodelete $(WRAPPED) -o $@ $(call obj,$(NODE_SRC) spec/simulate/faults.c) -Wl,--whole-archive $(BUILD)/libkms_core.a -Wl,--no-whole-archive $(NODE_LIB)

# Libraries that specs preload into running nodes; never part of anything installed.
$(BUILD)/spec/%.so: $(BUILD)/obj/spec/native/%.o
	@mkdir -p $(@D)
	$(if $(Q),@echo "LD $@")
	$(Q)$(CC) $(LDFLAGS) -shared -o $@ $^

# A Lua module for the end-to-end specs alone; it hides its copy of the core from the node's.
$(TESTKIT): $(call obj,$(KIT_SRC)) $(BUILD)/libkms_core.a
	@mkdir -p $(@D)
	$(if $(Q),@echo "LD $@")
	$(Q)$(CC) $(LDFLAGS) -shared -Wl,-z,nodelete,--exclude-libs,ALL -o $@ $^ $(CORE_LIB)

$(BUILD)/spec/%: $(BUILD)/obj/spec/bench/%.o $(call obj,$(wildcard spec/bench/lib/*.c)) $(BUILD)/libkms_core.a
	@mkdir -p $(@D)
	$(if $(Q),@echo "LD $@")
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(CORE_LIB)

# ---- tests ----

native-tests: $(TESTS) $(FUZZERS) $(TOOLS) $(TESTKIT) $(PRELOADS) $(if $(SAN),,$(FAULTY)) ## C test programs and what the specs load

run: all ## build and start a node on its embedded defaults (no chain, no TEE service)
	@exec $(BUILD)/nova-kms serve --config config/dev.lua

devnet: deps-build-run-contracts ## run a cluster on this machine, with a chain of its own (NODES=3, ODYN=1, CUSTODIANS=5, THRESHOLD=3)
	$(SUBMAKE) build
	@contracts/script/build
	@exec $(BUILD)/nova-kms devnet $(if $(NODES),--nodes $(NODES)) $(if $(ODYN),--odyn) \
		$(if $(CUSTODIANS),--custodians $(CUSTODIANS)) $(if $(THRESHOLD),--threshold $(THRESHOLD))

cluster: deps-build-run-contracts ## write on such a cluster while nodes are killed and restarted, and compare them (half a minute)
	$(SUBMAKE) build
	@contracts/script/build
	@exec $(BUILD)/nova-kms devnet --drill --dir $(BUILD)/cluster --port 0

# The S3 server of drill and s3.
S3RVER = @cd spec/snapshot/s3rver && { [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --loglevel=error; }

drill: deps-build-run-test-contracts ## lose every node of such a cluster with its files, and have custodians bring all back (half a minute)
	$(S3RVER)
	$(SUBMAKE) build
	@contracts/script/build
	@exec $(BUILD)/nova-kms devnet --disaster --custodians 5 --threshold 3 --s3 --dir $(BUILD)/drill --port 0

test: deps-build-run-test ## build and run every test, JOBS= at a time; closes with "N passed, N failed"
	$(SUBMAKE) build native-tests faulty
	@spec/run $(BUILD)

test-native: $(TESTS) $(FUZZERS) ## the C tests only; TEST=store for a room, TEST=test_store_merge for one
	@TEST="$(TEST)" spec/run $(BUILD) native

test-lua: build native-tests faulty ## the specs only; SPECS=spec/x_spec.lua for some
	@SPECS="$(SPECS)" spec/run $(BUILD) lua

test-backend: build native-tests ## the end-to-end specs on another backend: TEE=odyn or nitro (or sim); SPECS= for some
	@SPEC_TEE=$(or $(TEE),odyn) SPECS="$(or $(SPECS),spec/e2e)" spec/run $(BUILD) lua

# What members that are not upgraded yet run: the last state before messages of type digest, pages and clocks' counters
# in milliseconds.
UPGRADE_FROM ?= 2a27302

s3: deps-build-run-test-contracts ## sealed snapshots in a bucket of s3rver, a real server of S3's protocol (npm fetches it)
	$(S3RVER)
	$(SUBMAKE) build native-tests
	@SPECS="spec/e2e/s3_spec.lua spec/snapshot/s3_spec.lua" spec/run $(BUILD) lua

openapi: deps-build-run-test-python ## GET /openapi.json judged by openapi-spec-validator (pip fetches it), with all examples run
	@[ $(BUILD)/openapi-venv/done -nt spec/routes/openapi/requirements.txt ] || { /usr/bin/python3 -m venv --clear $(BUILD)/openapi-venv && \
		$(BUILD)/openapi-venv/bin/pip install -q --disable-pip-version-check -r spec/routes/openapi/requirements.txt && \
		touch $(BUILD)/openapi-venv/done; }
	$(SUBMAKE) build native-tests
	@OPENAPI_PYTHON=$(BUILD)/openapi-venv/bin/python SPECS=spec/e2e/openapi_spec.lua spec/run $(BUILD) lua

monitoring: deps-build-run-test-contracts-monitoring ## the rules of examples/monitoring: promtool, and a real Prometheus on a cluster
	@cd examples/monitoring && promtool check config prometheus.yml && promtool test rules alerts_test.yml
	@contracts/script/build
	$(SUBMAKE) build native-tests
	@PROMETHEUS=$$(command -v prometheus) SPECS="spec/project/monitoring_spec.lua spec/cluster/monitoring_spec.lua" \
		spec/run $(BUILD) lua

ui: deps-build-run-test-browser ## the status page in headless Chromium; UI_SHOTS=FOLDER for pictures
	$(SUBMAKE) build native-tests
	@CHROMIUM=chromium-headless-shell UI_SHOTS=$(UI_SHOTS) SPECS="spec/e2e/ui_spec.lua spec/e2e/ui_browser_spec.lua" \
		spec/run $(BUILD) lua

test-upgrade: deps-build-run-test-contracts ## clusters of this build and of UPGRADE_FROM= (a commit): mixed, and upgraded under load
	@contracts/script/build
	$(SUBMAKE) build native-tests
	@spec/upgrade/run $(BUILD) $(UPGRADE_FROM)

deb: deps-build-run-deb ## a Debian package for this machine's release: BUILD/nova-kms_VERSION_ARCH.deb
	$(SUBMAKE) build
	@BUILD="$(BUILD)" packaging/deb

test-deb: deps-build-run-deb-lintian ## such packages on fresh Debian 12 and 13: lintian, install, serve, purge (root; DEBIAN_ROOTS= keeps the roots)
	$(SUBMAKE) build
	@.ci/deb $(BUILD)

test-debian13: ## build and test in a minimal Debian 13 (root; DEBIAN13_ROOT= keeps it)
	@.ci/debian13

clients: deps-build-run-test-contracts-python-go ## the clients in clients/, with pinned tools (pip, npm and go fetch them): tests, types, the table of cases
	@contracts/script/build
	$(SUBMAKE) build native-tests
	@spec/clients/run $(BUILD)

ASAN := -fsanitize=address,undefined -fno-sanitize-recover=all
test-asan: deps-build-run-test ## the C tests under AddressSanitizer and UBSan
	$(SUBMAKE) BUILD=build/asan SAN="$(ASAN)" native-tests
	@ASAN_OPTIONS=detect_leaks=1 spec/run build/asan native

asan: test-asan ## every test under AddressSanitizer and UBSan
	$(SUBMAKE) BUILD=build/asan SAN="$(ASAN)" build faulty
	@ASAN_OPTIONS=detect_leaks=0 LUA_PRELOAD=$$($(CC) -print-file-name=libasan.so) spec/run build/asan lua

tsan: deps-build-run-test ## the C tests under ThreadSanitizer
	$(SUBMAKE) BUILD=build/tsan SAN=-fsanitize=thread native-tests
	@WRAP="setarch -R" spec/run build/tsan native

valgrind: deps-build-run-test ## the C tests under valgrind
	$(SUBMAKE) native-tests
	@FUZZ_RUNS=200 WRAP="valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite" spec/run $(BUILD) native

# Secrets are marked for valgrind, and where they become public (csrc/base/declassify.h).
ctcheck: deps-build-run-test ## no branch and no index of ours depends on a secret (valgrind)
	$(SUBMAKE) BUILD=build/ct DEFINES=-DKMS_CTCHECK build/ct/spec/ct_check
	@spec/ct/run build/ct

vectors: ## write spec/vectors and docs/protocol-examples.md again (needs python3-cryptography)
	@spec/vectors/generate.py

fuzz-attest: deps-build-run ## 1e6 mutated attestation documents under AddressSanitizer (FUZZ_RUNS=, FUZZ_SEED=)
	$(SUBMAKE) BUILD=build/asan SAN="$(ASAN)" build/asan/spec/native/attest/test_attest_fuzz
	@for seed in 0 1; do echo $$seed; done | FUZZ_RUNS=$${FUZZ_RUNS:-500000} xargs -P 2 -I @ sh -c \
		'FUZZ_SEED=$$(($${FUZZ_SEED:-1000} + @)) build/asan/spec/native/attest/test_attest_fuzz'

fuzz: deps-build-run-check ## every decoder under libFuzzer, AddressSanitizer and UBSan; FUZZ_SECONDS=60 each, TEST=fuzz_json for one
	$(SUBMAKE) BUILD=build/fuzz CC=clang SAN="-fsanitize=fuzzer-no-link $(ASAN)" ENGINE=-fsanitize=fuzzer fuzzers
	@FUZZ_SECONDS=$(or $(FUZZ_SECONDS),60) spec/fuzz/run build/fuzz $(TEST)

fuzzers: $(FUZZERS) ## the programs of `make fuzz`; without ENGINE= those that replay the corpus

contracts: deps-contracts ## build and test the contracts (npm fetches the pinned tools)
	@contracts/script/test

model: deps-build-model ## the rules of replication in every order of events, in small cases (SPIN)
	@spec/model/run

model-session: deps-run ## what holds of a session under which leaked keys, in a symbolic prover (Verifpal; 2 minutes)
	@spec/model/session

simulate: build native-tests faulty ## clusters on a virtual clock under faults: SEEDS=2000, SEED=n for one; FAULT=tie plants one
	@KMS_BUILD=$(BUILD) FAULT=$(FAULT) spec/simulate/run $(or $(SEED),1) $(or $(SEED),$(SEEDS),2000)

chaos: deps-build-run-test-contracts ## kill parts of a cluster at random moments for SECONDS=60; CHAOS_SEED=n for the same ones
	@contracts/script/build
	$(SUBMAKE) build native-tests
	@CHAOS_SECONDS=$(or $(SECONDS),60) SPECS=spec/cluster/chaos_spec.lua spec/run $(BUILD) lua

kills: deps-build-run-test-contracts ## kill -9 of any one node under 200 writes a second, KILLS=300 times; KILLS_SEED=n for the same ones
	@contracts/script/build
	$(SUBMAKE) build native-tests
	@KILLS=$(or $(KILLS),300) SPEC_TIMEOUT=$$((600 + 60 * $(or $(KILLS),300))) SPECS=spec/cluster/kills_spec.lua spec/run $(BUILD) lua

# ---- benchmarks ----

# With the right to it, the node goes before the machine's other programs.
bench: deps-build-run-test ## benchmarks: primitives, store, requests a second, CPU a request
	$(SUBMAKE) build bench-tools
	@$$(chrt -r 1 true 2>/dev/null && echo chrt -r 1) spec/bench/run $(BUILD)

# Likewise.
fairness: deps-build-run-test ## what hostile clients cost an honest one: its times, failed calls and lost records; SECONDS=7 a load
	$(SUBMAKE) build native-tests
	@$$(chrt -r 1 true 2>/dev/null && echo chrt -r 1) lua5.4 spec/bench/fairness.lua $(BUILD) $(or $(SECONDS),7)

# Likewise, with its nodes.
bench-cluster: deps-build-run-test-contracts ## replication: push lag, a second copy, joins, repair, bytes of a copy, idle members; SIZE=full for large joins too
	@contracts/script/build
	$(SUBMAKE) build native-tests bench-tools
	@$$(chrt -r 1 true 2>/dev/null && echo chrt -r 1) lua5.4 spec/bench/cluster.lua $(BUILD) $(or $(SIZE),small)

bench-sessions: deps-build-run-test ## part of bench: messages with 10 000 sessions beside one, and 16 000 openings by one wallet; SESSIONS=, OPENINGS=
	$(SUBMAKE) build native-tests
	@$$(chrt -r 1 true 2>/dev/null && echo chrt -r 1) lua5.4 spec/bench/bench_sessions.lua $(BUILD) $(or $(SESSIONS),10000) $(or $(OPENINGS),16000)

bench-tools: $(BENCHES) $(TESTKIT) ## the programs of the benchmarks

# ---- checks ----

lint: ## the project's own rules, in seconds
	@.ci/lint $(BUILD)

check: deps-build-run-test-check ## format, lint and static analysis; the part of .ci/run that runs no tests
	@clang-format --dry-run -Werror $(C_FILES)
	@.ci/lint $(BUILD)
	@luacheck -q $(LUA_FILES)
	@cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c11 --enable=warning,performance,portability \
		--suppress=missingIncludeSystem -D__cppcheck__ --force -Iinclude -Icsrc csrc
	@printf '%s\n' $(filter csrc/%.c,$(C_FILES)) | xargs -P 2 -n 8 sh -c 'clang-tidy --quiet "$$@" -- $(CPPFLAGS) $(PKG_CF) -std=c11 2>/dev/null' sh
	@if python3 -c 'import cryptography' 2>/dev/null; then spec/vectors/generate.py --check; else echo "vectors: not checked, python3-cryptography is missing"; fi
	$(SUBMAKE) BUILD=build/clang CC=clang build native-tests

fmt: ## format the C sources
	@clang-format -i $(C_FILES)

# ---- the rest ----

PLACES = BUILD="$(BUILD)" PREFIX="$(PREFIX)" SYSCONFDIR="$(SYSCONFDIR)" UNITDIR="$(UNITDIR)" DESTDIR="$(DESTDIR)"

install: build ## install under PREFIX=/usr/local: program, completion, manual, unit, documents, a configuration where there is none
	@$(PLACES) packaging/install all

install-program: build ## the same without what only people need: program, scripts, policies
	@$(PLACES) packaging/install program

uninstall: ## remove what was installed under PREFIX, except the configuration
	@$(PLACES) packaging/install uninstall

clean: ## remove build output
	rm -rf build

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
