/**
 * `npm test [-- FRAGMENT… --list --repeat K --slow N --timeout S]`: runs the test files whose path
 * contains one of the fragments (all without one), two at a time, each in its own process. The
 * last line is `N passed, N failed[, N skipped]`; the exit code is 1 unless something ran and
 * nothing failed.
 */
import { globSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { Report } from './test-report.ts'
import { inParallel, runFile } from './test-run.ts'

const filesAtOnce = 2

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    list: { type: 'boolean', default: false },
    repeat: { type: 'string', default: '1' },
    slow: { type: 'string', default: '10' },
    timeout: { type: 'string', default: '120' },
  },
})

const fragments = positionals.map(fragment => fragment.replace(/^\.\//, ''))
const all = globSync('{src,scripts,tests}/**/*.test.ts').sort()
const isChosen = (file: string): boolean => fragments.some(fragment => file.includes(fragment))
const files = fragments.length === 0 ? all : all.filter(isChosen)
const unmatched = fragments.filter(fragment => !all.some(file => file.includes(fragment)))

if (unmatched.length > 0) {
  console.error(`no test file has "${unmatched.join('" or "')}" in its path`)
  process.exitCode = 1
} else if (values.list) {
  for (const file of files) console.log(file)
} else {
  await runAll()
}

async function runAll(): Promise<void> {
  const report = new Report()
  const repeat = positive('repeat', values.repeat)
  const slow = Number(values.slow)
  const testTimeoutMs = positive('timeout', values.timeout) * 1000
  for (let round = 1; round <= repeat; round++) {
    if (repeat > 1) console.log(`round ${String(round)} of ${String(repeat)}`)
    await inParallel(files, filesAtOnce, async file => {
      const result = await runFile(file, { cwd: process.cwd(), testTimeoutMs })
      report.add(result)
      console.log(result.text())
    })
  }
  console.log(report.text(slow))
  const { passed, failed } = report.totals()
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1
}

function positive(name: string, text: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && value > 0) return value
  console.error(`--${name} takes a whole number above 0, not "${text}"`)
  process.exit(1)
}
