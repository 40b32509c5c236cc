// The page: one session at a time. A session is made by an offer and its answer (WHIP's shape); to take the microphone
// in or out, or to change the actor, a new session takes over and the picture of the old one stays until it is there.
"use strict";

const $ = (id) => document.getElementById(id);
const video = $("video"), still = $("still"), stage = $("stage"), actors = $("actor");
const microphone = $("microphone"), choose = $("choose"), file = $("file"), hear = $("hear"), power = $("power");

let session = null;      // { connection, url, voice: MediaStreamTrack | null, marks }
let attempt = 0;         // raised by whatever makes an earlier attempt to connect pointless
let speaking = "";       // the name of the file that is spoken
let heard = true;        // what the person wants to hear; null is not asked
let stopped = false;
let retries = 0;

const WORDS = {
  connecting: "Connecting…", idle: "Idle", listening: "Listening", speaking: "Speaking", ended: "Ended",
};

function say(state, words = WORDS[state]) {
  $("state").dataset.state = state;
  if ($("words").textContent !== words) $("words").textContent = words;
}

function complain(sentence) {
  $("trouble").textContent = sentence;
  $("trouble").hidden = !sentence;
}

/** An answer of the server that is no success, as a sentence. */
async function sentence(response) {
  try {
    const problem = await response.json();
    return [problem.detail, problem.hint].filter(Boolean).join(" ");
  } catch {
    return `The server answered ${response.status}.`;
  }
}

async function call(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server cannot be reached. Is it running?");
  }
  if (!response.ok) throw new Error(await sentence(response));
  return response;
}

/** Keep the last picture in sight while there is none. */
function freeze() {
  if (!video.videoWidth || !still.hidden) return;
  still.width = video.videoWidth;
  still.height = video.videoHeight;
  still.getContext("2d").drawImage(video, 0, 0);
  still.hidden = false;
}

/** The candidates of this machine come at once; nobody waits longer than this for more. */
function gathered(connection, most = 250) {
  return new Promise((done) => {
    if (connection.iceGatheringState === "complete") return done();
    setTimeout(done, most);
    connection.addEventListener("icegatheringstatechange", () => connection.iceGatheringState === "complete" && done());
  });
}

async function connect(voice = null) {
  const mine = ++attempt;
  stopped = false;
  say("connecting");
  complain("");
  draw();
  const marks = { posted: 0, shown: 0 };
  const connection = new RTCPeerConnection();
  const stream = new MediaStream();
  connection.addTransceiver("video", { direction: "recvonly" });
  if (voice) connection.addTransceiver(voice, { direction: "sendrecv", streams: [new MediaStream([voice])] });
  else connection.addTransceiver("audio", { direction: "recvonly" });
  connection.addEventListener("track", ({ track }) => {
    stream.addTrack(track);
  });
  const next = { connection, url: null, voice, marks, stream };
  try {
    await connection.setLocalDescription();
    await gathered(connection);
    marks.posted = performance.now();
    const response = await call(`/v1/sessions?actor=${encodeURIComponent(actors.value)}`, {
      method: "POST", headers: { "Content-Type": "application/sdp" }, body: connection.localDescription.sdp,
    });
    next.url = response.headers.get("Location");
    if (mine !== attempt) return end(next);
    await connection.setRemoteDescription({ type: "answer", sdp: await response.text() });
  } catch (error) {
    end(next);
    if (mine !== attempt) return;
    if (voice) voice.stop();
    say("error", "Not connected");
    complain(error.message);
    stopped = true;
    draw();
    return;
  }
  const old = session;
  session = next;
  freeze();
  if (old) end(old, voice);
  connection.addEventListener("connectionstatechange", () => {
    if (session !== next || !["failed", "disconnected", "closed"].includes(connection.connectionState)) return;
    if (connection.connectionState === "disconnected") return say("connecting", "The connection is interrupted…");
    lost(next);
  });
  video.srcObject = stream;
  volume();
  video.play().catch(() => {});
  video.requestVideoFrameCallback((now, frame) => {
    marks.shown = frame.expectedDisplayTime || now;
    retries = 0;
    if (session !== next) return;
    stage.classList.remove("empty");
    still.hidden = true;
    refresh();
  });
  draw();
}

/** A session that went away by itself is made anew a few times. */
function lost(gone) {
  if (session !== gone) return;
  freeze();
  const voice = gone.voice && gone.voice.readyState === "live" ? gone.voice : null;
  session = null;
  end(gone, voice);
  if (stopped) return;
  say("connecting", "The connection was lost. Trying again…");
  retries += 1;
  if (retries > 5) {
    say("error", "Not connected");
    complain("The connection was lost. Press Start to try again.");
    stopped = true;
    return draw();
  }
  const mine = attempt;
  setTimeout(() => mine === attempt && !stopped && connect(voice), 400 * 2 ** retries);
}

