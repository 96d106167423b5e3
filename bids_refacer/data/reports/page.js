"use strict";
// Tables that can be sorted, filtered and paged, and plots that lead to pages. No library, nothing from anywhere.

function cellValue(row, column) {
  const cell = row.cells[column];
  const given = cell.dataset.sort ?? cell.querySelector("data")?.value ?? cell.textContent.trim();
  const asNumber = Number(given);
  return given !== "" && !Number.isNaN(asNumber) ? asNumber : given;
}

function compareValues(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a === "number") return -1; // texts such as n/a go last
  if (typeof b === "number") return 1;
  return a.localeCompare(b, undefined, { numeric: true });
}

// A table of which one page stands in the document. The rows of the other pages are text until they are needed:
// thousands of elements would make a browser slow to open the page.
function pagedTable(table) {
  const body = table.tBodies[0];
  const size = Number(table.dataset.page) || Infinity;
  const rest = document.getElementById(`${table.id}-rest`);
  let all = null;
  let chosen = null;
  let fits = () => true;
  let page = 0;
  const changed = [];
  const rows = () => {
    if (!all) {
      const more = document.createElement("tbody");
      more.innerHTML = rest ? JSON.parse(rest.textContent).join("") : "";
      all = [...body.rows, ...more.rows];
    }
    return all;
  };
  const show = (wanted) => {
    chosen ??= rows().filter(fits);
    page = Math.max(0, Math.min(wanted, Math.ceil(chosen.length / size) - 1));
    body.replaceChildren(...(size === Infinity ? chosen : chosen.slice(page * size, (page + 1) * size)));
    changed.forEach((call) => call());
  };
  return {
    filter: (test) => { fits = test; chosen = null; show(0); },
    sort: (order) => { rows().sort(order); chosen = null; show(0); },
    step: (by) => show(page + by),
    everything: () => { chosen ??= rows().filter(fits); body.replaceChildren(...chosen); },
    again: () => show(page),
    onchange: (call) => changed.push(call),
    state: () => ({ page, size, chosen: chosen?.length, all: all?.length }),
  };
}

function makeSortable(table, paged) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((cell, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...cell.childNodes);
    cell.append(button);
    button.addEventListener("click", () => {
      const direction = cell.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      const values = new Map();
      const value = (row) => values.get(row) ?? values.set(row, cellValue(row, column)).get(row);
      paged.sort((a, b) => (value(a) === "n/a") - (value(b) === "n/a") || direction * compareValues(value(a), value(b)));
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      cell.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
    });
  });
}

function makeFiltered(controls, paged) {
  const count = controls.querySelector("[data-count]");
  controls.addEventListener("input", () => {
    const text = controls.querySelector("input").value.toLowerCase();
    const selects = [...controls.querySelectorAll("select")];
    paged.filter((row) => row.textContent.toLowerCase().includes(text)
      && selects.every((select) => !select.value || select.value.split(" ").includes(row.dataset[select.name])));
    const { chosen, all } = paged.state();
    count.textContent = `${chosen} of ${all} rows`;
  });
}

function makePages(bar, paged) {
  const [back, next] = bar.querySelectorAll("button");
  const where = bar.querySelector("[data-where]");
  const write = () => {
    const { page, size, chosen } = paged.state();
    if (chosen === undefined) return;
    where.textContent = `rows ${Math.min(page * size + 1, chosen)} to ${Math.min((page + 1) * size, chosen)} of ${chosen}`;
    back.disabled = page === 0;
    next.disabled = (page + 1) * size >= chosen;
  };
  for (const button of [back, next]) button.addEventListener("click", () => paged.step(Number(button.dataset.step)));
  back.disabled = true;
  paged.onchange(write);
}

for (const table of document.querySelectorAll("table.sortable")) {
  const paged = pagedTable(table);
  makeSortable(table, paged);
  for (const controls of document.querySelectorAll(`[data-filters="${table.id}"]`)) makeFiltered(controls, paged);
  for (const bar of document.querySelectorAll(`[data-pages="${table.id}"]`)) makePages(bar, paged);
  addEventListener("beforeprint", paged.everything);
  addEventListener("afterprint", paged.again);
}

// Points of plots that lead to the pages of participants; the list of participants leads there as well.
for (const plot of document.querySelectorAll("svg[data-points]")) {
  const points = JSON.parse(plot.dataset.points);
  const title = plot.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "title"));
  const nearest = (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(plot.getScreenCTM().inverse());
    const away = ([x, y]) => Math.hypot(x - at.x, y - at.y);
    const best = points.reduce((a, b) => (away(b) < away(a) ? b : a));
    return away(best) <= 12 ? best[2] : null;
  };
  plot.addEventListener("pointermove", (event) => {
    const name = nearest(event);
    title.textContent = name ?? "";
    plot.style.cursor = name ? "pointer" : "";
  });
  plot.addEventListener("click", (event) => {
    const name = nearest(event);
    if (name) location.href = `${name}.html`;
  });
}

addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((fold) => (fold.open = true)));
