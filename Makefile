# Everything that a fresh checkout needs: `make test`, `make serve`, `make demo`.
VENV ?= .venv
FIT := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3.14 python3; do \
	$$python $(FIT) 2>/dev/null && command -v $$python && break; done)
BIN := $(VENV)/bin
EXTRAS ?= test,voice
USED := $(if $(filter file,$(origin EXTRAS)),voice,$(EXTRAS)) # what tests need (0.7 GB) is not needed to use it
comma := ,
HOST ?= 127.0.0.1
PORT ?= 8008
WORKERS ?= 2
SOUND := pulseaudio pulseaudio-utils libportaudio2 libasound2-plugins

.PHONY: help install lock system foreign test check format serve demo bench train clean
help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '%-8s %s\n' "$$name" "$$text"; done

# Where there is no fit Python, uv is asked for one. What is installed is what uv.lock says, the same everywhere.
$(VENV)/.installed-%: pyproject.toml uv.lock
	@test -x $(BIN)/python || if [ -n "$(PYTHON)" ] && $(PYTHON) $(FIT); then \
		$(PYTHON) -m venv $(VENV); \
	else \
		uv=$$(command -v uv) || { lent=$$(mktemp -d) && trap 'rm -rf "$$lent"' EXIT && uv=$$lent/bin/uv && \
			python3 -m venv $$lent && $$lent/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'; } >/dev/null 2>&1; \
		"$$uv" venv --quiet --seed --python '>=3.11' $(VENV) 2>/dev/null || \
			{ echo "error: Python 3.11 or newer is needed. hint: make PYTHON=/path/to/python3.13" >&2; exit 1; }; \
	fi
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
	UV_PROJECT_ENVIRONMENT=$(VENV) $(BIN)/uv sync --quiet --frozen --inexact --python $(BIN)/python \
		$(addprefix --extra ,$(filter-out plain,$(subst $(comma), ,$*)))
	@touch $@

lock:  ## look for newer versions of all that is installed, and write them into uv.lock
	$(BIN)/uv lock --upgrade

install: $(VENV)/.installed-$(EXTRAS)  ## install into .venv (EXTRAS=test,train for more)

# Browser tests drive Chromium, those of the camera PulseAudio too, those of relays coturn (which is not started as a service), those
# of the kernels a C++ compiler. What is there is left alone.
system:  ## install the Debian packages that the tests use
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium >/dev/null; } || \
			echo "warning: Chromium could not be installed: its tests are skipped." >&2; \
		else \
			echo "warning: Chromium is not there: its tests are skipped. hint: apt-get install chromium" >&2; \
		fi
	@command -v g++ >/dev/null || command -v clang++ >/dev/null || \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends g++ libc6-dev >/dev/null; \
		else \
			echo "warning: no C++ compiler is there: the kernels' tests fail. hint: apt-get install g++ libc6-dev" >&2; \
		fi
	@command -v pulseaudio >/dev/null && ldconfig -p | grep -q libportaudio || \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $(SOUND) >/dev/null; } || \
			echo "warning: PulseAudio and PortAudio could not be installed: the tests of the camera are skipped." >&2; \
		else \
			echo "warning: PulseAudio or PortAudio is not there: the tests of the camera are skipped. hint: apt-get install $(SOUND)" >&2; \
		fi
	@command -v turnserver >/dev/null || \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			{ apt-get -qq update && SYSTEMD_OFFLINE=1 DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends coturn >/dev/null; } || \
			echo "warning: coturn could not be installed: the tests of relays are skipped." >&2; \
		else \
			echo "warning: coturn is not there: the tests of relays are skipped. hint: apt-get install coturn" >&2; \
		fi

foreign:  ## install the Debian package of a foreign client that a test runs (root; some 60 packages)
	apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends simple-whip-client >/dev/null

check: install  ## ruff and mypy only
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: install system check  ## all checks, then all tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder

format: install  ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

serve: $(VENV)/.installed-$(strip $(USED))  ## the server and its page on 127.0.0.1
	$(BIN)/mytalk serve --host $(HOST) --port $(PORT)

demo: $(VENV)/.installed-$(strip $(USED))  ## demo.mp4: the drawn presenter says the shipped speech
	$(BIN)/mytalk demo -o demo.mp4 --overwrite

bench: install  ## speed on this machine
	$(BIN)/python -m benchmarks.speed

DATA ?= ../shared/data
PROMPTS := $(foreach language,en es fr it ru,asterisk-core-sounds-$(language)-g722)

train:  ## retrain speech to motion (DATA=folder with manifest.csv and speech.csv; an hour and a half on two cores)
	$(MAKE) install EXTRAS=test,train
	@test -d /usr/share/asterisk/sounds || { apt-get -qq update && \
		DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends espeak-ng $(PROMPTS) >/dev/null; } || \
		{ echo "error: training needs the Debian packages espeak-ng $(PROMPTS)." >&2; exit 1; }
	$(BIN)/python -m engines.train motion --data $(DATA)

clean:  ## remove caches (not the virtual environment)
	rm -rf .mypy_cache .ruff_cache .pytest_cache build dist demo.mp4
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
