// The schema as a form and as YAML. The server reads and writes the YAML, so there is one truth about it.

import { ask } from "./api.js";
import { byId, element, makeTabs } from "./dom.js";

let frames = [];
let onChange = () => {};
let onProblem = () => {};

const tabs = makeTabs(byId("schema-tabs"), (name) => (name === "yaml" ? showYaml() : showForm()));

export function setUp(handlers) {
  ({ onChange, onProblem } = handlers);
  byId("add-frame").addEventListener("click", () => {
    frames.push({ name: "", slots: [] });
    draw();
    byId("frames").lastElementChild.querySelector("input").focus();
    onChange();
  });
  byId("show-descriptions").addEventListener("change", draw);
  byId("yaml").addEventListener("input", () => onChange());
}

export function setSchema(schema, yaml) {
  frames = structuredClone(schema.frames).map((frame) => ({ slots: [], ...frame }));
  byId("yaml").value = yaml;
  byId("show-descriptions").checked = frames.some((frame) => frame.description || frame.slots.some((slot) => slot.description));
  draw();
  onChange();
}

// The schema as it stands, read by the server if it is YAML; rejects with a Problem.
export async function readSchema() {
  if (tabs.selected === "yaml") {
    const { schema } = await ask("v1/schemas/check", { yaml: byId("yaml").value });
    frames = schema.frames.map((frame) => ({ slots: [], ...frame }));
    draw();
    return schema;
  }
  return plainSchema();
}

export const frameNames = () => frames.map((frame) => frame.name.trim());

function plainSchema() {
  const described = ({ name, description, ...rest }) => {
    const plain = { name: name.trim(), ...rest };
    return description?.trim() ? { ...plain, description: description.trim() } : plain;
  };
  const written = frames.filter((frame) => frame.name.trim() || frame.slots.length);
  return {
    frames: written.map((frame) => ({
      ...described(frame),
      slots: frame.slots.filter((slot) => slot.name.trim()).map(described),
    })),
  };
}

async function showYaml() {
  try {
    const { yaml } = await ask("v1/schemas/check", { schema: plainSchema() });
    byId("yaml").value = yaml;
    onProblem(null);
    return true;
  } catch (problem) {
    onProblem(problem);
    return false;
  }
}

async function showForm() {
  if (tabs.selected === "form") return true;
  try {
    await readSchema();
    onProblem(null);
    return true;
  } catch (problem) {
    onProblem(problem);
    return false;
  }
}

function draw() {
  const withDescriptions = byId("show-descriptions").checked;
  byId("frames").replaceChildren(...frames.map((frame, index) => drawFrame(frame, index, withDescriptions)));
}

function drawFrame(frame, index, withDescriptions) {
  const called = () => frame.name.trim() || `type ${index + 1}`;
  const remove = () => {
    frames.splice(index, 1);
    draw();
    (byId("frames").children[Math.min(index, frames.length - 1)]?.querySelector("input") ?? byId("add-frame")).focus();
    onChange();
  };
  const addSlot = () => {
    frame.slots.push({ name: "" });
    draw();
    const inputs = byId("frames").children[index].querySelectorAll(".role input.name");
    inputs[inputs.length - 1].focus();
    onChange();
  };
  return element(
    "li",
    { class: "type" },
    element(
      "div",
      { class: "row" },
      field(frame, "name", { class: "name", "aria-label": `Name of type ${index + 1}`, placeholder: "type" }),
      element("button", { type: "button", class: "quiet small", onclick: addSlot }, "Add a role", hidden(` to ${called()}`)),
      element("button", { type: "button", class: "quiet icon", "aria-label": `Remove ${called()}`, onclick: remove }, "×"),
    ),
    withDescriptions
      ? field(frame, "description", { class: "description", "aria-label": `Description of ${called()}`, placeholder: "what counts as one" })
      : null,
    frame.slots.length
      ? element(
          "ul",
          { class: withDescriptions ? "roles described" : "roles", "aria-label": `Roles of ${called()}` },
          ...frame.slots.map((slot, position) => drawSlot(frame, slot, position, withDescriptions)),
        )
      : null,
  );
}

function drawSlot(frame, slot, position, withDescriptions) {
  const remove = (event) => {
    const list = event.target.closest(".type");
    const index = [...byId("frames").children].indexOf(list);
    frame.slots.splice(position, 1);
    draw();
    const inputs = byId("frames").children[index].querySelectorAll("input.name");
    inputs[Math.min(position + 1, inputs.length - 1)].focus();
    onChange();
  };
  return element(
    "li",
    { class: "role" },
    field(slot, "name", { class: "name", "aria-label": `Role ${position + 1} of ${frame.name}`, placeholder: "role" }),
    withDescriptions
      ? field(slot, "description", { class: "description", "aria-label": `Description of role ${slot.name}`, placeholder: "what fills it" })
      : null,
    element("button", { type: "button", class: "quiet icon", "aria-label": `Remove role ${slot.name || position + 1}`, onclick: remove }, "×"),
  );
}

function field(target, name, properties) {
  const input = element("input", { type: "text", spellcheck: "false", dir: "auto", ...properties });
  input.value = target[name] ?? "";
  const grow = () => (input.size = Math.max(6, Math.min([...input.value].length + 1, 28)));
  if (properties.class === "name") grow();
  input.addEventListener("input", () => {
    target[name] = input.value;
    if (properties.class === "name") grow();
    onChange();
  });
  return input;
}

const hidden = (text) => element("span", { class: "hidden" }, text);
