// Runs the script of a page of questions in Node, with as much of a browser as it
// touches. Usage: node fake_browser.js script.js < {"data": ..., "stored": ..., "does": [...]}
"use strict";
const { readFileSync } = require("node:fs");

const job = JSON.parse(readFileSync(0, "utf8"));
const page = require(process.argv[2]);

class Element {
  constructor(dataset = {}) {
    Object.assign(this, { dataset, handlers: {}, attributes: {}, textContent: "" });
  }
  addEventListener(name, handler) { this.handlers[name] = handler; }
  setAttribute(name, value) { this.attributes[name] = value; }
  click() { this.handlers.click?.(); }
}

// The parts of the page that show a question: their texts, and the keys of their buttons.
const PARTS = {
  triplets: { texts: ["query", "first", "second"], keys: ["1", "2", "n"] },
  pairs: { texts: ["one", "other"], keys: ["y", "n"] },
};
const buttonsOf = (keys) => keys.map((key) => new Element({ key }));
const buttons = { "": buttonsOf(["b", "s"]) };
for (const [part, { keys }] of Object.entries(PARTS)) buttons[part] = buttonsOf(keys);
const elements = { data: new Element() };
elements.data.textContent = JSON.stringify(job.data);
const files = [];
const document = Object.assign(new Element(), {
  getElementById: (id) => (elements[id] ??= new Element()),
  createElement: () => ({ click() { files.push({ name: this.download, text: this.href }); } }),
  querySelectorAll: (query) => buttons[/^#(\w+) button$/.exec(query)?.[1]]
    ?? (query === "button[data-key]" ? Object.values(buttons).flat() : []),
});
const refuse = () => { throw new Error("storage is off"); };
const stored = job.stored;
const window = Object.assign(new Element(), {
  Blob: class { constructor(parts) { this.text = parts.join(""); } },
  URL: { createObjectURL: (blob) => blob.text, revokeObjectURL() {} },
  setTimeout() {},
  localStorage: stored === null
    ? { getItem: refuse, setItem: refuse }
    : {
      getItem: (key) => (Object.hasOwn(stored, key) ? stored[key] : null),
      setItem: (key, value) => { stored[key] = value; },
    },
});

// What can be seen: of the parts, those that are not hidden.
const seen = () => Object.keys(PARTS).filter((part) => elements[part]?.hidden === false);
const look = () => ({
  where: elements.where.textContent,
  instruction: elements.instruction?.textContent,
  parts: seen(),
  texts: seen().flatMap((part) => PARTS[part].texts.map((id) => elements[id].textContent)),
  pressed: seen().flatMap((part) => buttons[part]
    .filter((b) => b.attributes["aria-pressed"] === "true").map((b) => b.dataset.key)),
  hidden: elements.ask.hidden,
  kept: elements.kept?.textContent ?? "",
});

const click = (key) => [...seen(), ""].flatMap((part) => buttons[part])
  .find((button) => button.dataset.key === key).click();

page.start(document, window);
const looks = [look()];
for (const action of job.does) {
  if (action.key !== undefined) document.handlers.keydown({ ...action });
  else if (action.button) click(action.button);
  else elements.download.click();
  looks.push(look());
}
let asksBeforeClosing = false;
window.handlers.beforeunload({ preventDefault() { asksBeforeClosing = true; } });
process.stdout.write(JSON.stringify({ looks, files, stored, asksBeforeClosing }));
