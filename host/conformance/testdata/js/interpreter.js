// A capsule that does what a script says, one call of the contract a line, and
// answers with what it got, one line each: the twin of ../c/interp.c, in
// JavaScript, with bindings that componentize-js generates.
import * as process from 'astrid:process/host@1.1.0';
import { poll } from 'astrid:io/poll@1.0.0';
import * as sys from 'astrid:sys/host@1.0.0';
import * as ipc from 'astrid:ipc/host@1.0.0';
import { all, cut, fields, parse, setVar } from './script.js';

const handles = new Map();
let lastHandle = 0;

function keep(line, object) {
  handles.set(String(++lastHandle), object);
  return value(line, 'handle', String(lastHandle));
}

function value(line, key, v) {
  setVar(line.name, v);
  return [[key, v]];
}

const handle = (line, key = 'h') => handles.get(line.get(key));

function drop(line, key) {
  handle(line, key)[Symbol.dispose]();
  handles.delete(line.get(key));
  return [];
}

const number = (v) => (v === undefined ? undefined : Number(v));
const big = (v) => (v === undefined ? undefined : BigInt(v));

function exit(e) {
  if (!e) return '-';
  const parts = [];
  if (e.exitCode !== undefined) parts.push(`code:${e.exitCode}`);
  if (e.signal !== undefined) parts.push(`signal:${e.signal}`);
  return parts.join(',') || 'none';
}

function limits(line) {
  const l = {
    maxMemoryBytes: big(line.get('mem')), maxCpuSecs: big(line.get('cpu')),
    maxPids: number(line.get('pids')), maxOpenFiles: number(line.get('files')),
  };
  return Object.values(l).some((v) => v !== undefined) ? l : undefined;
}

function injections(line) {
  const found = [];
  for (const [key, v] of line.fields) {
    if (key !== 'file-env' && key !== 'file-path') continue;
    const [where, content] = cut(v);
    found.push({ content, placement: { tag: key === 'file-env' ? 'env-pointer' : 'fixed-path', val: where } });
  }
  return found;
}

function request(line) {
  const keep = line.get('keep-stdin-open');
  return {
    cmd: line.get('cmd') ?? '', args: all(line, 'arg'),
    stdin: line.bytes('stdin'),
    env: all(line, 'env').map((e) => { const at = e.indexOf('='); return { key: e.slice(0, at), value: e.slice(at + 1) }; }),
    cwd: line.get('cwd'), limits: limits(line), fileInjections: injections(line),
    label: line.get('label'), keepStdinOpen: keep === undefined ? undefined : keep === 'true', overflow: line.get('overflow'),
    logRingBytes: number(line.get('log-ring-bytes')), maxLifetimeMs: big(line.get('max-lifetime-ms')),
    idleTimeoutMs: big(line.get('idle-timeout-ms')), exitRetentionMs: big(line.get('exit-retention-ms')),
  };
}

const result = (r) => [['stdout', r.stdout], ['stderr', r.stderr], ['exit', exit(r.exit)]];
const logs = (r) => [['stdout', r.stdout], ['stderr', r.stderr], ['running', r.running], ['exit', exit(r.exit)]];
const ended = (e) => [['exit', exit(e)]];
const nothing = () => [];
const maybe = (v) => v ?? '-';

const info = (i) => [
  ['id', i.id], ['label', i.label], ['command', i.command], ['os-pid', maybe(i.osPid)], ['phase', i.phase], ['exit', exit(i.exit)],
  ['age-ms', i.ageMs], ['idle-ms', i.idleMs], ['buffered-bytes', i.bufferedBytes], ['bytes-dropped', i.bytesDropped],
  ['stdin-open', i.stdinOpen], ['cpu-ms', maybe(i.cpuMs)], ['mem-bytes-peak', maybe(i.memBytesPeak)],
];
const infos = (list) => list.flatMap((i) => [['item', ''], ...info(i)]);

function chunk(line, c) {
  const next = c.next.token;
  return [
    ['data', c.data], ...(next === undefined ? [['next', '-']] : value(line, 'next', next)),
    ['dropped', c.bytesDropped], ['eof', c.drainedEof],
  ];
}

function envelope(e) {
  const items = e.messages.flatMap((m) => [
    ['item', ''], ['topic', m.topic], ['payload', m.payload], ['source', m.sourceId], ['by', m.principal.tag],
    ...(m.principal.tag === 'system' ? [] : [['principal', m.principal.val]]),
  ]);
  return [['dropped', e.dropped], ['lagged', e.lagged], ...items];
}

function monotonic() {
  const a = sys.clockMonotonicNs(), b = sys.clockMonotonicNs();
  return [['forward', a <= b && b - a < 60000000000n]];
}

function slept(ns) {
  const began = sys.clockMonotonicNs();
  sys.sleepNs(ns);
  return [['slept', sys.clockMonotonicNs() - began >= ns]];
}

let calls = 0;

