import init, { Device, Network } from "./weighbridge_web.js";
import { PIXELS, SIZE, bytes, paint, stroke } from "./images.js";

const CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];
const VARIANTS = [
  ["fp32", "as trained"],
  ["fp16", "half precision"],
  ["static-int8", "8 bits, ranges calibrated"],
  ["dynamic-int8", "8 bits, ranges as it runs"],
];
/** Test images that are loaded, and that are shown at a time. */
const LOADED = 600;
const SHOWN = 30;
/** Times of which the median is shown. */
const TIMES = 50;

const at = (id) => document.getElementById(id);
const pixels = new Uint8Array(PIXELS);
const cards = VARIANTS.map(([name, what]) => card(name, what));
let variants = [];
let garments = { images: new Uint8Array(), labels: new Uint8Array(), first: 0 };

/** An empty card for a variant. */
function card(name, what) {
  const element = at("card").content.firstElementChild.cloneNode(true);
  const part = (selector) => element.querySelector(selector);
  element.dataset.variant = name;
  part("h3").textContent = name.replace("-", " ");
  part(".what").textContent = what;
  const rows = CLASSES.map((label) => {
    const row = document.createElement("li");
    row.innerHTML = `<span></span><span class="bar"><span></span></span><span class="value"></span>`;
    row.firstElementChild.textContent = label;
    part(".bars").append(row);
    return row;
  });
  at("cards").append(element);
  return { element, part, rows, times: [] };
}

/** Says what is wrong, and stops. */
function fail(title, detail) {
  document.body.dataset.state = "failed";
  const message = at("message");
  message.replaceChildren(Object.assign(document.createElement("b"), { textContent: title }), detail);
  message.hidden = false;
  at("status").textContent = "";
  for (const id of ["more", "measure"]) at(id).disabled = true;
}

/** What goes on; only for those who hear the page, where the cards show the same. */
function say(text, shown = true) {
  at("status").textContent = text;
  at("status").classList.toggle("heard", !shown);
}

const percent = (p) => `${p >= 0.9995 ? 100 : (100 * p).toFixed(p < 0.1 ? 1 : 0)} %`;
const kilobytes = (b) => `${Math.round(b / 1000)} kB`;

function median(times) {
  const sorted = times.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return (sorted[Math.ceil(middle) - 1] + sorted[Math.floor(middle)]) / 2;
}

/** Runs every variant on the image, one after the other, and keeps the times. */
async function classify() {
  const answers = [];
  for (const [i, variant] of variants.entries()) {
    const start = performance.now();
    answers.push(await variant.classify(pixels));
    const { times } = cards[i];
    times.push(performance.now() - start);
    if (times.length > TIMES) times.shift();
  }
  return answers;
}

function show(answers) {
  const best = (answer) => answer.indexOf(Math.max(...answer));
  const reference = cards[0].times.length ? median(cards[0].times) : undefined;
  answers.forEach((answer, i) => {
    const { part, rows, times, element } = cards[i];
    const first = best(answer);
    part(".label").textContent = CLASSES[first];
    part(".confidence").textContent = percent(answer[first]);
    rows.forEach((row, c) => {
      row.classList.toggle("first", c === first);
      row.querySelector(".bar span").style.transform = `scaleX(${answer[c]})`;
      row.querySelector(".value").textContent = (100 * answer[c]).toFixed(answer[c] >= 0.0995 ? 0 : 1);
    });
    const beside = part(".beside");
    const apart = Math.max(...answer.map((p, c) => Math.abs(p - answers[0][c])));
    const same = first === best(answers[0]);
    beside.classList.toggle("differs", !same);
    beside.textContent =
      i === 0 ? "the reference" : `${same ? "agrees" : "differs"}, ${(100 * apart).toFixed(2)} points apart`;
    const time = median(times);
    part(".time").replaceChildren(`${time.toFixed(2)} ms `, small(i === 0 ? "" : `${Math.round((100 * time) / reference)} %`));
    element.dataset.answer = CLASSES[first];
    element.dataset.probabilities = JSON.stringify([...answer]);
  });
  say(`${VARIANTS.map(([name], i) => `${name}: ${CLASSES[best(answers[i])]}, ${percent(answers[i][best(answers[i])])}`).join("; ")}.`, false);
}

function small(text) {
  return Object.assign(document.createElement("small"), { textContent: text });
}

let busy = false;
let stale = false;

/** Answers for the image as it is now; whatever is drawn meanwhile is answered after that. */
async function update() {
  stale = true;
  if (busy || !variants.length) return;
  busy = true;
  try {
    while (stale) {
      stale = false;
      document.body.dataset.state = "busy";
      show(await classify());
      // A turn for the browser: to paint, and to hear the pen.
      await new Promise((next) => setTimeout(next));
    }
    document.body.dataset.state = "ready";
  } catch (error) {
    fail("The GPU gave up.", message(error));
  }
  busy = false;
}

