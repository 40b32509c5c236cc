// The page: one session at a time. A session is made by an offer and its answer (WHIP's shape). The microphone comes and
// goes within it; another actor is a new session that takes over, and the picture of the old one stays until it is there.
"use strict";

const $ = (id) => document.getElementById(id);
const video = $("video"), still = $("still"), stage = $("stage");
const microphone = $("microphone"), choose = $("choose"), file = $("file"), hear = $("hear"), power = $("power"), record = $("record");
const charts = {
  fps: new Strip($("fps-chart"), 0, 30, [24, 26]),
  added: new Strip($("added-chart"), 0, 400, [0, 200]),
  offset: new Strip($("offset-chart"), -120, 120, [-40, 40]),
};

let session = null;      // { connection, url, sender, marks, stream, shown }
let attempt = 0;         // raised by whatever makes an earlier attempt to connect pointless
let cast = [];           // the actors
let ice = [];            // the STUN and TURN servers that the server names
let chosen = "";         // who is shown
let voice = null;        // the microphone's track
let meter = null;        // { context, analyser } of the microphone
let speaking = "";       // the name of the file that is spoken
let heard = true;        // whether the person wants to hear the voice
let stopped = false;
let recordingSince = 0;
let retries = 0;

const WORDS = {
  connecting: "Connecting…", idle: "Idle", listening: "Listening", speaking: "Speaking", ended: "Ended",
};

function say(state, words = WORDS[state]) {
  $("state").dataset.state = state;
  if ($("words").textContent !== words) $("words").textContent = words;
}

function tellLink(state, words) {
  $("link").dataset.state = state;
  const span = $("link").querySelector("span");
  if (span.textContent !== words) span.textContent = words;
}

function complain(sentence) {
  $("trouble").textContent = sentence;
  $("trouble").hidden = !sentence;
}

/** An answer of the server that is no success, as an error with its code. */
async function refusal(response) {
  const error = new Error(`The server answered ${response.status}.`);
  error.status = response.status;
  try {
    const problem = await response.json();
    error.message = [problem.detail, problem.hint].filter(Boolean).join(" ");
  } catch { /* no problem+json: the number has to do */ }
  return error;
}

async function call(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server cannot be reached. Is it running?");
  }
  if (!response.ok) throw await refusal(response);
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

