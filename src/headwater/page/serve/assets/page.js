// What both pages need besides what draws a run.

export const { element, one } = headwater;

export const grouped = (value) => value.toLocaleString("en-US");

// an answer of the server's; an error has the words of its refusal
export const ask = async (path, options) => {
  const answer = await fetch(path, options);
  if (answer.ok) return answer;
  const refusal = await answer.json().catch(() => null);
  throw new Error(refusal?.error?.message ?? `the server answered ${answer.status}`);
};

export const get = async (path, parameters = []) => (await ask(`${path}?${new URLSearchParams(parameters)}`)).json();
