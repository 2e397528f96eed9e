// Numbers, times and sizes as text. Locale-free where digits must line up.

export function formatNumber(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "−inf";
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return minus(String(value));
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return minus(trimExponent(value.toExponential(3)));
  return minus(trimZeros(value.toPrecision(5)));
}

/** A round number at an axis: thousands and millions by their letter. */
export function formatTick(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e4 && size < 1e12) {
    const [unit, letter] = size >= 1e9 ? [1e9, "G"] : size >= 1e6 ? [1e6, "M"] : [1e3, "k"];
    return `${minus(String(Number((value / unit).toPrecision(6))))}${letter}`;
  }
  return formatNumber(Number(value.toPrecision(12)));
}

function minus(text: string): string {
  return text.replace(/^-/, "−");
}

function trimZeros(text: string): string {
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

function trimExponent(text: string): string {
  const [digits = "", exponent = ""] = text.split("e");
  return `${trimZeros(digits)}e${exponent.replace("+", "").replace("-", "−")}`;
}

/** All digits, for a tooltip or a copy. */
export function exactNumber(value: number): string {
  return String(value);
}

export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "";
  const sign = seconds < 0 ? "−" : "";
  const size = Math.abs(seconds);
  if (size < 10) return `${sign}${trimZeros(size.toFixed(1))}s`;
  if (size < 60) return `${sign}${Math.round(size)}s`;
  if (size < 3600) return `${sign}${Math.floor(size / 60)}m ${pad(Math.floor(size % 60))}s`;
  if (size < 86400) return `${sign}${Math.floor(size / 3600)}h ${pad(Math.floor((size % 3600) / 60))}m`;
  return `${sign}${Math.floor(size / 86400)}d ${pad(Math.floor((size % 86400) / 3600))}h`;
}

const pad = (value: number): string => String(value).padStart(2, "0");

/** Local time; files have UTC. */
export function formatTime(seconds: number): string {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return "";
  const day = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
  return `${day} ${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
}

export function formatSize(bytes: number): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}`;
}

export function formatCount(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+(?!\d))/g, " ");
}

/** The part of a run's path that tells it from others: its name without the folder of its experiment. */
export function shortId(id: string): string {
  const name = id.slice(id.lastIndexOf("/") + 1);
  return name || id;
}

/** One line of at most so many letters, for where a long text would cover others. */
export function clip(text: string, most: number): string {
  const line = text.replace(/\s+/g, " ");
  const letters = [...line];
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : line;
}
