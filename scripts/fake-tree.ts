/** For the tests of the scripts: small trees on disk, and scripts run on them as a user would. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

export interface FakeTree extends Disposable {
  readonly path: string
}

/** Writes the files, given as path -> text, to a new directory that goes away at disposal. */
export function fakeTree(files: Readonly<Record<string, string>>): FakeTree {
  const path = mkdtempSync(join(tmpdir(), 'sluice-fake-'))
  const all = { 'package.json': '{ "type": "module" }', ...files }
  for (const [name, text] of Object.entries(all)) {
    mkdirSync(dirname(join(path, name)), { recursive: true })
    writeFileSync(join(path, name), text)
  }
  return {
    path,
    [Symbol.dispose]: () => {
      rmSync(path, { recursive: true, force: true })
    },
  }
}

/** Runs a script of this folder with `tree` as its working directory. */
export function runScript(
  tree: FakeTree,
  script: string,
  args: readonly string[] = [],
): { status: number | null; lines: string[] } {
  // Without this variable the script does not take itself for a test of ours.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  const run = spawnSync(process.execPath, [join(import.meta.dirname, script), ...args], {
    cwd: tree.path,
    env,
    encoding: 'utf8',
  })
  return { status: run.status, lines: `${run.stdout}${run.stderr}`.trimEnd().split('\n') }
}
