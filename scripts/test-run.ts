/** Runs one test file in a process of its own and watches over it; shared by the test scripts. */
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { run } from 'node:test'
import { FileReport, type ReportEvent } from './test-report.ts'

export interface RunOptions {
  /** The root of the tree; `file` is relative to it. */
  readonly cwd: string
  /** For each test that sets no limit of its own. */
  readonly testTimeoutMs: number
  /** Added to the environment of this process. */
  readonly env?: Readonly<Record<string, string>>
  /** End the file at the first failure. */
  readonly bail?: boolean
}

/** A file whose test reports and prints nothing for this much longer than it may take is stuck. */
const graceMs = 10_000
/** A file that stays for so long after its last test keeps something open. */
const lingerMs = 30_000
/** What a test starts may take this long to go away once the file is over. */
const leftoverMs = 2_000
const markName = 'SLUICE_TEST_FILE'
let marks = 0

/**
 * Runs `file` to its end. It never rejects for what the file does: a crash, a stall (killed) and a
 * process left running (killed) are failures in the report.
 */
export async function runFile(file: string, options: RunOptions): Promise<FileReport> {
  const report = new FileReport(file)
  const started = performance.now()
  const stop = new AbortController()
  let stall: string | null = null
  const watch = new Watch(options.testTimeoutMs, why => {
    stall = why
    stop.abort()
  })
  marks += 1
  const mark = `${String(process.pid)}.${String(marks)}`
  const events: AsyncIterable<ReportEvent> = run({
    files: [file],
    cwd: options.cwd,
    env: { ...process.env, ...options.env, [markName]: mark },
    isolation: 'process',
    concurrency: 1,
    timeout: options.testTimeoutMs,
    signal: stop.signal,
  })
  let isStopping = false
  for await (const event of events) {
    watch.see(event)
    if (isStopping) continue
    report.add(event)
    if (options.bail === true && report.totals().failed > 0) {
      isStopping = true
      stop.abort()
    }
  }
  watch.end()
  const left = await endLeftovers(mark, stop.signal.aborted ? 0 : leftoverMs)
  const leftover =
    left.length > 0 && !stop.signal.aborted ? `left running: ${left.join(', ')}` : null
  report.end({
    durationMs: performance.now() - started,
    problem: stall ?? leftover,
    isStalled: stall !== null,
  })
  return report
}

/** Calls `onStall` when a file neither ends nor gives a sign of life. */
class Watch {
  readonly #stallMs: number
  readonly #onStall: (why: string) => void
  readonly #open = new Set<number>()
  #last: string | null = null
  #timer: NodeJS.Timeout

  constructor(testTimeoutMs: number, onStall: (why: string) => void) {
    this.#stallMs = testTimeoutMs + graceMs
    this.#onStall = onStall
    this.#timer = this.#arm()
  }

  see({ type, data }: ReportEvent): void {
    const test = data as { entryFile?: string; testId: number; name: string }
    if (type === 'test:enqueue' && test.entryFile !== undefined) this.#open.add(test.testId)
    if (type === 'test:complete' && this.#open.delete(test.testId)) this.#last = test.name
    this.end()
    this.#timer = this.#arm()
  }

  end(): void {
    clearTimeout(this.#timer)
  }

  #arm(): NodeJS.Timeout {
    const isOver = this.#last !== null && this.#open.size === 0
    const waitMs = isOver ? Math.min(lingerMs, this.#stallMs) : this.#stallMs
    const why = isOver
      ? 'did not end after its last test: something is still open'
      : `stood still${this.#last === null ? '' : ` after "${this.#last}"`}`
    return setTimeout(() => {
      this.#onStall(`${why} (ended after ${String(waitMs / 1000)} s)`)
    }, waitMs)
  }
}

/**
 * Calls `task` for each item, `limit` at a time, in order of the list. A task that rejects ends the
 * whole; the others started by then run on.
 */
export async function inParallel<T>(
  items: readonly T[],
  limit: number,
  task: (item: T, lane: number) => Promise<void>,
): Promise<void> {
  const queue = [...items]
  const lanes = Array.from({ length: Math.min(limit, items.length) }, async (_, lane) => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
      await task(item, lane)
    }
  })
  await Promise.all(lanes)
}

/**
 * Kills what carries `mark` in its environment once `patienceMs` are over, and names it. Linux
 * only: elsewhere there is no /proc and nothing is found.
 */
async function endLeftovers(mark: string, patienceMs: number): Promise<string[]> {
  const deadline = performance.now() + patienceMs
  let left = marked(mark)
  while (left.length > 0 && performance.now() < deadline) {
    await sleep(50)
    left = marked(mark)
  }
  const names: string[] = []
  for (const pid of left) {
    try {
      names.push(`${readFileSync(`/proc/${String(pid)}/comm`, 'utf8').trim()} (${String(pid)})`)
      process.kill(pid, 'SIGKILL')
    } catch {
      // It went away by itself in the meantime.
    }
  }
  return names
}

function marked(mark: string): number[] {
  const entry = `\0${markName}=${mark}\0`
  return processes().filter(pid => {
    try {
      return `\0${readFileSync(`/proc/${String(pid)}/environ`, 'latin1')}`.includes(entry)
    } catch {
      return false
    }
  })
}

function processes(): number[] {
  try {
    return readdirSync('/proc').map(Number).filter(Number.isInteger)
  } catch {
    return []
  }
}
