// The actors: chosen by their pictures, added from a file or the camera, removed.
"use strict";

const FILM_S = 15;       // seconds that the camera films

let cast = [];           // the actors
let chosen = "";         // who is shown
let rights = {};         // what whoever uses the page may do
let turn = 0;            // the timer of a choice that may go on
let film = null;         // what the camera filmed, as a file

/** How an actor is called on the page: those that ship have plain names, others are what their owner called them. */
function title(name) {
  const actor = cast.find((one) => one.name === name);
  return actor && actor.built_in ? name.replace(/(^|-)([a-z])/g, (_, dash, letter) => (dash && " ") + letter.toUpperCase()) : name;
}

function showCast() {
  $("actors").replaceChildren(...cast.map((actor) => {
    const choice = document.createElement("label"), input = document.createElement("input");
    const picture = document.createElement("img"), words = document.createElement("span");
    Object.assign(input, { type: "radio", name: "actor", value: actor.name, checked: actor.name === chosen });
    Object.assign(picture, { src: actor.preview, alt: "", loading: "lazy" });
    picture.addEventListener("error", () => { picture.remove(); });
    words.textContent = title(actor.name);
    choice.title = title(actor.name);
    input.addEventListener("change", () => choose(actor.name));
    choice.append(input, picture, words);
    return choice;
  }));
  showChosen();
}

function showChosen() {
  const actor = cast.find(({ name }) => name === chosen);
  $("poster").hidden = !actor;
  if (actor) $("poster").src = actor.preview;
  $("remove").hidden = !actor || actor.built_in;
}

/** Another actor. Who goes through them with the arrow keys begins a session with the one where they stop. */
function choose(name) {
  chosen = name;
  showChosen();
  clearTimeout(turn);
  if (session && session.actor !== name) turn = setTimeout(() => { if (session && session.actor !== chosen) { recordingEnded(); forget(); connect(); } }, 500);
}

/** The ICE servers of a Link header (RFC 9725): each an address, then what is needed to use it. */
function iceServers(header) {
  return [...(header || "").matchAll(/<([^>]+)>((?:; [a-z-]+="[^"]*")*)/g)].map(([, urls, rest]) => (
    { urls, ...Object.fromEntries([...rest.matchAll(/; ([a-z-]+)="([^"]*)"/g)].map((found) => found.slice(1))) }
  ));
}

async function readCast() {
  const [actors, sessions] = await Promise.all([call("/v1/actors"), call("/v1/sessions", { method: "OPTIONS" })]);
  const list = await actors.json();
  ice = iceServers(sessions.headers.get("Link"));
  cast = list.actors;
  if (!cast.some(({ name }) => name === chosen)) chosen = list.default;
  $("manage").hidden = !list.may_add;
  showCast();
}

/** Send a file with its progress, which fetch cannot tell. */
function upload(path, body, progress) {
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("Content-Type", /^(video|image)\//.test(body.type) ? body.type.split(";")[0] : "application/octet-stream");
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

/** Words, and how far it is: 0 to 1, or null where nobody knows. */
function tellAdding(words, share) {
  $("adding-state").textContent = words;
  const bar = $("adding-progress");
  bar.hidden = share === undefined;
  if (share === null) bar.removeAttribute("value"); // it moves all the same
  else bar.value = share || 0;
}

async function addActor(event) {
  event.preventDefault();
  const name = $("adding-name").value.trim(), file = film || $("adding-file").files[0];
  if (!file) return tellAdding("Choose a video or photo, or film with the camera.");
  $("adding-go").disabled = $("adding-film").disabled = true;
  try {
    tellAdding("Sending…", 0);
    let made = await upload(`/v1/actors?name=${encodeURIComponent(name)}`, file, (share) => tellAdding("Sending…", share));
    while (!["done", "failed"].includes(made.state)) {
      const share = made.total && made.pictures ? Math.min(1, made.pictures / made.total) : null;
      tellAdding(made.state === "waiting" ? "Waiting for another to be done…" : "Looking at the face…", share);
      await new Promise((done) => setTimeout(done, 500));
      made = await (await call(made.url)).json();
    }
    if (made.state === "failed") throw new Error([made.problem.detail, made.problem.hint].filter(Boolean).join(" "));
    chosen = name;
    await readCast();
    tellAdding(`${title(name)} is there. ${made.notes.join(" ")}`);
    if (!made.notes.length) $("adding").close();
    film = null;
    if (session) connect();
  } catch (error) {
    tellAdding(error.message);
  } finally {
    $("adding-go").disabled = $("adding-film").disabled = false;
  }
}

function openAdding() {
  film = null;
  tellAdding("");
  $("adding-form").reset();
  $("adding").showModal();
}

/** Film whoever sits before the camera while they speak. */
async function filmActor() {
  const view = $("adding-camera");
  let source = null;
  $("adding-film").disabled = $("adding-go").disabled = true;
  try {
    source = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 25 } }, audio: true });
    view.srcObject = source;
    view.hidden = false;
    await view.play();
    for (let left = 3; left; left -= 1) {
      tellAdding(`Look into the camera. Filming begins in ${left}…`);
      await new Promise((done) => setTimeout(done, 1000));
    }
    const recorder = new MediaRecorder(source), parts = [];
    recorder.addEventListener("dataavailable", ({ data }) => parts.push(data));
    const over = new Promise((done) => recorder.addEventListener("stop", done));
    recorder.start();
    for (let at = 0; at < FILM_S && $("adding").open; at += 1) {
      tellAdding("Speak: count to ten, then say something lively.", at / FILM_S);
      await new Promise((done) => setTimeout(done, 1000));
    }
    recorder.stop();
    await over;
    if (!$("adding").open) return;
    film = new File(parts, "camera", { type: recorder.mimeType });
    tellAdding(`Filmed ${FILM_S} seconds. Press Add, or film again.`);
  } catch (error) {
    tellAdding(whyNoDevice(error, "camera"));
  } finally {
    if (source) source.getTracks().forEach((track) => track.stop());
    view.hidden = true;
    $("adding-film").disabled = $("adding-go").disabled = false;
  }
}

/** Ask before something is gone. */
function sure(words) {
  $("asking-words").textContent = words;
  return ask($("asking"), $("asking-form"));
}

async function removeActor() {
  const name = chosen;
  if (!await sure(`${title(name)} will be gone, with all files of this actor.`)) return;
  try {
    if (session && session.actor === name) await stop();
    await call(`/v1/actors/${encodeURIComponent(name)}`, { method: "DELETE" });
    stage.classList.add("empty");
    await readCast();
  } catch (error) {
    complain(error.message);
  }
}
