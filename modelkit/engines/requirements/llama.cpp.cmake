# Read by CMake at llama.cpp's own project(). llama-cpp-python forces llama.cpp's `common` library on, which nothing in it
# uses: 57 of 193 steps, the longest among them.
set(LLAMA_BUILD_COMMON OFF)
