"use strict";
// Space, or the button: pauses; with push-to-talk it is held while one speaks.
const [state, figures, key] = ["state", "figures", "key"].map((id) => document.getElementById(id));
let push = false, held = false;

function show(seen) {
  push = seen.push_to_talk;
  state.textContent = `${seen.actor}: ${seen.state}`;
  const delay = seen.added_ms === null ? "" : `, ${Math.round(seen.added_ms)} ms behind the microphone`;
  figures.textContent = `${seen.fps.toFixed(1)} pictures a second${delay}`;
  key.textContent = push ? "Hold to talk (space)" : seen.state === "paused" ? "Go on (space)" : "Pause (space)";
}

async function ask(path, method) {
  try {
    show(await (await fetch(path, { method })).json());
  } catch {
    state.textContent = "The camera has ended.";
    figures.textContent = "";
  }
}

function press(down) {
  if (down === held) return;
  held = down;
  if (push) ask(down ? "talk" : "pause", "POST");
  else if (down) ask("toggle", "POST");
}

addEventListener("keydown", (event) => {
  if (event.code !== "Space") return;
  event.preventDefault();
  press(true);
});
addEventListener("keyup", (event) => event.code === "Space" && press(false));
addEventListener("blur", () => press(false));
key.addEventListener("pointerdown", () => press(true));
for (const name of ["pointerup", "pointercancel", "pointerleave"]) key.addEventListener(name, () => press(false));
setInterval(() => ask("figures", "GET"), 500);
ask("figures", "GET");
