// What every part of the page uses: elements, words, and questions to the server.
"use strict";

const $ = (id) => document.getElementById(id);
const video = $("video"), still = $("still"), stage = $("stage");

const WORDS = {
  off: "Not started", connecting: "Connecting…", idle: "Ready", listening: "Listening", speaking: "Speaking", ended: "Ended",
};
const UNREACHABLE = "The server cannot be reached. Check your connection, or whether it is running.";

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
  if (sentence) $("trouble").scrollIntoView({ block: "nearest" });
}

function label(button, words) { button.querySelector("span").textContent = words; }

function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

// What a visitor can do about a refusal, by its code. The server's own words are for whoever writes a client.
const PLAIN = {
  full: "Everybody here is busy. Try again in a minute.",
  "wrong-secret": "You are not signed in any more. Open your invitation again, or sign in.",
};

/** An answer of the server that is no success, as an error with its code. */
async function refusal(response) {
  const error = new Error(`The server answered ${response.status}.`);
  error.status = response.status;
  try {
    const problem = await response.json();
    error.code = problem.code;
    error.message = PLAIN[problem.code] || [problem.detail, problem.hint].filter(Boolean).join(" ");
  } catch { /* no problem+json: the number has to do */ }
  return error;
}

async function call(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error(UNREACHABLE);
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

const send = (path, body) => call(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

/** Open a dialog; done when it is closed: true where its form was sent. */
function ask(dialog, form) {
  return new Promise((done) => {
    let sent = false;
    const submitted = () => { sent = true; };
    form.addEventListener("submit", submitted);
    dialog.addEventListener("close", () => { form.removeEventListener("submit", submitted); done(sent); }, { once: true });
    dialog.showModal();
  });
}
