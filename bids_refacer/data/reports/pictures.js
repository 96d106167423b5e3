"use strict";
// Slices that scroll, all images by one slider, and pictures laid over each other.

for (const stacks of document.querySelectorAll(".stacks")) {
  const slider = stacks.querySelector('input[type="range"]');
  const { first, apart, count } = stacks.dataset;
  const move = () => {
    const shift = `translateY(${(-100 * Number(slider.value)) / Number(count)}%)`;
    for (const image of stacks.querySelectorAll(".window img")) image.style.transform = shift;
    const place = `${Number(first) + Number(apart) * Number(slider.value)} mm`.replace("-", "\u2212");
    stacks.querySelector("output").textContent = place;
    slider.setAttribute("aria-valuetext", place);
  };
  slider.addEventListener("input", move);
  for (const image of stacks.querySelectorAll(".window")) {
    let start = null;
    image.addEventListener("dragstart", (event) => event.preventDefault());
    image.addEventListener("pointerdown", (event) => {
      image.setPointerCapture(event.pointerId);
      start = { x: event.clientX, value: Number(slider.value) };
    });
    image.addEventListener("pointermove", (event) => {
      if (!event.buttons || !start) return;
      slider.value = String(start.value + Math.round((event.clientX - start.x) / 8));
      move();
    });
  }
  stacks.querySelector("select")?.addEventListener("change", (event) => {
    for (const figure of stacks.querySelectorAll("figure[data-tool]")) {
      figure.classList.toggle("unchosen", figure.dataset.tool !== event.target.value);
    }
  });
  move();
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
