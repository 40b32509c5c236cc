// Sharpen: fine detail given back to patches until their boxes are as sharp as wanted, for many sessions in one launch. `op.py`
// is the definition, `cuda.py` describes the arguments. Whole numbers throughout, as OpenCV has them, so that sums are exact.
const int PARTS = 128, TAPS = 16, SMALLEST = 8;

struct Sharpen {
    u32* colours;      // (h, w) bytes: red, green, blue, zero; sharpened where they lie
    uint2* across;     // (h, w) scratch: red, green, blue blurred along rows, in 256ths
    u32* soft;         // (h, w) scratch: the same, blurred
    i64* sums;         // (5, PARTS) scratch
    float* amount;     // of detail that was given back
    int h, w, top, bottom, left, right, reach;
    int taps[TAPS];    // of the Gaussian, from its middle outwards, in 256ths
    float wanted, before, quick;
};

static __device__ bool judged(const Sharpen& s) { return s.bottom - s.top >= SMALLEST && s.right - s.left >= SMALLEST; }

extern "C" __global__ void sharpen_rows(const Sharpen* sessions, int count) {
    for (int at = blockIdx.y; at < count; at += gridDim.y) {
        const Sharpen& s = sessions[at];
        if (!judged(s)) continue;
        for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < s.h * s.w; i += gridDim.x * blockDim.x) {
            int y = i / s.w, x = i % s.w;
            u32 red = 0, green = 0, blue = 0;
            for (int d = -s.reach; d <= s.reach; d++) {
                u32 weight = s.taps[d < 0 ? -d : d];
                u32 bytes = s.colours[(u64)y * s.w + mirrored(x + d, s.w)];
                red += weight * channel(bytes, 0);
                green += weight * channel(bytes, 1);
                blue += weight * channel(bytes, 2);
            }
            uint2 sum = {red | green << 16, blue};
            s.across[i] = sum;
        }
    }
}

extern "C" __global__ void sharpen_columns(const Sharpen* sessions, int count) {
    for (int at = blockIdx.y; at < count; at += gridDim.y) {
        const Sharpen& s = sessions[at];
        if (!judged(s)) continue;
        for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < s.h * s.w; i += gridDim.x * blockDim.x) {
            int y = i / s.w, x = i % s.w;
            u32 red = 1 << 15, green = 1 << 15, blue = 1 << 15;
            for (int d = -s.reach; d <= s.reach; d++) {
                u32 weight = s.taps[d < 0 ? -d : d];
                uint2 sum = s.across[(u64)mirrored(y + d, s.h) * s.w + x];
                red += weight * (sum.x & 0xffff);
                green += weight * (sum.x >> 16);
                blue += weight * sum.y;
            }
            s.soft[i] = red >> 16 | green >> 16 << 8 | blue >> 16 << 16;
        }
    }
}

// Of the green of a patch; at the box's border mirrored, as if nothing lay beyond.
static __device__ int laplacian(const Sharpen& s, const u32* patch, int row, int column) {
    int height = s.bottom - s.top, width = s.right - s.left;
    const u32* line = patch + (u64)(s.top + row) * s.w + s.left;
    const u32* above = patch + (u64)(s.top + mirrored(row - 1, height)) * s.w + s.left;
    const u32* below = patch + (u64)(s.top + mirrored(row + 1, height)) * s.w + s.left;
    int around = channel(above[column], 1) + channel(below[column], 1) + channel(line[mirrored(column - 1, width)], 1) +
                 channel(line[mirrored(column + 1, width)], 1);
    return around - 4 * (int)channel(line[column], 1);
}

extern "C" __global__ void sharpen_sums(const Sharpen* sessions, int count) {
    for (int at = blockIdx.y; at < count; at += gridDim.y) {
        const Sharpen& s = sessions[at];
        if (!judged(s)) continue;
        int width = s.right - s.left, area = (s.bottom - s.top) * width;
        for (int part = blockIdx.x * blockDim.x + threadIdx.x; part < PARTS; part += gridDim.x * blockDim.x) {
            i64 sum[5] = {0, 0, 0, 0, 0};
            for (int i = part; i < area; i += PARTS) {
                i64 x = laplacian(s, s.colours, i / width, i % width), fine = x - laplacian(s, s.soft, i / width, i % width);
                sum[0] += x; sum[1] += fine; sum[2] += x * x; sum[3] += x * fine; sum[4] += fine * fine;
            }
            for (int k = 0; k < 5; k++) s.sums[k * PARTS + part] = sum[k];
        }
    }
}

extern "C" __global__ void sharpen_amount(const Sharpen* sessions, int count) {
    for (int at = blockIdx.y; at < count; at += gridDim.y) {
        const Sharpen& s = sessions[at];
        if (blockIdx.x || threadIdx.x) continue;
        if (!judged(s)) {
            if (s.amount) *s.amount = s.before;
            continue;
        }
        double sum[5];
        for (int k = 0; k < 5; k++) {
            i64 all = 0;
#pragma unroll 1
            for (int part = 0; part < PARTS; part++) all += s.sums[k * PARTS + part];
            sum[k] = (double)all;
        }
        double n = (double)(s.bottom - s.top) * (s.right - s.left);
        double own = (sum[2] - sum[0] * sum[0] / n) / (n - 1), both = (sum[3] - sum[0] * sum[1] / n) / (n - 1);
        double fine = (sum[4] - sum[1] * sum[1] / n) / (n - 1), lacking = s.wanted - own;
        float amount = lacking > 0 && fine > 1e-6 ? between((float)((sqrt(both * both + fine * lacking) - both) / fine), 0, 1) : 0;
        *s.amount = s.before < 0 ? amount : s.before + s.quick * (amount - s.before);
    }
}

extern "C" __global__ void sharpen(const Sharpen* sessions, int count) {
    for (int at = blockIdx.y; at < count; at += gridDim.y) {
        const Sharpen& s = sessions[at];
        if (!judged(s)) continue;
        float more = *s.amount;
        if (more == 0) continue;
        for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < s.h * s.w; i += gridDim.x * blockDim.x) {
            u32 old = s.colours[i], soft = s.soft[i];
            float made[3];
            for (int c = 0; c < 3; c++) made[c] = (1 + more) * channel(old, c) - more * channel(soft, c);
            s.colours[i] = pixel(made[0], made[1], made[2]);
        }
    }
}
