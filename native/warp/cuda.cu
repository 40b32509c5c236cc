// Warp: reference pictures moved onto a mesh and blended, for many sessions in one launch. `op.py` is the definition,
// `cuda.py` describes the arguments. As in the twin, the mesh is painted on a grid of cells and read from there between them: four
// kernels, of which `warp_edges` says how each triangle is painted, `warp_bin` which touch which tile, `warp_field` where each cell lies in
// the pictures, and `warp` makes the pixels.
const int TILE = 16, TABLE = 35;
const float FAR = 8000;     // cells: a vertex that lies beyond is taken to lie there
const float BEYOND = 1.2f;  // cells that a triangle may be read beyond its edges

struct Warp {
    const u32* pictures;        // (stored, height_in, width_in) bytes: red, green, blue, padding
    const float* sources;       // (stored, vertices, 2)
    const int* which;           // (count) of the stored pictures are blended; null: the first ones
    const float* weights;       // (count)
    const float* target;        // (vertices, 2)
    const int* triangles;       // (faces, 3)
    const float* values;        // (vertices, channels)
    const half_bits* flow;      // (count, height, width, 2) added to where is sampled, or null
    int* edges;                 // (faces, TABLE) scratch
    u32* bins;                  // (tiles, ceil(faces / 32)) scratch
    float* field;               // (rows, columns, 2 * count + channels) scratch
    u32* colours;               // (height, width) bytes: red, green, blue, zero
    u32* mask;                  // (height, width) two halves: the values
    int stored, count, height_in, width_in, vertices, faces, channels, height, width, rows, columns;
    float across, down;         // cells in a pixel
};

struct Point { float x, y; };

static __device__ Point cell(const Warp& s, int vertex) {
    Point p = {between((s.target[2 * vertex] + 0.5f) * s.across - 0.5f, -FAR, FAR),
               between((s.target[2 * vertex + 1] + 0.5f) * s.down - 0.5f, -FAR, FAR)};
    return p;
}

static __device__ bool known(const Warp& s, int face) {
    const int* t = s.triangles + 3 * face;
    return (u32)t[0] < (u32)s.vertices && (u32)t[1] < (u32)s.vertices && (u32)t[2] < (u32)s.vertices;
}

// An edge as OpenCV draws it: {along y, first cell, cells, where it crosses the first and how it goes on in 65536ths, last x, last y}.
static __device__ void line(int* out, int x0, int y0, int x1, int y1) {
    int dx = x1 - x0, dy = y1 - y0, steep = (dx < 0 ? -dx : dx) <= (dy < 0 ? -dy : dy);
    if (steep ? dy < 0 : dx < 0) {
        int x = x0, y = y0;
        x0 = x1; y0 = y1; x1 = x; y1 = y;
        dx = -dx; dy = -dy;
    }
    const int HALF = 1 << 15;
    int length = steep ? dy : dx;
    out[0] = steep;
    out[1] = ((steep ? y0 : x0) + HALF) >> 16;
    out[2] = length >> 16;
    out[3] = (steep ? x0 : y0) + HALF;
    out[4] = (int)((i64)(steep ? dx : dy) * 65536 / (length | 1));
    out[5] = (x1 + HALF) >> 16;
    out[6] = (y1 + HALF) >> 16;
}

