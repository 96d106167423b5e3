"use strict";
// Two faces that turn together, drawn triangle by triangle into a canvas: needs neither WebGL nor a library.

function unpack(text, kind) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new kind(bytes.buffer);
}

function readMesh(packed) {
  const points = Float32Array.from(unpack(packed.points, Int16Array), (value) => value / 100);
  const triangles = unpack(packed.triangles, Uint16Array);
  const normals = new Float32Array(points.length);
  for (let t = 0; t < triangles.length; t += 3) {
    const [a, b, c] = [3 * triangles[t], 3 * triangles[t + 1], 3 * triangles[t + 2]];
    const u = [0, 1, 2].map((k) => points[b + k] - points[a + k]);
    const v = [0, 1, 2].map((k) => points[c + k] - points[a + k]);
    const n = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    for (const corner of [a, b, c]) for (let k = 0; k < 3; k++) normals[corner + k] += n[k];
  }
  for (let i = 0; i < normals.length; i += 3) {
    const length = Math.hypot(normals[i], normals[i + 1], normals[i + 2]) || 1;
    for (let k = 0; k < 3; k++) normals[i + k] /= length;
  }
  const values = {};
  for (const [name, text] of Object.entries(packed.values)) {
    values[name] = Float32Array.from(unpack(text, Int16Array), (value) => value / 100);
  }
  return { points, triangles, normals, opacity: unpack(packed.opacity, Uint8Array), values };
}

// red outside, white on the face, blue inside: five stops of ColorBrewer's RdBu, as on the printed maps
const STOPS = [[5, 48, 97], [67, 147, 195], [247, 247, 247], [214, 96, 77], [103, 0, 31]];
const SKIN = [226, 214, 204];
const BACKGROUND = [34, 38, 44];

function mapColour(value, limit) {
  const place = (Math.max(-1, Math.min(1, value / limit)) + 1) * 2;
  const low = Math.min(3, Math.floor(place));
  return STOPS[low].map((channel, k) => channel + (place - low) * (STOPS[low + 1][k] - channel));
}

// x, y, depth, red, green, blue of every vertex on a canvas of `size` pixels
function project(mesh, size, view, shading, limit) {
  const [cy, sy] = [Math.cos(view.yaw), Math.sin(view.yaw)];
  const [cp, sp] = [Math.cos(view.pitch), Math.sin(view.pitch)];
  const scale = (size / 205) * view.zoom;
  const [left, top] = [size * (0.5 + view.x), size * (0.5 + view.y)];
  const count = mesh.points.length / 3;
  const screen = new Float32Array(6 * count);
  for (let i = 0, p = 0, s = 0; i < count; i++, p += 3, s += 6) {
    const [x, y, z] = [mesh.points[p], mesh.points[p + 1], mesh.points[p + 2]];
    const [nx, ny, nz] = [mesh.normals[p], mesh.normals[p + 1], mesh.normals[p + 2]];
    const y1 = sy * x + cy * y;
    const n1 = cy * nx - sy * ny;
    const n2 = sy * nx + cy * ny;
    const light = 0.28 + 0.72 * Math.max(0, (0.35 * n1 + 0.85 * (cp * n2 + sp * nz) + 0.4 * (cp * nz - sp * n2)) / 1.0025);
    const colour = shading ? mapColour(shading[i], limit) : SKIN;
    const whole = mesh.opacity[i] / 255;
    screen[s] = left - scale * (cy * x - sy * y);
    screen[s + 1] = top - scale * (cp * z - sp * y1);
    screen[s + 2] = cp * y1 + sp * z;
    for (let k = 0; k < 3; k++) screen[s + 3 + k] = whole * colour[k] * light + (1 - whole) * BACKGROUND[k];
  }
  return screen;
}

function fill(screen, corners, size, depth, pixels) {
  for (let n = 0; n < corners.length; n += 3) {
    const [a, b, c] = [6 * corners[n], 6 * corners[n + 1], 6 * corners[n + 2]];
    const ax = screen[a], ay = screen[a + 1], bx = screen[b], by = screen[b + 1], cx = screen[c], cy = screen[c + 1];
    const area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay);
    if (!area) continue;
    const left = Math.max(0, Math.ceil(Math.min(ax, bx, cx))), right = Math.min(size - 1, Math.floor(Math.max(ax, bx, cx)));
    const top = Math.max(0, Math.ceil(Math.min(ay, by, cy))), bottom = Math.min(size - 1, Math.floor(Math.max(ay, by, cy)));
    const vStep = (cy - ay) / area, wStep = (ay - by) / area;
    for (let y = top; y <= bottom; y++) {
      let v = ((left - ax) * (cy - ay) - (cx - ax) * (y - ay)) / area;
      let w = ((bx - ax) * (y - ay) - (left - ax) * (by - ay)) / area;
      for (let x = left, at = y * size + left; x <= right; x++, at++, v += vStep, w += wStep) {
        const u = 1 - v - w;
        if (u < -0.01 || v < -0.01 || w < -0.01) continue;
        const z = u * screen[a + 2] + v * screen[b + 2] + w * screen[c + 2];
        if (z <= depth[at]) continue;
        depth[at] = z;
        const red = u * screen[a + 3] + v * screen[b + 3] + w * screen[c + 3];
        const green = u * screen[a + 4] + v * screen[b + 4] + w * screen[c + 4];
        const blue = u * screen[a + 5] + v * screen[b + 5] + w * screen[c + 5];
        pixels[at] = 0xff000000 | (blue << 16) | (green << 8) | red;
      }
    }
  }
}

