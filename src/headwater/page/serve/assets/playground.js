import { ask, element, get, grouped } from "./page.js";

const byId = (id) => document.getElementById(id);
const TYPING_MILLISECONDS = 120;
const DARKEST_BITS = 12;
const MAX_CHARACTERS = 20000; // as the server has it
const MAX_SURPRISE_CHARACTERS = 4000; // of a page that is redrawn while somebody types
const WORDS_TO_FIND = 5;

const root = document.documentElement;
const problem = (text) => { byId("problem").textContent = text; };

const post = (what, question, signal) =>
  ask(`playground/${what}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(question), signal });
const answerTo = async (...question) => (await post(...question)).json();

// ---- models: the choices, and those chosen

let checkpoints = [];
let prompts = new Map(); // of each run, the one that it continued first
let prompt = ""; // that stands in the text field

const loadModels = async () => {
  const { runs } = await get("playground/models");
  // the newest run comes first, and of a run its newest checkpoint
  checkpoints = runs.flatMap(({ run, shown, steps }) =>
    steps.map((step) => ({ run, step, shown: `${shown}, step ${grouped(step)}` })),
  );
  const groups = () => runs.map(({ run, shown }) => element("optgroup", { label: shown },
    ...checkpoints.flatMap((each, value) => each.run === run ? [element("option", { value }, each.shown)] : [])));
  const given = new URLSearchParams(location.search).get("run");
  byId("model-1").replaceChildren(...groups());
  byId("model-1").value = Math.max(0, checkpoints.findIndex(({ run }) => run === given));
  byId("model-2").replaceChildren(element("option", { value: "" }, "no other"), ...groups());
  prompts = new Map(runs.map(({ run, prompt }) => [run, prompt]));
  showPrompt();
  if (!checkpoints.length) problem("No run here has a checkpoint yet; headwater run makes one.");
};

// a text that somebody wrote stays
const showPrompt = () => {
  const [opened] = chosen();
  if (opened && byId("text").value === prompt) byId("text").value = prompt = prompts.get(opened.run);
};

const chosen = () =>
  ["model-1", "model-2"].map((id) => byId(id).value).filter((value) => value !== "").map((value) => checkpoints[value]);

const temperature = () => Number(byId("temperature").value);
const question = ({ run, step }) => ({ run, step, text: byId("text").value });

// ---- next tokens

const visible = (token) => token.replaceAll(" ", "␣");
const percent = (probability) => `${(100 * probability).toFixed(probability < 0.1 ? 2 : 1)} %`;

const lastWords = (text) => text.trim().split(/\s+/).slice(-WORDS_TO_FIND).join(" ");

const bar = ({ shown, text, probability }, model) => {
  const length = element("span", { class: "length" }), disabled = text === null;
  length.style.width = `${100 * probability}%`;
  const title = disabled ? "no whole text by itself: it can't be added" : "add it to the text";
  const button = element("button", { class: "bar", type: "button", disabled, title },
    length, element("span", { class: "token" }, visible(shown)), element("span", { class: "percent" }, percent(probability)));
  button.addEventListener("click", () => {
    byId("text").value += text;
    refresh();
  });
  const label = `find the text with ${shown} in the training text`;
  const find = element("button", { class: "find", type: "button", disabled, "aria-label": label }, "find");
  find.addEventListener("click", () => {
    byId("wanted").value = lastWords(byId("text").value + text);
    trace(model);
  });
  return element("li", {}, button, find);
};

const panel = (model, ...children) => element("div", { class: "card" }, element("h3", {}, model.shown), ...children);

const showNext = async (models, signal) => {
  const answers = await Promise.all(
    models.map((model) => answerTo("next", { ...question(model), temperature: temperature() }, signal)),
  );
  byId("next").replaceChildren(...answers.map(({ tokens }, index) =>
    panel(models[index], element("ol", { class: "bars" }, ...tokens.map((token) => bar(token, models[index]))))));
};

// ---- surprise

const piece = ({ shown, bits }) => {
  const token = element("span", { class: "token" }, visible(shown.replaceAll("\n", "↵").replaceAll("\t", "⇥")));
  const share = Math.round(55 * Math.min(1, bits / DARKEST_BITS));
  token.style.background = `color-mix(in srgb, var(--series-2) ${share}%, var(--card))`;
  const both = element("span", { class: "piece" }, token, element("span", { class: "bits" }, bits.toFixed(1)));
  return shown.includes("\n") ? [both, element("span", { class: "break" })] : [both];
};

const showSurprise = async (models, signal) => {
  const text = byId("text").value;
  if (!text || text.length > MAX_SURPRISE_CHARACTERS) {
    const why = text ? `The text has more than ${MAX_SURPRISE_CHARACTERS} characters.` : "There is no text yet.";
    byId("surprise").replaceChildren(element("p", { class: "missing" }, why));
    return;
  }
  const answers = await Promise.all(models.map((model) => answerTo("surprise", question(model), signal)));
  byId("surprise").replaceChildren(...answers.map(({ tokens, bits_per_byte: bits }, index) =>
    panel(models[index], element("p", { class: "under" }, `${bits.toFixed(3)} bits per byte`),
      element("div", { class: "tokens" }, ...tokens.flatMap(piece)))));
};

// ---- both, as somebody types

let asking = new AbortController();
let waiting = 0;

const showState = (text) => {
  if (!byId("write").disabled) byId("state").textContent = text; // else it says that text is written
};

const refresh = async () => {
  clearTimeout(waiting);
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  const models = chosen();
  if (!models.length) return;
  if (byId("text").value.length > MAX_CHARACTERS) {
    problem(`The text has more than ${grouped(MAX_CHARACTERS)} characters, which is the most that is read here.`);
    showState("");
    root.dataset.state = "refused";
    return;
  }
  root.dataset.state = "asking";
  showState("computing");
  byId("write").textContent = models.length > 1 ? `Continue with ${models[0].shown}` : "Continue";
  try {
    await showNext(models, signal);
    await showSurprise(models, signal);
    problem("");
    root.dataset.state = "shown";
  } catch (error) {
    if (error.name === "AbortError") return; // another question has taken its place
    problem(error.message);
    root.dataset.state = "refused";
  }
  showState(ended);
};

const refreshSoon = () => {
  clearTimeout(waiting);
  waiting = setTimeout(refresh, TYPING_MILLISECONDS);
};

// ---- writing on

let writing = null;
let seed = 0;
let ended = ""; // why the last text did

const linesOf = async function* (stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const lines = (rest + part.value).split("\n");
    rest = lines.pop();
    yield* lines.map((line) => JSON.parse(line));
  }
};

const write = async () => {
  const [model] = chosen();
  if (!model) return;
  clearTimeout(waiting); // no refresh comes amid the text
  asking.abort();
  ended = "";
  writing = new AbortController();
  byId("write").disabled = true;
  byId("stop").disabled = false;
  byId("state").textContent = "writing";
  const area = byId("text");
  try {
    seed += 1;
    const wanted = { ...question(model), temperature: temperature(), seed };
    const answer = await post("write", wanted, writing.signal);
    for await (const { text, end } of linesOf(answer.body)) {
      area.value += text;
      area.scrollTop = area.scrollHeight;
      if (end === "end token") ended = "the model ended the text";
    }
    problem("");
  } catch (error) {
    if (error.name !== "AbortError") problem(error.message);
  }
  byId("write").disabled = false;
  byId("stop").disabled = true;
  await refresh();
};

// ---- the training text

const marked = (excerpt, wanted) => {
  const shown = wanted.split(/\s+/).filter(Boolean).join(" ");
  const at = shown ? excerpt.indexOf(shown) : -1;
  if (at < 0) return [excerpt];
  return [excerpt.slice(0, at), element("mark", {}, shown), excerpt.slice(at + shown.length)];
};

const hit = ({ split, source, id, count, excerpt }, wanted) => {
  const text = split === "train" ? "training text" : "held-out text";
  const times = count === 1 ? "once" : `${count} times`;
  return element("li", {}, element("p", { class: "under token" }, `${text} · ${source} · ${id} · ${times}`),
    element("p", { class: "excerpt" }, ...marked(excerpt, wanted)));
};

const trace = async (model) => {
  const wanted = byId("wanted").value;
  if (!model || !wanted.trim()) return;
  byId("found").textContent = "searching";
  byId("hits").replaceChildren();
  try {
    const { hits, has_more: hasMore } = await answerTo("trace", { run: model.run, text: wanted });
    const documents = hits.length === 1 ? "1 document holds" : `${hits.length} documents hold`;
    byId("found").textContent = hasMore ? `More than ${hits.length} documents hold this text.` : `${documents} this text.`;
    byId("hits").replaceChildren(...hits.map((each) => hit(each, wanted)));
    problem("");
  } catch (error) {
    byId("found").textContent = "";
    problem(error.message);
  }
};

// ---- start

byId("text").addEventListener("input", () => {
  ended = "";
  refreshSoon();
});
byId("temperature").addEventListener("input", () => {
  byId("shown-temperature").textContent = temperature().toFixed(1);
  refreshSoon();
});
byId("model-1").addEventListener("change", () => {
  showPrompt();
  refresh();
});
byId("model-2").addEventListener("change", refresh);
byId("write").addEventListener("click", write);
byId("stop").addEventListener("click", () => writing?.abort());
byId("trace").addEventListener("submit", (event) => {
  event.preventDefault();
  trace(chosen()[0]);
});
loadModels().then(refresh, (error) => problem(error.message));
