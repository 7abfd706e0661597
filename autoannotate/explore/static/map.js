// A map of points in WebGL: pan, zoom, hover, click, lasso. No dependencies; 200,000 points draw in one call.

const VERTEX = `
attribute vec2 place; attribute vec4 colour; uniform vec2 centre, scale; uniform float size; varying vec4 paint;
void main() {
  gl_Position = vec4((place - centre) * scale, 0.0, 1.0);
  gl_PointSize = size * (colour.a > 0.95 ? 1.7 : 1.0);
  paint = colour;
}`;
const FRAGMENT = `
precision mediump float; varying vec4 paint;
void main() {
  float far = length(gl_PointCoord - 0.5);
  float edge = smoothstep(0.5, 0.38, far);
  if (edge * paint.a < 0.02) discard;
  gl_FragColor = vec4(paint.rgb, paint.a * edge);
}`;
const NEAR = 9;  // CSS pixels within which a point is under the pointer

export const PALETTE = ["#56b4e9", "#e69f00", "#2fbf8f", "#f0e442", "#e0609e", "#d55e00", "#8f8cf2", "#9fd356", "#c9a27c", "#00c5cd", "#ff9a8f", "#b8c4d0"];
const UNKNOWN = [110, 118, 128];
const RAMP = [[68, 1, 84], [71, 45, 123], [59, 82, 139], [44, 114, 142], [33, 145, 140], [40, 174, 128], [94, 201, 98], [173, 220, 48], [253, 231, 37]];

const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const CODES = PALETTE.map(rgb);
export const ofCode = (code) => (code < 0 ? UNKNOWN : CODES[code % CODES.length]);
const SHADES = Array.from({ length: 256 }, (_, step) => {
  const at = Math.min(0.99999, step / 255) * (RAMP.length - 1);
  const [low, high, part] = [RAMP[Math.floor(at)], RAMP[Math.floor(at) + 1], at % 1];
  return low.map((value, i) => Math.round(value + (high[i] - value) * part));
});
export const ofNumber = (share) => (Number.isFinite(share) ? SHADES[Math.round(255 * Math.min(1, Math.max(0, share)))] : UNKNOWN);

export class PointMap {
  // box: an element that the map fills. places: Float32Array of x, y. on: { hover(i), click(i), lasso(rows), moved() }.
  constructor(box, places, on = {}) {
    Object.assign(this, { box, places, on, count: places.length / 2, lassoing: false, hidden: null });
    this.colours = new Uint8Array(4 * this.count).fill(200);
    this.canvas = box.appendChild(document.createElement("canvas"));
    this.over = box.appendChild(document.createElement("canvas"));
    for (const canvas of [this.canvas, this.over]) Object.assign(canvas.style, { position: "absolute", inset: 0, width: "100%", height: "100%" });
    this.gl = this.canvas.getContext("webgl", { antialias: false, alpha: true, premultipliedAlpha: false, preserveDrawingBuffer: true });
    if (!this.gl) throw new Error("This browser offers no WebGL: turn on hardware acceleration, or use another browser.");
    this.prepare();
    this.index();
    this.fit();
    this.listen();
    new ResizeObserver(() => this.resize()).observe(box);
    this.resize();
  }

