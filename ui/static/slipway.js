// What a page gains with a script; without it every form and link still works.

for (const time of document.querySelectorAll("time")) showAge(time);
setInterval(() => document.querySelectorAll("time").forEach(showAge), 30_000);
// A deployment's state has been drawn again (log.js).
document.addEventListener("state", () => document.querySelectorAll("time").forEach(showAge));

for (const select of document.querySelectorAll("[data-submit]")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}

// A second click while the first is on its way; the server takes the form once in any case.
for (const form of document.querySelectorAll("form")) {
  form.addEventListener("submit", () => {
    // Also those that stand elsewhere on the page.
    const buttons = [...form.elements].filter((each) => each.type === "submit");
    setTimeout(() => buttons.forEach((button) => (button.disabled = true)));
  });
}
// Back from another page, the buttons are there again.
addEventListener("pageshow", () => {
  document.querySelectorAll("form button, button[form]").forEach((button) => (button.disabled = false));
});

// An open menu closes by Escape, by a click beside it, and when the focus leaves it.
for (const menu of document.querySelectorAll("[data-menu]")) {
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  menu.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
  });
  document.addEventListener("click", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
}

// `/` leads to the search: the page's own, or else the bar's.
addEventListener("keydown", (event) => {
  const isTyping = event.target.matches?.("input, textarea, select, [contenteditable]");
  if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  const field = document.querySelector("main [type=search]") ?? document.querySelector("[data-find]");
  if (!field) return;
  event.preventDefault();
  field.focus();
  field.select();
});

// A part of the page that follows what happens, but not under the hands of who is in it.
for (const part of document.querySelectorAll("[data-fresh]")) keepFresh(part);

function keepFresh(part) {
  let shown = "";
  setTimeout(async function look() {
    if (!document.hidden && !part.contains(document.activeElement)) {
      const answer = await fetch(part.dataset.fresh, { redirect: "manual" }).catch(() => null);
      if (answer?.type === "opaqueredirect") return; // signed out
      const text = answer?.ok ? await answer.text() : shown;
      if (text !== shown) {
        // Made by this server from escaped text; the same template drew it at first.
        part.innerHTML = shown = text;
        part.querySelectorAll("time").forEach(showAge);
      }
    }
    setTimeout(look, 3000);
  }, 3000);
}

// What is there to be copied; browsers give the clipboard to pages of https and localhost alone.
for (const text of navigator.clipboard ? document.querySelectorAll("[data-copy]") : []) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "small";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text.textContent);
    button.textContent = "Copied";
  });
  text.after(button);
}

// One more row of fields like the last; a secret's box carries the number of its row.
for (const button of document.querySelectorAll("[data-more-rows]")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const rows = button.parentElement.querySelectorAll(".row");
    const row = rows[rows.length - 1].cloneNode(true);
    row.querySelectorAll("input").forEach((field) => {
      if (field.type === "checkbox") Object.assign(field, { checked: false, value: rows.length });
      else Object.assign(field, { value: "", placeholder: "" });
    });
    button.before(row);
    row.querySelector("input").focus();
  });
}

function showAge(time) {
  const seconds = (Date.now() - Date.parse(time.dateTime)) / 1000;
  const [amount, unit] =
    seconds < 60 ? [seconds, "second"] : seconds < 3600 ? [seconds / 60, "minute"]
    : seconds < 86_400 ? [seconds / 3600, "hour"] : [seconds / 86_400, "day"];
  const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  time.textContent = words.format(-Math.max(0, Math.floor(amount)), unit);
}
