// The page of weir: it asks /api/status once a second and draws what it hears.
"use strict";

const POLL = 1000; // milliseconds between two looks at the server
const KEPT = 90; // looks that the small curves show
const SMOOTH = 5; // looks that a rate is averaged over
const POINTS = 1000; // buckets of a plot
const WHOLE = Array.from({ length: 16 }, (_, i) => 10 ** i).flatMap((n) => [n, 2 * n, 5 * n]); // steps between rows

const $ = (id) => document.getElementById(id);

const looks = []; // {time, records, bytes, rows}, oldest first
let last = null; // the newest status
const view = { group: "", array: "", column: 0, window: 0, zoom: null, length: -1, build: "" };
let chart = null;
let drawn = { key: "", data: null }; // what the chart was made for

// --- text ---------------------------------------------------------------

const number = new Intl.NumberFormat("en");

function count(n) {
  if (n < 10000) return number.format(Math.round(n));
  const [by, unit] = n < 1e6 ? [1e3, "k"] : n < 1e9 ? [1e6, "M"] : [1e9, "G"];
  return trim(n / by) + " " + unit;
}

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return (i ? trim(n) : Math.round(n)) + " " + units[i];
}

const trim = (n) => n.toFixed(n < 10 ? 2 : n < 100 ? 1 : 0);

function ago(time, now) {
  const s = Math.max(0, (new Date(now) - new Date(time)) / 1000);
  if (s < 2) return "now";
  if (s < 60) return Math.floor(s) + " s ago";
  if (s < 3600) return Math.floor(s / 60) + " min ago";
  if (s < 86400) return Math.floor(s / 3600) + " h ago";
  return new Date(time).toISOString().slice(0, 10);
}

function lasting(s) {
  if (s < 90) return Math.floor(s) + " s";
  if (s < 5400) return Math.floor(s / 60) + " min";
  if (s < 172800) return Math.floor(s / 3600) + " h";
  return Math.floor(s / 86400) + " days";
}

// --- elements -----------------------------------------------------------

function el(name, props = {}, ...children) {
  const e = Object.assign(document.createElement(name), props);
  e.append(...children);
  return e;
}

