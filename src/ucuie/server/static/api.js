// Asking the server. What goes wrong is a Problem with the server's own sentence.

export class Problem extends Error {
  constructor({ title, detail, status = 0, errors = [] }) {
    super(detail);
    Object.assign(this, { title, detail, status, errors });
  }
}

const GONE = new Problem({
  title: "The server does not answer",
  detail: "Start it again with `ucuie serve`, then try once more.",
});

let key = "";
export const setKey = (value) => (key = value.trim());

export async function ask(path, message, { signal } = {}) {
  const options = { signal, headers: {} };
  if (key) options.headers.authorization = `Bearer ${key}`;
  if (message !== undefined) {
    options.method = "POST";
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(message);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError" || error.name === "TypeError" && signal?.aborted) throw error;
    throw GONE;
  }
  const answer = await response.json().catch(() => null);
  if (response.ok && answer !== null) return answer;
  throw new Problem(answer?.detail ? answer : { title: "The server failed", detail: `It answered with ${response.status}.`, status: response.status });
}
