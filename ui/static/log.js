// A deployment's log as it is written: read like a terminal does, drawn only where it is looked at,
// searched in whole. Text is only ever put on the page as text.

const BLOCK = 50; // Lines that are drawn, and given up, together.
const SHOWN_MAX = 10_000; // Characters of one line on the page; all of it is kept and searched.
const FOUND_MAX = 100_000;
const SEARCH_AT_ONCE = 20_000;
const SILENCE_MS = 30_000; // The server says something every ten seconds.
const RETRY_MS = 1_000;
const CATCH_UP_MS = 250; // Between two looks at a log that is only now being loaded.

// Text; or a control sequence, a string such as a title or a hyperlink, another escape; or one that
// may go on in what comes next; or a single control character.
const TOKEN = new RegExp(
  "([^\\x00-\\x1f\\x7f-\\x9f]+)|\\x1b\\[([0-?]{0,64})[ -/]{0,8}([@-~])" +
  "|(\\x1b(?:\\[[0-?]{0,64}[ -/]{0,8}|[\\]PX^_][^\\x07\\x18\\x1a\\x1b\\n]{0,4096}\\x1b?|[ -/]{0,8})?$)" +
  "|\\x1b[\\]PX^_][^\\x07\\x18\\x1a\\x1b\\n]{0,4096}(?:\\x07|\\x1b\\\\)?" +
  "|\\x1b[ -/]{1,8}[0-~]|\\x1b[0-OQ-WYZ\\\\`-~]|([\\x00-\\x1f\\x7f-\\x9f])", "g");

const ATTRIBUTES = { 1: "bold", 2: "faint", 3: "italic", 4: "under", 7: "reverse", 9: "strike" };
const ENDS = { 22: ["bold", "faint"], 23: ["italic"], 24: ["under"], 27: ["reverse"], 29: ["strike"] };
// The sixteen colours as their names mean them; others are shown as the nearest of these.
const PALETTE = [0, 0xaa0000, 0x00aa00, 0xaa5500, 0x0000aa, 0xaa00aa, 0x00aaaa, 0xaaaaaa, 0x555555,
  0xff5555, 0x55ff55, 0xffff55, 0x5555ff, 0xff55ff, 0x55ffff, 0xffffff];

// What a terminal's screen would show, as lines {text, runs, at}; `runs` says where which style
// begins. A line is in progress until its line break.
class Terminal {
  constructor() {
    this.lines = [];
    this.open = null;
    this.rest = "";
    this.styles = new Map();
    this.style = "";
    this.changed = 0; // The first line that is not as it was when somebody last asked.
  }

  write(text, at = null) {
    const all = this.rest + text;
    this.rest = "";
    for (const [, plain, parameters, final, begun, control] of all.matchAll(TOKEN)) {
      if (plain !== undefined) this.put(plain, at);
      else if (final === "m") this.select(parameters);
      else if (final !== undefined) this.move(parameters, final);
      else if (begun !== undefined) this.rest = begun;
      else if (control !== undefined) this.control(control, at);
    }
  }

  line(at) {
    if (!this.open) {
      this.open = { text: "", runs: null, at, ended: false };
      this.cells = null; // [character, style] each, once something in the line is overwritten.
      this.column = -1; // -1: after the last character.
      this.changed = Math.min(this.changed, this.lines.length);
      this.lines.push(this.open);
    }
    this.changed = Math.min(this.changed, this.lines.length - 1);
    return this.open;
  }

  put(text, at) {
    const line = this.line(at);
    if (this.column < 0 && !this.cells) {
      const last = line.runs?.at(-1)[1] ?? "";
      if (last !== this.style) (line.runs ??= []).push([line.text.length, this.style]);
      line.text += text;
      return;
    }
    this.spread();
    for (const character of text) {
      if (this.column < 0) this.cells.push([character, this.style]);
      else {
        this.cells[this.column] = [character, this.style];
        this.column += 1;
        if (this.column >= this.cells.length) this.column = -1;
      }
    }
  }

