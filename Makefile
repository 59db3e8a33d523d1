# PipeGate. `make help` lists the targets: those with "##" behind their name. In all: V=1 shows the commands, SAN=address,undefined
# builds with sanitizers in a directory of its own, CI=true takes warnings for errors.
PREFIX  ?= /usr/local
CFLAGS  ?= -O2 -g
VERSION := 0.1.0

PKGS_common := libcrypto jansson
# What its tests need beside that: common/httpd.c is linked into the programs that use it.
LIBS_common := -lmicrohttpd -luv
PKGS_broker := jansson libwebsockets libzmq libjwt libuv libmicrohttpd
LIBS_broker := -lhttp_parser -lm
PKGS_token  := jansson libjwt
LIBS_token  := -lm
PKGS_ctl    := jansson libcurl
PKGS_fcgi   := libzmq
LIBS_fcgi   := -lfcgi -pthread
PKGS_client := jansson libuv libcurl
LIBS_client := -lhttp_parser

comma := ,
B     := build$(if $(SAN),-$(subst $(comma),-,$(SAN)))
Q     := $(if $(V),,@)
say    = $(if $(V),,@printf '  %-3s %s\n' $(1) $(2))

SRCS_common := $(wildcard common/*.c)
SRCS_token  := $(addprefix broker/,token_main.c auth.c config.c jwk.c key.c keyring.c revocations.c)
SRCS_ctl    := broker/ctl_main.c broker/ctl_table.c
SRCS_broker := $(filter-out broker/token_main.c $(SRCS_ctl),$(wildcard broker/*.c broker/core/*.c))
SRCS_fcgi   := $(wildcard fcgi/*.c)
SRCS_client := $(wildcard client/*.c)
PROGS       := $(foreach p,broker token ctl fcgi client,$(if $(SRCS_$p),$p))

objs = $(patsubst %.c,$(B)/%.o,$(1))
libs = $(shell pkg-config --libs $(PKGS_$(1)) $(PKGS_common)) $(LIBS_$(1))

PLAIN := -D_GNU_SOURCE -DPIPEGATE_VERSION='"$(VERSION)"' -I.
override CPPFLAGS += $(PLAIN) -MMD -MP
override CFLAGS   += -std=c11 -Wall -Wextra -Wshadow -Wformat=2 -Wvla -Wstrict-prototypes \
                     -Wmissing-prototypes -fstack-protector-strong $(SAN:%=-fsanitize=%) \
                     $(if $(CI),-Werror)
override LDFLAGS  += $(SAN:%=-fsanitize=%)

all: $(PROGS:%=$(B)/pipegate-%) ## the programs, in build/

define PROGRAM
$(B)/pipegate-$(1): $(call objs,$(SRCS_$(1))) $(B)/libcommon.a
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(LDFLAGS) -o $$@ $$^ $$(call libs,$(1))
endef
$(foreach p,$(PROGS),$(eval $(call PROGRAM,$p)))

# A test links what it needs of its directory, without what has a main(); functions that it defines itself
# stand in for those of the directory. Fuzzing: tests/fuzz/fuzz_DIRECTORY_WHAT.c.
define TESTS
UNITS_$(1) := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/$(1)/test_*.c))
FUZZ_$(1)  := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/fuzz_$(1)_*.c))
$$(UNITS_$(1)): %: %.o $(B)/lib$(1).a $(B)/libcommon.a
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(LDFLAGS) -o $$@ $$^ $$(call libs,$(1)) -lcmocka
$$(FUZZ_$(1)): %: %.o $(ENGINE) $(B)/lib$(1).a $(B)/libcommon.a
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(LDFLAGS) $(if $(FUZZER),-fsanitize=fuzzer) -o $$@ $$^ $$(call libs,$(1))
$(B)/lib$(1).a: $(filter-out %/main.o %_main.o,$(call objs,$(SRCS_$(1))))
	$$(call say,AR,$$@)
	$$(Q)rm -f $$@ && $$(AR) rcs $$@ $$^
unit: $$(UNITS_$(1))
replay harnesses: $$(FUZZ_$(1))
endef
# Its allocator has no memory when the test says so.
$(B)/tests/unit/broker/test_budget: override LDFLAGS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
# The long or slow line between the two halves, for `make bench` and the tests.
RELAY := $(B)/tests/bench/relay
$(RELAY): $(RELAY).o $(RELAY)_main.o $(B)/libcommon.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(call libs,common)
# Many tunnels in one process, for `make bench`.
CLIENTS := $(B)/tests/bench/clients
$(CLIENTS): $(CLIENTS).o $(B)/libcommon.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(call libs,common)
ENGINE := $(if $(FUZZER),,$(B)/tests/fuzz/replay_main.o)
$(foreach d,common broker fcgi client,$(eval $(call TESTS,$d)))

# Two of the client's tunnels in one process, for tests/integration/test_two_tunnels.py, which makes it.
$(B)/tests/integration/two_tunnels: %: %.o $(B)/libclient.a $(B)/libcommon.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(call libs,client)

# The broker's core is pure: each header of a library that it must not use is an error there, directly included or not.
FENCE  := $(B)/broker/core/fence
FENCED := $(addprefix $(FENCE)/,uv.h zmq.h libwebsockets.h microhttpd.h http_parser.h jwt.h)
$(FENCED):
	@mkdir -p $(@D)
	$(Q)echo '#error "broker/core/ does not use this library"' > $@
$(patsubst %.c,$(B)/%.o,$(wildcard broker/core/*.c)): override CPPFLAGS += -I$(FENCE)
$(patsubst %.c,$(B)/%.o,$(wildcard broker/core/*.c)): | $(FENCED)

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

unit: ## unit tests: real modules, no sockets
	$(Q)for t in $(filter-out $(RELAY) $(CLIENTS),$^); do $$t || exit 1; done
# What fuzzing has found before, once more, with any compiler.
replay: ## the corpora of tests/fuzz/, with any compiler
	$(Q)for t in $^; do \
		UBSAN_OPTIONS=halt_on_error=1 $$t tests/fuzz/corpus/$${t##*/fuzz_} 2>$$t.log || { tail -n 60 $$t.log; exit 1; }; \
	done
