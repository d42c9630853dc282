// The live page: a list of runs, one of them in full, several over each other. Labels of charts are escaped by the
// server, as plotly reads markup in them.

import { element, get, grouped, one } from "./page.js";

const root = document.documentElement;
const LIST_MILLISECONDS = 250;
const REST = 2; // times what an answer takes: as long nothing is asked again, so that a long run isn't held up by its page

const state = { runs: [], shown: null, checked: new Set(), figures: new Map(), zoom: null, refresh: () => refreshRun() };

// ---- plotly is five megabytes: the page is there before it

let plotly = null;
const loadPlotly = () => plotly ??= new Promise((resolve, reject) => {
  const script = element("script", { src: "static/plotly.min.js" });
  script.addEventListener("load", resolve);
  script.addEventListener("error", () => { plotly = null; reject(new Error("plotly didn't load")); });
  document.head.append(script);
});

// ---- figures: one for each chart, kept while its data changes. One is drawn a frame, with the newest data, so that
// points that come faster than a slow machine draws don't pile up; one out of sight waits until it is near

const waiting = new Set();
let frame = null;
const drawSoon = (figure) => {
  waiting.add(figure);
  frame ??= requestAnimationFrame(drawNext);
};
const drawNext = async () => {
  try { await loadPlotly(); } catch {
    waiting.forEach((each) => { each.place.textContent = each.chart.summary; }); // its words, without the picture
    waiting.clear();
  }
  const next = [...waiting].find((each) => each.isNear) ?? [...waiting].find((each) => !each.isDrawn);
  if (next) { waiting.delete(next); next.drawNow(); }
  frame = [...waiting].some((each) => each.isNear || !each.isDrawn) ? requestAnimationFrame(drawNext) : null;
};
const nearness = new IntersectionObserver((changes) => changes.forEach(({ target, isIntersecting }) => {
  target.figure.isNear = isIntersecting;
  if (isIntersecting && waiting.has(target.figure)) drawSoon(target.figure);
}), { rootMargin: "200px" });

class Figure {
  constructor(key, chart, zoomed) {
    this.key = key;
    this.heading = element("h3");
    this.note = element("p");
    this.place = element("div", { class: `plot ${chart.height}`, role: "img" });
    this.node = element("figure", { class: "card chart", "data-chart": key },
      element("figcaption", {}, this.heading, this.note), this.place);
    this.zoomed = zoomed;
    this.isDrawn = this.isNear = false;
    this.node.figure = this;
    nearness.observe(this.node);
    this.set(chart);
  }

  set(chart) {
    this.chart = chart;
    this.spec = { data: chart.traces, layout: chart.layout };
    this.heading.textContent = chart.title;
    this.note.textContent = chart.note;
    this.place.setAttribute("aria-label", chart.summary);
    drawSoon(this);
  }

  drawNow() {
    if (!this.node.isConnected) return;
    // a zoomed chart keeps its range while its points change
    if (this.range) this.spec.layout.xaxis = { ...this.spec.layout.xaxis, range: this.range };
    headwaterCharts.draw(this.place, this.spec);
    root.dataset.drawn = "yes";
    if (this.isDrawn) return;
    this.isDrawn = true;
    if (!this.zoomed) return;
    this.place.on("plotly_relayout", (changed) => {
      const [low, high] = [changed["xaxis.range[0]"], changed["xaxis.range[1]"]];
      if (low === undefined || high === undefined) return;
      this.range = [low, high];
      this.zoomed(this.spec.layout.xaxis.type === "log" ? [10 ** low, 10 ** high] : [low, high]);
    });
    this.place.on("plotly_doubleclick", () => { this.range = null; this.zoomed(null); });
  }
}

const showFigures = (figures, charts, placeOf, zoomed) => {
  for (const [key, chart] of Object.entries(charts)) {
    if (figures.has(key)) figures.get(key).set(chart);
    else {
      const figure = new Figure(key, chart, zoomed);
      figures.set(key, figure);
      placeOf(key).append(figure.node);
    }
  }
  for (const [key, figure] of figures) if (!(key in charts)) { figure.node.remove(); figures.delete(key); waiting.delete(figure); }
};

// ---- the list

const makeRow = (run) => {
  const box = element("input", { type: "checkbox", "aria-label": `compare ${run.name.slice(0, 80)}` });
  box.addEventListener("change", () => compare(run.name, box.checked));
  const link = element("a", { href: `#run=${encodeURIComponent(run.name)}` }, run.name.length > 120 ? run.name.slice(0, 120) + "…" : run.name);
  const row = element("tr", {}, element("td", {}, box), element("th", { scope: "row" }, link),
    element("td", { class: "words" }, element("span")), ...state.heads.slice(2).map((head) => element("td", { "data-head": head })));
  row.run = run.name;
  return row;
};