// say changes a text only when it is another one, so that a selection stays.
function say(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

// rows fills a table's body unless it shows the same already.
function rows(id, list, key, make) {
  const body = $(id);
  const now = JSON.stringify(list.map(key));
  if (body.dataset.shown === now) return;
  body.dataset.shown = now;
  const focused = document.activeElement?.closest?.("tr")?.dataset.key;
  body.replaceChildren(...list.map((item) => {
    const tr = make(item);
    tr.dataset.key = item.name;
    return tr;
  }));
  if (focused) [...body.rows].find((tr) => tr.dataset.key === focused)?.querySelector("a,button")?.focus();
}

function options(select, list) {
  const now = JSON.stringify(list);
  if (select.dataset.shown === now) return;
  select.dataset.shown = now;
  select.replaceChildren(...list.map(([value, text]) => el("option", { value, textContent: text })));
}

function spark(id, values) {
  const svg = $(id);
  const most = Math.max(...values, 1e-9);
  const at = (i) => ((100 * (KEPT - values.length + i)) / (KEPT - 1)).toFixed(2); // now is at the right
  const points = values.map((v, i) => `${at(i)},${(29 - (27 * v) / most).toFixed(2)}`);
  if (!svg.firstChild) {
    svg.setAttribute("viewBox", "0 0 100 30");
    svg.setAttribute("preserveAspectRatio", "none");
    for (const name of ["polygon", "polyline"]) svg.append(document.createElementNS("http://www.w3.org/2000/svg", name));
  }
  svg.children[0].setAttribute("points", [`${at(0)},30`, ...points, "100,30"].join(" "));
  svg.children[1].setAttribute("points", points.join(" "));
}

// --- now ----------------------------------------------------------------

function remember(s) {
  const look = { time: Date.parse(s.time), ...s.totals };
  const before = looks[looks.length - 1];
  if (before && (look.records < before.records || look.bytes < before.bytes)) looks.length = 0; // it was started anew
  looks.push(look);
  if (looks.length > KEPT + SMOOTH) looks.shift();
}

function rates(field) {
  const list = [];
  for (let i = 1; i < looks.length; i++) {
    const from = looks[Math.max(0, i - SMOOTH)];
    const seconds = (looks[i].time - from.time) / 1000;
    list.push(seconds > 0 ? (looks[i][field] - from[field]) / seconds : 0);
  }
  return list.slice(-KEPT);
}

function showNow(s) {
  for (const [field, write] of [["records", count], ["bytes", bytes], ["rows", count]]) {
    const list = rates(field);
    say("rate-" + field, list.length ? write(list[list.length - 1]) : "–");
    spark("spark-" + field, list.length ? list : [0]);
  }
  say("total-records", `${number.format(s.totals.records)} since start, ${number.format(s.totals.duplicates)} repeated`);
  say("total-bytes", `${bytes(s.totals.bytes)} since start`);
  say("total-rows", `${number.format(s.totals.rows)} since start`);
  const refused = s.refused || [];
  say("refused-records", bytes(refused.reduce((n, r) => n + r.bytes, 0)));
  lines("refused", refused.length ? refused.map((r) => [`${r.reason}: ${times(r)}${bytes(r.bytes)}`]) : [["nothing was refused"]]);
  say("free", bytes(s.free));
  lines("conditions", s.conditions.filter((c) => !c.ok).map((c) => [`${c.name}: ${c.text || "not yet"}`, "bad"]));
  const bad = s.conditions.filter((c) => !c.ok);
  health(bad.length ? "not ready: " + bad.map((c) => c.name).join(", ") : "ready", bad.length ? "bad" : "good");
  say("version", s.version || "");
  say("uptime", "up " + lasting((Date.parse(s.time) - Date.parse(s.started)) / 1000));
  showRecovery(s.recovery);
}

const times = (r) => (r.requests ? `${number.format(r.requests)} ×, ` : r.records ? `${number.format(r.records)} records, ` : "");

function lines(id, list) {
  const now = JSON.stringify(list);
  if ($(id).dataset.shown === now) return;
  $(id).dataset.shown = now;
  $(id).replaceChildren(...list.map(([text, kind]) => el("li", { textContent: text, title: text, className: kind || "" })));
}

function health(text, kind) {
  say("health", text);
  $("health").className = "pill " + kind;
}

function showRecovery(r) {
  if (!r) return;
  const files = r.quarantined_files || [];
  const parts = [r.clean ? "The last stop was in order." : "The last stop was not in order."];
  if (r.cut_bytes) parts.push(`${bytes(r.cut_bytes)} of a commit that nobody was promised were cut off.`);
  if (files.length) parts.push(`${files.length} damaged files were set aside: ${files.join(", ")}.`);
  say("recovery", parts.join(" "));
}

// --- tables -------------------------------------------------------------

const rowsOf = (g) => Math.max(0, ...g.arrays.map((a) => a.shape[0] ?? 0));

function showArrays(s) {
  say("count-arrays", s.totals.groups ? number.format(s.totals.groups) : "");
  rows("arrays", s.arrays, (g) => [g.name, g.kind, rowsOf(g), g.arrays.length, ago(g.modified, s.time), g.refused, g.name === view.group], (g) => {
    const name = el("button", { type: "button", textContent: g.name, title: "plot " + g.name });
    name.addEventListener("click", () => choose({ group: g.name }));
    const names = g.arrays.map((a) => a.name);
    const tr = el("tr", { className: g.name === view.group ? "chosen" : "" },
      el("td", {}, name, ...(g.refused ? [el("span", { className: "badge", textContent: `${g.refused} refused` })] : [])),
      el("td", { textContent: g.kind }),
      el("td", { textContent: names.length > 2 ? `${names.length}: ${names.join(", ")}` : names.join(", "), title: names.join(", ") }),
      el("td", { className: "n", textContent: number.format(rowsOf(g)) }),
      el("td", { className: "n", textContent: ago(g.modified, s.time) }));
    return tr;
  });
}

function showStreams(s) {
  say("count-streams", s.totals.streams ? number.format(s.totals.streams) : "");
  const part = $("filter").value.toLowerCase();
  const list = s.streams.filter((st) => st.name.toLowerCase().includes(part)).slice(0, 200);
  rows("streams", list, (st) => [st.name, st.begin, st.length, st.records, ago(st.modified, s.time)], (st) => el("tr", {},
    el("td", {}, el("a", { href: "/streams/" + encodeURIComponent(st.name) + (st.begin ? "/chunks" : ""), textContent: st.name, title: st.name }),
      ...(st.name.startsWith("_dead") ? [el("span", { className: "badge", textContent: "dead letters" })] : []),
      ...(st.begin ? [el("span", { className: "badge", textContent: "from byte " + number.format(st.begin) })] : [])),
    el("td", { className: "n", textContent: bytes(st.length - st.begin), title: st.begin ? `begins at byte ${number.format(st.begin)} of ${number.format(st.length)}` : "" }),
    el("td", { className: "n", textContent: number.format(st.records) }),
    el("td", { className: "n", textContent: ago(st.modified, s.time) })));
  $("first").hidden = s.streams.length > 0;
}

// showDeployments tells how far the instances are that policies name.
function showDeployments(list, now) {
  $("deployments-card").hidden = !list.length;
  rows("deployments", list, (d) => [{ ...d, attempts: 0 }, ago(d.since, now)], (d) => {
    const report = d.error || (d.report || "").replace(/^#(access|error) /, "") || "–";
    const bad = d.phase === "failed" || (d.report || "").startsWith("#error");
    const told = Object.entries(d.connection || {}).map(([k, v]) => `${k} = ${v ?? ""}`).join("\n");
    return el("tr", {},
      el("td", { textContent: d.policy }),
      el("td", { textContent: d.reference }),
      el("td", { textContent: d.phase === "allocated" ? d.state : `${d.phase}, to be ${d.asked}` }),
      el("td", { textContent: d.computer ? `${d.computer} ${d.partition}` : "–" }),
      el("td", { className: "wide", textContent: d.release, title: d.release }),
      el("td", { className: "told", textContent: told || "–" }),
      el("td", { className: bad ? "wide bad" : "wide", textContent: report.length > 300 ? "…" + report.slice(-300) : report, title: report }),
      el("td", { className: "n", textContent: ago(d.since, now) }));
  });
}

// showJobs tells of the work in the background that changed last.
function showJobs(page, now) {
  $("jobs-card").hidden = !page.jobs.length;
  say("count-jobs", number.format(page.count));
  rows("jobs", page.jobs, (j) => [j.id, j.state, j.progress, j.statusMessage, ago(j.updated, now)], (j) => el("tr", {},
    el("td", {}, el("a", { href: `/api/${j.id}/log`, textContent: j.action, title: j.id })),
    el("td", { className: "wide", textContent: j.targetResource?.href || "–", title: j.targetResource?.href || "" }),
    el("td", { className: j.state === "FAILED" ? "bad" : "", textContent: j.state }),
    el("td", { className: "n", textContent: `${j.progress} %` }),
    el("td", { className: "wide", textContent: (j.statusMessage || "–").slice(0, 300), title: j.statusMessage || "" }),
    el("td", { textContent: j.executor || "–" }),
    el("td", { className: "n", textContent: ago(j.updated, now) })));
}

let route = null; // the answer for the tag that is tried

function showPolicies(s) {
  const trial = (p) => route?.trials?.find((t) => t.policy === p.name);
  rows("policies", s.policies || [], (p) => [p, trial(p)], (p) => {
    const t = trial(p);
    return el("tr", { className: t?.takes ? "takes" : "" },
      el("td", { textContent: t ? (t.takes ? "✔" : t.matches ? "(✔)" : "–") : "", title: t ? (t.takes ? "takes the tag" : t.matches ? "would match, but comes later" : "does not match") : "" }),
      el("td", { textContent: p.name }),
      el("td", { className: "wide" }, el("code", { textContent: p.match })),
      el("td", { textContent: p.keep }),
      el("td", { textContent: p.array || "–" }),
      ...[number.format(p.batches), bytes(p.bytes), number.format(p.duplicates), number.format(p.dead)].map((text) => el("td", { className: "n", textContent: text })));
  });
  const lost = Object.entries(s.unmatched || {}).sort((a, b) => b[1] - a[1]).slice(0, 10);
  say("unmatched", lost.length ? "No policy takes: " + lost.map(([tag, n]) => `${tag} (${number.format(n)})`).join(", ") : "");
}

async function tryTag() {
  const tag = $("tag").value.trim();
  route = null;
  if (tag) {
    const answer = await ask("/api/route?tag=" + encodeURIComponent(tag)).catch((e) => ({ error: e.message }));
    if (tag !== $("tag").value.trim()) return; // typed on meanwhile
    route = answer;
  }
  const text = !route ? "" : route.error ? route.error : `“${tag}” is taken by policy ${route.policy} and kept in stream ${route.stream}.`;
  say("route", text);
  $("route").className = route?.error ? "bad" : "";
  if (last) showPolicies(last);
}

// --- plot ---------------------------------------------------------------

// curves are a group's arrays that are no coordinate.
const curves = (g) => g.arrays.filter((a) => a.shape.length && !(a.dimensions?.length === 1 && a.dimensions[0] === a.name));

function choose(change) {
  Object.assign(view, change, { zoom: null, length: -1 });
  if ("group" in change) Object.assign(view, { array: "", column: 0 });
  if ("array" in change) view.column = 0;
  if (last) {
    showChoice(last);
    showArrays(last);
  }
}

// showChoice fills the selections and draws when the array has grown.
function showChoice(s) {
  const groups = s.arrays.filter((g) => curves(g).length);
  const group = groups.find((g) => g.name === view.group) || groups[0];
  $("plot-empty").hidden = Boolean(group);
  $("chart").hidden = !group;
  options($("group"), groups.map((g) => g.name).sort().map((name) => [name, name]));
  showPython(group);
  if (!group) return;
  view.group = $("group").value = group.name;
  const list = curves(group);
  const array = list.find((a) => a.name === view.array) || list[0];
  options($("array"), list.map((a) => [a.name, a.name]));
  view.array = $("array").value = array.name;
  const columns = array.shape.length > 1 ? array.shape[1] : 1;
  options($("column"), Array.from({ length: Math.min(columns, 256) }, (_, i) => [i, `${array.dimensions?.[1] || "column"} ${i}`]));
  $("column").value = view.column;
  $("column-label").hidden = columns < 2;
  $("unzoom").hidden = !view.zoom;
  const grown = array.shape[0] !== view.length || String(group.generation) !== view.build;
  if (grown && !(view.zoom && drawn.data)) draw(array, group);
}

let drawing = false; // one request at a time; the next status asks again

async function draw(array, group) {
  if (drawing) return;
  drawing = true;
  try {
    const length = array.shape[0];
    const from = view.zoom ? view.zoom.start : view.window ? Math.max(0, length - view.window) : 0;
    const to = view.zoom ? view.zoom.stop : length;
    const key = [view.group, view.array, view.column].join("\n");
    const p = await ask(`/api/arrays/${encodeURIComponent(view.group)}/${encodeURIComponent(view.array)}/plot?column=${view.column}&start=${from}&stop=${to}&points=${POINTS}`);
    if (key !== [view.group, view.array, view.column].join("\n")) return; // another one was chosen meanwhile
    view.length = length;
    view.build = String(group.generation);
    render(key, p);
    say("plot-note", `${number.format(p.info.shape[0])} rows of ${p.info.data_type}, shown ${number.format(from)} to ${number.format(to)}`);
  } catch (e) {
    say("plot-note", e.message);
  } finally {
    drawing = false;
  }
}

// strictly tells whether times grow; where they do not, rows are the axis.
const strictly = (xs) => xs.every((x, i) => !i || x > xs[i - 1]);

function render(key, p) {
  const timed = p.x?.length === p.index.length && strictly(p.x);
  const data = [timed ? p.x : p.index, p.min, p.max];
  drawn.index = p.index;
  if (chart && drawn.key === key + timed + theme()) {
    chart.setData(data);
  } else {
    chart?.destroy();
    chart = new uPlot(chartOptions(timed, p.info), data, $("chart"));
    drawn.key = key + timed + theme();
  }
  drawn.data = data;
  $("chart").dataset.points = p.index.length;
  $("chart").dataset.rows = p.info.shape[0];
}

function chartOptions(timed, info) {
  const css = getComputedStyle(document.documentElement);
  const colour = (name) => css.getPropertyValue(name).trim();
  const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
  const curve = { stroke: colour("--accent"), width: 1.25, points: { show: false } };
  const unit = info.attributes?.units;
  return {
    width: $("chart").clientWidth,
    height: 320,
    scales: { x: { time: timed } },
    axes: [{ ...axis, ...(timed ? {} : { label: info.dimensions?.[0] || "row", incrs: WHOLE }) }, { ...axis, size: 70, label: unit ? `${info.name} (${unit})` : info.name }],
    series: [{ label: timed ? "time" : "row" }, { ...curve, label: "least" }, { ...curve, label: "greatest" }],
    bands: [{ series: [2, 1], fill: colour("--band") }],
    cursor: { drag: { x: true, y: false, setScale: false } },
    hooks: { setSelect: [zoomTo] },
  };
}

// zoomTo asks the server for the rows of the part that was marked.
function zoomTo(u) {
  if (u.select.width < 5) return;
  const [a, b] = [u.posToIdx(u.select.left), u.posToIdx(u.select.left + u.select.width)];
  const index = drawn.index;
  u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
  if (b <= a) return;
  view.zoom = { start: index[a], stop: b + 1 < index.length ? index[b + 1] : view.length };
  view.length = -1;
  drawn.data = null;
  showChoice(last);
}

function showPython(group) {
  const at = `${location.origin}/arrays/${group ? encodeURIComponent(group.name) : "NAME"}`;
  say("python", `import xarray as xr\nds = xr.open_zarr("${at}")\nprint(ds["${view.array || "value"}"][-5:].values)`);
}

// --- life ---------------------------------------------------------------

async function ask(url) {
  const answer = await fetch(url, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(10000) });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.detail || `${answer.status} ${answer.statusText}`);
  return body;
}

