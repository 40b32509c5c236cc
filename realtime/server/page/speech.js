// What the actor says: a file, the sample, a text, or the microphone. Files and texts wait for each other at the server.
"use strict";

let voice = null;        // the microphone's track
let meter = null;        // { context, analyser } of the microphone
let heard = true;        // whether the person wants to hear the voice
let queue = [];          // the names of what was sent and is not over, the one that is said first
let begun = false;       // whether the first of them was seen to be said
let voices = [];

const speaking = () => queue.length > 0;

/** Nothing waits any more. */
function forget() {
  queue = [];
  begun = false;
  tellQueue(0);
}

/** The state of a session, as its server reports it. */
function tellState(report) {
  if (report.state === "speaking") {
    begun = begun || speaking();
    say("speaking", queue.length ? `Speaking ${queue[0]}` : WORDS.speaking);
  } else if (report.state === "connecting") return;
  else if (!$("words").textContent.startsWith("Broken off")) {
    if (begun && !report.waiting_ms) forget(); // a file that was sent just now is not begun yet
    say(report.state);
  } else {
    const mine = session;
    setTimeout(() => session === mine && say(report.state), 1500);
  }
  tellQueue(report.waiting_ms);
}

function tellQueue(waiting) {
  $("waiting").hidden = !queue.length && !(waiting > 1500);
  $("left").textContent = waiting ? `${clock(Math.ceil(waiting / 1000))} left to say` : queue.length ? "Being read…" : "";
  if ($("queue").dataset.names === queue.join("\n")) return;
  $("queue").dataset.names = queue.join("\n");
  $("queue").replaceChildren(...queue.slice(1).map((name) => Object.assign(document.createElement("li"), { textContent: name })));
}

/** A session, begun where there is none. */
async function ready() {
  complain("");
  if (!session) await connect();
  if (!session || !session.url) return null;
  if (!voice) heard = true;
  hearIt();
  return session;
}

async function put(name, deliver) {
  const mine = await ready();
  if (!mine) return false;
  queue.push(name);
  tellQueue(0);
  try {
    await deliver(mine.url);
    return true;
  } catch (error) {
    queue.splice(queue.indexOf(name), 1);
    tellQueue(0);
    complain(error.message);
    return false;
  } finally {
    draw();
  }
}

async function speak(sounds) {
  for (const sound of sounds) {
    const type = /^(audio|video)\//.test(sound.type) ? sound.type : "application/octet-stream";
    if (!await put(sound.name, (url) => call(`${url}/speech`, { method: "POST", headers: { "Content-Type": type }, body: sound }))) return;
  }
}

async function playSample() {
  $("sample").disabled = true;
  try {
    const [recording] = await Promise.all([call("/sample.flac").then((answer) => answer.blob()), session || connect()]);
    if (session) await speak([new File([recording], "the sample", { type: "audio/flac" })]);
  } catch (error) {
    fail(error.message);
  } finally {
    draw();
  }
}

async function sayText(event) {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text) return $("text").focus();
  const name = text.length > 28 ? `“${text.slice(0, 27)}…”` : `“${text}”`;
  label($("say"), "Sending…");
  $("say").disabled = true;
  if (await put(name, (url) => send(`${url}/say`, { text, voice: $("voice").value }))) $("text").select();
  label($("say"), "Say it");
  draw();
}

/** Which voices this server has; where it has none, the page says so, not an error. */
async function readVoices() {
  try {
    const list = await (await call("/v1/voices")).json();
    voices = list.voices;
    if (list.longest) $("text").maxLength = list.longest;
  } catch {
    voices = [];
  }
  const last = localStorage.getItem("voice");
  $("voice").replaceChildren(...voices.map(({ name, about }) => new Option(about ? `${name}: ${about}` : name, name, false, name === last)));
  $("voiceless").hidden = voices.length > 0;
  $("voiceless").textContent = "This server has no voice to read texts with. Whoever runs it can add one: mytalk voices says how.";
}

async function interrupt() {
  if (!session || !session.url || watching) return;
  try {
    const broken = await (await call(`${session.url}/interrupt`, { method: "POST" })).json();
    forget();
    if (broken.dropped_ms) say("idle", `Broken off after ${(broken.heard_ms / 1000).toFixed(1)} s`);
  } catch (error) {
    complain(error.message);
  }
}

// The microphone comes and goes by the track of a sender: no new offer, no gap.

function silence() {
  if (voice) voice.stop();
  voice = null;
  if (meter) meter.context.close();
  meter = null;
  $("level").hidden = true;
}

async function toggleMicrophone() {
  if (voice) {
    silence();
    if (session) await session.sender.replaceTrack(null);
    return draw();
  }
  microphone.disabled = true;
  try {
    await takeMicrophone();
    if (session) await session.sender.replaceTrack(voice);
    else await connect();
    hearIt();
  } catch (error) {
    silence();
    complain(whyNoDevice(error, "microphone"));
  } finally {
    draw();
  }
}

async function takeMicrophone() {
  const device = $("microphones").value;
  const constraints = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, ...(device && { deviceId: { exact: device } }) };
  const source = await navigator.mediaDevices.getUserMedia({ audio: constraints });
  silence();
  [voice] = source.getAudioTracks();
  const mine = voice;
  voice.addEventListener("ended", () => voice === mine && toggleMicrophone());
  measure(source);
  heard = false; // or the microphone hears the loudspeaker
  listDevices(); // now that they have names
}

function measure(source) {
  const context = new AudioContext(), analyser = context.createAnalyser();
  context.createMediaStreamSource(source).connect(analyser);
  analyser.fftSize = 512;
  meter = { context, analyser };
  $("level").hidden = false;
  const samples = new Float32Array(512), mine = meter;
  const look = () => {
    if (meter !== mine) return;
    analyser.getFloatTimeDomainData(samples);
    const loud = Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length);
    $("level").value = Math.max(0, Math.min(1, 1 + Math.log10(loud + 1e-5) / 2.5)); // 50 dB
    requestAnimationFrame(look);
  };
  look();
}