  spread() {
    if (this.cells) return;
    const { text, runs } = this.open;
    this.cells = [];
    let place = 0, run = 0, style = "";
    for (const character of text) {
      while (runs && run < runs.length && runs[run][0] <= place) style = runs[run++][1];
      this.cells.push([character, style]);
      place += character.length;
    }
  }

  // Cells as text again, for who looks at the line.
  gather() {
    if (!this.open || !this.cells) return;
    let text = "", last = "";
    const runs = [];
    for (const [character, style] of this.cells) {
      if (style !== last) runs.push([text.length, (last = style)]);
      text += character;
    }
    Object.assign(this.open, { text, runs: runs.length ? runs : null });
  }

  control(character, at) {
    if (character === "\n") {
      const line = this.line(at);
      this.gather();
      line.ended = true;
      this.open = null;
    } else if (character === "\r") this.goTo(0);
    else if (character === "\b") this.goTo(this.where() - 1);
    else if (character === "\t") this.put("\t", at);
    // A bell is nothing to see; the others are, by Unicode's pictures of them.
    else if (character !== "\x07" && character !== "\x1b") {
      const code = character.charCodeAt(0);
      this.put(code < 32 ? String.fromCharCode(0x2400 + code) : code === 127 ? "\u2421" : "\ufffd", at);
    }
  }

  where() {
    if (!this.open) return 0;
    if (this.column >= 0) return this.column;
    this.spread();
    return this.cells.length;
  }

  goTo(column) {
    if (!this.open) return;
    this.line();
    this.column = Math.max(0, column);
    if (!this.open.text && !this.cells?.length) this.column = -1;
    else if (column > 0) {
      this.spread();
      if (column >= this.cells.length) this.column = -1;
    }
  }

  move(parameters, final) {
    if (!this.open) return;
    const number = parseInt(parameters, 10) || 0;
    if (final === "G") this.goTo(Math.max(1, number) - 1);
    else if (final === "C") this.goTo(this.where() + Math.max(1, number));
    else if (final === "D") this.goTo(this.where() - Math.max(1, number));
    else if (final === "K") this.erase(number);
  }

  erase(which) {
    const line = this.line();
    const column = this.where();
    this.spread();
    if (which === 0) this.cells.length = Math.min(column, this.cells.length);
    else for (let each = 0; each < (which === 2 ? this.cells.length : Math.min(column + 1, this.cells.length)); each++) {
      this.cells[each] = [" ", ""];
    }
    if (which === 2 && column === 0) this.cells.length = 0;
    if (this.column >= this.cells.length) this.column = -1;
    if (!this.cells.length) Object.assign(line, { text: "", runs: null });
  }

  select(parameters) {
    const codes = parameters.split(/[;:]/).map(Number);
    for (let index = 0; index < codes.length; index++) {
      const code = codes[index];
      if (code === 38 || code === 48 || code === 58) {
        const [colour, used] = colourOf(codes.slice(index + 1), parameters.includes(":"));
        index += used;
        if (code !== 58 && colour >= 0) this.colour(code === 38, colour);
      } else if (code === 0) this.styles.clear();
      else if (code === 21) this.styles.set("under", "under");
      else if (code in ATTRIBUTES) this.styles.set(ATTRIBUTES[code], ATTRIBUTES[code]);
      else if (code in ENDS) ENDS[code].forEach((each) => this.styles.delete(each));
      else if (code === 39 || code === 49) this.styles.delete(code === 39 ? "fg" : "bg");
      else if (code >= 30 && code < 38) this.colour(true, code - 30);
      else if (code >= 40 && code < 48) this.colour(false, code - 40);
      else if (code >= 90 && code < 98) this.colour(true, code - 82);
      else if (code >= 100 && code < 108) this.colour(false, code - 92);
    }
    this.style = [...this.styles.values()].sort().join(" ");
  }

  colour(isText, number) {
    const code = (number < 8 ? 30 : 82) + number + (isText ? 0 : 10);
    this.styles.set(isText ? "fg" : "bg", `sgr-${code}`);
  }

