// The page: what was asked, what was found, and what of it is shown.

import { ask, setKey } from "./api.js";
import { byId, counted, element, makeTabs, percent } from "./dom.js";
import { asCurl, asPython } from "./exports.js";
import { drawArrows, drawMarks, drawMinimap, hueOf } from "./marks.js";
import * as editor from "./schema.js";

const MODEL_POLL_MS = 1000;
const RERUN_MS = 250;

let model = null;
let limits = null;
let asked = null; // what the result on the page is the answer to
let extraction = null;
let running = null; // the AbortController of a request under way
let least = null; // confidence, as the slider was set; null while it stands where the model has it
let chosen = 0; // index of the record that is lit
let attempts = 0; // to connect; what comes of an earlier one is void, such as a refusal of the key before

const tabs = makeTabs(byId("result-tabs"), (name) => {
  if (name === "why" && extraction && !extraction.records.some((record) => record.explanation)) extract({ isWhy: true });
});

/* The colours of the page */

function setUpTheme() {
  const button = byId("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const current = () => document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light");
  const label = () => (button.textContent = current() === "dark" ? "Light colours" : "Dark colours");
  button.addEventListener("click", () => {
    const theme = current() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem("ucuie-theme", theme);
    } catch {
      // Without storage the choice lasts as long as the page.
    }
    label();
  });
  dark.addEventListener("change", label);
  label();
}

/* What went wrong, in the server's words */

function showProblem(problem) {
  const box = byId("problem");
  box.hidden = !problem;
  const fields = problem?.errors?.map((fault) => fault.field) ?? [];
  const isOf = (...names) => fields.some((field) => names.some((name) => field === name || field.startsWith(`${name}[`)));
  byId("text").toggleAttribute("data-invalid", isOf("text", "texts"));
  byId("text").setAttribute("aria-invalid", isOf("text", "texts"));
  byId("yaml").setAttribute("aria-invalid", isOf("schema", "yaml"));
  byId("frames").classList.toggle("invalid", isOf("schema", "yaml"));
  if (!problem) return;
  byId("problem-title").textContent = problem.title ?? "Something went wrong";
  byId("problem-detail").textContent = problem.detail ?? String(problem);
  byId("key-field").hidden = byId("key-field").hidden && problem.status !== 401;
}

/* The model and the examples */

// Only once everything is there may be asked: a schema that is still on its way would be sent as an empty one.
async function connect() {
  const attempt = ++attempts;
  const notice = byId("notice");
  let schemas;
  for (;;) {
    try {
      const [known, named] = await Promise.all([ask("v1/models"), ask("v1/schemas")]);
      if (attempt !== attempts) return;
      [model] = known.models;
      ({ limits } = known);
      ({ schemas } = named);
      break;
    } catch (problem) {
      if (attempt !== attempts) return;
      if (problem.status === 401) {
        byId("model").textContent = "";
        notice.hidden = true;
        showProblem(problem);
        return;
      }
      notice.hidden = false;
      notice.textContent = problem.status === 503 ? "The model is loading …" : `${problem.title}. ${problem.detail}`;
      await new Promise((resolve) => setTimeout(resolve, MODEL_POLL_MS));
      if (attempt !== attempts) return;
    }
  }
  notice.hidden = true;
  byId("model").textContent = `${model.name} · ${(model.num_parameters / 1e6).toFixed(1)} M parameters · ${model.device}`;
  showCapabilities();
  showExamples(schemas);
  countText();
  byId("extract").disabled = false;
}

function showCapabilities() {
  const set = byId("capabilities");
  set.hidden = !model.capabilities.length;
  byId("tab-why").hidden = !model.capabilities.length;
  set.querySelectorAll("label").forEach((label) => label.remove());
  for (const name of model.capabilities) {
    const box = element("input", { type: "checkbox", name, checked: true, onchange: rerunSoon });
    set.append(element("label", { class: "inline switch" }, box, name));
  }
}

