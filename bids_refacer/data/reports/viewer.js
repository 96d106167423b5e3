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
  return { points, triangles, normals, values };
}

// red outside, white on the face, blue inside: five stops of ColorBrewer's RdBu, as on the printed maps
const STOPS = [[5, 48, 97], [67, 147, 195], [247, 247, 247], [214, 96, 77], [103, 0, 31]];
const SKIN = [226, 214, 204];

function mapColour(value, limit) {
  const place = (Math.max(-1, Math.min(1, value / limit)) + 1) * 2;
  const low = Math.min(3, Math.floor(place));
  return STOPS[low].map((channel, k) => channel + (place - low) * (STOPS[low + 1][k] - channel));
}

function draw(canvas, mesh, yaw, pitch, shading, limit) {
  const size = canvas.width;
  const context = canvas.getContext("2d");
  const image = context.createImageData(size, size);
  const pixels = new Uint32Array(image.data.buffer).fill(0xff2c2622);
  const depth = new Float32Array(size * size).fill(-1e9);
  const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
  const scale = size / 205;
  const count = mesh.points.length / 3;
  const screen = new Float32Array(6 * count); // x, y, depth, red, green, blue
  for (let i = 0; i < count; i++) {
    const [x, y, z] = mesh.points.subarray(3 * i, 3 * i + 3);
    const [nx, ny, nz] = mesh.normals.subarray(3 * i, 3 * i + 3);
    const [x1, y1] = [cy * x - sy * y, sy * x + cy * y];
    const [n1, n2] = [cy * nx - sy * ny, sy * nx + cy * ny];
    const [y2, z2] = [cp * y1 + sp * z, cp * z - sp * y1];
    const [m2, m3] = [cp * n2 + sp * nz, cp * nz - sp * n2];
    const light = 0.28 + 0.72 * Math.max(0, (0.35 * n1 + 0.85 * m2 + 0.4 * m3) / 1.0025);
    const colour = shading ? mapColour(shading[i], limit) : SKIN;
    screen.set([size / 2 - scale * x1, size / 2 - scale * z2, y2, ...colour.map((c) => c * light)], 6 * i);
  }
  const t = mesh.triangles;
  for (let n = 0; n < t.length; n += 3) {
    const [a, b, c] = [6 * t[n], 6 * t[n + 1], 6 * t[n + 2]];
    const [ax, ay, bx, by, cx, cy2] = [screen[a], screen[a + 1], screen[b], screen[b + 1], screen[c], screen[c + 1]];
    const area = (bx - ax) * (cy2 - ay) - (cx - ax) * (by - ay);
    if (!area) continue;
    const [left, right] = [Math.max(0, Math.ceil(Math.min(ax, bx, cx))), Math.min(size - 1, Math.floor(Math.max(ax, bx, cx)))];
    const [top, bottom] = [Math.max(0, Math.ceil(Math.min(ay, by, cy2))), Math.min(size - 1, Math.floor(Math.max(ay, by, cy2)))];
    for (let y = top; y <= bottom; y++) {
      for (let x = left; x <= right; x++) {
        const v = ((x - ax) * (cy2 - ay) - (cx - ax) * (y - ay)) / area;
        const w = ((bx - ax) * (y - ay) - (x - ax) * (by - ay)) / area;
        const u = 1 - v - w;
        if (u < -0.01 || v < -0.01 || w < -0.01) continue;
        const z = u * screen[a + 2] + v * screen[b + 2] + w * screen[c + 2];
        const at = y * size + x;
        if (z <= depth[at]) continue;
        depth[at] = z;
        const mix = (k) => u * screen[a + k] + v * screen[b + k] + w * screen[c + k];
        pixels[at] = 0xff000000 | (mix(5) << 16) | (mix(4) << 8) | mix(3);
      }
    }
  }
  context.putImageData(image, 0, 0);
}

for (const viewer of document.querySelectorAll(".viewer")) {
  const source = JSON.parse(document.getElementById(viewer.dataset.meshes).textContent);
  const limit = source.limit;
  const read = {};
  const mesh = (name) => (read[name] ??= readMesh(source.meshes[name]));
  const [left, right] = viewer.querySelectorAll("canvas");
  const choice = viewer.querySelector("select");
  let [yaw, pitch, waiting] = [0.6, 0, false];
  const paint = () => {
    waiting = false;
    draw(left, mesh("original"), yaw, pitch, null, limit);
    const [name, values] = choice.value.split(":");
    draw(right, mesh(name), yaw, pitch, values ? mesh(name).values[values] : null, limit);
    viewer.querySelector("[data-right]").textContent = choice.selectedOptions[0].textContent;
    viewer.querySelector("[data-bar]").classList.toggle("hidden", !values);
    viewer.dataset.view = `${yaw.toFixed(3)} ${pitch.toFixed(3)} ${choice.value}`;
  };
  const ask = () => {
    if (!waiting) requestAnimationFrame(paint);
    waiting = true;
  };
  const turn = (dx, dy) => {
    yaw += dx;
    pitch = Math.max(-1.2, Math.min(1.2, pitch + dy));
    ask();
  };
  for (const canvas of [left, right]) {
    canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
    canvas.addEventListener("pointermove", (event) => {
      if (event.buttons) turn(event.movementX / 90, event.movementY / 90);
    });
    canvas.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.15], ArrowDown: [0, 0.15] };
      if (!(event.key in moves)) return;
      event.preventDefault();
      turn(...moves[event.key]);
    });
  }
  for (const button of viewer.querySelectorAll("button[data-yaw]")) {
    button.addEventListener("click", () => {
      [yaw, pitch] = [Number(button.dataset.yaw), 0];
      ask();
    });
  }
  choice.addEventListener("change", ask);
  ask();
}