  text() {
    this.gather();
    return this.lines.map((line) => line.text + (line.ended ? "\n" : "")).join("");
  }
}

// 5;N of 256 or 2;R;G;B, as one of sixteen; and how many numbers that was.
function colourOf(codes, hasColons) {
  if (codes[0] === 5) {
    const number = codes[1];
    if (!(number < 256)) return [-1, 2];
    if (number < 16) return [number, 2];
    if (number > 231) return [nearest((number - 232) * 10 + 8, (number - 232) * 10 + 8, (number - 232) * 10 + 8), 2];
    const level = (each) => (each ? each * 40 + 55 : 0);
    return [nearest(level(Math.floor((number - 16) / 36)), level(Math.floor((number - 16) / 6) % 6), level((number - 16) % 6)), 2];
  }
  if (codes[0] !== 2) return [-1, codes.length];
  const from = hasColons && codes.length > 4 ? 2 : 1;
  return [nearest(codes[from] || 0, codes[from + 1] || 0, codes[from + 2] || 0), from + 2];
}

function nearest(red, green, blue) {
  let best = 0, least = Infinity;
  PALETTE.forEach((colour, index) => {
    const far = (red - (colour >> 16)) ** 2 + (green - ((colour >> 8) & 255)) ** 2 + (blue - (colour & 255)) ** 2;
    if (far < least) [best, least] = [index, far];
  });
  return best;
}

// The lines on the page: blocks as tall as what belongs into them, filled while they are near.
class View {
  constructor(pane) {
    this.pane = pane;
    this.following = true;
    this.picked = null; // [first, last], from 1.
    this.mark = null; // A regular expression whose matches are marked.
    this.current = null; // [line, place] of the match that is looked at.
    this.onmove = () => {};
    this.isFresh = false; // Whether all that there was has come, and what follows is new.
    this.drawn = 0;
    this.left = 0; // How many lines there were when the end was left.
    this.near = new Set();
    this.reset();
    pane.addEventListener("scroll", () => this.scrolled(), { passive: true });
    new ResizeObserver(() => this.measure()).observe(pane);
  }

  reset() {
    this.terminal = new Terminal();
    this.blocks = [];
    this.near.clear();
    this.began = undefined;
    this.top = 0;
    this.pane.replaceChildren();
  }

  get lines() {
    return this.terminal.lines;
  }

  soon() {
    if (this.asked || (!this.isFresh && performance.now() < this.drawn + CATCH_UP_MS)) return;
    this.asked = requestAnimationFrame(() => {
      this.asked = null;
      this.draw();
    });
  }

  // Bring the page up to date with the lines.
  draw() {
    this.drawn = performance.now();
    this.terminal.gather();
    const from = this.terminal.changed;
    const count = this.lines.length;
    this.terminal.changed = count;
    for (let number = Math.floor(from / BLOCK); number * BLOCK < count; number++) {
      const block = (this.blocks[number] ??= this.addBlock(number));
      if (block.filled) this.fill(block, Math.max(from, number * BLOCK));
      else this.size(block);
    }
    if (this.following) this.toEnd();
    else this.look();
    this.onmove();
  }

  addBlock(number) {
    const node = this.pane.appendChild(document.createElement("div"));
    return { node, number, filled: false };
  }

  // Fill the blocks near what is seen, and empty those that are far.
  look() {
    if (!this.blocks.length) return;
    const { scrollTop, clientHeight } = this.pane;
    const first = this.blockAt(scrollTop - clientHeight / 2);
    const last = this.blockAt(scrollTop + 1.5 * clientHeight);
    // First all that is measured, then all that is changed: the browser lays out once.
    const far = [...this.near].filter((block) => block.number < first - 1 || block.number > last + 1);
    const heights = far.map((block) => block.node.offsetHeight);
    far.forEach((block, index) => this.empty(block, heights[index]));
    for (let number = first; number <= last; number++) this.fill(this.blocks[number]);
    this.seen = this.firstSeen();
  }

  blockAt(height) {
    return lastUpTo(this.blocks.length, (index) => this.blocks[index].node.offsetTop, height);
  }

