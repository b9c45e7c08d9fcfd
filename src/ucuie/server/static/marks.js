// The text with its spans: nested marks, arrows between what belongs together, and a map of long texts.

import { byId, drawing, element } from "./dom.js";

// Pixels, but for the number of lanes; a lane is as high as in the style sheet.
const LANE = 15;
const FIRST_LANE = 12;
const LETTER = 7;
const MAX_LANES = 6;

const KNOWN_HUES = { positive: 150, negative: 25, neutral: 255 };

// Neighbours in the schema are far apart on the wheel of colours.
export const hueOf = (frames, frame) =>
  KNOWN_HUES[frame.toLowerCase()] ?? (255 + Math.max(frames.indexOf(frame), 0) * 137.508) % 360;

function marksOf(records) {
  const marks = new Map();
  records.forEach((record, index) => {
    const tags = [];
    if (record.filler) tags.push({ name: record.frame, filler: record.filler, isSlot: false });
    for (const { slot, filler } of record.slots) if (filler) tags.push({ name: slot, filler, isSlot: true });
    for (const { name, filler, isSlot } of tags) {
      const key = `${filler.start}:${filler.end}`;
      const mark = marks.get(key) ?? { start: filler.start, end: filler.end, tags: [], records: new Set() };
      if (!mark.tags.some((tag) => tag.name === name && tag.frame === record.frame)) mark.tags.push({ name, frame: record.frame, isSlot });
      mark.records.add(index);
      marks.set(key, mark);
    }
  });
  return [...marks.values()];
}

// Spans as properly nested marks: one that crosses the end of another is cut there and continued.
export function drawMarks(text, records, frames) {
  const characters = Array.from(text); // offsets count code points
  const byNesting = (one, other) => other.start - one.start || one.end - other.end;
  const waiting = marksOf(records).sort(byNesting);
  const root = byId("marked");
  root.replaceChildren();
  const open = [{ node: root, end: Infinity }];
  let position = 0;
  const write = (end) => {
    if (end > position) open.at(-1).node.append(characters.slice(position, end).join(""));
    position = end;
  };
  const close = () => {
    const { node, mark, end } = open.pop();
    // Written before `pop` would go into the parent.
    if (end > position) {
      node.append(characters.slice(position, end).join(""));
      position = end;
    }
    for (const tag of mark.tags) node.append(element("span", { class: "tag", "aria-hidden": "true", hue: hueOf(frames, tag.frame) }, tag.name));
  };
  while (waiting.length || open.length > 1) {
    const next = waiting.at(-1);
    if (open.length > 1 && (!next || open.at(-1).end <= next.start)) {
      close();
      continue;
    }
    waiting.pop();
    write(next.start);
    let mark = next;
    const border = open.at(-1).end;
    if (border < mark.end) {
      waiting.push({ ...mark, start: border, isContinued: true });
      waiting.sort(byNesting);
      mark = { ...mark, end: border };
    }
    const isSlot = mark.tags.every((tag) => tag.isSlot);
    const node = element("mark", {
      class: `${isSlot ? "slot" : "frame"}${mark.isContinued ? " continued" : ""}`,
      hue: hueOf(frames, mark.tags[0].frame),
      "data-records": [...mark.records].join(" "),
      "data-span": `${next.start}:${next.end}`,
    });
    open.at(-1).node.append(node);
    open.push({ node, mark, end: mark.end });
  }
  write(characters.length);
}

// What each record ties together: a trigger to its arguments, else its first slot to the others.
function tiesOf(record) {
  const filled = record.slots.filter((slot) => slot.filler);
  if (record.filler) return filled.map(({ slot, filler }) => ({ from: record.filler, to: filler, label: slot }));
  const [first, ...others] = filled;
  return others.map(({ filler }) => ({ from: first.filler, to: filler, label: record.frame }));
}

export function drawArrows(records, frames) {
  const root = byId("marked");
  root.querySelector("svg")?.remove();
  const ties = records.flatMap((record, index) =>
    tiesOf(record)
      .filter(({ from, to }) => from.start !== to.start || from.end !== to.end)
      .map((tie) => ({ ...tie, index, hue: hueOf(frames, record.frame) })),
  );
  // Room between the lines first; it moves the marks, but never to another line.
  root.style.setProperty("--lanes", 0);
  root.style.setProperty("--lanes", assignLanes(ties.map((tie) => placed(root, tie))));
  if (!ties.length) return;
  const arrows = ties.map((tie) => placed(root, tie));
  assignLanes(arrows);
  const size = { width: root.scrollWidth, height: root.scrollHeight };
  root.append(drawing("svg", { class: "arrows", "aria-hidden": "true", ...size }, ...arrows.map(drawArrow)));
}

