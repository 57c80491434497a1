# LibTorch out of the torch wheel in a Python environment: RETORT_PYTHON names its interpreter (default: .venv of the
# checkout). The wheel's own TorchConfig.cmake fails when the wheel is the CUDA build and the machine has no CUDA toolkit, so
# the libraries are named here directly. Gives the target retort_libtorch and RETORT_CUDA.
set(RETORT_PYTHON "${PROJECT_SOURCE_DIR}/.venv/bin/python" CACHE FILEPATH "interpreter of the environment that holds torch")
execute_process(
  COMMAND ${RETORT_PYTHON} -c "import importlib.util as u; print(list(u.find_spec('torch').submodule_search_locations)[0])"
  OUTPUT_VARIABLE torch_dir OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "no torch in ${RETORT_PYTHON}: run scripts/install-dependencies, or name an interpreter that has torch "
                      "with -DRETORT_PYTHON=..., or build the edge half alone with -DRETORT_TORCH=OFF")
endif()

add_library(retort_libtorch INTERFACE)
target_include_directories(retort_libtorch SYSTEM INTERFACE ${torch_dir}/include ${torch_dir}/include/torch/csrc/api/include)
# Not libtorch.so: it holds nothing, and in the CUDA build it needs all of CUDA.
target_link_libraries(retort_libtorch INTERFACE ${torch_dir}/lib/libtorch_cpu.so ${torch_dir}/lib/libc10.so)
target_link_options(retort_libtorch INTERFACE -Wl,-rpath,${torch_dir}/lib)
# The OpenMP runtime that the wheel brings: a second one beside it would have its own threads.
file(GLOB torch_openmp ${torch_dir}/lib/libgomp*.so*)
if(torch_openmp)
  target_link_libraries(retort_libtorch INTERFACE ${torch_openmp})
else()
  target_link_options(retort_libtorch INTERFACE -fopenmp)
endif()
# at::parallel_for is silently serial in units compiled without OpenMP.
target_compile_options(retort_libtorch INTERFACE -fopenmp)
target_link_options(retort_libtorch INTERFACE -Wl,--no-as-needed)

# See model/jemalloc_options.h; sanitizers bring an allocator of their own.
if(NOT RETORT_SANITIZE)
  find_library(RETORT_JEMALLOC jemalloc REQUIRED)
  target_link_libraries(retort_libtorch INTERFACE ${RETORT_JEMALLOC})
endif()

# Linked only where every CUDA library that it needs can be loaded: a CUDA wheel on a machine without a GPU runs on the CPU.
set(RETORT_CUDA OFF)
if(EXISTS ${torch_dir}/lib/libtorch_cuda.so)
  execute_process(COMMAND ldd ${torch_dir}/lib/libtorch_cuda.so OUTPUT_VARIABLE needs ERROR_QUIET)
  if(NOT needs MATCHES "not found")
    set(RETORT_CUDA ON)
    target_link_libraries(retort_libtorch INTERFACE ${torch_dir}/lib/libtorch_cuda.so ${torch_dir}/lib/libc10_cuda.so)
  endif()
endif()
message(STATUS "LibTorch: ${torch_dir} (CUDA: ${RETORT_CUDA})")
