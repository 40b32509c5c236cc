// Interior: the insides of open mouths drawn into patches, for many sessions in one launch. `op.py` is the definition, `cuda.py`
// describes the arguments.
enum { UPPER, LOWER, EDGE, GUM, LUSTRE, LOW_EDGE, LOW_GUM, LOW_LUSTRE, TONGUE, SHADE, LEAN, ROWS };

struct Interior {
    u32* colours;          // (h, w) bytes: red, green, blue, zero; drawn on where they lie
    const float* profile;  // (ROWS, samples)
    int h, w, x, y, rows, columns, samples;
    float place[6];        // (2, 3)
    float light[6];        // (2, 3)
    float unit, soft, share;
};

static __device__ float step(float value) { return between(value, 0, 1); }

extern "C" __global__ void interior(const Interior* sessions, int count) {
    const float DARK[3] = {0.37f, 0.17f, 0.18f}, FLESH[3] = {0.86f, 0.61f, 0.60f}, ROOT[3] = {0.80f, 0.52f, 0.53f};
    for (int session = blockIdx.y; session < count; session += gridDim.y) {
        const Interior& s = sessions[session];
        float last = s.samples - 1, sharp = s.unit / s.soft;
        float grow = s.soft * sqrtf(s.place[0] * s.place[0] + s.place[1] * s.place[1]);
        for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < s.rows * s.columns; i += gridDim.x * blockDim.x) {
            int row = i / s.columns, column = i % s.columns;
            float at = s.place[0] * column + (s.place[1] * row + s.place[2]);
            float v = s.place[3] * column + (s.place[4] * row + s.place[5]);
            if (!(at >= 0 && at <= last)) continue;
            int first = (int)at < s.samples - 2 ? (int)at : s.samples - 2;
            float here[ROWS];
            for (int r = 0; r < ROWS; r++) {
                const float* line = s.profile + r * s.samples + first;
                here[r] = line[0] + (at - first) * (line[1] - line[0]);
            }
            float gap = here[LOWER] - here[UPPER], below = v - here[UPPER], above = here[LOWER] - v;
            float opacity = s.share * step((below < above ? below : above) * here[LEAN] * sharp + 0.5f) * step(gap * sharp);
            opacity *= step((at < last - at ? at : last - at) / grow);
            if (!(opacity > 0)) continue;
            float flesh = step((v - here[TONGUE]) / 0.07f), body = 0.55f + 0.45f * step((v - here[TONGUE]) / 0.16f);
            flesh *= flesh * (3 - 2 * flesh);
            float low = v - here[LOW_EDGE], high = here[EDGE] - v;
            float low_tooth = here[LOW_LUSTRE] * (0.82f + 0.18f * step(low / 0.03f)), low_gum = step((v - here[LOW_GUM]) * 0.3f * sharp + 0.5f);
            float cast = 1 - 0.4f * step(1 + high / 0.05f);  // of the upper teeth's shadow
            float tooth = here[LUSTRE] * (0.82f + 0.18f * step(high / 0.03f)), gum = step((here[GUM] - v) * 0.3f * sharp + 0.5f);
            float lip = step(1 - below / (0.02f + 0.15f * gap)), rim = step(1 - above / 0.04f);
            float dim = here[SHADE] * (1 - 0.4f * lip * lip) * (1 - 0.15f * rim * rim), made[3];
            u32* own = s.colours + (u64)(s.y + row) * s.w + s.x + column;
            for (int c = 0; c < 3; c++) {
                float colour = DARK[c] + flesh * (FLESH[c] * body - DARK[c]);
                colour += step(low * sharp + 0.5f) * (low_tooth + low_gum * here[LOW_LUSTRE] * (ROOT[c] - 1) - colour);
                colour *= cast;
                colour += step(high * sharp + 0.5f) * (tooth + gum * here[LUSTRE] * (ROOT[c] - 1) - colour);
                colour *= dim * (s.light[c] + at / last * (s.light[3 + c] - s.light[c]));
                float old = (float)channel(*own, c);
                made[c] = old + opacity * (between(colour, 0, 255) - old);
            }
            *own = pixel(made[0], made[1], made[2]);
        }
    }
}