async function look() {
  try {
    last = await ask("/api/status");
    remember(last);
    showNow(last);
    showChoice(last);
    showArrays(last);
    showStreams(last);
    showPolicies(last);
    if (looks.length % SMOOTH === 1) ask("/api/job?$orderby=updated:desc&$last=15").then((a) => showJobs(a, last.time), () => {});
    if (looks.length % SMOOTH === 1) ask("/api/deployments").then((a) => showDeployments(a.deployments, last.time), () => {}); // not everybody may see them
  } catch (e) {
    health("no answer: " + e.message, "bad");
  }
}

async function live() {
  for (;;) {
    if (!document.hidden) await look();
    await new Promise((wake) => setTimeout(wake, POLL));
  }
}

const theme = () => document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

function setTheme(name) {
  if (name) document.documentElement.dataset.theme = name;
  $("theme").textContent = theme() === "dark" ? "light" : "dark";
  $("theme").title = `change to the ${$("theme").textContent} look`;
  view.length = -1; // the chart takes its colours anew
  if (last) showChoice(last);
}

function start() {
  setTheme(localStorage.getItem("theme"));
  $("theme").addEventListener("click", () => {
    const name = theme() === "dark" ? "light" : "dark";
    localStorage.setItem("theme", name);
    setTheme(name);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme());
  $("group").addEventListener("change", (e) => choose({ group: e.target.value }));
  $("array").addEventListener("change", (e) => choose({ array: e.target.value }));
  $("column").addEventListener("change", (e) => choose({ column: Number(e.target.value) }));
  $("window").addEventListener("change", (e) => choose({ window: Number(e.target.value) }));
  $("unzoom").addEventListener("click", () => choose({}));
  $("filter").addEventListener("input", () => last && showStreams(last));
  $("tag").addEventListener("input", tryTag);
  $("copy").addEventListener("click", async () => {
    await navigator.clipboard?.writeText($("python").textContent);
    $("copy").textContent = "copied";
    setTimeout(() => { $("copy").textContent = "copy"; }, 1500);
  });
  new ResizeObserver(() => chart?.setSize({ width: $("chart").clientWidth, height: 320 })).observe($("chart"));
  say("first-commands", `curl -T some.wav ${location.origin}/streams/some.wav\ncurl ${location.origin}/streams/`);
  live();
}

start();
