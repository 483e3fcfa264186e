// Keeps pages alive: local times, parts of the page replaced when the host says that a machine changed, buttons
// without a page load. Every page works without it.

const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });
const STEPS = [["day", 86400], ["hour", 3600], ["minute", 60]];

function ago(time) {
  const seconds = (time - Date.now()) / 1000;
  for (const [unit, length] of STEPS) {
    if (Math.abs(seconds) >= length) return relative.format(Math.round(seconds / length), unit);
  }
  return seconds < 0 ? "just now" : "in a moment";
}

function shown(time, zone, full) {
  const day = { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" };
  const style = full ? { ...day, year: "numeric", timeZoneName: "short" } : day;
  try {
    return new Intl.DateTimeFormat(undefined, { ...style, timeZone: zone }).format(time);
  } catch {
    return new Intl.DateTimeFormat(undefined, style).format(time);
  }
}

function localise(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const time = new Date(element.dateTime);
    const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
    const there = element.dataset.zone;
    const lines = [`${shown(time, here, true)} (${here})`];
    if (there && there !== here) lines.push(`On the machine: ${shown(time, there, true)} (${there})`);
    element.title = lines.join("\n");
    element.replaceChildren(shown(time, here, false));
    const small = document.createElement("small");
    small.textContent = ago(time);
    element.append(small);
  }
}

async function fetched(address) {
  const answer = await fetch(address, { headers: { accept: "text/html" } });
  if (answer.redirected && new URL(answer.url).pathname === "/sign-in") location.assign(answer.url);
  return answer.ok ? answer.text() : null;
}

function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}

async function refreshRow(machine) {
  const old = document.querySelector(`tr[data-machine="${machine}"]`);
  if (!old) return;
  const html = await fetched(`/machines/${machine}/row`);
  const row = html && parse(html).querySelector("tr");
  if (!row) return;
  localise(row);
  old.replaceWith(row);
}

async function refreshPage() {
  const html = await fetched(location.href);
  const fresh = html && new DOMParser().parseFromString(html, "text/html").querySelector("main");
  if (!fresh) return;
  for (const open of document.querySelectorAll("details[open]")) {
    // What someone has opened to read or to fill in stays.
    if (open.classList.contains("menu")) return;
  }
  localise(fresh);
  document.querySelector("main").replaceChildren(...fresh.childNodes);
}

// At most one refresh of a thing at a time, and one more when it changed meanwhile.
const busy = new Map();
async function once(key, work) {
  if (busy.has(key)) return busy.set(key, true);
  busy.set(key, false);
  try {
    await work();
  } finally {
    const again = busy.get(key);
    busy.delete(key);
    if (again) once(key, work);
  }
}

function changed(machine) {
  const page = document.querySelector('[data-live="page"]');
  if (page) {
    if (!machine || page.dataset.machine === machine) once("page", refreshPage);
  } else if (!machine || !document.querySelector(`tr[data-machine="${machine}"]`)) {
    once("page", refreshPage);
  } else {
    once(machine, () => refreshRow(machine));
    soon("counts", refreshCounts);
  }
}

async function refreshCounts() {
  const html = await fetched(location.href);
  const fresh = html && new DOMParser().parseFromString(html, "text/html").querySelector(".buckets");
  document.querySelector(".buckets")?.replaceWith(fresh ?? "");
}

// At once when nothing of the kind was done lately; else once more when the pause is over.
const PAUSE = 400;
const resting = new Map();
function soon(key, work) {
  if (resting.has(key)) return resting.set(key, true);
  resting.set(key, false);
  once(key, work);
  setTimeout(() => {
    const again = resting.get(key);
    resting.delete(key);
    if (again) soon(key, work);
  }, PAUSE);
}

function state(live) {
  document.querySelector("[data-live-state]")?.classList.toggle("off", !live);
  const label = document.querySelector("[data-live-state] .label");
  if (label) label.textContent = live ? "Live" : "Reconnecting";
}

function listen() {
  const events = new EventSource("/events");
  events.addEventListener("open", () => state(true));
  events.addEventListener("error", () => state(false));
  events.addEventListener("machine", (event) => changed(event.data));
  events.addEventListener("all", () => changed(null));
}

let hide;
function toast(text) {
  const element = document.querySelector(".toast");
  element.textContent = text;
  element.hidden = false;
  clearTimeout(hide);
  hide = setTimeout(() => { element.hidden = true; }, 6000);
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!("act" in form.dataset)) return;
  event.preventDefault();
  for (const button of form.querySelectorAll("button")) button.disabled = true;
  const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
  if (answer.ok) {
    form.closest("details")?.removeAttribute("open");
    changed(form.closest("[data-machine]")?.dataset.machine ?? null);
  } else {
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    toast(page.querySelector("main p")?.textContent ?? `The host answered ${answer.status}`);
    for (const button of form.querySelectorAll("button")) button.disabled = false;
  }
});

localise(document);
setInterval(() => localise(document), 30000);
if (document.querySelector("[data-live-state]")) listen();