function showExamples(schemas) {
  const select = byId("examples");
  select.replaceChildren(...schemas.map(({ name, title }) => element("option", { value: name }, title || name)));
  const use = ({ keepsText = false } = {}) => {
    const one = schemas[select.selectedIndex];
    if (one.text && !keepsText) byId("text").value = one.text;
    editor.setSchema(one.schema, one.yaml);
    countText();
    clearResults();
  };
  select.onchange = () => use();
  // Whoever was faster than the server keeps what they wrote.
  if (editor.isEmpty()) use({ keepsText: Boolean(byId("text").value) });
}

function countText() {
  const count = Array.from(byId("text").value).length;
  const limit = limits ? ` of ${limits.text_characters.toLocaleString("en")}` : "";
  byId("text-facts").textContent = `${count.toLocaleString("en")}${limit} characters`;
}

/* Asking */

function chosenCapabilities() {
  const boxes = [...byId("capabilities").querySelectorAll("input")];
  const names = boxes.filter((box) => box.checked).map((box) => box.name);
  return names.length === boxes.length ? null : names;
}

let rerun = 0;
function rerunSoon() {
  clearTimeout(rerun);
  if (extraction) rerun = setTimeout(() => extract(), RERUN_MS);
}

function setRunning(controller) {
  running = controller;
  byId("extract").classList.toggle("busy", Boolean(controller));
  byId("extract-label").textContent = controller ? "Stop" : "Extract";
  byId("results").setAttribute("aria-busy", Boolean(controller));
  if (controller) byId("status").textContent = "Extracting …";
}

async function extract({ isWhy = tabs.selected === "why" } = {}) {
  clearTimeout(rerun);
  running?.abort();
  const controller = new AbortController();
  setRunning(controller);
  showProblem(null);
  try {
    const schema = await editor.readSchema();
    const capabilities = chosenCapabilities();
    // Everything is asked for, so that the slider can show it.
    const message = { text: byId("text").value, schema, threshold: 0 };
    const task = byId("task").value;
    if (task) message.task = task;
    if (capabilities) message.capabilities = capabilities;
    if (isWhy && model.capabilities.length) message.explain = true;
    const { extractions } = await ask("v1/extract", message, { signal: controller.signal });
    [extraction] = extractions;
    asked = { text: message.text, schema, task, capabilities };
    chosen = 0;
    showResults();
  } catch (problem) {
    if (controller.signal.aborted) {
      if (running === controller) byId("status").textContent = "Stopped.";
      return;
    }
    byId("status").textContent = "";
    showProblem(problem);
  } finally {
    if (running === controller) setRunning(null);
  }
}

/* Showing */

const ownThreshold = () => model.threshold[asked.task || editor.taskOf(asked.schema)] ?? 0;
const threshold = () => least ?? ownThreshold();

// The same rule as on the server: a record goes by its own score, slots by theirs.
function shownRecords() {
  const limit = threshold();
  const isBelow = (score) => score !== undefined && score !== null && score < limit;
  const hasText = (slots) => slots.some((slot) => slot.filler);
  return extraction.records.flatMap((record) => {
    const slots = record.slots.filter(({ filler }) => !filler || !isBelow(filler.score));
    const hasLostAll = !record.filler && hasText(record.slots) && !hasText(slots);
    return isBelow(record.score) || hasLostAll ? [] : [{ ...record, slots }];
  });
}

function clearResults() {
  // The answer under way is to what stood there before.
  clearTimeout(rerun);
  running?.abort();
  setRunning(null);
  extraction = asked = null;
  byId("found").hidden = byId("threshold-field").hidden = true;
  byId("empty").hidden = false;
  byId("empty").textContent = "Press Extract to see what the model finds.";
  byId("legend").replaceChildren();
  byId("status").textContent = "";
  showProblem(null);
}

