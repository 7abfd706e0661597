// Pictures, loaded before they are needed and kept while they are near.

import { bytes, get, Refused } from "./api.js";

const KEPT = 24;
const loaded = new Map();  // number of the image → promise of { details, image }

async function load(id) {
  const details = await get(`items/${id}`);
  if (details.state === "gone" || details.state === "unreadable") return { details, image: null };
  try {
    const blob = await (await bytes(`items/${id}/view`, { v: details.fingerprint })).blob();
    const image = new Image();
    image.src = URL.createObjectURL(blob);
    await image.decode();
    return { details, image };
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status === 409) return load(id);  // it changed between the two questions
    return { details: { ...details, state: "unreadable", message: error.message }, image: null };
  }
}

export function picture(id) {
  if (!loaded.has(id)) {
    const coming = load(id);
    coming.catch(() => loaded.delete(id));
    loaded.set(id, coming);
    for (const [old, promise] of loaded) {
      if (loaded.size <= KEPT) break;
      loaded.delete(old);
      promise.then(({ image }) => image && !image.isConnected && URL.revokeObjectURL(image.src), () => {});
    }
  } else {  // the latest used stay longest
    const known = loaded.get(id);
    loaded.delete(id);
    loaded.set(id, known);
  }
  return loaded.get(id);
}

export const forget = (id) => loaded.delete(id);
export const forgetAll = () => loaded.clear();

export async function values(id, fingerprint, slice = null) {
  const which = slice === null ? {} : { slice };
  const buffer = await (await bytes(`items/${id}/values`, { v: fingerprint, ...which })).arrayBuffer();
  if (!buffer.byteLength) return null;
  const HEAD = 64, head = new DataView(buffer, 0, HEAD);
  const [width, height] = [head.getUint32(0, true), head.getUint32(4, true)];
  const [offset, step, low, high, inverted, mm] = [8, 16, 24, 32, 40, 48].map((at) => head.getFloat64(at, true));
  const modality = new TextDecoder("ascii").decode(new Uint8Array(buffer, 56, 8)).replace(/\0/g, "");
  return { width, height, offset, step, low, high, inverted: inverted === 1, mm, modality, pixels: new Uint16Array(buffer, HEAD) };
}

export const thumbnailOf = ({ id, fingerprint }, side = 208) => `api/items/${id}/thumbnail?v=${fingerprint}&side=${side}`;
