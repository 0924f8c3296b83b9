"use strict";
// Everything works without this. It shows times as the visitor's clock has them, brings the overview up to date without a reload,
// and copies a line.

function localise(part) {
  // As they are written without this: the same everywhere, and in columns.
  const two = (number) => String(number).padStart(2, "0");
  const day = (at) => at.getFullYear() + "-" + two(at.getMonth() + 1) + "-" + two(at.getDate());
  const hour = (at) => two(at.getHours()) + ":" + two(at.getMinutes());
  for (const time of part.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.getTime())) {
      time.title = time.dateTime;
      time.textContent = day(at) + " " + hour(at) + ":" + two(at.getSeconds());
    }
  }
  for (const text of part.querySelectorAll("[data-hour]")) {
    text.textContent = hour(new Date(text.dataset.hour));
  }
}

function copying() {
  if (!navigator.clipboard) return;
  for (const text of document.querySelectorAll("[data-copy]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    });
    text.previousElementSibling.append(button);
  }
}

// What somebody has opened, reads or stands on stays as it is when the part around it is replaced.
function replace(part, html) {
  const open = [...part.querySelectorAll("details[open]")].map((details) => details.id);
  const focus = part.contains(document.activeElement) ? document.activeElement : null;
  const place = focus && (focus.id || focus.getAttribute("href"));
  const again = focus && (focus.id ? "#" + CSS.escape(focus.id) : focus.tagName + "[href=\"" + CSS.escape(place || "") + "\"]");
  const sides = [...part.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
  part.innerHTML = html;
  localise(part);
  for (const id of open) {
    const details = document.getElementById(id);
    if (details) details.open = true;
  }
  [...part.querySelectorAll(".scroll")].forEach((box, n) => { box.scrollLeft = sides[n] || 0; });
  const next = place && part.querySelector(again);
  if (next) next.focus({ preventScroll: true });
}

function live() {
  const part = document.querySelector("[data-live]");
  if (!part || !window.EventSource) return;
  const state = document.querySelector("[data-live-state]");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  state.after(button);
  let source = null;
  const say = (text, on) => {
    if (state.textContent !== text) state.textContent = text;
    state.className = on ? "on" : "";
  };
  const stop = () => {
    if (source) source.close();
    source = null;
    button.textContent = "Go on";
    say("Standing still", false);
  };
  const start = () => {
    button.textContent = "Hold still";
    source = new EventSource(part.dataset.live);
    source.addEventListener("open", () => say("Live", true));
    source.addEventListener("overview", (event) => {
      say("Live", true);
      // A selection would be lost while it is being copied.
      const selection = document.getSelection();
      if (selection && !selection.isCollapsed && part.contains(selection.anchorNode)) return;
      replace(part, event.data);
    });
    source.addEventListener("error", () => {
      const over = source && source.readyState === EventSource.CLOSED;
      say(over ? "Too many pages are open, or you are logged out: reload this one." : "Connecting again", false);
      if (over) button.textContent = "Go on";
    });
  };
  button.addEventListener("click", () => (source && source.readyState !== EventSource.CLOSED ? stop() : start()));
  // Nobody looks at a page in the background: its place is free for others.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && source) { source.close(); source = "resting"; }
    else if (!document.hidden && source === "resting") start();
  });
  start();
}

localise(document);
const zone = document.querySelector("[data-zone]");
if (zone) zone.textContent = "those of your clock (" + Intl.DateTimeFormat().resolvedOptions().timeZone + ")";
copying();
live();