  fill(block, from = -1) {
    const { node, number } = block;
    if (block.filled && from < 0) return;
    const begin = number * BLOCK;
    const keep = block.filled ? Math.max(0, from - begin) : 0;
    while (node.childNodes.length > keep) node.lastChild.remove();
    const end = Math.min(begin + BLOCK, this.lines.length);
    for (let index = begin + keep; index < end; index++) node.append(this.lineNode(index));
    if (!block.filled) {
      block.filled = true;
      this.near.add(block);
      node.style.height = "";
    }
  }

  empty(block, height) {
    block.node.style.height = `${height}px`;
    block.node.replaceChildren();
    block.filled = false;
    this.near.delete(block);
  }

  // Draw again what is drawn: a match or a choice has changed.
  again() {
    for (const block of this.near) this.fill(block, block.number * BLOCK);
  }

  // About as tall as its lines would be.
  size(block) {
    this.row ??= this.measureRow();
    const begin = block.number * BLOCK;
    const end = Math.min(begin + BLOCK, this.lines.length);
    let rows = end - begin;
    if (this.columns) {
      for (let index = begin; index < end; index++) {
        rows += Math.max(0, Math.ceil(Math.min(this.lines[index].text.length, SHOWN_MAX) / this.columns) - 1);
      }
    }
    block.node.style.height = `${rows * this.row}px`;
  }

  measureRow() {
    const probe = this.pane.appendChild(document.createElement("div"));
    probe.append(lineOf({ text: "x".repeat(20), ended: true }, 0));
    const height = probe.offsetHeight;
    const text = probe.firstChild.lastChild;
    const wide = text.clientWidth;
    const range = document.createRange();
    range.selectNodeContents(text.firstChild);
    const character = range.getBoundingClientRect().width / 20;
    probe.remove();
    this.columns = this.pane.classList.contains("wrap") && character ? Math.max(1, Math.floor(wide / character)) : 0;
    return height || 18;
  }

  // Lines break elsewhere now: what was seen stays in sight.
  measure() {
    const seen = this.seen ?? 0;
    this.row = null;
    for (const block of this.blocks) if (!block.filled) this.size(block);
    if (this.following) this.toEnd();
    else if (this.blocks.length) {
      const block = this.blocks[Math.floor(seen / BLOCK)];
      for (let turn = 0; turn < 2; turn++) {
        this.fill(block);
        this.pane.scrollTop = this.top = block.node.offsetTop + block.node.childNodes[seen % BLOCK].offsetTop;
        this.look();
      }
      this.seen = seen;
    }
  }

  scrolled() {
    const { scrollTop, clientHeight, scrollHeight } = this.pane;
    if (scrollTop < this.top) this.follow(false);
    else if (scrollTop > this.top && scrollTop + clientHeight >= scrollHeight - 4) this.follow(true);
    this.top = scrollTop;
    this.look();
  }

  follow(isWanted) {
    if (this.following === isWanted) return;
    this.following = isWanted;
    this.left = this.lines.length;
    this.onmove();
  }

  toEnd() {
    // What is filled on the way may be taller or flatter than was thought.
    for (let turn = 0; turn < 3; turn++) {
      this.pane.scrollTop = this.pane.scrollHeight;
      if (this.pane.scrollTop === this.top) break;
      this.top = this.pane.scrollTop;
      this.look();
    }
    if (!this.near.has(this.blocks.at(-1))) this.look();
  }

  show(index) {
    if (index >= this.lines.length) return false;
    this.draw();
    this.follow(false);
    const block = this.blocks[Math.floor(index / BLOCK)];
    for (let turn = 0; turn < 2; turn++) {
      this.fill(block);
      const node = block.node.childNodes[index % BLOCK];
      const { top, height } = node.getBoundingClientRect();
      const pane = this.pane.getBoundingClientRect();
      if (turn === 0 && top >= pane.top && top + height <= pane.bottom) break;
      this.pane.scrollTop += top - pane.top - this.pane.clientHeight / 3;
      this.top = this.pane.scrollTop;
      this.look();
    }
    this.following = false;
    this.pane.scrollIntoView({ block: "nearest" });
    return true;
  }