function showResults() {
  byId("found").hidden = false;
  byId("threshold-field").hidden = !extraction.records.length;
  byId("empty").hidden = true;
  byId("threshold").value = threshold();
  const records = draw();
  const counts = countByFrame(records);
  const kinds = [...counts].map(([frame, count]) => `${count} ${frame}`).join(", ");
  byId("status").textContent = `${counted(records.length, "record")} in ${extraction.seconds.toFixed(2)} s${kinds ? `: ${kinds}` : ""}`;
}

function countByFrame(records) {
  const counts = new Map();
  for (const { frame } of records) counts.set(frame, (counts.get(frame) ?? 0) + 1);
  return counts;
}

// What records may be called: a located span goes by the name of its frame or slot.
function askedNames() {
  const names = asked.schema.frames.map((frame) => frame.name);
  const slots = asked.schema.frames.flatMap((frame) => (frame.slots ?? []).map((slot) => slot.name));
  return asked.task === "locating" ? [...new Set([...names, ...slots])] : names;
}

function draw() {
  const records = shownRecords();
  const frames = askedNames();
  chosen = Math.min(chosen, Math.max(records.length - 1, 0));
  byId("threshold-value").textContent = threshold().toFixed(2);
  byId("legend").replaceChildren(
    ...[...countByFrame(records)].map(([frame, count]) =>
      element("li", { hue: hueOf(frames, frame) }, `${frame} `, element("span", {}, String(count))),
    ),
  );
  drawMarks(extraction.text, records, frames);
  drawArrows(records, frames);
  drawMinimap(extraction.text, records, frames);
  showRemarks(records);
  byId("records").replaceChildren(...records.map((record, index) => recordItem(record, index, frames)));
  byId("why").replaceChildren(...records.map((record, index) => whyItem(record, index, frames)));
  const exported = { ...asked, threshold: threshold() === ownThreshold() ? null : threshold(), model: extraction.model, hasKey: !byId("key-field").hidden };
  showCode("json", JSON.stringify({ ...extraction, records }, null, 2));
  showCode("python", asPython(exported));
  showCode("curl", asCurl(exported));
  return records;
}

function showRemarks(records) {
  const remarks = [];
  const numHidden = extraction.records.length - records.length;
  if (!extraction.records.length) remarks.push(element("p", { class: "empty" }, "Nothing found."));
  else if (numHidden) remarks.push(element("p", { class: "facts" }, `${counted(numHidden, "record")} below the least confidence.`));
  if (extraction.truncated) remarks.push(element("p", { class: "notice" }, "The answer was cut at the limit of its length; records may be missing."));
  if (extraction.dropped.length) {
    const items = extraction.dropped.map(({ reason, value }) => element("li", {}, `${reason}: `, element("code", {}, value)));
    remarks.push(
      element("details", {}, element("summary", {}, `${counted(extraction.dropped.length, "piece")} of the answer left out`), element("ul", {}, ...items)),
    );
  }
  byId("remarks").replaceChildren(...remarks);
}

const scoreBadge = (score) =>
  score === undefined || score === null ? null : element("span", { class: "score", style: { "--score": score } }, element("span", { class: "hidden" }, "confidence "), percent(score));

const place = (filler) =>
  element("span", { class: "place" }, element("span", { class: "filler", dir: "auto" }, filler.text), " ", element("span", { class: "at" }, `${filler.start}:${filler.end}`));

function recordItem(record, index, frames) {
  const slots = record.slots.flatMap(({ slot, filler }) => [
    element("dt", {}, slot),
    element("dd", {}, filler ? place(filler) : element("span", { class: "at" }, "without text"), filler ? scoreBadge(filler.score) : null),
  ]);
  return element(
    "li",
    { class: "record", hue: hueOf(frames, record.frame), "data-record": index, tabindex: "0" },
    element("div", { class: "head" }, element("b", {}, record.frame), record.filler ? place(record.filler) : null, scoreBadge(record.score)),
    slots.length ? element("dl", {}, ...slots) : null,
  );
}

