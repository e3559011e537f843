// A small drawing board: a brush and the shapes the default model knows, in eight of its colours.

/** @type {Record<string, string>} */
const COLOURS = {
  red: "#e02020",
  orange: "#ff8c1a",
  yellow: "#ffe01a",
  green: "#1e9e3e",
  blue: "#2255dd",
  purple: "#8a2be2",
  black: "#111111",
  white: "#ffffff",
};

/** Outlines in a box from -1 to 1, as SVG paths. @type {Record<string, string>} */
const SHAPES = {
  circle: "M1 0A1 1 0 1 1-1 0A1 1 0 1 1 1 0Z",
  oval: "M1 0A1 .6 0 1 1-1 0A1 .6 0 1 1 1 0Z",
  square: "M-.9-.9H.9V.9H-.9Z",
  rectangle: "M-1-.5H1V.5H-1Z",
  triangle: "M0-1 1 .8H-1Z",
  star: "M0-1 .24-.32.95-.31.38.12.59.81 0 .4-.59.81-.38.12-.95-.31-.24-.32Z",
  diamond: "M0-1 .7 0 0 1-.7 0Z",
  cross: "M-.3-1H.3V-.3H1V.3H.3V1H-.3V.3H-1V-.3H-.3Z",
  moon: "M.45-.85C-1.15-1.15-1.15 1.15.45.85-.35.5-.35-.5.45-.85Z",
  heart: "M0 .95C-1.5-.1-.9-.9-.45-.9-.2-.9 0-.7 0-.5 0-.7.2-.9.45-.9.9-.9 1.5-.1 0 .95Z",
};

const BRUSH = "brush";
const BRUSH_WIDTH = 14;
const GROUND = "#d8d8d8";
const STEP = 12;

/**
 * Makes `canvas` a drawing board with its palettes in the two fieldsets.
 *
 * @param {{ canvas: HTMLCanvasElement, colours: HTMLElement, tools: HTMLElement, onChange: () => void }} parts
 */
