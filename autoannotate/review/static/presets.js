// Windows to choose from, by modality: in Hounsfield units for CT, by the picture's own values else. What is chosen is kept
// for the next picture of the same modality.

const HOUNSFIELD = [["soft tissue", 400, 40], ["lung", 1500, -600], ["bone", 2000, 500], ["brain", 80, 40], ["liver", 150, 70], ["mediastinum", 350, 50]];
const SHARES = [["1 – 99%", 0.01], ["5 – 95%", 0.05]];  // of the pixels that lie outside, on either side
const chosen = new Map();  // by modality: the name, or the two values of a window of one's own

export const names = (deep) => ["as stored", ...(deep.modality === "CT" ? HOUNSFIELD : SHARES).map(([name]) => name), "whole range"];

export function range(deep, name) {  // the values that are black and white
  const [least, most] = ends(deep, 0);
  const fixed = HOUNSFIELD.find((one) => one[0] === name);
  if (deep.modality === "CT" && fixed) return [fixed[2] - fixed[1] / 2, fixed[2] + fixed[1] / 2];
  const share = SHARES.find((one) => one[0] === name);
  if (share) return ends(deep, share[1]);
  return name === "whole range" ? [least, most] : [deep.low, deep.high];
}

function ends(deep, share) {
  const counts = new Uint32Array(65536);
  for (const v of deep.pixels) counts[v] += 1;
  const outside = share * deep.pixels.length;
  let low = 0, high = 65535;
  for (let sum = counts[0]; sum <= outside && low < 65535; sum += counts[low]) low += 1;
  for (let sum = counts[65535]; sum <= outside && high > low; sum += counts[high]) high -= 1;
  return [deep.offset + low * deep.step, deep.offset + Math.max(high, low + 1) * deep.step];
}

export const keep = (deep, choice) => { chosen.set(deep.modality, choice); };
export const any = () => chosen.size > 0;
export const kept = (deep) => {
  const choice = chosen.get(deep.modality);
  return Array.isArray(choice) && deep.modality !== "CT" ? undefined : choice;  // other modalities have no common units
};
