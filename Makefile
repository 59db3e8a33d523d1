# PipeGate. make [V=1] [SAN=address,undefined] | deps | test | unit | integration | lint | install | clean
PREFIX  ?= /usr/local
CFLAGS  ?= -O2 -g
VERSION := 0.1.0

PKGS_common := libcrypto
PKGS_broker := jansson libwebsockets libzmq libjwt libuv
LIBS_broker := -lhttp_parser -lm
PKGS_token  := jansson libjwt
LIBS_token  := -lm
PKGS_fcgi   := libzmq
LIBS_fcgi   := -lfcgi -pthread
PKGS_client := jansson libwebsockets libuv libcurl

comma := ,
B     := build$(if $(SAN),-$(subst $(comma),-,$(SAN)))
Q     := $(if $(V),,@)
say    = $(if $(V),,@printf '  %-3s %s\n' $(1) $(2))

SRCS_common := $(wildcard common/*.c)
SRCS_token  := $(addprefix broker/,token_main.c auth.c config.c)
SRCS_broker := $(filter-out broker/token_main.c,$(wildcard broker/*.c))
SRCS_fcgi   := $(wildcard fcgi/*.c)
SRCS_client := $(wildcard client/*.c)
PROGS       := $(foreach p,broker token fcgi client,$(if $(SRCS_$p),$p))

objs = $(patsubst %.c,$(B)/%.o,$(1))
libs = $(shell pkg-config --libs $(PKGS_$(1)) $(PKGS_common)) $(LIBS_$(1))

override CPPFLAGS += -D_GNU_SOURCE -DPIPEGATE_VERSION='"$(VERSION)"' -I. -MMD -MP
override CFLAGS   += -std=c11 -Wall -Wextra -Wshadow -Wformat=2 -Wvla -Wstrict-prototypes \
                     -Wmissing-prototypes -fstack-protector-strong $(SAN:%=-fsanitize=%) \
                     $(if $(CI),-Werror)
override LDFLAGS  += $(SAN:%=-fsanitize=%)

all: $(PROGS:%=$(B)/pipegate-%)

define PROGRAM
$(B)/pipegate-$(1): $(call objs,$(SRCS_$(1))) $(B)/libcommon.a
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(LDFLAGS) -o $$@ $$^ $$(call libs,$(1))
endef
$(foreach p,$(PROGS),$(eval $(call PROGRAM,$p)))

# A unit test links every object of its directory except those with main().
define UNITS
UNITS_$(1) := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/$(1)/test_*.c))
$$(UNITS_$(1)): %: %.o $(filter-out %/main.o %_main.o,$(call objs,$(SRCS_$(1)))) $(B)/libcommon.a
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(LDFLAGS) -o $$@ $$^ $$(call libs,$(1)) -lcmocka
unit: $$(UNITS_$(1))
endef
$(foreach d,common broker fcgi client,$(eval $(call UNITS,$d)))

$(B)/libcommon.a: $(call objs,$(SRCS_common))
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^
$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

unit: ; $(Q)for t in $^; do $$t || exit 1; done
deps:
	$(Q)tests/install-deps build
deps-test:
	$(Q)tests/install-deps build test
test: deps-test
	$(Q)$(MAKE) all unit
clean: ; $(Q)rm -rf build build-*

.PHONY: all unit deps deps-test test clean
.SECONDARY:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