const showList = (runs) => {
  state.runs = runs;
  const body = one("#runs tbody"), rows = new Map([...body.children].map((row) => [row.run, row]));
  const inOrder = runs.map((run) => {
    const row = rows.get(run.name) ?? makeRow(run);
    const words = one(".words span", row);
    if (words.textContent !== run.state) { words.textContent = run.state; words.className = `state ${run.state.replace(" ", "-")}`; }
    run.cells.slice(2).forEach((text, index) => { const cell = row.children[index + 3]; if (cell.textContent !== text) cell.textContent = text; });
    one("input", row).checked = state.checked.has(run.name);
    row.toggleAttribute("aria-current", run.name === state.shown);
    return row;
  });
  // rows that stay in place keep the keyboard's focus
  const isSame = inOrder.length === body.children.length && inOrder.every((row, index) => row === body.children[index]);
  if (!isSame) {
    const focused = document.activeElement;
    body.replaceChildren(...inOrder);
    if (body.contains(focused)) focused.focus();
  }
  one("#runs").hidden = !runs.length;
  one("#folder").textContent = runs.length ? state.folder : `There is no run in ${state.folder} yet: headwater run first-light makes one. This page shows it as soon as it begins.`;
  const shown = runs.find((run) => run.name === state.shown);
  if (shown) showStatus(shown);
  else if (!state.shown && runs.length) choose(runs[0].name, false);
  if (!one("#missing").hidden) follow(); // it may have begun since
  const versions = new Map(runs.map((run) => [run.name, run.version]));
  askAgain(state, state.shown === null ? "" : versions.get(state.shown));
  askAgain(comparison, [...state.checked].map((name) => `${name} ${versions.get(name)}`).join());
};

// ask for charts again where their records are others by now
const askAgain = async (shown, version) => {
  if (shown.version === version || performance.now() < (shown.restsUntil ?? 0)) return;
  shown.version = version;
  shown.restsUntil = Infinity;
  const askedAt = performance.now();
  await shown.refresh().catch(() => { shown.version = null; });
  const now = performance.now();
  shown.restsUntil = now + REST * (now - askedAt);
};

const showStatus = (run) => {
  showNewest(run);
  const parts = state.heads.slice(2).flatMap((head, index) => run.cells[index + 2] ? [`${head} ${run.cells[index + 2]}`] : []);
  one("#run > .lead").textContent = [run.state, ...parts].join(" · ");
};

// ---- one run

let latest = 0; // requests are answered out of order: only the newest counts
const refreshRun = async () => {
  const name = state.shown, number = ++latest;
  if (name === null) return;
  const zoom = state.zoom ? [["from", state.zoom[0]], ["to", state.zoom[1]]] : [];
  let run;
  try { run = await get("api/run", [["run", name], ...zoom]); } catch (problem) {
    if (number === latest) gone(problem.message);
    state.version = null;
    return;
  }
  if (number !== latest || name !== state.shown) return;
  one("#run").hidden = false;
  one("#run > h2").textContent = name.slice(0, 300);
  showFigures(state.figures, run.charts, (key) => one(key.startsWith("probe ") ? "#run > .quarters" : "#run > .charts"), zoomTo);
  showIfNew(one("#run > .tiles"), run.figures, (each) => element("div", { class: "tile" }, element("dt", {}, each.name), element("dd", {}, each.value), element("dd", { class: "note" }, each.note)));
  showIfNew(one("#samples .grid"), run.samples, sampleCard);
  one("#samples").hidden = !run.samples.length;
  showTable(one("#events .scroll"), ["step", "what", "when", "how"], run.events, (each) => [grouped(each.step), each.what, each.time === null ? "" : new Date(1000 * each.time).toISOString().slice(0, 19).replace("T", " "), each.how]);
  one("#events").hidden = !run.events.length;
  showTable(one("#settings .scroll"), ["setting", "value", "set by"], run.settings, (each) => [each.setting, each.value, each.set_by]);
  one("#settings").hidden = !run.settings.length;
};

const gone = (why) => {
  one("#run").hidden = !state.figures.size;
  one("#run > .lead").textContent = why;
};

const showIfNew = (place, values, make) => {
  const text = JSON.stringify(values);
  if (place.shown === text) return;
  place.shown = text;
  place.replaceChildren(...values.map(make));
};

const showTable = (place, heads, values, cellsOf) => {
  const cells = values.map(cellsOf);
  showIfNew(place, [cells], () => element("table", {},
    element("thead", {}, element("tr", {}, ...heads.map((name) => element("th", { scope: "col" }, name)))),
    element("tbody", {}, ...cells.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell)))))));
  scrollable(place, heads.join(", "));
};

const scrollable = (place, label) => { // by the keyboard too
  place.tabIndex = 0;
  place.setAttribute("role", "group");
  place.setAttribute("aria-label", label);
};

const sampleCard = (sample) => element("article", { class: "card" },
  element("h4", {}, sample.prompt === "" ? "From nothing" : sample.prompt),
  element("ol", { class: "samples" }, ...sample.texts.map((each) => element("li", {},
    element("span", { class: "when" }, `step ${grouped(each.step)}`),
    element("p", { class: "text", tabindex: 0 }, element("span", { class: "given" }, sample.prompt.slice(-60)), each.text)))));

const zoomTo = (range) => {
  state.zoom = range;
  refreshRun();
};