// How OpenCV fills a triangle: {first row, last row, two sides of two {row from which on, x there, x a row}, three lines}.
extern "C" __global__ void warp_edges(const Warp* sessions, int count) {
    for (int at = blockIdx.y; at < count; at += gridDim.y) {
        const Warp& s = sessions[at];
        for (int face = blockIdx.x * blockDim.x + threadIdx.x; face < s.faces; face += gridDim.x * blockDim.x) {
            int *table = s.edges + TABLE * (u64)face, x[3], row[3], y16[3], top = 0, last;
            for (int i = 0; i < TABLE; i++) table[i] = 0;
            table[0] = 1;  // nothing: the last row is before the first
            for (int k = 0; k < 3; k++) table[14 + 7 * k + 2] = table[14 + 7 * k + 5] = -1;
            if (!known(s, face)) continue;
            for (int k = 0; k < 3; k++) {
                Point p = cell(s, s.triangles[3 * face + k]);
                int sixteenths = (int)rintf(p.y * 16);
                x[k] = (int)rintf(p.x * 16) * 4096;
                y16[k] = sixteenths * 4096;
                row[k] = (sixteenths + 8) >> 4;
                if (y16[k] < y16[top]) top = k;
            }
            last = row[0] > row[1] ? row[0] : row[1];
            table[0] = row[top];
            table[1] = last > row[2] ? last : row[2];
            int y = row[top], left = 3, from[2] = {top, top}, until[2] = {y, y}, found[2] = {0, 0};
            for (int side = 0; side < 2; side++)
                for (int part = 0; part < 2; part++) {
                    int* segment = table + 2 + 6 * side + 3 * part;
                    segment[0] = part ? 0x7fffffff : y;
                    segment[1] = -(1 << 16);
                }
            while (left > 0) {
                for (int side = 0; side < 2; side++) {
                    bool wanted = y >= until[side];
                    while (wanted && left > 0) {
                        int begin = from[side], end = (begin + 1 + side) % 3, rows = row[end] - y;
                        left--;
                        from[side] = end;
                        if (rows <= 0) continue;
                        int* segment = table + 2 + 6 * side + 3 * (found[side] ? 1 : 0);
                        segment[0] = y;
                        segment[1] = x[begin];
                        segment[2] = (int)((2 * ((i64)x[end] - x[begin]) + rows) / (2 * rows));
                        until[side] = row[end];
                        found[side]++;
                        wanted = false;
                    }
                }
                int next = until[0] < until[1] ? until[0] : until[1];
                y = next > y ? next : (until[0] > until[1] ? until[0] : until[1]);
            }
            for (int k = 0; k < 3; k++) line(table + 14 + 7 * k, x[(k + 2) % 3], y16[(k + 2) % 3], x[k], y16[k]);
        }
    }
}

static __device__ bool painted(const int* table, int x, int y) {
    if (y >= table[0] && y <= table[1]) {
        i64 ends[2];
        for (int side = 0; side < 2; side++) {
            const int* segment = table + 2 + 6 * side;
            if (y >= segment[3]) segment += 3;
            ends[side] = (segment[1] + (i64)segment[2] * (y - segment[0]) + (1 << 15)) >> 16;
        }
        if (x >= (ends[0] < ends[1] ? ends[0] : ends[1]) && x <= (ends[0] < ends[1] ? ends[1] : ends[0])) return true;
    }
    for (int k = 0; k < 3; k++) {
        const int* l = table + 14 + 7 * k;
        int along = (l[0] ? y : x) - l[1];
        if (along >= 0 && along <= l[2] && (int)((l[3] + (i64)along * l[4]) >> 16) == (l[0] ? x : y)) return true;
        if (x == l[5] && y == l[6]) return true;
    }
    return false;
}

extern "C" __global__ void warp_bin(const Warp* sessions, int count) {
    for (int at = blockIdx.y; at < count; at += gridDim.y) {
        const Warp& s = sessions[at];
        int across = (s.columns + TILE - 1) / TILE, tiles = across * ((s.rows + TILE - 1) / TILE), words = (s.faces + 31) / 32;
        for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < tiles * words; i += gridDim.x * blockDim.x) {
            int tile = i / words, first = i % words * 32;
            float x0 = tile % across * TILE - 1.5f, y0 = tile / across * TILE - 1.5f, x1 = x0 + TILE + 2, y1 = y0 + TILE + 2;
            u32 mask = 0;
            for (int k = 0; k < 32 && first + k < s.faces; k++) {
                if (!known(s, first + k)) continue;
                float left = FAR, top = FAR, right = -FAR, bottom = -FAR;
                for (int j = 0; j < 3; j++) {
                    Point p = cell(s, s.triangles[3 * (first + k) + j]);
                    left = p.x < left ? p.x : left; right = p.x > right ? p.x : right;
                    top = p.y < top ? p.y : top; bottom = p.y > bottom ? p.y : bottom;
                }
                if (left <= x1 && right >= x0 && top <= y1 && bottom >= y0) mask |= 1u << k;
            }
            s.bins[i] = mask;
        }
    }
}

