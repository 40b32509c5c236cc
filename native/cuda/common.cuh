// What both compilers see first. NVRTC needs no header besides; with MYTALK_HOST the same source is plain C++, and its loop
// over the grid is at the end of this file: kernels here neither share memory nor wait for each other, on purpose.
typedef unsigned char u8;
typedef unsigned short half_bits;  // IEEE 754 binary16
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#ifdef MYTALK_HOST
#include <cmath>
#include <cstring>
#define __global__
#define __device__
#define __restrict__
struct Dim { unsigned x, y, z; };
static thread_local Dim gridDim, blockDim, blockIdx, threadIdx;
struct alignas(16) uint4 { u32 x, y, z, w; };
struct alignas(8) uint2 { u32 x, y; };

static float widen(half_bits bits) {
    u32 sign = (u32)(bits & 0x8000) << 16, exponent = bits >> 10 & 31, fraction = bits & 1023, word;
    if (exponent == 31) word = sign | 0x7f800000 | fraction << 13;
    else if (exponent) word = sign | (exponent + 112) << 23 | fraction << 13;
    else { float small = (float)fraction * 5.9604644775390625e-8f; return sign ? -small : small; }
    float value;
    std::memcpy(&value, &word, 4);
    return value;
}

static half_bits narrow(float value) {  // to the nearest, ties to even, as cvt.rn does
    u32 word;
    std::memcpy(&word, &value, 4);
    u32 sign = word >> 16 & 0x8000, size = word & 0x7fffffff;
    if (size > 0x7f800000) return (half_bits)(sign | 0x7fff);
    if (size >= 0x477ff000) return (half_bits)(sign | 0x7c00);
    if (size < 0x38800000) return (half_bits)(sign | (u32)std::nearbyint(std::fabs((double)value) * 16777216.0));
    return (half_bits)(sign | ((size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13));
}

#else
static __device__ float widen(half_bits bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

static __device__ half_bits narrow(float value) {
    half_bits bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
#endif

static __device__ float between(float value, float low, float high) {  // a NaN becomes low
    return value > low ? (value < high ? value : high) : low;
}

static __device__ u32 pair(float first, float second) { return (u32)narrow(first) | (u32)narrow(second) << 16; }

static __device__ u32 whole(float value) { return (u32)(between(value, 0, 255) + 0.5f); }

static __device__ u32 pixel(float red, float green, float blue) { return whole(red) | whole(green) << 8 | whole(blue) << 16; }

static __device__ u32 channel(u32 pixel, int c) { return pixel >> 8 * c & 255; }  // red, green, blue

static __device__ int mirrored(int at, int length) {  // beyond the border, which is not repeated
    if (length < 2) return 0;
    while (at < 0 || at >= length) at = at < 0 ? -at : 2 * length - 2 - at;
    return at;
}