# New finds: SECONDS for each harness, or for those of FUZZ="common_head broker_v2".
harnesses:
fuzz: ## fuzzing with clang: SECONDS=60 for each harness, FUZZ="common_head broker_v2"
	$(Q)tests/install-deps build fuzz
	$(Q)$(MAKE) --no-print-directory CC=clang B=build-fuzz FUZZER=1 \
		SAN=fuzzer-no-link,address,undefined CFLAGS='-O1 -g -fno-sanitize-recover=all' harnesses
	$(Q)tests/fuzz/run build-fuzz/tests/fuzz $(or $(SECONDS),60) $(FUZZ)
# The tests wait more than they compute: JOBS of them at a time, each file's in one process.
JOBS ?= 5
unit integration: $(RELAY) $(CLIENTS)
integration: all ## the tests behind both web servers: JOBS=5
	$(Q)BUILD=$(B) /usr/bin/python3 -m pytest -n $(JOBS) --dist loadfile tests/integration
# The responder under ThreadSanitizer; libzmq, which is not built for it, apart.
tsan: ## the responder under ThreadSanitizer
	$(Q)tests/install-deps build test
	$(Q)$(MAKE) --no-print-directory SAN=thread all
	$(Q)TSAN_OPTIONS="suppressions=$(CURDIR)/tests/lint/tsan.supp" BUILD=build-thread \
		/usr/bin/python3 -m pytest $(addprefix tests/integration/test_,requests.py load.py restarts.py)
# One pass of requests and hostile peers under valgrind; its reports fail a test by the exit code.
valgrind: all ## requests and tunnels under valgrind
	$(Q)tests/install-deps build test valgrind
	$(Q)UNDER="valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite" BUILD=$(B) PYTEST_TIMEOUT=6000 \
		/usr/bin/python3 -m pytest $(addprefix tests/integration/test_,requests.py tunnels.py)
soak: all ## mixed traffic with restarts: MINUTES=20 SERVER=lighttpd|apache
	$(Q)tests/install-deps build test
	$(Q)BUILD=$(B) MINUTES=$(MINUTES) SERVER=$(SERVER) /usr/bin/python3 tests/soak/run.py
# Boots Debian's systemd in containers and follows README there, as root. RELEASES: by default bookworm and trixie.
systemd-check: ## the units in containers: RELEASES="bookworm trixie"; as root
	$(Q)tests/install-deps systemd
	$(Q)/usr/bin/python3 tests/systemd/run.py $(RELEASES)
# The packages of each release, built, installed, used, upgraded, removed and purged in such a container; as root.
debian-check: ## the Debian packages in containers: RELEASES="bookworm trixie"; as root
	$(Q)tests/install-deps systemd
	$(Q)/usr/bin/python3 tests/systemd/packages.py $(RELEASES)
browser: all ## apps in headless Chromium
	$(Q)tests/install-deps build test browser
	$(Q)BUILD=$(B) /usr/bin/python3 -m pytest tests/browser
