// Warp: reference pictures moved onto a mesh and blended, for many sessions in one launch. `op.py` is the definition,
// `cuda.py` describes the arguments. Two kernels: `bin` notes which triangles touch which tile, `warp` makes the pixels.
const int TILE = 16;
const float EDGE = 1e-5f;  // a pixel on a shared edge belongs to one of the two triangles at least

struct Warp {
    const half_bits* pictures;  // (count, height_in, width_in, 4), of 255; the fourth is padding
    const float* weights;       // (count)
    const float* sources;       // (count, vertices, 2)
    const float* target;        // (vertices, 2)
    const int* triangles;       // (faces, 3)
    const float* values;        // (vertices, channels)
    const half_bits* flow;      // (count, height, width, 2) added to where is sampled, or null
    u32* bins;                  // (tiles, ceil(faces / 32)) scratch
    half_bits* out;             // (height, width, 8) or (8, height, width): red, green, blue, values, zeros
    int count, height_in, width_in, vertices, faces, channels, height, width;
    int planar, cubic;
    float gain, offset;         // colours leave as gain * colour + offset
};

struct Place { float u, v; bool inside; };

static __device__ Place place(const Warp& s, int face, float x, float y) {
    Place p = {0, 0, false};
    const int* t = s.triangles + 3 * face;
    for (int i = 0; i < 3; i++) if ((u32)t[i] >= (u32)s.vertices) return p;
    const float *a = s.target + 2 * t[0], *b = s.target + 2 * t[1], *c = s.target + 2 * t[2];
    float bx = b[0] - a[0], by = b[1] - a[1], cx = c[0] - a[0], cy = c[1] - a[1];
    float area = bx * cy - by * cx;
    if (!(area > 1e-3f || area < -1e-3f)) return p;
    float dx = x - a[0], dy = y - a[1];
    p.u = (dx * cy - dy * cx) / area;
    p.v = (dy * bx - dx * by) / area;
    p.inside = p.u >= -EDGE && p.v >= -EDGE && p.u + p.v <= 1 + EDGE;
    return p;
}

extern "C" __global__ void warp_bin(const Warp* sessions, int count) {
    for (int at = blockIdx.y; at < count; at += gridDim.y) {
        const Warp& s = sessions[at];
        int across = (s.width + TILE - 1) / TILE, tiles = across * ((s.height + TILE - 1) / TILE), words = (s.faces + 31) / 32;
        for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < tiles * words; i += gridDim.x * blockDim.x) {
            int tile = i / words, first = i % words * 32;
            float x0 = tile % across * TILE - 0.5f, y0 = tile / across * TILE - 0.5f, x1 = x0 + TILE, y1 = y0 + TILE;
            u32 mask = 0;
            for (int k = 0; k < 32 && first + k < s.faces; k++) {
                const int* t = s.triangles + 3 * (first + k);
                float left = 3e38f, top = 3e38f, right = -3e38f, bottom = -3e38f;
                bool known = true;
                for (int j = 0; j < 3; j++) {
                    if ((u32)t[j] >= (u32)s.vertices) { known = false; continue; }
                    float x = s.target[2 * t[j]], y = s.target[2 * t[j] + 1];
                    left = x < left ? x : left; right = x > right ? x : right;
                    top = y < top ? y : top; bottom = y > bottom ? y : bottom;
                }
                if (known && left <= x1 && right >= x0 && top <= y1 && bottom >= y0) mask |= 1u << k;
            }
            s.bins[i] = mask;
        }
    }
}

static __device__ void add_pixel(const Warp& s, const half_bits* picture, int x, int y, float weight, float* colour) {
    x = x < 0 ? 0 : x >= s.width_in ? s.width_in - 1 : x;
    y = y < 0 ? 0 : y >= s.height_in ? s.height_in - 1 : y;
    uint2 four = *(const uint2*)(picture + 4 * ((u64)y * s.width_in + x));
    colour[0] += weight * widen((half_bits)four.x);
    colour[1] += weight * widen((half_bits)(four.x >> 16));
    colour[2] += weight * widen((half_bits)four.y);
}

