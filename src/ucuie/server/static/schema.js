// The schema as a form and as YAML. The server reads and writes the YAML, so there is one truth about it.

import { ask } from "./api.js";
import { byId, element, makeTabs } from "./dom.js";

let frames = [];
let version = 0; // of the schema; an answer about an earlier one comes too late
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
  version += 1;
  frames = structuredClone(schema.frames).map((frame) => ({ slots: [], ...frame }));
  byId("yaml").value = yaml;
  byId("show-descriptions").checked = frames.some((frame) => frame.description || frame.slots.some((slot) => slot.description));
  draw();
  onChange();
}

// The schema as it stands, read by the server if it is YAML; rejects with a Problem.
export async function readSchema() {
  if (tabs.selected === "yaml") {
    const asked = version;
    const { schema } = await ask("v1/schemas/check", { yaml: byId("yaml").value });
    if (asked === version) {
      frames = schema.frames.map((frame) => ({ slots: [], ...frame }));
      draw();
    }
    return schema;
  }
  return plainSchema();
}

// The task whose shape a schema has; the same rule as on the server.
export function taskOf({ frames }) {
  const names = frames.map((frame) => (frame.slots ?? []).map((slot) => slot.name.toLowerCase()));
  const isOpinion = (slots) => slots.length === 2 && slots.includes("aspect") && slots.includes("opinion");
  if (names.every((slots) => !slots.length)) return "NER";
  if (names.every(isOpinion)) return "ABSA";
  return names.every((slots) => slots.length === 2) ? "RE" : "EE";
}

export const isEmpty = () => (tabs.selected === "yaml" ? !byId("yaml").value.trim() : !frames.length);

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
    const asked = version;
    const { yaml } = await ask("v1/schemas/check", { schema: plainSchema() });
    if (asked === version) byId("yaml").value = yaml;
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
  const labels = new Labels();
  const remove = () => {
    frames.splice(index, 1);
    draw();
    (byId("frames").children[Math.min(index, frames.length - 1)]?.querySelector("input") ?? byId("add-frame")).focus();
    onChange();
  };
  const addSlot = () => {
    frame.slots.push({ name: "" });
    draw();
    [...byId("frames").children[index].querySelectorAll(".role input.name")].at(-1).focus();
    onChange();
  };
  const item = element(
    "li",
    { class: "type" },
    element(
      "div",
      { class: "row" },
      labels.of(field(frame, "name", "type"), () => `Name of type ${index + 1}`),
      labels.of(element("button", { type: "button", class: "quiet small", onclick: addSlot }, "Add a role"), () => `Add a role to ${called()}`),
      labels.of(element("button", { type: "button", class: "quiet icon", onclick: remove }, "×"), () => `Remove ${called()}`),
    ),
    withDescriptions ? labels.of(field(frame, "description", "what counts as one"), () => `Description of ${called()}`) : null,
    frame.slots.length
      ? labels.of(
          element(
            "ul",
            { class: withDescriptions ? "roles described" : "roles" },
            frame.slots.map((_, position) => drawSlot(frame, index, position, withDescriptions, labels)),
          ),
          () => `Roles of ${called()}`,
        )
      : null,
  );
  item.addEventListener("input", () => labels.update());
  return item;
}

function drawSlot(frame, index, position, withDescriptions, labels) {
  const slot = frame.slots[position];
  const called = () => slot.name.trim() || String(position + 1);
  const remove = () => {
    frame.slots.splice(position, 1);
    draw();
    const inputs = byId("frames").children[index].querySelectorAll("input.name");
    inputs[Math.min(position + 1, inputs.length - 1)].focus();
    onChange();
  };
  return element(
    "li",
    { class: "role" },
    labels.of(field(slot, "name", "role"), () => `Role ${position + 1} of ${frame.name.trim() || `type ${index + 1}`}`),
    withDescriptions ? labels.of(field(slot, "description", "what fills it"), () => `Description of role ${called()}`) : null,
    labels.of(element("button", { type: "button", class: "quiet icon", onclick: remove }, "×"), () => `Remove role ${called()}`),
  );
}

// Labels that speak of names, which change while they are typed.
class Labels {
  #made = [];

  of(node, label) {
    this.#made.push([node, label]);
    node.setAttribute("aria-label", label());
    return node;
  }

  update() {
    for (const [node, label] of this.#made) node.setAttribute("aria-label", label());
  }
}

function field(target, name, placeholder) {
  const input = element("input", { type: "text", class: name, spellcheck: "false", dir: "auto", placeholder });
  input.value = target[name] ?? "";
  const grow = () => name === "name" && (input.size = Math.max(6, Math.min([...input.value].length + 1, 28)));
  grow();
  input.addEventListener("input", () => {
    target[name] = input.value;
    grow();
    onChange();
  });
  return input;
}
