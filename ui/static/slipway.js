// What a page gains with a script; without it every form and link still works.

const BLOCK_LINES = 500;

for (const time of document.querySelectorAll("time")) showAge(time);
setInterval(() => document.querySelectorAll("time").forEach(showAge), 30_000);

for (const select of document.querySelectorAll("[data-submit]")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}

// A second click while the first is on its way; the server takes the form once in any case.
for (const form of document.querySelectorAll("form")) {
  form.addEventListener("submit", () => {
    setTimeout(() => form.querySelectorAll("button").forEach((button) => (button.disabled = true)));
  });
}
// Back from another page, the buttons are there again.
addEventListener("pageshow", () => {
  document.querySelectorAll("button").forEach((button) => (button.disabled = false));
});

function showAge(time) {
  const seconds = (Date.now() - Date.parse(time.dateTime)) / 1000;
  const [amount, unit] =
    seconds < 60 ? [seconds, "second"] : seconds < 3600 ? [seconds / 60, "minute"]
    : seconds < 86_400 ? [seconds / 3600, "hour"] : [seconds / 86_400, "day"];
  const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  time.textContent = words.format(-Math.max(0, Math.floor(amount)), unit);
}

function followDeployment(section) {
  const pane = section.querySelector("[data-lines]");
  const follow = section.querySelector("[data-follow]");
  const connection = section.querySelector("[data-connection]");
  const state = document.getElementById("state");
  pane.hidden = section.querySelector(".tools").hidden = false;
  let writer = new LogWriter(pane);

  const source = new EventSource(section.dataset.live);
  source.onopen = () => (connection.textContent = "");
  source.onerror = () => (connection.textContent = "The connection was cut; trying again…");
  source.addEventListener("begin", () => {
    pane.replaceChildren();
    writer = new LogWriter(pane);
  });
  source.addEventListener("log", (event) => {
    writer.write(JSON.parse(event.data));
    if (follow.checked) pane.scrollTop = pane.scrollHeight;
  });
  source.addEventListener("state", (event) => {
    // Made by this server from escaped text; the same template drew it at first.
    state.innerHTML = JSON.parse(event.data);
    state.querySelectorAll("time").forEach(showAge);
  });
  for (const last of ["end", "gone"]) {
    source.addEventListener(last, () => {
      source.close();
      connection.textContent = "";
      document.querySelectorAll("[data-cancel]").forEach((form) => form.remove());
    });
  }
  pane.addEventListener("wheel", () => {
    follow.checked = pane.scrollTop + pane.clientHeight >= pane.scrollHeight - 40;
  });
}

// Writes text with ANSI colours as nodes, in blocks of lines that the browser need not draw until seen.
class LogWriter {
  constructor(pane) {
    this.pane = pane;
    this.codes = new Set();
    this.rest = "";
    this.lines = BLOCK_LINES;
  }

  write(text) {
    const parts = (this.rest + text).split("\u001b[");
    this.rest = "";
    this.plain(parts[0]);
    for (const [index, part] of parts.slice(1).entries()) {
      const end = part.search(/[@-~]/);
      if (end < 0) {
        // A code that is cut in two waits for its other half.
        if (index === parts.length - 2) this.rest = "\u001b[" + part;
        continue;
      }
      if (part[end] === "m") this.select(part.slice(0, end));
      this.plain(part.slice(end + 1));
    }
  }

  select(codes) {
    for (const code of codes.split(";").map(Number)) {
      if (code === 0) this.codes.clear();
      else if (code === 22) ["1", "2"].forEach((each) => this.codes.delete(each));
      else if (code === 39) this.dropColours();
      else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) {
        this.dropColours();
        this.codes.add(String(code >= 90 ? code - 60 : code));
      } else if (code >= 1 && code <= 4) this.codes.add(String(code));
    }
  }

  dropColours() {
    for (const code of this.codes) if (code.length === 2) this.codes.delete(code);
  }

  plain(text) {
    for (const piece of text.match(/[^\n]*\n|[^\n]+/g) ?? []) {
      if (this.lines >= BLOCK_LINES) {
        this.block = this.pane.appendChild(document.createElement("span"));
        this.lines = 0;
      }
      this.append(piece);
      if (piece.endsWith("\n")) this.lines += 1;
    }
  }

  append(piece) {
    const classes = [...this.codes].map((code) => "sgr-" + code).join(" ");
    const last = this.block.lastChild;
    if (last && (last.className ?? "") === classes) {
      last.append(piece);
      return;
    }
    const node = document.createElement("span");
    node.className = classes;
    node.append(piece);
    this.block.append(node);
  }
}

const live = document.querySelector("[data-live]");
if (live) followDeployment(live);
