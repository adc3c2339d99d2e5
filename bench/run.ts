/**
 * `npm run bench`: measures, and prints a table for each question. `--only NAME` runs the benchmarks
 * with NAME in their name, `--runs 5` says how often everything is measured, `--seconds 2` how long each
 * time, `--json FILE` where the numbers go beside the tables, `--profile FOLDER` where Sluice's processor
 * profiles go. Peers are measured where they are on this machine: XRAY_BIN or xray, sing-box, haproxy, go.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, release, tmpdir, totalmem } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { flowOverhead } from './flow-overhead.ts'
import type { Bench, Settings } from './harness/bench.ts'
import { findRelays } from './harness/relays.ts'
import { type Report, tableText } from './harness/report.ts'
import { plainForward } from './plain-forward.ts'
import { socksFreedom } from './socks-freedom.ts'

const benches: readonly Bench[] = [flowOverhead, plainForward, socksFreedom]

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    runs: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '2' },
    json: { type: 'string' },
    profile: { type: 'string' },
    quiet: { type: 'boolean', default: false },
  },
})

const chosen = benches.filter(bench => bench.name.includes(values.only))
if (chosen.length === 0) {
  console.error(`no benchmark has "${values.only}" in its name: ${benches.map(nameOf).join(', ')}`)
  process.exit(1)
}

const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-'))
const settings: Settings = {
  runs: positive('runs', values.runs),
  seconds: positive('seconds', values.seconds),
  folder,
  profileFolder: values.profile === undefined ? null : resolve(values.profile),
  say: text => {
    if (!values.quiet) console.error(text)
  },
}
const machine = {
  date: new Date().toISOString().slice(0, 10),
  processors: availableParallelism(),
  model: cpus()[0]?.model ?? 'unknown',
  memoryGb: Math.round(totalmem() / 2 ** 30),
  kernel: `${process.platform} ${release()} ${process.arch}`,
  runs: settings.runs,
  seconds: settings.seconds,
  commit: commit(),
}

try {
  const versions = findRelays(folder).present.map(({ name, version }) => `${name} ${version}`)
  console.log(
    Object.entries({ ...machine, versions: versions.join(', ') })
      .map(pairText)
      .join('\n'),
  )
  const reports: Report[] = []
  for (const bench of chosen) {
    const report = await bench.run(settings)
    reports.push(report)
    console.log(`\n## ${bench.name}\n\n${report.tables.map(tableText).join('\n')}`)
    for (const text of report.absent) console.log(`not measured: ${text}`)
  }
  write({ machine, versions, reports })
} finally {
  rmSync(folder, { recursive: true, force: true })
}

function nameOf(bench: Bench): string {
  return bench.name
}

function pairText([name, value]: readonly [string, unknown]): string {
  return `- ${name}: ${String(value)}`
}

function write(result: unknown): void {
  const named = `out/${chosen.length === benches.length ? 'all' : chosen.map(nameOf).join('-')}.json`
  const file = values.json ?? fileURLToPath(new URL(named, import.meta.url))
  mkdirSync(dirname(resolve(file)), { recursive: true })
  writeFileSync(file, `${JSON.stringify(result, null, 2)}\n`)
}

function commit(): string {
  try {
    const text = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' })
    return text.trim()
  } catch {
    return 'unknown'
  }
}

function positive(name: string, text: string): number {
  const value = Number(text)
  if (value > 0) return value
  console.error(`--${name} takes a number above 0, not "${text}"`)
  process.exit(1)
}