async function measure() {
  if (busy) return;
  busy = true;
  at("measure").disabled = true;
  document.body.dataset.state = "busy";
  try {
    for (const { times } of cards) times.length = 0;
    let answers;
    for (let run = 0; run < TIMES; run++) {
      answers = await classify();
      if (run % 10 === 9) say(`${run + 1} of ${TIMES} runs.`);
    }
    show(answers);
    document.body.dataset.state = "ready";
    at("measure").disabled = false;
  } catch (error) {
    fail("The GPU gave up.", message(error));
  }
  busy = false;
  if (stale) update();
}

const message = (error) => (error instanceof Error ? error.message : String(error));

function source(text) {
  at("source").textContent = text;
  at("drawing").setAttribute("aria-label", text);
}

/** Puts a test image where one draws. */
function pick(index) {
  pixels.set(garments.images.subarray(index * PIXELS, (index + 1) * PIXELS));
  paint(at("drawing"), pixels);
  for (const button of at("garments").children) button.setAttribute("aria-pressed", button.dataset.index === String(index));
  source(`Test image ${index}, labelled ${CLASSES[garments.labels[index]]}.`);
  update();
}

function drawn(text) {
  paint(at("drawing"), pixels);
  for (const button of at("garments").children) button.setAttribute("aria-pressed", "false");
  source(text);
  update();
}

/** The next test images as buttons. */
function offer() {
  const buttons = Array.from({ length: SHOWN }, (_, i) => {
    const index = (garments.first + i) % LOADED;
    const button = document.createElement("button");
    const canvas = Object.assign(document.createElement("canvas"), { width: SIZE, height: SIZE });
    paint(canvas, garments.images.subarray(index * PIXELS, (index + 1) * PIXELS));
    button.type = "button";
    button.dataset.index = index;
    button.title = CLASSES[garments.labels[index]];
    button.setAttribute("aria-label", `Test image ${index}, ${button.title}`);
    button.setAttribute("aria-pressed", "false");
    button.append(canvas);
    button.addEventListener("click", () => pick(index));
    return button;
  });
  at("garments").replaceChildren(...buttons);
}

function draw() {
  const canvas = at("drawing");
  let last;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * SIZE, ((event.clientY - box.top) / box.height) * SIZE];
  };
  const to = (point) => {
    stroke(pixels, last ?? point, point, Number(at("size").value), Number(at("grey").value));
    last = point;
    drawn("Your drawing.");
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    last = undefined;
    to(place(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (canvas.hasPointerCapture(event.pointerId)) to(place(event));
  });
  at("clear").addEventListener("click", () => {
    pixels.fill(0);
    drawn("Nothing is drawn.");
  });
  at("more").addEventListener("click", () => {
    garments.first = (garments.first + SHOWN) % LOADED;
    offer();
  });
  at("measure").addEventListener("click", measure);
}

async function load() {
  paint(at("drawing"), pixels);
  draw();
  if (!navigator.gpu) {
    fail(
      "There is no WebGPU here.",
      window.isSecureContext
        ? "This browser does not have it, or has it switched off. Recent versions of Chrome, Edge, Safari and Firefox do have it on most systems."
        : "Browsers give it to pages from https or localhost only, and this one came another way.",
    );
    return;
  }
  say("Loading the network and the images.");
  const [onnx, calibration, images, labels] = await Promise.all([
    fetch("cnn.onnx").then((answer) => (answer.ok ? answer.arrayBuffer() : Promise.reject(new Error(`cnn.onnx: ${answer.status}`)))),
    bytes("calib_images_u8.npy.gz"),
    bytes("test10k_images_u8.npy.gz", LOADED * PIXELS),
    bytes("test10k_labels.npy", LOADED),
    init({ module_or_path: "weighbridge_web_bg.wasm" }),
  ]);
  garments = { images, labels, first: 0 };
  offer();
  at("more").disabled = false;

  if (!(await navigator.gpu.requestAdapter())) {
    fail("WebGPU finds no GPU.", "This browser has WebGPU, but no adapter for it: there may be no GPU, or its driver is blocked. chrome://gpu or about:support tell more.");
    return;
  }
  say("Calibrating.");
  const device = await Device.open();
  const network = new Network(new Uint8Array(onnx));
  const start = performance.now();
  const ranges = await device.calibrate(network, calibration);
  const calibrated = performance.now() - start;
  say("Compiling kernels.");
  const made = VARIANTS.map(([name]) => device.prepare(network, name, ranges));
  const [full] = made;
  made.forEach((variant, i) => {
    const size = (name, bytes, of) =>
      cards[i].part(name).replaceChildren(`${kilobytes(bytes)} `, small(i === 0 ? "" : `${Math.round((100 * bytes) / of)} %`));
    size(".file", variant.file_bytes, full.file_bytes);
    size(".gpu", variant.gpu_bytes, full.gpu_bytes);
  });
  const kind = device.software() ? "a processor that stands in for a GPU" : "a GPU";
  at("device").textContent =
    `On ${kind}${device.name() ? `: ${device.name()}` : ", which the browser does not name"}. ` +
    `Static int8 was calibrated here on ${calibration.length / PIXELS} other images, in ${Math.round(calibrated)} ms.`;
  variants = made;
  // The first run compiles, and is not one of the times.
  await classify();
  for (const { times } of cards) times.length = 0;
  at("measure").disabled = false;
  pick(0);
}

load().catch((error) => fail("The page could not start.", message(error)));
