// Copy: lines moved from place to place, for many sessions in one launch. `reference.py` is the definition, `cuda.py` describes the
// arguments. Sixteen bytes move together.
struct Copy {
    const uint4* source;
    uint4* target;
    i64 from_step, to_step;  // from where a line begins to where the next does
    int lines, length;
};

extern "C" __global__ void copy(const Copy* sessions, int count) {
    for (int at = blockIdx.y; at < count; at += gridDim.y) {
        const Copy& s = sessions[at];
        for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < s.lines * s.length; i += gridDim.x * blockDim.x) {
            int line = i / s.length, along = i % s.length;
            s.target[line * s.to_step + along] = s.source[line * s.from_step + along];
        }
    }
}