/** Send the candidates that came after the offer, once it is known where to. */
function trickle(next) {
  if (!next.tag || !next.late.length) return;
  const credentials = next.connection.localDescription.sdp.match(/^a=ice-(?:ufrag|pwd):.*$/gm).slice(0, 2);
  const candidates = next.late.splice(0).flatMap(({ sdpMid, candidate }) => [`a=mid:${sdpMid}`, `a=${candidate}`]);
  const body = [...credentials, "m=audio 9 UDP/TLS/RTP/SAVPF 0", ...candidates, ""].join("\r\n");
  const headers = { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": next.tag };
  fetch(next.url, { method: "PATCH", headers, body }).catch(() => {}); // those of the offer may do
}

/** Post the offer. A machine that carries one session needs the old one gone before the next begins. */
async function post(connection) {
  const send = () => call(`/v1/sessions?actor=${encodeURIComponent(chosen)}`, {
    method: "POST", headers: { "Content-Type": "application/sdp" }, body: connection.localDescription.sdp,
  });
  try {
    return await send();
  } catch (error) {
    if (error.status !== 503 || !session) throw error;
    freeze();
    const old = session;
    session = null;
    await end(old);
    return send();
  }
}

async function connect() {
  const mine = ++attempt;
  stopped = false;
  say("connecting");
  tellLink("connecting", "Connecting…");
  complain("");
  draw();
  const marks = { posted: 0, shown: 0 };
  const connection = new RTCPeerConnection({ iceServers: ice });
  const stream = new MediaStream();
  connection.addTransceiver("video", { direction: "recvonly" });
  const { sender } = connection.addTransceiver(voice || "audio", { direction: "sendrecv" });
  connection.addEventListener("track", ({ track, receiver }) => {
    receiver.jitterBufferTarget = 0; // ms: a talk waits for what the network needs, and for nothing more
    stream.addTrack(track);
  });
  const next = { connection, url: null, tag: null, late: [], sender, marks, stream, shown: 0 };
  connection.addEventListener("icecandidate", ({ candidate }) => {
    if (!candidate || !marks.posted) return;
    next.late.push(candidate);
    trickle(next);
  });
  try {
    await connection.setLocalDescription();
    await gathered(connection);
    marks.posted = performance.now();
    const response = await post(connection);
    marks.answered = performance.now();
    next.url = response.headers.get("Location");
    next.tag = response.headers.get("ETag");
    trickle(next);
    if (mine !== attempt) return end(next);
    await connection.setRemoteDescription({ type: "answer", sdp: await response.text() });
  } catch (error) {
    end(next);
    if (mine !== attempt) return;
    say("error", "Not connected");
    tellLink("error", "Not connected");
    complain(error.message);
    stopped = true;
    silence();
    draw();
    return;
  }
  const old = session;
  session = next;
  freeze();
  if (old) end(old);
  connection.addEventListener("connectionstatechange", () => {
    if (session !== next) return;
    const state = connection.connectionState;
    if (state === "connected") tellLink("connected", "Connected");
    if (state === "disconnected") {
      say("connecting", "The connection is interrupted…");
      tellLink("connecting", "Interrupted: waiting for the network…");
    }
    if (["failed", "closed"].includes(state)) lost(next);
  });
  video.srcObject = stream;
  volume();
  video.play().catch(() => {});
  const look = (now, frame) => {
    if (session !== next) return;
    video.requestVideoFrameCallback(look);
    next.shown = frame.presentedFrames;
    if (marks.shown) return;
    marks.shown = frame.expectedDisplayTime || now;
    retries = 0;
    stage.classList.remove("empty");
    still.hidden = true;
    refresh();
  };
  video.requestVideoFrameCallback(look);
  draw();
}

/** A session that went away by itself is made anew a few times. */
function lost(gone) {
  if (session !== gone) return;
  freeze();
  session = null;
  end(gone);
  if (stopped) return;
  say("connecting", "The connection was lost. Trying again…");
  tellLink("connecting", "Lost: trying again…");
  retries += 1;
  if (retries > 5) {
    say("error", "Not connected");
    tellLink("error", "Not connected");
    complain("The connection was lost. Press Start to try again.");
    stopped = true;
    return draw();
  }
  const mine = attempt;
  setTimeout(() => mine === attempt && !stopped && connect(), 400 * 2 ** retries);
}

function end(which) {
  if (!which) return Promise.resolve();
  which.connection.close();
  return which.url ? fetch(which.url, { method: "DELETE", keepalive: true }).catch(() => {}) : Promise.resolve();
}

function stop() {
  attempt += 1;
  stopped = true;
  const old = session;
  session = null;
  freeze();
  end(old);
  silence();
  speaking = "";
  recordingSince = 0;
  say("ended");
  tellLink("ended", "Not connected");
  complain("");
  draw();
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
    const constraints = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
    const source = await navigator.mediaDevices.getUserMedia({ audio: constraints });
    [voice] = source.getAudioTracks();
    const mine = voice;
    voice.addEventListener("ended", () => voice === mine && toggleMicrophone());
    measure(source);
    heard = false; // or the microphone hears the loudspeaker
    if (session) await session.sender.replaceTrack(voice);
    else await connect();
    volume();
  } catch (error) {
    const sentences = {
      NotAllowedError: "The microphone was not allowed. Allow it in the browser's address bar, then try again.",
      NotFoundError: "No microphone was found.",
      NotReadableError: "The microphone is in use by another program.",
    };
    silence();
    complain(sentences[error.name] || (navigator.mediaDevices ? error.message : "This browser gives a microphone only to pages of this machine or over HTTPS."));
  } finally {
    draw();
  }
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

async function speak(sound) {
  if (!sound) return;
  complain("");
  if (!session) await connect();
  if (!session || !session.url) return;
  if (!voice) heard = true;
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

async function interrupt() {
  if (!session || !session.url) return;
  try {
    const broken = await (await call(`${session.url}/interrupt`, { method: "POST" })).json();
    speaking = "";
    if (broken.dropped_ms) say("idle", `Broken off after ${(broken.heard_ms / 1000).toFixed(1)} s`);
  } catch (error) {
    complain(error.message);
  }
}

async function toggleRecording() {
  if (!session || !session.url) return;
  record.disabled = true;
  complain("");
  try {
    if (!recordingSince) {
      await call(`${session.url}/recording`, { method: "POST" });
      recordingSince = performance.now();
      $("saved").hidden = true;
    } else {
      const done = await (await call(`${session.url}/recording`, { method: "DELETE" })).json();
      recordingSince = 0;
      $("download").href = done.url;
      $("download").textContent = `Download the recording (${done.seconds.toFixed(1)} s)`;
      $("saved").hidden = false;
    }
  } catch (error) {
    recordingSince = 0;
    complain(error.message);
  }
  draw();
}

function volume() {
  video.muted = !heard;
  if (heard) video.play().catch(() => { video.muted = true; heard = false; video.play().catch(() => {}); draw(); });
}

function label(button, words) { button.querySelector("span").textContent = words; }

function draw() {
  const on = Boolean(session) && !stopped, any = cast.length > 0;
  microphone.disabled = choose.disabled = !any;
  hear.disabled = record.disabled = $("interrupt").disabled = !on;
  microphone.setAttribute("aria-pressed", String(Boolean(voice)));
  label(microphone, voice ? "Stop microphone" : "Use microphone");
  hear.setAttribute("aria-pressed", String(!video.muted));
  label(hear, voice ? "Hear myself" : "Hear the voice");
  record.setAttribute("aria-pressed", String(Boolean(recordingSince)));
  label(record, recordingSince ? "Stop recording" : "Record");
  $("recording").hidden = !recordingSince;
  label(power, stopped ? "Start" : "Stop");
  power.classList.toggle("off", stopped);
  stage.classList.toggle("ended", stopped);
}

/** What the server says of the session, and what the browser knows of the wire, twice a second. */
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
    else if (report.state !== "connecting" && !$("words").textContent.startsWith("Broken off")) {
      if ($("state").dataset.state === "speaking") speaking = ""; // a file that was sent just now is not begun yet
      say(report.state);
    } else if (report.state !== "connecting") setTimeout(() => session === mine && say(report.state), 1500);
    if (report.trouble) complain(report.trouble);
    await chart(mine, report);
  } catch { /* the connection's own events tell */ }
}

