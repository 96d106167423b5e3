"use strict";
// Tables that can be sorted and filtered, and pictures laid over each other. No library, nothing from anywhere.

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

function sortTable(table, column, direction) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [cellValue(row, column), row]);
  rows.sort((a, b) => {
    const missing = (a[0] === "n/a") - (b[0] === "n/a");
    return missing || direction * compareValues(a[0], b[0]);
  });
  body.append(...rows.map(([, row]) => row));
  [...table.tHead.rows[0].cells].forEach((cell, number) => {
    if (number === column) cell.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
    else cell.removeAttribute("aria-sort");
  });
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...cell.childNodes);
    cell.append(button);
    button.addEventListener("click", () =>
      sortTable(table, column, cell.getAttribute("aria-sort") === "ascending" ? -1 : 1));
  });
}

for (const controls of document.querySelectorAll("[data-filters]")) {
  const table = document.getElementById(controls.dataset.filters);
  const count = controls.querySelector("[data-count]");
  const apply = () => {
    const text = controls.querySelector("input").value.toLowerCase();
    const selects = [...controls.querySelectorAll("select")];
    let visible = 0;
    for (const row of table.tBodies[0].rows) {
      const fits = row.textContent.toLowerCase().includes(text)
        && selects.every((select) => !select.value || select.value.split(" ").includes(row.dataset[select.name]));
      row.classList.toggle("hidden", !fits);
      visible += fits;
    }
    count.textContent = `${visible} of ${table.tBodies[0].rows.length} rows`;
  };
  controls.addEventListener("input", apply);
  apply();
}

for (const comparer of document.querySelectorAll(".comparer")) {
  const box = comparer.querySelector(".compare");
  const slider = comparer.querySelector('input[type="range"]');
  const move = () => box.style.setProperty("--cut", `${slider.value}%`);
  slider.addEventListener("input", move);
  box.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" && !event.buttons) return;
    const area = box.getBoundingClientRect();
    slider.value = String(Math.round((100 * (event.clientX - area.left)) / area.width));
    move();
  });
  const flicker = comparer.querySelector("[data-flicker]");
  let timer = null;
  flicker?.addEventListener("click", () => {
    if (timer) {
      clearInterval(timer);
      timer = null;
      move();
    } else {
      let shown = false; // slower than 3 flashes a second, which is safe for photosensitive readers
      timer = setInterval(() => box.style.setProperty("--cut", (shown = !shown) ? "0%" : "100%"), 700);
    }
    flicker.setAttribute("aria-pressed", String(Boolean(timer)));
  });
  const outline = comparer.querySelector("[data-outline]");
  outline?.addEventListener("click", () => {
    const hidden = comparer.querySelector(".outline").classList.toggle("hidden");
    outline.setAttribute("aria-pressed", String(!hidden));
  });
  comparer.querySelector("select")?.addEventListener("change", (event) => {
    const chosen = event.target.selectedOptions[0];
    const image = comparer.querySelector(".over img");
    image.src = document.getElementById(chosen.value).src;
    image.alt = chosen.dataset.alt;
    comparer.querySelector(".which.right").textContent = chosen.textContent;
  });
  move();
}
