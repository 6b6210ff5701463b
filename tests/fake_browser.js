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

const keys = ["1", "2", "n", "b", "s"];
const buttons = keys.map((key) => new Element({ key }));
const elements = { data: new Element() };
elements.data.textContent = JSON.stringify(job.data);
const files = [];
const document = Object.assign(new Element(), {
  getElementById: (id) => (elements[id] ??= new Element()),
  createElement: () => ({ click() { files.push({ name: this.download, text: this.href }); } }),
  querySelectorAll: (query) => (query.startsWith("#choices") ? buttons.slice(0, 3) : buttons),
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

const look = () => ({
  where: elements.where.textContent,
  texts: ["query", "first", "second"].map((id) => elements[id]?.textContent),
  pressed: buttons.filter((b) => b.attributes["aria-pressed"] === "true").map((b) => b.dataset.key),
  hidden: elements.ask.hidden,
  kept: elements.kept?.textContent ?? "",
});

page.start(document, window);
const looks = [look()];
for (const action of job.does) {
  if (action.key !== undefined) document.handlers.keydown({ ...action });
  else if (action.button) buttons[keys.indexOf(action.button)].click();
  else elements.download.click();
  looks.push(look());
}
let asksBeforeClosing = false;
window.handlers.beforeunload({ preventDefault() { asksBeforeClosing = true; } });
process.stdout.write(JSON.stringify({ looks, files, stored, asksBeforeClosing }));