  // The line at the top of what is seen.
  firstSeen() {
    const top = this.pane.scrollTop;
    const { node, number } = this.blocks[this.blockAt(top)];
    const lines = node.childNodes;
    return number * BLOCK + Math.max(0, lastUpTo(lines.length, (index) => lines[index].offsetTop, top - node.offsetTop));
  }

  lineNode(index) {
    const line = this.lines[index];
    const node = lineOf(line, index, this.start(), this.mark, this.current?.[0] === index ? this.current[1] : -1);
    if (this.picked && index + 1 >= this.picked[0] && index < this.picked[1]) node.classList.add("picked");
    return node;
  }

  start() {
    this.began ??= this.lines.find((line) => line.at)?.at;
    return this.began;
  }
}

const lineTemplate = document.createElement("div");
lineTemplate.className = "line";
lineTemplate.append(document.createElement("a"), document.createElement("span"));
lineTemplate.firstChild.tabIndex = -1;

function lineOf(line, index, start, mark, current = -1) {
  const node = lineTemplate.cloneNode(true);
  const [link, text] = node.children;
  const name = `L${index + 1}`;
  node.id = name;
  link.href = `#${name}`;
  link.setAttribute("aria-label", name);
  link.dataset.number = index + 1;
  if (line.at) link.dataset.time = sinceStart(line.at - start);
  const shown = line.text.length > SHOWN_MAX ? line.text.slice(0, SHOWN_MAX) : line.text;
  write(text, shown, line.runs ?? [], mark, current);
  if (line.ended) text.append("\n");
  if (shown !== line.text) node.dataset.more = `… and ${(line.text.length - SHOWN_MAX).toLocaleString("en")} characters more`;
  return node;
}

// The last of so many that begins at a height or above it.
function lastUpTo(count, topOf, height) {
  let low = 0, high = count - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (topOf(middle) <= height) low = middle;
    else high = middle - 1;
  }
  return low;
}

// Text in its styles, and with its matches marked, where each of the two begins anew.
function write(node, text, runs, mark, current) {
  const marks = mark ? [...text.matchAll(mark)].map((match) => [match.index, match.index + match[0].length]) : [];
  const edges = new Set([0, text.length, ...runs.map((run) => run[0]), ...marks.flat()]);
  const places = [...edges].filter((each) => each <= text.length).sort((one, other) => one - other);
  let run = 0, style = "", match = 0;
  for (let index = 0; index + 1 < places.length; index++) {
    const [begin, end] = [places[index], places[index + 1]];
    while (run < runs.length && runs[run][0] <= begin) style = runs[run++][1];
    while (match < marks.length && marks[match][1] <= begin) match += 1;
    const isMarked = match < marks.length && marks[match][0] <= begin;
    let part = document.createTextNode(text.slice(begin, end));
    if (style) part = wrapped(part, "span", style);
    if (isMarked) part = wrapped(part, "mark", marks[match][0] === current ? "current" : "");
    node.append(part);
  }
  if (!node.firstChild) node.append("");
}

function wrapped(part, name, className) {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(part);
  return node;
}

const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

function sinceStart(milliseconds) {
  const seconds = Math.max(0, milliseconds) / 1000;
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;
}

// Finds words in the whole log, a part at a time, and what comes while they are searched for.
class Search {
  constructor(view, onchange) {
    this.view = view;
    this.onchange = onchange;
    this.found = [];
    this.at = -1;
    this.next = 0;
  }

  set(words) {
    const expression = words && new RegExp(words.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "gi");
    this.view.mark = this.expression = expression || null;
    this.view.current = null;
    this.found = [];
    this.at = -1;
    this.next = 0;
    this.view.again();
    this.onchange();
    this.more();
  }