static __device__ int shown(const Warp& s, int x, int y) {  // the later triangle counts; -1 for none
    int words = (s.faces + 31) / 32, tile = y / TILE * ((s.columns + TILE - 1) / TILE) + x / TILE;
    for (int word = words - 1; word >= 0; word--) {
        u32 mask = s.bins[(u64)tile * words + word];
        for (int k = 31; k >= 0 && mask; k--)
            if (mask >> k & 1 && painted(s.edges + TABLE * (u64)(word * 32 + k), x, y)) return word * 32 + k;
    }
    return -1;
}

extern "C" __global__ void warp_field(const Warp* sessions, int count) {
    for (int at = blockIdx.y; at < count; at += gridDim.y) {
        const Warp& s = sessions[at];
        int width = 2 * s.count + s.channels;
        for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < s.rows * s.columns; i += gridDim.x * blockDim.x) {
            int x = i % s.columns, y = i / s.columns, face = shown(s, x, y);
            float* out = s.field + (u64)width * i;
            for (int k = 0; k < width; k++) out[k] = 0;
            if (face < 0) continue;
            const int* t = s.triangles + 3 * face;
            Point o = cell(s, t[0]), a = cell(s, t[1]), b = cell(s, t[2]);
            a.x -= o.x; a.y -= o.y; b.x -= o.x; b.y -= o.y;
            float area = a.x * b.y - a.y * b.x, size = area < 0 ? -area : area, u = 0, v = 0, cx = a.x - b.x, cy = a.y - b.y;
            if (size >= 1e-3f) {
                u = ((x - o.x) * b.y - (y - o.y) * b.x) / area;
                v = ((y - o.y) * a.x - (x - o.x) * a.y) / area;
            }
            float longest = a.x * a.x + a.y * a.y, other = b.x * b.x + b.y * b.y;
            longest = longest > other ? longest : other;
            longest = sqrtf(longest > cx * cx + cy * cy ? longest : cx * cx + cy * cy);
            float slack = between(BEYOND * longest / (size > 1e-3f ? size : 1e-3f), 0, 0.5f);
            u = between(u, -slack, 1 + slack);
            v = between(v, -slack, 1 + slack);
            v = v < 1 + slack - u ? v : 1 + slack - u;
            for (int k = 0; k < s.count; k++) {
                int own = s.which ? s.which[k] : k;
                if ((u32)own >= (u32)s.stored) continue;
                const float* q = s.sources + 2 * (u64)own * s.vertices;
                for (int c = 0; c < 2; c++)
                    out[2 * k + c] = q[2 * t[0] + c] + u * (q[2 * t[1] + c] - q[2 * t[0] + c]) + v * (q[2 * t[2] + c] - q[2 * t[0] + c]);
            }
            for (int c = 0; c < s.channels; c++) {
                float first = s.values[t[0] * s.channels + c];
                out[2 * s.count + c] = first + u * (s.values[t[1] * s.channels + c] - first) + v * (s.values[t[2] * s.channels + c] - first);
            }
        }
    }
}

static __device__ void add(u32 bytes, float weight, float* colour) {
    for (int c = 0; c < 3; c++) colour[c] += weight * channel(bytes, c);
}

static __device__ void add_pixel(const Warp& s, const u32* picture, int x, int y, float weight, float* colour) {
    x = x < 0 ? 0 : x >= s.width_in ? s.width_in - 1 : x;
    y = y < 0 ? 0 : y >= s.height_in ? s.height_in - 1 : y;
    add(picture[(u64)y * s.width_in + x], weight, colour);
}