async function chart(mine, report) {
  const stats = [...(await mine.connection.getStats()).values()];
  const inbound = (kind) => stats.find((one) => one.type === "inbound-rtp" && one.kind === kind) || {};
  const now = performance.now(), { shown } = mine;
  const fps = mine.last && now > mine.last.at ? (shown - mine.last.shown) / (now - mine.last.at) * 1000 : null;
  mine.last = { at: now, shown };
  const [picture, sound] = [inbound("video").estimatedPlayoutTimestamp, inbound("audio").estimatedPlayoutTimestamp];
  const offset = picture && sound ? sound - picture : null; // positive: the picture is late
  const smooth = mine.fps = fps === null ? null : mine.fps == null ? fps : 0.6 * mine.fps + 0.4 * fps;
  const figure = (name, value, words) => { charts[name].add(value); $(name).textContent = value === null ? "–" : words; };
  figure("fps", smooth, smooth === null ? "" : smooth.toFixed(1));
  figure("added", report.added_ms, `${Math.round(report.added_ms)} ms`);
  figure("offset", offset, `${Math.round(offset)} ms`);
  const pair = stats.find((one) => one.type === "candidate-pair" && one.nominated && one.state === "succeeded");
  const codec = stats.find((one) => one.id === inbound("video").codecId);
  if (mine.connection.connectionState === "connected") {
    const parts = ["Connected", codec && codec.mimeType.split("/")[1], video.videoWidth && `${video.videoWidth} × ${video.videoHeight}`,
      pair && pair.currentRoundTripTime !== undefined && `${Math.round(pair.currentRoundTripTime * 1000)} ms round trip`];
    tellLink("connected", parts.filter(Boolean).join(" · "));
  }
  if (recordingSince) {
    const seconds = Math.floor((now - recordingSince) / 1000);
    $("recorded").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  }
}

// Actors

function title(name) { return name === "presenter" ? "Presenter" : name; }

function showCast() {
  $("actors").replaceChildren(...cast.map((actor) => {
    const choice = document.createElement("label"), input = document.createElement("input");
    const picture = document.createElement("img"), words = document.createElement("span");
    Object.assign(input, { type: "radio", name: "actor", value: actor.name, checked: actor.name === chosen });
    Object.assign(picture, { src: actor.preview, alt: "", loading: "lazy" });
    picture.addEventListener("error", () => { picture.remove(); });
    words.textContent = title(actor.name);
    choice.title = title(actor.name);
    input.addEventListener("change", () => { chosen = actor.name; recordingSince = 0; connect(); });
    choice.append(input, picture, words);
    return choice;
  }));
}

