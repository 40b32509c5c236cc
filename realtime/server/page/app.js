// The page: who may come in, and which control does what.
"use strict";

const INVITATION_S = 24 * 3600;
const microphone = $("microphone"), file = $("file"), hear = $("hear"), power = $("power"), record = $("record");
const asked = new URLSearchParams(location.hash.slice(1));
const watching = asked.get("watch") || "";   // the session of somebody else that is watched, if any

function draw() {
  const on = Boolean(session) && !stopped, any = cast.length > 0 || Boolean(watching);
  for (const one of [microphone, $("choose"), $("sample"), power]) one.disabled = !any;
  $("text").disabled = $("voice").disabled = $("say").disabled = !any || !voices.length;
  $("interrupt").disabled = !on;
  record.disabled = !on || !rights.may_record;
  record.title = rights.may_record ? "" : "You were not invited to record";
  microphone.setAttribute("aria-pressed", String(Boolean(voice)));
  label(microphone, voice ? "Stop microphone" : "Use microphone");
  hear.setAttribute("aria-pressed", String(!video.muted));
  label(hear, voice ? "Hear myself" : "Hear the voice");
  record.setAttribute("aria-pressed", String(Boolean(recordingSince)));
  label(record, recordingSince ? "Stop recording" : "Record");
  $("recording").hidden = !recordingSince;
  label(power, stopped ? "Start" : "Stop");
  $("power-icon").setAttribute("href", stopped ? "#i-play" : "#i-stop");
  $("begin").hidden = !stopped || !any || Boolean(watching && session);
  $("viewers").hidden = !on || Boolean(watching) || !rights.owner;
  $("invite").hidden = !rights.may_invite || Boolean(watching);
  stage.classList.toggle("ended", stopped);
}

/** A join token behind the # makes this browser a guest; it is used up by that, and leaves the address. */
async function enter() {
  const join = asked.get("join");
  if (!join) return;
  history.replaceState(null, "", watching ? `${location.pathname}#watch=${encodeURIComponent(watching)}` : location.pathname);
  await send("/v1/guests", { join });
}

/** Who is not let in is asked for the secret, until it is the right one. */
async function signIn() {
  $("door-state").textContent = "";
  for (;;) {
    if (!await ask($("door"), $("door-form"))) continue; // nothing can be done here without it
    try {
      await send("/v1/owners", { secret: $("door-secret").value });
      $("door-secret").value = "";
      return;
    } catch (error) {
      $("door-state").textContent = error.status === 401 ? "That is not the secret of this server." : error.message;
    }
  }
}

/** What had let us in does not any more. */
async function enterAgain(error) {
  fail(error.message);
  await signIn();
  complain("");
  await begin();
}

async function begin() {
  try {
    rights = await (await call("/v1/me")).json();
  } catch (error) {
    if (error.status !== 401) return fail(error.message);
    await signIn();
    return begin();
  }
  longest = rights.longest_recording_s;
  document.body.classList.toggle("watching", Boolean(watching));
  try {
    if (watching) return await connect();
    await readCast();
    await Promise.all([readVoices(), readRecordings(), listDevices()]);
  } catch (error) {
    return fail(error.message);
  }
  say("off", `Talk with ${title(chosen)}`);
  draw();
}

async function share(asks, words, heading) {
  try {
    const link = typeof asks === "string" ? asks : (await (await send("/v1/joins", asks)).json()).page;
    $("sharing-title").textContent = heading;
    $("sharing-words").textContent = words;
    $("sharing-link").value = new URL(link, location.href).href;
    label($("sharing-copy"), "Copy");
    $("sharing").showModal();
    $("sharing-link").select();
  } catch (error) {
    complain(error.message);
  }
}

async function copyLink() {
  $("sharing-link").select();
  try {
    await navigator.clipboard.writeText($("sharing-link").value);
  } catch {
    document.execCommand("copy"); // where pages over HTTP have no clipboard
  }
  label($("sharing-copy"), "Copied");
}

microphone.addEventListener("click", toggleMicrophone);
$("choose").addEventListener("click", () => file.click());
file.addEventListener("change", () => { speak([...file.files]); file.value = ""; });
$("sample").addEventListener("click", () => (watching ? connect() : playSample()));
$("typing").addEventListener("submit", sayText);
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); $("typing").requestSubmit(); }
});
$("voice").addEventListener("change", () => localStorage.setItem("voice", $("voice").value));
$("interrupt").addEventListener("click", interrupt);
hear.addEventListener("click", () => { heard = video.muted; hearIt(); draw(); });
$("volume").addEventListener("input", () => { video.volume = Number($("volume").value); });
record.addEventListener("click", toggleRecording);
power.addEventListener("click", () => (stopped ? connect() : stop()));
video.addEventListener("volumechange", draw);
$("microphones").addEventListener("change", changeMicrophone);
$("speakers").addEventListener("change", () => video.setSinkId($("speakers").value).catch(() => complain("That loudspeaker cannot be used.")));
$("inset").hidden = !document.pictureInPictureEnabled;
$("inset").addEventListener("click", toggleInset);
$("mirror").addEventListener("click", toggleMirror);
$("full").addEventListener("click", toggleFull);
$("add").addEventListener("click", openAdding);
$("remove").addEventListener("click", removeActor);
$("adding-cancel").addEventListener("click", () => $("adding").close());
$("adding-film").addEventListener("click", filmActor);
$("adding-file").addEventListener("change", () => { film = null; });
$("adding-form").addEventListener("submit", addActor);
$("asking-no").addEventListener("click", () => $("asking").close());
$("door").addEventListener("cancel", (event) => event.preventDefault());
$("sharing-copy").addEventListener("click", copyLink);
$("invite").addEventListener("click", () => share({ seconds: INVITATION_S }, "Good for one person, within a day. They may talk with every actor and record.", "Invitation"));
$("viewers").addEventListener("click", () => {
  const id = session.url.split("/").pop();
  share(rights.may_invite ? { watch: id, seconds: INVITATION_S } : `/#watch=${id}`, "Whoever opens it sees and hears this session, as long as it goes on.", "Viewer link");
});
addEventListener("keydown", (event) => { if (event.key === "Escape" && !document.querySelector("dialog[open]") && !document.fullscreenElement) interrupt(); });

let depth = 0; // of drag events over nested elements
addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; document.body.classList.add("dropping"); });
addEventListener("dragleave", () => { depth -= 1; if (depth <= 0) { depth = 0; document.body.classList.remove("dropping"); } });
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  document.body.classList.remove("dropping");
  if (!watching) speak([...event.dataTransfer.files]);
});
addEventListener("pagehide", () => { end(session); });
addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
addEventListener("hashchange", () => location.reload()); // another invitation
if (navigator.mediaDevices) navigator.mediaDevices.addEventListener("devicechange", listDevices);
setInterval(() => { tick(); letGo(); document.hidden || refresh(); }, 500);

draw();
enter().catch((error) => complain(error.message)).then(begin);