function draw(canvas, mesh, view, shading, limit) {
  const size = canvas.width;
  const context = canvas.getContext("2d");
  const image = context.createImageData(size, size);
  const [red, green, blue] = BACKGROUND;
  const pixels = new Uint32Array(image.data.buffer).fill(0xff000000 | (blue << 16) | (green << 8) | red);
  const depth = new Float32Array(size * size).fill(-1e9);
  fill(project(mesh, size, view, shading, limit), mesh.triangles, size, depth, pixels);
  context.putImageData(image, 0, 0);
}

// Turning and zooming by mouse, fingers and keys. A finger that moves up or down scrolls the page, as everywhere else,
// and so does the wheel; two fingers zoom, and so does the wheel with Ctrl (which a trackpad's pinch sends).
function control(canvas, view, ask) {
  const fingers = new Map();
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return Math.hypot(a.x - b.x, a.y - b.y) || 1;
  };
  const zoom = (factor) => { view.zoom = Math.max(0.7, Math.min(8, view.zoom * factor)); };
  const turn = (dx, dy) => {
    view.yaw += dx;
    view.pitch = Math.max(-1.2, Math.min(1.2, view.pitch + dy));
  };
  const shift = (dx, dy) => {
    view.x = Math.max(-2, Math.min(2, view.x + dx));
    view.y = Math.max(-2, Math.min(2, view.y + dy));
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  canvas.addEventListener("pointermove", (event) => {
    const last = fingers.get(event.pointerId);
    if (!last) return;
    const before = fingers.size === 2 ? spread() : 0;
    const [dx, dy] = [event.clientX - last.x, event.clientY - last.y];
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (before) {
      zoom(spread() / before);
      shift(dx / 2 / canvas.clientWidth, dy / 2 / canvas.clientWidth);
    } else if (event.shiftKey) shift(dx / canvas.clientWidth, dy / canvas.clientWidth);
    else turn(dx / 90, event.pointerType === "touch" ? 0 : dy / 90);
    ask(true);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => {
      fingers.delete(event.pointerId);
      ask(false);
    });
  }
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 200));
    ask(false);
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const factors = { "+": 1.25, "=": 1.25, "-": 0.8 };
    if (event.ctrlKey || event.metaKey) return;
    if (event.key in arrows) {
      const [dx, dy] = arrows[event.key];
      if (event.shiftKey) shift(0.05 * dx, 0.05 * dy);
      else turn(0.15 * dx, 0.15 * dy);
    } else if (event.key in factors) zoom(factors[event.key]);
    else if (event.key === "Home") Object.assign(view, { yaw: 0, pitch: 0, zoom: 1, x: 0, y: 0 });
    else return;
    event.preventDefault();
    ask(false);
  });
  return zoom;
}

const SLOW_MS = 40; // a face that takes longer is drawn coarser while it moves

for (const viewer of document.querySelectorAll(".viewer")) {
  const source = JSON.parse(document.getElementById(viewer.dataset.meshes).textContent);
  const limit = source.limit;
  const read = {};
  const mesh = (name) => (read[name] ??= readMesh(source.meshes[name]));
  const canvases = [...viewer.querySelectorAll("canvas")];
  const choice = viewer.querySelector("select");
  const view = { yaw: 0.6, pitch: 0, zoom: 1, x: 0, y: 0 };
  let [waiting, moving, took] = [false, false, 0];
  const paint = () => {
    waiting = false;
    const start = performance.now();
    const sharp = window.devicePixelRatio || 1;
    const size = Math.round(canvases[0].clientWidth * (moving && took > SLOW_MS ? Math.min(1, sharp / 2) : sharp)) || 420;
    for (const canvas of canvases) if (canvas.width !== size) canvas.width = canvas.height = size;
    draw(canvases[0], mesh("original"), view, null, limit);
    const [name, values] = choice.value.split(":");
    draw(canvases[1], mesh(name), view, values ? mesh(name).values[values] : null, limit);
    viewer.querySelector("[data-right]").textContent = choice.selectedOptions[0].textContent;
    viewer.querySelector("[data-bar]").classList.toggle("hidden", !values);
    viewer.dataset.view = `${view.yaw.toFixed(3)} ${view.pitch.toFixed(3)} ${choice.value} ${view.zoom.toFixed(3)}`;
    if (!moving || took <= SLOW_MS) took = performance.now() - start;
    viewer.dataset.milliseconds = took.toFixed(0);
  };
  const ask = (inMotion) => {
    moving = inMotion;
    if (!waiting) requestAnimationFrame(paint);
    waiting = true;
  };
  const zooms = canvases.map((canvas) => control(canvas, view, ask));
  for (const button of viewer.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      const { yaw, zoom } = button.dataset;
      if (zoom) zooms[0](Number(zoom));
      else Object.assign(view, { yaw: Number(yaw), pitch: 0 });
      if ("reset" in button.dataset) Object.assign(view, { zoom: 1, x: 0, y: 0 });
      ask(false);
    });
  }
  choice.addEventListener("change", () => ask(false));
  new ResizeObserver(() => ask(false)).observe(canvases[0]);
}
