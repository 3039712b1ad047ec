/** Terminal colours in a line of output, as pieces with class names; other escapes are dropped. */

export interface Piece {
  text: string;
  /** Class names, "" for plain text. */
  style: string;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with one.
const ESCAPE = /\u001b(?:\[([0-9;:?]*)([ -/]*[@-~])|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\-_])/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is dropped.
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f]/g;
const COLOURS = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];

interface Style {
  colour: string;
  bold: boolean;
  dim: boolean;
  italic: boolean;
  underline: boolean;
}

const PLAIN: Style = { colour: "", bold: false, dim: false, italic: false, underline: false };

export function ansiPieces(line: string): Piece[] {
  if (!line.includes("\u001b")) return [{ text: clean(line), style: "" }];
  const pieces: Piece[] = [];
  let style = PLAIN;
  let from = 0;
  const add = (text: string) => {
    if (text) pieces.push({ text: clean(text), style: classes(style) });
  };
  for (const match of line.matchAll(ESCAPE)) {
    add(line.slice(from, match.index));
    from = match.index + match[0].length;
    if (match[2] === "m") style = restyle(style, match[1] ?? "");
  }
  add(line.slice(from));
  return pieces;
}

export function plainText(line: string): string {
  return clean(line.replace(ESCAPE, ""));
}

function clean(text: string): string {
  // A progress bar rewrites its line by carriage returns: what a terminal would show is the last writing.
  const cut = text.replace(/\r+$/, "").lastIndexOf("\r");
  return (cut < 0 ? text : text.slice(cut + 1)).replace(CONTROL, "");
}

function classes(style: Style): string {
  const names = [style.colour && `ansi-${style.colour}`];
  for (const flag of ["bold", "dim", "italic", "underline"] as const) if (style[flag]) names.push(`ansi-${flag}`);
  return names.filter(Boolean).join(" ");
}

function restyle(style: Style, parameters: string): Style {
  const codes = parameters.split(/[;:]/).map(Number);
  let next = { ...style };
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i] ?? 0;
    if (code === 38 || code === 48) {
      i += codes[i + 1] === 5 ? 2 : 4;
    } else {
      next = applied(next, code);
    }
  }
  return next;
}

function applied(style: Style, code: number): Style {
  if (code === 0) return PLAIN;
  if (code === 1) return { ...style, bold: true };
  if (code === 2) return { ...style, dim: true };
  if (code === 3) return { ...style, italic: true };
  if (code === 4) return { ...style, underline: true };
  if (code === 22) return { ...style, bold: false, dim: false };
  if (code === 23) return { ...style, italic: false };
  if (code === 24) return { ...style, underline: false };
  if (code === 39) return { ...style, colour: "" };
  const base = code >= 90 && code <= 97 ? code - 90 : code - 30;
  return base >= 0 && base < 8 ? { ...style, colour: COLOURS[base] ?? "" } : style;
}
