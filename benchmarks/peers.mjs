// A peer over sounds: for each PATH.f32 given (mono float32) it writes PATH.json.
//
//   node peers.mjs rhubarb|headaudio MODULES PATH.f32 ...
//
// rhubarb: [[start in seconds, shape], ...] of 16 kHz. headaudio: {visemes: names, values: [[one of each name], ...]} at
// 25 a second of 48 kHz, row n of what was heard before n * 40 ms.
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [peer, modules, ...paths] = process.argv.slice(2);
const load = (path) => import(pathToFileURL(resolve(modules, path)));

async function rhubarb() {
  const { Rhubarb } = await load("rhubarb-lip-sync-wasm/dist/index.js");
  return async (sound) => {
    const pcm = Int16Array.from(sound, (x) => 32767 * x);
    const { mouthCues } = await Rhubarb.getLipSync(Buffer.from(pcm.buffer));
    return mouthCues.map(({ start, value }) => [start, value]);
  };
}

// The package's node and its worklet, as they are, with the browser's two classes stood in for: messages arrive at once.
async function headaudio() {
  const port = () => ({ postMessage(data) { this.other.onmessage?.({ data }); } });
  let Worklet;
  globalThis.sampleRate = 48000;
  globalThis.AudioWorkletNode = class { port = port(); };
  globalThis.AudioWorkletProcessor = class { port = port(); };
  globalThis.registerProcessor = (name, found) => { Worklet = found; };
  const { HeadAudio } = await load("@met4citizen/headaudio/modules/headaudio.mjs");
  await load("@met4citizen/headaudio/modules/headworklet.mjs");
  const model = readFileSync(join(modules, "@met4citizen/headaudio/dist/model-en-mixed.bin")).toString("base64");
  // The gate that did best on `train` of (-40, -50: the default), (-30, -40), (-25, -35), (-20, -30), (-15, -25).
  const chosen = { vadGateActiveDb: -25, vadGateInactiveDb: -35 };
  const parameters = Object.fromEntries(Worklet.parameterDescriptors.map((d) => [d.name, [chosen[d.name] ?? d.defaultValue]]));
  const block = 128, step = sampleRate / 100; // the browser's block; the face moves on each 10 ms
  return async (sound) => {
    const node = new HeadAudio(null, { parameterData: chosen });
    const worklet = new Worklet({ processorOptions: {}, parameterData: chosen });
    node.port.other = worklet.port;
    worklet.port.other = node.port;
    await node.loadModel(`data:application/octet-stream;base64,${model}`);
    const now = Object.fromEntries(node.visemeNames.map((name) => [name, 0]));
    node.onvalue = (name, value) => { now[name] = value; };
    const values = [];
    for (let at = 0, heard = 0; at * step < sound.length; at++) {
      for (; heard + block <= at * step; heard += block) worklet.process([[sound.subarray(heard, heard + block)]], [], parameters);
      node.update(10);
      if (at % 4 === 0) values.push(Object.values(now));
    }
    return { visemes: Object.keys(now), values };
  };
}

const run = await { rhubarb, headaudio }[peer]();
for (const path of paths) {
  const bytes = readFileSync(path);
  const sound = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  const into = path.replace(/f32$/, "json");
  writeFileSync(`${into}.part`, JSON.stringify(await run(sound)));
  renameSync(`${into}.part`, into);
}
