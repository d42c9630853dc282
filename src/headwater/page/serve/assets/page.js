// What both pages need. Text of runs, models and people is hostile: it becomes text nodes and attributes, never markup.

export const one = (selector, within = document) => within.querySelector(selector);

export const element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
};

export const grouped = (value) => value.toLocaleString("en-US");

// an answer of the server's; an error has the words of its refusal
export const ask = async (path, options) => {
  const answer = await fetch(path, options);
  if (answer.ok) return answer;
  const refusal = await answer.json().catch(() => null);
  throw new Error(refusal?.error?.message ?? `the server answered ${answer.status}`);
};

export const get = async (path, parameters = []) => (await ask(`${path}?${new URLSearchParams(parameters)}`)).json();
