// Sends a photo, and shows what comes back. The server has escaped all names; here they are only ever text.
"use strict";
const ask = byId("ask"), MOST_BYTES = Number(ask.dataset.mostBytes);
let sending = null;

function tell(text, problem = "") {
  byId("status").textContent = text; byId("error").textContent = problem;
}
function progress(share) {
  const bar = byId("progress");
  bar.hidden = share === undefined;
  if (share === null) bar.removeAttribute("value"); else if (share !== undefined) bar.value = share;
}
function fail(sentence) { progress(); tell("", sentence); }
function place(photo) {
  sending?.abort();
  byId("answer").replaceChildren(); byId("marks").replaceChildren();
  if (photo.size > MOST_BYTES) {
    fail(`${photo.name} has ${(photo.size / 1e6).toFixed(1)} MB, and ${MOST_BYTES / 1e6} MB are the most. Reduce it.`);
    return;
  }
  const form = new FormData(), request = sending = new XMLHttpRequest();
  form.append("photo", photo, photo.name);
  request.open("POST", "/locate?format=page");
  request.responseType = "json";
  request.upload.addEventListener("progress", event => {
    if (event.lengthComputable) progress(event.loaded / event.total);
  });
  request.upload.addEventListener("load", () => {
    progress(null); tell(`Looking for the place of ${photo.name}.`);
  });
  request.addEventListener("error", () => fail("The server does not answer. Is geodtr serve still running?"));
  request.addEventListener("load", () => {
    const answer = request.response;
    if (request.status !== 200) return fail(answer?.error ?? `The server answers ${request.status}.`);
    progress();
    byId("answer").innerHTML = answer.panel; byId("marks").innerHTML = answer.marks;
    draw(); tell(answer.sentence);
  });
  tell(`Sending ${photo.name}.`);
  request.send(form);
}
for (const input of [byId("photo"), byId("camera")])
  input.addEventListener("change", () => {
    if (input.files.length) place(input.files[0]);
    input.value = ""; // so that the same photo can be chosen again
  });
let over = 0; // elements under what is dragged: leaving one for its child is no leaving
document.addEventListener("dragenter", () => { over++; ask.classList.add("over"); });
document.addEventListener("dragleave", () => { if (--over < 1) ask.classList.remove("over"); });
document.addEventListener("dragover", event => event.preventDefault());
document.addEventListener("drop", event => {
  event.preventDefault();
  over = 0; ask.classList.remove("over");
  const files = event.dataTransfer.files;
  if (files.length === 1) place(files[0]);
  else fail(files.length ? "One photo at a time, please." : "That is no file.");
});