const choose = (name, isPushed = true) => {
  if (isPushed) location.hash = `run=${encodeURIComponent(name)}`;
  if (state.shown === name) return;
  Object.assign(state, { shown: name, version: null, restsUntil: 0, zoom: null });
  state.figures.forEach((figure) => { figure.node.remove(); waiting.delete(figure); });
  state.figures.clear();
  one("#documents .found").replaceChildren();
  documents.shown = null;
  showList(state.runs);
};

// ---- several runs over each other

const comparison = { figures: new Map(), version: "", refresh: () => refreshCompared() };
const refreshCompared = async () => {
  const names = [...state.checked];
  one("#compare").hidden = names.length < 2;
  if (names.length < 2) return;
  const { charts, notes } = await get("api/compare", names.map((name) => ["run", name]));
  if (names.join() !== [...state.checked].join()) return;
  showIfNew(one("#compare .lead"), notes, (note) => element("p", {}, `${note}.`));
  showFigures(comparison.figures, charts, () => one("#compare .charts"), null);
};

const compare = (name, isChecked) => {
  isChecked ? state.checked.add(name) : state.checked.delete(name);
  comparison.restsUntil = 0;
  showList(state.runs);
};

// ---- documents of a step

const passage = (each) => element("li", {}, each.title ? `${each.document} · ${each.title}` : each.document,
  element("span", { class: "when" }, `tokens ${grouped(each.first_token + 1)} to ${grouped(each.first_token + each.num_targets)} of ${grouped(each.num_tokens)}`));

// one request at a time: the step that was wanted last comes next
const documents = { wanted: null, shown: null, isAsking: false };
const showDocuments = async (step) => {
  documents.wanted = { run: state.shown, step };
  if (documents.isAsking) return;
  documents.isAsking = true;
  try {
    while (documents.wanted) {
      const { run, step } = documents.shown = documents.wanted;
      documents.wanted = null;
      const found = await get("api/documents", [["run", run], ["step", step]]).catch(({ message }) => ({ problem: message }));
      if (run !== state.shown) continue;
      const rows = (found.rows ?? []).flatMap((row) => [
        element("h4", {}, `sequence ${grouped(row.row)} · ${row.source} · epoch ${row.epoch + 1}`),
        element("ul", {}, ...row.passages.map(passage))]);
      const head = found.problem ?? `step ${grouped(step)}${found.skipped ? ", which was skipped" : ""}: ${found.rows.length} sequences`;
      one("#documents .found").replaceChildren(element("p", { class: found.problem ? "missing" : "when" }, head), ...rows);
      scrollable(one("#documents .found"), "sequences and documents");
    }
  } finally { documents.isAsking = false; }
};

// those of the step that the page says the run is at
const showNewest = ({ name, last_step: step }) => {
  const { run, step: shown } = documents.wanted ?? documents.shown ?? {};
  if (one("#documents [type=checkbox]").checked && step && (step !== shown || name !== run)) showDocuments(step);
};

// ---- keys and the address

const step = (by) => {
  const at = state.runs.findIndex((run) => run.name === state.shown);
  const next = state.runs[Math.min(state.runs.length - 1, Math.max(0, at + by))];
  if (next) choose(next.name);
};
const KEYS = {
  j: () => step(1),
  k: () => step(-1),
  x: () => { if (state.shown !== null) compare(state.shown, !state.checked.has(state.shown)); },
  Escape: () => { state.checked.clear(); comparison.restsUntil = 0; showList(state.runs); },
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input:not([type=checkbox]), textarea, select")) return;
  KEYS[event.key]?.();
});

const follow = () => {
  const named = new URLSearchParams(location.hash.slice(1)).get("run");
  const isKnown = named === null || state.runs.some((run) => run.name === named);
  one("#missing").hidden = isKnown;
  one("#missing").textContent = isKnown ? "" : `There is no run ${named.slice(0, 120)} here.`;
  if (named !== null && isKnown) choose(named, false);
};

one("#documents form").addEventListener("submit", (event) => {
  event.preventDefault();
  showDocuments(Number(one("#documents [type=number]").value));
});
one("#documents [type=checkbox]").addEventListener("change", () => showList(state.runs));
addEventListener("hashchange", follow);

const begin = ({ folder, heads, runs }) => {
  Object.assign(state, { folder, heads, runs });
  one("#runs thead tr").append(...heads.map((head) => element("th", { scope: "col", class: head === "state" && "words" }, head)));
  follow();
  root.dataset.listed = "yes";
};
const say = (text, kind) => {
  const status = one("#connection");
  if (status.textContent !== text) Object.assign(status, { textContent: text, className: kind });
};
const list = async () => {
  try {
    if (!document.hidden) {
      const found = await get("api/runs");
      if (!state.heads) begin(found);
      showList(found.runs);
      say("live", "live");
    }
  } catch (problem) {
    say("no connection to the server", "lost");
    if (!state.heads) one("#folder").textContent = problem.message;
  }
  setTimeout(list, LIST_MILLISECONDS);
};
list();
headwaterCharts.follow(() => [...state.figures.values(), ...comparison.figures.values()].forEach((figure) => figure.drawNow()));