const ops = {
  'spawn': (l) => result(process.spawn(request(l))),
  'spawn-background': (l) => keep(l, process.spawnBackground(request(l))),
  'h.read-logs': (l) => logs(handle(l).readLogs()),
  'h.write-stdin': (l) => [['n', handle(l).writeStdin(l.bytes('data'))]],
  'h.close-stdin': (l) => nothing(handle(l).closeStdin()),
  'h.signal': (l) => nothing(handle(l).signal(l.get('sig'))),
  'h.kill': (l) => { const k = handle(l).kill(); return [['killed', k.killed], ['exit', exit(k.exit)], ['stdout', k.stdout], ['stderr', k.stderr]]; },
  'h.wait': (l) => ended(handle(l).wait(big(l.get('ms')))),
  'h.wait-with-output': (l) => result(handle(l).waitWithOutput(big(l.get('ms')))),
  'h.os-pid': (l) => [['pid', handle(l).osPid()]],
  'h.subscribe-exit': (l) => keep(l, handle(l).subscribeExit()),
  'h.subscribe-logs': (l) => keep(l, handle(l).subscribeLogs()),
  'h.drop': (l) => drop(l, 'h'),

  'p.ready': (l) => [['ready', handle(l, 'p').ready()]],
  'p.block': (l) => nothing(handle(l, 'p').block()),
  'poll': (l) => [...poll(all(l, 'p').map((p) => handles.get(p)))].map((i) => ['i', i]),
  'p.drop': (l) => drop(l, 'p'),

  'spawn-persistent': (l) => value(l, 'id', process.spawnPersistent(request(l))),
  'attach': (l) => keep(l, process.attach(l.get('id'))),
  'list-processes': (l) => infos(process.listProcesses(l.get('label'))),
  'status': (l) => info(process.status(l.get('id'))),
  'status-many': (l) => infos(process.statusMany(all(l, 'id'))),
  'read-logs': (l) => logs(process.readLogs(l.get('id'))),
  'read-since': (l) => chunk(l, process.readSince(l.get('id'), l.get('stream'), { token: l.get('cursor') }, number(l.get('max')))),
  'write-stdin': (l) => [['n', process.writeStdin(l.get('id'), l.bytes('data'))]],
  'close-stdin': (l) => nothing(process.closeStdin(l.get('id'))),
  'signal': (l) => nothing(process.signal(l.get('id'), l.get('sig'))),
  'wait': (l) => ended(process.wait(l.get('id'), big(l.get('ms')))),
  'stop': (l) => ended(process.stop(l.get('id'), big(l.get('grace')))),
  'release-process': (l) => nothing(process.releaseProcess(l.get('id'))),
  'watch': (l) => nothing(process.watch(l.get('id'), l.get('suffix'))),
  'unwatch': (l) => nothing(process.unwatch(l.get('id'))),

  'get-config': (l) => [['value', maybe(sys.getConfig(l.get('key')))]],
  'get-caller': () => { const c = sys.getCaller(); return [['principal', maybe(c.principal)], ['source-id', c.sourceId], ['timestamp', c.timestamp]]; },
  'log': (l) => nothing(sys.log(l.get('level'), l.get('message'))),
  'signal-ready': () => nothing(sys.signalReady()),
  'clock-ms': () => [['clock', sys.clockMs()]],
  'clock-monotonic-ns': monotonic,
  'sleep-ns': (l) => slept(big(l.get('ns'))),
  'random-bytes': (l) => [['n', sys.randomBytes(big(l.get('n'))).length]],
  'check-capsule-capability': (l) => [['allowed', sys.checkCapsuleCapability({ sourceUuid: l.get('source'), capability: l.get('capability') }).allowed]],
  'enumerate-capabilities': () => sys.enumerateCapabilities().map((c) => ['capability', c]),

  'publish': (l) => nothing(ipc.publish(l.get('topic'), l.get('payload'))),
  'publish-as': (l) => nothing(ipc.publishAs(l.get('topic'), l.get('payload'), l.get('as'))),
  'subscribe': (l) => keep(l, ipc.subscribe(l.get('topic'))),
  's.poll': (l) => envelope(handle(l, 's').poll()),
  's.recv': (l) => envelope(handle(l, 's').recv(big(l.get('ms')))),
  's.subscribe-readiness': (l) => keep(l, handle(l, 's').subscribeReadiness()),
  's.drop': (l) => drop(l, 's'),
  'get-interceptor-bindings': () => ipc.getInterceptorBindings().flatMap((b) => [['item', ''], ['action', b.action], ['topic', b.topic]]),

  'count': () => [['calls', ++calls]],
  'spin': () => { for (;;); },
  'trap': () => { throw new Error('told to trap'); },
};

// A result's error is thrown, as an object with what the host said. Anything
// else that is thrown is a fault of this guest, and traps.
function run(line) {
  if (!ops[line.op]) return 'no such op';
  let got;
  try {
    got = ops[line.op](line);
  } catch (e) {
    const said = e.payload;
    if (said === undefined) throw e;
    const tag = said.tag ?? said;
    return ['error', tag, ...(tag === 'unknown' ? fields([['text', said.val]]) : [])].join('\t');
  }
  return ['ok', ...fields(got)].join('\t');
}

export function astridHookTrigger(action, payload) {
  const data = parse(payload).map((text) => run(text()) + '\n').join('');
  return { action: 'continue', data };
}
