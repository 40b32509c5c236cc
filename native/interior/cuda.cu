// Interior: the insides of open mouths drawn into patches, for many sessions in one launch. `op.py` is the definition, `cuda.py`
// describes the arguments. `interior_light` looks at the skin, `interior` draws.
const int REACH = 32;

struct Interior {
    half_bits* patch;     // (h, w, 8): red, green, blue of 255, drawn on where they lie; the rest is left alone
    const u32* inside;    // (rows, ceil(columns / 32)) bits: 1 in the mouth
    const float* upper;   // (columns)
    const float* lower;   // (columns)
    float* skin;          // (4) scratch
    int h, w, x, y, rows, columns, above, reach;
    float taps[REACH];    // of the soft edge's Gaussian, from its middle outwards
    float unit, share;
};

extern "C" __global__ void interior_light(const Interior* sessions, int count) {
    for (int at = blockIdx.y; at < count; at += gridDim.y) {
        const Interior& s = sessions[at];
        if (s.columns < 1) continue;
        for (int c = blockIdx.x * blockDim.x + threadIdx.x; c < 3; c += gridDim.x * blockDim.x) {
            u32 sum = 0;
            for (int i = 0; i < s.columns; i++) sum += rounded(s.patch[8 * ((u64)s.above * s.w + s.x + i) + c]);
            s.skin[c] = (float)sum / s.columns + 1;
        }
    }
}

static __device__ float covered(const Interior& s, int row, int column) {
    int words = (s.columns + 31) / 32;
    float sum = 0;
    for (int dy = -s.reach; dy <= s.reach; dy++) {
        const u32* line = s.inside + mirrored(row + dy, s.rows) * words;
        float across = 0;
        for (int dx = -s.reach; dx <= s.reach; dx++) {
            int x = mirrored(column + dx, s.columns);
            if (line[x / 32] >> x % 32 & 1) across += s.taps[dx < 0 ? -dx : dx];
        }
        sum += s.taps[dy < 0 ? -dy : dy] * across;
    }
    return sum;
}

extern "C" __global__ void interior(const Interior* sessions, int count) {
    const float DARK[3] = {70, 36, 34}, TONGUE[3] = {150, 74, 72}, IVORY[3] = {206, 198, 188};
    for (int at = blockIdx.y; at < count; at += gridDim.y) {
        const Interior& s = sessions[at];
        for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < s.rows * s.columns; i += gridDim.x * blockDim.x) {
            int row = i / s.columns, column = i % s.columns;
            float opacity = s.share * covered(s, row, column);
            if (!(opacity > 0)) continue;
            float gap = s.lower[column] - s.upper[column], below = row - s.upper[column], middle = s.columns / 2.f;
            float side = between((column < middle ? middle - column : column - middle) / middle, 0, 1);
            float low = between((between(below / (gap > 1 ? gap : 1), 0, 1) - 0.4f) * 1.6f, 0, 0.8f) * between(1.1f - 1.6f * side * side, 0, 1);
            float reach = (0.17f * s.unit < 0.65f * gap ? 0.17f * s.unit : 0.65f * gap) * (1 - 0.55f * side * side);
            float soft = 0.03f * s.unit > 1 ? 0.03f * s.unit : 1;
            float tooth = between((reach - below) / soft, 0, 1) * between((0.92f - side) * 6, 0, 1);
            float shade = (0.6f + 0.4f * between(below / (0.05f * s.unit), 0, 1)) * (1 - 0.35f * side * side);
            float most = s.skin[0] > s.skin[1] ? s.skin[0] : s.skin[1];
            most = most > s.skin[2] ? most : s.skin[2];
            float light = between((s.skin[0] + s.skin[1] + s.skin[2]) / 3 / 170, 0, 1.15f), made[3];
            half_bits* pixel = s.patch + 8 * ((u64)(s.y + row) * s.w + s.x + column);
            for (int c = 0; c < 3; c++) {
                float tint = 0.25f + 0.75f * s.skin[c] / most, colour = DARK[c] * tint * light;
                colour += low * (TONGUE[c] * (0.5f + 0.5f * tint) * light - colour);
                colour = between(colour + tooth * 0.8f * (IVORY[c] * (1 + 2 * tint) / 3 * light * shade - colour), 0, 255);
                float old = (float)rounded(pixel[c]);
                made[c] = whole(old + opacity * (colour - old));
            }
            for (int c = 0; c < 3; c++) pixel[c] = narrow(made[c]);
        }
    }
}
