// Composite: patches matched in colour and blended into frames, for many sessions in one launch. `op.py` is the definition,
// `cuda.py` describes the arguments. Three small kernels make the colour field, `composite` writes the whole frame.
struct Composite {
    const u8* frame;      // the actor's frame, I420
    u8* out;              // the finished frame, I420
    const u32* colours;   // (h, w) bytes of the patch: red, green, blue, zero
    const u32* mask;      // (h, w) two halves: alpha, ring
    float* small;         // (rows, columns, 4) scratch, the colour field at last
    float* spread;        // (rows, columns, 4) scratch
    int height, width;    // of the frames, even
    int x, y, h, w;       // the part of the frame that the patch lies in, even
    int rows, columns;    // of the colour field; 0: colours are not matched
    int grey;             // whether the frame's own tint stays
    float strength;       // of alpha
    float sigma, outlier; // of the field, in its cells; of 255
};

struct Rgb { float r, g, b; };
struct Pixel { float r, g, b, alpha, ring; };

// BT.601, limited range, in OpenCV's whole numbers: the same bytes as `native.planes`
static __device__ u8 byte(int v) { return (u8)(v < 0 ? 0 : v > 255 ? 255 : v); }

static __device__ Rgb to_rgb(int y, int u, int v) {
    int luma = (y > 16 ? y - 16 : 0) * 1220542 + (1 << 19);
    u -= 128;
    v -= 128;
    Rgb c = {(float)byte((luma + 1673527 * v) >> 20), (float)byte((luma - 852492 * v - 409993 * u) >> 20),
             (float)byte((luma + 2116026 * u) >> 20)};
    return c;
}

static __device__ u64 chroma(const Composite& s, int row, int column, int v) {
    u64 luma = (u64)s.height * s.width;
    return luma + v * (luma / 4) + (u64)row * (s.width / 2) + column;
}

static __device__ Rgb under(const Composite& s, int x, int y) {
    return to_rgb(s.frame[(u64)y * s.width + x], s.frame[chroma(s, y / 2, x / 2, 0)], s.frame[chroma(s, y / 2, x / 2, 1)]);
}

static __device__ Pixel over(const Composite& s, int i, int j) {
    u64 at = (u64)j * s.w + i;
    u32 colour = s.colours[at], mask = s.mask[at];
    Pixel p = {(float)channel(colour, 0), (float)channel(colour, 1), (float)channel(colour, 2),
               between(widen((half_bits)mask), 0, 1) * s.strength, between(widen((half_bits)(mask >> 16)), 0, 1)};
    return p;
}

// A thread per cell of the field: the mean over its area of the difference on the ring, and of the ring.
extern "C" __global__ void colour_gather(const Composite* sessions, int count) {
    for (int at = blockIdx.y; at < count; at += gridDim.y) {
        const Composite& s = sessions[at];
        for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < s.rows * s.columns; i += gridDim.x * blockDim.x) {
            float high = (float)s.h / s.rows, wide = (float)s.w / s.columns;
            float top = i / s.columns * high, left = i % s.columns * wide, sum[4] = {0, 0, 0, 0};
            for (int y = (int)top; y < top + high && y < s.h; y++)
                for (int x = (int)left; x < left + wide && x < s.w; x++) {
                    float share = ((y + 1 < top + high ? y + 1 : top + high) - (y > top ? y : top)) *
                                  ((x + 1 < left + wide ? x + 1 : left + wide) - (x > left ? x : left));
                    Pixel p = over(s, x, y);
                    if (p.ring <= 0) continue;
                    Rgb f = under(s, s.x + x, s.y + y);
                    float r = f.r - p.r, g = f.g - p.g, b = f.b - p.b;
                    float weight = share * p.ring / (1 + (r * r + g * g + b * b) / (3 * s.outlier * s.outlier));
                    sum[0] += weight * r; sum[1] += weight * g; sum[2] += weight * b; sum[3] += weight;
                }
            for (int c = 0; c < 4; c++) s.small[4 * i + c] = sum[c] / (high * wide);
        }
    }
}

static __device__ void blur(const float* from, int at, int length, int stride, float sigma, float* sum) {
    int reach = (int)(4 * sigma + 0.5f);
    float all = 0;
    sum[0] = sum[1] = sum[2] = sum[3] = 0;
    for (int d = -reach; d <= reach; d++) {
        float weight = expf(-0.5f * d * d / (sigma * sigma));
        all += weight;
        if (at + d < 0 || at + d >= length) continue;
        for (int c = 0; c < 4; c++) sum[c] += weight * from[4 * d * stride + c];
    }
    for (int c = 0; c < 4; c++) sum[c] /= all;
}

