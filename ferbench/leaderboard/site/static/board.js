// Sort, filter, search and choice of columns for every table with data-grid. The address holds the state, as in
// #rows.sort=accuracy&rows.dir=descending&rows.q=match&rows.hide=ece,kappa&rows.is.seeds=5 (0–4)
"use strict";

const THEMES = ["auto", "light", "dark"];

function stored() {
  try { return localStorage.getItem("theme") || "auto"; } catch { return "auto"; }
}

function applyTheme(theme) {
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

applyTheme(stored()); // before anything is painted

function startTheme() {
  const button = document.getElementById("theme");
  const show = (theme) => { button.textContent = `Theme: ${theme}`; };
  show(stored());
  button.hidden = false;
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(stored()) + 1) % THEMES.length];
    try { localStorage.setItem("theme", next); } catch { /* a page from a file may have no storage */ }
    applyTheme(next);
    show(next);
  });
}

// The state of all tables of the page, in the part of the address after "#"; an anchor such as #figures is not a state.
function readState() {
  const hash = location.hash.slice(1);
  return new URLSearchParams(hash.includes("=") ? hash : "");
}

function writeState(grid, values) {
  const state = readState();
  for (const key of [...state.keys()]) if (key.startsWith(`${grid}.`)) state.delete(key);
  for (const [key, value] of Object.entries(values)) if (value) state.set(`${grid}.${key}`, value);
  history.replaceState(null, "", `#${state}`);
}

// The first number of a text such as "57 600", "+3.9 (+1.2 to +5.0)" or "81.2 ± 0.4"; texts without one come last.
function number(text) {
  const found = text.replace(/(\d)[\s\u2009](?=\d{3})/g, "$1").replace("−", "-").match(/[+-]?\d+(\.\d+)?/);
  return found ? parseFloat(found[0]) : null;
}

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

class Grid {
  constructor(root) {
    this.root = root;
    this.name = root.dataset.grid;
    this.body = root.querySelector("tbody");
    this.rows = [...this.body.rows]; // in the order of the board
    this.heads = [...root.querySelectorAll("thead th")];
    this.keys = this.heads.map((head) => head.dataset.key);
    this.selects = new Map();
    this.boxes = new Map();
    this.addControls();
    this.heads.forEach((head, index) => this.addSort(head, index));
    this.read();
    addEventListener("hashchange", () => this.read());
  }

  title(index) {
    return this.heads[index].querySelector("span").textContent.trim();
  }

  addControls() {
    const controls = make("div", { className: "controls" });
    this.search = make("input", { type: "search" });
    this.search.addEventListener("input", () => this.changed());
    controls.append(make("label", {}, "Search", this.search));
    this.heads.forEach((head, index) => {
      if (!head.dataset.choices) return;
      const select = make("select", {}, new Option("all", ""));
      for (const choice of JSON.parse(head.dataset.choices)) select.append(new Option(choice, choice));
      select.addEventListener("change", () => this.changed());
      this.selects.set(index, select);
      controls.append(make("label", {}, this.title(index), select));
    });
    const columns = make("fieldset", {}, make("legend", { className: "sr", textContent: "Columns" }));
    this.heads.forEach((head, index) => {
      if ("name" in head.dataset) return; // the column that names a row always stays
      const box = make("input", { type: "checkbox", checked: true });
      box.addEventListener("change", () => this.changed());
      this.boxes.set(index, box);
      columns.append(make("label", {}, box, this.title(index)));
    });
    const choice = make("details", {}, make("summary", { textContent: "Columns" }), columns);
    choice.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      choice.open = false;
      choice.querySelector("summary").focus();
    });
    const reset = make("button", { type: "button", textContent: "Reset" });
    reset.addEventListener("click", () => { writeState(this.name, {}); this.read(); });
    this.status = make("span", { className: "shown", role: "status" });
    controls.append(choice, reset, this.status);
    this.root.prepend(controls);
  }

  addSort(head, index) {
    const button = make("button", { type: "button", className: "sort" });
    button.addEventListener("click", () => {
      const first = head.classList.contains("w") ? "ascending" : "descending";
      const other = first === "ascending" ? "descending" : "ascending";
      this.direction = this.sorted === index && this.direction === first ? other : first;
      this.sorted = index;
      this.changed();
    });
    head.append(button);
  }

  read() {
    const state = readState();
    const get = (key) => state.get(`${this.name}.${key}`) || "";
    this.sorted = this.keys.indexOf(get("sort"));
    this.direction = get("dir") === "ascending" ? "ascending" : "descending";
    this.search.value = get("q");
    const hidden = get("hide").split(",");
    this.boxes.forEach((box, index) => { box.checked = !hidden.includes(this.keys[index]); });
    this.selects.forEach((select, index) => {
      select.value = get(`is.${this.keys[index]}`);
      if (select.selectedIndex < 0) select.value = "";
    });
    this.show();
  }

  changed() {
    const hidden = [...this.boxes].filter(([, box]) => !box.checked).map(([index]) => this.keys[index]);
    const values = { q: this.search.value, hide: hidden.join(",") };
    if (this.sorted >= 0) Object.assign(values, { sort: this.keys[this.sorted], dir: this.direction });
    this.selects.forEach((select, index) => { values[`is.${this.keys[index]}`] = select.value; });
    writeState(this.name, values);
    this.show();
  }

  show() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of this.rows) {
      const text = row.textContent.toLowerCase();
      const found = words.every((word) => text.includes(word));
      const fits = [...this.selects].every(([i, select]) => !select.value || row.cells[i].textContent === select.value);
      row.hidden = !(found && fits);
      shown += !row.hidden;
    }
    this.body.append(...this.order());
    this.heads.forEach((head, index) => this.showHead(head, index));
    this.boxes.forEach((box, index) => {
      for (const row of [this.heads[index].parentElement, ...this.rows]) row.cells[index].hidden = !box.checked;
    });
    this.status.textContent = `${shown} of ${this.rows.length} rows`;
  }

  order() {
    if (this.sorted < 0) return this.rows;
    const words = this.heads[this.sorted].classList.contains("w");
    const sign = this.direction === "ascending" ? 1 : -1;
    const value = (row) => (words ? row.cells[this.sorted].textContent : number(row.cells[this.sorted].textContent));
    const compare = (a, b) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (words ? a.localeCompare(b, "en") : a - b);
    };
    return this.rows.map((row) => [value(row), row]).sort((a, b) => compare(a[0], b[0])).map(([, row]) => row);
  }

  showHead(head, index) {
    const sorted = index === this.sorted;
    if (sorted) head.setAttribute("aria-sort", this.direction);
    else head.removeAttribute("aria-sort");
    const button = head.querySelector(".sort");
    button.textContent = sorted ? (this.direction === "ascending" ? "▲" : "▼") : "↕";
    button.setAttribute("aria-label", `Sort by ${this.title(index)}`);
  }
}

document.addEventListener("DOMContentLoaded", () => {
  startTheme();
  document.querySelectorAll("[data-grid]").forEach((root) => new Grid(root));
});
