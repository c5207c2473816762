// The interpreter's own side: the lines of a script, and the answer's text.

const encoder = new TextEncoder();
const decoder = new TextDecoder();

const vars = new Map();

export function setVar(name, value) {
  if (name) vars.set(name, encoder.encode(value));
}

function unescape(s) {
  return s.replace(/%([0-9a-f]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
}

// bytes makes bytes of a string of one character a byte.
function bytes(s) {
  return Uint8Array.from(s, (c) => c.charCodeAt(0));
}

// Long values are made by the engine's own loops: this one is interpreted.
function repeat(b, times) {
  const all = new Uint8Array(b.length * times);
  for (let at = 0; at < all.length; at += b.length) all.set(b, at);
  return b.length === 1 ? all.fill(b[0]) : all;
}

function pad(b, n) {
  const all = new Uint8Array(b.length + n).fill(0x78);
  all.set(b);
  return all;
}

// KEY=VALUE, KEY*N=VALUE (N times the value), KEY+N=VALUE (and N times x) or
// KEY$=VAR.
function parseField(s) {
  const at = s.indexOf('=');
  const value = s.slice(at + 1);
  const [, key, sign, n] = /^([^*+$]*)([*+$]?)(.*)$/.exec(s.slice(0, at));
  if (sign === '$') return [key, vars.get(value)];
  const plain = bytes(unescape(value));
  return [key, sign === '*' ? repeat(plain, Number(n)) : sign === '+' ? pad(plain, Number(n)) : plain];
}

// parse returns a function for each line: variables are looked up when it runs.
export function parse(payload) {
  return decoder.decode(payload).split('\n').map((text) => () => {
    const [name, op, ...rest] = text.split('\t');
    const fields = rest.map(parseField);
    const find = (key) => fields.find(([k]) => k === key)?.[1];
    return {
      name, op, fields,
      get: (key) => { const v = find(key); return v && decoder.decode(v); },
      bytes: find,
    };
  });
}

export function all(line, key) {
  return line.fields.filter(([k]) => k === key).map(([, v]) => decoder.decode(v));
}

// cut splits NAME=CONTENT.
export function cut(v) {
  const at = v.indexOf(0x3d);
  return [decoder.decode(v.subarray(0, at)), v.subarray(at + 1)];
}

const plain = (c) => c > 0x20 && c < 0x7f && c !== 0x25;

function escape(bytes) {
  let s = '';
  for (const c of bytes) s += plain(c) ? String.fromCharCode(c) : '%' + c.toString(16).padStart(2, '0');
  return s;
}

// A long value is told by its length, the FNV-1a sum of bytes spread over it,
// and its last 8 bytes.
const long = 2048;

function sum(bytes) {
  let h = 2166136261;
  const step = Math.floor(bytes.length / long);
  for (let i = 0; i < bytes.length; i += step) h = Math.imul(h ^ bytes[i], 16777619);
  return `${bytes.length}:${(h >>> 0).toString(16).padStart(8, '0')}:${escape(bytes.subarray(-8))}`;
}

export function fields(pairs) {
  return pairs.map(([key, v]) => {
    const bytes = typeof v === 'object' ? Uint8Array.from(v) : encoder.encode(String(v));
    return bytes.length > long ? `${key}#=${sum(bytes)}` : `${key}=${escape(bytes)}`;
  });
}
