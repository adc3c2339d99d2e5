/**
 * `npm run mutate [-- FRAGMENT… --root DIR]`: puts each bug of `tests/mutations` into a copy of the
 * tree, one at a time, and runs the tests that must notice it. First the same tests run on the
 * unchanged copy, for a test that always fails catches everything. The last line is
 * `N caught, N survived`; the exit code is 1 for a survivor and for a mutation that fits no more.
 */
import {
  cpSync,
  existsSync,
  globSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, resolve, sep } from 'node:path'
import { parseArgs } from 'node:util'
import { type Mutation, mutate, parseMutation } from './mutation.ts'
import type { FileReport } from './test-report.ts'
import { inParallel, runFile } from './test-run.ts'

const atOnce = 2
/** Not copied: heavy or of no use to a test. Dependencies are linked instead. */
const leftOut = ['.git', 'node_modules', 'dist', 'coverage', join('bench', 'out')]

type Verdict = 'caught' | 'survived' | 'stale'

/** A mutation that fits: with its test files found and the mutated text made. */
interface Ready {
  readonly mutation: Mutation
  readonly files: readonly string[]
  readonly mutated: string
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { root: { type: 'string', default: '.' } },
})
const root = resolve(values.root)
const work = mkdtempSync(join(tmpdir(), 'sluice-mutate-'))
const counts: Record<Verdict, number> = { caught: 0, survived: 0, stale: 0 }
try {
  process.exitCode = await main()
} finally {
  rmSync(work, { recursive: true, force: true })
}

async function main(): Promise<number> {
  const paths = globSync('tests/mutations/*.mutation', { cwd: root }).sort()
  const isChosen = (path: string): boolean =>
    positionals.some(part => basename(path).includes(part))
  const chosen = positionals.length === 0 ? paths : paths.filter(isChosen)
  if (chosen.length === 0) {
    console.error('no mutation has such a name in tests/mutations')
    return 1
  }
  const ready = chosen.flatMap(path => prepare(path) ?? [])
  const trees = Array.from({ length: Math.min(atOnce, ready.length) }, (_, lane) => copyTree(lane))
  if (!(await passUnchanged(ready, trees))) return 1

  await inParallel(ready, trees.length, async (one, lane) => {
    const started = performance.now()
    const [verdict, text] = await attempt(one, trees[lane] ?? work)
    const seconds = ((performance.now() - started) / 1000).toFixed(1)
    tell(one.mutation.name, verdict, `${text} (${seconds} s)`)
  })
  const stale = counts.stale > 0 ? `, ${String(counts.stale)} stale` : ''
  console.log(`\n${String(counts.caught)} caught, ${String(counts.survived)} survived${stale}`)
  return counts.survived + counts.stale > 0 ? 1 : 0
}

/** Reads a mutation and tries it on the text; a stale one is told and left out. */
function prepare(path: string): Ready | null {
  const name = basename(path, '.mutation')
  try {
    const mutation = parseMutation(name, readFileSync(join(root, path), 'utf8'))
    const files = mutation.tests.flatMap(pattern => {
      const found = globSync(pattern, { cwd: root }).sort()
      if (found.length === 0) throw new Error(`names tests that do not exist: ${pattern}`)
      return found
    })
    const target = join(root, mutation.file)
    if (!existsSync(target)) throw new Error(`is for ${mutation.file}, which does not exist`)
    return { mutation, files, mutated: mutate(readFileSync(target, 'utf8'), mutation) }
  } catch (error) {
    tell(name, 'stale', `STALE: it ${error instanceof Error ? error.message : String(error)}`)
    return null
  }
}

/** A tree of its own for each lane, so that two bugs never meet. */
function copyTree(lane: number): string {
  const tree = join(work, String(lane), 'tree')
  const isLeftOut = (path: string): boolean =>
    leftOut.some(name => path === join(root, name) || path.startsWith(join(root, name) + sep))
  cpSync(root, tree, { recursive: true, filter: path => !isLeftOut(path) })
  const modules = join(root, 'node_modules')
  if (existsSync(modules)) symlinkSync(modules, join(tree, 'node_modules'))
  return tree
}

/** Runs every test that will be used, without any bug; each must pass, and something must run. */
async function passUnchanged(ready: readonly Ready[], trees: readonly string[]): Promise<boolean> {
  const runs = new Map<string, { file: string; env: Mutation['env'] }>()
  for (const { files, mutation } of ready) {
    for (const file of files) {
      runs.set(`${file} ${JSON.stringify(mutation.env)}`, { file, env: mutation.env })
    }
  }
  let isGood = true
  await inParallel([...runs.values()], trees.length, async ({ file, env }, lane) => {
    const report = await runFile(file, { cwd: trees[lane] ?? work, testTimeoutMs: 120_000, env })
    const { passed, failed } = report.totals()
    if (failed === 0 && passed > 0) return
    isGood = false
    console.log(`${report.text()}\nwithout any mutation ${file} must pass, and not be skipped`)
  })
  if (isGood) console.log(`unchanged: ${String(runs.size)} of ${String(runs.size)} test files pass`)
  return isGood
}

async function attempt(one: Ready, tree: string): Promise<[Verdict, string]> {
  const { mutation, files, mutated } = one
  const target = join(tree, mutation.file)
  const original = readFileSync(target, 'utf8')
  writeFileSync(target, mutated)
  try {
    for (const file of files) {
      const { env, timeoutMs: testTimeoutMs } = mutation
      const report = await runFile(file, { cwd: tree, testTimeoutMs, env, bail: true })
      if (report.totals().failed > 0) return judge(report, mutation)
    }
    return ['survived', `SURVIVED: ${mutation.what}`]
  } finally {
    writeFileSync(target, original)
  }
}

/** What a failing file says about the mutation. */
function judge(report: FileReport, { mayHang, file }: Mutation): [Verdict, string] {
  if (report.failsToLoad()) return ['stale', `STALE: with it ${file} cannot be loaded`]
  const failed = report.results.find(result => result.outcome === 'failed')
  const isHang = report.isStalled || failed?.isTimeout === true
  const by = failed?.name ?? `${report.file}, which ${report.ownFailure ?? ''}`
  if (isHang && !mayHang) return ['survived', `SURVIVED: only a timeout noticed it, in ${by}`]
  return ['caught', `caught by ${by}`]
}

function tell(name: string, verdict: Verdict, text: string): void {
  counts[verdict] += 1
  console.log(`${name}: ${text}`)
}