  // Search on from where it stopped. A line that is still written to waits for its end.
  more() {
    if (!this.expression || this.running) return;
    const { lines } = this.view;
    const end = Math.min(lines.length, this.next + SEARCH_AT_ONCE);
    const before = this.found.length;
    while (this.next < end && this.found.length < FOUND_MAX) {
      const line = lines[this.next];
      if (!line.ended && !this.isOver) break;
      for (const match of line.text.matchAll(this.expression)) this.found.push([this.next, match.index]);
      this.next += 1;
    }
    if (this.found.length !== before) this.onchange();
    if (this.next === end && end < lines.length) {
      this.running = setTimeout(() => {
        this.running = null;
        this.more();
      });
    }
  }

  step(by) {
    if (!this.found.length) return;
    if (this.at < 0) {
      const seen = this.view.firstSeen();
      const next = this.found.findIndex(([line]) => line >= seen);
      this.at = by > 0 ? Math.max(next, 0) : (next < 0 ? this.found.length : next) - 1;
    } else this.at += by;
    this.at = (this.at + this.found.length) % this.found.length;
    this.view.current = this.found[this.at];
    this.view.show(this.view.current[0]);
    this.view.again();
    this.onchange();
  }

  get count() {
    const all = this.found.length.toLocaleString("en") + (this.found.length >= FOUND_MAX ? "+" : "");
    if (!this.expression) return "";
    if (!this.found.length) return "No match";
    return this.at < 0 ? `${all} ${this.found.length === 1 ? "match" : "matches"}` : `${(this.at + 1).toLocaleString("en")} of ${all}`;
  }
}

// Follows the server's events. A connection that is cut, or silent, is opened again after the last
// place that came; one that was refused for good as well, since a proxy may have answered.
class Feed {
  constructor(address, take, say) {
    this.address = address;
    this.take = take;
    this.say = say;
    this.last = "";
    this.open();
    setInterval(() => {
      if (!this.over && Date.now() - this.heard > SILENCE_MS) this.again();
    }, SILENCE_MS / 3);
  }

  open() {
    this.heard = Date.now();
    const query = this.last ? `?after=${encodeURIComponent(this.last)}` : "";
    const source = (this.source = new EventSource(this.address + query));
    source.onopen = () => this.say("");
    source.onerror = () => {
      this.say("The connection was cut; trying again…");
      if (source.readyState === EventSource.CLOSED) setTimeout(() => this.again(source), RETRY_MS);
    };
    for (const name of ["begin", "log", "state", "beat", "end", "gone"]) {
      source.addEventListener(name, (event) => {
        if (source !== this.source) return;
        this.heard = Date.now();
        if (event.lastEventId) this.last = event.lastEventId;
        if (name === "end" || name === "gone") this.close();
        this.take(name, JSON.parse(event.data));
      });
    }
  }

  again(source = this.source) {
    if (this.over || source !== this.source) return;
    source.close();
    this.open();
  }

  close() {
    this.over = true;
    this.source.close();
  }
}

