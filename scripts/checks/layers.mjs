/**
 * Holds every import of packages/&#42;/{src,test,bench} against the layer table, and finds undeclared and unused
 * dependencies, imports that reach into another package's folder, Node modules in browser code, and import cycles.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, relative, sep } from 'node:path';
import ts from 'typescript';
import { LAYERS } from '../layers.mjs';
import { entryPoints, readPackages, root } from '../workspace.mjs';

/** @typedef {{ specifier: string, typeOnly: boolean, line: number }} Import */

const builtins = new Set(builtinModules);

/** @returns {Promise<import('./check.mjs').CheckResult>} */
export async function checkLayers() {
  const packages = readPackages();
  const rootManifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  /** @type {string[]} */
  const problems = [];
  let files = 0;

  for (const pkg of packages) {
    const place = LAYERS[pkg.folder];
    if (!place) {
      problems.push(`packages/${pkg.folder}: not in the layer table (scripts/layers.mjs)`);
      continue;
    }
    const runtime = {
      ...pkg.manifest.dependencies,
      ...pkg.manifest.peerDependencies,
      ...pkg.manifest.optionalDependencies,
    };
    const development = { ...runtime, ...pkg.manifest.devDependencies, ...rootManifest.devDependencies };
    /** @type {Map<string, Import[]>} */
    const sources = new Map();
    const used = new Set();

    for (const file of ['src', 'test', 'bench'].flatMap((folder) => typescriptFiles(join(pkg.path, folder)))) {
      files++;
      const inSource = file.startsWith(join(pkg.path, 'src') + sep);
      const imports = importsOf(file);
      if (inSource) sources.set(file, imports);
      for (const { specifier, line } of imports) {
        /** @param {string} message */
        const report = (message) => problems.push(`${relative(root, file)}:${line}: '${specifier}' ${message}`);
        if (specifier.startsWith('.')) {
          const target = join(dirname(file), specifier);
          if (!target.startsWith(pkg.path + sep)) report('reaches into another package; import it by name');
          else if (!existsSync(target) && !existsSync(target.replace(/\.js$/, '.ts'))) report('does not exist');
          else if (inSource && !target.startsWith(join(pkg.path, 'src') + sep) && !target.endsWith('.json')) {
            report('leaves src/');
          }
          continue;
        }
        if (builtins.has(specifier)) report(`is a Node module; write 'node:${specifier}'`);
        if (specifier.startsWith('node:')) continue;
        const name = packageName(specifier);
        used.add(name);
        if (name === pkg.name) {
          if (inSource) report('is this package itself; import the file');
          continue;
        }
        if (!(name in (inSource ? runtime : development))) {
          report(`is not in ${inSource ? 'dependencies' : 'devDependencies'} of ${pkg.name}`);
        }
        const other = packages.find((candidate) => candidate.name === name);
        if (!other) continue;
        if (!entryPointExists(other, specifier)) report(`is no entry point of ${name} (see its "exports")`);
        if (inSource && (LAYERS[other.folder]?.layer ?? Infinity) >= place.layer) {
          report(
            `breaks the layers: ${pkg.folder} is in layer ${place.layer}, ${other.folder} in ${LAYERS[other.folder]?.layer}`,
          );
        }
      }
    }

    // A package may provide what those it uses ask for as peers.
    const peers = packages
      .filter(({ name }) => used.has(name))
      .flatMap(({ manifest }) => Object.keys(manifest.peerDependencies ?? {}));
    for (const name of Object.keys(pkg.manifest.dependencies ?? {})) {
      if (!used.has(name) && !peers.includes(name))
        problems.push(`packages/${pkg.folder}/package.json: dependency ${name} is never imported`);
    }
    problems.push(
      ...cycles(sources).map((cycle) => `import cycle: ${cycle.map((file) => relative(root, file)).join(' -> ')}`),
    );
    if (place.platform === 'any') {
      for (const { specifier, target } of entryPoints(pkg)) {
        if (['node', ...(place.nodeEntries ?? [])].some((name) => specifier.endsWith(`/${name}`))) continue;
        const entry = join(pkg.path, target['halftone-source'] ?? '');
        for (const file of reachable(entry, sources)) {
          const node = sources.get(file)?.find((item) => item.specifier.startsWith('node:') && !item.typeOnly);
          if (node) {
            problems.push(
              `${relative(root, file)}:${node.line}: '${node.specifier}' is reached from ${specifier}, which browsers load`,
            );
          }
        }
      }
    }
  }
  const unique = [...new Set(problems)];
  return { ok: unique.length === 0, output: unique.join('\n'), note: `${files} files` };
}

/** @param {string} folder @returns {string[]} */
function typescriptFiles(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.m?ts$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name));
}

/** Static, dynamic and type imports, and re-exports. @param {string} file @returns {Import[]} */
function importsOf(file) {
  const text = readFileSync(file, 'utf8');
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  /** @type {Import[]} */
  const found = [];
  /** @param {ts.Node | undefined} specifier @param {boolean} typeOnly */
  const add = (specifier, typeOnly) => {
    if (!specifier || !ts.isStringLiteralLike(specifier)) return;
    const { line } = source.getLineAndCharacterOfPosition(specifier.getStart(source));
    found.push({ specifier: specifier.text, typeOnly, line: line + 1 });
  };
  /** @param {ts.Node} node */
  const visit = (node) => {
    if (ts.isImportDeclaration(node)) {
      const named = node.importClause?.namedBindings;
      const allTypes =
        !node.importClause?.name &&
        named &&
        ts.isNamedImports(named) &&
        named.elements.length > 0 &&
        named.elements.every((item) => item.isTypeOnly);
      add(node.moduleSpecifier, node.importClause?.isTypeOnly === true || allTypes === true);
    } else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) add(node.argument.literal, true);
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      add(node.arguments[0], false);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** @param {string} specifier */
function packageName(specifier) {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

/** @param {import('../workspace.mjs').Package} pkg @param {string} specifier */
function entryPointExists(pkg, specifier) {
  const key = `.${specifier.slice(pkg.name.length)}`;
  return Object.keys(pkg.manifest.exports ?? {}).some(
    (pattern) => pattern === key || (pattern.endsWith('*') && key.startsWith(pattern.slice(0, -1))),
  );
}

/** @param {string} file @param {Import} item */
function resolveRelative(file, item) {
  return join(dirname(file), item.specifier).replace(/\.js$/, '.ts');
}

/** Files that run when `entry` is imported. @param {string} entry @param {Map<string, Import[]>} sources */
function reachable(entry, sources) {
  const seen = new Set([entry]);
  for (const file of seen) {
    for (const item of sources.get(file) ?? []) {
      if (item.specifier.startsWith('.') && !item.typeOnly) seen.add(resolveRelative(file, item));
    }
  }
  return seen;
}

/** Cycles of imports that exist at run time. @param {Map<string, Import[]>} sources @returns {string[][]} */
function cycles(sources) {
  /** @type {string[][]} */
  const found = [];
  /** @type {Map<string, 'open' | 'done'>} */
  const state = new Map();
  /** @type {string[]} */
  const path = [];
  /** @param {string} file */
  const visit = (file) => {
    if (state.get(file) === 'done') return;
    if (state.get(file) === 'open') {
      found.push([...path.slice(path.indexOf(file)), file]);
      return;
    }
    state.set(file, 'open');
    path.push(file);
    for (const item of sources.get(file) ?? []) {
      if (item.specifier.startsWith('.') && !item.typeOnly) visit(resolveRelative(file, item));
    }
    path.pop();
    state.set(file, 'done');
  };
  for (const file of sources.keys()) visit(file);
  return found;
}