extern "C" __global__ void colour_rows(const Composite* sessions, int count) {
    for (int at = blockIdx.y; at < count; at += gridDim.y) {
        const Composite& s = sessions[at];
        for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < s.rows * s.columns; i += gridDim.x * blockDim.x)
            blur(s.small + 4 * i, i % s.columns, s.columns, 1, s.sigma, s.spread + 4 * i);
    }
}

extern "C" __global__ void colour_columns(const Composite* sessions, int count) {
    for (int at = blockIdx.y; at < count; at += gridDim.y) {
        const Composite& s = sessions[at];
        for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < s.rows * s.columns; i += gridDim.x * blockDim.x) {
            float sum[4];
            blur(s.spread + 4 * i, i / s.columns, s.rows, s.columns, s.sigma, sum);
            float weight = sum[3] > 1e-4f ? sum[3] : 1e-4f;
            for (int c = 0; c < 3; c++) s.small[4 * i + c] = sum[c] / weight;
        }
    }
}

static __device__ Rgb match(const Composite& s, int i, int j) {
    Rgb m = {0, 0, 0};
    if (s.rows < 1 || s.columns < 1) return m;
    float x = between((i + 0.5f) * s.columns / s.w - 0.5f, 0, s.columns - 1.f);
    float y = between((j + 0.5f) * s.rows / s.h - 0.5f, 0, s.rows - 1.f);
    int left = (int)x, top = (int)y, right = left + 1 < s.columns ? left + 1 : left, bottom = top + 1 < s.rows ? top + 1 : top;
    float u = x - left, v = y - top, found[3];
    for (int c = 0; c < 3; c++) {
        float upper = s.small[4 * (top * s.columns + left) + c] * (1 - u) + s.small[4 * (top * s.columns + right) + c] * u;
        float lower = s.small[4 * (bottom * s.columns + left) + c] * (1 - u) + s.small[4 * (bottom * s.columns + right) + c] * u;
        found[c] = upper * (1 - v) + lower * v;
    }
    m.r = found[0]; m.g = found[1]; m.b = found[2];
    return m;
}

static __device__ int mix(float under, float over, float alpha) { return (int)(between(under + alpha * (over - under), 0, 255) + 0.5f); }

// A thread per block of 2x2: four of luma, two of chroma. Blocks outside the part are copied.
extern "C" __global__ void composite(const Composite* sessions, int count) {
    for (int at = blockIdx.y; at < count; at += gridDim.y) {
        const Composite& s = sessions[at];
        int across = s.width / 2, blocks = across * (s.height / 2);
        for (int b = blockIdx.x * blockDim.x + threadIdx.x; b < blocks; b += gridDim.x * blockDim.x) {
            int row = b / across, column = b % across;
            bool part = 2 * column >= s.x && 2 * column < s.x + s.w && 2 * row >= s.y && 2 * row < s.y + s.h, touched = false;
            u8 u = s.frame[chroma(s, row, column, 0)];
            u8 v = s.frame[chroma(s, row, column, 1)];
            u8 new_u = u, new_v = v;
            for (int k = 0; k < 4; k++) {
                int x = 2 * column + k % 2, y = 2 * row + k / 2;
                u8 luma = s.frame[(u64)y * s.width + x];
                Pixel p = {0, 0, 0, 0, 0};
                if (part) p = over(s, x - s.x, y - s.y);
                if (p.alpha > 0 || (part && k == 0)) {  // chroma is that of the first pixel, as in OpenCV
                    Rgb f = to_rgb(luma, u, v), m = match(s, x - s.x, y - s.y);
                    int red = mix(f.r, p.r + m.r, p.alpha), green = mix(f.g, p.g + m.g, p.alpha), blue = mix(f.b, p.b + m.b, p.alpha);
                    if (k == 0) {
                        new_u = byte((-155188 * red - 305135 * green + 460324 * blue + (257 << 19)) >> 20);
                        new_v = byte((460324 * red - 385875 * green - 74448 * blue + (257 << 19)) >> 20);
                    }
                    if (p.alpha > 0) luma = byte((269484 * red + 528482 * green + 102760 * blue + (33 << 19)) >> 20);
                }
                touched |= p.alpha > 0;
                s.out[(u64)y * s.width + x] = luma;
            }
            touched &= !s.grey;
            s.out[chroma(s, row, column, 0)] = touched ? new_u : u;
            s.out[chroma(s, row, column, 1)] = touched ? new_v : v;
        }
    }
}