function start(section) {
  const find = (name) => section.querySelector(`[data-${name}]`);
  const pane = find("lines");
  const [field, count, follow] = [find("search"), find("count"), find("follow")];
  pane.hidden = find("tools").hidden = false;
  const view = new View(pane);
  const search = new Search(view, () => {
    count.textContent = search.count;
    section.querySelectorAll("[data-step]").forEach((button) => (button.disabled = !search.found.length));
  });
  let wanted = null; // A line that the address names, until there is such a line.

  view.onmove = () => {
    const fresh = view.isFresh ? view.lines.length - view.left : 0;
    follow.setAttribute("aria-pressed", view.following);
    follow.textContent = view.following || !fresh ? "Follow" : `Follow · ${fresh.toLocaleString("en")} new`;
    search.more();
  };
  follow.onclick = () => {
    view.follow(!view.following);
    if (view.following) view.toEnd();
  };
  toggle(find("wrap"), pane, "wrap", true, () => view.measure());
  toggle(find("times"), pane, "times", false, () => view.measure());
  find("copy-log").onclick = async (event) => {
    const [first, last] = view.picked ?? [1, view.lines.length];
    view.terminal.gather();
    await copy(view.lines.slice(first - 1, last).map((line) => line.text).join("\n") + "\n");
    event.target.textContent = "Copied";
    setTimeout(() => (event.target.textContent = "Copy"), 1_500);
  };

  field.oninput = () => {
    clearTimeout(field.waiting);
    field.waiting = setTimeout(() => search.set(field.value.startsWith(":") ? "" : field.value), 80);
  };
  field.onkeydown = (event) => {
    if (event.key === "Escape") {
      field.value = "";
      search.set("");
      pane.focus();
    } else if (event.key === "Enter") {
      event.preventDefault();
      const line = /^:(\d+)$/.exec(field.value);
      if (line) pick(Number(line[1]), Number(line[1]));
      else {
        clearTimeout(field.waiting);
        if ((search.expression?.source ?? "") !== field.value.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")) search.set(field.value);
        search.step(event.shiftKey ? -1 : 1);
      }
    }
  };
  for (const button of section.querySelectorAll("[data-step]")) {
    button.onclick = () => search.step(Number(button.dataset.step));
  }

  function pick(first, last) {
    history.replaceState(null, "", first === last ? `#L${first}` : `#L${first}-L${last}`);
    go();
  }

  function go() {
    const [, first, last] = /^#L(\d{1,9})(?:-L?(\d{1,9}))?$/.exec(location.hash) ?? [];
    view.picked = first ? [Number(first), Number(last ?? first)].sort((one, other) => one - other) : null;
    view.again();
    wanted = view.picked ? view.picked[0] - 1 : null;
    if (wanted !== null) {
      view.follow(false);
      if (view.show(wanted)) wanted = null;
    }
  }
  addEventListener("hashchange", go);
  pane.addEventListener("mouseover", (event) => {
    const at = event.target.closest("a") && view.lines[event.target.dataset.number - 1]?.at;
    if (at) event.target.title = moment.format(at);
  });
  pane.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.button) return;
    event.preventDefault();
    const number = Number(link.dataset.number);
    if (event.shiftKey && view.picked) {
      getSelection().removeAllRanges();
      pick(Math.min(view.picked[0], number), Math.max(view.picked[0], number));
    } else pick(number, number);
  });
  go();

  const takes = {
    begin: () => {
      view.reset();
      search.set(search.expression ? field.value : "");
    },
    log: (texts) => {
      for (const [at, text] of texts) view.terminal.write(text, at);
      view.soon();
      if (wanted !== null && view.lines.length > wanted + BLOCK && view.show(wanted)) wanted = null;
    },
    state: (html) => {
      // It comes after all that there was of the log: what follows is new.
      if (!view.isFresh) view.left = view.lines.length;
      view.isFresh = true;
      view.soon();
      if (wanted !== null && view.show(wanted)) wanted = null;
      document.dispatchEvent(new CustomEvent("renew", { detail: html })); // live.js
    },
    gone: (why) => (find("connection").textContent = why),
  };
  new Feed(section.dataset.live, (name, data) => {
    takes[name]?.(data);
    if (name !== "end" && name !== "gone") return;
    search.isOver = true;
    search.more();
  }, (text) => (find("connection").textContent = text));
  // For whoever wants the log as this page has it, drawn or not.
  pane.text = () => view.terminal.text();
}

// A switch that this browser remembers, where it may.
function toggle(button, pane, name, isOn, changed) {
  const set = (wanted) => {
    pane.classList.toggle(name, wanted);
    button.setAttribute("aria-pressed", wanted);
    changed();
  };
  button.onclick = () => {
    const wanted = !pane.classList.contains(name);
    try {
      localStorage.setItem(`log-${name}`, wanted);
    } catch {} // Forbidden here: it is forgotten with the page.
    set(wanted);
  };
  let known = null;
  try {
    known = localStorage.getItem(`log-${name}`);
  } catch {}
  set(known === null ? isOn : known === "true");
}

// The clipboard proper is only for HTTPS and localhost.
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.body.appendChild(document.createElement("textarea"));
  area.value = text;
  area.select();
  document.execCommand("copy");
  area.remove();
}

const section = document.querySelector("[data-live]");
if (section) start(section);
export { Terminal };