static __device__ void cubic_weights(float t, float* w) {  // the same cubic as OpenCV's, -0.75 at the border
    const float A = -0.75f;
    w[0] = ((A * (t + 1) - 5 * A) * (t + 1) + 8 * A) * (t + 1) - 4 * A;
    w[1] = ((A + 2) * t - (A + 3)) * t * t + 1;
    w[2] = ((A + 2) * (1 - t) - (A + 3)) * (1 - t) * (1 - t) + 1;
    w[3] = 1 - w[0] - w[1] - w[2];
}

static __device__ void sample(const Warp& s, const u32* picture, float x, float y, float* colour) {
    x = between(x, -2, s.width_in + 1.f);  // beyond, all that is read is the edge
    y = between(y, -2, s.height_in + 1.f);
    int left = (int)floorf(x), top = (int)floorf(y);
    float wx[4], wy[4];
    cubic_weights(x - left, wx);
    cubic_weights(y - top, wy);
    colour[0] = colour[1] = colour[2] = 0;
    if (left >= 1 && top >= 1 && left + 2 < s.width_in && top + 2 < s.height_in) {  // as most are: nothing to clamp
        const u32* line = picture + (u64)(top - 1) * s.width_in + left - 1;
        for (int j = 0; j < 4; j++, line += s.width_in)
            for (int i = 0; i < 4; i++) add(line[i], wx[i] * wy[j], colour);
    } else {
        for (int j = 0; j < 4; j++)
            for (int i = 0; i < 4; i++) add_pixel(s, picture, left + i - 1, top + j - 1, wx[i] * wy[j], colour);
    }
    for (int c = 0; c < 3; c++) colour[c] = between(colour[c], 0, 255);
}

extern "C" __global__ void warp(const Warp* sessions, int count) {
    for (int at = blockIdx.y; at < count; at += gridDim.y) {
        const Warp& s = sessions[at];
        int wide = 2 * s.count + s.channels;
        u64 area = (u64)s.height * s.width;
        for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < s.height * s.width; i += gridDim.x * blockDim.x) {
            float x = between((i % s.width + 0.5f) * s.across - 0.5f, 0, s.columns - 1.f);
            float y = between((i / s.width + 0.5f) * s.down - 0.5f, 0, s.rows - 1.f);
            int left = (int)x, top = (int)y;
            float u = x - left, v = y - top;
            const float* first = s.field + (u64)wide * (top * s.columns + left);
            const float* right = first + (left + 1 < s.columns ? wide : 0);
            const float *below = first + (top + 1 < s.rows ? (u64)wide * s.columns : 0), *across = below + (right - first);
            float shares[4] = {(1 - u) * (1 - v), u * (1 - v), (1 - u) * v, u * v}, made[5] = {0, 0, 0, 0, 0};
            for (int c = 0; c < s.channels && c < 2; c++) {
                int k = 2 * s.count + c;
                made[3 + c] = shares[0] * first[k] + shares[1] * right[k] + shares[2] * below[k] + shares[3] * across[k];
            }
            for (int k = 0; k < s.count; k++) {
                int own = s.which ? s.which[k] : k;
                if ((u32)own >= (u32)s.stored) continue;
                float q[2], colour[3];
                for (int c = 0; c < 2; c++) {
                    int n = 2 * k + c;
                    q[c] = shares[0] * first[n] + shares[1] * right[n] + shares[2] * below[n] + shares[3] * across[n];
                    if (s.flow) q[c] += widen(s.flow[2 * (k * area + i) + c]);
                }
                sample(s, s.pictures + (u64)own * s.height_in * s.width_in, q[0], q[1], colour);
                for (int c = 0; c < 3; c++) made[c] += s.weights[k] * colour[c];
            }
            s.colours[i] = pixel(made[0], made[1], made[2]);
            s.mask[i] = pair(made[3], made[4]);
        }
    }
}
