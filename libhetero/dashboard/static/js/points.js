/**
 * Points by WebGL 2: a column of the particles is a buffer of the graphics card as it came from the server.
 *
 * Nothing is made for a single point, in JavaScript or in memory: a million of them are a few buffers, and choosing
 * some of them is one more. A frame is drawn when something has changed, and no other.
 */

import { counted } from "./masks.js";

const VERTEX = `#version 300 es
in float x, y, shade;
uniform vec2 centre, scale, shift; // of the data; from there to the picture, -1 to 1
uniform float size; // pixels
uniform sampler2D palette;
out vec3 colour;
void main() {
  gl_Position = vec4((vec2(x, y) - centre) * scale + shift, 0.0, 1.0);
  gl_PointSize = size;
  int place = int(shade + 0.5);
  colour = texelFetch(palette, ivec2(place & 255, place >> 8), 0).rgb;
}`;

const FRAGMENT = `#version 300 es
precision highp float;
in vec3 colour;
uniform float size, opacity;
out vec4 seen;
void main() {
  float alpha = opacity * clamp(0.5 * size + 0.5 - size * distance(gl_PointCoord, vec2(0.5)), 0.0, 1.0);
  seen = vec4(colour * alpha, alpha);
}`;

const ATTRIBUTES = ["x", "y", "shade"];
const UNIFORMS = ["centre", "scale", "shift", "size", "palette", "opacity"];
const OUTSIDE = 1e6; // half extents from the centre, where points without a place go: no view leads there
const FADED = 0.12; // of the opacity, of points that are not chosen while others are

