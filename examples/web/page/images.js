// The images that come with the page: numpy's arrays of bytes, some of them gzipped.

export const SIZE = 28;
export const PIXELS = SIZE * SIZE;

/** The first `count` bytes of an array, or all of them. What is not wanted is not downloaded. */
export async function bytes(url, count = Infinity) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${answer.statusText}`);
  const packed = url.endsWith(".gz");
  const reader = (packed ? answer.body.pipeThrough(new DecompressionStream("gzip")) : answer.body).getReader();
  const parts = [];
  let [length, start] = [0, undefined];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    length += value.length;
    start ??= header(parts, length);
    if (start !== undefined && length >= start + count) {
      await reader.cancel();
      break;
    }
  }
  if (start === undefined) throw new Error(`${url}: no array of bytes`);
  const all = joined(parts, length).subarray(start, start + count);
  if (count !== Infinity && all.length < count) throw new Error(`${url}: ${all.length} bytes where ${count} are wanted`);
  return all;
}

/** Where the elements begin; undefined where that is not there yet. */
function header(parts, length) {
  if (length < 10) return undefined;
  const first = joined(parts, length);
  if (String.fromCharCode(...first.subarray(1, 6)) !== "NUMPY" || first[6] !== 1) throw new Error("not numpy's format");
  const end = 10 + first[8] + 256 * first[9];
  if (length < end) return undefined;
  const text = String.fromCharCode(...first.subarray(10, end));
  if (!/'descr': '\|u1'/.test(text)) throw new Error(`not an array of bytes: ${text.trim()}`);
  return end;
}

function joined(parts, length) {
  const all = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Paints 28 x 28 grey pixels. */
export function paint(canvas, pixels) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(SIZE, SIZE);
  for (let i = 0; i < PIXELS; i++) image.data.set([pixels[i], pixels[i], pixels[i], 255], 4 * i);
  context.putImageData(image, 0, 0);
}

/** A soft stroke between two points, in pixels, in this grey: 0 rubs out. */
export function stroke(pixels, [x0, y0], [x1, y1], radius, grey) {
  const steps = Math.max(1, Math.ceil(Math.hypot(x1 - x0, y1 - y0)));
  for (let s = 0; s <= steps; s++) {
    const [x, y] = [x0 + ((x1 - x0) * s) / steps, y0 + ((y1 - y0) * s) / steps];
    for (let i = 0; i < PIXELS; i++) {
      const away = Math.hypot((i % SIZE) + 0.5 - x, Math.floor(i / SIZE) + 0.5 - y);
      const cover = Math.min(1, Math.max(0, radius + 0.5 - away));
      pixels[i] = Math.round(pixels[i] * (1 - cover) + grey * cover);
    }
  }
}
