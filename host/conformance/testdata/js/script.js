// The interpreter's own side: the lines of a script, and the answer's text.
// Values are strings of one character a byte until they are used.

const encoder = new TextEncoder();
const decoder = new TextDecoder();

const vars = new Map();

export function setVar(name, value) {
  if (name) vars.set(name, latin(value));
}

function latin(s) {
  return binary(encoder.encode(s));
}

function binary(bytes) {
  const parts = [];
  for (let i = 0; i < bytes.length; i += 8192) parts.push(String.fromCharCode(...bytes.subarray(i, i + 8192)));
  return parts.join('');
}

function unescape(s) {
  return s.replace(/%([0-9a-f]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
}

// field makes bytes of a value.
export function field(v) {
  const bytes = new Uint8Array(v.length);
  for (let i = 0; i < v.length; i++) bytes[i] = v.charCodeAt(i);
  return bytes;
}

// KEY=VALUE, KEY*N=VALUE (N times the value), KEY+N=VALUE (and N times x) or
// KEY$=VAR.
function parseField(s) {
  const at = s.indexOf('=');
  let key = s.slice(0, at);
  const value = s.slice(at + 1);
  if (key.endsWith('$')) return [key.slice(0, -1), vars.get(value)];
  const [, name, sign, n] = /^([^*+]*)([*+]?)(.*)$/.exec(key);
  const plain = unescape(value);
  return [name, sign === '*' ? plain.repeat(Number(n)) : sign === '+' ? plain + 'x'.repeat(Number(n)) : plain];
}

const textOf = (v) => decoder.decode(field(v));

// parse returns a function for each line: variables are looked up when it runs.
export function parse(payload) {
  return decoder.decode(payload).split('\n').map((text) => () => {
    const [name, op, ...rest] = text.split('\t');
    const fields = rest.map(parseField);
    const find = (key) => fields.find(([k]) => k === key)?.[1];
    return {
      name, op, fields,
      get: (key) => { const v = find(key); return v === undefined ? undefined : textOf(v); },
      bytes: (key) => { const v = find(key); return v === undefined ? undefined : field(v); },
    };
  });
}

export function all(line, key) {
  return line.fields.filter(([k]) => k === key).map(([, v]) => textOf(v));
}

const plain = (c) => c > 0x20 && c < 0x7f && c !== 0x25;

function escape(bytes) {
  let s = '';
  for (const c of bytes) s += plain(c) ? String.fromCharCode(c) : '%' + c.toString(16).padStart(2, '0');
  return s;
}

// A long value is told by its length, its FNV-1a sum and its last 8 bytes.
const long = 2048;

function sum(bytes) {
  let h = 2166136261;
  for (let i = 0; i < bytes.length; i++) h = Math.imul(h ^ bytes[i], 16777619);
  return `${bytes.length}:${(h >>> 0).toString(16).padStart(8, '0')}:${escape(bytes.subarray(-8))}`;
}

export function fields(pairs) {
  return pairs.map(([key, v]) => {
    const bytes = v instanceof Uint8Array ? v : encoder.encode(String(v));
    return bytes.length > long ? `${key}#=${sum(bytes)}` : `${key}=${escape(bytes)}`;
  });
}
