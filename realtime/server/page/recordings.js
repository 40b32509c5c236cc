// Recordings lie at the server. They are listed until they are removed, also those that a lost session left behind.
"use strict";

let recordingSince = 0;
let longest = 600;       // seconds that a recording lasts at most

async function toggleRecording() {
  if (!session || !session.url) return;
  record.disabled = true;
  complain("");
  try {
    if (!recordingSince) {
      await call(`${session.url}/recording`, { method: "POST" });
      recordingSince = performance.now();
    } else {
      await call(`${session.url}/recording`, { method: "DELETE" });
      recordingSince = 0;
    }
  } catch (error) {
    recordingSince = 0;
    complain(error.message);
  }
  await readRecordings();
  draw();
}

/** The session is over, and what was recorded of it is whole soon. */
function recordingEnded() {
  if (!recordingSince) return;
  recordingSince = 0;
  draw();
  setTimeout(readRecordings, 600);
}

function tick() {
  if (!recordingSince) return;
  const seconds = (performance.now() - recordingSince) / 1000;
  $("recorded").textContent = `${clock(seconds)} of ${clock(longest)}`;
  if (seconds > longest) recordingEnded();
}

async function readRecordings() {
  let list;
  try {
    ({ recordings: list } = await (await call("/v1/recordings")).json());
  } catch {
    return; // it is asked again
  }
  const had = $("recordings").childElementCount;
  $("recordings").replaceChildren(...list.map(row));
  $("saved").hidden = !list.length;
  if (list.length > had) $("saved").open = true;
  $("limit").textContent = `A recording ends by itself after ${Math.round(longest / 60)} minutes. The server keeps the last sixteen, until it is stopped.`;
}

function row(one) {
  const item = document.createElement("li"), length = clock(one.seconds);
  const words = document.createElement("span");
  item.append(words);
  if (one.state === "recording") words.textContent = `${title(one.actor)}, being recorded`;
  else {
    words.textContent = one.state === "failed" ? `${title(one.actor)}, broke off after ${length}: ${one.trouble}` : "";
    if (one.state !== "failed" || one.seconds) {
      const link = Object.assign(document.createElement("a"), { href: one.url, download: "", textContent: `Download ${title(one.actor)}, ${length}` });
      item.append(link);
    }
    const remove = Object.assign(document.createElement("button"), { type: "button", className: "small", title: "Remove" });
    remove.setAttribute("aria-label", `Remove the recording of ${title(one.actor)}, ${length}`);
    remove.innerHTML = '<svg aria-hidden="true"><use href="#i-bin"/></svg>';
    remove.addEventListener("click", () => removeRecording(one));
    item.append(remove);
  }
  return item;
}

async function removeRecording(one) {
  if (!await sure(`The recording of ${title(one.actor)}, ${clock(one.seconds)}, will be gone.`)) return;
  try {
    await call(one.url, { method: "DELETE" });
  } catch (error) {
    complain(error.message);
  }
  readRecordings();
}
