// One session at a time. It is made by an offer and its answer (WHIP's shape). The microphone comes and goes within it; another
// actor is a new session that takes over, and the picture of the old one stays until it is there.
"use strict";

const HIDDEN_MS = 60_000; // a page that nobody sees, and in which nothing happens, lets its session go after so long
const TRIES = 5;

let session = null;      // { connection, url, sender, marks, stream, shown }
let attempt = 0;         // raised by whatever makes an earlier attempt to connect pointless
let ice = [];            // the STUN and TURN servers that the server names
let stopped = true;
let left = false;        // whether the session was let go because nobody looked
let retries = 0;

const door = () => (watching ? `/v1/sessions/${encodeURIComponent(watching)}/viewers` : `/v1/sessions?actor=${encodeURIComponent(chosen)}`);

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
  const offer = () => call(door(), {
    method: "POST", headers: { "Content-Type": "application/sdp" }, body: connection.localDescription.sdp,
  });
  try {
    return await offer();
  } catch (error) {
    if (error.status !== 503 || !session) throw error;
    freeze();
    const old = session;
    session = null;
    await end(old);
    return offer();
  }
}

async function connect() {
  const mine = ++attempt;
  stopped = left = false;
  say("connecting");
  tellLink("connecting", "Connecting…");
  complain("");
  draw();
  const marks = { posted: 0, shown: 0 };
  const connection = new RTCPeerConnection({ iceServers: ice });
  const stream = new MediaStream();
  connection.addTransceiver("video", { direction: "recvonly" });
  const { sender } = connection.addTransceiver(voice || "audio", { direction: watching ? "recvonly" : "sendrecv" });
  connection.addEventListener("track", ({ track, receiver }) => {
    receiver.jitterBufferTarget = 0; // ms: a talk waits for what the network needs, and for nothing more
    stream.addTrack(track);
  });
  const next = { connection, url: null, tag: null, late: [], sender, marks, stream, shown: 0, actor: chosen };
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
    if (retries && retries < TRIES && (!error.status || error.status >= 500)) return again();
    if (error.status === 401) return enterAgain(error);
    return fail(error.message);
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
  hearIt();
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

/** What went wrong, and everything as before a start. */
function fail(sentence) {
  stopped = true;
  retries = 0;
  say("error", "Not connected");
  tellLink("error", "Not connected");
  complain(sentence);
  silence();
  forget();
  draw();
}

/** A session that went away by itself is made anew a few times, with pauses that grow. */
function lost(gone) {
  if (session !== gone) return;
  freeze();
  session = null;
  end(gone);
  forget();
  recordingEnded();
  if (stopped) return;
  if (watching) return fail("What you watched has ended.");
  again();
}

function again() {
  retries += 1;
  if (retries > TRIES) return fail("The connection was lost, and could not be made again. Press Start to try once more.");
  say("connecting", "The connection was lost. Trying again…");
  tellLink("connecting", `Lost: trying again (${retries} of ${TRIES})…`);
  draw();
  const mine = attempt;
  setTimeout(() => mine === attempt && !stopped && connect(), 400 * 2 ** retries);
}

function end(which) {
  if (!which) return Promise.resolve();
  which.connection.close();
  return which.url ? fetch(which.url, { method: "DELETE", keepalive: true }).catch(() => {}) : Promise.resolve();
}

async function stop(words = WORDS.ended) {
  attempt += 1;
  stopped = true;
  retries = 0;
  const old = session;
  session = null;
  freeze();
  silence();
  forget();
  say("ended", words);
  tellLink("ended", "Not connected");
  complain("");
  draw();
  await end(old);
  recordingEnded();
}

// Nobody looks, and nothing happens: the room is somebody else's until the page is seen again.

let hiddenSince = 0;

document.addEventListener("visibilitychange", () => {
  hiddenSince = document.hidden ? performance.now() : 0;
  if (document.hidden || !left) return;
  connect();
});

async function letGo() {
  const busy = voice || speaking() || recordingSince || document.pictureInPictureElement;
  if (!session || !hiddenSince || busy || performance.now() - hiddenSince < HIDDEN_MS) return;
  await stop("Paused while you were away");
  left = true;
}

/** What the server says of the session, and what the browser knows of the wire, twice a second. */
async function refresh() {
  const mine = session;
  if (!mine || !mine.url || stopped) return;
  try {
    const response = await fetch(watching ? `/v1/sessions/${encodeURIComponent(watching)}` : mine.url);
    if (session !== mine || stopped) return;
    if ([404, 410].includes(response.status)) return lost(mine);
    const report = await response.json();
    if (session !== mine || stopped || !mine.marks.shown) return;
    if (watching) say(report.state, report.state === "speaking" ? WORDS.speaking : "Watching");
    else tellState(report);
    if (report.trouble) complain(report.trouble);
    await chart(mine, report);
  } catch { /* the connection's own events tell */ }
}

const charts = {
  fps: new Strip($("fps-chart"), 0, 30, [24, 26]),
  added: new Strip($("added-chart"), 0, 400, [0, 200]),
  offset: new Strip($("offset-chart"), -120, 120, [-40, 40]),
};

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
}
