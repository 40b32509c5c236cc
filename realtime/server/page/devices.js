// Loudspeakers, microphones, volume, and how the picture is shown.
"use strict";

/** What keeps a microphone or camera from us, in a visitor's words. */
function whyNoDevice(error, what) {
  const sentences = {
    NotAllowedError: `The ${what} was not allowed. Allow it in the browser's address bar, then try again.`,
    NotFoundError: `No ${what} was found.`,
    OverconstrainedError: `That ${what} is not there any more. Choose another one.`,
    NotReadableError: `The ${what} is in use by another program.`,
  };
  if (sentences[error.name]) return sentences[error.name];
  return navigator.mediaDevices ? error.message : `This browser gives a ${what} only to pages of this machine or over HTTPS.`;
}

async function listDevices() {
  if (!navigator.mediaDevices) return;
  const all = await navigator.mediaDevices.enumerateDevices();
  fill($("microphones"), all.filter(({ kind }) => kind === "audioinput"), "Microphone");
  fill($("speakers"), all.filter(({ kind }) => kind === "audiooutput"), "Loudspeaker");
  $("speakers-label").hidden = !video.setSinkId || $("speakers").options.length < 2;
}

function fill(select, found, what) {
  const was = select.value;
  const named = found.filter(({ deviceId }) => deviceId && deviceId !== "default");
  select.replaceChildren(new Option("The system's own", ""), ...named.map((one, at) => new Option(one.label || `${what} ${at + 1}`, one.deviceId)));
  select.value = named.some(({ deviceId }) => deviceId === was) ? was : "";
}

async function changeMicrophone() {
  if (!voice) return;
  try {
    await takeMicrophone();
    if (session) await session.sender.replaceTrack(voice);
  } catch (error) {
    complain(whyNoDevice(error, "microphone"));
  }
  draw();
}

function hearIt() {
  video.muted = !heard;
  if (heard) video.play().catch(() => { video.muted = true; heard = false; video.play().catch(() => {}); draw(); });
}

async function toggleInset() {
  try {
    if (document.pictureInPictureElement) await document.exitPictureInPicture();
    else await video.requestPictureInPicture();
  } catch {
    complain("The picture cannot leave the page before there is one. Press Start first.");
  }
}

function toggleMirror() {
  const on = stage.classList.toggle("mirrored");
  $("mirror").setAttribute("aria-pressed", String(on));
}

function toggleFull() {
  (document.fullscreenElement ? document.exitFullscreen() : stage.requestFullscreen()).catch(() => {});
}
