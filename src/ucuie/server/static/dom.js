// Making elements. Texts go in as text nodes only: nothing that comes from outside is ever read as markup.

export const byId = (id) => document.getElementById(id);

const SVG = "http://www.w3.org/2000/svg";

function fill(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "hue") node.style.setProperty("--hue", value);
    else if (name === "style") for (const [key, one] of Object.entries(value)) node.style.setProperty(key, one);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

export const element = (name, properties = {}, ...children) =>
  fill(document.createElement(name), properties, children);

export const drawing = (name, properties = {}, ...children) =>
  fill(document.createElementNS(SVG, name), properties, children);

export const percent = (score) => `${Math.round(100 * score)} %`;

export const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

// Tabs as assistive technology expects them: arrows move, one stop of the Tab key.
export function makeTabs(list, onSelect) {
  const tabs = [...list.querySelectorAll('[role="tab"]')];
  const select = (chosen) => {
    for (const tab of tabs) {
      const isChosen = tab === chosen;
      tab.setAttribute("aria-selected", isChosen);
      tab.tabIndex = isChosen ? 0 : -1;
      byId(tab.getAttribute("aria-controls")).hidden = !isChosen;
    }
  };
  const choose = async (tab) => {
    // A tab may refuse, as that of the form does while the YAML has a fault.
    if ((await onSelect(tab.id.replace("tab-", ""))) !== false) {
      select(tab);
      return true;
    }
    return false;
  };
  for (const tab of tabs) tab.addEventListener("click", () => choose(tab));
  list.addEventListener("keydown", async (event) => {
    const steps = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const index = tabs.indexOf(document.activeElement);
    const step = steps[event.key];
    const next = Number.isFinite(step) ? (index + step + tabs.length) % tabs.length : step < 0 ? 0 : tabs.length - 1;
    if (await choose(tabs[next])) tabs[next].focus();
  });
  return {
    select: (name) => select(byId(`tab-${name}`)),
    get selected() {
      return tabs.find((tab) => tab.getAttribute("aria-selected") === "true").id.replace("tab-", "");
    },
  };
}
