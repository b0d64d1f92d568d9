// Bundles src/ into dist/ (or the folder named on the command line). The result is committed: running needs no node.
import {copyFile, mkdir} from 'node:fs/promises';
import {build} from 'esbuild';

const out = process.argv[2] ?? 'dist';
const common = {bundle: true, minify: true, target: 'es2022', charset: 'utf8', legalComments: 'inline', logLevel: 'warning'};

await mkdir(out, {recursive: true});
await build({...common, entryPoints: ['src/index.js'], format: 'iife', outfile: `${out}/chengmai.js`});
// three.js is loaded only by a city that has building models.
await build({...common, entryPoints: ['src/models/scene.js'], format: 'esm', outfile: `${out}/models.js`});
await build({
  ...common,
  entryPoints: ['node_modules/maplibre-gl/dist/maplibre-gl-worker.mjs'],
  format: 'iife',
  outfile: `${out}/maplibre-worker.js`,
});
await copyFile('node_modules/maplibre-gl/dist/maplibre-gl.css', `${out}/maplibre-gl.css`);