function end(which, keptVoice = null) {
  if (!which) return;
  if (which.voice && which.voice !== keptVoice) which.voice.stop();
  which.connection.close();
  if (which.url) fetch(which.url, { method: "DELETE", keepalive: true }).catch(() => {});
}

function stop() {
  attempt += 1;
  stopped = true;
  const old = session;
  session = null;
  freeze();
  end(old);
  speaking = "";
  $("figures").textContent = "";
  say("ended");
  complain("");
  draw();
}

async function toggleMicrophone() {
  if (session && session.voice) return connect(null);
  microphone.disabled = true;
  try {
    const constraints = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
    const [voice] = (await navigator.mediaDevices.getUserMedia({ audio: constraints })).getAudioTracks();
    voice.addEventListener("ended", () => session && session.voice === voice && connect(null));
    heard = false; // or the microphone hears the loudspeaker
    await connect(voice);
  } catch (error) {
    const sentences = {
      NotAllowedError: "The microphone was not allowed. Allow it in the browser's address bar, then try again.",
      NotFoundError: "No microphone was found.",
      NotReadableError: "The microphone is in use by another program.",
    };
    complain(sentences[error.name] || (navigator.mediaDevices ? error.message : "This browser gives a microphone only to pages of this machine or over HTTPS."));
  } finally {
    draw();
  }
}

async function speak(sound) {
  if (!sound) return;
  complain("");
  if (!session) await connect(null);
  if (!session || !session.url) return;
  if (!session.voice) heard = true;
  volume();
  speaking = sound.name;
  try {
    const type = /^(audio|video)\//.test(sound.type) ? sound.type : "application/octet-stream";
    await call(`${session.url}/speech`, { method: "POST", headers: { "Content-Type": type }, body: sound });
  } catch (error) {
    complain(error.message);
    speaking = "";
  }
  draw();
}

function volume() {
  video.muted = !heard;
  if (heard) video.play().catch(() => { video.muted = true; heard = false; video.play().catch(() => {}); draw(); });
}

function label(button, words) { button.querySelector("span").textContent = words; }

function draw() {
  const on = Boolean(session) && !stopped;
  actors.disabled = !actors.options.length;
  microphone.disabled = !actors.options.length;
  choose.disabled = !actors.options.length;
  hear.disabled = !on;
  const talking = Boolean(on && session.voice);
  microphone.setAttribute("aria-pressed", String(talking));
  label(microphone, talking ? "Turn microphone off" : "Use microphone");
  hear.setAttribute("aria-pressed", String(!video.muted));
  label(hear, talking ? "Hear myself" : "Hear the voice");
  label(power, stopped ? "Start" : "Stop");
  power.classList.toggle("off", stopped);
  stage.classList.toggle("ended", stopped);
}

/** What the server says of the session, a few times a second. */
async function refresh() {
  const mine = session;
  if (!mine || !mine.url || stopped) return;
  try {
    const response = await fetch(mine.url);
    if (session !== mine || stopped) return;
    if (response.status === 404) return lost(mine);
    const report = await response.json();
    if (session !== mine || stopped || !mine.marks.shown) return;
    if (report.state === "speaking") say("speaking", speaking ? `Speaking ${speaking}` : WORDS.speaking);
    else if (report.state !== "connecting") {
      say(report.state);
      speaking = "";
    }
    if (report.trouble) complain(report.trouble);
    const delay = report.added_p50_ms === null ? "" : ` · ${Math.round(report.added_p50_ms)} ms behind your voice`;
    $("figures").textContent = `${Math.round(report.fps)} pictures a second${delay}`;
  } catch { /* the connection's own events tell */ }
}

async function begin() {
  stage.classList.add("empty");
  try {
    const list = await (await call("/v1/actors")).json();
    actors.replaceChildren(...list.actors.map(({ name }) => new Option(name === "presenter" ? "Presenter (drawn)" : name, name, false, name === list.default)));
    await connect(null);
  } catch (error) {
    say("error", "Not connected");
    complain(error.message);
    stopped = true;
    draw();
  }
}

microphone.addEventListener("click", toggleMicrophone);
choose.addEventListener("click", () => file.click());
file.addEventListener("change", () => { speak(file.files[0]); file.value = ""; });
hear.addEventListener("click", () => { heard = video.muted; volume(); draw(); });
power.addEventListener("click", () => (stopped ? (actors.options.length ? connect(null) : begin()) : stop()));
actors.addEventListener("change", () => connect(session && session.voice));
video.addEventListener("volumechange", draw);

let depth = 0; // of drag events over nested elements
addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; document.body.classList.add("dropping"); });
addEventListener("dragleave", () => { depth -= 1; if (depth <= 0) { depth = 0; document.body.classList.remove("dropping"); } });
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  document.body.classList.remove("dropping");
  speak(event.dataTransfer.files[0]);
});
addEventListener("pagehide", () => end(session));
setInterval(() => document.hidden || refresh(), 400);

begin();
