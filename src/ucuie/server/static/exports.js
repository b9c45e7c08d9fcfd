// What is on the page as a program or a command to take along.

const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

// JSON is Python, but for three words.
function python(value, indent = "") {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = `${indent}    `;
  const items = Array.isArray(value)
    ? value.map((item) => python(item, inner))
    : Object.entries(value).map(([name, item]) => `${JSON.stringify(name)}: ${python(item, inner)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const line = `${open}${items.join(", ")}${close}`;
  return line.length + indent.length <= 88 ? line : `${open}\n${items.map((item) => `${inner}${item},\n`).join("")}${indent}${close}`;
}

// As short as it can be written: a list of names, or a mapping from types to roles.
export function shortSchema({ frames }) {
  const isShort = frames.every((frame) => !frame.description && (frame.slots ?? []).every((slot) => !slot.description && !slot.required));
  if (!isShort) return { frames };
  if (frames.every((frame) => !frame.slots?.length)) return frames.map((frame) => frame.name);
  const mapping = Object.fromEntries(frames.map((frame) => [frame.name, frame.slots.map((slot) => slot.name)]));
  // Names that look like numbers would change their order, and "frames" alone means something else.
  const isSame = Object.keys(mapping).every((name, index) => name === frames[index].name) && Object.keys(mapping).length === frames.length;
  return isSame && !("frames" in mapping) ? mapping : { frames };
}

// A threshold of null is the model's own.
export function asPython({ text, schema, task, capabilities, threshold, model }) {
  const options = [model && model !== "ucuie-small" ? JSON.stringify(model) : null, capabilities ? `capabilities=${python(capabilities)}` : null];
  const named = `${task ? `, task="${task}"` : ""}${threshold === null ? "" : `, threshold=${threshold}`}`;
  return [
    "from ucuie import Extractor",
    "",
    `extractor = Extractor.from_pretrained(${options.filter(Boolean).join(", ")})`,
    `text = ${python(text)}`,
    `schema = ${python(shortSchema(schema))}`,
    `result = extractor.extract(text, schema${named})`,
    "for record in result.records:",
    "    print(record)",
    "",
  ].join("\n");
}

export function asCurl({ text, schema, task, capabilities, threshold, hasKey }) {
  const message = { text, schema: shortSchema(schema) };
  if (task) message.task = task;
  if (capabilities) message.capabilities = capabilities;
  if (threshold !== null) message.threshold = threshold;
  const lines = [`curl ${new URL("v1/extract", location.href)}`, "-H 'content-type: application/json'"];
  if (hasKey) lines.push('-H "authorization: Bearer $UCUIE_API_KEY"');
  lines.push(`--data ${shell(JSON.stringify(message))}`);
  return `${lines.join(" \\\n  ")}\n`;
}