// A tie with the places of its ends on the page.
function placed(root, tie) {
  const box = root.getBoundingClientRect();
  const place = ({ start, end }) => {
    const rect = root.querySelector(`mark[data-span="${start}:${end}"]`).getClientRects()[0];
    return { x: rect.left - box.left + Math.min(rect.width / 2, 60), top: rect.top - box.top, bottom: rect.bottom - box.top };
  };
  const [from, to] = [place(tie.from), place(tie.to)];
  // Nested marks are a little lower than those around them.
  const isOneLine = Math.abs(from.top - to.top) < 12;
  if (isOneLine) from.top = to.top = Math.min(from.top, to.top);
  return { ...tie, from, to, isOneLine };
}

// Arrows of a line lie in lanes above it, short ones below long ones; gives the number of lanes.
function assignLanes(arrows) {
  const taken = [];
  const inLine = arrows.filter((arrow) => arrow.isOneLine);
  const length = ({ from, to }) => Math.abs(to.x - from.x);
  for (const arrow of inLine.sort((one, other) => length(one) - length(other))) {
    const [left, right] = [Math.min(arrow.from.x, arrow.to.x), Math.max(arrow.from.x, arrow.to.x)];
    const meets = (other) => Math.abs(other.top - arrow.from.top) < 12 && left < other.right + 8 && other.left < right + 8;
    const busy = new Set(taken.filter(meets).map((other) => other.lane));
    arrow.lane = 0;
    while (busy.has(arrow.lane)) arrow.lane += 1;
    // A label may be longer than its arrow.
    const half = Math.max(right - left, LETTER * arrow.label.length) / 2;
    const middle = (left + right) / 2;
    taken.push({ left: middle - half, right: middle + half, top: arrow.from.top, lane: arrow.lane });
  }
  return Math.min(Math.max(0, ...taken.map(({ lane }) => lane + 1), arrows.length ? 1 : 0), MAX_LANES);
}

function drawArrow({ from, to, label, index, hue, isOneLine, lane }) {
  const { path, at, end } = isOneLine ? overLine(from, to, lane) : betweenLines(from, to);
  const head = end.isUp
    ? `M${end.x - 3.5},${end.y + 6} L${end.x},${end.y + 0.5} L${end.x + 3.5},${end.y + 6}`
    : `M${end.x - 3.5},${end.y - 6} L${end.x},${end.y - 0.5} L${end.x + 3.5},${end.y - 6}`;
  return drawing(
    "g",
    { class: "arrow", hue, "data-record": index },
    drawing("path", { class: "line", d: path }),
    drawing("path", { class: "head", d: head }),
    drawing("text", { x: at.x, y: at.y + 4, "text-anchor": "middle" }, label),
  );
}

function overLine(from, to, lane) {
  const direction = Math.sign(to.x - from.x) || 1;
  const [x1, x2] = [from.x + 4 * direction, to.x - 4 * direction];
  const y = from.top - FIRST_LANE - LANE * Math.min(lane, MAX_LANES - 1);
  const corner = Math.min(7, Math.abs(x2 - x1) / 2) * direction;
  const drop = Math.abs(corner);
  const path =
    `M${x1},${from.top} V${y + drop} Q${x1},${y} ${x1 + corner},${y} ` +
    `H${x2 - corner} Q${x2},${y} ${x2},${y + drop} V${to.top - 1}`;
  return { path, at: { x: (x1 + x2) / 2, y }, end: { x: x2, y: to.top } };
}

function betweenLines(from, to) {
  const isUp = to.top < from.top;
  const [y1, y2] = isUp ? [from.top, to.bottom + 1] : [from.bottom, to.top - 1];
  const bend = isUp ? -18 : 18;
  const path = `M${from.x},${y1} C${from.x},${y1 + bend} ${to.x},${y2 - 1.6 * bend} ${to.x},${y2}`;
  // Beside the arrow's end, where the gap between lines leaves room.
  return { path, at: { x: to.x + (to.x < from.x ? 12 : -12), y: y2 - 0.75 * bend }, end: { x: to.x, y: y2, isUp } };
}

// Where in a long text the spans are.
export function drawMinimap(text, records, frames) {
  const [reader, map] = [byId("reader"), byId("minimap")];
  map.hidden = reader.scrollHeight <= reader.clientHeight + 4;
  if (map.hidden) return;
  const box = byId("marked").getBoundingClientRect();
  const ticks = [...byId("marked").querySelectorAll("mark:not(.continued)")].map((mark) => {
    const at = (mark.getBoundingClientRect().top - box.top) / box.height;
    return element("span", { class: "tick", style: { "--hue": mark.style.getPropertyValue("--hue"), "--at": at } });
  });
  map.replaceChildren(...ticks);
}
