// The live page: a list of runs, one of them in full as its picture has it, several over each other.

import { element, get, grouped, one } from "./page.js";

const { begin: beginCharts, show } = headwater;
const root = document.documentElement;
const LIST_MILLISECONDS = 250;
const FIRST = ["learning", "running"]; // sections of which somebody who watches a run asks first
const REST = 2; // times what an answer takes: as long nothing is asked again, so that a long run isn't held up by its page

const state = { runs: [], shown: null, checked: new Set(), zoom: null, refresh: () => refreshRun() };

let plotly = null; // five megabytes: the page is there before it
const loadPlotly = () => plotly ??= new Promise((resolve, reject) => {
  const script = element("script", { src: "static/plotly.min.js" });
  script.addEventListener("load", resolve);
  script.addEventListener("error", () => { plotly = null; reject(new Error("plotly didn't load")); });
  document.head.append(script);
});

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

// ask for charts again if their records are others by now
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
  one("#run > .lead").textContent = [run.state, ...parts, ...(run.damage ? [run.damage] : [])].join(" · ");
};

// ---- one run

let latest = 0; // requests are answered out of order: only the newest counts
const refreshRun = async () => {
  const name = state.shown, number = ++latest;
  if (name === null) return;
  const zoom = state.zoom ? [["from", state.zoom[0]], ["to", state.zoom[1]]] : [];
  let picture;
  try { picture = await get("api/run", [["run", name], ...zoom]); } catch (problem) {
    if (number === latest) gone(problem.message);
    state.version = null;
    return;
  }
  if (number !== latest || name !== state.shown) return;
  one("#run").hidden = false;
  one("#run > h2").textContent = name.slice(0, 300);
  show(one("#run > .head"), [{ kind: "text", class: "result", text: picture.result }, { kind: "tiles", figures: picture.figures }]);
  const isFirst = ({ place }) => FIRST.includes(place);
  show(one("#run > .picture"), [...picture.sections.filter(isFirst), ...picture.sections.filter((each) => !isFirst(each))], zoomTo);
};

const gone = (why) => {
  one("#run").hidden = !one("#run > .picture").shown;
  one("#run > .lead").textContent = why;
};

const zoomTo = (range) => {
  state.zoom = range;
  refreshRun();
};

const choose = (name, isPushed = true) => {
  if (isPushed) location.hash = `run=${encodeURIComponent(name)}`;
  if (state.shown === name) return;
  Object.assign(state, { shown: name, version: null, restsUntil: 0, zoom: null });
  one("#run > .picture").replaceChildren();
  one("#run > .picture").shown = null;
  one("#documents .found").replaceChildren();
  documents.shown = null;
  showList(state.runs);
};

// ---- several runs over each other

const comparison = { version: "", refresh: () => refreshCompared() };
const refreshCompared = async () => {
  const names = [...state.checked];
  one("#compare").hidden = names.length < 2;
  if (names.length < 2) return;
  const { charts, notes } = await get("api/compare", names.map((name) => ["run", name]));
  if (names.join() !== [...state.checked].join()) return;
  show(one("#compare .lead"), notes.map((note) => ({ kind: "text", class: "note", text: `${note}.` })));
  show(one("#compare .charts"), charts);
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
beginCharts(loadPlotly);
