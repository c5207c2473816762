// Builds the component: node build.mjs OUT, after npm ci.
import { componentize } from '@bytecodealliance/componentize-js';
import { cp, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2];

// A world of its own beside the host's interfaces, each a package in deps.
const wit = await mkdtemp(join(tmpdir(), 'conformance-wit-'));
try {
  for (const name of ['process-1.1.0', 'io-1.0.0', 'sys-1.0.0', 'ipc-1.0.0', 'guest-1.0.0']) {
    await mkdir(join(wit, 'deps', name), { recursive: true });
    await cp(join(here, '../../../wit', name + '.wit'), join(wit, 'deps', name, name + '.wit'));
  }
  await cp(join(here, 'world.wit'), join(wit, 'world.wit'));
  const { component } = await componentize({
    sourcePath: join(here, 'interpreter.js'), witPath: wit, worldName: 'interpreter',
    disableFeatures: ['stdio', 'random', 'clocks', 'http', 'fetch-event'],
  });
  await mkdir(dirname(out), { recursive: true });
  await writeFile(out + '.new', component);
  await rename(out + '.new', out);
} finally {
  await rm(wit, { recursive: true });
}
