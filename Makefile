# The two commands of the README, and the tools of daily work. Everything lands in build/ and .venv/.
BUILD ?= build
JOBS  ?= $(shell nproc)
CMAKE_FLAGS = -G Ninja -DCMAKE_CXX_COMPILER_LAUNCHER=ccache
export CCACHE_SLOPPINESS = pch_defines,time_macros

.PHONY: all demo test test-long format clean

all:
	scripts/install-dependencies
	cmake -S . -B $(BUILD) $(CMAKE_FLAGS) >/dev/null
	cmake --build $(BUILD) -j $(JOBS) --target retort

# Teacher → cut student → distilled student → judged → runs/quickstart/report.html
demo:
	scripts/install-dependencies
	cmake -S . -B $(BUILD) $(CMAKE_FLAGS) -DRETORT_TESTS=OFF >/dev/null
	cmake --build $(BUILD) -j $(JOBS) --target retort
	$(BUILD)/bin/retort run recipes/quickstart.yaml

test:
	scripts/install-dependencies --tests
	cmake -S . -B $(BUILD) $(CMAKE_FLAGS) -DRETORT_TESTS=ON >/dev/null
	cmake --build $(BUILD) -j $(JOBS)
	ctest --test-dir $(BUILD) --output-on-failure -LE long

# Sanitizers, kill tests and what else takes long.
test-long:
	scripts/install-dependencies --tests
	cmake -S . -B $(BUILD)-sanitize $(CMAKE_FLAGS) -DRETORT_TESTS=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo -DRETORT_SANITIZE=address,undefined >/dev/null
	cmake --build $(BUILD)-sanitize -j $(JOBS)
	ASAN_OPTIONS=detect_leaks=0 ctest --test-dir $(BUILD)-sanitize --output-on-failure -L unit
	cmake -S . -B $(BUILD) $(CMAKE_FLAGS) -DRETORT_TESTS=ON >/dev/null
	cmake --build $(BUILD) -j $(JOBS)
	ctest --test-dir $(BUILD) --output-on-failure

format:
	git ls-files 'src/*.h' 'src/*.cc' 'tests/*.h' 'tests/*.cc' 'bench/*.cc' | xargs clang-format -i

clean:
	rm -rf $(BUILD) $(BUILD)-sanitize