static __device__ void cubic_weights(float t, float* w) {  // the same cubic as OpenCV's, -0.75 at the border
    const float A = -0.75f;
    w[0] = ((A * (t + 1) - 5 * A) * (t + 1) + 8 * A) * (t + 1) - 4 * A;
    w[1] = ((A + 2) * t - (A + 3)) * t * t + 1;
    w[2] = ((A + 2) * (1 - t) - (A + 3)) * (1 - t) * (1 - t) + 1;
    w[3] = 1 - w[0] - w[1] - w[2];
}

static __device__ void sample(const Warp& s, const half_bits* picture, float x, float y, float* colour) {
    x = between(x, 0, s.width_in - 1.f);
    y = between(y, 0, s.height_in - 1.f);
    int left = (int)x, top = (int)y;
    float u = x - left, v = y - top;
    colour[0] = colour[1] = colour[2] = 0;
    if (!s.cubic) {
        add_pixel(s, picture, left, top, (1 - u) * (1 - v), colour);
        add_pixel(s, picture, left + 1, top, u * (1 - v), colour);
        add_pixel(s, picture, left, top + 1, (1 - u) * v, colour);
        add_pixel(s, picture, left + 1, top + 1, u * v, colour);
        return;
    }
    float wx[4], wy[4];
    cubic_weights(u, wx);
    cubic_weights(v, wy);
    for (int j = 0; j < 4; j++)
        for (int i = 0; i < 4; i++) add_pixel(s, picture, left + i - 1, top + j - 1, wx[i] * wy[j], colour);
    for (int c = 0; c < 3; c++) colour[c] = between(colour[c], 0, 255);
}

extern "C" __global__ void warp(const Warp* sessions, int count) {
    for (int at = blockIdx.y; at < count; at += gridDim.y) {
        const Warp& s = sessions[at];
        int across = (s.width + TILE - 1) / TILE, tiles = across * ((s.height + TILE - 1) / TILE), words = (s.faces + 31) / 32;
        u64 area = (u64)s.height * s.width;
        for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < tiles * TILE * TILE; i += gridDim.x * blockDim.x) {
            int tile = i / (TILE * TILE), x = tile % across * TILE + i % TILE, y = tile / across * TILE + i / TILE % TILE;
            if (x >= s.width || y >= s.height) continue;
            float made[8] = {0, 0, 0, 0, 0, 0, 0, 0};
            Place p = {0, 0, false};
            int face = 0;
            for (int word = words - 1; word >= 0 && !p.inside; word--) {  // the later triangle counts
                u32 mask = s.bins[(u64)tile * words + word];
                for (int k = 31; k >= 0 && mask && !p.inside; k--) {
                    if (!(mask >> k & 1)) continue;
                    face = word * 32 + k;
                    p = place(s, face, (float)x, (float)y);
                }
            }
            u64 pixel = (u64)y * s.width + x;
            if (p.inside) {
                const int* t = s.triangles + 3 * face;
                float r = 1 - p.u - p.v;
                for (int c = 0; c < s.channels && c < 5; c++)
                    made[3 + c] = r * s.values[t[0] * s.channels + c] + p.u * s.values[t[1] * s.channels + c] +
                                  p.v * s.values[t[2] * s.channels + c];
                for (int k = 0; k < s.count; k++) {
                    const float* q = s.sources + 2 * (u64)k * s.vertices;
                    float qx = r * q[2 * t[0]] + p.u * q[2 * t[1]] + p.v * q[2 * t[2]];
                    float qy = r * q[2 * t[0] + 1] + p.u * q[2 * t[1] + 1] + p.v * q[2 * t[2] + 1];
                    if (s.flow) {
                        const half_bits* f = s.flow + 2 * (k * area + pixel);
                        qx += widen(f[0]);
                        qy += widen(f[1]);
                    }
                    float colour[3];
                    sample(s, s.pictures + 4 * (u64)k * s.height_in * s.width_in, qx, qy, colour);
                    for (int c = 0; c < 3; c++) made[c] += s.weights[k] * colour[c];
                }
            }
            for (int c = 0; c < 3; c++) made[c] = s.gain * made[c] + s.offset;
            if (s.planar) {
                for (int c = 0; c < 8; c++) s.out[c * area + pixel] = narrow(made[c]);
            } else {
                uint4 eight = {pair(made[0], made[1]), pair(made[2], made[3]), pair(made[4], made[5]), pair(made[6], made[7])};
                *(uint4*)(s.out + 8 * pixel) = eight;
            }
        }
    }
}