/** The ICE servers of a Link header (RFC 9725): each an address, then what is needed to use it. */
function iceServers(header) {
  return [...(header || "").matchAll(/<([^>]+)>((?:; [a-z-]+="[^"]*")*)/g)].map(([, urls, rest]) => (
    { urls, ...Object.fromEntries([...rest.matchAll(/; ([a-z-]+)="([^"]*)"/g)].map((found) => found.slice(1))) }
  ));
}

async function readCast() {
  const [actors, door] = await Promise.all([call("/v1/actors"), call("/v1/sessions", { method: "OPTIONS" })]);
  const list = await actors.json();
  ice = iceServers(door.headers.get("Link"));
  cast = list.actors;
  if (!cast.some(({ name }) => name === chosen)) chosen = list.default;
  $("add").hidden = !list.may_add;
  showCast();
}

/** Send a file with its progress, which fetch cannot tell. */
function upload(path, body, progress) {
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("Content-Type", /^(video|image)\//.test(body.type) ? body.type : "application/octet-stream");
    request.upload.addEventListener("progress", (event) => event.lengthComputable && progress(event.loaded / event.total));
    request.addEventListener("error", () => fail(new Error("The server cannot be reached, or it refused the file.")));
    request.addEventListener("load", async () => {
      const response = new Response(request.responseText, { status: request.status });
      if (request.status === 202) done(await response.json());
      else fail(await refusal(response));
    });
    request.send(body);
  });
}

async function addActor(event) {
  event.preventDefault();
  const bar = $("adding-progress"), state = $("adding-state"), name = $("adding-name").value.trim();
  const tell = (words, share) => { state.textContent = words; bar.hidden = share === undefined; bar.value = share || 0; };
  $("adding-go").disabled = true;
  try {
    tell("Sending…", 0);
    let made = await upload(`/v1/actors?name=${encodeURIComponent(name)}`, $("adding-file").files[0], (share) => tell("Sending…", share));
    while (!["done", "failed"].includes(made.state)) {
      tell(made.state === "waiting" ? "Waiting for another to be done…" : "Looking for the face…", made.total ? made.pictures / made.total : 0);
      await new Promise((done) => setTimeout(done, 500));
      made = await (await call(made.url)).json();
    }
    if (made.state === "failed") throw new Error([made.problem.detail, made.problem.hint].filter(Boolean).join(" "));
    tell(`${name} is there. ${made.notes.join(" ")}`);
    chosen = name;
    await readCast();
    $("adding").close();
    connect();
  } catch (error) {
    tell(error.message);
  } finally {
    $("adding-go").disabled = false;
  }
}

/** A join token behind the # makes this browser a guest; it is used up by that, and leaves the address. */
async function enter() {
  const join = new URLSearchParams(location.hash.slice(1)).get("join");
  if (!join) return;
  history.replaceState(null, "", location.pathname);
  await call("/v1/guests", { method: "POST", body: JSON.stringify({ join }) });
}

async function begin() {
  stage.classList.add("empty");
  try {
    await enter();
    await readCast();
    await connect();
  } catch (error) {
    say("error", "Not connected");
    tellLink("error", "Not connected");
    complain(error.message);
    stopped = true;
    draw();
  }
}

microphone.addEventListener("click", toggleMicrophone);
choose.addEventListener("click", () => file.click());
file.addEventListener("change", () => { speak(file.files[0]); file.value = ""; });
$("interrupt").addEventListener("click", interrupt);
hear.addEventListener("click", () => { heard = video.muted; volume(); draw(); });
record.addEventListener("click", toggleRecording);
power.addEventListener("click", () => (stopped ? (cast.length ? connect() : begin()) : stop()));
video.addEventListener("volumechange", draw);
$("full").addEventListener("click", () => (document.fullscreenElement ? document.exitFullscreen() : stage.requestFullscreen()).catch(() => {}));
$("add").addEventListener("click", () => { $("adding-state").textContent = ""; $("adding").showModal(); });
$("adding-cancel").addEventListener("click", () => $("adding").close());
$("adding-form").addEventListener("submit", addActor);
addEventListener("keydown", (event) => { if (event.key === "Escape" && !$("adding").open && !document.fullscreenElement) interrupt(); });

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
setInterval(() => document.hidden || refresh(), 500);

begin();