/** The points of one canvas. */
export class Points {
  /** Throws where the browser has no WebGL 2. */
  constructor(canvas) {
    this.canvas = canvas;
    const gl = canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false, stencil: false });
    if (!gl) throw new Error("no WebGL 2");
    this.gl = gl;
    this.count = 0;
    this.look = null;
    this.#build();
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => this.#restore());
  }

  #build() {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    ATTRIBUTES.forEach((name, place) => gl.bindAttribLocation(program, place, name));
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) throw new Error(gl.getProgramInfoLog(program) || "the points cannot be drawn");
    this.program = program;
    this.at = Object.fromEntries(UNIFORMS.map((name) => [name, gl.getUniformLocation(program, name)]));
    this.buffers = ATTRIBUTES.map(() => gl.createBuffer());
    this.order = gl.createBuffer(); // those not chosen first, so that those chosen lie on them
    this.palette = gl.createTexture();
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.clearColor(1, 1, 1, 1);
  }

  #restore() {
    const { x, y, missing, shades, colours, mask } = this;
    this.#build();
    if (x) this.place(x, y, missing, this.centre, this.half);
    if (shades) this.paint(shades, colours);
    this.choose(mask ?? null);
  }

  #fill(name, values, kind) {
    const { gl } = this;
    const place = ATTRIBUTES.indexOf(name);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[place]);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, 1, kind, false, 0, 0);
  }

  /** Where points are: x and y, of which some (`missing` > 0) have none; centre and half extents of the data. */
  place(x, y, missing, centre, half) {
    Object.assign(this, { x, y, missing, centre, half, count: x.length });
    [x, y].forEach((values, axis) => this.#fill("xy"[axis], missing ? placed(values, centre[axis] + OUTSIDE * half[axis]) : floats(values), this.gl.FLOAT));
    this.changed();
  }

  /** What colour they have: the place of each in a list of "#rrggbb". */
  paint(shades, colours) {
    const { gl } = this;
    Object.assign(this, { shades, colours });
    this.#fill("shade", shades, gl.UNSIGNED_SHORT);
    const rows = Math.ceil(colours.length / 256);
    const texels = new Uint8Array(rows * 1024).fill(255);
    colours.forEach((colour, i) => texels.set([1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16)), 4 * i));
    gl.bindTexture(gl.TEXTURE_2D, this.palette);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, rows, 0, gl.RGBA, gl.UNSIGNED_BYTE, texels);
    for (const side of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, side, gl.NEAREST);
    this.changed();
  }

  /** Which are chosen, one byte each: the others fade. None, or null, fades none; nor do all. */
  choose(mask) {
    const { gl } = this;
    this.mask = mask;
    this.faded = 0; // how many are not chosen, while others are
    const chosen = mask ? counted(mask) : 0;
    if (chosen && chosen < mask.length) {
      this.faded = mask.length - chosen;
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.order);
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, sorted(mask, this.faded), gl.STATIC_DRAW);
    }
    this.changed();
  }

  /** How they are seen: {scale, shift} from half extents about the centre to the picture, size (CSS pixels), opacity. */
  see(look) {
    this.look = look;
    this.changed();
  }

  /** Give the canvas a size in CSS pixels. */
  resize(width, height) {
    const sharp = window.devicePixelRatio || 1;
    const [across, down] = [Math.round(width * sharp), Math.round(height * sharp)];
    if (this.canvas.width === across && this.canvas.height === down) return; // a new size waits for all that is drawn
    Object.assign(this.canvas, { width: across, height: down });
    Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    this.changed();
  }

  /** Something has changed: the next frame shows it. */
  changed() {
    this.frame ??= requestAnimationFrame(() => this.draw());
  }

  /** Draw now. */
  draw() {
    if (this.frame !== undefined) cancelAnimationFrame(this.frame);
    this.frame = undefined;
    const { gl, at, look } = this;
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (!this.count || !look || !this.shades || this.shades.length !== this.count) return;
    gl.useProgram(this.program);
    gl.bindTexture(gl.TEXTURE_2D, this.palette);
    gl.uniform2fv(at.centre, this.centre);
    gl.uniform2f(at.scale, look.scale[0] / this.half[0], look.scale[1] / this.half[1]);
    gl.uniform2fv(at.shift, look.shift);
    gl.uniform1f(at.size, look.size * (window.devicePixelRatio || 1));
    gl.uniform1f(at.opacity, look.opacity);
    if (!this.faded || this.mask.length !== this.count) {
      gl.drawArrays(gl.POINTS, 0, this.count);
      return;
    }
    gl.uniform1f(at.opacity, FADED * look.opacity);
    gl.drawElements(gl.POINTS, this.faded, gl.UNSIGNED_INT, 0);
    gl.uniform1f(at.opacity, look.opacity);
    gl.drawElements(gl.POINTS, this.count - this.faded, gl.UNSIGNED_INT, 4 * this.faded);
  }

  /** A PNG of what is shown, as an address of its data. */
  picture() {
    this.draw(); // what was drawn before is gone once it has been shown
    return this.canvas.toDataURL("image/png");
  }

  /** Give the graphics card back what was taken of it; nothing is drawn any more. */
  close() {
    if (this.frame !== undefined) cancelAnimationFrame(this.frame);
    this.frame = 0; // no other is asked for
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }

  /** Wait until all that was asked of the graphics card is done. */
  finish() {
    this.gl.readPixels(0, 0, 1, 1, this.gl.RGBA, this.gl.UNSIGNED_BYTE, new Uint8Array(4));
  }
}

/** The places of a mask, those of 0 first, of which there are some, then those of 1, each in order. */
function sorted(mask, zeros) {
  const order = new Uint32Array(mask.length);
  let [zero, one] = [0, zeros];
  for (let i = 0; i < mask.length; i += 1) {
    if (mask[i]) order[one++] = i;
    else order[zero++] = i;
  }
  return order;
}

function floats(values) {
  return values instanceof Float32Array ? values : Float32Array.from(values);
}

/** The same numbers, those that are none far outside. */
function placed(values, outside) {
  return Float32Array.from(values, (value) => (Number.isFinite(value) ? value : outside));
}
