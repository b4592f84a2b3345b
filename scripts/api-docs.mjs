/**
 * `pnpm docs`: the API site, in docs/api. One module for each entry point of each public package, under the specifier
 * that users import. All sources are one program, so links between packages work. Answers the number of warnings.
 */
import { join } from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { Application, Converter, ReflectionKind } from 'typedoc';
import { entryPoints, readPackages, root } from './workspace.mjs';

export async function buildApiDocs() {
  /** @type {Map<string, string>} specifier of each entry file */
  const specifiers = new Map();
  for (const pkg of readPackages()) {
    if (pkg.private) continue;
    for (const { specifier, target } of entryPoints(pkg))
      specifiers.set(join(pkg.path, target['halftone-source']), specifier);
  }
  const app = await Application.bootstrap({
    name: 'Halftone',
    entryPoints: [...specifiers.keys()],
    tsconfig: join(root, 'scripts', 'tsconfig.json'),
    out: join(root, 'docs', 'api'),
    readme: 'none',
    excludeInternal: true,
    excludePrivate: true,
    disableSources: true,
    sort: ['source-order'],
    navigation: { includeCategories: false, includeGroups: false },
    logLevel: 'Warn',
    // The program holds tests and scripts too; `npm test` checks their types.
    skipErrorChecking: true,
  });
  app.converter.on(Converter.EVENT_CREATE_DECLARATION, (_context, reflection) => {
    if (!reflection.kindOf(ReflectionKind.Module)) return;
    const file = reflection.project.files.getReflectionPath(reflection);
    if (file !== undefined) reflection.name = specifiers.get(file) ?? reflection.name;
  });
  const project = await app.convert();
  if (project) {
    app.validate(project);
    await app.generateOutputs(project);
  }
  return { ok: project !== undefined && !app.logger.hasErrors() && !app.logger.hasWarnings() };
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { ok } = await buildApiDocs();
  process.exitCode = ok ? 0 : 1;
}
