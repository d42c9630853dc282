// Documents of a corpus: a list by decision, and one of them with its text, its columns and its tokens.

import { ask, element, get, grouped } from "./page.js";

const byId = (id) => document.getElementById(id);
const problem = (text) => { byId("problem").textContent = text; };
const ANY = "";
const STEP = 25; // documents a page, as the server has it

const post = async (what, question) => (await ask(`documents/${what}`, {
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(question),
})).json();

let runs = [];
let start = 0;
let asked = 0; // an older answer that comes late is not shown

const option = (value, shown) => element("option", { value }, shown);
const question = () => ({ run: byId("chosen-run").value, source: byId("source").value });

const showSources = () => {
  const { sources } = runs.find(({ run }) => run === byId("chosen-run").value);
  byId("source").replaceChildren(...sources.map((each) => option(each, each)));
  byId("decision").replaceChildren(option(ANY, "any"));
};

const showDecisions = (decisions) => {
  const chosen = byId("decision").value;
  const options = Object.entries(decisions).map(([name, count]) => option(name, `${name} (${grouped(count)})`));
  byId("decision").replaceChildren(option(ANY, "any"), ...options);
  byId("decision").value = chosen in decisions ? chosen : ANY;
};

const decisionOf = ({ reason, because, duplicate_of: duplicateOf, side }) => {
  if (reason) return [reason, because, duplicateOf && `a duplicate of ${duplicateOf}`].filter(Boolean).join(" · ");
  return side === "train" ? "kept" : side === "validation" ? "held out" : "kept, its end held out";
};

const row = (found) => {
  const button = element("button", { type: "button", class: "bar" },
    element("span", { class: "token" }, found.id), element("span", { class: "percent" }, `${grouped(found.text_bytes)} bytes`));
  button.addEventListener("click", () => show(found));
  return element("li", {}, button, element("p", { class: "under" }, decisionOf(found)));
};

const list = async () => {
  const mine = (asked += 1);
  byId("state").textContent = "reading";
  try {
    const decision = byId("decision").value || null;
    const found = await post("list", { ...question(), decision, name: byId("name").value, start });
    if (mine !== asked) return;
    showDecisions(found.decisions);
    byId("found").replaceChildren(...found.documents.map(row));
    byId("one").replaceChildren();
    byId("back").disabled = start === 0;
    byId("more").disabled = !found.has_more;
    const last = start + found.documents.length;
    document.documentElement.dataset.listed = "";
    byId("state").textContent = found.documents.length ? `documents ${grouped(start + 1)} to ${grouped(last)}` : "no document";
    problem("");
  } catch (error) {
    if (mine !== asked) return;
    byId("state").textContent = "";
    problem(error.message);
  }
};

const block = (title, ...children) => element("div", { class: "card" }, element("h3", {}, title), ...children);
const text = (value) => element("p", { class: "token" }, value);

const shownValue = (value) => typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(4))) : String(value);
const values = (columns) => element("dl", { class: "values" }, ...Object.entries(columns).flatMap(([name, value]) =>
  [element("dt", {}, name), element("dd", {}, shownValue(value))]));

const tokens = (found) => element("p", { class: "tokens" }, ...found.flatMap((each) => {
  const piece = element("span", { class: "piece" }, element("span", { class: "token" }, each.replaceAll(" ", "␣").replaceAll("\n", "⏎")));
  return each.includes("\n") ? [piece, element("span", { class: "break" })] : [piece];
}));

const show = async (chosen) => {
  const mine = (asked += 1);
  try {
    const found = await post("show", { ...question(), slice: chosen.slice, record: chosen.record });
    if (mine !== asked) return;
    const blocks = [block(found.shortened === null ? "Text" : "Text as read and cleaned", text(found.text))];
    if (found.shortened !== null) blocks.push(block("Without the lines that pages of its site share", text(found.shortened)));
    blocks.push(block("Columns", values({ ...found.metadata, ...found.columns })));
    if (found.tokens !== null) blocks.push(block("Tokens", tokens(found.tokens)));
    byId("one").replaceChildren(element("h2", {}, found.id), element("p", { class: "lead" }, `${decisionOf(chosen)} · ${grouped(found.characters)} characters`),
      element("div", { class: "pair" }, ...blocks));
    byId("one").scrollIntoView({ block: "start" });
    problem("");
  } catch (error) {
    if (mine === asked) problem(error.message);
  }
};

const again = () => { start = 0; return list(); };

byId("which").addEventListener("submit", (event) => { event.preventDefault(); again(); });
byId("chosen-run").addEventListener("change", () => { showSources(); again(); });
byId("source").addEventListener("change", () => { byId("decision").value = ANY; again(); });
byId("decision").addEventListener("change", again);
byId("back").addEventListener("click", () => { start = Math.max(0, start - STEP); list(); });
byId("more").addEventListener("click", () => { start += STEP; list(); });

const begin = async () => {
  runs = (await get("documents/runs")).runs;
  if (!runs.length) return problem("No run here has a corpus yet; headwater corpus build makes one.");
  byId("chosen-run").replaceChildren(...runs.map(({ run, shown }) => option(run, shown)));
  const given = new URLSearchParams(location.search).get("run");
  if (runs.some(({ run }) => run === given)) byId("chosen-run").value = given;
  showSources();
  await list();
};
begin().catch((error) => problem(error.message));
