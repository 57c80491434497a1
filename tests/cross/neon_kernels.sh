#!/usr/bin/env bash
# The kernels for Arm, cross-compiled and run under qemu: each set of NEON against plain loops in double, as on this machine.
#   neon_kernels.sh BUILD_FOLDER
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$1

missing=()
command -v aarch64-linux-gnu-g++ >/dev/null || missing+=(g++-aarch64-linux-gnu)
command -v qemu-aarch64 >/dev/null || missing+=(qemu-user)
[[ -d /usr/src/googletest ]] || missing+=(libgtest-dev)
if ((${#missing[@]})); then
  echo "skipped: apt-get install ${missing[*]}"
  exit 77
fi

cmake -S "$here" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
  -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ >/dev/null
cmake --build "$build"
for set in neon_dotprod neon_i8mm; do  # an error where it is not among the sets that the processor can run
  RETORT_ISA=$set qemu-aarch64 -cpu max "$build/kernels_test" --gtest_brief=1 --gtest_filter='KernelSets.*'
done
qemu-aarch64 -cpu max "$build/kernels_test" --gtest_brief=1