export function drawingBoard({ canvas, colours, tools, onChange }) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  /** @type {((marking?: boolean) => void)[]} */
  let strokes = [];
  let colour = "red";
  let tool = "circle";
  /** Where the keyboard's mark is, and how large. */
  const mark = { x: canvas.width / 2, y: canvas.height / 2, radius: 50, shown: false };

  palette(colours, "colour", Object.keys(COLOURS), colour, (name) => (colour = name), (name) => icon("circle", fillOf(name)));
  palette(tools, "tool", [BRUSH, ...Object.keys(SHAPES)], tool, (name) => (tool = name), (name) =>
    icon(name, name === BRUSH ? undefined : "currentColor"),
  );

  function redraw() {
    context.fillStyle = GROUND;
    context.fillRect(0, 0, canvas.width, canvas.height);
    for (const stroke of strokes) stroke();
  }

  /** @param {number} x @param {number} y @param {number} radius */
  function shapeAt(x, y, radius) {
    const path = new Path2D();
    path.addPath(new Path2D(SHAPES[tool]), new DOMMatrix([radius, 0, 0, radius, x, y]));
    const fill = fillOf(colour);
    return () => {
      context.fillStyle = fill;
      context.fill(path);
    };
  }

  /** @param {{ x: number, y: number }[]} points where the brush has been so far; it may still grow */
  function brushAlong(points) {
    const stroke = fillOf(colour);
    return () => {
      context.strokeStyle = stroke;
      context.lineWidth = BRUSH_WIDTH;
      context.lineCap = context.lineJoin = "round";
      context.beginPath();
      for (const { x, y } of [...points.slice(0, 1), ...points]) context.lineTo(x, y);
      context.stroke();
    };
  }

  /** @param {PointerEvent} event */
  function position(event) {
    const box = canvas.getBoundingClientRect();
    return { x: ((event.clientX - box.left) * canvas.width) / box.width, y: ((event.clientY - box.top) * canvas.height) / box.height };
  }

  canvas.addEventListener("pointerdown", (down) => {
    canvas.setPointerCapture(down.pointerId);
    const start = position(down);
    const points = [start];
    strokes.push(tool === BRUSH ? brushAlong(points) : shapeAt(start.x, start.y, 40));
    redraw();
    /** @param {PointerEvent} move */
    const drag = (move) => {
      const at = position(move);
      if (tool === BRUSH) points.push(at);
      else strokes[strokes.length - 1] = shapeAt(start.x, start.y, Math.max(12, Math.hypot(at.x - start.x, at.y - start.y)));
      redraw();
    };
    canvas.addEventListener("pointermove", drag);
    canvas.addEventListener(
      "lostpointercapture",
      () => {
        canvas.removeEventListener("pointermove", drag);
        onChange();
      },
      { once: true },
    );
  });

  /** @type {Record<string, () => void>} */
  const keys = {
    ArrowLeft: () => (mark.x -= STEP),
    ArrowRight: () => (mark.x += STEP),
    ArrowUp: () => (mark.y -= STEP),
    ArrowDown: () => (mark.y += STEP),
    "+": () => (mark.radius += STEP / 2),
    "-": () => (mark.radius -= STEP / 2),
    Enter: () => {
      strokes.push(tool === BRUSH ? brushAlong([{ x: mark.x, y: mark.y }]) : shapeAt(mark.x, mark.y, mark.radius));
      onChange();
    },
  };
  canvas.addEventListener("keydown", (event) => {
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
    mark.x = Math.min(Math.max(mark.x, 0), canvas.width);
    mark.y = Math.min(Math.max(mark.y, 0), canvas.height);
    mark.radius = Math.min(Math.max(mark.radius, 12), canvas.width / 2);
    redraw();
    if (event.key !== "Enter") outlineMark();
  });
  canvas.addEventListener("blur", redraw);

  function outlineMark() {
    context.strokeStyle = "#000";
    context.lineWidth = 1;
    context.setLineDash([4, 4]);
    context.strokeRect(mark.x - mark.radius, mark.y - mark.radius, 2 * mark.radius, 2 * mark.radius);
    context.setLineDash([]);
  }

  redraw();
  return {
    get empty() {
      return strokes.length === 0;
    },
    undo() {
      strokes.pop();
      redraw();
      onChange();
    },
    clear() {
      strokes = [];
      redraw();
      onChange();
    },
    /** The drawing as it is now, without the keyboard's mark. */
    async picture() {
      redraw();
      return createImageBitmap(canvas);
    },
  };
}

/**
 * @param {HTMLElement} parent
 * @param {string} group
 * @param {string[]} names
 * @param {string} chosen
 * @param {(name: string) => void} onChoose
 * @param {(name: string) => SVGElement} draw
 */
function palette(parent, group, names, chosen, onChoose, draw) {
  for (const name of names) {
    const label = document.createElement("label");
    label.className = "choice";
    label.title = name;
    const input = Object.assign(document.createElement("input"), { type: "radio", name: group, value: name, checked: name === chosen });
    input.setAttribute("aria-label", name);
    input.addEventListener("change", () => onChoose(name));
    label.append(input, draw(name));
    parent.append(label);
  }
}

/** @param {string} name */
function fillOf(name) {
  return COLOURS[name] ?? "#000000";
}

/** @param {string} name of a shape, or the brush @param {string | undefined} fill */
function icon(name, fill) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "-1.2 -1.2 2.4 2.4");
  svg.setAttribute("aria-hidden", "true");
  const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
  shape.setAttribute("d", SHAPES[name] ?? "M-.9.9C-.5.9-.7-.2 0 0S.3-.8.9-.9");
  shape.setAttribute("fill", fill ?? "none");
  shape.setAttribute("stroke", fill ? "#8888" : "currentColor");
  shape.setAttribute("stroke-width", fill ? ".06" : ".3");
  svg.append(shape);
  return svg;
}