# The apps of conf/RECIPES.md; `make test` skips those that are not installed.
recipes: all ## the apps of conf/RECIPES.md
	$(Q)tests/install-deps build test recipes
	$(Q)BUILD=$(B) /usr/bin/python3 -m pytest tests/integration/test_recipes.py
test: deps-test ## installs what is missing; all, unit, replay, integration
	$(Q)$(MAKE) all unit replay $(if $(wildcard tests/integration),integration)
# Two Debian packages in build-deb/, for the release of this machine. conf/debian/ is their debian/.
DEB := build-deb/pipegate-$(VERSION)
deb: ## Debian packages, in build-deb/
	$(Q)tests/install-deps build deb
	$(Q)rm -rf build-deb && mkdir -p $(DEB)
	$(Q)tar -c --exclude=./build --exclude='./build-*' --exclude=./.git . | tar -x -C $(DEB)
	$(Q)cp -r conf/debian $(DEB)/debian
	$(Q)cd $(DEB) && env -u MAKEFLAGS -u MAKELEVEL -u CI dpkg-buildpackage -us -uc -b
demo: ## everything on one port: TARGET=URL PORT=8080 ADDRESS=127.0.0.1
	$(Q)tests/install-deps build demo
	$(Q)$(MAKE) -j"$$(nproc)" --no-print-directory all
	$(Q)tests/demo/run $(B)
# Tunables: tests/bench/README.md. They reach it by the environment.
export PEERS BEFORE PARTS GROWTH ROUNDS SECONDS MIB IDLE TUNNEL
bench: ## figures beside the web server's own proxy: ROUNDS=3 PEERS="rathole bore" BEFORE=DIR PARTS=lines GROWTH=1
	$(Q)tests/install-deps build bench
	$(Q)$(MAKE) -j"$$(nproc)" --no-print-directory -s all $(RELAY) $(CLIENTS)
	$(Q)BUILD=$(B) /usr/bin/python3 tests/bench/run.py
deps: ## installs what building needs
	$(Q)tests/install-deps build
deps-test:
	$(Q)tests/install-deps build test

