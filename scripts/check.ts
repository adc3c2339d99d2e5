/**
 * `npm run check`: all that can be said about the code without another program, two things at a
 * time, a line for each. What fails prints its output; the exit code is 1 then.
 */
import { spawn } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { delimiter, join, resolve } from 'node:path'
import { plural } from './test-report.ts'
import { inParallel } from './test-run.ts'

interface Task {
  readonly name: string
  readonly command: readonly string[]
  /** What mends it, where one command does. */
  readonly remedy?: string
}

/** Longest first, so that nothing long is left alone at the end. */
const tasks: readonly Task[] = [
  { name: 'unit tests', command: ['node', 'scripts/test.ts', 'src/', 'scripts/'] },
  { name: 'types', command: ['tsc', '--noEmit'] },
  { name: 'lint', command: ['oxlint', '--type-aware', '--deny-warnings'] },
  { name: 'dead code', command: ['knip', '--no-config-hints'] },
  {
    name: 'dead but for tests',
    command: ['knip', '--no-config-hints', '--production', '--include', 'files'],
  },
  { name: 'borders', command: ['node', 'scripts/borders.ts'] },
  { name: 'drawings', command: ['node', 'scripts/draw-states.ts', '--check'] },
  {
    name: 'format',
    command: ['biome', 'format', '--max-diagnostics=5', '.'],
    remedy: 'npm run format',
  },
]

const atOnce = Math.min(2, availableParallelism())
const outputLinesMax = 200
const bin = resolve('node_modules', '.bin')
const failed: string[] = []

const started = performance.now()
await inParallel(tasks, atOnce, async task => {
  const begun = performance.now()
  const { isGood, output } = await run(task)
  const line = `${isGood ? 'ok  ' : 'FAIL'}  ${task.name.padEnd(18)} ${seconds(begun)}`
  if (isGood) {
    console.log(line)
    return
  }
  failed.push(task.name)
  const remedy = task.remedy === undefined ? [] : [`to mend it: ${task.remedy}`]
  console.log([line, ...shorten(output), ...remedy, ''].join('\n'))
})
console.log(
  failed.length === 0
    ? `all ${plural(tasks.length, 'check')} pass, ${seconds(started)}`
    : `failed: ${failed.join(', ')}, ${seconds(started)}`,
)
process.exitCode = failed.length === 0 ? 0 : 1

async function run({ command }: Task): Promise<{ isGood: boolean; output: string }> {
  const [program = '', ...args] = command
  const { promise, resolve: settle } = Promise.withResolvers<boolean>()
  // Our own Node and tools first on the path, however this script was started.
  const env = { ...process.env, PATH: `${bin}${delimiter}${process.env['PATH'] ?? ''}` }
  const child = spawn(join(bin, program), args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  const collect = (chunk: string): void => {
    output += chunk
  }
  child.stdout.setEncoding('utf8').on('data', collect)
  child.stderr.setEncoding('utf8').on('data', collect)
  child.on('error', error => {
    output += `${program} could not be started: ${error.message}\n`
    settle(false)
  })
  child.on('close', code => {
    settle(code === 0)
  })
  return { isGood: await promise, output }
}

function shorten(output: string): string[] {
  const lines = output.trimEnd().split('\n')
  const left = lines.length - outputLinesMax
  if (left <= 0) return lines
  return [...lines.slice(0, outputLinesMax), `… and ${plural(left, 'line')} more`]
}

function seconds(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`
}
