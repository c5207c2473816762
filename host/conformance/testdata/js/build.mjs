// Builds the component: node build.mjs OUT, after npm ci.
import { componentize } from '@bytecodealliance/componentize-js';
import { cp, mkdir, mkdtemp, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2];

// A world of its own beside the host's interfaces, each a package in deps.
const wit = await mkdtemp(join(tmpdir(), 'conformance-wit-'));
try {
  const host = join(here, '../../../wit');
  for (const file of await readdir(host)) {
    await mkdir(join(wit, 'deps', file.replace('.wit', '')), { recursive: true });
    await cp(join(host, file), join(wit, 'deps', file.replace('.wit', ''), file));
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