function whyItem(record, index, frames) {
  const { explanation } = record;
  const fillers = [record.filler, ...record.slots.map((slot) => slot.filler)].filter(Boolean);
  const rows = Object.entries(explanation?.experts ?? {}).flatMap(([capability, weights]) => [
    element("dt", {}, capability),
    element(
      "dd",
      {},
      capability in explanation.gates ? meter(explanation.gates[capability], `gate of ${capability}`) : null,
      element("span", { class: "experts", role: "img", "aria-label": `shares of its experts: ${weights.map(percent).join(", ")}` }, ...weights.map((weight) => element("i", { style: { "--share": Math.min((weight * weights.length) / 2, 1) } }))),
    ),
  ]);
  return element(
    "li",
    { class: "record", hue: hueOf(frames, record.frame), "data-record": index, tabindex: "0" },
    element("div", { class: "head" }, element("b", {}, record.frame), element("span", { class: "filler", dir: "auto" }, fillers.map((filler) => filler.text).join(" · "))),
    rows.length ? element("dl", { class: "routing" }, ...rows) : element("p", { class: "facts" }, "Press Extract to see it."),
  );
}

const meter = (value, label) =>
  element("span", { class: "meter", role: "img", "aria-label": `${label} ${percent(value)}` }, element("i", { style: { "--share": value } }), element("span", { "aria-hidden": "true" }, percent(value)));

function showCode(name, code) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(code);
    } catch {
      // Only pages of this machine and of https may use the clipboard: select it for the person instead.
      getSelection().selectAllChildren(pre);
      byId("status").textContent = "Selected; copy it with Ctrl + C.";
      return;
    }
    button.textContent = "Copied";
    byId("status").textContent = `${name} copied.`;
    setTimeout(() => (button.textContent = "Copy"), 1500);
  };
  const pre = element("pre", { tabindex: "0", role: "group", "aria-label": `The result as ${name}` }, code);
  const button = element("button", { type: "button", class: "quiet copy", onclick: copy }, "Copy");
  byId(`panel-${name}`).replaceChildren(button, pre);
}

/* A record and its spans light up together, under the pointer and by keyboard. */

function light(indices) {
  for (const one of byId("found").querySelectorAll(".lit")) one.classList.remove("lit");
  for (const index of indices)
    for (const one of byId("found").querySelectorAll(`[data-record="${index}"], [data-records~="${index}"]`)) one.classList.add("lit");
  byId("marked").classList.toggle("has-lit", indices.length > 0);
}

function setUpLight() {
  const indicesAt = (event) => {
    const part = event.target.closest?.("[data-record], mark");
    return part ? (part.dataset.record ?? part.dataset.records).split(" ") : [];
  };
  const found = byId("found");
  found.addEventListener("mouseover", (event) => light(indicesAt(event)));
  found.addEventListener("mouseleave", () => light([]));
  found.addEventListener("focusin", (event) => light(indicesAt(event)));
  found.addEventListener("focusout", () => light([]));
}

/* Beginning */

byId("extract").disabled = true;
byId("extract").addEventListener("click", () => (running ? running.abort() : extract()));
byId("text").addEventListener("input", countText);
byId("task").addEventListener("change", rerunSoon);
byId("threshold").addEventListener("input", () => {
  least = Number(byId("threshold").value);
  const records = draw();
  byId("threshold").setAttribute("aria-valuetext", `${threshold().toFixed(2)}, ${counted(records.length, "record")}`);
});
byId("key-field").addEventListener("submit", (event) => {
  event.preventDefault();
  setKey(byId("key").value);
  showProblem(null);
  connect();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && model) extract();
});
let resized = 0;
addEventListener("resize", () => {
  cancelAnimationFrame(resized);
  resized = requestAnimationFrame(() => extraction && draw());
});
setUpTheme();
setUpLight();
editor.setUp({ onChange: () => {}, onProblem: showProblem });
connect();
