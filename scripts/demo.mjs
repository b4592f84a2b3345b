/** `npm run demo`: makes the workspace ready, then runs the demo that the command line package ships. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import process from 'node:process';
import { bootstrap, root } from './bootstrap.mjs';

await bootstrap();
const demo = join(root, 'packages', 'cli', 'dist', 'demo.js');
const child = spawn(process.execPath, [demo, ...process.argv.slice(2)], { cwd: root, stdio: 'inherit' });
child.on('close', (code) => {
  process.exitCode = code ?? 1;
});