  prepare() {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(`WebGL: ${gl.getProgramInfoLog(program)}`);
    gl.useProgram(program);
    gl.enable(gl.BLEND);
    gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.at = Object.fromEntries(["centre", "scale", "size"].map((name) => [name, gl.getUniformLocation(program, name)]));
    this.buffers = ["place", "colour"].map((name) => {
      const buffer = gl.createBuffer();
      const where = gl.getAttribLocation(program, name);
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.enableVertexAttribArray(where);
      gl.vertexAttribPointer(where, name === "place" ? 2 : 4, name === "place" ? gl.FLOAT : gl.UNSIGNED_BYTE, name !== "place", 0, 0);
      return buffer;
    });
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[0]);
    gl.bufferData(gl.ARRAY_BUFFER, this.places, gl.STATIC_DRAW);
  }

  index() {  // rows by cell, to find what is under the pointer
    let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let i = 0; i < this.count; i += 1) {
      const [x, y] = [this.places[2 * i], this.places[2 * i + 1]];
      left = Math.min(left, x); right = Math.max(right, x); low = Math.min(low, y); high = Math.max(high, y);
    }
    const side = Math.max(right - left, high - low, 1e-6);
    const cells = Math.max(1, Math.ceil(Math.sqrt(this.count / 4)));
    this.extent = { left, right, low, high, side, cell: side / cells };
    this.cells = new Map();
    for (let i = 0; i < this.count; i += 1) {
      const key = this.cellOf(this.places[2 * i], this.places[2 * i + 1]);
      if (!this.cells.has(key)) this.cells.set(key, []);
      this.cells.get(key).push(i);
    }
  }

  cellOf(x, y, right = 0, up = 0) {
    const { left, low, cell } = this.extent;
    return (Math.floor((x - left) / cell) + right) * 65536 + Math.floor((y - low) / cell) + up;
  }

  fit() {
    const { left, right, low, high } = this.extent;
    this.centre = [(left + right) / 2, (low + high) / 2];
    this.zoom = 1;
    this.draw();
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.width = this.box.clientWidth; this.height = this.box.clientHeight;
    for (const canvas of [this.canvas, this.over]) {
      canvas.width = Math.max(1, Math.round(this.width * ratio)); canvas.height = Math.max(1, Math.round(this.height * ratio));
    }
    this.draw();
  }

  get unit() { return (this.zoom * Math.min(this.width, this.height) * 0.92) / this.extent.side; }  // CSS pixels a unit of the map
  screen(i) { return this.toScreen(this.places[2 * i], this.places[2 * i + 1]); }
  toScreen(x, y) { return [this.width / 2 + (x - this.centre[0]) * this.unit, this.height / 2 - (y - this.centre[1]) * this.unit]; }
  toMap(x, y) { return [this.centre[0] + (x - this.width / 2) / this.unit, this.centre[1] - (y - this.height / 2) / this.unit]; }

  draw() {
    if (this.waiting || !this.width) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      const { gl } = this;
      const ratio = window.devicePixelRatio || 1;
      const crowd = Math.sqrt((this.width * this.height) / Math.max(this.count, 1));
      gl.viewport(0, 0, this.canvas.width, this.canvas.height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT);
      gl.uniform2f(this.at.centre, ...this.centre);
      gl.uniform2f(this.at.scale, (2 * this.unit) / this.width, (2 * this.unit) / this.height);
      gl.uniform1f(this.at.size, ratio * Math.min(13, Math.max(2.5, crowd * 0.34) * Math.min(3, this.zoom ** 0.35)));
      gl.drawArrays(gl.POINTS, 0, this.count);
      this.overlay();
      this.on.moved?.();
    });
  }

  overlay() {
    const marks = this.trail?.length > 1 || this.ringed?.length > 0;
    if (!marks && !this.marked) return;
    this.marked = marks;
    const pen = this.over.getContext("2d", { willReadFrequently: true });  // in memory: on a software GPU a cleared lasso stayed
    const ratio = window.devicePixelRatio || 1;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    pen.beginPath();
    if (this.trail?.length > 1) {
      pen.beginPath();
      for (const [x, y] of this.trail) pen.lineTo(x, y);
      pen.closePath();
      pen.fillStyle = "rgb(98 208 197 / .14)"; pen.fill();
      pen.strokeStyle = "#62d0c5"; pen.lineWidth = 1.5; pen.setLineDash([5, 4]); pen.stroke(); pen.setLineDash([]);
    }
    for (const i of this.ringed ?? []) {
      const [x, y] = this.screen(i);
      pen.beginPath(); pen.arc(x, y, 8, 0, 7); pen.strokeStyle = "#ffd479"; pen.lineWidth = 2.5; pen.stroke();
    }
  }

  ring(rows) { this.ringed = rows; this.overlay(); }

  // colour(i) gives [r, g, b]; chosen: a Set of rows that stand out, or null; hidden(i): not drawn.
  paint(colour, chosen = null, hidden = null) {
    this.hidden = hidden;
    const { colours } = this;
    for (let i = 0, at = 0; i < this.count; i += 1, at += 4) {
      const paint = colour(i);
      colours[at] = paint[0]; colours[at + 1] = paint[1]; colours[at + 2] = paint[2];
      colours[at + 3] = hidden?.(i) ? 0 : !chosen ? 205 : chosen.has(i) ? 255 : 34;
    }
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, this.buffers[1]);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, this.colours, this.gl.DYNAMIC_DRAW);
    this.draw();
  }

  under(x, y) {  // the row nearest to a place on the screen; -1 where none is near
    const [mx, my] = this.toMap(x, y);
    const reach = NEAR / this.unit;
    const cells = Math.min(12, Math.ceil(reach / this.extent.cell));
    let [best, least] = [-1, reach * reach];
    for (let right = -cells; right <= cells; right += 1) {
      for (let up = -cells; up <= cells; up += 1) {
        for (const i of this.cells.get(this.cellOf(mx, my, right, up)) ?? []) {
          const far = (this.places[2 * i] - mx) ** 2 + (this.places[2 * i + 1] - my) ** 2;
          if (far < least && !this.hidden?.(i)) [best, least] = [i, far];
        }
      }
    }
    return best;
  }

  visible(most) {  // rows in view; null where they are more than `most`
    const [left, high] = this.toMap(0, 0);
    const [right, low] = this.toMap(this.width, this.height);
    const found = [];
    for (let i = 0; i < this.count; i += 1) {
      const [x, y] = [this.places[2 * i], this.places[2 * i + 1]];
      if (x >= left && x <= right && y >= low && y <= high && !this.hidden?.(i)) {
        found.push(i);
        if (found.length > most) return null;
      }
    }
    return found;
  }

  inside(trail) {
    const shape = trail.map(([x, y]) => this.toMap(x, y));
    const [xs, ys] = [0, 1].map((axis) => Float64Array.from(shape, (corner) => corner[axis]));
    const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const band = (y) => Math.min(255, Math.floor((256 * (y - low)) / (high - low || 1)));
    const edges = Array.from({ length: 256 }, () => []);  // by height: a point is compared with the edges at its own
    for (let a = 0, b = xs.length - 1; a < xs.length; b = a, a += 1) {
      for (let k = band(Math.min(ys[a], ys[b])); k <= band(Math.max(ys[a], ys[b])); k += 1) edges[k].push(a, b);
    }
    const { places, hidden } = this;
    const found = [];
    for (let i = 0; i < this.count; i += 1) {
      const x = places[2 * i]; const y = places[2 * i + 1];
      if (x < left || x > right || y < low || y > high || hidden?.(i)) continue;
      const near = edges[band(y)];
      let within = false;
      for (let k = 0; k < near.length; k += 2) {
        const a = near[k]; const b = near[k + 1];
        if ((ys[a] > y) !== (ys[b] > y) && x < ((xs[b] - xs[a]) * (y - ys[a])) / (ys[b] - ys[a]) + xs[a]) within = !within;
      }
      if (within) found.push(i);
    }
    return found;
  }

  zoomBy(factor, x = this.width / 2, y = this.height / 2) {
    const before = this.toMap(x, y);
    this.zoom = Math.min(4000, Math.max(0.5, this.zoom * factor));
    const after = this.toMap(x, y);
    this.centre = [this.centre[0] + before[0] - after[0], this.centre[1] + before[1] - after[1]];
    this.draw();
  }

  show(rows) {  // bring some rows into view
    if (!rows.length) return;
    const xs = Array.from(rows, (i) => this.places[2 * i]).sort((a, b) => a - b);
    const ys = Array.from(rows, (i) => this.places[2 * i + 1]).sort((a, b) => a - b);
    const at = (sorted, share) => sorted[Math.round(share * (sorted.length - 1))];
    const side = Math.max(at(xs, 0.95) - at(xs, 0.05), at(ys, 0.95) - at(ys, 0.05), this.extent.side / 60);
    this.centre = [(at(xs, 0.05) + at(xs, 0.95)) / 2, (at(ys, 0.05) + at(ys, 0.95)) / 2];
    this.zoom = Math.max(1, Math.min(60, (0.6 * this.extent.side) / side));
    this.draw();
  }

  listen() {
    const place = (event) => { const box = this.box.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    let [from, moved] = [null, false];
    this.over.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      from = place(event); moved = false;
      this.trail = this.lassoing !== event.shiftKey ? [from] : null;
      this.over.setPointerCapture(event.pointerId);
    });
    this.over.addEventListener("pointermove", (event) => {
      const [x, y] = place(event);
      if (!from) { this.on.hover?.(this.under(x, y), x, y); return; }
      if (Math.hypot(x - from[0], y - from[1]) < 3 && !moved) return;
      moved = true;
      if (this.trail) { this.trail.push([x, y]); this.overlay(); return; }
      this.centre = [this.centre[0] - (x - from[0]) / this.unit, this.centre[1] + (y - from[1]) / this.unit];
      from = [x, y];
      this.draw();
    });
    const done = (event) => {
      if (!from) return;
      const [trail, where] = [this.trail, place(event)];
      from = null; this.trail = null;
      this.overlay();
      if (!moved) this.on.click?.(this.under(...where));
      else if (trail?.length > 2) this.on.lasso?.(this.inside(trail));
    };
    this.over.addEventListener("pointerup", done);
    this.over.addEventListener("pointercancel", done);
    this.over.addEventListener("pointerleave", () => { if (!from) this.on.hover?.(-1); });
    this.over.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), ...place(event));
    }, { passive: false });
    this.over.addEventListener("dblclick", (event) => this.zoomBy(2.2, ...place(event)));
  }
}
