"use strict";
// What people and models write is set as textContent alone: nothing here builds markup from text.

const byId = (id) => document.getElementById(id);
const TYPING_MILLISECONDS = 120;
const DARKEST_BITS = 12;
const MAX_CHARACTERS = 20000; // as the server has it
const MAX_SURPRISE_CHARACTERS = 4000; // of a page that is redrawn while somebody types
const WORDS_TO_FIND = 5;

const element = (name, className, text, ...children) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined && text !== null) made.textContent = text;
  made.append(...children);
  return made;
};

const problem = (text) => {
  byId("problem").textContent = text;
};

const ask = async (what, question, signal) => {
  const answer = await fetch(`/playground/${what}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(question),
    signal,
  });
  if (!answer.ok) {
    const said = await answer.json().catch(() => null);
    throw new Error(said?.error?.message ?? `the server answered ${answer.status}`);
  }
  return answer;
};

// ---- models: the choices, and those chosen

let checkpoints = [];

const fill = (select, choices, chosen) => {
  select.replaceChildren(
    ...choices.map(([value, shown]) => {
      const option = element("option", "", shown);
      option.value = value;
      option.selected = value === chosen;
      return option;
    }),
  );
};

const loadModels = async () => {
  const answer = await fetch("/playground/models");
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  const { runs } = await answer.json();
  checkpoints = runs.flatMap(({ run, shown, steps }) =>
    steps.map((step) => ({ run, step, shown: `${shown}, step ${step.toLocaleString("en")}` })),
  );
  const choices = checkpoints.map(({ shown }, index) => [String(index), shown]);
  const given = new URLSearchParams(location.search).get("run");
  const wanted = checkpoints.findIndex(({ run }) => run === given);
  fill(byId("model-1"), choices, String(Math.max(0, wanted)));
  fill(byId("model-2"), [["", "no other"], ...choices], "");
  if (!checkpoints.length) problem("No run here has a checkpoint yet; headwater run makes one.");
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
  const length = element("span", "length");
  length.style.width = `${100 * probability}%`;
  const button = element("button", "bar", undefined, length, element("span", "token", visible(shown)), element("span", "percent", percent(probability)));
  button.type = "button";
  button.disabled = text === null;
  button.title = text === null ? "no whole text by itself: it can't be added" : "add it to the text";
  button.addEventListener("click", () => {
    byId("text").value += text;
    refresh();
  });
  const find = element("button", "find", "find");
  find.type = "button";
  find.disabled = text === null;
  find.setAttribute("aria-label", `find the text with ${shown} in the training text`);
  find.addEventListener("click", () => {
    byId("wanted").value = lastWords(byId("text").value + text);
    trace(model);
  });
  return element("li", "", undefined, button, find);
};

const panel = (model, ...children) => element("div", "card", undefined, element("h3", "", model.shown), ...children);

const showNext = async (models, signal) => {
  const answers = await Promise.all(
    models.map(async (model) => (await ask("next", { ...question(model), temperature: temperature() }, signal)).json()),
  );
  const panels = answers.map(({ tokens }, index) => {
    const bars = element("ol", "bars", undefined, ...tokens.map((token) => bar(token, models[index])));
    return panel(models[index], bars);
  });
  byId("next").replaceChildren(...panels);
};

// ---- surprise

const piece = ({ shown, bits }) => {
  const token = element("span", "token", visible(shown.replaceAll("\n", "↵").replaceAll("\t", "⇥")));
  const share = Math.round(55 * Math.min(1, bits / DARKEST_BITS));
  token.style.background = `color-mix(in srgb, var(--series-2) ${share}%, var(--card))`;
  const both = element("span", "piece", undefined, token, element("span", "bits", bits.toFixed(1)));
  return shown.includes("\n") ? [both, element("span", "break")] : [both];
};

const showSurprise = async (models, signal) => {
  const text = byId("text").value;
  if (!text || text.length > MAX_SURPRISE_CHARACTERS) {
    const why = text ? `The text has more than ${MAX_SURPRISE_CHARACTERS} characters.` : "There is no text yet.";
    byId("surprise").replaceChildren(element("p", "missing", why));
    return;
  }
  const answers = await Promise.all(models.map(async (model) => (await ask("surprise", question(model), signal)).json()));
  const panels = answers.map(({ tokens, bits_per_byte: bits }, index) =>
    panel(
      models[index],
      element("p", "under", `${bits.toFixed(3)} bits per byte`),
      element("div", "tokens", undefined, ...tokens.flatMap(piece)),
    ),
  );
  byId("surprise").replaceChildren(...panels);
};

// ---- both, as somebody types

let asking = new AbortController();
let waiting = 0;

const refresh = async () => {
  clearTimeout(waiting);
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  const models = chosen();
  if (!models.length) return;
  if (byId("text").value.length > MAX_CHARACTERS) {
    problem(`The text has more than ${MAX_CHARACTERS.toLocaleString("en")} characters, which is the most that is read here.`);
    document.documentElement.dataset.state = "refused";
    return;
  }
  document.documentElement.dataset.state = "asking";
  try {
    await showNext(models, signal);
    await showSurprise(models, signal);
    problem("");
    document.documentElement.dataset.state = "shown";
  } catch (error) {
    if (error.name === "AbortError") return; // another question has taken its place
    problem(error.message);
    document.documentElement.dataset.state = "refused";
  }
};

const refreshSoon = () => {
  clearTimeout(waiting);
  waiting = setTimeout(refresh, TYPING_MILLISECONDS);
};

// ---- writing on

let writing = null;
let seed = 0;

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
  writing = new AbortController();
  byId("write").disabled = true;
  byId("stop").disabled = false;
  byId("state").textContent = "writing";
  const area = byId("text");
  try {
    seed += 1;
    const wanted = { ...question(model), temperature: temperature(), seed };
    const answer = await ask("write", wanted, writing.signal);
    for await (const { text, end } of linesOf(answer.body)) {
      area.value += text;
      area.scrollTop = area.scrollHeight;
      if (end) byId("state").textContent = end === "end token" ? "the model ended the text" : "";
    }
    problem("");
  } catch (error) {
    byId("state").textContent = "";
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
  return [excerpt.slice(0, at), element("mark", "", shown), excerpt.slice(at + shown.length)];
};

const hit = ({ split, source, id, count, excerpt }, wanted) => {
  const where = split === "train" ? "training text" : "held-out text";
  const times = count === 1 ? "once" : `${count} times`;
  return element(
    "li", "", undefined,
    element("p", "under token", `${where} · ${source} · ${id} · ${times}`),
    element("p", "excerpt", undefined, ...marked(excerpt, wanted)),
  );
};

const trace = async (model) => {
  const wanted = byId("wanted").value;
  if (!model || !wanted.trim()) return;
  byId("found").textContent = "searching";
  byId("hits").replaceChildren();
  try {
    const answer = await ask("trace", { run: model.run, text: wanted });
    const { hits, has_more: hasMore } = await answer.json();
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

byId("text").addEventListener("input", refreshSoon);
byId("temperature").addEventListener("input", () => {
  byId("shown-temperature").textContent = temperature().toFixed(1);
  refreshSoon();
});
byId("model-1").addEventListener("change", refresh);
byId("model-2").addEventListener("change", refresh);
byId("write").addEventListener("click", write);
byId("stop").addEventListener("click", () => writing?.abort());
byId("trace").addEventListener("submit", (event) => {
  event.preventDefault();
  trace(chosen()[0]);
});
loadModels().then(refresh, (error) => problem(error.message));
