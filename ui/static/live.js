// Parts of a page that change while it is open: each is renewed by itself, and only when it has
// changed, so that a button is not exchanged under the finger that presses it.

const PATIENCE_MS = 30_000; // The server says something every ten seconds.
const RETRY_MS = 2_000;

const drawn = new WeakMap();

// `html` is made by this server from escaped text; the same template drew the page at first.
function renew(root, html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  for (const part of template.content.querySelectorAll("[data-part]")) {
    const known = root.querySelector(`[data-part="${part.dataset.part}"]`);
    if (!known || drawn.get(known) === part.innerHTML) continue;
    const focused = known.contains(document.activeElement) ? placeOf(known, document.activeElement) : -1;
    const isOpen = [...known.querySelectorAll("details")].map((each) => each.open);
    drawn.set(known, part.innerHTML);
    known.replaceChildren(...part.childNodes);
    known.querySelectorAll("details").forEach((each, index) => (each.open = isOpen[index] ?? each.open));
    if (focused >= 0) known.querySelectorAll("a, button, summary, input")[focused]?.focus();
  }
  document.dispatchEvent(new CustomEvent("state"));
}

function placeOf(root, node) {
  return [...root.querySelectorAll("a, button, summary, input")].indexOf(node);
}

// Lengths of time that go on. They count from when they came, whatever the clock of this machine says.
const begun = new WeakMap();

function tick() {
  for (const node of document.querySelectorAll("[data-elapsed]")) {
    if (!begun.has(node)) begun.set(node, performance.now() - Number(node.dataset.elapsed));
    node.textContent = duration(performance.now() - begun.get(node));
  }
}

// As ui/words.py writes it, from a second on.
function duration(milliseconds) {
  const seconds = Math.floor(milliseconds / 1000);
  const two = (number) => String(number).padStart(2, "0");
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${two(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
}

// A page without a log has its own stream; a connection that is cut or silent is opened again.
function follow(root) {
  const note = document.querySelector("[data-note]");
  let source, heard;
  const open = () => {
    source?.close();
    heard = Date.now();
    source = new EventSource(root.dataset.stream);
    source.onopen = () => (note.textContent = "Live.");
    source.onerror = () => {
      note.textContent = "The connection was cut; trying again…";
      if (source.readyState === EventSource.CLOSED) setTimeout(open, RETRY_MS);
    };
    source.addEventListener("beat", () => (heard = Date.now()));
    source.addEventListener("state", (event) => {
      heard = Date.now();
      renew(root, JSON.parse(event.data));
    });
    source.addEventListener("gone", (event) => {
      source.close();
      heard = Infinity;
      note.textContent = JSON.parse(event.data);
    });
  };
  open();
  setInterval(() => Date.now() - heard > PATIENCE_MS && open(), PATIENCE_MS / 3);
}

const state = document.getElementById("state");
document.addEventListener("renew", (event) => renew(state, event.detail));
if (state?.dataset.stream) follow(state);
tick();
setInterval(tick, 1_000);
