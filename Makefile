# The two commands of the README, and the tools of daily work. Everything lands in build/ and .venv/.
BUILD ?= build
JOBS  ?= $(shell nproc)
CMAKE_FLAGS = -G Ninja -DCMAKE_CXX_COMPILER_LAUNCHER=ccache
export CCACHE_SLOPPINESS = pch_defines,time_macros
# Paths below it are relative to the compiler cache: the edge half's own build finds there what the other build has compiled.
export CCACHE_BASEDIR = $(CURDIR)

.PHONY: all demo test test-edge test-long fuzz format clean

all:
	scripts/install-dependencies
	cmake -S . -B $(BUILD) $(CMAKE_FLAGS) -DRETORT_TESTS=OFF >/dev/null
	cmake --build $(BUILD) -j $(JOBS) --target retort retort-edge

# Teacher → cut student → distilled student → 8 and 4 bits → judged → runs/quickstart/report.html
demo:
	scripts/install-dependencies
	cmake -S . -B $(BUILD) $(CMAKE_FLAGS) -DRETORT_TESTS=OFF >/dev/null
	cmake --build $(BUILD) -j $(JOBS) --target retort retort-edge
	$(BUILD)/bin/retort run recipes/quickstart.yaml
	@echo "Talk to the student in 8 bits:  $(BUILD)/bin/retort-edge chat --model runs/quickstart/student-q8_0.gguf"

test:
	scripts/install-dependencies --tests
	cmake -S . -B $(BUILD) $(CMAKE_FLAGS) -DRETORT_TESTS=ON >/dev/null
	cmake --build $(BUILD) -j $(JOBS)
	$(MAKE) --no-print-directory test-edge
	ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS) -LE long

# The half without LibTorch stands alone: built in a folder of its own, its tests run there.
test-edge:
	scripts/install-dependencies --tests
	cmake -S . -B $(BUILD)-edge $(CMAKE_FLAGS) -DRETORT_TESTS=ON -DRETORT_TORCH=OFF -DRETORT_PYTHON=$(CURDIR)/.venv/bin/python >/dev/null
	cmake --build $(BUILD)-edge -j $(JOBS)
	ctest --test-dir $(BUILD)-edge --output-on-failure -j $(JOBS) -R '^(unit|cli)\.' -LE long

# Sanitizers, kill tests and what else takes long.
test-long:
	scripts/install-dependencies --tests
	scripts/install-dependencies --cross
	cmake -S . -B $(BUILD)-sanitize $(CMAKE_FLAGS) -DRETORT_TESTS=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo -DRETORT_SANITIZE=address,undefined >/dev/null
	cmake --build $(BUILD)-sanitize -j $(JOBS)
	ASAN_OPTIONS=detect_leaks=0 ctest --test-dir $(BUILD)-sanitize --output-on-failure -j $(JOBS) -R '^unit\.'
	cmake -S . -B $(BUILD) $(CMAKE_FLAGS) -DRETORT_TESTS=ON >/dev/null
	cmake --build $(BUILD) -j $(JOBS)
	ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)
	$(MAKE) fuzz

# Readers of files that may be hostile, a minute each (SECONDS_EACH), from the corpus in tests/fuzz.
SECONDS_EACH ?= 60
fuzz:
	scripts/install-dependencies --fuzz
	cmake -S . -B $(BUILD)-fuzz $(CMAKE_FLAGS) -DCMAKE_CXX_COMPILER=clang++ -DRETORT_TORCH=OFF -DRETORT_FUZZ=ON -DRETORT_FUZZ_SECONDS=$(SECONDS_EACH) >/dev/null
	cmake --build $(BUILD)-fuzz -j $(JOBS) --target fuzzers
	ctest --test-dir $(BUILD)-fuzz --output-on-failure -L fuzz

format:
	@command -v clang-format >/dev/null || { echo "clang-format is missing: apt-get install -y clang-format-14"; exit 1; }
	git ls-files 'src/*.h' 'src/*.cc' 'src/*.inc' 'tests/*.h' 'tests/*.cc' 'bench/*.cc' ':!*_tables.inc' | xargs clang-format -i

clean:
	rm -rf $(BUILD) $(BUILD)-edge $(BUILD)-sanitize $(BUILD)-fuzz
