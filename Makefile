# nova-kms. `make help` lists the targets; BUILD= chooses another output folder.
BUILD   ?= build
PREFIX  ?= /usr/local
CC      ?= gcc
SAN     ?=

MODULES  := lua5.4 libuv libsecp256k1 libcrypto libcurl
WARN     := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2
HARDEN   := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection -fcf-protection -fPIC
OPT      ?= -O2 -g
ifneq ($(SAN),)
HARDEN   := -fPIC -fno-omit-frame-pointer $(SAN)
OPT      := -O1 -g
endif
CPPFLAGS := -Iinclude -Icsrc -D_GNU_SOURCE -DOPENSSL_NO_DEPRECATED
PKG_CF    = $(shell pkg-config --cflags $(MODULES))
CFLAGS   := -std=c11 -fvisibility=hidden $(OPT) $(WARN) $(HARDEN)
LDFLAGS  := -Wl,-z,relro,-z,now,-z,noexecstack $(SAN)
CORE_LIB  = -lsecp256k1 -lcrypto -lpthread
NODE_LIB  = -llua5.4 -llua5.4-luv -luv -lhttp_parser -lcurl $(CORE_LIB)

CORE_SRC := $(wildcard csrc/core/*.c)
NODE_SRC := $(wildcard csrc/net/*.c csrc/bind/*.c)
obj       = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
TESTS    := $(patsubst spec/native/%.c,$(BUILD)/spec/%,$(wildcard spec/native/test_*.c))
TOOLS    := $(patsubst spec/support/%.c,$(BUILD)/spec/%,$(wildcard spec/support/*.c))
BENCHES  := $(patsubst spec/bench/%.c,$(BUILD)/spec/%,$(wildcard spec/bench/*.c))

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.PHONY: all build native-tests deps run test test-native test-lua asan tsan valgrind bench check fmt install clean help

all: deps build ## install what is missing and build

build: $(BUILD)/nova-kms $(BUILD)/kms_native.so # what `all` builds, without installing packages

deps: ## install missing packages (list: .ci/packages)
	@.ci/install

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(PKG_CF) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/libkms_core.a: $(call obj,$(CORE_SRC))
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/kms_native.so: $(call obj,$(NODE_SRC)) $(BUILD)/libkms_core.a
	$(CC) $(LDFLAGS) -shared -Wl,-z,nodelete -o $@ $(call obj,$(NODE_SRC)) -Wl,--whole-archive $(BUILD)/libkms_core.a -Wl,--no-whole-archive $(NODE_LIB)

$(BUILD)/nova-kms: $(call obj,csrc/main.c $(NODE_SRC)) $(BUILD)/libkms_core.a
	$(CC) $(LDFLAGS) -pie -o $@ $(call obj,csrc/main.c $(NODE_SRC)) $(BUILD)/libkms_core.a $(NODE_LIB)

$(BUILD)/spec/%: $(BUILD)/obj/spec/native/%.o $(BUILD)/libkms_core.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $< $(BUILD)/libkms_core.a $(CORE_LIB)

$(BUILD)/spec/%: $(BUILD)/obj/spec/support/%.o $(BUILD)/libkms_core.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $< $(BUILD)/libkms_core.a $(CORE_LIB)

$(BUILD)/spec/%: $(BUILD)/obj/spec/bench/%.o $(BUILD)/libkms_core.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $< $(BUILD)/libkms_core.a $(CORE_LIB)

native-tests: $(TESTS) $(TOOLS) # C test programs and helpers

test-native: native-tests ## build and run the C tests
	@for t in $(TESTS); do echo "== $$t"; $$t || exit 1; done

clean: ## remove build output
	rm -rf build

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