MAN     := broker/pipegate-broker.8 broker/pipegate-ctl.8 broker/pipegate-token.1 fcgi/pipegate-fcgi.8 client/pipegate-client.1
C_FILES := $(wildcard */*.[ch] */*/*.[ch] tests/*/*/*.[ch])
# uthash, and && that guards a pointer, are beyond gcc 12's analyzer.
NO_NOISE := -Wno-analyzer-malloc-leak -Wno-analyzer-null-dereference -Wno-analyzer-possible-null-dereference
SCRIPTS := conf/completions/pipegate.bash .ci/run tests/install-deps tests/fuzz/run tests/demo/run tests/demo/app/echo.cgi
measure: ## a table of the sizes of files, functions and comments (needs lizard, from PyPI)
	$(Q)tests/lint/measure.py
# The cheap rules: layers, libraries, names, headers, sizes, comments. First, whether they find what they are for.
rules: all ## the rules of tests/lint/rules.py
	$(Q)/usr/bin/python3 tests/lint/test_rules.py -q
	$(Q)tests/lint/rules.py $(B)
format:
	$(Q)clang-format --dry-run -Werror $(C_FILES)
check: ## before a commit: builds with -Werror; unit, replay, rules, format
	$(Q)tests/install-deps build check
	$(Q)$(MAKE) --no-print-directory B=build-check CI=true all unit replay rules format
compile_commands.json: ## for clangd and other tools
	$(Q)tests/lint/compile_commands.py $(filter %.c,$(C_FILES)) -- $(CC) $(PLAIN) -std=c11 -Wall -Wextra >$@
help: ## this list
	$(Q)sed -n 's/^\([a-z_.-]*\):[^#]*## \(.*\)/\1\t\2/p' Makefile | expand -t 24
lint: ## all that reads the code: rules, format, cppcheck, clang-tidy, gcc -fanalyzer, mandoc, shellcheck
	$(Q)tests/install-deps build test check lint
	$(Q)$(MAKE) --no-print-directory rules format
	cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,performance,portability \
		--inline-suppr --library=tests/lint/macros.cfg $(PLAIN) $(filter %.c,$(C_FILES))
	clang-tidy --quiet $(filter %.c,$(C_FILES)) -- -std=c11 $(PLAIN)
	set -e; for f in $(filter-out tests/%,$(filter %.c,$(C_FILES))); do $(CC) -std=c11 $(PLAIN) -O1 -Werror \
		-fanalyzer $(NO_NOISE) -c -o /dev/null $$f; done
	mandoc -T lint -W warning $(MAN)
	shellcheck $(SCRIPTS)

# All that `install` puts below PREFIX, conf/ in share/pipegate apart.
DEST      := $(DESTDIR)$(PREFIX)
UNITS     := $(notdir $(wildcard conf/systemd/*.service conf/systemd/*.socket))
INSTALLED := $(PROGS:%=bin/pipegate-%) $(addprefix lib/systemd/system/,$(UNITS)) \
             lib/sysusers.d/pipegate.conf lib/tmpfiles.d/pipegate.conf \
             $(PROGS:%=share/bash-completion/completions/pipegate-%) share/zsh/site-functions/_pipegate \
             $(PROGS:%=share/fish/vendor_completions.d/pipegate-%.fish) \
             $(foreach m,$(MAN),share/man/man$(subst .,,$(suffix $m))/$(notdir $m))
install: all ## PREFIX=/usr/local DESTDIR=
	install -d $(sort $(dir $(INSTALLED:%=$(DEST)/%))) $(DEST)/share/pipegate/apache/examples \
		$(DEST)/share/pipegate/lighttpd/examples $(DEST)/share/pipegate/prometheus $(DEST)/share/pipegate/grafana
	install -m 755 $(PROGS:%=$(B)/pipegate-%) $(DEST)/bin
	install -m 644 $(filter %.1,$(MAN)) $(DEST)/share/man/man1
	install -m 644 $(filter %.8,$(MAN)) $(DEST)/share/man/man8
	install -m 644 conf/pipegate.env.example $(DEST)/share/pipegate
	set -e; for d in apache apache/examples lighttpd lighttpd/examples; do \
		install -m 644 conf/$$d/*.conf $(DEST)/share/pipegate/$$d; done
	install -m 644 conf/completions/pipegate.bash $(DEST)/share/bash-completion/completions/pipegate-ctl
	set -e; for p in broker client fcgi token; do \
		ln -sf pipegate-ctl $(DEST)/share/bash-completion/completions/pipegate-$$p; done
	install -m 644 conf/completions/_pipegate $(DEST)/share/zsh/site-functions/_pipegate
	set -e; for p in $(PROGS); do \
		install -m 644 conf/completions/pipegate.fish $(DEST)/share/fish/vendor_completions.d/pipegate-$$p.fish; done
	install -m 644 conf/prometheus/pipegate.rules.yml $(DEST)/share/pipegate/prometheus
	install -m 644 conf/grafana/pipegate.json $(DEST)/share/pipegate/grafana
	install -m 644 conf/systemd/sysusers.conf $(DEST)/lib/sysusers.d/pipegate.conf
	install -m 644 conf/systemd/tmpfiles.conf $(DEST)/lib/tmpfiles.d/pipegate.conf
	install -m 644 $(UNITS:%=conf/systemd/%) $(DEST)/lib/systemd/system
	find $(UNITS:%=$(DEST)/lib/systemd/system/%) $(DEST)/share/pipegate -type f \
		-exec sed -i -e 's|/usr/local/bin/|$(PREFIX)/bin/|g' -e 's|/usr/local/share/|$(PREFIX)/share/|g' {} +
# The sockets first: each would start its service again. Links of instances, too, go with their template. Where systemd
# does not run, "disable" removes the links alone. Units elsewhere than in PREFIX are not ours.
uninstall: ## removes what install made
	$(if $(DESTDIR),,set -e; \
	if command -v systemctl >/dev/null && [ "$$(id -u)" = 0 ] && [ -e $(DEST)/lib/systemd/system/pipegate-broker.service ]; then \
		if [ -d /run/systemd/system ]; then \
			systemctl stop $(filter %.socket,$(UNITS)) $(filter-out %@.service,$(filter %.service,$(UNITS))) 'pipegate-*@*.service' || :; \
		fi; \
		systemctl disable $(UNITS); \
	fi)
	rm -f $(INSTALLED:%=$(DEST)/%)
	rm -rf $(DEST)/share/pipegate
	$(if $(DESTDIR),,[ ! -d /run/systemd/system ] || [ "$$(id -u)" != 0 ] || systemctl daemon-reload)

clean: ## removes what make built
	$(Q)rm -rf build build-* compile_commands.json

.PHONY: all unit replay harnesses fuzz integration browser recipes measure rules format check compile_commands.json help tsan valgrind \
	soak bench systemd-check debian-check test deb demo deps deps-test lint install uninstall clean
.SECONDARY:
-include $(shell find $(B) -name "*.d" -type f 2>/dev/null)
